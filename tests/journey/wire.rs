//! One request has one meaning, or none.

use crate::support::{End, Gateway, PREFIX, TestRequest, Upstream, everything_logged, token};

fn head(request_line: &str, fields: &str) -> String {
    let token = token("ada");
    format!("{request_line}\r\nhost: x\r\nauthorization: Bearer {token}\r\n{fields}\r\n")
}

/// Gives a request that makes a session.
fn creation(fields: &str, body: &str) -> String {
    let line = format!("POST {PREFIX}/sessions HTTP/1.1");
    format!("{}{body}", head(&line, &format!("content-type: application/json\r\n{fields}")))
}

async fn sessions(gateway: &Gateway) -> usize {
    gateway.get("ada", "/sessions").await.data().as_array().unwrap().len()
}

#[tokio::test]
async fn ambiguous_and_broken_framing_is_refused_and_the_connection_closed() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let hidden = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for request in [
        creation("content-length: 2\r\ncontent-length: 3\r\n", "{}"),
        creation("content-length: 2, 3\r\n", "{}"),
        creation("content-length: +2\r\n", "{}"),
        creation("content-length: 0x2\r\n", "{}"),
        creation("content-length: -2\r\n", "{}"),
        creation("content-length: 99999999999999999999999\r\n", "{}"),
        creation("transfer-encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: identity\r\n", "{}"),
        creation("transfer-encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "ffffffffffffffff2\r\n{}\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "2\r\n{}xx\r\n0\r\n\r\n"),
        creation("transfer-encoding: chunked\r\n", "2\r{}\r\n0\r\n\r\n"),
        creation("content-length : 2\r\n", "{}"),
        creation("x: a\r\n b\r\ncontent-length: 2\r\n", "{}"),
        creation("x: a\rcontent-length: 2\r\ncontent-length: 2\r\n", "{}"),
        creation("x: a\0b\r\ncontent-length: 2\r\n", "{}"),
        creation("x y: a\r\ncontent-length: 2\r\n", "{}"),
        creation("content-length: 2\r\n", "{}").replacen("HTTP/1.1", "HTTP/3.0", 1),
        creation("content-length: 2\r\n", "{}").replacen("HTTP/1.1", "HTTP/1.1 x", 1),
        creation("content-length: 2\r\n", "{}").replacen("POST ", "POST\t", 1),
        creation("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")
            .replacen("HTTP/1.1", "HTTP/1.0", 1),
    ] {
        let mut client = gateway.connect().await;
        let _reset = client.try_send(format!("{request}{hidden}")).await;
        match client.try_head("POST").await {
            Ok(head) => {
                assert!((400..500).contains(&head.status), "{} for {request:?}", head.status);
                client.body().await;
                assert!(client.try_head("GET").await.is_err(), "went on after {request:?}");
            }
            Err(End::Cut | End::Reset) => {}
            Err(End::Clean) => unreachable!(),
        }
    }
    assert_eq!(sessions(&gateway).await, 0);
    upstream.expect_no_connection();
}

#[tokio::test]
async fn chunks_win_over_a_length_or_the_request_is_refused() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let hidden = creation("content-length: 2\r\n", "{}");
    let body = format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}");
    for fields in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", body.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", body.len()),
        "content-length: 0\r\ntransfer-encoding: chunked\r\n".to_owned(),
    ] {
        let before = sessions(&gateway).await;
        let mut client = gateway.connect().await;
        client.send(creation(&fields, &body)).await;
        client.finish_sending().await;
        let (answers, _) = client.everything().await;
        let answers = String::from_utf8(answers).unwrap();
        // As many requests as were answered, and none that was only one of two readings.
        let answered = answers.matches("HTTP/1.1 200 OK").count();
        assert_eq!(sessions(&gateway).await - before, answered, "{answers}");
        assert!(answered > 0 || answers.starts_with("HTTP/1.1 400"), "{answers}");
    }
}

#[tokio::test]
async fn chunked_bodies_and_extensions_and_trailers_are_read() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let body = "3;a=b\r\n{\"t\r\n00b\r\nitle\":\"abc\"\r\n1\r\n}\r\n0\r\nx-trailer: 1\r\n\r\n";
    let mut client = gateway.connect().await;
    client.send(creation("transfer-encoding: chunked\r\n", body)).await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(gateway.get("ada", "/sessions").await.data()[0]["title"], "abc");
}

