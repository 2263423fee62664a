//! One-shot chat: conversations, their ids, and who may have them.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    Answering, Client, End, Folder, Gateway, MESSAGE_DONE, Received, Reply, STREAM_HEAD,
    TestRequest, Upstream, chunk, created, data, error_event, last_chunk, options, preamble,
    stream_answer, user_done,
};

const TOOL_CALL: &str = "{\"type\":\"thread.item.done\",\"item\":{\"id\":\"tc_1\",\"thread_id\":\
    \"thr_1\",\"created_at\":\"2026-11-21T03:00:02\",\"type\":\"client_tool_call\",\"status\":\
    \"pending\",\"call_id\":\"call_1\",\"name\":\"look_up\",\"arguments\":{}}}";

/// Gives a question of `user`'s, to be sent.
fn ask(user: &str, body: &Value) -> TestRequest {
    TestRequest::new("POST", "//api/chat").user(user).json(&body.to_string())
}

async fn asked(gateway: &Gateway, user: &str, body: &Value) -> Reply {
    gateway.send(ask(user, body)).await
}

/// Gives the id of a conversation that has its first answer.
async fn begun(gateway: &Gateway, user: &str) -> Value {
    let reply = asked(gateway, user, &json!({ "message": "hi" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["conversation_id"].clone()
}

/// Gives an upstream that answers everything with the same words, and gives each thread its own id.
fn talkative(upstream: Upstream) -> Answering {
    let threads = AtomicU32::new(0);
    upstream.answer(move |received| {
        let before = match received.kind().as_str() {
            "threads.create" => {
                preamble(&format!("thr_{}", threads.fetch_add(1, Ordering::SeqCst)))
            }
            "threads.add_user_message" => format!("{}{}", user_done("msg_u"), options()),
            other => panic!("{other}"),
        };
        stream_answer(&format!("{before}{MESSAGE_DONE}"))
    })
}

#[tokio::test]
async fn a_conversation_goes_on_by_its_id_whatever_that_looks_like() {
    for format in ["uuid", "integer", "conv"] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::with(&upstream, &[("chat.id_format", format)]).await;
        let mut client = gateway.connect().await;
        client.send(ask("ada", &json!({ "message": " hi\u{1f44b}\n" })).bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(
            received.json(),
            json!({"type": "threads.create", "params": {"input": {
                "content": [{"type": "input_text", "text": " hi\u{1f44b}\n"}],
                "attachments": [],
                "inference_options": {},
            }}})
        );
        assert_eq!(received.field("x-user-id"), Some("ada"));
        peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.field("content-type"), Some("application/json"));
        let first = reply.json();
        let id = first["conversation_id"].clone();
        let members: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["conversation_id", "response", "timestamp", "tool_calls"]);
        assert_eq!((&first["response"], &first["tool_calls"]), (&json!("Hällo 👋"), &json!([])));
        let timestamp = first["timestamp"].as_str().unwrap();
        let answered: jiff::Timestamp = timestamp.parse().unwrap();
        assert!(timestamp.ends_with('Z') && answered <= jiff::Timestamp::now(), "{timestamp}");
        let told = reply.field("x-conversation-id").unwrap();
        match format {
            "integer" => assert_eq!((&id, told), (&json!(1), "1")),
            "uuid" => assert_eq!((id.as_str().unwrap(), told.len()), (told, 36)),
            _ => {
                assert_eq!(id, told);
                let digits = told.strip_prefix("conv_").unwrap();
                let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert!(digits.len() == 8 && digits.chars().all(hex), "{told}");
            }
        }

        peer.close();
        let mut client = gateway.connect().await;
        let next = json!({ "message": "and now", "conversation_id": id });
        client.send(ask("ada", &next).bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.add_user_message");
        assert_eq!(received.json()["params"]["thread_id"], "thr_1");
        let body = format!("{}{MESSAGE_DONE}{}{MESSAGE_DONE}", user_done("m"), data(TOOL_CALL));
        peer.send(stream_answer(&body)).await;
        let next = client.reply().await.json();
        assert_eq!(next["conversation_id"], id);
        assert_eq!(next["response"], "Hällo 👋\n\nHällo 👋");
        assert_eq!(next["tool_calls"], json!(["look_up"]));
    }
}

#[tokio::test]
async fn a_stream_is_passed_on_untouched_and_tells_the_id() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("chat.id_format", "conv")]).await;
    let body = format!("{}{}{MESSAGE_DONE}: odd\r\n\n", preamble("thr_1"), data("{\"type\" :7}"));
    for request in [
        ask("ada", &json!({ "message": "hi" })).field("accept", "text/event-stream"),
        ask("ada", &json!({ "message": "hi", "stream": true })),
    ] {
        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        let (mut peer, _) = upstream.request().await;
        let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nx-conversation-id: planted\r\n\r\n");
        peer.send([head.as_bytes(), &chunk(&body), last_chunk().as_bytes()].concat()).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.end, reply.text()), (200, End::Clean, body.as_str()));
        assert_eq!(reply.field("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(reply.field("x-accel-buffering"), Some("no"));
        peer.close();

        let id = reply.field("x-conversation-id").unwrap();
        assert!(id.starts_with("conv_"), "{id}");
        let mut client = gateway.connect().await;
        let next = json!({ "message": "hi", "conversation_id": id, "stream": false });
        client.send(ask("ada", &next).field("accept", "text/event-stream").bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.json()["params"]["thread_id"], "thr_1");
        peer.send(stream_answer(&format!("{}{}", user_done("m"), data(TOOL_CALL)))).await;
        let reply = client.reply().await.json();
        let acted = json!("The assistant acted without a message.");
        assert_eq!((&reply["response"], &reply["tool_calls"]), (&acted, &json!(["look_up"])));
        peer.close();
        // Two sessions can't have one thread.
        assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 1);
        let session = gateway.get("ada", "/sessions").await.data()[0]["id"].clone();
        let path = format!("/sessions/{}", session.as_str().unwrap());
        let delete = gateway.send(TestRequest::new("DELETE", &path).user("ada"));
        let (reply, ()) = tokio::join!(delete, async {
            let (mut peer, received) = upstream.request().await;
            assert_eq!(received.kind(), "threads.delete");
            peer.send(crate::support::json_answer("{}")).await;
        });
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

#[tokio::test]
async fn an_id_is_looked_up_as_its_format_says() {
    let own = "the conversation's own";
    for (format, asked_for) in [
        (
            "uuid",
            [
                (json!(own), 200),
                (json!("7f1dd8a5-4a51-4c3b-9b0d-2a0c6b0e3c11"), 404),
                (json!("abc"), 404),
                (json!(""), 404),
                (json!(1), 422),
                (json!(true), 422),
            ],
        ),
        (
            "integer",
            [
                (json!(own), 200),
                (json!(9), 404),
                (json!(0), 404),
                (json!(-1), 404),
                (json!("1"), 422),
                (json!(1.5), 422),
            ],
        ),
        (
            "conv",
            [
                (json!(own), 200),
                (json!("conv_00000000"), 404),
                (json!("1"), 404),
                (json!("conv_zzzzzzzz"), 404),
                (json!(1), 422),
                (json!([]), 422),
            ],
        ),
    ] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::with(&upstream, &[("chat.id_format", format)]).await;
        let _upstream = talkative(upstream);
        let id = begun(&gateway, "ada").await;
        for (asked_for, status) in asked_for {
            let conversation = if asked_for == own { id.clone() } else { asked_for };
            let question = json!({ "message": "hi", "conversation_id": conversation });
            let reply = asked(&gateway, "ada", &question).await;
            match status {
                404 => {
                    let error = reply.refusal(404, "SESSION_NOT_FOUND");
                    assert_eq!(error["message"], "There is no such conversation.");
                }
                422 => {
                    let error = reply.refusal(422, "INVALID_INPUT");
                    assert_eq!(error["details"]["errors"][0]["pointer"], "/conversation_id");
                }
                status => assert_eq!(reply.status, status, "{format} {question}"),
            }
        }
        // Nothing was made on the way.
        assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 1);
    }
}

