//! Either side may end at any time.

use crate::support::{Gateway, Upstream, last_item};

#[test]
fn a_killed_gateway_remembers_everything() {
    let upstream = Upstream::shared();
    let mut gateway = Gateway::start(upstream);
    let user = "restarts-gateway";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    ada.said(&conversation, "before");
    let unbound = ada.conversation();
    let session = format!("/sessions/{}", conversation.session);
    let (list, whole) = (ada.get("/sessions").value(), ada.get(&session).data());
    // In the middle of a stream, at that.
    let mut stream = ada.say(&conversation, "/stall 1");
    stream.until("word0");

    gateway.kill_and_restart();
    assert!(stream.finish().end == crate::support::End::Cut);
    assert_eq!(upstream.ended_stream(user).1, "cancelled");
    let ada = gateway.caller(user);
    let after = ada.get("/sessions").value();
    assert_eq!(after["meta"], list["meta"]);
    let messages = ada.get(&session).data()["messages"].clone();
    let (before, messages) = (whole["messages"].as_array().unwrap(), messages.as_array().unwrap());
    assert_eq!(messages[..before.len()], before[..]);

    let created = upstream.count(user, "threads.create");
    assert_eq!(last_item(&ada.said(&conversation, "after"))["content"][0]["text"], "after");
    assert_eq!(upstream.count(user, "threads.create"), created, "the binding was kept");
    ada.said(&unbound, "late first words");
    gateway.caller("somebody-else").get(&session).refusal(403, "FORBIDDEN");
}

#[test]
fn a_server_that_is_down_is_a_502_until_it_is_back() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("live-upstream-{}.db", std::process::id()));
    let mut upstream = Upstream::start(&format!("sqlite:{}", folder.display()));
    let gateway = Gateway::start(&upstream);
    let ada = gateway.caller("ada");
    let conversation = ada.conversation();
    ada.said(&conversation, "before");
    let session = format!("/sessions/{}", conversation.session);
    let mut stream = ada.say(&conversation, "/stall 1");
    stream.until("word0");

    upstream.kill();
    assert!(stream.finish().end == crate::support::End::Cut, "what was cut upstream is cut here");
    ada.say(&conversation, "anyone?").finish().refusal(502, "UPSTREAM_ERROR");
    ada.get(&session).refusal(502, "UPSTREAM_ERROR");
    assert_eq!(ada.get("/sessions").status, 200, "what needs no server works on");
    let other = ada.conversation();

    upstream.restart();
    assert_eq!(last_item(&ada.said(&conversation, "after"))["content"][0]["text"], "after");
    ada.said(&other, "hello");
    let messages = ada.get(&session).data()["messages"].to_string();
    assert!(messages.contains("before") && messages.contains("after"), "{messages}");
    for end in ["", "-wal", "-shm", "-runs-shm"] {
        let _removed = std::fs::remove_file(format!("{}{end}", folder.display()));
    }
}
