//! What is logged of a request, and what never is.

use tracing::Level;

use crate::support::{
    Gateway, MESSAGE_DONE, MESSAGE_START, SECRET, STREAM_HEAD, TestRequest, Upstream, error_event,
    everything_logged, line_of, preamble, stream_answer, token,
};

#[tokio::test]
async fn a_complete_run() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("log-ada").await;
    let mut client = gateway.say("log-ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let body = format!("{}{MESSAGE_DONE}", preamble("thr_1"));
    peer.send(stream_answer(&body)).await;
    let reply = client.reply().await;
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!(line.level, Level::INFO);
    assert_eq!(line.get("user"), "log-ada");
    assert_eq!(line.get("session"), session);
    assert_eq!(line.get("operation"), "create_run");
    assert_eq!(line.get("method"), "POST");
    assert!(line.get("path").ends_with("/runs"));
    assert_eq!(line.get("status"), "200");
    assert_eq!(line.get("outcome"), "complete");
    assert_eq!(line.get("bytes"), body.len().to_string());
    assert!(line.get("duration_ms").parse::<f64>().unwrap() > 0.0);
}

#[tokio::test]
async fn a_header_that_is_not_passed_on_is_named_once_without_its_value() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for _ in 0..2 {
        let session = gateway.session("log-ada").await;
        let mut client = gateway.connect().await;
        let request = TestRequest::run(&session)
            .user("log-ada")
            .field("x-log-tenant", "planted-tenant")
            .field("sec-fetch-mode", "planted-mode");
        client.send(request.bytes()).await;
        let (_peer, received) = upstream.request().await;
        assert_eq!(received.field("x-log-tenant"), None);
    }
    let logged = everything_logged();
    assert_eq!(logged.matches("x-log-tenant").count(), 1, "{logged}");
    assert!(logged.contains("it is not in upstream.forward_headers"), "{logged}");
    for unsaid in ["sec-fetch-mode", "planted-tenant", "planted-mode"] {
        assert!(!logged.contains(unsaid), "{unsaid}");
    }
}

#[tokio::test]
async fn a_refused_request() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("log-ada").await;
    let reply = gateway.get("log-eve", &format!("/sessions/{session}?q=planted-query")).await;
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!(line.get("user"), "log-eve");
    assert_eq!(line.get("operation"), "get_session");
    assert_eq!(line.get("status"), "403");
    assert_eq!(line.get("code"), "FORBIDDEN");
    assert_eq!(line.get("outcome"), "refused");
    assert!(!line.get("cause").is_empty());

    let reply = gateway.send(TestRequest::new("GET", "/sessions")).await;
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!((line.get("status"), line.get("code")), ("401", "UNAUTHORIZED"));
    assert_eq!((line.get("outcome"), line.get("user")), ("refused", ""));
}

#[tokio::test]
async fn a_failure_of_the_upstreams_is_a_warning_with_its_cause() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("log-ada").await;
    let mut client = gateway.say("log-ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n").await;
    let reply = client.reply().await;
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!(line.level, Level::WARN);
    assert_eq!(line.get("code"), "UPSTREAM_ERROR");
    assert!(line.get("cause").contains("500"), "{line:?}");
}

#[tokio::test]
async fn a_truncated_a_cancelled_and_a_failed_run() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for outcome in ["truncated", "cancelled", "failed"] {
        let session = gateway.session("log-ada").await;
        let mut client = gateway.say("log-ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let first = format!("{}{MESSAGE_START}", preamble(&format!("thr_{outcome}")));
        peer.send_chunk(&first).await;
        let head = client.head().await;
        client.expect_body(&first).await;
        match outcome {
            "truncated" => {
                peer.close();
                client.body().await;
            }
            "cancelled" => drop(client),
            _ => {
                let error = crate::support::error_event("stream.error", None, true);
                peer.send_chunk(&error).await;
                peer.send_end().await;
                client.body().await;
            }
        }
        let line = line_of(head.field("x-request-id").unwrap()).await;
        assert_eq!(line.get("outcome"), outcome);
        assert_eq!(line.get("status"), "200");
        assert_eq!(line.get("user"), "log-ada");
        assert_eq!(line.get("session"), session);
        assert_eq!(line.get("operation"), "create_run");
        assert!(line.get("duration_ms").parse::<f64>().unwrap() > 0.0);
    }
    // Before there is a status, too.
    let session = gateway.session("log-ada").await;
    let mut client = gateway.connect().await;
    let request = TestRequest::run(&session).user("log-ada").field("x-request-id", "log-left");
    client.send(request.bytes()).await;
    upstream.request().await;
    drop(client);
    let line = line_of("log-left").await;
    assert_eq!((line.get("outcome"), line.get("status")), ("cancelled", ""));
    assert_eq!(line.get("session"), session);
}

