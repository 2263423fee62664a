//! `ValidateLayer` where an outside user puts it: around a route, a method and a whole router of
//! axum's, behind the rooms that say who is calling, and around a service of one's own.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use chatkit_rest::limit::{InFlightLayer, RateLimitLayer};
use chatkit_rest::principal::{IdentifyLayer, Principal, UserId};
use chatkit_rest::validate::{
    JsonLimits, JsonSchema, Validate, ValidateFuture, ValidateLayer, Validated,
};
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::Value;
use tower::{ServiceBuilder, service_fn};

use crate::support::ask;

fn layer() -> ValidateLayer {
    let schema = JsonSchema::compile("note", r#"{"type": "object", "required": ["text"]}"#);
    ValidateLayer::new(schema.unwrap())
}

fn note(method: Method, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri("/notes").body(Body::from(body)).unwrap()
}

async fn echo(body: Bytes) -> Bytes {
    body
}

const GOOD: &str = r#"{ "text" :"hi"}"#;

#[tokio::test]
async fn axum_has_it_around_a_route_a_method_or_all() {
    let of_routes = Router::new().route("/notes", post(echo)).route_layer(layer());
    let of_a_method = Router::new().route("/notes", post(echo).route_layer(layer()));
    let of_all = Router::new().route("/notes", post(echo)).layer(layer());
    for (app, other) in [(of_routes, 400), (of_a_method, 405), (of_all, 400)] {
        let answer = ask(&app, note(Method::POST, GOOD)).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, GOOD.as_bytes()));
        let answer = ask(&app, note(Method::POST, "{}")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "INVALID_INPUT"));
        assert_eq!(answer.json()["error"]["details"]["errors"][0]["pointer"], "/text");
        let answer = ask(&app, note(Method::POST, r#"{"text":"a","text":"b"}"#)).await;
        assert_eq!(answer.code(), "INVALID_JSON");
        assert_eq!(ask(&app, note(Method::DELETE, "")).await.status, other);
    }
}

#[tokio::test]
async fn behind_other_rooms_it_reads_only_whom_they_let_in() {
    let rooms = ServiceBuilder::new()
        .layer(IdentifyLayer::by(|head| {
            UserId::parse(head.headers.get("x-user")?.to_str().ok()?).ok()
        }))
        .layer(InFlightLayer::new(1))
        .layer(RateLimitLayer::per_minute(2))
        .layer(layer().with_limits(JsonLimits::default().with_max_body_bytes(20)));
    let whose = async |principal: axum::Extension<Principal>| principal.user_id().to_string();
    let app = Router::new().route("/notes", post(whose).route_layer(rooms));
    let of_ada = |body| {
        let mut request = note(Method::POST, body);
        request.headers_mut().insert("x-user", "ada".parse().unwrap());
        request
    };
    assert_eq!(ask(&app, note(Method::POST, "{")).await.code(), "UNAUTHORIZED");
    assert_eq!(ask(&app, of_ada(r#"{"text":"aaaaaaaaaaaa"}"#)).await.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(ask(&app, of_ada(GOOD)).await.body, "ada");
    assert_eq!(ask(&app, of_ada("{")).await.code(), "RATE_LIMITED");
}

// Any service will do whose body can be made of bytes, the crate's own among them.
#[tokio::test]
async fn a_service_of_ones_own_is_handed_what_was_read() {
    let inner = service_fn(async |request: Request<Validated>| {
        let (bytes, json) = request.into_body().into_parts();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), json);
        Ok::<_, Infallible>(Response::new(Full::new(bytes)))
    });
    let inner = ServiceBuilder::new().layer(layer()).layer(InFlightLayer::new(1)).service(inner);
    let request = Request::new(Full::<Bytes>::from(GOOD));
    assert_eq!(ask(&inner, request).await.body, GOOD);
}

#[test]
fn all_of_it_can_be_shared_where_what_is_inside_can() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<ValidateLayer>();
    is_shared::<JsonSchema>();
    is_shared::<Validated>();
    is_shared::<Validate<Router>>();
    is_sent::<ValidateFuture<Router, Body>>();
}
