//! `X-Request-Id` and `traceparent`.

use crate::support::{Gateway, MESSAGE_DONE, TestRequest, Upstream, preamble, stream_answer};

#[tokio::test]
async fn a_good_id_is_kept_echoed_and_forwarded() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.connect().await;
    let request = TestRequest::run(&session).user("ada").field("X-Request-ID", "my.id_1-2");
    client.send(request.bytes()).await;
    let (mut peer, received) = upstream.request().await;
    assert_eq!(received.field("x-request-id"), Some("my.id_1-2"));
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    assert_eq!(client.reply().await.field("x-request-id"), Some("my.id_1-2"));
}

#[tokio::test]
async fn any_other_id_is_replaced_and_the_new_one_forwarded() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let long = "x".repeat(129);
    for sent in ["", "a b", "a/b", "\"a\"", "é", &long] {
        let mut client = gateway.connect().await;
        client
            .send(TestRequest::run(&session).user("ada").field("x-request-id", sent).bytes())
            .await;
        let (peer, received) = upstream.request().await;
        let id = received.field("x-request-id").unwrap().to_owned();
        assert_ne!(id, sent);
        assert_eq!(id.len(), 36, "{id}");
        peer.close();
        let reply = client.reply().await;
        assert_eq!(reply.field("x-request-id"), Some(id.as_str()));
        assert_eq!(reply.refusal(502, "UPSTREAM_ERROR")["request_id"], id);
    }
}

#[tokio::test]
async fn every_answer_has_one() {
    let upstream = Upstream::bind().await;
    let settings = [("cors.allowed_origins", "https://app.example")];
    let gateway = Gateway::with(&upstream, &settings).await;
    for request in [
        TestRequest::new("GET", "//healthz"),
        TestRequest::new("GET", "//readyz"),
        TestRequest::new("GET", "//anything"),
        TestRequest::new("GET", "/sessions"),
        TestRequest::new("GET", "/sessions").user("ada"),
        TestRequest::new("HEAD", "/sessions").user("ada"),
        TestRequest::new("PUT", "/sessions").user("ada"),
        TestRequest::new("POST", "/sessions").user("ada").json("{"),
        TestRequest::new("OPTIONS", "/sessions")
            .field("origin", "https://app.example")
            .field("access-control-request-method", "POST"),
    ] {
        let reply = gateway.send(request.clone().field("x-request-id", "the-id")).await;
        assert_eq!(reply.field("x-request-id"), Some("the-id"), "{request:?}");
        let reply = gateway.send(request.clone()).await;
        assert_eq!(reply.field("x-request-id").map(str::len), Some(36), "{request:?}");
    }
}

#[tokio::test]
async fn a_trace_is_passed_on_and_what_is_none_is_dropped() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (parent, kept) in
        [(good, true), ("00-0-0-01", false), (&good.to_uppercase(), false), ("", false)]
    {
        let mut client = gateway.connect().await;
        let request = TestRequest::run(&session)
            .user("ada")
            .field("traceparent", parent)
            .field("tracestate", "vendor=1");
        client.send(request.bytes()).await;
        let (peer, received) = upstream.request().await;
        assert_eq!(received.field("traceparent"), kept.then_some(parent), "{parent}");
        assert_eq!(received.field("tracestate"), kept.then_some("vendor=1"), "{parent}");
        peer.close();
        client.reply().await;
    }
}
