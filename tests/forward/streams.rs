//! Bodies: every byte, at once, and the truth about their end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chatkit_rest::forward::{ForwardErrorKind as Kind, UpstreamBody};
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;

use crate::support::*;

fn poll_frame(body: &mut UpstreamBody, cx: &mut Context<'_>) -> Poll<Bytes> {
    Pin::new(body).poll_frame(cx).map(|frame| frame.unwrap().unwrap().into_data().unwrap())
}

// What lets whoever writes them on do so in one write.
#[tokio::test]
async fn all_chunks_of_one_read_are_handed_over_before_the_body_is_pending() {
    let upstream = Upstream::bind().await;
    let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
    let events: Vec<_> = (0..50).map(|n| format!("data: {{\"delta\":\"{n}\"}}\n\n")).collect();
    peer.send(events.iter().flat_map(chunk).collect::<Vec<u8>>()).await;
    let mut got = Vec::new();
    soon(poll_fn(|cx| {
        while let Poll::Ready(event) = poll_frame(&mut body, cx) {
            got.push(event);
        }
        if got.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }))
    .await;
    assert_eq!(got, events);
}

// hyper's connection and body wake each other for each chunk; a task that drives both would be
// polled twice.
#[tokio::test]
async fn an_event_costs_the_task_one_poll() {
    let upstream = Upstream::bind().await;
    let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            while let Poll::Ready(event) = poll_frame(&mut body, cx) {
                if event == "stop" {
                    return Poll::Ready(());
                }
                send.send(event).unwrap();
            }
            Poll::Pending
        })
        .await;
        polls
    });
    for n in 0..20 {
        peer.send_chunk(format!("data: {n}\n\n")).await;
        assert_eq!(soon(receive.recv()).await.unwrap(), format!("data: {n}\n\n"));
    }
    peer.send_chunk("stop").await;
    let polls = soon(reader).await.unwrap();
    assert!((21..=23).contains(&polls), "{polls} polls");
}

#[tokio::test]
async fn an_event_is_there_before_the_next_one_is() {
    let upstream = Upstream::bind().await;
    let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
    for event in ["data: {\"a\":1}\n\n", ": comment\n\n", "data: \u{feff}\u{2028}\0\n\n", "\r"] {
        peer.send_chunk(event).await;
        assert_eq!(next(&mut body).await.unwrap(), event);
    }
    peer.send_chunk(b"\xff\xfe\xc3").await;
    assert_eq!(next(&mut body).await.unwrap(), &b"\xff\xfe\xc3"[..]);
    assert!(!body.is_end_stream());
    peer.send("0\r\n\r\n").await;
    assert_eq!(drain(&mut body).await, (vec![], None));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn a_cut_gives_what_came_before_it_and_then_an_error() {
    let chunked = |rest: &str| format!("{STREAM}{}{rest}", "b\r\ndata: one\n\n\r\n");
    for (what, answer, expected) in [
        ("inside an event", chunked("40\r\ndata: tw"), "data: one\n\ndata: tw"),
        ("inside a chunk's size", chunked("4"), "data: one\n\n"),
        ("the last chunk missing", chunked(""), "data: one\n\n"),
        ("the last chunk half there", chunked("0\r\n"), "data: one\n\n"),
        ("a size that is none", chunked("zz\r\nnothing"), "data: one\n\n"),
        ("a size too big", chunked("fffffffffffffffff\r\n"), "data: one\n\n"),
        ("a chunk longer than it says", chunked("1\r\nxyz\r\n"), "data: one\n\nx"),
        (
            "a short length",
            "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"a\":".to_owned(),
            "{\"a\":",
        ),
    ] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let call = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(&answer).await;
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        peer.close();
        let expected = expected.as_bytes().to_vec();
        assert_eq!(drain(&mut body).await, (expected, Some(Kind::BodyCut)), "{what}");
        assert_eq!(client.idle_connections(), 0, "{what}");
        upstream.expect_no_more_connections().await;
    }
}