#[tokio::test]
async fn an_answer_without_a_body_is_complete() {
    let upstream = Upstream::bind().await;
    let settings = [("cors.allowed_origins", "https://app.example")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let preflight = TestRequest::new("OPTIONS", "/sessions")
        .field("origin", "https://app.example")
        .field("access-control-request-method", "POST");
    for request in [
        TestRequest::new("HEAD", "//healthz"),
        TestRequest::new("HEAD", "/sessions").user("log-ada"),
        preflight,
    ] {
        let reply = gateway.send(request).await;
        assert_eq!(reply.status, 200);
        let line = line_of(reply.field("x-request-id").unwrap()).await;
        assert_eq!(line.get("outcome"), "complete", "{line:?}");
    }
}

#[tokio::test]
async fn no_token_no_secret_and_nothing_anybody_said_is_ever_logged() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("auth.cookie", "planted")]).await;
    let session = gateway.session("log-ada").await;
    let path = format!("/sessions/{session}/threads/{session}/runs?key=planted-query");
    let secret = "planted-word";
    let said = format!("{{\"message\":\"{secret}\"}}");
    let good = token("log-ada");
    let answers = [
        stream_answer(&format!("{}{}", preamble("thr_log"), MESSAGE_DONE.replace("Hällo", secret))),
        format!("HTTP/1.1 500 {secret}\r\nx: {secret}\r\ncontent-length: 12\r\n\r\n{secret}")
            .into_bytes(),
        format!("{secret}\r\n\r\n").into_bytes(),
        stream_answer(&crate::support::error_event("custom", Some(secret), false)),
        format!("{STREAM_HEAD}{secret}\r\n").into_bytes(),
    ];
    for answer in answers {
        let mut client = gateway.connect().await;
        let request = TestRequest::new("POST", &path).user("log-ada").field("x-planted", secret);
        client.send(request.json(&said).bytes()).await;
        let serving = async {
            loop {
                let (mut peer, _) = upstream.request().await;
                peer.send(&answer).await;
                peer.close();
            }
        };
        tokio::select! { _ = client.reply() => {}, () = serving => {} }
    }
    for value in [
        format!("Bearer {good}{secret}"),
        format!("Bearer {}", good.replace('.', secret)),
        format!("Basic {secret}"),
        secret.to_owned(),
    ] {
        let request = TestRequest::new("GET", "/sessions").field("authorization", &value);
        gateway.send(request).await.refusal(401, "UNAUTHORIZED");
        let request =
            TestRequest::new("GET", "/sessions").field("cookie", &format!("planted={value}"));
        gateway.send(request).await;
    }
    for body in [
        format!("{{\"{secret}\":1}}"),
        format!("{{\"title\":[\"{secret}\"]}}"),
        secret.to_owned(),
        format!("{{\"a\":\"{secret}\",\"a\":1}}"),
    ] {
        gateway.post("log-ada", "/sessions", &body).await;
        gateway.post("log-ada", "", &body).await;
    }
    let reply = gateway.get("log-ada", "/sessions").await;
    line_of(reply.field("x-request-id").unwrap()).await;
    let logged = everything_logged();
    assert!(logged.contains("log-ada"));
    for planted in [secret, SECRET, "planted-query", &good, &good[..20], "eyJ"] {
        if let Some(at) = logged.find(planted) {
            let around: String = logged[..at].chars().rev().take(600).collect();
            panic!("{planted:?} after {}", around.chars().rev().collect::<String>());
        }
    }
}

#[tokio::test]
async fn what_a_client_makes_long_is_cut() {
    let upstream = Upstream::bind().await;
    let settings = [("server.max_header_bytes", "200000")];
    let gateway = Gateway::with(&upstream, &settings).await;
    for (name, method, path) in [
        ("long-path", "GET".to_owned(), format!("/{}", "p".repeat(60_000))),
        ("long-method", "M".repeat(30_000), "/sessions".to_owned()),
    ] {
        let request = TestRequest::new(&method, &path).user("log-ada").field("x-request-id", name);
        let request = request.field("user-agent", &"u".repeat(20_000));
        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        client.reply().await;
        let line = line_of(name).await;
        let (method, path) = (line.get("method"), line.get("path"));
        assert!(method.len() < 300 && path.len() < 300, "{} {}", method.len(), path.len());
        assert!(format!("{method}{path}").contains(" bytes)"), "{method} {path}");
    }
    assert!(!everything_logged().contains(&"u".repeat(1000)));
}

#[tokio::test]
async fn what_an_upstream_makes_long_is_cut() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("log-ada").await;
    let long = "lengthy_".repeat(7500);
    for (name, code) in [("long-code", &*long), ("short-code", "a_code")] {
        let mut client = gateway.connect().await;
        let request = TestRequest::run(&session).user("log-ada").field("x-request-id", name);
        client.send(request.field("accept", "application/json").bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(stream_answer(&error_event(code, Some(&long), true))).await;
        client.reply().await.refusal(502, "UPSTREAM_ERROR");
        let cause = line_of(name).await.get("cause").to_owned();
        assert!(cause.contains("an error event") && cause.len() < 300, "{cause}");
    }
    assert!(!everything_logged().contains(&"lengthy_".repeat(33)));
}

#[tokio::test]
async fn what_is_long_in_a_header_that_is_not_passed_on_is_cut() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.max_header_bytes", "200000")]).await;
    let session = gateway.bound(&upstream, "log-ada", "thr_1").await;
    let mut client = gateway.connect().await;
    let name = format!("x-{}", "drawnout-".repeat(6000));
    client.send(TestRequest::run(&session).user("log-ada").field(&name, "v").bytes()).await;
    let (_peer, _) = upstream.request().await;
    let logged = everything_logged();
    assert!(logged.contains(&"drawnout-".repeat(25)));
    assert!(!logged.contains(&"drawnout-".repeat(33)));
    assert!(logged.contains("… (54002 bytes)"), "{}", logged.len());
}
