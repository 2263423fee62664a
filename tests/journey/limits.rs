//! Limits of requests, of streams, and of everything together.

use crate::support::{
    End, Gateway, JSON_HEAD, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream,
    chunk, data, json_answer, last_chunk, options, preamble, soon, user_done,
};

#[tokio::test]
async fn a_user_may_make_so_many_requests_and_is_told_when_to_come_back() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.requests_per_minute", "3")]).await;
    for left in ["2", "1", "0"] {
        let reply = gateway.get("ada", "/sessions").await;
        assert_eq!(reply.status, 200);
        assert!(reply.field("ratelimit").unwrap().contains(&format!(";r={left};")));
        assert_eq!(reply.field("ratelimit-policy"), Some("\"user\";q=3;w=60"));
    }
    // By user and not by token.
    let claims = serde_json::json!({ "sub": "ada", "exp": 4_000_000_000_u64, "jti": "another" });
    let token = crate::support::token_with(&claims);
    let request =
        TestRequest::new("GET", "/sessions").field("authorization", &format!("Bearer {token}"));
    let reply = gateway.send(request).await;
    reply.refusal(429, "RATE_LIMITED");
    let retry_after: u64 = reply.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&retry_after), "{retry_after}");
    assert!(reply.field("ratelimit").unwrap().contains(";r=0;"));
    assert_eq!(reply.field("ratelimit-policy"), Some("\"user\";q=3;w=60"));
    // Nobody else pays for it, health least of all.
    assert_eq!(gateway.get("eve", "/sessions").await.status, 200);
    gateway.settle().await;
}

#[tokio::test]
async fn a_forged_token_costs_its_user_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.requests_per_minute", "1")]).await;
    let forged = crate::support::token("ada");
    let forged = format!("Bearer {}A", &forged[..forged.len() - 2]);
    for _ in 0..20 {
        let request = TestRequest::new("GET", "/sessions").field("authorization", &forged);
        let reply = gateway.send(request).await;
        assert_eq!((reply.status, reply.field("ratelimit")), (401, None));
    }
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
}

#[tokio::test]
async fn a_user_may_have_so_many_streams_and_each_counts_until_its_bodys_end() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_streams_per_user", "2")]).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(format!("{}{}{MESSAGE_START}", user_done("msg_u"), options())).await;
        assert_eq!(client.head().await.status, 200);
        open.push((client, peer));
    }
    let reply = gateway.say("ada", &session).await.reply().await;
    reply.refusal(429, "RATE_LIMITED");
    assert_eq!(reply.field("retry-after"), Some("1"));
    let passed =
        r#"{"type":"threads.retry_after_item","params":{"thread_id":"thr_1","item_id":"msg_u"}}"#;
    gateway.chatkit("ada", passed).await.reply().await.refusal(429, "RATE_LIMITED");
    assert_eq!(gateway.get("ada", "/sessions").await.status, 200);
    gateway.settle().await;
    upstream.expect_no_connection();

    // One ends, one is left.
    let (mut client, mut peer) = open.pop().unwrap();
    peer.send_chunk(MESSAGE_DONE).await;
    peer.send_end().await;
    assert_eq!(client.body().await.1, End::Clean);
    let mut client = gateway.say("ada", &session).await;
    assert_eq!(peer.request().await.kind(), "threads.add_user_message");
    let (left, mut freed) = open.pop().unwrap();
    drop(left);
    freed.expect_closed().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{}{MESSAGE_START}", user_done("msg_u"), options())).await;
    assert_eq!(client.head().await.status, 200);
    let _another = gateway.say("ada", &session).await;
    upstream.request().await;
}

#[tokio::test]
async fn what_is_too_much_for_all_is_a_503_until_a_place_is_free() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "1")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    client.head().await;
    client.expect_body(&first).await;
    let ready = TestRequest::new("GET", "//readyz");
    let reply = gateway.get("eve", "/sessions").await;
    reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(reply.field("retry-after"), Some("1"));
    // It is known who is refused.
    let line = crate::support::line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!(line.get("user"), "eve");
    // Who has no token neither takes a place nor needs one.
    gateway.send(TestRequest::new("GET", "/sessions")).await.refusal(401, "UNAUTHORIZED");
    let error = gateway.send(ready.clone()).await.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(error["details"]["check"], "places");
    gateway.settle().await;
    peer.send_end().await;
    assert_eq!(client.chunk().await, Err(End::Clean));
    assert_eq!(gateway.get("eve", "/sessions").await.status, 200);
    assert_eq!(gateway.send(ready).await.status, 200);
}

