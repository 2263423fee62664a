//! The gateway with the upstream that is built in and a model that answers there.

use serde_json::{Value, json};

use crate::support::{
    Client, End, Gateway, Reply, SECRET, STREAM_HEAD, TestRequest, Upstream, data,
    everything_logged, stream_answer,
};

/// Gives a gateway whose model is at `api`.
async fn gateway(api: &Upstream) -> Gateway {
    let base_url = format!("http://{}/v1", api.address());
    let settings = [
        ("upstream.url", "embedded"),
        ("embedded.responder", "openai"),
        ("embedded.base_url", &base_url),
        ("embedded.api_key", "planted-model-key"),
        ("embedded.model", "a-model"),
        ("embedded.system_prompt", "planted-prompt"),
        ("store.url", "memory:"),
        ("auth.secret", SECRET),
        ("limits.requests_per_minute", "0"),
        ("limits.max_sessions", "0"),
    ];
    Gateway::configured(&settings).await
}

fn delta(text: &str) -> String {
    data(&json!({"choices": [{"delta": {"content": text}}]}).to_string())
}

/// Gives a run whose model gives these answers, one for each time that it is asked.
async fn run<T: AsRef<[u8]>>(gateway: &Gateway, api: &Upstream, answers: &[T]) -> Reply {
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    for answer in answers {
        let (mut peer, _) = api.request().await;
        peer.send(answer).await;
        peer.close();
    }
    let reply = client.reply().await;
    api.expect_no_connection();
    reply
}

async fn expect_chunk(client: &mut Client, expected: &str) {
    let mut seen = String::new();
    while !seen.contains(expected) {
        let chunk = client.chunk().await.expect("more");
        assert!(!chunk.is_empty(), "{expected} is not in {seen}");
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn a_model_answers_word_by_word() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, request) = api.request().await;
    assert!(request.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_eq!(request.field("authorization"), Some("Bearer planted-model-key"));
    assert_eq!(
        request.json(),
        json!({
            "model": "a-model",
            "messages": [
                {"role": "system", "content": "planted-prompt"},
                {"role": "user", "content": "hi"},
            ],
            "stream": true,
        })
    );
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(delta("Good ")).await;
    assert_eq!(client.head().await.status, 200);
    expect_chunk(&mut client, "\"delta\":\"Good \"").await;
    peer.send_chunk(delta("day")).await;
    expect_chunk(&mut client, "\"delta\":\"day\"").await;
    peer.send_chunk(data("[DONE]")).await;
    let (rest, end) = client.body().await;
    assert_eq!(end, End::Clean);
    assert!(String::from_utf8(rest).unwrap().contains("\"text\":\"Good day\""));

    let conversation = gateway.get("ada", &format!("/sessions/{session}")).await.data();
    assert_eq!(conversation["message_count"], 2);
    assert_eq!(conversation["messages"][1]["content"][0]["text"], "Good day");
}

#[tokio::test]
async fn an_answer_in_json() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let request = TestRequest::new("POST", &path)
        .user("ada")
        .json("{\"message\":\"hello\",\"stream\":false}");
    let mut client = gateway.connect().await;
    client.send(request.bytes()).await;
    let (mut peer, _) = api.request().await;
    peer.send(stream_answer(&(delta("Good day") + &data("[DONE]")))).await;
    let answer: Value = client.reply().await.data();
    assert_eq!(answer["message"]["content"][0]["text"], "Good day");
}

#[tokio::test]
async fn a_failure_before_the_first_word_has_a_status_and_a_reason_in_the_log() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let body = r#"{"error":{"message":"planted-by-the-model","code":"planted_code"}}"#;
    let refused = |status: u16| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} X\r\nretry-after-ms: 0\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    for (answer, may_retry, asked) in [
        (refused(401), false, 1),
        (refused(400), false, 1),
        (refused(429), true, 3),
        (refused(500), true, 3),
        (String::new(), true, 3),
        (STREAM_HEAD.to_owned(), true, 1),
    ] {
        let reply = run(&gateway, &api, &vec![&answer; asked]).await;
        let error = reply.refusal(502, "UPSTREAM_ERROR");
        assert_eq!(error["details"]["allow_retry"], may_retry, "{answer}");
        assert!(error["details"]["user_message_id"].is_string());
        assert!(!reply.text().contains("planted"), "{}", reply.text());
    }
    let logged = everything_logged();
    for word in
        ["the model did not answer", "planted_code", "\"status\": \"429\"", "/v1/chat/completions"]
    {
        assert!(logged.contains(word), "{word}");
    }
    for word in ["planted-model-key", "planted-prompt", "planted-by-the-model"] {
        assert!(!logged.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_model_that_is_busy_for_a_moment_answers() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let busy = "HTTP/1.1 429 X\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        .as_bytes();
    let answer = stream_answer(&(delta("Good day") + &data("[DONE]")));
    let reply = run(&gateway, &api, &[busy, busy, &answer]).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("\"text\":\"Good day\""), "{}", reply.text());
}

