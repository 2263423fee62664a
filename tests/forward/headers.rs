//! What a request and an answer look like on the other side.

use http::Request;
use http::header::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

use crate::support::*;

const HOP_BY_HOP: &str = "connection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\n\
    proxy-authenticate: Basic\r\nproxy-connection: keep-alive\r\nte: trailers\r\n\
    trailer: x-sum\r\nupgrade: h2c\r\n";

#[tokio::test]
async fn a_request_is_readdressed_and_loses_what_belonged_to_its_connection() {
    let upstream = Upstream::bind().await;
    let mut request = Request::post("http://gateway.example/api/x?q=1")
        .version(http::Version::HTTP_2)
        .body(Full::from("{\"type\":\"x\"}"))
        .unwrap();
    for (name, value) in HOP_BY_HOP.lines().map(|line| line.split_once(": ").unwrap()) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("host", "gateway.example"),
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("accept-encoding", "gzip"),
        ("accept", "text/event-stream"),
        ("x-user-id", "ada"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let call = call(&upstream.client(), request);
    let mut peer = upstream.accept().await;
    let received = peer.request().await;
    let mut lines: Vec<_> = received.head.trim_end().lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "POST /chatkit HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept-encoding: identity",
            "accept: text/event-stream",
            "content-length: 12",
            &format!("host: {}", upstream.address()),
            "x-twice: 1",
            "x-twice: 2",
            "x-user-id: ada",
        ]
    );
    assert_eq!(received.body, b"{\"type\":\"x\"}");
    peer.send(JSON).await;
    soon(call).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_header_of_its_own_is_in_every_request_in_the_place_of_any_that_looks_like_it() {
    let upstream = Upstream::bind().await;
    let (name, value) = (HeaderName::from_static("x-api-key"), HeaderValue::from_static("k-2"));
    let builder = upstream.builder().header(name.clone(), HeaderValue::from_static("k-1"));
    let client = builder.unwrap().header(name, value).unwrap().build().unwrap();
    let mut sent = request();
    for name in ["x-api-key", "x_api_key", "x-api_key"] {
        sent.headers_mut().append(name, HeaderValue::from_static("mallory"));
    }
    let call = call(&client, sent);
    let received = upstream.accept().await.request().await;
    assert!(received.head.contains("\r\nx-api-key: k-2\r\n"), "{}", received.head);
    assert!(!received.head.contains("mallory") && !received.head.contains("k-1"));
    call.abort();

    for name in ["host", "te", "content-length", "x_api_key", "chatkit-gateway-proof", "proxy-a"] {
        let value = HeaderValue::from_static("k");
        let refused = upstream.builder().header(HeaderName::from_static(name), value);
        assert!(refused.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_query_is_forwarded_when_asked_for() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().forward_query(true).build().unwrap();
    let call = call(&client, request());
    let received = upstream.accept().await.request().await;
    assert!(received.head.starts_with("POST /chatkit?q=1 HTTP/1.1\r\n"), "{}", received.head);
    call.abort();
}

#[tokio::test]
async fn a_body_without_a_length_is_sent_in_chunks_as_it_comes() {
    let upstream = Upstream::bind().await;
    let (send, body) = Piped::new();
    let request = Request::post("/").body(body).unwrap();
    let call = tokio::spawn(upstream.client().oneshot(request));
    let mut peer = upstream.accept().await;
    let received = peer.request().await;
    assert_eq!(received.field("transfer-encoding"), Some("chunked"));
    for piece in ["one", "two"] {
        send.send(Ok(piece.into())).unwrap();
        peer.expect_bytes(&chunk(piece)).await;
    }
    drop(send);
    peer.expect_bytes(b"0\r\n\r\n").await;
    // All is sent, and the connection is not half-closed.
    peer.expect_open();
    peer.send(JSON).await;
    assert_eq!(soon(call).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_loses_what_belonged_to_its_connection() {
    let upstream = Upstream::bind().await;
    let answer = format!(
        "HTTP/1.1 207 Whatever It Said\r\n{HOP_BY_HOP}x-kept: 1\r\nset-cookie: a\r\n\
         set-cookie: b\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let (_peer, response) = exchange(&upstream, &upstream.client(), None, &answer).await;
    assert_eq!(response.status(), 207);
    assert_eq!(response.version(), http::Version::HTTP_11);
    assert!(response.extensions().is_empty(), "the upstream's own reason phrase stays behind");
    let mut fields: Vec<_> =
        response.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["content-length: 2", "set-cookie: a", "set-cookie: b", "x-kept: 1"]);
}

#[tokio::test]
async fn redirects_and_refusals_are_answers_like_any_other() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    for (status, line) in [
        (307, "307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/"),
        (401, "401 Unauthorized"),
        (304, "304 Not Modified"),
    ] {
        let call = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        let length = if status == 304 { "" } else { "content-length: 0\r\n" };
        peer.send(format!("HTTP/1.1 {line}\r\nconnection: close\r\n{length}\r\n")).await;
        let response = soon(call).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
        let body = soon(response.into_body().collect()).await.unwrap();
        assert_eq!(body.to_bytes(), "");
    }
    upstream.expect_no_more_connections().await;
}