#[tokio::test]
async fn a_message_and_a_body_have_a_largest_size() {
    let upstream = Upstream::bind().await;
    let settings = [("limits.max_message_chars", "5"), ("limits.max_body_bytes", "200")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let reply = gateway.post("ada", &path, "{\"message\":\"123456\"}").await;
    let error = reply.refusal(400, "MESSAGE_TOO_LONG");
    assert_eq!(error["details"]["max_message_chars"], 5);
    assert_eq!(error["details"]["message_chars"], 6);
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(300));
    gateway.post("ada", "/sessions", &large).await.refusal(413, "PAYLOAD_TOO_LARGE");
    // Without a length it is found out on the way.
    let mut client = gateway.connect().await;
    let request = TestRequest::new("POST", "/sessions")
        .user("ada")
        .field("content-type", "application/json")
        .field("transfer-encoding", "chunked");
    client.send(request.bytes()).await;
    client.send(crate::support::chunk(&large)).await;
    client.reply().await.refusal(413, "PAYLOAD_TOO_LARGE");
    // Characters are counted, not bytes.
    let mut client = gateway.connect().await;
    let run = TestRequest::new("POST", &path).user("ada").json("{\"message\":\"👋👋👋👋👋\"}");
    client.send(run.bytes()).await;
    upstream.request().await;
}

// What nobody knows is passed on: no text gets around the limit of messages by it.
#[tokio::test]
async fn members_that_are_not_known_have_a_largest_size_together() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[]).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let thread = format!("/sessions/{session}/threads/{session}");
    let much = "x".repeat(65_536);
    let part = format!("{{\"type\":\"input_text\",\"text\":\"a\",\"x\":\"{much}\"}}");
    let action = format!("{{\"type\":\"go\",\"x\":\"{much}\"}}");
    let run = format!("{{\"message\":{{\"role\":\"user\",\"content\":[{part}]}}}}");
    let input = format!("{{\"content\":[{part}],\"attachments\":[],\"inference_options\":{{}}}}");
    let chatkit = |kind: &str, params: &str| {
        format!("{{\"type\":\"{kind}\",\"params\":{{\"thread_id\":\"thr_1\",{params}}}}}")
    };
    let said = format!("\"input\":{input}");
    let acted = format!("\"action\":{action}");
    for (path, body, pointer) in [
        (format!("{thread}/runs"), run, "/message/content/0"),
        (format!("{thread}/actions"), format!("{{{acted}}}"), "/action"),
        (String::new(), chatkit("threads.add_user_message", &said), "/params/input/content/0"),
        (String::new(), chatkit("threads.custom_action", &acted), "/params/action"),
        (String::new(), chatkit("threads.sync_custom_action", &acted), "/params/action"),
    ] {
        let error = gateway.post("ada", &path, &body).await.refusal(400, "INVALID_INPUT");
        assert_eq!(error["details"]["errors"][0]["pointer"], *pointer, "{error}");
    }
}

#[tokio::test]
async fn bodies_that_are_being_read_have_a_largest_size_together() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("limits.max_buffered_bytes", "1600000"),
        ("limits.max_buffered_bytes_per_user", "1200000"),
        ("limits.max_body_bytes", "1100000"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(700_000));
    let head = TestRequest::new("POST", "/sessions")
        .user("ada")
        .field("content-type", "application/json")
        .field("content-length", "1000000");
    // Bodies that were announced, and don't come, take nothing.
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut connection = gateway.connect().await;
        connection.send(head.bytes()).await;
        connection.send("{").await;
        silent.push(connection);
    }
    // One that comes but for its end.
    let mut slow = gateway.connect().await;
    slow.send(head.bytes()).await;
    slow.send(&"x".repeat(999_999)).await;
    let refused = loop {
        // Until it is there.
        let reply = gateway.post("ada", "/sessions", &large).await;
        if reply.status != 400 {
            break reply;
        }
    };
    refused.refusal(429, "RATE_LIMITED");
    assert_eq!(refused.field("retry-after"), Some("1"));
    let others = gateway.post("eve", "/sessions", &large).await;
    others.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(others.field("retry-after"), Some("1"));
    // What is small is let in, and when the first has gone so is what is not.
    assert_eq!(gateway.post("ada", "/sessions", "{}").await.status, 200);
    drop(slow);
    loop {
        let reply = gateway.post("ada", "/sessions", &large).await;
        if reply.status != 429 {
            reply.refusal(400, "INVALID_INPUT");
            break;
        }
    }
}