#[tokio::test]
async fn garbage_is_closed() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame, and goes on for a while",
        b"GET\r\n\r\n",
        b"get /healthz\r\n\r\n",
    ] {
        let mut client = gateway.connect().await;
        client.send(garbage).await;
        client.finish_sending().await;
        let (answer, _) = client.everything().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    let logged = everything_logged();
    assert_eq!(logged.matches("a client speaks TLS where plain HTTP is spoken").count(), 1);
    gateway.settle().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_fields_is_refused() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.max_header_bytes", "8192")]).await;
    let line = format!("GET {PREFIX}/sessions HTTP/1.1");
    for request in [
        head(&line, &format!("x: {}\r\n", "y".repeat(9000))),
        head(&line, &"x: y\r\n".repeat(120)),
        head(&format!("GET {PREFIX}/{} HTTP/1.1", "s".repeat(9000)), ""),
    ] {
        let mut client = gateway.connect().await;
        let _reset = client.try_send(&request).await;
        match client.try_head("GET").await {
            Ok(head) => {
                assert!(matches!(head.status, 400 | 414 | 431), "{}", head.status);
                client.body().await;
                assert!(client.try_head("GET").await.is_err());
            }
            Err(end) => panic!("{end:?} without an answer"),
        }
    }
    let fine = head(&line, &"x: y\r\n".repeat(80));
    let mut client = gateway.connect().await;
    client.send(fine).await;
    assert_eq!(client.reply().await.status, 200);
}

/// What is looked at in a refusal is as deep as the client made it.
#[tokio::test]
async fn a_header_of_quotes_is_refused_like_others() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.max_header_bytes", "200000")]).await;
    for quote in ["\"", "'", "`", "[", "{", "<", "%", "$", "Bearer ", "\"Bearer "] {
        let value = format!("Bearer {}", quote.repeat(60_000 / quote.len()));
        let request = TestRequest::new("GET", "/sessions").field("authorization", value.trim_end());
        gateway.send(request).await.refusal(401, "UNAUTHORIZED");
    }
    assert_eq!(sessions(&gateway).await, 0);
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let create = |title: &str| {
        let body = format!("{{\"title\":\"{title}\"}}");
        TestRequest::new("POST", "/sessions").user("ada").field("x-request-id", title).json(&body)
    };
    let list = TestRequest::new("GET", "/sessions").user("ada").bytes();
    let missing = TestRequest::new("GET", "/nothing").user("ada").bytes();
    let mut client = gateway.connect().await;
    client.send([create("a").bytes(), missing, create("b").bytes(), list].concat()).await;
    assert_eq!(client.reply().await.field("x-request-id"), Some("a"));
    client.reply().await.refusal(404, "NOT_FOUND");
    assert_eq!(client.reply().await.field("x-request-id"), Some("b"));
    assert_eq!(client.reply().await.data().as_array().unwrap().len(), 2);
}

