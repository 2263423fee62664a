//! The gateway with the upstream that is built in.

use serde_json::Value;

use crate::support::{End, Gateway, Reply, SECRET, TestRequest};

async fn gateway() -> Gateway {
    let settings = [
        ("upstream.url", "embedded"),
        ("store.url", "memory:"),
        ("auth.secret", SECRET),
        ("limits.requests_per_minute", "0"),
        ("limits.max_sessions", "0"),
    ];
    Gateway::configured(&settings).await
}

async fn say(gateway: &Gateway, session: &str, text: &str) -> Reply {
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let body = serde_json::json!({ "message": text }).to_string();
    gateway.post("ada", &path, &body).await
}

fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.end), (200, End::Clean), "{}", reply.text());
    reply
        .text()
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn types(reply: &Reply) -> Vec<String> {
    events(reply).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_conversation_from_its_begin_to_its_end() {
    let gateway = gateway().await;
    assert_eq!(gateway.send(TestRequest::new("GET", "//readyz")).await.status, 200);
    let session = gateway.session("ada").await;
    let first = say(&gateway, &session, "Good morning").await;
    assert_eq!(types(&first)[..3], ["thread.created", "thread.item.done", "stream_options"]);
    let second = say(&gateway, &session, "again").await;
    assert_eq!(types(&second)[..2], ["thread.item.done", "stream_options"]);

    let data = gateway.get("ada", &format!("/sessions/{session}")).await.data();
    let messages = data["messages"].as_array().unwrap();
    let said: Vec<_> = messages
        .iter()
        .map(|m| (m["role"].as_str().unwrap(), m["content"][0]["text"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("user", "Good morning"),
            ("assistant", "You said: Good morning"),
            ("user", "again"),
            ("assistant", "You said: again"),
        ]
    );
    assert_eq!(data["message_count"], 4);
    assert_eq!(data["title"], "Good morning");
    let thread = data["thread_id"].as_str().unwrap().to_owned();

    // By ChatKit's own name, too; and not for anybody else.
    let list = format!(r#"{{"type":"items.list","params":{{"thread_id":"{thread}"}}}}"#);
    assert_eq!(gateway.post("ada", "", &list).await.json()["data"].as_array().unwrap().len(), 4);
    gateway.post("eve", "", &list).await.refusal(403, "FORBIDDEN");
    gateway.get("eve", &format!("/sessions/{session}")).await.refusal(403, "FORBIDDEN");

    let path = format!("/sessions/{session}");
    let rename = TestRequest::new("PATCH", &path).user("ada").json("{\"title\":\"Later\"}");
    assert_eq!(gateway.send(rename).await.data()["title"], "Later");
    let gone = gateway.send(TestRequest::new("DELETE", &path).user("ada")).await.data();
    assert_eq!(gone["deleted"], true);
    gateway.get("ada", &path).await.refusal(404, "SESSION_NOT_FOUND");
    gateway.post("ada", "", &list).await.refusal(404, "THREAD_NOT_FOUND");
}

#[tokio::test]
async fn an_answer_in_json() {
    let gateway = gateway().await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let body = r#"{"message":"hello","stream":false}"#;
    let data = gateway.post("ada", &path, body).await.data();
    assert_eq!(data["session_id"], session.as_str());
    assert_eq!(data["message"]["content"][0]["text"], "You said: hello");
    assert_eq!(data["items"].as_array().unwrap().len(), 2);
    let request = TestRequest::new("POST", &path)
        .user("ada")
        .field("accept", "application/json")
        .json("{\"message\":\"/tool f {}\"}");
    let data = gateway.send(request).await.data();
    assert_eq!(data["message"]["tool_calls"][0]["name"], "f");
}

#[tokio::test]
async fn its_words_do_what_they_say() {
    let gateway = gateway().await;
    for (text, expected) in [
        ("/widget", "\"widget\""),
        ("/workflow", "\"workflow\""),
        ("/task", "\"task\""),
        ("/image", "generated_image"),
        ("/notice", "\"notice\""),
        ("/progress", "progress_update"),
        ("/effect", "client_effect"),
        ("/structured", "structured_input"),
        ("/annotations", "annotation_added"),
        ("/tool f {\"a\":1}", "client_tool_call"),
        ("/unicode", "\u{2028}"),
        ("/long 300", "text_delta"),
        ("/close", "\"closed\""),
        ("/error-after 3", "stream.error"),
    ] {
        let session = gateway.session("ada").await;
        let reply = say(&gateway, &session, text).await;
        events(&reply);
        assert!(reply.text().contains(expected), "{text}: {}", reply.text());
    }
    let session = gateway.session("ada").await;
    let hidden = say(&gateway, &session, "/hidden").await;
    events(&hidden);
    let path = format!("/sessions/{session}");
    let shown = gateway.get("ada", &path).await;
    assert!(!shown.text().contains("hidden_context"), "{}", shown.text());
}

#[tokio::test]
async fn its_failures_are_those_of_a_real_one() {
    let gateway = gateway().await;
    let session = gateway.session("ada").await;
    say(&gateway, &session, "/error").await.refusal(502, "UPSTREAM_ERROR");
    let error = say(&gateway, &session, "/custom No, really.").await;
    assert_eq!(error.refusal(422, "UPSTREAM_REJECTED")["message"], "No, really.");
    let cut = say(&gateway, &session, "/cut").await;
    let error = cut.refusal(502, "UPSTREAM_ERROR");
    assert!(error["details"]["user_message_id"].is_string(), "{error}");
    let cut = say(&gateway, &session, "/cut-after 3").await;
    assert_eq!(cut.status, 200);
    assert_eq!(cut.text().matches("text_delta").count(), 3, "{}", cut.text());
    assert_ne!(cut.end, End::Clean);
    // And it goes on.
    events(&say(&gateway, &session, "fine").await);
}
