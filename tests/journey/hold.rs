//! Until the first output the status is open; then what was held is released as it came.

use crate::support::{
    End, Gateway, MESSAGE_DELTA, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, Upstream, created,
    options, preamble, user_done,
};

#[tokio::test]
async fn nothing_is_sent_before_the_first_output_and_then_the_very_same_frames() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("stream.hold_for", "1h")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let mut sent = vec![created("thr_1"), user_done("msg_u"), options()];
    for event in &sent {
        peer.send_chunk(event).await;
        gateway.settle().await;
        client.expect_silence();
    }
    sent.extend([MESSAGE_START, MESSAGE_DELTA, MESSAGE_DONE].map(str::to_owned));
    for event in &sent[3..] {
        peer.send_chunk(event).await;
        gateway.settle().await;
    }
    peer.send_end().await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(head.field("cache-control"), Some("no-cache, no-store, no-transform"));
    assert_eq!(head.field("x-accel-buffering"), Some("no"));
    assert_eq!(head.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(head.field("content-encoding"), None);
    let (chunks, end) = client.chunks().await;
    let sent: Vec<_> = sent.into_iter().map(String::into_bytes).collect();
    assert_eq!((chunks, end), (sent, End::Clean));
}

#[tokio::test]
async fn each_event_after_the_commit_is_passed_on_at_once() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    client.head().await;
    client.expect_body(&first).await;
    for _ in 0..20 {
        peer.send_chunk(MESSAGE_DELTA).await;
        // Only then is the next one sent.
        assert_eq!(client.chunk().await.unwrap(), MESSAGE_DELTA.as_bytes());
    }
    peer.send_end().await;
    assert_eq!(client.chunk().await, Err(End::Clean));
}

#[tokio::test]
async fn the_hold_ends_with_its_bytes() {
    let upstream = Upstream::bind().await;
    let settings = [("stream.hold_for", "1h"), ("stream.hold_bytes", "1000")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let comment = format!(":{}\n", "-".repeat(498));
    peer.send_chunk(&comment).await;
    gateway.settle().await;
    client.expect_silence();
    peer.send_chunk(&comment).await;
    assert_eq!(client.head().await.status, 200);
    client.expect_body(&comment.repeat(2)).await;
}

#[tokio::test]
async fn the_hold_ends_with_its_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("stream.hold_for", "20ms")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_1")).await;
    assert_eq!(client.head().await.status, 200);
    client.expect_body(&created("thr_1")).await;
}

#[tokio::test]
async fn a_hold_of_no_time_commits_with_the_preamble() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("stream.hold_for", "0s")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_1")).await;
    gateway.settle().await;
    client.expect_silence();
    peer.send_chunk(user_done("msg_u")).await;
    assert_eq!(client.head().await.status, 200);
    client.expect_body(&format!("{}{}", created("thr_1"), user_done("msg_u"))).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_hold_frees_the_session_and_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("stream.hold_for", "1h")]).await;
    let session = gateway.session("ada").await;
    for said in ["", STREAM_HEAD] {
        let client = gateway.say("ada", &session).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.kind(), "threads.create");
        peer.send(said).await;
        gateway.settle().await;
        // Meanwhile it is taken.
        gateway.say("ada", &session).await.reply().await.refusal(409, "CONFLICT");
        client.reset();
        peer.expect_closed().await;
    }
    let _client = gateway.say("ada", &session).await;
    assert_eq!(upstream.request().await.1.kind(), "threads.create");
}

#[tokio::test]
async fn a_client_that_leaves_after_the_commit_frees_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for reset in [false, true] {
        let session = gateway.session("ada").await;
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let thread = format!("thr_{session}");
        peer.send_chunk(format!("{}{MESSAGE_START}", preamble(&thread))).await;
        let id = client.head().await.field("x-request-id").unwrap().to_owned();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        peer.expect_closed().await;
        assert_eq!(crate::support::line_of(&id).await.get("outcome"), "cancelled");
    }
}
