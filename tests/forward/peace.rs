//! What is shed for an upstream that fails or has enough to do, and what is tried again.

use std::time::Duration;

use chatkit_rest::forward::{ForwardErrorKind as Kind, HttpUpstream, UpstreamUrl};
use http::Request;
use http_body_util::Full;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);
const FAILS: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

fn request_of(user: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = request();
    request.headers_mut().insert("x-who", user.parse().unwrap());
    request
}

fn guarded(upstream: &Upstream) -> HttpUpstream {
    let builder = upstream.builder().user_header("x-who".parse().unwrap());
    builder.breaker(true).max_concurrent(4, 0, SECOND).build().unwrap()
}

/// Answers what `client` sends for `user`.
async fn answer(upstream: &Upstream, client: &HttpUpstream, user: &str, answer: &str) {
    let call = call(client, request_of(user));
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(answer).await;
    drain(&mut soon(call).await.unwrap().unwrap().into_body()).await;
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_in_peace_and_tried_with_one() {
    let upstream = Upstream::bind().await;
    let client = guarded(&upstream);
    for n in 0..20 {
        assert!(!client.is_left_in_peace());
        answer(&upstream, &client, ["a", "b", "c", "d"][n % 4], FAILS).await;
    }
    assert!(client.is_left_in_peace());
    let refused = soon(call(&client, request_of("e"))).await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::BreakerOpen);
    assert!(matches!(refused.shed_for(), Some(1..=2)));
    upstream.expect_no_more_connections().await;

    // Whoever gives up leaves the try to the next.
    pass(2 * SECOND).await;
    let tried = call(&client, request_of("e"));
    upstream.accept().await.request().await;
    let refused = soon(call(&client, request_of("f"))).await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::BreakerOpen);
    tried.abort();
    assert!(tried.await.is_err());

    // Who has tried comes after others.
    let refused = soon(call(&client, request_of("e"))).await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), Kind::BreakerOpen);
    assert!(matches!(refused.shed_for(), Some(3..=10)));

    // A stream is an answer when it begins, however long it lasts.
    let tried = call(&client, request_of("f"));
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    let mut endless = soon(tried).await.unwrap().unwrap().into_body();
    assert!(client.is_left_in_peace());
    peer.send_chunk("data").await;
    assert_eq!(next(&mut endless).await.unwrap(), "data");
    assert!(!client.is_left_in_peace());
    answer(&upstream, &client, "f", JSON).await;
}

#[tokio::test]
async fn what_says_nothing_about_the_upstream_counts_for_nothing() {
    let upstream = Upstream::bind().await;
    let client = guarded(&upstream);
    let bare = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let unknown = "HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n";
    for n in 0..40 {
        let kind = if n % 2 == 0 { bare } else { unknown };
        answer(&upstream, &client, &format!("u{n}"), kind).await;
    }
    // Streams that are cut after they began, and clients that leave before.
    for n in 0..40 {
        let call = call(&client, request_of(&format!("u{n}")));
        let mut peer = upstream.accept().await;
        peer.request().await;
        if n % 2 == 0 {
            call.abort();
            assert!(call.await.is_err());
            continue;
        }
        peer.send(STREAM).await;
        peer.send_chunk("data").await;
        peer.close();
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), "data");
        assert!(next(&mut body).await.is_err());
    }
    assert!(!client.is_left_in_peace());
}

#[tokio::test]
async fn a_place_is_free_again_whichever_way_an_exchange_ends() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().max_concurrent(1, 0, SECOND).build().unwrap();
    let full = async || {
        let refused = soon(call(&client, request())).await.unwrap().unwrap_err();
        assert_eq!((refused.kind(), refused.shed_for()), (Kind::Crowded, Some(1)));
    };
    // Before the head.
    let left = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    full().await;
    left.abort();
    assert!(left.await.is_err());
    // Within the body, by the client, by the upstream, and at its end.
    for how in ["left", "cut", "ended"] {
        let call = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(STREAM).await;
        peer.send_chunk("data").await;
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), "data");
        full().await;
        match how {
            "left" => drop(body),
            "cut" => {
                peer.reset();
                assert!(next(&mut body).await.is_err());
            }
            _ => {
                peer.send("0\r\n\r\n").await;
                drain(&mut body).await;
                // It is used again, and looks idle no longer.
                peer.close();
                notice().await;
            }
        }
    }
    answer(&upstream, &client, "a", JSON).await;
}

#[tokio::test]
async fn who_waits_is_sent_when_a_place_is_free() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().max_concurrent(1, 1, Duration::MAX).build().unwrap();
    let first = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    let second = call(&client, request());
    notice().await;
    let third = soon(call(&client, request())).await.unwrap().unwrap_err();
    assert_eq!(third.kind(), Kind::Crowded);
    upstream.expect_no_more_connections().await;
    peer.send(JSON).await;
    drain(&mut soon(first).await.unwrap().unwrap().into_body()).await;
    peer.request().await;
    peer.send(JSON).await;
    drain(&mut soon(second).await.unwrap().unwrap().into_body()).await;
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    // Bound, so that nobody else is given the port, and without a listener.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/chatkit", socket.local_addr().unwrap());
    let client = HttpUpstream::builder(UpstreamUrl::parse(&url).unwrap()).build().unwrap();
    let call = call(&client, request());
    notice().await;
    let listener = socket.listen(8).unwrap();
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    let mut peer = Peer::of(tcp);
    peer.request().await;
    peer.send(JSON).await;
    assert_eq!(soon(call).await.unwrap().unwrap().status(), 200);
}
