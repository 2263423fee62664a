//! The endpoint that ChatKit.js talks to: all sixteen request types, the same bytes, guarded.

use serde_json::{Value, json};

use crate::support::{Caller, End, Gateway, PREFIX, Reply, Upstream, events, last_item};

#[test]
fn all_sixteen_request_types_pass() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "passthrough-all";
    let ada = gateway.caller(user);

    let stream = |kind: &str, params: Value| -> Vec<Value> {
        let reply = ada.rpc(kind, &params);
        assert_eq!((reply.status, reply.end), (200, End::Clean), "{kind}: {}", reply.text());
        let (sent, _) = upstream.ended_stream(user);
        assert!(sent == reply.body, "{kind}: {}", reply.text());
        events(&reply.body)
    };
    // What answers in JSON is compared with the answer to the same request without a gateway.
    let json = |kind: &str, params: Value| -> Value {
        let reply = ada.rpc(kind, &params);
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"), "{kind}");
        reply.value()
    };
    let same = |kind: &str, params: Value| -> Value {
        let value = json(kind, params.clone());
        let direct = upstream.behind_the_gateway("x", kind, &params);
        assert_eq!(value.to_string(), direct.value().to_string(), "{kind}");
        value
    };

    let events = stream("threads.create", json!({ "input": input("/widget", &[]) }));
    let thread = events[0]["thread"]["id"].clone();
    let question = events[1]["item"]["id"].clone();
    let widget = last_item(&events)["id"].clone();
    assert_eq!(ada.get("/sessions").value()["meta"]["total"], 1, "thread.created made a session");

    same("threads.get_by_id", json!({ "thread_id": thread }));
    // All of it but the cursor, which leads on here and nowhere else.
    let one = json!({ "thread_id": thread, "limit": 1 });
    let mut page = json("items.list", one.clone());
    assert_eq!(page["has_more"], true);
    let after = page["after"].take();
    let mut direct = upstream.behind_the_gateway("x", "items.list", &one).value();
    assert_ne!(after, direct["after"].take());
    assert_eq!(page.to_string(), direct.to_string());
    let rest = json("items.list", json!({ "thread_id": thread, "after": after }));
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(1), "{rest}");
    assert_eq!(rest["data"][0]["id"], question);
    json("threads.update", json!({ "thread_id": thread, "title": "Cards" }));
    let go = json!({ "type": "go", "payload": { "kept": null } });
    stream(
        "threads.custom_action",
        json!({ "thread_id": thread, "item_id": widget, "action": go }),
    );
    let updated = json(
        "threads.sync_custom_action",
        json!({ "thread_id": thread, "item_id": widget, "action": go }),
    );
    assert_eq!(updated["updated_item"]["id"], widget);
    json(
        "items.feedback",
        json!({ "thread_id": thread, "item_ids": [widget], "kind": "negative" }),
    );
    stream("threads.retry_after_item", json!({ "thread_id": thread, "item_id": question }));

    let file =
        json("attachments.create", json!({ "name": "a", "size": 1, "mime_type": "text/plain" }));
    let file = file["id"].as_str().unwrap();
    stream(
        "threads.add_user_message",
        json!({ "input": input("/tool pick {}", &[file]), "thread_id": thread }),
    );
    stream("threads.add_client_tool_output", json!({ "thread_id": thread, "result": null }));
    json("attachments.delete", json!({ "attachment_id": file }));
    let asked = stream(
        "threads.add_user_message",
        json!({ "input": input("/structured", &[]), "thread_id": thread }),
    );
    let item = last_item(&asked)["id"].clone();
    stream(
        "threads.add_structured_input",
        json!({ "thread_id": thread, "item_id": item, "input": { "status": "skipped" } }),
    );
    let heard =
        json("input.transcribe", json!({ "audio_base64": "AAAA", "mime_type": "audio/mp4" }));
    assert_eq!(heard["text"], "3 bytes of audio/mp4");

    // The history panel's own request.
    let list = json("threads.list", json!({ "limit": 9999, "order": "desc" }));
    let threads = list["data"].as_array().unwrap();
    assert_eq!(threads.len(), 1, "the server has more, of other users: {list}");
    assert_eq!(threads[0]["id"], thread);
    assert_eq!(threads[0]["title"], "Cards");

    assert_eq!(json("threads.delete", json!({ "thread_id": thread })), json!({}));
    assert_eq!(ada.get("/sessions").value()["meta"]["total"], 0);
}

