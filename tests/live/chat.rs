//! One question, one answer.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Client, End, Gateway, Reply, Upstream, events};

/// Sends a question to a new conversation, or to one that goes on.
fn ask(client: &Client, message: &str, conversation: &Value) -> Reply {
    let body = json!({ "message": message, "conversation_id": conversation });
    client.json("POST", "/api/chat", &body)
}

#[track_caller]
fn answered(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.value()
}

#[test]
fn a_conversation_goes_on_by_its_id() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "chat-on";
    let ada = gateway.caller(user).client;
    let first = ada.json("POST", "/api/chat", &json!({ "message": "hello" }));
    let told = first.header("x-conversation-id").unwrap().to_owned();
    let first = answered(&first);
    assert_eq!(first["response"], "hello");
    assert_eq!(first["tool_calls"], json!([]));
    assert!(first["timestamp"].as_str().unwrap().ends_with('Z'), "{first}");
    let id = &first["conversation_id"];
    assert_eq!(*id, told.as_str());

    let next = json!({ "message": "/tool pick {}", "conversation_id": id });
    let next = answered(&ada.json("POST", &format!("/api/{user}/chat"), &next));
    assert_eq!(next["conversation_id"], *id);
    assert_eq!(next["response"], "The assistant acted without a message.");
    assert_eq!(next["tool_calls"], json!(["pick"]));
    let next = json!({ "message": "/workflow", "conversation_id": id });
    let next = answered(&ada.json("POST", "/api/chat", &next));
    // Its task is called "Searching", which is no tool's name.
    assert_eq!(next["tool_calls"], json!([]));
    assert_eq!(upstream.count(user, "threads.create"), 1);
}

#[test]
fn events_are_the_servers_own_bytes() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "chat-events";
    let ada = gateway.caller(user).client.with("accept", "text/event-stream");
    let mut conversation = json!(null);
    for (message, first) in
        [("/unicode", "thread.created"), ("/long 300", "thread.item.done"), ("/widget", "")]
    {
        let reply = ask(&ada, message, &conversation);
        assert_eq!((reply.status, reply.end), (200, End::Clean), "{message}");
        let (sent, end) = upstream.ended_stream(user);
        assert_eq!(end, "clean");
        assert!(sent == reply.body, "{message}: {}", reply.text());
        if !first.is_empty() {
            assert_eq!(events(&reply.body)[0]["type"], first);
        }
        conversation = json!(reply.header("x-conversation-id").unwrap());
    }
    let reply = ask(&ada, "/cut-after 2", &conversation);
    assert_eq!((reply.status, reply.end), (200, End::Cut), "what was cut is cut here");
    assert_eq!(upstream.count(user, "threads.create"), 1);
}

#[test]
fn every_kind_of_id_outlives_a_killed_gateway() {
    let upstream = Upstream::shared();
    for format in ["uuid", "integer", "conv"] {
        let settings = [("CHAT__ID_FORMAT", format)];
        let mut gateway = Gateway::start_with(upstream, &settings);
        let user = format!("chat-{format}");
        let ada = gateway.caller(&user).client;
        let id = answered(&ask(&ada, "hello", &json!(null)))["conversation_id"].clone();
        match format {
            "integer" => assert_eq!(id, 1),
            "conv" => assert!(id.as_str().unwrap().starts_with("conv_"), "{id}"),
            _ => assert_eq!(id.as_str().unwrap().len(), 36),
        }
        gateway.kill_and_restart();
        let ada = gateway.caller(&user).client;
        let next = answered(&ask(&ada, "and now", &id));
        assert_eq!((&next["conversation_id"], &next["response"]), (&id, &json!("and now")));
        let another = answered(&ask(&ada, "hello", &json!(null)))["conversation_id"].clone();
        assert_ne!(another, id);
        let eve = gateway.caller(&format!("{user}-eve")).client;
        ask(&eve, "hello", &id).refusal(403, "FORBIDDEN");
        assert_eq!(upstream.count(&user, "threads.create"), 2);
        assert_eq!(upstream.count(&user, "threads.add_user_message"), 1);
    }
}

#[test]
fn a_conversation_may_have_a_thousand_messages() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "chat-thousand";
    let ada = gateway.caller(user);
    let id = answered(&ask(&ada.client, "0", &json!(null)))["conversation_id"].clone();
    for n in 1..=500 {
        let message = n.to_string();
        assert_eq!(answered(&ask(&ada.client, &message, &id))["response"], message.as_str());
    }
    assert_eq!(upstream.count_all(user), 501, "one request for each, however long it is");
    let sessions = ada.get("/sessions").data();
    assert_eq!(sessions[0]["message_count"], 1002);
}