// Whatever the token: who has the wrong base URL mostly has a right one, of another kind.
#[tokio::test]
async fn who_is_at_no_path_is_told_the_right_base_before_anything_else() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for (path, base, as_openai) in [
        ("//v1/models", "the base URL ends with /v1,", true),
        ("//v1/chat/completions", "the base URL ends with /v1,", true),
        ("//v1/threads?limit=1", "the base URL ends with /v1,", true),
        ("//v1/chatkit/v1/chatkit/threads", "the base URL ends with /v1,", true),
        ("//chatkit", "The REST API is below /api/v1/chatkit,", false),
        ("//api/chatkit/sessions", "The REST API is below /api/v1/chatkit,", false),
        ("//sessions", "The REST API is below /api/v1/chatkit,", false),
        ("/sessions/", "no slash at their end", false),
        ("//planted-path", "Served are REST below /api/v1/chatkit", false),
    ] {
        let request = TestRequest::new("POST", path).json("{}");
        for request in [
            request.clone(),
            request.clone().user("ada"),
            request.field("authorization", "Bearer sk-planted"),
        ] {
            let reply = gateway.send(request).await;
            assert_eq!(reply.status, 404, "{path}");
            let error = reply.json()["error"].take();
            assert!(error["message"].as_str().unwrap().contains(base), "{path}: {error}");
            assert_eq!(error["type"] == "invalid_request_error", as_openai, "{path}: {error}");
            assert_eq!(error["code"] == "NOT_FOUND", !as_openai, "{path}: {error}");
            assert!(!reply.text().contains("planted"), "{}", reply.text());
            assert_eq!(reply.field("www-authenticate"), None);
        }
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn a_head_request_has_the_head_of_its_get() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = gateway.connect().await;
    for path in ["/sessions", "//healthz", "/nothing"] {
        let get = TestRequest::new("GET", path).user("ada").field("x-request-id", "same");
        let head = get.clone().method("HEAD");
        client.send(get.bytes()).await;
        let get = client.reply_to("GET").await;
        client.send(head.bytes()).await;
        let head = client.reply_to("HEAD").await;
        assert_eq!(head.status, get.status);
        assert_eq!(head.field("content-length"), get.field("content-length"));
        assert_eq!(head.field("content-type"), get.field("content-type"));
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_there() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for method in ["OPTIONS", "PUT", "TRACE", "BREW", "get", "PATCH"] {
        let reply = gateway.send(TestRequest::new(method, "/sessions").user("ada")).await;
        reply.refusal(405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.field("allow"), Some("POST, GET, HEAD"), "{method}");
    }
    // Of one that does nothing it is told before anybody has a token.
    let reply = gateway.send(TestRequest::new("OPTIONS", "/sessions")).await;
    reply.refusal(405, "METHOD_NOT_ALLOWED");
    gateway.send(TestRequest::new("PUT", "/sessions")).await.refusal(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn every_form_of_a_target_is_one_resource_or_none() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let list = format!("{PREFIX}/sessions");
    for (line, status) in [
        (format!("GET {list} HTTP/1.1"), 200),
        (format!("GET {list}?a=b HTTP/1.1"), 200),
        (format!("GET http://elsewhere.example{list} HTTP/1.1"), 200),
        ("OPTIONS * HTTP/1.1".to_owned(), 404),
        ("GET * HTTP/1.1".to_owned(), 404),
        ("CONNECT upstream.example:443 HTTP/1.1".to_owned(), 404),
        (format!("GET {list}/ HTTP/1.1"), 404),
        (format!("GET /{list} HTTP/1.1"), 404),
        (format!("GET {PREFIX}/x/../sessions HTTP/1.1"), 404),
        (format!("GET {PREFIX}/%73essions HTTP/1.1"), 404),
        (format!("GET {PREFIX}%2fsessions HTTP/1.1"), 404),
        (format!("GET {list};a=b HTTP/1.1"), 404),
        (format!("GET {} HTTP/1.1", list.to_uppercase()), 404),
        (format!("GET {list}/%00 HTTP/1.1"), 404),
        (format!("GET {list}/%2e%2e HTTP/1.1"), 404),
        (format!("GET {list}#fragment HTTP/1.1"), 400),
        ("GET sessions HTTP/1.1".to_owned(), 404),
    ] {
        let mut client = gateway.connect().await;
        client.send(head(&line, "")).await;
        let got = client.head().await;
        // The fragment is none of a target's: refused, or as if it weren't there.
        let fine = got.status == status || (line.contains('#') && got.status == 200);
        assert!(fine, "{} for {line}", got.status);
    }
    // What is found may still be nothing; that is for known callers.
    gateway.send(TestRequest::new("GET", "/sessions/%00")).await.refusal(401, "UNAUTHORIZED");
    upstream.expect_no_connection();
}

#[tokio::test]
async fn a_body_that_is_announced_is_asked_for_only_when_it_is_wanted() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = gateway.connect().await;
    client.send(creation("expect: 100-continue\r\ncontent-length: 2\r\n", "")).await;
    assert_eq!(client.head().await.status, 100);
    client.send("{}").await;
    assert_eq!(client.reply().await.status, 200);

    let mut client = gateway.connect().await;
    let request = creation("expect: 100-continue\r\ncontent-length: 2\r\n", "");
    client.send(request.replacen("Bearer ", "Bearer x", 1)).await;
    client.reply().await.refusal(401, "UNAUTHORIZED");

    let mut client = gateway.connect().await;
    client.send(creation("expect: 100-continue\r\ncontent-length: 2000000\r\n", "")).await;
    client.reply().await.refusal(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = gateway.connect().await;
    let body = " ".repeat(1_500_000);
    let request = creation(&format!("content-length: {}\r\n", body.len()), "");
    client.send(request).await;
    let _closed = client.try_send(&body).await;
    client.reply().await.refusal(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_body_that_ends_before_its_end_does_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = gateway.connect().await;
    client.send(creation("content-length: 10\r\n", "{}")).await;
    client.finish_sending().await;
    client.everything().await;
    assert_eq!(sessions(&gateway).await, 0);
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_no_request() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let hidden = creation("content-length: 2\r\n", "{}");
    for method in ["GET", "HEAD", "PUT"] {
        for path in ["/sessions", "/nothing"] {
            let request = TestRequest::new(method, path).user("ada").body(&hidden);
            let mut client = gateway.connect().await;
            client.send(request.bytes()).await;
            let refused = client.reply_to(method).await.status;
            assert!(matches!(refused, 200 | 404 | 405), "{refused}");
            // The connection may be closed, but what goes on is the next request.
            if client.try_send(TestRequest::new("GET", "//healthz").bytes()).await
                && let Ok(head) = client.try_head("GET").await
            {
                assert_eq!(head.status, 200);
                let (body, _) = client.body().await;
                assert_eq!(String::from_utf8_lossy(&body), "{\"status\":\"ok\"}");
            }
        }
    }
    assert_eq!(sessions(&gateway).await, 0);
}

#[tokio::test]
async fn an_upgrade_is_not_taken() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let line = format!("GET {PREFIX}/sessions HTTP/1.1");
    for fields in [
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
    ] {
        let mut client = gateway.connect().await;
        client.send(format!("{}{}", head(&line, fields), head(&line, ""))).await;
        assert_eq!(client.reply().await.status, 200);
        assert_eq!(client.reply().await.status, 200);
    }
}
