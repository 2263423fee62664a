//! The same over HTTP/2, with prior knowledge.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::net::{TcpListener, TcpStream};

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, RawHttp2, head};
use crate::support::{
    Gateway, Http2, MESSAGE_DELTA, MESSAGE_START, STREAM_HEAD, Upstream, chunk, preamble, read,
    soon,
};

async fn reply(
    answer: tokio::task::JoinHandle<hyper::Result<http::Response<hyper::body::Incoming>>>,
) -> (http::response::Parts, serde_json::Value) {
    let (head, mut body) = soon(answer).await.unwrap().unwrap().into_parts();
    let (bytes, error) = read(&mut body).await;
    assert!(error.is_none(), "{error:?}");
    (head, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn an_operation_that_answers_json() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let client = Http2::connect(gateway.address).await;
    let (head, created) = reply(client.post("ada", "/sessions", "{\"title\":\"t\"}")).await;
    assert_eq!(head.status, 200);
    assert!(head.headers.contains_key("x-request-id"));
    assert!(!head.headers.contains_key("connection"));
    let list = client.request("GET", "/sessions", "ada").body(Full::default()).unwrap();
    let (_, listed) = reply(client.send(list)).await;
    assert_eq!(listed["data"][0]["id"], created["data"]["id"]);

    let (head, refused) = reply(client.post("ada", "/nothing", "{}")).await;
    assert_eq!(head.status, 404);
    assert_eq!(refused["error"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn an_answer_to_head_is_the_head_of_its_get_and_no_more() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = RawHttp2::connect(gateway.address, 1 << 20).await;
    let mut stream = 1;
    for path in
        ["//healthz", "//readyz", "//docs", "//openapi.json", "//nothing", "/sessions", "/x"]
    {
        for user in [Some("ada"), None] {
            let block = head("HEAD", path, user);
            client.send(&[Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, block)]).await;
            let answer = client.until(HEADERS, stream).await.pop().unwrap();
            assert_ne!(answer.flags & END_STREAM, 0, "{path}");
            stream += 2;
        }
    }
    // Nothing comes after them.
    client.send(&[Frame::get(stream, "/sessions", Some("ada"))]).await;
    let frames = client.until(DATA, stream).await;
    assert!(frames.iter().all(|frame| frame.stream == stream || frame.stream == 0), "{frames:?}");

    let client = Http2::connect(gateway.address).await;
    for path in ["/sessions", "/nothing"] {
        let mut lengths = Vec::new();
        for method in ["HEAD", "GET"] {
            let request = client.request(method, path, "ada").body(Full::default()).unwrap();
            let (head, mut body) = soon(client.send(request)).await.unwrap().unwrap().into_parts();
            let (bytes, error) = read(&mut body).await;
            assert!(error.is_none(), "{error:?}");
            assert_eq!(bytes.is_empty(), method == "HEAD");
            lengths.push(head.headers["content-length"].clone());
        }
        assert_eq!(lengths[0], lengths[1]);
    }
}

#[tokio::test]
async fn a_stream_and_its_end() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let client = Http2::connect(gateway.address).await;
    let answer = client.say("ada", &session);
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.field("x-user-id"), Some("ada"));
    let address = gateway.address.to_string();
    assert_eq!(received.field("x-forwarded-host"), Some(address.as_str()));
    assert!(received.head.starts_with("POST /chatkit HTTP/1.1\r\n"), "{}", received.head);
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    let response = soon(answer).await.unwrap().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut body = response.into_body();
    let frame = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame, first);
    for _ in 0..5 {
        peer.send_chunk(MESSAGE_DELTA).await;
        let frame = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, MESSAGE_DELTA);
    }
    peer.send_end().await;
    let (rest, error) = read(&mut body).await;
    assert!(rest.is_empty() && error.is_none());
}