#[test]
fn every_request_that_names_something_of_another_user_is_refused() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("passthrough-ada");
    let eve = gateway.caller("passthrough-eve");
    let created = ada.rpc("threads.create", &json!({ "input": input("/widget", &[]) }));
    let created = events(&created.body);
    let thread = &created[0]["thread"]["id"];
    let item = &last_item(&created)["id"];
    let file =
        ada.rpc("attachments.create", &json!({ "name": "a", "size": 1, "mime_type": "a/b" }));
    let file = file.value()["id"].as_str().unwrap().to_owned();

    let action = json!({ "thread_id": thread, "item_id": item, "action": { "type": "go" } });
    for (kind, params) in [
        ("threads.get_by_id", json!({ "thread_id": thread })),
        ("threads.update", json!({ "thread_id": thread, "title": "mine" })),
        ("threads.delete", json!({ "thread_id": thread })),
        ("threads.add_user_message", json!({ "thread_id": thread, "input": input("hi", &[]) })),
        ("threads.add_client_tool_output", json!({ "thread_id": thread, "result": 1 })),
        (
            "threads.add_structured_input",
            json!({ "thread_id": thread, "item_id": item, "input": {} }),
        ),
        ("threads.retry_after_item", json!({ "thread_id": thread, "item_id": item })),
        ("threads.custom_action", action.clone()),
        ("threads.sync_custom_action", action),
        ("items.list", json!({ "thread_id": thread })),
        ("items.feedback", json!({ "thread_id": thread, "item_ids": [item], "kind": "positive" })),
        ("attachments.delete", json!({ "attachment_id": file })),
        ("threads.create", json!({ "input": input("hi", &[&file]) })),
    ] {
        let reply = eve.rpc(kind, &params);
        assert_eq!(reply.status, 403, "{kind}: {}", reply.text());
        reply.refusal(403, "FORBIDDEN");
    }
    assert_eq!(upstream.count_all("passthrough-eve"), 0);
    let list = eve.rpc("threads.list", &json!({})).value();
    assert_eq!(list["data"], json!([]));
    assert_eq!(ada.rpc("threads.get_by_id", &json!({ "thread_id": thread })).status, 200);
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_refused() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "passthrough-twice";
    let ada = gateway.caller(user);
    let other = gateway.caller("passthrough-twice-other");
    let theirs = other.rpc("threads.create", &json!({ "input": input("secret", &[]) }));
    let theirs = events(&theirs.body)[0]["thread"]["id"].clone();
    let own = ada.rpc("threads.create", &json!({ "input": input("hello", &[]) }));
    let own = events(&own.body)[0]["thread"]["id"].clone();
    let before = upstream.count_all(user);

    for body in [
        format!(r#"{{"type":"items.list","params":{{"thread_id":{own},"thread_id":{theirs}}}}}"#),
        format!(
            r#"{{"type":"items.list","params":{{"thread_id":{own}}},"params":{{"thread_id":{theirs}}}}}"#
        ),
        format!(
            r#"{{"type":"items.list","params":{{"thread_id":{own},"thread\u005fid":{theirs}}}}}"#
        ),
        format!(
            r#"{{"type":"threads.list","params":{{"thread_id":{theirs}}},"type":"items.list"}}"#
        ),
    ] {
        post(&ada, body.as_bytes()).refusal(400, "INVALID_JSON");
    }
    for body in [
        &br#"{"type":"threads.steal","params":{}}"#[..],
        br#"{"params":{}}"#,
        br#"{"type":"items.list"}"#,
        br#"{"type":"items.list","params":{"thread_id":1}}"#,
        br"[]",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b"",
    ] {
        let reply = post(&ada, body);
        assert_eq!(reply.status, 400, "{}: {}", String::from_utf8_lossy(body), reply.text());
    }
    assert_eq!(upstream.count_all(user), before, "none of it was forwarded");
}

#[test]
fn the_pass_through_never_holds() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start_with(upstream, &[("STREAM__HOLD_FOR", "60s")]);
    let ada = gateway.caller("passthrough-hold");
    let body = json!({ "type": "threads.create", "params": { "input": input("/stall 0", &[]) } });
    let mut exchange = ada.stream("", &body);
    assert_eq!(exchange.status, 200);
    exchange.until("stream_options");

    // Hence an error is the event it is upstream.
    let reply = ada.rpc("threads.create", &json!({ "input": input("/error", &[]) }));
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert_eq!(events(&reply.body).last().unwrap()["type"], "error");
}

fn input(text: &str, attachments: &[&str]) -> Value {
    json!({
        "content": [{ "type": "input_text", "text": text }],
        "quoted_text": "",
        "attachments": attachments,
        "inference_options": {},
    })
}

fn post(caller: &Caller, body: &[u8]) -> Reply {
    let client = caller.client.clone().with("content-type", "application/json");
    client.send("POST", PREFIX, Some(body)).finish()
}
