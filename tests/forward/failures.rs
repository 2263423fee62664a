//! What can go wrong before a body, and silence at any time.

use std::time::Duration;

use bytes::Bytes;
use chatkit_rest::forward::{ForwardError, ForwardErrorKind as Kind, HttpUpstream, UpstreamUrl};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_refused_connection() {
    // Bound, so that nobody else is given the port, and without a listener.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/chatkit", socket.local_addr().unwrap());
    let client = HttpUpstream::builder(UpstreamUrl::parse(&url).unwrap()).build().unwrap();
    assert_eq!(kind(soon(call(&client, request())).await.unwrap()), Kind::Connect);
    assert_eq!(client.check_reachable().await.unwrap_err().kind(), Kind::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let url = UpstreamUrl::parse("http://no-such-host.invalid/").unwrap();
    let client = HttpUpstream::builder(url).connect_timeout(Duration::MAX).build().unwrap();
    assert_eq!(kind(soon(call(&client, request())).await.unwrap()), Kind::Connect);
}

#[tokio::test]
async fn the_probe_connects_and_says_nothing() {
    let upstream = Upstream::bind().await;
    soon(upstream.client().check_reachable()).await.unwrap();
    upstream.accept().await.expect_closed().await;
}

// A listener whose queue is full lets further connections hang.
#[tokio::test]
async fn a_connection_that_hangs() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(connected) =
        tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await
    {
        queued.push(connected.unwrap());
        assert!(queued.len() < 100, "the queue never fills");
    }
    let url = UpstreamUrl::parse(&format!("http://{address}/")).unwrap();
    let client =
        HttpUpstream::builder(url).connect_timeout(Duration::from_millis(100)).build().unwrap();
    assert_eq!(kind(soon(call(&client, request())).await.unwrap()), Kind::ConnectTimeout);
    let probed = soon(client.check_reachable()).await.unwrap_err();
    assert!(probed.is_timeout());
}

#[tokio::test]
async fn a_broken_or_senseless_head() {
    let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(101));
    let too_long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-ty",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx: a\r\n b: folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
        &too_many,
        &too_long,
    ] {
        let upstream = Upstream::bind().await;
        let client = upstream.client();
        let call = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(answer).await;
        // What is wrong is found before the end; what is missing, with it.
        peer.close();
        let kind = kind(soon(call).await.unwrap());
        assert_eq!(kind, Kind::Head, "{}", &answer[..answer.len().min(60)]);
        upstream.expect_no_more_connections().await;
        assert_eq!(client.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_reset_before_and_within_the_head() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-ty"] {
        let upstream = Upstream::bind().await;
        let call = call(&upstream.client(), request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(answer).await;
        peer.reset();
        assert_eq!(kind(soon(call).await.unwrap()), Kind::Head);
        upstream.expect_no_more_connections().await;
    }
}

#[tokio::test]
async fn a_limit_of_ones_own_for_heads() {
    let upstream = Upstream::bind().await;
    let client =
        upstream.builder().max_response_head_bytes(200).max_response_headers(3).build().unwrap();
    exchange(&upstream, &client, None, JSON).await;
    let client = upstream.builder().max_response_headers(1).build().unwrap();
    let call_two = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(JSON).await;
    assert_eq!(kind(soon(call_two).await.unwrap()), Kind::Head);

    let client = upstream.builder().max_response_head_bytes(40).build().unwrap();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(JSON).await;
    assert_eq!(kind(soon(call).await.unwrap()), Kind::Head);
}

#[tokio::test]
async fn silence_before_the_head() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().first_byte_timeout(30 * SECOND).build().unwrap();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    pass(29 * SECOND).await;
    peer.expect_open();
    pass(2 * SECOND).await;
    assert_eq!(kind(soon(call).await.unwrap()), Kind::FirstByteTimeout);
    peer.expect_closed().await;
    upstream.expect_no_more_connections().await;
}

#[tokio::test]
async fn endless_interim_answers_do_not_extend_the_wait() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().first_byte_timeout(Duration::from_millis(200)).build().unwrap();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    // As fast as they are taken, so that the reader is never without one.
    let flood = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(100);
    let (mut reader, mut writer) = peer.into_split();
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while writer.write_all(flood.as_bytes()).await.is_ok() {}
    });
    assert_eq!(kind(soon(call).await.unwrap()), Kind::FirstByteTimeout);
    soon(flood).await.unwrap();
    soon(tokio::io::copy(&mut reader, &mut tokio::io::sink())).await.ok();
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let upstream = Upstream::bind().await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let answer = format!("{interim}{JSON}");
    let (_, response) = exchange(&upstream, &upstream.client(), None, &answer).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("link"));
    assert_eq!(response.body(), "{}");
}

