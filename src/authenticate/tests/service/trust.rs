//! Callers who are believed.

use super::*;

#[tokio::test]
async fn anyone_is_accepted_only_where_that_was_asked_for() {
    let layer = AuthenticateLayer::danger_accept_anyone_as(UserId::parse("guest").unwrap());
    assert_eq!(text(send(&layer, request(&[])).await).await, "guest");
    let forged = request(&[("authorization", "Bearer a.b.c")]);
    assert_eq!(text(send(&layer, forged).await).await, "guest");
}

#[tokio::test]
async fn what_cannot_be_read_is_nobody_where_secrets_count() {
    let trust = Trust::everyone_is(UserId::parse("guest").unwrap());
    let anyone = AuthenticateLayer::danger_trust(trust.user_of_path("/api/{user_id}/chat"));
    let layer = anyone.clone().client_secrets(Arc::new(OneSecret));
    for headers in [
        &[("authorization", "Bearer ek_good"), ("authorization", "Bearer ek_good")][..],
        &[("authorization", "Basic eA=="), ("authorization", "Bearer ek_good")],
        &[("authorization", "Bearer ek_good, Bearer x")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ek_\u{e9}")],
    ] {
        let to = |path: &str| {
            let mut sent = request(headers);
            *sent.uri_mut() = path.parse().unwrap();
            sent
        };
        for path in ["/x", "/api/eve/chat"] {
            let reply = send(&layer, to(path)).await;
            assert_eq!(reply.status(), 401, "{headers:?}");
            let is_empty = headers == [("authorization", "Bearer")];
            let challenge = if is_empty { EMPTY } else { TWO };
            assert_eq!(reply.headers()["www-authenticate"], challenge);
        }
        assert_eq!(text(send(&anyone, to("/api/eve/chat")).await).await, "eve");
    }
    for other in ["Basic eA==", "ek_good", "Bearer a.b.c"] {
        let reply = send(&layer, request(&[("authorization", other)])).await;
        assert_eq!(text(reply).await, "guest", "{other}");
    }
}

#[tokio::test]
async fn whoever_is_believed_calls_from_this_machine() {
    let trust = Trust::everyone_is(UserId::parse("guest").unwrap());
    let layer = AuthenticateLayer::danger_trust(trust.clone()).client_secrets(Arc::new(OneSecret));
    let layer = layer.allowed_origins(["https://app.example"]);
    let sent = |method: Method, uri: &str, headers: &[(&str, &str)]| {
        let mut sent = request(headers);
        *sent.method_mut() = method;
        *sent.uri_mut() = uri.parse().unwrap();
        sent
    };
    for (host, status) in [
        ("localhost", 200),
        ("LocalHost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("127.9.9.9", 200),
        ("[::1]:8080", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("localhost@evil.example", 403),
        ("evil.example@localhost", 403),
        ("10.0.0.1", 403),
        ("0.0.0.0:8080", 403),
        ("[::]", 403),
        ("", 403),
        ("localhost:x:y", 403),
    ] {
        for method in [Method::GET, Method::POST] {
            let reply = send(&layer, sent(method, "/x", &[("host", host)])).await;
            assert_eq!(reply.status(), status, "{host}");
        }
    }
    for (uri, headers, status) in [
        ("http://localhost:1/x", &[][..], 200),
        ("http://evil.example/x", &[], 403),
        ("http://evil.example/x", &[("host", "localhost")], 403),
        ("http://localhost/x", &[("host", "evil.example")], 403),
        ("/x", &[("host", "localhost"), ("host", "localhost")], 403),
        // Who shows a secret is known by it.
        ("http://evil.example/x", &[("authorization", "Bearer ek_good")], 200),
    ] {
        let reply = send(&layer, sent(Method::GET, uri, headers)).await;
        assert_eq!(reply.status(), status, "{uri} {headers:?}");
    }

    let any_page = AuthenticateLayer::danger_trust(trust.clone().danger_any_page());
    for (origin, status) in [
        ("http://localhost:3000", 200),
        ("https://127.0.0.1", 200),
        ("http://[::1]:3000", 200),
        ("https://app.example", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("ftp://localhost", 403),
        ("null", 403),
        ("", 403),
    ] {
        let headers = [("host", "localhost"), ("origin", origin)];
        let reply = send(&layer, sent(Method::POST, "/x", &headers)).await;
        assert_eq!(reply.status(), status, "{origin}");
        // Reading is left to CORS.
        assert_eq!(send(&layer, sent(Method::GET, "/x", &headers)).await.status(), 200, "{origin}");
        assert_eq!(send(&any_page, sent(Method::POST, "/x", &headers)).await.status(), 200);
    }
    let twice = [("origin", "http://localhost"), ("origin", "http://localhost")];
    assert_eq!(send(&layer, sent(Method::POST, "/x", &twice)).await.status(), 403);

    // With a shared secret, where the request was sent to says nothing.
    let shared = AuthenticateLayer::danger_trust(trust.shared_secret("s3cret"));
    let headers = [
        ("host", "a.example"),
        ("origin", "https://b.example"),
        ("authorization", "Bearer s3cret"),
    ];
    assert_eq!(send(&shared, sent(Method::POST, "/x", &headers)).await.status(), 200);
}

#[tokio::test]
async fn a_path_may_say_who_is_calling_where_callers_are_believed() {
    let trust = Trust::everyone_is(UserId::parse("guest").unwrap());
    let layer = AuthenticateLayer::danger_trust(trust.user_of_path("/api/{user_id}/chat"));
    let long = format!("/api/{}/chat", "x".repeat(256));
    for (path, user) in [
        ("/api/ada/chat", "ada"),
        ("/api/ada/chat?as=eve", "ada"),
        ("/api/a%2Fb%C3%A9%20/chat", "a/bé "),
        ("/api/%2e%2e/chat", ".."),
        ("/api/chat", "guest"),
        ("/api//chat", "guest"),
        ("/api/ada/chat/", "guest"),
        ("/api/ada/x/chat", "guest"),
        ("/api/%00/chat", "guest"),
        ("/api/%ff/chat", "guest"),
        (&long, "guest"),
        ("/API/ada/chat", "guest"),
        ("/v1/api/ada/chat", "guest"),
    ] {
        let mut sent = request(&[]);
        *sent.uri_mut() = path.parse().unwrap();
        assert_eq!(text(send(&layer, sent).await).await, user, "{path}");
    }
}

#[tokio::test]
async fn a_shared_secret_is_asked_of_everyone() {
    let secret = "key-0123456789abcdef0123456789~/=";
    let trust = Trust::everyone_is(UserId::parse("guest").unwrap());
    let trust = trust.user_of_path("/api/{user_id}/chat").shared_secret(secret);
    assert!(!format!("{trust:?}").contains("0123456789"));
    let layer = AuthenticateLayer::danger_trust(trust);
    let wrong = "the shared secret is another one";
    let bearer = |token: &str| format!("Bearer {token}");
    for (token, challenge, cause) in [
        (None, CHALLENGE, "there is no token"),
        (Some(bearer("key-0123456789abcdef0123456789~/")), INVALID, wrong),
        (Some(bearer("Key-0123456789abcdef0123456789~/=")), INVALID, wrong),
        (Some(bearer("key-0123456789abcdef0123456789~/==")), INVALID, wrong),
        (Some(bearer(&sign(&claims()))), INVALID, wrong),
        (Some(bearer("")), EMPTY, "there is no token after Bearer"),
        (Some(format!("Basic {secret}")), CHALLENGE, "there is no token"),
        (Some(bearer(secret)), "", ""),
    ] {
        for (path, user) in [("/x", "guest"), ("/api/ada/chat", "ada")] {
            let fields: Vec<_> =
                token.iter().map(|token| ("authorization", token.as_str())).collect();
            let mut sent = request(&fields);
            *sent.uri_mut() = path.parse().unwrap();
            let reply = send(&layer, sent).await;
            if challenge.is_empty() {
                assert_eq!(text(reply).await, user);
                continue;
            }
            assert_eq!(reply.status(), 401, "{token:?}");
            assert_eq!(reply.headers()["www-authenticate"], challenge, "{token:?}");
            assert_eq!(reply.extensions().get::<Refused>().unwrap().cause(), Some(cause));
        }
    }
    let twice = bearer(secret);
    let twice = request(&[("authorization", &twice), ("authorization", &twice)]);
    assert_eq!(send(&layer, twice).await.status(), 401);
}