#[tokio::test]
async fn a_reset_gives_what_came_before_it_and_then_an_error() {
    let upstream = Upstream::bind().await;
    let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
    peer.send_chunk("second").await;
    peer.send("10\r\nthi").await;
    peer.reset();
    let cut = Some(Kind::BodyCut);
    assert_eq!(drain(&mut body).await, (b"secondthi".to_vec(), cut));
}

// Without a length or chunks, the end of the connection is all there is (RFC 9112 section 6.3).
#[tokio::test]
async fn a_close_delimited_answer_ends_with_the_connection() {
    for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let call_one = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(format!("{head}data: one\n\n")).await;
        let mut body = soon(call_one).await.unwrap().unwrap().into_body();
        peer.close();
        assert_eq!(drain(&mut body).await, (b"data: one\n\n".to_vec(), None));
        assert_eq!(client.idle_connections(), 0);

        let call_two = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(head).await;
        let mut body = soon(call_two).await.unwrap().unwrap().into_body();
        peer.reset();
        assert_eq!(drain(&mut body).await, (vec![], Some(Kind::BodyCut)));
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    let event = "data: {\"a\":\"ö\"}\n\n";
    let answer = [STREAM.as_bytes(), &chunk(event), b"0\r\n\r\n"].concat();
    let sent = tokio::spawn(async move {
        for byte in answer {
            peer.send([byte]).await;
            tokio::task::yield_now().await;
        }
        peer
    });
    let mut body = soon(call).await.unwrap().unwrap().into_body();
    assert_eq!(drain(&mut body).await, (event.as_bytes().to_vec(), None));
    assert_eq!(client.idle_connections(), 1);
    drop(sent.await.unwrap());
}

#[tokio::test]
async fn an_event_of_ten_megabytes() {
    let upstream = Upstream::bind().await;
    let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
    let event: Vec<u8> = (0..=250).cycle().take(10_000_000).collect();
    let expected = event.clone();
    let sent = tokio::spawn(async move {
        peer.send_chunk(event).await;
        peer.send("0\r\n\r\n").await;
        peer
    });
    let (got, end) = drain(&mut body).await;
    assert!(got == expected, "{} bytes", got.len());
    assert_eq!(end, None);
    drop(sent.await.unwrap());
}

#[tokio::test]
async fn trailers_are_dropped_and_the_connection_is_kept() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let (mut peer, mut body) = open_stream(&upstream, &client).await;
    peer.send("0\r\nx-sum: 1\r\n\r\n").await;
    assert_eq!(drain(&mut body).await, (vec![], None));
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn a_reader_that_leaves_closes_the_connection() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();

    let (mut peer, body) = open_stream(&upstream, &client).await;
    // Not before: the server takes a half-closed connection for a client that has left.
    peer.expect_open();
    drop(body);
    peer.expect_closed().await;

    // Before there is an answer.
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    call.abort();
    peer.expect_closed().await;

    assert_eq!(client.idle_connections(), 0);
    upstream.expect_no_more_connections().await;
}

#[tokio::test]
async fn a_known_length_is_told() {
    let upstream = Upstream::bind().await;
    let call = call(&upstream.client(), request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab").await;
    let mut body = soon(call).await.unwrap().unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(4));
    assert_eq!(next(&mut body).await.unwrap(), "ab");
    assert_eq!(body.size_hint().exact(), Some(2));
    peer.send("cd").await;
    assert_eq!(next(&mut body).await.unwrap(), "cd");
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(soon(body.frame()).await.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // However a body is chunked, and however the chunks are cut into packets.
    #[test]
    fn any_chunking_arrives_as_it_was(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut wire: Vec<u8> = chunks.iter().flat_map(chunk).collect();
        wire.extend_from_slice(b"0\r\n\r\n");
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (got, end) = runtime.block_on(async {
            let upstream = Upstream::bind().await;
            let (mut peer, mut body) = open_stream(&upstream, &upstream.client()).await;
            let sent = tokio::spawn(async move {
                for packet in cuts.windows(2) {
                    peer.send(&wire[packet[0]..packet[1]]).await;
                    tokio::task::yield_now().await;
                }
                peer
            });
            let drained = drain(&mut body).await;
            drop(sent.await.unwrap());
            drained
        });
        prop_assert_eq!(end, None);
        prop_assert_eq!(got, chunks.concat());
    }
}
