//! One question, one JSON answer.

use serde_json::json;

use crate::support::{End, Gateway, Upstream, events};

#[test]
fn a_conversation_goes_on_by_its_id() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "chat-on";
    let ada = gateway.caller(user).client;
    let first = ada.json("POST", "/api/chat", &json!({ "message": "hello" }));
    assert_eq!(first.status, 200, "{}", first.text());
    let first = first.value();
    assert_eq!(first["response"], "hello");
    assert_eq!(first["tool_calls"], json!([]));
    assert!(first["timestamp"].as_str().unwrap().ends_with('Z'), "{first}");
    let id = &first["conversation_id"];

    let next = json!({ "message": "/tool pick {}", "conversation_id": id });
    let next = ada.json("POST", &format!("/api/{user}/chat"), &next).value();
    assert_eq!(next["conversation_id"], *id);
    assert_eq!(next["tool_calls"], json!(["pick"]));
    assert_eq!(upstream.count(user, "threads.create"), 1);

    let stream = ada.clone().with("accept", "text/event-stream");
    let reply =
        stream.json("POST", "/api/chat", &json!({ "message": "hi", "conversation_id": id }));
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert_eq!(events(&reply.body)[0]["type"], "thread.item.done");
}

#[test]
fn every_refusal_has_this_surfaces_status() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("chat-refused").client;
    let eve = gateway.caller("chat-refused-eve").client;
    let id =
        ada.json("POST", "/api/chat", &json!({ "message": "hello" })).value()["conversation_id"]
            .clone();

    gateway
        .stranger()
        .json("POST", "/api/chat", &json!({ "message": "hi" }))
        .refusal(401, "UNAUTHORIZED");
    for (path, body, status) in [
        ("/api/chat", json!({ "message": "" }), 422),
        ("/api/chat", json!({ "message": "x".repeat(10_001) }), 422),
        ("/api/chat", json!({}), 422),
        (
            "/api/chat",
            json!({ "message": "hi", "conversation_id": "00000000-0000-4000-8000-000000000000" }),
            404,
        ),
        ("/api/chat-refused/chat", json!({ "message": "hi" }), 403),
        ("/api/chat", json!({ "message": "hi", "conversation_id": id }), 403),
        ("/api/chat", json!({ "message": "/error" }), 503),
        ("/api/chat", json!({ "message": "/cut-after 2" }), 503),
    ] {
        let reply = eve.json("POST", path, &body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
    }
}
