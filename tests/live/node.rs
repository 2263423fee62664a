//! What only a server on the Node SDK does.
//!
//! It has no `stream_options`, so a run's status waits for the first event of the answer; it says
//! null for what is absent; and what fails before its first event is a 500 with a page of HTML.

use serde_json::{Value, json};

use crate::support::{End, Gateway, Server, Upstream, events, input, last_item};

#[test]
fn a_run_is_held_until_the_first_event_of_the_answer() {
    let upstream = Upstream::shared_server(Server::Node);
    let gateway = Gateway::start_with(upstream, &[("STREAM__HOLD_FOR", "60s")]);
    let ada = gateway.caller("hold");
    let conversation = ada.conversation();
    let mut exchange = ada.say(&conversation, "/stall 1");
    assert_eq!(exchange.status, 200, "the answer began, and goes on for ever");
    assert!(exchange.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(exchange.header("x-powered-by"), None, "nobody's business");
    let seen = exchange.until("word0");
    assert!(seen.starts_with("data: {\"type\":\"thread.created\""), "{seen}");
}

#[test]
fn a_silent_run_is_held_no_longer_than_hold_for() {
    let upstream = Upstream::shared_server(Server::Node);
    // Zero waits for the bookkeeping, whose end is the user's own message here.
    for hold_for in ["0s", "200ms"] {
        let gateway = Gateway::start_with(upstream, &[("STREAM__HOLD_FOR", hold_for)]);
        let ada = gateway.caller("hold-silence");
        let mut exchange = ada.say(&ada.conversation(), "/stall 0");
        assert_eq!(exchange.status, 200, "{hold_for}");
        exchange.until("user_message");
    }
}

#[test]
fn null_is_absent() {
    let upstream = Upstream::shared_server(Server::Node);
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("nulls");
    let conversation = ada.conversation();
    let call = last_item(&ada.said(&conversation, "/tool pick {\"colour\":null,\"n\":1}"));
    assert_eq!(call["arguments"], json!({ "n": 1 }), "its streams have no nulls at all");
    let thread = json!({ "thread_id": call["thread_id"] });

    let direct = upstream.behind_the_gateway("x", "threads.get_by_id", &thread).value();
    assert!(direct.as_object().unwrap().contains_key("title"), "{direct}");
    assert_eq!((&direct["title"], &direct["items"]["after"]), (&Value::Null, &Value::Null));
    let passed = ada.rpc("threads.get_by_id", &thread).value();
    assert_eq!(passed.to_string(), direct.to_string(), "passed on as they are");
    let listed = ada.rpc("threads.list", &json!({})).value();
    assert_eq!(listed["data"][0]["title"], Value::Null);

    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    assert_eq!(whole["status"]["type"], "active");
    assert_eq!(whole["messages"][0]["content"][0]["text"], "/tool pick {\"colour\":null,\"n\":1}");
    let call = &whole["messages"][1]["tool_calls"][0];
    assert_eq!(call["arguments"], json!({ "colour": null, "n": 1 }), "the tool's own nulls stay");
    assert!(!call.as_object().unwrap().contains_key("output"), "{call}");
}

#[test]
fn a_page_of_html_is_no_answer() {
    let upstream = Upstream::shared_server(Server::Node);
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("html");
    let conversation = ada.conversation();
    let thread = ada.said(&conversation, "hello")[0]["thread"]["id"].clone();

    // An item that isn't there: the head is written with the first event, and there is none.
    let retry = json!({ "thread_id": thread, "item_id": "msg_nowhere" });
    let direct = upstream.behind_the_gateway("x", "threads.retry_after_item", &retry);
    assert_eq!(
        (direct.status, direct.header("content-type")),
        (500, Some("text/html; charset=utf-8"))
    );
    assert!(direct.text().contains("server.mjs") || direct.text().contains("index.js"));
    let reply = ada.rpc("threads.retry_after_item", &retry);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let error = reply.refusal(502, "UPSTREAM_ERROR");
    assert!(!error.to_string().contains(".js"), "the server's stack is not passed on: {error}");
    // It says the same where nothing waits for an output, and where it fails; its items tell.
    let path = format!("{}/items/msg_nowhere/retry", conversation.thread);
    ada.stream(&path, &json!({})).finish().refusal(404, "ITEM_NOT_FOUND");
    let output = json!({ "result": 1 });
    let path = format!("{}/tool_outputs", conversation.thread);
    ada.stream(&path, &output).finish().refusal(409, "CONFLICT");

    let gone = json!({ "thread_id": thread });
    assert_eq!(upstream.behind_the_gateway("x", "threads.delete", &gone).status, 200);
    ada.say(&conversation, "anyone?").finish().refusal(404, "THREAD_NOT_FOUND");
}

#[test]
fn an_attachment_that_the_server_lost_breaks_the_connection() {
    let upstream = Upstream::shared_server(Server::Node);
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("lost-file");
    let file = json!({ "name": "a", "size": 1, "mime_type": "text/plain" });
    let id = ada.rpc("attachments.create", &file).value()["id"].as_str().unwrap().to_owned();
    let params = json!({ "attachment_id": id });
    assert_eq!(upstream.behind_the_gateway("x", "attachments.delete", &params).status, 200);

    let mut direct = upstream.open("x", "threads.create", &input("see this", &[&id]));
    assert_eq!(direct.status, 200);
    assert_eq!(events(&direct.chunk().unwrap())[0]["type"], "thread.created");
    assert_eq!(direct.chunk(), Err(End::Cut));

    let conversation = ada.conversation();
    let content = json!([{ "type": "input_text", "text": "see this" }]);
    let message = json!({ "message": { "role": "user", "content": content, "attachments": [id] } });
    let runs = format!("{}/runs", conversation.thread);
    ada.stream(&runs, &message).finish().refusal(502, "UPSTREAM_ERROR");
    ada.said(&conversation, "without it");
    // In a thread that exists nothing is sent before the attachments are there.
    ada.stream(&runs, &message).finish().refusal(502, "UPSTREAM_ERROR");
}

#[test]
fn a_connection_that_ends_before_any_byte_is_not_tried_again() {
    let upstream = Upstream::start_server(Server::Node);
    let gateway = Gateway::start(&upstream);
    let ada = gateway.caller("destroyed");
    let destroy = input("/destroy", &[]);
    assert!(upstream.try_open("x", "threads.create", &destroy).is_none(), "the server hangs up");
    let threads = || {
        let page = upstream.behind_the_gateway("x", "threads.list", &json!({})).value();
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(threads(), 1, "and has made a thread all the same");

    ada.said(&ada.conversation(), "a connection to use again");
    ada.say(&ada.conversation(), "/destroy").finish().refusal(502, "UPSTREAM_ERROR");
    assert_eq!(threads(), 3, "one for each message");
}
