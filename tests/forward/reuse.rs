//! Which connections are used again, and that no request is sent twice.

use std::time::Duration;

use chatkit_rest::forward::ForwardErrorKind as Kind;
use http::Request;
use http_body_util::Empty;
use tower::ServiceExt;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_connection_is_used_again_after_a_clean_end() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let stream = format!("{STREAM}{}", "3\r\nabc\r\n0\r\n\r\n");
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let refused = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let mut peer = None;
    for (answer, body) in [
        (JSON, "{}"),
        (&*stream, "abc"),
        (empty, ""),
        (&*stream, "abc"),
        (refused, ""),
        (JSON, "{}"),
    ] {
        let (used, response) = exchange(&upstream, &client, peer, answer).await;
        assert_eq!(response.body(), body);
        assert_eq!(client.idle_connections(), 1);
        peer = Some(used);
    }
    upstream.expect_no_more_connections().await;
}

// A body whose length is known may never be asked for its end.
#[tokio::test]
async fn the_last_byte_is_the_end() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(JSON).await;
    let mut body = soon(call).await.unwrap().unwrap().into_body();
    assert_eq!(client.idle_connections(), 0);
    assert_eq!(next(&mut body).await.unwrap(), "{}");
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_share_it_later() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let calls = [call(&client, request()), call(&client, request())];
    let mut peers = [upstream.accept().await, upstream.accept().await];
    for peer in &mut peers {
        peer.request().await;
        peer.send(JSON).await;
    }
    for call in calls {
        drain(&mut soon(call).await.unwrap().unwrap().into_body()).await;
    }
    assert_eq!(client.idle_connections(), 2);
}

// uvicorn closes after an unhandled exception without announcing it.
#[tokio::test]
async fn not_after_a_server_error() {
    for status in ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\noops");
        let (mut peer, response) = exchange(&upstream, &client, None, &answer).await;
        assert_eq!(response.body(), "oops");
        assert_eq!(client.idle_connections(), 0);
        peer.expect_closed().await;
        exchange(&upstream, &client, None, JSON).await;
    }
}

#[tokio::test]
async fn not_when_the_upstream_says_close_or_the_length_is_in_doubt() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let (_peer, response) = exchange(&upstream, &client, None, answer).await;
        assert_eq!(response.body(), "{}");
        assert!(response.headers().get("content-length").is_none_or(|length| length == "2"));
        assert_eq!(client.idle_connections(), 0, "{answer}");
    }
}

// The idle close of a server between two requests is nobody's problem.
#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    for reset in [false, true] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let (peer, _) = exchange(&upstream, &client, None, JSON).await;
        assert_eq!(client.idle_connections(), 1);
        if reset {
            peer.reset();
        } else {
            peer.close();
        }
        notice().await;
        let (_peer, response) = exchange(&upstream, &client, None, JSON).await;
        assert_eq!(response.status(), 200);
        upstream.expect_no_more_connections().await;
        assert_eq!(client.idle_connections(), 1);
    }
}

// The close and the request cross each other: the upstream may have read it.
#[tokio::test]
async fn a_request_that_was_written_is_never_written_again() {
    for reset in [false, true] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let (mut peer, _) = exchange(&upstream, &client, None, JSON).await;
        let call = call(&client, request());
        assert_eq!(peer.request().await.body, b"{\"type\":\"x\"}");
        if reset {
            peer.reset();
        } else {
            peer.close();
        }
        assert_eq!(kind(soon(call).await.unwrap()), Kind::Head);
        upstream.expect_no_more_connections().await;
    }
}

#[tokio::test]
async fn stray_bytes_never_become_an_answer() {
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    // Together with the answer.
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let (_peer, response) = exchange(&upstream, &client, None, &format!("{JSON}{stray}")).await;
    assert_eq!(response.body(), "{}");
    let (_peer, response) = exchange(&upstream, &client, None, JSON).await;
    assert_eq!(response.body(), "{}");

    // Later, while idle.
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let (mut peer, _) = exchange(&upstream, &client, None, JSON).await;
    peer.send(stray).await;
    notice().await;
    let (_peer, response) = exchange(&upstream, &client, None, JSON).await;
    assert_eq!(response.body(), "{}");
    upstream.expect_no_more_connections().await;
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_closed() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().pool_idle_timeout(4 * SECOND).build().unwrap();
    let (peer, _) = exchange(&upstream, &client, None, JSON).await;
    pass(3 * SECOND).await;
    let (mut peer, _) = {
        peer.expect_open();
        exchange(&upstream, &client, Some(peer), JSON).await
    };
    // Four seconds after it was used last, not after it was made.
    pass(3 * SECOND).await;
    assert_eq!(client.idle_connections(), 1);
    // And without a request to notice it.
    pass(2 * SECOND).await;
    peer.expect_closed().await;
    assert_eq!(client.idle_connections(), 0);

    // Then all begins again.
    let (mut peer, _) = exchange(&upstream, &client, None, JSON).await;
    assert_eq!(client.idle_connections(), 1);
    pass(5 * SECOND).await;
    peer.expect_closed().await;
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().max_idle_connections(1).build().unwrap();
    let calls = [call(&client, request()), call(&client, request())];
    let mut peers = [upstream.accept().await, upstream.accept().await];
    for peer in &mut peers {
        peer.request().await;
        peer.send(JSON).await;
    }
    for call in calls {
        drain(&mut soon(call).await.unwrap().unwrap().into_body()).await;
    }
    assert_eq!(client.idle_connections(), 1);

    let upstream = Upstream::bind().await;
    for client in [
        upstream.builder().max_idle_connections(0).build().unwrap(),
        upstream.builder().pool_idle_timeout(Duration::ZERO).build().unwrap(),
    ] {
        let (mut peer, _) = exchange(&upstream, &client, None, JSON).await;
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn the_last_clone_closes_what_is_idle() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let (mut peer, _) = exchange(&upstream, &client, None, JSON).await;
    drop(client.clone());
    peer.expect_open();
    drop(client);
    peer.expect_closed().await;
}

/// Connections move between threads while their peers wake them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_on_many_threads_lose_no_wake() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let server = tokio::spawn(async move {
        loop {
            let mut peer = upstream.accept().await;
            tokio::spawn(async move {
                while peer.has_request().await {
                    peer.request().await;
                    peer.send(STREAM).await;
                    for _ in 0..20 {
                        peer.send_chunk("data: event\n\n").await;
                        tokio::task::yield_now().await;
                    }
                    peer.send("0\r\n\r\n").await;
                }
            });
        }
    });
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    let mut body =
                        soon(client.clone().oneshot(request())).await.unwrap().into_body();
                    let (bytes, end) = drain(&mut body).await;
                    assert_eq!((bytes.len(), end), (20 * 13, None));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    server.abort();
}

#[tokio::test]
async fn an_answer_without_a_body_is_at_its_end() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let request = Request::head("/").body(Empty::new()).unwrap();
    let call = tokio::spawn(client.clone().oneshot(request));
    let mut peer = upstream.accept().await;
    assert!(peer.request().await.head.starts_with("HEAD /chatkit HTTP/1.1\r\n"));
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let response = soon(call).await.unwrap().unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert!(http_body::Body::is_end_stream(response.body()));
    assert_eq!(client.idle_connections(), 1);
}
