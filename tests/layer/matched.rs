//! `RouteLayer` in front of somebody else's handlers: which operation it is, and whose, without a
//! type of ours in their signatures.

use std::convert::Infallible;

use axum::handler::HandlerWithoutStateExt as _;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use chatkit_rest::limit::RateLimitLayer;
use chatkit_rest::principal::{IdentifyLayer, UserId};
use chatkit_rest::route::{Matched, Routable, RouteLayer, Routed, Router as Routes};
use chatkit_rest::surface::Surfaces;
use chatkit_rest::validate::{JsonSchema, ValidateLayer};
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceBuilder, service_fn};

use crate::support::ask;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shop {
    Order,
    GetLine,
}

impl Routable for Shop {
    fn method(self) -> Method {
        match self {
            Self::Order => Method::POST,
            Self::GetLine => Method::GET,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Order => "/orders",
            Self::GetLine => "/orders/{order_id}/lines/{line_id}",
        }
    }
}

fn layer() -> RouteLayer<Shop> {
    let surfaces = Surfaces::rest("/shop");
    RouteLayer::new(Routes::new([Shop::Order, Shop::GetLine], &surfaces).unwrap())
}

/// A handler of axum's, which knows nothing of its request's type.
async fn handler(Extension(matched): Extension<Matched<Shop>>) -> String {
    let parameters: Vec<_> = matched.parameters().collect();
    format!("{:?} {parameters:?}", matched.operation())
}

/// Whoever gets what is none of the operations is told nothing.
async fn elsewhere(matched: Option<Extension<Matched<Shop>>>) -> String {
    assert!(matched.is_none());
    "elsewhere".to_owned()
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::from(body)).unwrap()
}

const LINE: &str = "/shop/orders/s%2F1/lines/7";
const OF_LINE: &str = r#"GetLine [("order_id", "s/1"), ("line_id", "7")]"#;

#[tokio::test]
async fn a_handler_of_axums_is_told_the_operation_and_the_ids() {
    let fallback = Router::new().route("/about", get(elsewhere)).fallback(elsewhere);
    let service = layer().with_fallback(fallback).layer(handler.into_service());
    for (method, path, expected) in [
        (Method::GET, LINE, OF_LINE),
        (Method::HEAD, LINE, OF_LINE),
        (Method::POST, "/shop/orders", "Order []"),
        (Method::GET, "/about", "elsewhere"),
        (Method::GET, "/shop/orders/%00/lines/7", "elsewhere"),
    ] {
        let answer = ask(&service, request(method.clone(), path, "")).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, expected.as_bytes()), "{path}");
    }
    let answer = ask(&service, request(Method::DELETE, "/shop/orders", "")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (405, "METHOD_NOT_ALLOWED".to_owned()));
}

#[tokio::test]
async fn within_an_axum_router_it_goes_around_the_fallback() {
    let app = Router::new().fallback(handler).layer(layer()).route("/about", get(elsewhere));
    assert_eq!(ask(&app, request(Method::GET, LINE, "")).await.body, OF_LINE);
    assert_eq!(ask(&app, request(Method::GET, "/about", "")).await.body, "elsewhere");
    assert_eq!(ask(&app, request(Method::GET, "/shop", "")).await.code(), "NOT_FOUND");
}

/// Each room makes another body of the request's; what was found is still told.
#[tokio::test]
async fn it_passes_through_the_rooms_further_in() {
    let schema = JsonSchema::compile("order", r#"{"type": "object"}"#).unwrap();
    let rooms = ServiceBuilder::new()
        .layer(IdentifyLayer::by(|_| UserId::parse("ada").ok()))
        .layer(layer())
        .layer(RateLimitLayer::per_minute(2))
        .layer(ValidateLayer::new(schema));
    let app = Router::new().fallback(handler).layer(rooms);
    assert_eq!(ask(&app, request(Method::POST, "/shop/orders", "{}")).await.body, "Order []");
    assert_eq!(ask(&app, request(Method::POST, "/shop/orders", "[]")).await.status, 400);
    assert_eq!(ask(&app, request(Method::POST, "/shop/orders", "{}")).await.status, 429);
}

#[tokio::test]
async fn the_bodys_type_says_the_same() {
    let inner = service_fn(async |request: Request<Routed<Shop, Full<Bytes>>>| {
        let matched = request.extensions().get::<Matched<Shop>>().cloned().unwrap();
        let (target, _) = request.into_body().into_parts();
        assert_eq!(matched.operation(), target.operation());
        assert_eq!(matched.parameter("line_id"), target.parameter("line_id"));
        assert!(matched.parameters().eq(target.parameters()));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("same")))
    });
    assert_eq!(ask(&layer().layer(inner), request(Method::GET, LINE, "")).await.body, "same");
}
