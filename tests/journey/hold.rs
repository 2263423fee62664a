//! Until the first output the status is open; then what was held is released as it came.

use crate::support::{
    End, Gateway, MESSAGE_DELTA, MESSAGE_DONE, MESSAGE_START, STREAM_HEAD, TestRequest, Upstream,
    created, options, preamble, user_done,
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

// What the user quotes comes back in the preamble, and says nothing about how the run goes.
#[tokio::test]
async fn a_long_message_is_held_for_as_long_as_a_short_one() {
    let upstream = Upstream::bind().await;
    let settings = [("stream.hold_for", "1h"), ("limits.max_message_chars", "100000")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let quoted = "q".repeat(70_000);
    for mode in ["true", "false"] {
        let session = gateway.session("ada").await;
        let path = format!("/sessions/{session}/threads/{session}/runs");
        let body = format!(
            r#"{{"message":{{"role":"user","content":[{{"type":"input_text","text":"hi"}}],"quoted_text":"{quoted}"}},"stream":{mode}}}"#
        );
        let mut client = gateway.connect().await;
        client.send(TestRequest::new("POST", &path).user("ada").json(&body).bytes()).await;
        let (mut peer, received) = upstream.request().await;
        assert_eq!(received.json()["params"]["input"]["quoted_text"], quoted.as_str());
        peer.send(STREAM_HEAD).await;
        let thread = format!("thr_{mode}");
        let echo = format!(
            "data: {{\"type\":\"thread.item.done\",\"item\":{{\"id\":\"msg_u\",\
             \"type\":\"user_message\",\"quoted_text\":\"{quoted}\"}}}}\n\n"
        );
        for event in [created(&thread), echo, options()] {
            peer.send_chunk(&event).await;
            gateway.settle().await;
            client.expect_silence();
        }
        peer.send_chunk("data: {\"type\":\"error\",\"code\":\"custom\",\"message\":\"No.\"}\n\n")
            .await;
        // The upstream doesn't end its answer, and is hung up on.
        let error = client.reply().await.refusal(422, "UPSTREAM_REJECTED");
        assert_eq!(error["details"]["thread_id"], thread.as_str());
        peer.expect_closed().await;
    }
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