#[test]
fn what_was_said_is_read_again_a_page_at_a_time() {
    let upstream = Upstream::shared();
    let settings = [("CHAT__ID_FORMAT", "integer")];
    let mut gateway = Gateway::start_with(upstream, &settings);
    let user = "chat-history";
    let ada = gateway.caller(user).client;
    let (mut id, mut expected) = (json!(null), Vec::new());
    for n in 0..40 {
        let message = if n % 3 == 0 { "/workflow".to_owned() } else { n.to_string() };
        let answer = answered(&ask(&ada, &message, &id));
        id = answer["conversation_id"].clone();
        expected.push(json!(["user", message, []]));
        expected.push(json!(["assistant", answer["response"], answer["tool_calls"]]));
    }
    gateway.kill_and_restart();
    let ada = gateway.caller(user).client;
    let list = ada.call("GET", &format!("/api/{user}/conversations")).value();
    assert_eq!(list["conversations"][0]["conversation_id"], id);
    let (mut told, mut query, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = answered(&ada.call("GET", &format!("/api/conversations/{id}{query}")));
        let messages = page["messages"].as_array().unwrap().iter();
        let said = messages.map(|said| json!([said["role"], said["content"], said["tool_calls"]]));
        told.splice(0..0, said);
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?after={next}");
    }
    assert_eq!(told, expected);
    assert_eq!(upstream.count(user, "items.list"), pages, "one request for each page");
}

/// Gives the ids of the conversations that a hundred questions at once begin.
fn a_hundred_at_once(clients: &[Client]) -> BTreeSet<u64> {
    let together = Barrier::new(100);
    thread::scope(|scope| {
        let questions: Vec<_> = (0..100)
            .map(|n| {
                let (client, together) = (&clients[n % clients.len()], &together);
                scope.spawn(move || {
                    together.wait();
                    let message = format!("question {n}");
                    let reply = answered(&ask(client, &message, &json!(null)));
                    assert_eq!(reply["response"], message.as_str());
                    reply["conversation_id"].as_u64().unwrap()
                })
            })
            .collect();
        questions.into_iter().map(|question| question.join().unwrap()).collect()
    })
}

#[test]
fn a_hundred_questions_at_once_are_answered() {
    let upstream = Upstream::shared();
    let settings = [("CHAT__ID_FORMAT", "integer"), ("LIMITS__REQUESTS_PER_MINUTE", "1000")];
    let gateway = Gateway::start_with(upstream, &settings);
    let one = [gateway.caller("chat-hundred").client];
    assert_eq!(a_hundred_at_once(&one), (1..=100).collect());
    assert_eq!(upstream.count("chat-hundred", "threads.create"), 100);

    let many: Vec<_> =
        (0..100).map(|n| gateway.caller(&format!("chat-hundred-{n}")).client).collect();
    assert_eq!(a_hundred_at_once(&many), (101..=200).collect());
    for n in [0, 57, 99] {
        assert_eq!(upstream.count(&format!("chat-hundred-{n}"), "threads.create"), 1);
    }
}

#[test]
fn every_refusal_has_this_surfaces_status() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("chat-refused").client;
    let eve = gateway.caller("chat-refused-eve").client;
    let id = answered(&ask(&ada, "hello", &json!(null)))["conversation_id"].clone();

    gateway
        .stranger()
        .json("POST", "/api/chat", &json!({ "message": "hi" }))
        .refusal(401, "UNAUTHORIZED");
    for (path, body, status) in [
        ("/api/chat", json!({ "message": "" }), 422),
        ("/api/chat", json!({ "message": "x".repeat(10_001) }), 422),
        ("/api/chat", json!({}), 422),
        ("/api/chat", json!({ "message": "hi", "conversation_id": 7 }), 422),
        (
            "/api/chat",
            json!({ "message": "hi", "conversation_id": "00000000-0000-4000-8000-000000000000" }),
            404,
        ),
        ("/api/chat-refused/chat", json!({ "message": "hi" }), 403),
        ("/api/chat", json!({ "message": "hi", "conversation_id": id }), 403),
        ("/api/chat", json!({ "message": "/error" }), 503),
        ("/api/chat", json!({ "message": "/cut-after 2" }), 503),
        ("/api/chat", json!({ "message": "/error-after 2" }), 503),
        ("/api/chat", json!({ "message": "/custom Out of quota." }), 422),
    ] {
        let reply = eve.json("POST", path, &body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
    }
    let bytes = eve.with("content-type", "application/json").send("POST", "/api/chat", Some(b"{"));
    bytes.finish().refusal(400, "INVALID_JSON");
}

#[test]
fn a_program_that_knows_its_users_needs_one_secret_only() {
    let upstream = Upstream::shared();
    let secret = "live-0123456789abcdef0123456789abcdef";
    let settings =
        [("AUTH__MODE", "none"), ("AUTH__SHARED_SECRET", secret), ("CHAT__ID_FORMAT", "integer")];
    let gateway = Gateway::start_with(upstream, &settings);
    let program = gateway.stranger().with("authorization", &format!("Bearer {secret}"));
    let hello = json!({ "message": "hello" });
    for (user, number) in [("chat-path-ada", 1), ("chat-path-bob", 2)] {
        let reply = answered(&program.json("POST", &format!("/api/{user}/chat"), &hello));
        assert_eq!(reply["conversation_id"], number);
        assert_eq!(upstream.count(user, "threads.create"), 1);
    }
    let next = json!({ "message": "hello", "conversation_id": 1 });
    program.json("POST", "/api/chat-path-bob/chat", &next).refusal(403, "FORBIDDEN");
    answered(&program.json("POST", "/api/chat-path-ada/chat", &next));
    let stranger = gateway.stranger();
    stranger.json("POST", "/api/chat-path-ada/chat", &next).refusal(401, "UNAUTHORIZED");
}