#[tokio::test]
async fn a_conversation_is_its_owners() {
    for format in ["uuid", "integer", "conv"] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::with(&upstream, &[("chat.id_format", format)]).await;
        let upstream = talkative(upstream);
        let id = begun(&gateway, "ada").await;
        let question = json!({ "message": "hi", "conversation_id": id });
        for _ in 0..2 {
            asked(&gateway, "eve", &question).await.refusal(403, "FORBIDDEN");
            assert_eq!(asked(&gateway, "ada", &question).await.status, 200);
        }
        assert_eq!(upstream.types().len(), 3);
    }
    let upstream = Upstream::bind().await;
    let settings = [("session.hide_foreign", "true"), ("chat.id_format", "integer")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let _upstream = talkative(upstream);
    let mut answers = Vec::new();
    for id in [begun(&gateway, "ada").await, json!(2)] {
        let question = json!({ "message": "hi", "conversation_id": id });
        let mut error = asked(&gateway, "eve", &question).await.refusal(404, "SESSION_NOT_FOUND");
        error["request_id"].take();
        answers.push(error);
    }
    assert_eq!(answers[0], answers[1], "nobody can tell the two apart");
}

#[tokio::test]
async fn a_session_made_over_rest_is_a_conversation_by_its_own_id_only() {
    for (format, status) in [("uuid", 200), ("conv", 404)] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::with(&upstream, &[("chat.id_format", format)]).await;
        let upstream = talkative(upstream);
        let session = gateway.session("ada").await;
        let question = json!({ "message": "hi", "conversation_id": session });
        let reply = asked(&gateway, "ada", &question).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 200 {
            assert_eq!(reply.json()["conversation_id"], session.as_str());
            assert_eq!(upstream.types(), ["threads.create"]);
        }
    }
}