// Beside a large answer that doesn't end, one more of the same user's is too much, however it was
// asked for; others have theirs.
#[tokio::test]
async fn answers_that_are_being_read_have_a_largest_size_together() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("limits.max_buffered_bytes", "2400000"),
        ("limits.max_buffered_bytes_per_user", "1200000"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let others = gateway.bound(&upstream, "eve", "thr_2").await;
    let thread = |session: &str| format!("/sessions/{session}/threads/{session}");
    let title = "x".repeat(700_000);
    let body = format!("{{\"id\":\"thr_1\",\"title\":\"{title}\"}}");
    // A body that a user without room may not send: when that is so tells what is counted.
    let large = format!("{{\"title\":\"{title}\"}}");
    let is_crowded = async || gateway.post("ada", "/sessions", &large).await.status == 429;

    let get = TestRequest::new("GET", &thread(&session)).user("ada");
    let words = TestRequest::new("POST", "/transcriptions").user("ada");
    let chat = TestRequest::new("POST", "//api/chat").user("ada").json("{\"message\":\"hi\"}");
    let update =
        "{\"type\":\"threads.update\",\"params\":{\"thread_id\":\"thr_1\",\"title\":\"t\"}}";
    let requests = [
        (get.clone(), false),
        (TestRequest::new("GET", &format!("/sessions/{session}")).user("ada"), false),
        (TestRequest::new("GET", &format!("{}/items", thread(&session))).user("ada"), false),
        (words.field("content-type", "audio/wav").body("RIFF"), false),
        (TestRequest::new("POST", "").user("ada").json(update), false),
        (
            TestRequest::new("POST", "")
                .user("ada")
                .json("{\"type\":\"threads.list\",\"params\":{}}"),
            false,
        ),
        (TestRequest::run(&session).user("ada").field("accept", "application/json"), true),
        (chat.field("accept", "application/json"), true),
    ];
    for (n, (request, is_run)) in requests.iter().enumerate() {
        let mut first = gateway.connect().await;
        first.send(get.bytes()).await;
        let (mut sending, _) = upstream.request().await;
        sending.send(format!("{JSON_HEAD}content-length: {}\r\n\r\n", body.len())).await;
        sending.send(&body[..body.len() - 100]).await;
        soon(async { while !is_crowded().await {} }).await;

        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        let (mut peer, _) = upstream.request().await;
        if *is_run {
            // A client of this kind is told nothing before the end.
            peer.send(STREAM_HEAD).await;
            peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_3"))).await;
            peer.send_chunk(data(&format!("{{\"type\":\"x\",\"x\":\"{title}\"}}"))).await;
        } else {
            peer.send(format!("{JSON_HEAD}transfer-encoding: chunked\r\n\r\n")).await;
            peer.send(&chunk(&body)[..body.len() - 100]).await;
        }
        let refused = client.reply_to("POST").await;
        assert_eq!((refused.status, n), (429, n), "{}", refused.text());
        assert_eq!(refused.field("retry-after"), Some("1"));
        assert!(refused.text().contains("RATE_LIMITED"), "{}", refused.text());
        peer.expect_closed().await;

        let mut other = gateway.connect().await;
        other.send(TestRequest::new("GET", &thread(&others)).user("eve").bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(json_answer(&body)).await;
        assert_eq!(other.reply().await.status, 200);
        peer.close();

        // All of it is given back, whether the answer ends or its client goes.
        if n % 2 == 0 {
            sending.send(&body[body.len() - 100..]).await;
            assert_eq!(first.reply().await.status, 200);
            sending.close();
        } else {
            drop(first);
            sending.expect_closed().await;
        }
        soon(async { while is_crowded().await {} }).await;
    }
}

// Until the client has it; where there is no room for it, nothing is held.
#[tokio::test]
async fn what_is_held_of_runs_is_counted() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("limits.max_buffered_bytes", "2400000"),
        ("limits.max_buffered_bytes_per_user", "1200000"),
        ("stream.hold_for", "60s"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let text = "x".repeat(700_000);
    let large = format!("{{\"title\":\"{text}\"}}");
    let is_crowded = async || gateway.post("ada", "/sessions", &large).await.status == 429;
    let echo = user_done("msg_u").replace("\"hi\"", &format!("\"{text}\""));

    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(&echo).await;
    soon(async { while !is_crowded().await {} }).await;

    let mut committed = gateway.say("ada", &session).await;
    let (mut other, _) = upstream.request().await;
    other.send(STREAM_HEAD).await;
    other.send_chunk(&echo).await;
    assert_eq!(committed.head().await.status, 200);
    drop((committed, other));

    peer.send_chunk(MESSAGE_DONE).await;
    peer.send(last_chunk()).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), format!("{echo}{MESSAGE_DONE}"));
    soon(async { while is_crowded().await {} }).await;
}
