//! `validate_only`: an order as it is due, or everything that is wrong with it.

use axum::body::Body;
use http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt as _;

async fn ask(method: Method, body: &'static str) -> (u16, String) {
    let request = Request::builder().method(method).uri("/orders");
    let request = request.header("content-type", "application/json").body(Body::from(body));
    let app = crate::validate_only::app().unwrap();
    let response = app.oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn an_order_is_taken() {
    let order = r#"{"item": "tea", "quantity": 2, "ready_by": "2026-11-30"}"#;
    assert_eq!(ask(Method::POST, order).await, (201, "2 × tea\n".to_owned()));
    assert_eq!(ask(Method::GET, "").await, (200, "tea, coffee\n".to_owned()));
    assert_eq!(ask(Method::PUT, order).await.0, 405);
}

#[tokio::test]
async fn all_that_is_wrong_is_named() {
    let order = r#"{"item": "", "quantity": 0, "ready_by": "soon", "colour": 7}"#;
    let (status, body) = ask(Method::POST, order).await;
    assert_eq!(status, 400);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["code"], "INVALID_INPUT");
    let errors = body["error"]["details"]["errors"].as_array().unwrap();
    let mut pointers: Vec<_> = errors.iter().filter_map(|e| e["pointer"].as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/colour", "/item", "/quantity", "/ready_by"]);

    let (status, body) = ask(Method::POST, r#"{"item": "tea", "item": "coffee"}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("INVALID_JSON"), "{body}");
}
