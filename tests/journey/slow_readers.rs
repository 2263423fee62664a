//! Clients that don't read: what waits for them is bounded.

use crate::support::frames::{Frame, RST_STREAM, RawHttp2};
use crate::support::{
    Client, End, Gateway, MESSAGE_START, PREFIX, Peer, STREAM_HEAD, TestRequest, Upstream, chunk,
    data, json_answer, log_of, preamble,
};

async fn silent_reader(upstream: &Upstream, gateway: &Gateway) -> (Client, Peer) {
    let session = gateway.session("ada").await;
    let mut client = Client::connect_small(gateway.address).await;
    client.send(TestRequest::run(&session).user("ada").bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    (client, peer)
}

#[tokio::test]
async fn what_a_client_does_not_read_is_not_read_from_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let (mut client, mut peer) = silent_reader(&upstream, &gateway).await;
    let event = data(&"x".repeat(16_000));
    let piece = chunk(&event);
    let sent = peer.fill(&gateway, &piece).await;

    // It goes on where it stopped when the client does read.
    let rest = piece[sent % piece.len()..].to_vec();
    let sending = tokio::spawn(async move {
        peer.send(rest).await;
        peer.send_end().await;
        peer
    });
    assert_eq!(client.head().await.status, 200);
    let (body, end) = client.body().await;
    assert_eq!(end, End::Clean);
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    let whole = sent / piece.len() + 1;
    assert_eq!(body.len(), first.len() + whole * event.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_in_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.write_timeout", "300ms")]).await;
    let (mut client, peer) = silent_reader(&upstream, &gateway).await;
    let piece = chunk(data(&"x".repeat(16_000)));
    let (mut read, mut write) = peer.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while write.write_all(&piece).await.is_ok() {}
    });
    // The upstream is freed, and the client learns that there was more.
    crate::support::soon(sending).await.unwrap();
    let mut bytes = [0; 16];
    let ended = crate::support::soon(tokio::io::AsyncReadExt::read(&mut read, &mut bytes)).await;
    assert!(matches!(ended, Ok(0) | Err(_)));
    client.head().await;
    assert_ne!(client.body().await.1, End::Clean);
}

#[tokio::test]
async fn a_client_that_takes_next_to_nothing_is_closed_in_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.write_timeout", "300ms")]).await;
    let (mut client, peer) = silent_reader(&upstream, &gateway).await;
    let (_read, mut write) = peer.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let piece = chunk(data(&"x".repeat(16_000)));
        while write.write_all(&piece).await.is_ok() {}
    });
    let mut every = tokio::time::interval(std::time::Duration::from_millis(10));
    crate::support::soon(async {
        while !sending.is_finished() {
            every.tick().await;
            client.take(1).await;
        }
    })
    .await;
}

// What the system holds for a client is little enough that it is seen to take it.
#[tokio::test]
async fn a_client_that_takes_a_little_all_the_time_is_not_cut() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.write_timeout", "3s")]).await;
    let (mut client, peer) = silent_reader(&upstream, &gateway).await;
    let (_read, mut write) = peer.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let piece = chunk(data(&"x".repeat(16_000)));
        while write.write_all(&piece).await.is_ok() {}
    });
    // 25 kB a second, for twice as long as it may take nothing.
    let mut every = tokio::time::interval(std::time::Duration::from_millis(40));
    for _ in 0..150 {
        every.tick().await;
        client.take(1000).await;
    }
    assert!(!sending.is_finished());
    client.reset();
    crate::support::soon(sending).await.unwrap();
}

/// Answers that nobody reads are as few as fit between the two, however many are asked for.
#[tokio::test]
async fn a_client_that_asks_on_and_reads_nothing_is_closed_in_time() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.write_timeout", "300ms")]).await;
    let mut client = Client::connect_small(gateway.address).await;
    let many = TestRequest::new("GET", "//openapi.json").bytes().repeat(100);
    crate::support::soon(async { while client.try_send(&many).await {} }).await;
}

#[tokio::test]
async fn a_client_that_leaves_without_having_read_frees_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let (client, mut peer) = silent_reader(&upstream, &gateway).await;
    peer.fill(&gateway, &chunk(data(&"x".repeat(16_000)))).await;
    client.reset();
    peer.expect_closed().await;
}

// All of a whole answer is in the server's hands long before the client has it.
#[tokio::test]
async fn an_answer_that_is_not_taken_to_its_end_is_not_complete_in_the_log() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.write_timeout", "300ms")]).await;
    let text = "x".repeat(8 << 20);
    let items = format!(
        r#"{{"data":[{{"id":"msg_1","thread_id":"thr","created_at":"2026-11-21T03:00:00","type":"assistant_message","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}],"has_more":false}}"#
    );
    for how in ["leaves", "stalls", "stalls on HTTP/2", "takes it"] {
        let thread = format!("thr_{}", how.replace([' ', '/'], "_"));
        let session = gateway.bound(&upstream, "ada", &thread).await;
        let path = format!("/sessions/{session}/threads/{session}/items");
        let answer = async |upstream: &Upstream| {
            let (mut peer, _) = upstream.request().await;
            peer.send(json_answer(&items)).await;
            peer.close();
        };
        let outcome = if how == "stalls on HTTP/2" {
            let mut client = RawHttp2::connect(gateway.address, 4096).await;
            client.send(&[Frame::get(1, &path, Some("ada"))]).await;
            answer(&upstream).await;
            client.until(RST_STREAM, 1).await;
            "cancelled"
        } else {
            let mut client = Client::connect_small(gateway.address).await;
            client.send(TestRequest::new("GET", &path).user("ada").bytes()).await;
            answer(&upstream).await;
            let head = client.head().await;
            assert_eq!(head.status, 200);
            match how {
                "leaves" => client.reset(),
                "stalls" => {
                    gateway.settle().await;
                    log_of("path", &format!("{PREFIX}{path}")).await;
                }
                _ => assert_eq!(client.body().await.1, End::Clean),
            }
            if how == "takes it" { "complete" } else { "cancelled" }
        };
        let lines = log_of("path", &format!("{PREFIX}{path}")).await;
        assert_eq!((lines.len(), lines[0].get("outcome")), (1, outcome), "{how}");
    }
}