async fn sessions(gateway: &Gateway, user: &str) -> Value {
    // What a run that just ended has settled is seen by whoever asks after its end.
    gateway.settle().await;
    gateway.get(user, "/sessions").await.json()["meta"]["total"].clone()
}

#[tokio::test]
async fn a_first_message_that_comes_to_nothing_leaves_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("chat.id_format", "integer")]).await;
    for stream in [false, true] {
        for answer in [
            b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec(),
            b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n".to_vec(),
            format!("{STREAM_HEAD}zz\r\n").into_bytes(),
            format!("{STREAM_HEAD}{}", last_chunk()).into_bytes(),
            // Output, and no thread.
            stream_answer(MESSAGE_DONE),
        ] {
            let mut client = gateway.connect().await;
            let question = json!({ "message": "hi", "stream": stream });
            client.send(ask("ada", &question).bytes()).await;
            let (mut peer, _) = upstream.request().await;
            peer.send(&answer).await;
            let reply = client.reply().await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(matches!(reply.status, 400 | 503), "{answer}: {}", reply.text());
            assert_eq!(reply.json()["error"]["details"]["conversation_id"], Value::Null);
            peer.close();
            assert_eq!(sessions(&gateway, "ada").await, 0, "{answer}");
        }
        // The client doesn't wait.
        let mut client = gateway.connect().await;
        client.send(ask("ada", &json!({ "message": "hi", "stream": stream })).bytes()).await;
        let (mut peer, _) = upstream.request().await;
        client.reset();
        peer.expect_closed().await;
        assert_eq!(sessions(&gateway, "ada").await, 0);
    }
}

#[tokio::test]
async fn a_first_message_that_fails_once_there_is_a_thread_leaves_a_conversation() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("chat.id_format", "integer")]).await;
    let mut client = gateway.connect().await;
    client.send(ask("ada", &json!({ "message": "hi" })).bytes()).await;
    let (mut peer, _) = upstream.request().await;
    let failed = format!("{}{}", preamble("thr_1"), error_event("stream.error", None, true));
    peer.send(stream_answer(&failed)).await;
    let error = client.reply().await.refusal(503, "UPSTREAM_ERROR");
    assert_eq!(error["details"]["conversation_id"], 1);
    peer.close();
    let mut client = gateway.connect().await;
    let again = json!({ "message": "again", "conversation_id": 1 });
    client.send(ask("ada", &again).bytes()).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.json()["params"]["thread_id"], "thr_1");
}

#[tokio::test]
async fn only_the_limits_of_chat_hold_here() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("limits.max_sessions", "1"),
        ("limits.max_messages", "1"),
        ("limits.max_message_chars", "1"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let upstream = talkative(upstream);
    for _ in 0..3 {
        let id = begun(&gateway, "ada").await;
        for _ in 0..3 {
            let next = json!({ "message": "and on", "conversation_id": id });
            assert_eq!(asked(&gateway, "ada", &next).await.status, 200);
        }
    }
    assert_eq!(upstream.types().len(), 12);
    gateway.post("ada", "/sessions", "{}").await.refusal(429, "SESSION_LIMIT");

    let upstream = Upstream::bind().await;
    let settings = [("chat.max_sessions", "2"), ("chat.max_messages", "2")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let upstream = talkative(upstream);
    let id = begun(&gateway, "ada").await;
    let next = json!({ "message": "and on", "conversation_id": id });
    asked(&gateway, "ada", &next).await.refusal(429, "MESSAGE_LIMIT");
    gateway.session("ada").await;
    asked(&gateway, "ada", &json!({ "message": "hi" })).await.refusal(429, "SESSION_LIMIT");
    assert_eq!(asked(&gateway, "bob", &json!({ "message": "hi" })).await.status, 200);
    assert_eq!(upstream.types().len(), 2);
}

#[tokio::test]
async fn a_conversation_of_a_thousand_messages_costs_what_a_short_one_costs() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let upstream = upstream.answer(|received: &Received| {
        let body = match received.kind().as_str() {
            "threads.create" => format!("{}{}", preamble("thr_1"), MESSAGE_DONE.repeat(999)),
            "threads.add_user_message" => format!("{}{MESSAGE_DONE}", user_done("msg_u")),
            other => panic!("{other} is not needed"),
        };
        stream_answer(&body)
    });
    let id = begun(&gateway, "ada").await;
    gateway.settle().await;
    assert_eq!(gateway.get("ada", "/sessions").await.data()[0]["message_count"], 1000);
    for _ in 0..3 {
        let next = json!({ "message": "and on", "conversation_id": id });
        assert_eq!(asked(&gateway, "ada", &next).await.status, 200);
    }
    assert_eq!(upstream.types().len(), 4, "one request each");
}

