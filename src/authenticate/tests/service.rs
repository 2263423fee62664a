use std::convert::Infallible;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::authenticate::{
    AuthenticateLayer, CallerFuture, ClientSecrets, InvalidToken, SecretError, ServiceKeys, Trust,
};
use crate::principal::{Authenticated, Principal, UserId};
use crate::rejection::{RefusalStyle, Refused, RefusedOr};
use crate::surface::Surface;

type Reply = Response<RefusedOr<http_body_util::Full<Bytes>>>;

/// Answers with the user's name, and checks that both ways to learn it agree.
async fn whoami(
    request: Request<Authenticated<Empty<Bytes>>>,
) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
    let principal = request.body().principal().clone();
    assert_eq!(request.extensions().get::<Principal>(), Some(&principal));
    assert!(!format!("{:?}", request.headers()).contains("ey"), "a credential shows");
    let authorization = request.headers().get("authorization");
    assert!(authorization.is_none_or(|it| it != BASIC), "a site's password goes on");
    Ok(Response::new(principal.user_id().to_string().into()))
}

fn layer() -> AuthenticateLayer {
    AuthenticateLayer::new(Arc::new(hs256().build().unwrap()))
}

fn request(headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().uri("/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

async fn send(layer: &AuthenticateLayer, request: Request<Empty<Bytes>>) -> Reply {
    layer.layer(service_fn(whoami)).oneshot(request).await.unwrap()
}

async fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

const BASIC: &str = "Basic YTpi";
const CHALLENGE: &str = "Bearer realm=\"chatkit-rest\"";
const TWO: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                   error_description=\"Exactly one bearer token is expected.\"";
const INVALID: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                       error_description=\"The token is not valid.\"";
const EXPIRED: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                       error_description=\"The token has expired.\"";

#[tokio::test]
async fn a_bearer_token_is_read_from_one_authorization_header() {
    let token = sign(&claims());
    for scheme in ["Bearer ", "bearer ", "BEARER  "] {
        let reply =
            send(&layer(), request(&[("authorization", &format!("{scheme}{token}"))])).await;
        assert_eq!(reply.status(), 200, "{scheme}");
        assert_eq!(text(reply).await, "ada");
    }
}

#[tokio::test]
async fn a_refusal_has_a_challenge_and_no_reason() {
    let token = format!("Bearer {}", sign(&claims()));
    let expired = format!("Bearer {}", sign(&json!({ "sub": "ada", "exp": NOW - 1 })));
    let forged = sign_raw(r#"{"alg":"HS256"}"#, &claims().to_string(), b"another secret");
    let forged = format!("Bearer {forged}");
    for (headers, challenge, cause) in [
        (vec![], CHALLENGE, "there is no token"),
        (vec![("authorization", BASIC)], CHALLENGE, "there is no token"),
        (vec![("authorization", "Bearerx y")], CHALLENGE, "there is no token"),
        (vec![("authorization", "Bearer")], TWO, "the Authorization header is malformed"),
        (vec![("authorization", "Bearer ")], TWO, "the Authorization header is malformed"),
        (vec![("authorization", "Bearer a b")], TWO, "the Authorization header is malformed"),
        (
            vec![("authorization", "Bearer a, Bearer b")],
            TWO,
            "the Authorization header is malformed",
        ),
        (
            vec![("authorization", token.as_str()), ("authorization", &token)],
            TWO,
            "there is more than one Authorization header",
        ),
        (vec![("authorization", "Bearer a.b.c")], INVALID, "the token is malformed"),
        (vec![("authorization", &forged)], INVALID, "the token's signature does not match"),
        (vec![("authorization", &expired)], EXPIRED, "the token has expired"),
        (vec![("cookie", "session=a.b.c")], CHALLENGE, "there is no token"),
        (vec![("x-authorization", &token)], CHALLENGE, "there is no token"),
    ] {
        let mut sent = request(&headers);
        sent.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
        let reply = send(&layer(), sent).await;
        assert_eq!(reply.status(), 401, "{headers:?}");
        assert_eq!(reply.headers()["www-authenticate"], challenge, "{headers:?}");
        assert_eq!(reply.extensions().get::<Refused>().unwrap().cause(), Some(cause));
        let body: Value = serde_json::from_str(&text(reply).await).unwrap();
        assert_eq!(body["success"], false);
        assert_eq!(body["error"]["code"], "UNAUTHORIZED");
        assert_eq!(body["error"]["request_id"], "r-1");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            matches!(
                message,
                "A valid bearer token is required."
                    | "Exactly one bearer token is expected."
                    | "The token is not valid."
                    | "The token has expired."
            ),
            "{message}"
        );
    }
}

#[tokio::test]
async fn no_piece_of_a_planted_token_is_in_a_refusal() {
    let sub = "planted-subject";
    for token in [
        sign(&json!({ "sub": sub, "exp": NOW - 1 })),
        sign(&json!({ "sub": sub, "exp": "planted-exp" })),
        sign(&json!({ "sub": "planted\n", "exp": NOW + 1 })),
        sign(&json!({ "sub": sub, "exp": NOW + 1, "aud": "planted-aud" })),
        sign_raw(r#"{"alg":"planted-alg"}"#, "{}", SECRET),
        "planted-not-a-token".to_owned(),
    ] {
        let reply = send(&layer(), request(&[("authorization", &format!("Bearer {token}"))])).await;
        assert_eq!(reply.status(), 401);
        let seen = format!("{:?}", reply.headers());
        let seen = format!("{seen} {:?}", reply.extensions().get::<Refused>());
        let seen = format!("{seen} {}", text(reply).await);
        assert!(!seen.contains("planted"), "{seen}");
        for piece in token.split('.') {
            assert!(!seen.contains(&piece[..piece.len().min(8)]), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_cookie_counts_where_it_is_configured_and_there_is_no_bearer_token() {
    let layer = layer().cookie("session");
    let token = sign(&claims());
    let eve = sign(&json!({ "sub": "eve", "exp": NOW + 60 }));
    let quoted = format!("a=b; session=\"{token}\"");
    let plain = format!("session={token}");
    let bearer = format!("Bearer {eve}");
    for (headers, status, user) in [
        (vec![("cookie", plain.as_str())], 200, "ada"),
        (vec![("cookie", "a=b"), ("cookie", &plain)], 200, "ada"),
        (vec![("cookie", &quoted)], 200, "ada"),
        (vec![("cookie", &plain), ("authorization", &bearer)], 200, "eve"),
        (vec![("cookie", &plain), ("authorization", BASIC)], 200, "ada"),
        (vec![("cookie", &plain), ("authorization", "Digest username=\"\u{f6}\"")], 200, "ada"),
        (vec![("cookie", &plain), ("authorization", "Negotiate")], 200, "ada"),
        (vec![("cookie", &plain), ("authorization", "")], 200, "ada"),
        (vec![("cookie", "session=a.b.c"), ("authorization", BASIC)], 401, INVALID),
        (vec![("cookie", "a=b"), ("authorization", BASIC)], 401, CHALLENGE),
        (vec![("cookie", &plain), ("authorization", "Bearer a.b.c")], 401, INVALID),
        (vec![("cookie", &plain), ("authorization", "Bearer")], 401, TWO),
        (vec![("cookie", &plain), ("authorization", "bearer ")], 401, TWO),
        (vec![("cookie", &plain), ("authorization", "Bearer\ta.b.c")], 401, TWO),
        (vec![("cookie", &plain), ("authorization", "Bearer \u{f6}")], 401, TWO),
        (vec![("cookie", &plain), ("authorization", BASIC), ("authorization", &bearer)], 401, TWO),
        (vec![("cookie", &plain), ("cookie", &plain)], 401, TWO),
        (vec![("cookie", "session=")], 401, CHALLENGE),
        (vec![("cookie", "Session=x; xsession=x; session.x=x; session")], 401, CHALLENGE),
        (vec![("cookie", "session=a b")], 401, TWO),
        (vec![("cookie", "session=a.b.c")], 401, INVALID),
    ] {
        let reply = send(&layer, request(&headers)).await;
        assert_eq!(reply.status(), status, "{headers:?}");
        if status == 200 {
            assert_eq!(text(reply).await, user);
        } else {
            assert_eq!(reply.headers()["www-authenticate"], user, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn an_unsafe_method_with_a_cookie_must_come_from_an_own_page() {
    let layer = layer().cookie("session").allowed_origins(["https://app.example"]);
    let cookie = format!("session={}", sign(&claims()));
    let bearer = format!("Bearer {}", sign(&claims()));
    for (method, host, origin, status) in [
        (Method::POST, "chat.example", None, 200),
        (Method::POST, "chat.example", Some("https://chat.example"), 200),
        (Method::POST, "Chat.Example:443", Some("https://chat.example"), 200),
        (Method::POST, "localhost:8080", Some("http://localhost:8080"), 200),
        (Method::POST, "localhost:8080", Some("http://localhost:8081"), 403),
        (Method::POST, "localhost:8080", Some("http://localhost"), 403),
        (Method::POST, "chat.example", Some("https://app.example"), 200),
        (Method::POST, "chat.example", Some("http://app.example"), 403),
        (Method::POST, "chat.example", Some("https://evil.example"), 403),
        (Method::DELETE, "chat.example", Some("https://evil.example"), 403),
        (Method::PATCH, "chat.example", Some("null"), 403),
        (Method::POST, "chat.example", Some("chrome-extension://chat.example"), 403),
        (Method::POST, "chat.example", Some("https://chat.example.evil.example"), 403),
        (Method::GET, "chat.example", Some("https://evil.example"), 200),
    ] {
        let mut headers = vec![("cookie", cookie.as_str()), ("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let mut sent = request(&headers);
        *sent.method_mut() = method.clone();
        let reply = send(&layer, sent).await;
        assert_eq!(reply.status(), status, "{method} {host} {origin:?}");
        assert!(!reply.headers().contains_key("www-authenticate"));

        // A browser adds this one by itself.
        headers.push(("authorization", BASIC));
        let mut sent = request(&headers);
        *sent.method_mut() = method.clone();
        assert_eq!(send(&layer, sent).await.status(), status, "{method} {host} {origin:?}");
        headers.pop();

        // A page can't make a browser add this one.
        headers.push(("authorization", &bearer));
        let mut sent = request(&headers);
        *sent.method_mut() = method;
        assert_eq!(send(&layer, sent).await.status(), 200);
    }

    let own = [("cookie", cookie.as_str()), ("origin", "https://chat.example")];
    for (uri, extra, status) in [
        // HTTP/2 names the host in the URI.
        ("https://chat.example/x", None, 200),
        ("https://other.example/x", Some(("host", "chat.example")), 403),
        ("/x", None, 403),
        ("/x", Some(("origin", "https://chat.example")), 403),
    ] {
        let mut headers = own.to_vec();
        headers.extend(extra);
        let mut sent = request(&headers);
        *sent.method_mut() = Method::POST;
        *sent.uri_mut() = uri.parse().unwrap();
        assert_eq!(send(&layer, sent).await.status(), status, "{uri} {extra:?}");
    }
}

#[tokio::test]
async fn whoever_claims_to_be_somebody_in_the_extensions_is_overwritten() {
    let mut sent = request(&[("authorization", &format!("Bearer {}", sign(&claims())))]);
    sent.extensions_mut().insert(Principal::new(UserId::parse("eve").unwrap()));
    assert_eq!(text(send(&layer(), sent).await).await, "ada");
}

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
            assert_eq!(reply.headers()["www-authenticate"], TWO);
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
        (Some(bearer("")), TWO, "the Authorization header is malformed"),
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

#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service_and_its_errors_pass() {
    let unreachable = service_fn(async |_: Request<Authenticated<Empty<Bytes>>>| {
        Err::<Response<String>, _>("reached")
    });
    let reply = layer().layer(unreachable).oneshot(request(&[])).await.unwrap();
    assert_eq!(reply.status(), 401);
    let sent = request(&[("authorization", &format!("Bearer {}", sign(&claims())))]);
    assert_eq!(layer().layer(unreachable).oneshot(sent).await.err(), Some("reached"));
}

#[test]
fn a_refusal_in_problem_details_has_the_same_challenge() {
    let style = {
        let sent = request(&[("accept", "application/problem+json")]);
        RefusalStyle::of(&sent)
    };
    let rejection =
        crate::rejection::Rejection::from(crate::authenticate::challenge::Unauthenticated::NoToken);
    let reply = rejection.into_response(&style);
    assert_eq!(reply.headers()["content-type"], "application/problem+json");
    assert_eq!(reply.headers()["www-authenticate"], CHALLENGE);
}

/// Knows one secret, and can be down.
#[derive(Debug)]
struct OneSecret;

impl ClientSecrets for OneSecret {
    fn caller(&self, secret: &str) -> CallerFuture {
        let outcome = match secret {
            "ek_good" => Ok(Principal::new(UserId::parse("bob").unwrap())),
            "ek_down" => Err(SecretError::Unavailable(crate::error::Error::store("x", "locked"))),
            _ => Err(SecretError::Invalid(InvalidToken::Revoked)),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            outcome
        })
    }
}

#[tokio::test]
async fn a_client_secret_selects_its_user_from_the_authorization_header_only() {
    let anyone = AuthenticateLayer::danger_accept_anyone_as(UserId::parse("ada").unwrap());
    for layer in [layer().cookie("token"), anyone.clone()] {
        let layer = layer.client_secrets(Arc::new(OneSecret));
        let reply = send(&layer, request(&[("authorization", "Bearer ek_good")])).await;
        assert_eq!(text(reply).await, "bob");
        let reply = send(&layer, request(&[("authorization", "Bearer ek_bad")])).await;
        assert_eq!(reply.status(), 401);
        assert_eq!(reply.headers()["www-authenticate"], INVALID);
        let reply = send(&layer, request(&[("authorization", "Bearer ek_down")])).await;
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["retry-after"], "1");
    }
    let layer = layer().cookie("token").client_secrets(Arc::new(OneSecret));
    let reply = send(&layer, request(&[("cookie", "token=ek_good")])).await;
    assert_eq!(reply.status(), 401);
    // Who doesn't know about secrets takes them for bad tokens, or looks at no token at all.
    let reply = send(&anyone, request(&[("authorization", "Bearer ek_good")])).await;
    assert_eq!(text(reply).await, "ada");
}

#[tokio::test]
async fn callers_who_are_looked_up_have_places_and_all_others_need_none() {
    let layer = layer().client_secrets(Arc::new(OneSecret)).max_unauthenticated(1);
    let asked = || request(&[("authorization", "Bearer ek_good")]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(send(&layer, asked()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let refused = send(&layer, asked()).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(send(&layer, request(&[])).await.status(), 401);
    assert_eq!(text(first.await).await, "bob");

    // Given back by who leaves, and by who isn't let in.
    let mut left = Box::pin(send(&layer, asked()));
    assert!(left.as_mut().poll(&mut cx).is_pending());
    drop(left);
    let bad = send(&layer, request(&[("authorization", "Bearer ek_bad")])).await;
    assert_eq!(bad.status(), 401);
    assert_eq!(text(send(&layer, asked()).await).await, "bob");

    // Nobody is between the two places: the inner service has been called by then.
    let (sent, called) = std::sync::mpsc::channel();
    let waiting = layer.layer(service_fn(move |_: Request<Authenticated<Empty<Bytes>>>| {
        sent.send(()).unwrap();
        std::future::pending::<Result<Response<http_body_util::Full<Bytes>>, Infallible>>()
    }));
    let mut calling = Box::pin(waiting.oneshot(asked()));
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    called.try_recv().unwrap_err();
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    called.try_recv().unwrap();
    assert_eq!(text(send(&layer, asked()).await).await, "bob");
}

#[tokio::test]
async fn only_keys_of_services_count_on_the_openai_surface() {
    let digest = |key: &str| -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        digest.as_ref().try_into().unwrap()
    };
    let keys = [("billing", "sk-one"), ("support", "sk-two")];
    let keys = keys.map(|(name, key)| (UserId::parse(name).unwrap(), digest(key)));
    let on = |headers: &[(&str, &str)]| {
        let mut request = request(headers);
        request.extensions_mut().insert(Surface::OpenAi);
        request
    };
    let jwt = format!("Bearer {}", sign(&claims()));
    let anyone = AuthenticateLayer::danger_accept_anyone_as(UserId::parse("ada").unwrap());
    for layer in [layer().cookie("token"), anyone] {
        let layer = layer.client_secrets(Arc::new(OneSecret));
        // Without keys, nobody.
        let reply = send(&layer, on(&[("authorization", "Bearer sk-one")])).await;
        assert_eq!(reply.status(), 401);

        let layer = layer.service_keys(ServiceKeys::new(keys.clone()));
        for (key, name) in [("Bearer sk-one", "billing"), ("bearer sk-two", "support")] {
            let reply = send(&layer, on(&[("authorization", key)])).await;
            assert_eq!(text(reply).await, name);
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer sk-on")],
            &[("authorization", "Bearer billing")],
            &[("authorization", jwt.as_str())],
            &[("authorization", "Bearer ek_good")],
            &[("cookie", "token=sk-one")],
            &[("authorization", "Bearer sk-one"), ("authorization", "Bearer sk-one")],
        ] {
            let reply = send(&layer, on(headers)).await;
            assert_eq!(reply.status(), 401, "{headers:?}");
            assert!(reply.headers().contains_key("www-authenticate"));
            let body: Value = serde_json::from_str(&text(reply).await).unwrap();
            assert_eq!(body["error"]["code"], "invalid_api_key");
        }
        // And a key counts nowhere else.
        let reply = send(&layer, request(&[("authorization", "Bearer sk-one")])).await;
        assert_ne!(text(reply).await, "billing");
    }
}

#[tokio::test]
async fn where_it_is_optional_only_those_who_say_nothing_are_nobody() {
    async fn who(
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<http_body_util::Full<Bytes>>, Infallible> {
        let principal = request.extensions().get::<Principal>();
        let who = principal.map_or("nobody".to_owned(), |known| known.user_id().to_string());
        Ok(Response::new(who.into()))
    }
    let layer = layer().cookie("session").optional();
    let (good, bad) = (sign(&claims()), "ey.J.x");
    let (bearer, cookie) = (format!("Bearer {good}"), format!("session={good}"));
    for (headers, expected) in [
        (vec![], Ok("nobody")),
        (vec![("authorization", BASIC)], Ok("nobody")),
        (vec![("cookie", "session=; other=1")], Ok("nobody")),
        (vec![("authorization", &*bearer)], Ok("ada")),
        (vec![("cookie", &*cookie)], Ok("ada")),
        (vec![("authorization", "Bearer")], Err(401)),
        (vec![("authorization", &*format!("Bearer {bad}"))], Err(401)),
        (vec![("authorization", &*bearer), ("authorization", BASIC)], Err(401)),
        (vec![("cookie", &*format!("session={bad}"))], Err(401)),
        (vec![("cookie", "session=x y")], Err(401)),
    ] {
        let mut request = request(&headers);
        // Nobody verified that.
        let eve = Principal::new(UserId::parse("eve").unwrap());
        request.extensions_mut().insert(eve);
        let reply = layer.layer(service_fn(who)).oneshot(request).await.unwrap();
        let status = reply.status().as_u16();
        let found = text(reply).await;
        let found = if status == 200 { Ok(found.as_str()) } else { Err(status) };
        assert_eq!(found, expected, "{headers:?}");
    }
    // Another page's use of the cookie is refused, and not taken for nobody's.
    let mut foreign = request(&[("cookie", &cookie), ("origin", "https://evil.example")]);
    *foreign.method_mut() = Method::POST;
    let reply = layer.layer(service_fn(who)).oneshot(foreign).await.unwrap();
    assert_eq!(reply.status(), 403);
}
