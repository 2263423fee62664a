//! An upstream that falls silent: at first a 504, after the commit a visible break.

use crate::support::{
    End, Gateway, MESSAGE_START, STREAM_HEAD, Upstream, json_answer, line_of, preamble,
};

const QUICK: &[(&str, &str)] = &[
    ("upstream.first_byte_timeout", "200ms"),
    ("upstream.idle_timeout", "300ms"),
    ("upstream.json_timeout", "200ms"),
];

#[tokio::test]
async fn before_the_head_and_after_it_silence_is_a_504() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, QUICK).await;
    let session = gateway.session("ada").await;
    for said in ["", "HTTP/1.1 200 OK\r\ncontent-type: te", STREAM_HEAD] {
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.create");
        peer.send(said).await;
        client.reply().await.refusal(504, "UPSTREAM_TIMEOUT");
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn after_the_preamble_the_hold_commits_and_then_the_stream_breaks() {
    let upstream = Upstream::bind().await;
    let settings = [QUICK, &[("stream.hold_for", "50ms")]].concat();
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(preamble("thr_1")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    let (body, end) = client.body().await;
    assert_eq!(String::from_utf8_lossy(&body), preamble("thr_1"));
    assert_ne!(end, End::Clean);
    peer.expect_closed().await;
    assert_eq!(line_of(head.field("x-request-id").unwrap()).await.get("outcome"), "idle");
}

#[tokio::test]
async fn after_the_preamble_silence_within_the_hold_is_a_504_that_says_what_is_known() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, QUICK).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(preamble("thr_1")).await;
    let error = client.reply().await.refusal(504, "UPSTREAM_TIMEOUT");
    assert_eq!(error["details"]["thread_id"], "thr_1");
}

#[tokio::test]
async fn in_the_middle_of_a_stream_silence_is_a_visible_break() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, QUICK).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let body = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&body).await;
    assert_eq!(client.head().await.status, 200);
    let (got, end) = client.body().await;
    assert_eq!(String::from_utf8_lossy(&got), body);
    assert_ne!(end, End::Clean);
    peer.expect_closed().await;
}

#[tokio::test]
async fn silence_in_a_json_answer_is_a_504() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, QUICK).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let answer = json_answer("{}");
    for said in [&b""[..], &answer[..answer.len() - 1]] {
        let path = format!("/sessions/{session}");
        let body = "{\"title\":\"A title\"}";
        let request =
            crate::support::TestRequest::new("PATCH", &path).user("ada").json(body).bytes();
        let mut client = gateway.connect().await;
        client.send(request).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.update");
        peer.send(said).await;
        client.reply().await.refusal(504, "UPSTREAM_TIMEOUT");
        peer.expect_closed().await;
    }
}