#[tokio::test]
async fn a_hundred_questions_at_once_are_answered_and_streams_are_counted() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("chat.id_format", "integer")]).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = gateway.connect().await;
        client.send(ask("ada", &json!({ "message": "hi" })).bytes()).await;
        clients.push(client);
    }
    // All of them are under way before the first is answered.
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(upstream.request().await.0);
    }
    for (n, peer) in peers.iter_mut().enumerate() {
        let body = format!("{}{MESSAGE_DONE}", preamble(&format!("thr_{n}")));
        peer.send(stream_answer(&body)).await;
    }
    let mut ids = JoinSet::new();
    for client in clients {
        ids.spawn(answered(client));
    }
    let mut ids = ids.join_all().await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    peers.into_iter().for_each(crate::support::Peer::close);

    let streamed = json!({ "message": "hi", "stream": true });
    let mut open = Vec::new();
    for n in 0..16 {
        let mut client = gateway.connect().await;
        client.send(ask("eve", &streamed).bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(created(&format!("thr_eve_{n}"))).await;
        open.push((client, peer));
    }
    asked(&gateway, "eve", &streamed).await.refusal(429, "RATE_LIMITED");
}

/// Gives the number of the conversation that was answered.
async fn answered(mut client: Client) -> u64 {
    let reply = client.reply().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["conversation_id"].as_u64().unwrap()
}

#[tokio::test]
async fn conversations_outlive_the_gateway_and_numbers_are_not_given_again() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let (address, store) = (upstream.address(), folder.store());
    let _upstream = talkative(upstream);
    for (format, second) in [("integer", json!(2)), ("conv", Value::Null), ("uuid", Value::Null)] {
        let settings = [("store.url", store.as_str()), ("chat.id_format", format)];
        let gateway = Gateway::at(address, &settings).await;
        let id = begun(&gateway, "ada").await;
        gateway.kill().await;
        let gateway = Gateway::at(address, &settings).await;
        let next = json!({ "message": "hi", "conversation_id": id });
        let reply = asked(&gateway, "ada", &next).await;
        assert_eq!((reply.status, &reply.json()["conversation_id"]), (200, &id), "{format}");
        asked(&gateway, "eve", &next).await.refusal(403, "FORBIDDEN");
        let another = begun(&gateway, "ada").await;
        assert!(second.is_null() || another == second, "{another}");
        assert_ne!(another, id);
        gateway.kill().await;
    }
}