#[tokio::test]
async fn a_model_answers_in_the_words_of_its_server() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let chunk = |delta: Value| {
        data(&json!({"choices": [{"delta": delta, "finish_reason": "stop"}]}).to_string())
    };
    let thinking = chunk(json!({"content": [{"type": "thinking", "thinking": "planted"}]}));
    let text = chunk(json!({"content": [{"type": "text", "text": "Good "}]}));
    let events = [&*thinking, "data:\n\n", &*text, &*chunk(json!({"content": "day"}))].concat();
    let reply = run(&gateway, &api, &[stream_answer(&events)]).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("\"text\":\"Good day\""), "{}", reply.text());
    assert!(!reply.text().contains("planted"), "{}", reply.text());

    for (error, may_retry) in [
        (data(r#"{"error":{"message":"planted","code":400}}"#), false),
        (data(r#"{"object":"error","message":"planted","code":400}"#), false),
        (data(r#"{"error":"planted"}"#), true),
    ] {
        let reply = run(&gateway, &api, &[stream_answer(&(error + &data("[DONE]")))]).await;
        let error = reply.refusal(502, "UPSTREAM_ERROR");
        assert_eq!(error["details"]["allow_retry"], may_retry);
    }
}

#[tokio::test]
async fn a_failure_of_the_model_leaves_the_conversation_usable() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let session = gateway.session("ada").await;
    for (answer, told) in [
        ("HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n".as_bytes().to_vec(), json!(["hi"])),
        (stream_answer(&(delta("Yes?") + &data("[DONE]"))), json!(["hi\n\nhi"])),
        (stream_answer(&data("[DONE]")), json!(["hi\n\nhi", "Yes?", "hi"])),
    ] {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, request) = api.request().await;
        let messages = request.json()["messages"].as_array().unwrap().clone();
        assert_eq!(messages[0]["role"], "system");
        let texts: Vec<_> = messages.into_iter().skip(1).map(|it| it["content"].clone()).collect();
        assert_eq!(Value::from(texts), told);
        peer.send(answer).await;
        peer.close();
        client.reply().await;
    }
}

#[tokio::test]
async fn a_failure_after_it_ends_the_stream_with_an_error() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = api.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(delta("half")).await;
    assert_eq!(client.head().await.status, 200);
    expect_chunk(&mut client, "\"delta\":\"half\"").await;
    peer.reset();
    let (rest, end) = client.body().await;
    assert_eq!(end, End::Clean);
    let rest = String::from_utf8(rest).unwrap();
    assert_eq!(rest, data(r#"{"type":"error","code":"stream.error","allow_retry":true}"#));
    let conversation = gateway.get("ada", &format!("/sessions/{session}")).await.data();
    assert_eq!(conversation["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn when_the_client_leaves_the_model_is_told() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = api.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(delta("half")).await;
    client.head().await;
    expect_chunk(&mut client, "\"delta\":\"half\"").await;
    drop(client);
    peer.expect_closed().await;
}

#[tokio::test]
async fn what_a_model_makes_long_is_not_written_whole() {
    let api = Upstream::bind().await;
    let gateway = gateway(&api).await;
    let long = "outspun_".repeat(7500);
    let report = json!({"error": {"code": &long, "type": &long, "message": &long}}).to_string();
    let refused = format!(
        "HTTP/1.1 400 {long}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{report}",
        report.len()
    );
    let in_the_stream = stream_answer(&data(&report));
    let named = stream_answer(&format!("event: error\n{}", data(&report)));
    for answer in [refused.into_bytes(), in_the_stream, named] {
        let reply = run(&gateway, &api, &[answer]).await;
        assert!(!reply.text().contains("outspun_"), "{}", reply.text());
    }
    let logged = everything_logged();
    assert!(logged.contains("the model did not answer"));
    assert!(!logged.contains(&"outspun_".repeat(33)));
}
