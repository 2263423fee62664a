//! One-shot chat's history: which conversations there are, and what was said in them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Gateway, Reply, SECRET, TestRequest, Upstream};

/// Gives a gateway with the upstream that is built in, which keeps and pages for itself.
async fn gateway(more: &[(&'static str, &str)]) -> Gateway {
    let mut settings = vec![
        ("upstream.url", "embedded"),
        ("store.url", "memory:"),
        ("auth.secret", SECRET),
        ("limits.requests_per_minute", "0"),
    ];
    settings.extend(more);
    Gateway::configured(&settings).await
}

/// Gives what is answered to a question.
async fn asked(gateway: &Gateway, message: &str, conversation: &Value) -> Value {
    let body = json!({ "message": message, "conversation_id": conversation }).to_string();
    let reply = gateway.post("ada", "//api/chat", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn written(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    // What a run that just ended has settled is seen by whoever asks after its end.
    gateway.settle().await;
    let reply = gateway.get("ada", path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// Gives all pages below a path: each one's `member`.
async fn pages(gateway: &Gateway, path: &str, member: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(gateway, &format!("{path}{query}")).await;
        pages.push(page[member].as_array().unwrap().clone());
        assert_eq!(page["has_more"], !page["next"].is_null(), "{page}");
        let Some(next) = page["next"].as_str() else { return pages };
        let mark = if path.contains('?') { '&' } else { '?' };
        query = format!("{mark}after={next}");
        assert!(pages.len() < 100, "it ends");
    }
}

#[tokio::test]
async fn what_was_answered_is_read_again() {
    for format in ["uuid", "integer", "conv"] {
        let gateway = gateway(&[("chat.id_format", format)]).await;
        let mut id = Value::Null;
        let mut expected = Vec::new();
        for message in ["hello", "/tool look_up {}", "/workflow", "/task", "/widget", "bye"] {
            let answer = asked(&gateway, message, &id).await;
            id = answer["conversation_id"].clone();
            expected.push(json!(["user", message, []]));
            expected.push(json!(["assistant", answer["response"], answer["tool_calls"]]));
        }
        assert!(expected.contains(&json!([
            "assistant",
            "The assistant acted without a message.",
            ["look_up"]
        ])));
        for path in ["//api/conversations", "//api/ada/conversations"] {
            let page = get(&gateway, &format!("{path}/{}", written(&id))).await;
            let told: Vec<Value> = page["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|said| json!([said["role"], said["content"], said["tool_calls"]]))
                .collect();
            assert_eq!(told, expected, "{format}");
            assert_eq!((&page["has_more"], &page["next"]), (&json!(false), &Value::Null));
            let list = get(&gateway, path).await;
            let mut listed = list["conversations"][0].clone();
            assert_eq!(listed["conversation_id"], id);
            assert_eq!(listed["title"], "hello");
            // What lists show is what is shown of one.
            for (name, value) in listed.as_object_mut().unwrap() {
                assert_eq!(*value, page[name], "{name}");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_fifty_lead_from_the_newest_message_to_the_oldest() {
    let gateway = gateway(&[("chat.id_format", "integer")]).await;
    let mut expected = Vec::new();
    for n in 0..60 {
        // Now and then a turn of three items, so that some page would end inside of one.
        let message = if n % 7 == 3 { "/workflow".to_owned() } else { n.to_string() };
        let id = if n == 0 { Value::Null } else { json!(1) };
        let answer = asked(&gateway, &message, &id).await;
        expected.extend([json!(message), answer["response"].clone()]);
    }
    let pages = pages(&gateway, "//api/conversations/1", "messages").await;
    assert_eq!(pages.len(), 3);
    for page in &pages {
        assert!(page.len() <= 50 && page[0]["role"] == "user", "{}", page.len());
    }
    let said: Vec<Value> =
        pages.iter().rev().flatten().map(|message| message["content"].clone()).collect();
    assert_eq!(said, expected);
    let ids: BTreeSet<&str> =
        pages.iter().flatten().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), expected.len());
}

#[tokio::test]
async fn what_is_written_to_meanwhile_is_not_listed_twice() {
    let gateway = gateway(&[("chat.id_format", "integer")]).await;
    for _ in 0..5 {
        asked(&gateway, "hello", &Value::Null).await;
    }
    let pages = pages(&gateway, "//api/conversations?limit=2", "conversations").await;
    let ids: Vec<Vec<u64>> = pages
        .iter()
        .map(|page| page.iter().map(|it| it["conversation_id"].as_u64().unwrap()).collect())
        .collect();
    assert_eq!(ids, [vec![5, 4], vec![3, 2], vec![1]]);

    let first = get(&gateway, "//api/conversations?limit=2").await;
    // One that was shown, and one that wasn't.
    asked(&gateway, "again", &json!(4)).await;
    asked(&gateway, "again", &json!(1)).await;
    let next = first["next"].as_str().unwrap();
    let second = get(&gateway, &format!("//api/conversations?limit=2&after={next}")).await;
    let ids: Vec<&Value> = second["conversations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["conversation_id"])
        .collect();
    assert_eq!((ids, &second["has_more"]), (vec![&json!(3), &json!(2)], &json!(false)));
    let newest = get(&gateway, "//api/conversations?limit=200").await;
    assert_eq!(newest["conversations"][0]["conversation_id"], 1);
    assert_eq!(newest["conversations"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_conversation_is_its_owners_to_read() {
    let gateway = gateway(&[("chat.id_format", "integer")]).await;
    let id = asked(&gateway, "hello", &Value::Null).await["conversation_id"].clone();
    assert_eq!(id, 1);
    let path = "//api/conversations/1";
    gateway.get("eve", path).await.refusal(403, "FORBIDDEN");
    gateway.get("eve", "//api/ada/conversations/1").await.refusal(403, "FORBIDDEN");
    gateway.get("eve", "//api/ada/conversations").await.refusal(403, "FORBIDDEN");
    gateway.get("eve", "//api/eve/conversations/1").await.refusal(403, "FORBIDDEN");
    let none = gateway.get("eve", "//api/conversations").await.json();
    assert_eq!(none, json!({"conversations": [], "has_more": false, "next": null}));
    let stranger = gateway.send(TestRequest::new("GET", path)).await;
    stranger.refusal(401, "UNAUTHORIZED");
    let unknown = gateway.get("ada", "//api/conversations/2").await;
    let message = unknown.refusal(404, "SESSION_NOT_FOUND")["message"].clone();
    assert_eq!(message, "There is no such conversation.");

    let head = gateway.send(TestRequest::new("HEAD", path).user("ada")).await;
    assert_eq!((head.status, head.text()), (200, ""));
    let wrong = gateway.post("ada", path, "{}").await;
    wrong.refusal(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.field("allow"), Some("GET, HEAD"));
}

/// Gives what is answered about a conversation when the upstream says this.
async fn failing(answer: &[u8]) -> Reply {
    use crate::support::{MESSAGE_DONE, preamble, stream_answer};
    let upstream = Upstream::bind().await;
    let settings = [("chat.id_format", "integer"), ("upstream.json_timeout", "200ms")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let answer = answer.to_vec();
    let _upstream = upstream.answer(move |received| match received.kind().as_str() {
        "threads.create" => stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))),
        _ => answer.clone(),
    });
    asked(&gateway, "hi", &Value::Null).await;
    gateway.get("ada", "//api/conversations/1").await
}

#[tokio::test]
async fn whatever_fails_behind_the_gateway_is_503() {
    use crate::support::json_answer;
    for (answer, code) in [
        (b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec(), "UPSTREAM_ERROR"),
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_vec(), "THREAD_NOT_FOUND"),
        (b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n".to_vec(), "UPSTREAM_REJECTED"),
        (json_answer("{}"), "UPSTREAM_ERROR"),
        // It promises more, and doesn't say where.
        (json_answer(r#"{"data":[],"has_more":true}"#), "UPSTREAM_ERROR"),
        (Vec::new(), "UPSTREAM_TIMEOUT"),
    ] {
        let status = if code == "THREAD_NOT_FOUND" { 404 } else { 503 };
        failing(&answer).await.refusal(status, code);
    }
}

#[tokio::test]
async fn a_user_may_be_called_as_the_path_is() {
    let gateway = gateway(&[("chat.id_format", "integer")]).await;
    let name = "conversations";
    let path = "//api/conversations/chat";
    let reply = gateway.post(name, path, r#"{"message":"hello"}"#).await;
    assert_eq!((reply.status, &reply.json()["conversation_id"]), (200, &json!(1)));
    gateway.settle().await;
    for path in ["//api/conversations/conversations", "//api/conversations"] {
        let listed = gateway.get(name, path).await.json();
        assert_eq!(listed["conversations"][0]["conversation_id"], 1, "{path}");
    }
    let shown = gateway.get(name, "//api/conversations/conversations/1").await.json();
    assert_eq!(shown["messages"][0]["content"], "hello");
    for path in ["//api/conversations/conversations", "//api/conversations/conversations/1"] {
        gateway.get("ada", path).await.refusal(403, "FORBIDDEN");
    }
    gateway.post("ada", path, r#"{"message":"hello"}"#).await.refusal(403, "FORBIDDEN");
}