#[tokio::test]
async fn a_path_with_a_user_is_theirs_and_nobody_elses() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let upstream = talkative(upstream);
    let to = |path: &str, user: &str| TestRequest::new("POST", path).user(user);
    let body = "{\"message\":\"hi\"}";
    let reply = gateway.send(to("//api/ada/chat", "ada").json(body)).await;
    assert_eq!(reply.status, 200);
    let id = reply.json()["conversation_id"].clone();
    let reply = gateway.send(to("//api/a%2Fb%20%C3%A9/chat", "a/b é").json(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // One conversation, two paths.
    let next = json!({ "message": "hi", "conversation_id": id });
    assert_eq!(asked(&gateway, "ada", &next).await.json()["conversation_id"], id);

    let count = upstream.types().len();
    let next = next.to_string();
    for (path, user, body) in [
        ("//api/ada/chat", "eve", next.as_str()),
        ("//api/eve/chat", "ada", body),
        ("//api/Ada/chat", "ada", body),
        // Before the body is looked at: nobody learns anything of theirs here.
        ("//api/ada/chat", "eve", "{"),
        ("//api/nobody/chat", "eve", ""),
    ] {
        gateway.send(to(path, user).json(body)).await.refusal(403, "FORBIDDEN");
    }
    gateway
        .send(TestRequest::new("POST", "//api/ada/chat").json(body))
        .await
        .refusal(401, "UNAUTHORIZED");
    let foreign = gateway.send(to("//api/eve/chat", "eve").json(&next)).await;
    foreign.refusal(403, "FORBIDDEN");
    assert_eq!(upstream.types().len(), count);
}

#[tokio::test]
async fn callers_who_are_believed_are_the_users_of_their_paths() {
    for secret in [None, Some("shared-0123456789abcdef0123456789abcdef")] {
        let upstream = Upstream::bind().await;
        let url = format!("http://{}/chatkit", upstream.address());
        let mut settings = vec![
            ("upstream.url", url.as_str()),
            ("store.url", "memory:"),
            ("auth.mode", "none"),
            ("chat.id_format", "integer"),
            ("limits.requests_per_minute", "5"),
        ];
        settings.extend(secret.map(|secret| ("auth.shared_secret", secret)));
        let gateway = Gateway::configured(&settings).await;
        let _upstream = talkative(upstream);
        let to = |path: &str, body: &Value| {
            let request = TestRequest::new("POST", path).json(&body.to_string());
            match secret {
                None => request.field("x-user-id", "mallory"),
                Some(secret) => request.field("authorization", &format!("Bearer {secret}")),
            }
        };
        let question = json!({ "message": "hi" });
        let id = |reply: &Reply| reply.json()["conversation_id"].clone();
        let ada = id(&gateway.send(to("//api/ada/chat", &question)).await);
        let bob = id(&gateway.send(to("//api/bob/chat", &question)).await);
        let everyone = id(&gateway.send(to("//api/chat", &question)).await);
        assert_eq!([&ada, &bob, &everyone], [&json!(1), &json!(2), &json!(3)]);
        for (path, id, status) in [
            ("//api/ada/chat", &ada, 200),
            ("//api/ada/chat", &bob, 403),
            ("//api/bob/chat", &ada, 403),
            ("//api/chat", &everyone, 200),
            ("//api/chat", &ada, 403),
        ] {
            let next = json!({ "message": "hi", "conversation_id": id });
            let reply = gateway.send(to(path, &next)).await;
            assert_eq!(reply.status, status, "{path} {id}: {}", reply.text());
        }
        // Requests are counted by the user of the path.
        for _ in 0..2 {
            assert_eq!(gateway.send(to("//api/ada/chat", &question)).await.status, 200);
        }
        gateway.send(to("//api/ada/chat", &question)).await.refusal(429, "RATE_LIMITED");
        assert_eq!(gateway.send(to("//api/carl/chat", &question)).await.status, 200);
        // A path that can't be a user's is nobody's.
        gateway.send(to("//api/%00/chat", &question)).await.refusal(404, "NOT_FOUND");
        let long = format!("//api/{}/chat", "x".repeat(256));
        gateway.send(to(&long, &question)).await.refusal(403, "FORBIDDEN");

        if secret.is_some() {
            for token in [None, Some("shared-0123456789abcdef0123456789abcdeF")] {
                for path in ["//api/dora/chat", "//api/chat", "/sessions"] {
                    let mut request = TestRequest::new("POST", path).json("{\"message\":\"hi\"}");
                    if let Some(token) = token {
                        request = request.field("authorization", &format!("Bearer {token}"));
                    }
                    let reply = gateway.send(request).await;
                    reply.refusal(401, "UNAUTHORIZED");
                    assert!(reply.field("www-authenticate").unwrap().starts_with("Bearer "));
                }
            }
        }
    }
}

#[tokio::test]
async fn where_it_is_turned_off_there_is_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("chat.enabled", "false")]).await;
    asked(&gateway, "ada", &json!({ "message": "hi" })).await.refusal(404, "NOT_FOUND");
    let gateway = Gateway::with(&upstream, &[("chat.path", "/talk/v1")]).await;
    asked(&gateway, "ada", &json!({ "message": "hi" })).await.refusal(404, "NOT_FOUND");
    for path in ["//talk/v1/chat", "//talk/v1/ada/chat"] {
        let request = TestRequest::new("POST", path).user("ada").json("{\"message\":\"\"}");
        gateway.send(request).await.refusal(422, "EMPTY_MESSAGE");
    }
}
