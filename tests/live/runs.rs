//! Streams: the bytes the server wrote, when it wrote them, and how they ended.

use serde_json::json;

use crate::support::{End, Gateway, Upstream, events, last_item};

#[test]
fn a_stream_is_the_servers_byte_for_byte() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "runs-bytes";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    for text in [
        "Hello there",
        "/unicode",
        "/widget",
        "/workflow",
        "/task",
        "/notice",
        "/progress",
        "/effect",
        "/title Ein Gespräch",
        "/hidden",
        "/long 500",
        "/tool pick {\"colour\":null,\"n\":[1,2.50]}",
        "/structured",
        "/error-after 3",
        "/close",
    ] {
        let exchange = ada.say(&conversation, text);
        assert_eq!(exchange.status, 200, "{text}");
        let kind = exchange.header("content-type").unwrap();
        assert_eq!(kind, "text/event-stream; charset=utf-8", "the server's own, as it is");
        assert!(exchange.header("cache-control").unwrap().contains("no-cache"), "{text}");
        assert_eq!(exchange.header("content-encoding"), None);
        let reply = exchange.finish();
        let (sent, end) = upstream.ended_stream(user);
        assert_eq!((end.as_str(), reply.end), ("clean", End::Clean), "{text}");
        assert!(
            sent == reply.body,
            "{text}: {} is not {}",
            reply.text(),
            String::from_utf8_lossy(&sent)
        );
    }
}

#[test]
fn events_arrive_while_the_server_is_still_writing() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "runs-live";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let mut exchange = ada.say(&conversation, "/stall 2");
    assert_eq!(exchange.status, 200);
    let seen = exchange.until("word1");
    let (sent, end) = upstream.last_stream(user);
    assert_eq!(end, "open");
    assert!(sent.starts_with(seen.as_bytes()));

    drop(exchange);
    let (_, end) = upstream.ended_stream(user);
    assert_eq!(end, "cancelled", "a client that leaves takes its request along");
}

#[test]
fn a_cut_stream_is_cut_for_the_client() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "runs-cut";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let reply = ada.say(&conversation, "/cut-after 3").finish();
    let (sent, end) = upstream.ended_stream(user);
    assert_eq!(end, "cut");
    assert_eq!((reply.status, reply.end), (200, End::Cut));
    assert_eq!(reply.text(), String::from_utf8(sent).unwrap());
    // The session survives it.
    assert_eq!(last_item(&ada.said(&conversation, "again"))["content"][0]["text"], "again");
}

#[test]
fn json_mode_answers_once_with_every_finished_item() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("runs-json");
    let conversation = ada.conversation();
    let runs = format!("{}/runs", conversation.thread);

    let run = ada.post(&runs, &json!({ "message": "word by word", "stream": false })).data();
    assert_eq!(run["session_id"], *conversation.session);
    assert!(run["thread_id"].is_string());
    assert_eq!(run["message"]["role"], "assistant");
    assert_eq!(run["message"]["content"][0]["text"], "word by word");
    let kinds: Vec<_> = run["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["user_message", "assistant_message"]);

    // Asked for by Accept, and with an answer that is a tool call and no text.
    let prefers =
        crate::support::Caller::new(ada.client.clone().with("accept", "application/json"));
    let run = prefers.post(&runs, &json!({ "message": "/tool pick {\"a\":null}" })).data();
    assert_eq!(run["message"]["content"], json!([]), "{run}");
    assert_eq!(run["message"]["tool_calls"][0]["name"], "pick", "{run}");
    let call = run["items"].as_array().unwrap().last().unwrap();
    assert_eq!(call["name"], "pick");
    assert_eq!(call["arguments"], json!({ "a": null }));

    let refused = prefers.post(&runs, &json!({ "message": "/error-after 2" }));
    refused.refusal(502, "UPSTREAM_ERROR");
    let refused = prefers.post(&runs, &json!({ "message": "/cut-after 2" }));
    refused.refusal(502, "UPSTREAM_ERROR");
}

#[test]
fn an_error_after_the_commit_is_an_event() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("runs-late-error");
    let conversation = ada.conversation();
    let reply = ada.say(&conversation, "/error-after 1").finish();
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    let last = events(&reply.body).pop().unwrap();
    assert_eq!(last, json!({ "type": "error", "code": "stream.error", "allow_retry": true }));
}

#[test]
fn a_message_reaches_the_server_exactly_as_it_was_written() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("runs-exact");
    let conversation = ada.conversation();
    let text = "  leading, \u{2028} 👩‍👩‍👧‍👦 \"quoted\" \\ tab\t and trailing \n";
    let events = ada.said(&conversation, text);
    assert_eq!(events[1]["item"]["content"][0]["text"], text);

    let body = json!({ "message": {
        "role": "user",
        "content": [
            { "type": "input_text", "text": "ask " },
            { "type": "input_tag", "id": "t1", "text": "Grace", "data": { "null": null } },
        ],
        "quoted_text": "as you said",
        "inference_options": { "model": "small", "tool_choice": { "id": "search" } },
    }});
    let reply = ada.stream(&format!("{}/runs", conversation.thread), &body).finish();
    let item = &crate::support::events(&reply.body)[0]["item"];
    assert_eq!(item["content"][1]["data"], json!({ "null": null }));
    assert_eq!(item["quoted_text"], "as you said");
    assert_eq!(item["inference_options"]["model"], "small");
    assert_eq!(item["inference_options"]["tool_choice"]["id"], "search");
}
