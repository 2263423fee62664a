//! Clients that take their time.

use crate::support::{Gateway, PREFIX, STREAM_HEAD, TestRequest, Upstream, preamble, token};

#[tokio::test]
async fn a_slow_head_is_closed_in_time() {
    let upstream = Upstream::bind().await;
    let settings = [("server.header_timeout", "200ms"), ("server.idle_timeout", "1h")];
    let gateway = Gateway::with(&upstream, &settings).await;
    for begun in ["G", "P", "PRI * HTTP/2.0\r\n", "GET /healthz HTTP/1.1\r\nx: y"] {
        let mut client = gateway.connect().await;
        client.send(begun).await;
        client.expect_end().await;
    }
    // Also one that begins after a request.
    let mut client = gateway.connect().await;
    client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    client.send("GET /healthz HTTP/1.1\r\n").await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_head_that_trickles_is_closed_in_time() {
    let upstream = Upstream::bind().await;
    let settings = [("server.header_timeout", "300ms"), ("server.idle_timeout", "1h")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let mut client = gateway.connect().await;
    client.send("GET /healthz HTTP/1.1\r\nx: ").await;
    let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
    crate::support::soon(async {
        loop {
            every.tick().await;
            if !client.try_send("y").await {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.idle_timeout", "200ms")]).await;
    let mut silent = gateway.connect().await;
    let mut client = gateway.connect().await;
    client.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    client.expect_end().await;
    silent.expect_end().await;
}

#[tokio::test]
async fn a_slow_body_is_a_408() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.body_timeout", "200ms")]).await;
    let mut client = gateway.connect().await;
    let token = token("ada");
    client
        .send(format!(
            "POST {PREFIX}/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-length: 10\r\n\r\n{{"
        ))
        .await;
    client.reply().await.refusal(408, "REQUEST_TIMEOUT");
    client.expect_end().await;
}

// The rest of a body is nothing to wait for once its answer is known.
#[tokio::test]
async fn a_body_that_trickles_on_after_its_answer_is_not_waited_for() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "1")]).await;
    let mut client = gateway.connect().await;
    let request = TestRequest::new("POST", "/sessions").field("transfer-encoding", "chunked");
    client.send([&request.bytes()[..], b"1\r\n{\r\n"].concat()).await;
    client.reply().await.refusal(401, "UNAUTHORIZED");
    let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
    crate::support::soon(async {
        loop {
            every.tick().await;
            if !client.try_send("1\r\n \r\n").await {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_not_idle_however_silent_it_is() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("server.idle_timeout", "50ms"),
        ("server.header_timeout", "50ms"),
        ("server.body_timeout", "50ms"),
        ("server.write_timeout", "50ms"),
        ("upstream.idle_timeout", "600ms"),
        ("stream.hold_for", "0s"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(preamble("thr_1")).await;
    let head = client.head().await;
    client.expect_body(&preamble("thr_1")).await;
    // It is the upstream's silence that ends it.
    client.body().await;
    let line = crate::support::line_of(head.field("x-request-id").unwrap()).await;
    assert_eq!(line.get("outcome"), "idle");
}

#[tokio::test]
async fn three_hundred_slow_clients_keep_nobody_out() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut client = gateway.connect().await;
        client.send(if n % 2 == 0 { "GET /he" } else { "P" }).await;
        slow.push(client);
    }
    let reply = gateway.send(TestRequest::new("GET", "/sessions").user("ada")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.max_connections", "2")]).await;
    let mut first = gateway.connect().await;
    let mut second = gateway.connect().await;
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    first.send(request).await;
    assert_eq!(first.reply().await.status, 200);
    second.send(request).await;
    assert_eq!(second.reply().await.status, 200);
    let mut third = gateway.connect().await;
    third.send(request).await;
    first.send(request).await;
    assert_eq!(first.reply().await.status, 200);
    third.expect_silence();
    drop(first);
    assert_eq!(third.reply().await.status, 200);
}