#[tokio::test]
async fn a_cut_is_a_reset_of_the_stream_after_all_that_came_before_it() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "0")]).await;
    let client = Http2::connect(gateway.address).await;
    for n in 0..20 {
        let session = gateway.session("ada").await;
        let answer = client.say("ada", &session);
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let mut sent = format!("{}{MESSAGE_START}", preamble(&format!("thr_{n}")));
        // All of it with the break in one piece, every other time.
        if n % 2 == 0 {
            peer.send_chunk(&sent).await;
            let mut last = Vec::new();
            for _ in 0..n {
                last.extend(chunk(MESSAGE_DELTA));
                sent.push_str(MESSAGE_DELTA);
            }
            last.extend(b"zz\r\n");
            peer.send(last).await;
        } else {
            sent.push_str(MESSAGE_DELTA);
            peer.send([chunk(&sent), b"zz\r\n".to_vec()].concat()).await;
        }
        let mut body = soon(answer).await.unwrap().unwrap().into_body();
        let (got, error) = read(&mut body).await;
        assert_eq!(String::from_utf8_lossy(&got), sent, "{n}");
        assert!(error.is_some(), "a clean end");
    }
    // The connection goes on.
    let (head, _) = reply(client.post("ada", "/sessions", "{}")).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn a_client_that_resets_its_stream_frees_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let client = Http2::connect(gateway.address).await;

    let session = gateway.session("ada").await;
    let answer = client.say("ada", &session);
    let (mut peer, _) = upstream.request().await;
    answer.abort();
    peer.expect_closed().await;

    let answer = client.say("ada", &session);
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.kind(), "threads.create");
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    drop(soon(answer).await.unwrap().unwrap());
    peer.expect_closed().await;
    let (head, _) = reply(client.post("ada", "/sessions", "{}")).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn what_is_not_read_is_not_read_from_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let client = Http2::connect(gateway.address).await;
    let answer = client.say("ada", &session);
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    let mut body = soon(answer).await.unwrap().unwrap().into_body();
    let event = crate::support::data(&"x".repeat(16_000));
    let piece = chunk(&event);
    let sent = peer.fill(&gateway, &piece).await;
    let rest = piece[sent % piece.len()..].to_vec();
    let sending = tokio::spawn(async move {
        peer.send(rest).await;
        peer.send_end().await;
        peer
    });
    let (got, error) = read(&mut body).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(got.len(), first.len() + (sent / piece.len() + 1) * event.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_asked_to_end_and_one_with_a_stream_is_not() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("server.idle_timeout", "400ms"),
        ("server.header_timeout", "100ms"),
        ("stream.hold_for", "0s"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let busy = Http2::connect(gateway.address).await;
    let answer = busy.say("ada", &session);
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(preamble("thr_1")).await;
    let mut body = soon(answer).await.unwrap().unwrap().into_body();
    soon(body.frame()).await.unwrap().unwrap();

    let begun = tokio::time::Instant::now();
    // Its pings are no requests, and no slow heads either.
    let idle = Http2::connect_pinging(gateway.address, Duration::from_millis(20)).await;
    let (head, _) = reply(idle.post("ada", "/sessions", "{}")).await;
    assert_eq!(head.status, 200);
    soon(idle.connection).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400));

    peer.send_chunk(MESSAGE_DELTA).await;
    assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), MESSAGE_DELTA);
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.max_header_bytes", "8192")]).await;
    let client = Http2::connect(gateway.address).await;
    let request = client
        .request("GET", "/sessions", "ada")
        .header("x-large", "y".repeat(10_000))
        .body(Full::<Bytes>::default())
        .unwrap();
    match soon(client.send(request)).await.unwrap() {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_timeout()),
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn a_drain_lets_the_stream_end_and_then_the_connection() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let client = Http2::connect(gateway.address).await;
    let answer = client.say("ada", &session);
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    let mut body = soon(answer).await.unwrap().unwrap().into_body();
    soon(body.frame()).await.unwrap().unwrap();
    gateway.stop();
    peer.send_chunk(MESSAGE_DELTA).await;
    assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), MESSAGE_DELTA);
    peer.send_end().await;
    let (rest, error) = read(&mut body).await;
    assert!(rest.is_empty() && error.is_none());
    soon(client.connection).await.unwrap().unwrap();
    gateway.stopped().await;
}

#[tokio::test]
async fn an_endless_stream_is_cut_by_the_drain_and_its_upstream_freed() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::with(&upstream, &[("server.drain_timeout", "100ms")]).await;
    let session = gateway.session("ada").await;
    let client = Http2::connect(gateway.address).await;
    let answer = client.say("ada", &session);
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
    let mut body = soon(answer).await.unwrap().unwrap().into_body();
    soon(body.frame()).await.unwrap().unwrap();
    gateway.stop();
    gateway.stopped().await;
    let (rest, error) = read(&mut body).await;
    assert!(rest.is_empty() && error.is_some());
    peer.expect_closed().await;
}

#[tokio::test]
async fn a_client_whose_connection_is_gone_frees_the_upstreams_of_all_its_streams() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    // What is between the two can be cut without either being asked.
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (between.local_addr().unwrap(), gateway.address);
    let relay = tokio::spawn(async move {
        let (mut client, _) = between.accept().await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    });
    let client = Http2::connect(address).await;
    let mut peers = Vec::new();
    for begun in [false, true] {
        let session = gateway.session("ada").await;
        let answer = client.say("ada", &session);
        let (mut peer, _) = upstream.request().await;
        if begun {
            peer.send(STREAM_HEAD).await;
            peer.send_chunk(format!("{}{MESSAGE_START}", preamble("thr_1"))).await;
            std::mem::forget(soon(answer).await.unwrap().unwrap());
        }
        peers.push(peer);
    }
    relay.abort();
    for mut peer in peers {
        peer.expect_closed().await;
    }
}

// A stream that is opened costs a client next to nothing, so one that is reset at once must
// cost the gateway no more than that.
#[tokio::test]
async fn streams_that_are_reset_at_once_leave_nothing_behind() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "50")]).await;
    let session = gateway.session("ada").await;
    let client = Http2::connect(gateway.address).await;
    for _ in 0..2000 {
        let answer = client.say("ada", &session);
        tokio::task::yield_now().await;
        answer.abort();
    }
    gateway.settle().await;
    assert_eq!(gateway.get("eve", "/sessions").await.status, 200);
    // Each that got as far as the upstream was let go of there.
    let upstream = upstream.answer(|_| Vec::new());
    gateway.settle().await;
    drop(client);
    let mut next = gateway.say("ada", &session).await;
    gateway.settle().await;
    next.expect_silence();
    assert_eq!(upstream.types().last().map(String::as_str), Some("threads.create"));
}