#[tokio::test]
async fn a_head_without_a_body_following() {
    for head in [STREAM, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"] {
        let upstream = Upstream::bind().await;
        let client = upstream.builder().first_byte_timeout(20 * SECOND).build().unwrap();
        let call = call(&client, request());
        let mut peer = upstream.accept().await;
        peer.request().await;
        pass(15 * SECOND).await;
        peer.send(head).await;
        let mut body = soon(call).await.unwrap().unwrap().into_body();
        // Counted from the request, not from the head.
        let drained = tokio::spawn(async move { collect(&mut body).await });
        tokio::task::yield_now().await;
        pass(6 * SECOND).await;
        assert_eq!(soon(drained).await.unwrap(), (vec![], Some(Kind::FirstByteTimeout)));
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_stream_has_a_total_timeout() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().json_timeout(60 * SECOND).build().unwrap();
    let call = call(&client, request());
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        .await;
    let mut body = soon(call).await.unwrap().unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap(), "{");
    pass(50 * SECOND).await;
    peer.send("1").await;
    assert_eq!(next(&mut body).await.unwrap(), "1");
    pass(11 * SECOND).await;
    assert_eq!(drain(&mut body).await, (vec![], Some(Kind::JsonTimeout)));
    peer.expect_closed().await;
}

#[tokio::test]
async fn the_total_timeout_holds_before_the_head_if_json_was_asked_for() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().json_timeout(10 * SECOND).build().unwrap();
    let mut request = request();
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    let call = call(&client, request);
    let mut peer = upstream.accept().await;
    peer.request().await;
    pass(11 * SECOND).await;
    assert_eq!(kind(soon(call).await.unwrap()), Kind::JsonTimeout);
}

#[tokio::test]
async fn silence_within_a_stream() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().idle_timeout(120 * SECOND).build().unwrap();
    let (mut peer, mut body) = open_stream(&upstream, &client).await;
    let drained = tokio::spawn(async move { collect(&mut body).await });
    tokio::task::yield_now().await;
    pass(119 * SECOND).await;
    peer.expect_open();
    pass(2 * SECOND).await;
    assert_eq!(soon(drained).await.unwrap(), (vec![], Some(Kind::IdleTimeout)));
    peer.expect_closed().await;
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_slow_stream_lives_as_long_as_it_says_something() {
    let upstream = Upstream::bind().await;
    let client = upstream
        .builder()
        .idle_timeout(120 * SECOND)
        .first_byte_timeout(30 * SECOND)
        .json_timeout(30 * SECOND)
        .build()
        .unwrap();
    let (mut peer, mut body) = open_stream(&upstream, &client).await;
    for _ in 0..10 {
        // Silence begins when it is noticed.
        let waiting = tokio::spawn(async move { (body.frame().await.unwrap().unwrap(), body) });
        tokio::task::yield_now().await;
        pass(100 * SECOND).await;
        peer.send_chunk("drip").await;
        let (piece, rest) = soon(waiting).await.unwrap();
        assert_eq!(piece.into_data().unwrap(), "drip");
        body = rest;
    }
    peer.send("0\r\n\r\n").await;
    assert_eq!(drain(&mut body).await, (vec![], None));
}

// A client that doesn't read is not the upstream's fault.
#[tokio::test]
async fn time_in_which_nobody_asks_does_not_count() {
    let upstream = Upstream::bind().await;
    let client = upstream.builder().idle_timeout(120 * SECOND).build().unwrap();
    let (mut peer, mut body) = open_stream(&upstream, &client).await;
    peer.send(chunk("second")).await;
    pass(500 * SECOND).await;
    assert_eq!(next(&mut body).await.unwrap(), "second");
    peer.send(chunk("third")).await;
    assert_eq!(next(&mut body).await.unwrap(), "third");
}

// The request's own body fails: that is no fault of the upstream, which sees a broken request.
#[tokio::test]
async fn a_request_that_breaks_off() {
    let upstream = Upstream::bind().await;
    let (send, body) = Piped::new();
    let request = Request::post("/").body(body).unwrap();
    let call = tokio::spawn(upstream.client().oneshot(request));
    let mut peer = upstream.accept().await;
    send.send(Ok(Bytes::from("half"))).unwrap();
    let head = peer.request().await;
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    send.send(Err(std::io::Error::other("the client left"))).unwrap();
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Request);
    assert!(chain(&error).contains("the client left"), "{}", chain(&error));
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_been_sent() {
    let upstream = Upstream::bind().await;
    let client = upstream.client();
    let (send, body) = Piped::new();
    let request = Request::post("/").body(body).unwrap();
    let call = tokio::spawn(client.clone().oneshot(request));
    let mut peer = upstream.accept().await;
    send.send(Ok(Bytes::from("half"))).unwrap();
    peer.request().await;
    peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
    let response = soon(call).await.unwrap().unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes(), "no");
    // Half a request is on that connection.
    assert_eq!(client.idle_connections(), 0);
    drop(send);
}

fn chain(error: &ForwardError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
