//! The end of a gateway.

use tokio::net::TcpStream;

use crate::support::{
    End, Gateway, MESSAGE_DELTA, MESSAGE_START, Place, STREAM_HEAD, TestRequest, Upstream, line_of,
    preamble, soon,
};

#[tokio::test]
async fn an_open_stream_ends_well_and_nothing_new_begins() {
    let upstream = Upstream::bind().await;
    // Or somebody else might listen there once the gateway doesn't.
    let place = Place::new();
    let listen = place.address().to_string();
    let mut gateway = Gateway::with(&upstream, &[("listen", &listen)]).await;
    let session = gateway.session("ada").await;
    let mut idle = gateway.connect().await;
    idle.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.reply().await;
    let mut silent = gateway.connect().await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&first).await;
    client.head().await;
    client.expect_body(&first).await;

    gateway.stop();
    idle.expect_end().await;
    silent.expect_end().await;
    assert!(soon(TcpStream::connect(place.address())).await.is_err());
    for _ in 0..3 {
        peer.send_chunk(MESSAGE_DELTA).await;
        client.expect_body(MESSAGE_DELTA).await;
    }
    peer.send_end().await;
    assert_eq!(client.chunk().await, Err(End::Clean));
    client.expect_end().await;
    gateway.stopped().await;
}

#[tokio::test]
async fn a_run_that_is_still_held_is_answered() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::with(&upstream, &[("stream.hold_for", "1h")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    gateway.stop();
    let body = format!("{}{MESSAGE_START}", preamble("thr_1"));
    peer.send_chunk(&body).await;
    peer.send_end().await;
    let reply = client.reply().await;
    assert_eq!((reply.text(), reply.end), (body.as_str(), End::Clean));
    client.expect_end().await;
    gateway.stopped().await;
}

#[tokio::test]
async fn an_endless_stream_is_cut_in_time_and_visibly() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::with(&upstream, &[("server.drain_timeout", "200ms")]).await;
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        if version == "HTTP/1.0" {
            gateway = Gateway::with(&upstream, &[("server.drain_timeout", "200ms")]).await;
        }
        let session = gateway.session("ada").await;
        let mut client = gateway.connect().await;
        let id = format!("drained-{}", &version[5..]);
        let request = TestRequest::run(&session).user("ada").field("x-request-id", &id);
        let request = String::from_utf8(request.bytes()).unwrap();
        client.send(request.replacen("HTTP/1.1", version, 1)).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let first = format!("{}{MESSAGE_START}", preamble("thr_1"));
        peer.send_chunk(&first).await;
        client.head().await;
        client.expect_body(&first).await;
        let mut ending = gateway;
        ending.stop();
        ending.stopped().await;
        let (body, end) = client.body().await;
        assert!(body.is_empty());
        assert_ne!(end, End::Clean, "{version}");
        peer.expect_closed().await;
        // It isn't the client who has left.
        assert_eq!(line_of(&id).await.get("outcome"), "drained");
        gateway = Gateway::start(&upstream).await;
    }
}

#[tokio::test]
async fn who_leaves_during_the_drain_has_left_and_who_is_cut_has_not() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::with(&upstream, &[("server.drain_timeout", "1h")]).await;
    let mut clients = Vec::new();
    for id in ["drain-leaves", "drain-stays"] {
        let session = gateway.session("ada").await;
        let mut client = gateway.connect().await;
        let request = TestRequest::run(&session).user("ada").field("x-request-id", id);
        client.send(request.bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        peer.send_chunk(format!("{}{MESSAGE_START}", preamble(&format!("thr_{id}")))).await;
        client.head().await;
        clients.push((client, peer));
    }
    gateway.stop();
    drop(clients.remove(0));
    assert_eq!(line_of("drain-leaves").await.get("outcome"), "cancelled");
    // As a second signal ends it: nobody waits for the drain any longer.
    gateway.kill().await;
    assert_eq!(line_of("drain-stays").await.get("outcome"), "drained");
}

#[tokio::test]
async fn a_gateway_without_work_ends_at_once() {
    let upstream = Upstream::bind().await;
    let mut gateway = Gateway::with(&upstream, &[("admin.listen", "127.0.0.1:0")]).await;
    let _kept: Vec<_> = [gateway.connect().await, gateway.connect().await].into();
    gateway.stop();
    gateway.stopped().await;
}
