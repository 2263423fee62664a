//! What the gateway takes for granted of a ChatKit server, without a gateway.
//!
//! When the SDK is updated and one of these fails, it is the gateway's design that needs a look.

use serde_json::{Value, json};

use crate::support::{End, Upstream, events};

fn say(text: &str) -> Value {
    json!({ "input": {
        "content": [{ "type": "input_text", "text": text }],
        "attachments": [],
        "inference_options": {},
    }})
}

#[test]
fn an_event_is_one_chunk_and_nothing_marks_the_end() {
    let upstream = Upstream::shared();
    let user = "assumptions-chunks";
    let mut exchange = upstream.open(user, "threads.create", &say("one two three"));
    assert_eq!(exchange.status, 200);
    assert_eq!(exchange.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let mut kinds = Vec::new();
    let end = loop {
        match exchange.chunk() {
            Ok(chunk) => {
                let events = events(&chunk);
                assert_eq!(events.len(), 1);
                kinds.push(events[0]["type"].as_str().unwrap().to_owned());
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, End::Clean);
    let preamble = ["thread.created", "thread.item.done", "stream_options", "thread.item.added"];
    assert_eq!(kinds[..4], preamble);
    assert_eq!(kinds.last().unwrap(), "thread.item.done");
}

#[test]
fn what_is_not_found_is_a_bare_500_or_an_empty_stream_that_is_cut() {
    let upstream = Upstream::shared();
    let user = "assumptions-missing";
    let nowhere = json!({ "thread_id": "thr_nowhere" });
    let reply = upstream.behind_the_gateway(user, "threads.get_by_id", &nowhere);
    assert_eq!((reply.status, reply.text()), (500, "Internal Server Error"));

    let mut message = say("hi");
    message["thread_id"] = "thr_nowhere".into();
    let reply = upstream.behind_the_gateway(user, "threads.add_user_message", &message);
    assert_eq!((reply.status, reply.text(), reply.end), (200, "", End::Cut));

    let page = upstream.behind_the_gateway(user, "items.list", &nowhere).value();
    assert_eq!(page, json!({ "data": [], "has_more": false }));
}

#[test]
fn an_unknown_item_to_retry_is_an_empty_stream_that_ends_well() {
    let upstream = Upstream::shared();
    let user = "assumptions-retry";
    let created = upstream.behind_the_gateway(user, "threads.create", &say("hi"));
    let thread = &events(&created.body)[0]["thread"]["id"];
    let retry = json!({ "thread_id": thread, "item_id": "msg_nowhere" });
    let reply = upstream.behind_the_gateway(user, "threads.retry_after_item", &retry);
    assert_eq!((reply.status, reply.text(), reply.end), (200, "", End::Clean));
}

#[test]
fn a_failing_store_leaves_a_thread_without_a_message() {
    let upstream = Upstream::shared();
    let user = "assumptions-orphan";
    upstream.fail(user, "add_thread_item");
    let reply = upstream.behind_the_gateway(user, "threads.create", &say("hi"));
    assert_eq!((reply.status, reply.end), (200, End::Cut));
    let events = events(&reply.body);
    assert_eq!(events.len(), 1);
    let thread = json!({ "thread_id": events[0]["thread"]["id"] });
    assert_eq!(upstream.behind_the_gateway(user, "threads.get_by_id", &thread).status, 200);
}

#[test]
fn a_failing_answer_is_an_error_event_or_a_cut() {
    let upstream = Upstream::shared();
    let user = "assumptions-answers";
    for (text, end, last) in [
        (
            "/error",
            End::Clean,
            json!({ "type": "error", "code": "stream.error", "allow_retry": true }),
        ),
        (
            "/custom No.",
            End::Clean,
            json!({ "type": "error", "code": "custom", "message": "No.", "allow_retry": false }),
        ),
        (
            "/cut-after 0",
            End::Cut,
            json!({ "type": "stream_options", "stream_options": { "allow_cancel": true } }),
        ),
    ] {
        let reply = upstream.behind_the_gateway(user, "threads.create", &say(text));
        assert_eq!((reply.status, reply.end), (200, end), "{text}");
        assert_eq!(events(&reply.body).last(), Some(&last), "{text}");
        let (sent, _) = upstream.ended_stream(user);
        assert!(sent == reply.body, "{text}: the recording is what was sent");
    }
}

#[test]
fn a_client_that_leaves_cancels_the_answer() {
    let upstream = Upstream::shared();
    let user = "assumptions-leave";
    let mut exchange = upstream.open(user, "threads.create", &say("/stall 1"));
    exchange.until("word0");
    assert_eq!(upstream.last_stream(user).1, "open");
    drop(exchange);
    assert_eq!(upstream.ended_stream(user).1, "cancelled");
}

#[test]
fn identity_is_not_the_servers_business() {
    let upstream = Upstream::shared();
    let created = upstream.behind_the_gateway("assumptions-ada", "threads.create", &say("hi"));
    let thread = json!({ "thread_id": events(&created.body)[0]["thread"]["id"] });
    let reply = upstream.behind_the_gateway("assumptions-eve", "threads.get_by_id", &thread);
    assert_eq!(reply.status, 200, "anybody may read anything");
    assert_eq!(upstream.count("assumptions-eve", "threads.get_by_id"), 1);
    assert_eq!(upstream.count_all("assumptions-ada"), 1);
}
