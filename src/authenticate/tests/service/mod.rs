//! The service, around one that says who calls it.

mod secrets;
mod slips;
mod trust;

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

pub(super) type Reply = Response<RefusedOr<http_body_util::Full<Bytes>>>;

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

pub(super) fn request(headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().uri("/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

pub(super) async fn send(layer: &AuthenticateLayer, request: Request<Empty<Bytes>>) -> Reply {
    layer.layer(service_fn(whoami)).oneshot(request).await.unwrap()
}

pub(super) async fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

const BASIC: &str = "Basic YTpi";
const CHALLENGE: &str = "Bearer realm=\"chatkit-rest\"";
const TWO: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                   error_description=\"Exactly one bearer token is expected.\"";
const EMPTY: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                     error_description=\"There is no token after Bearer.\"";
const INVALID: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                       error_description=\"The token is not valid.\"";
const EXPIRED: &str = "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                       error_description=\"The token has expired.\"";

/// Knows one secret, and can be down.
#[derive(Debug)]
pub(super) struct OneSecret;

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
        (vec![("authorization", "Bearer")], EMPTY, "there is no token after Bearer"),
        (vec![("authorization", "bearer  ")], EMPTY, "there is no token after Bearer"),
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
                    | "There is no token after Bearer."
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
        (vec![("cookie", &plain), ("authorization", "Bearer")], 401, EMPTY),
        (vec![("cookie", &plain), ("authorization", "bearer ")], 401, EMPTY),
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
