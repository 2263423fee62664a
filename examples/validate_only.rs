//! One room used alone: a route's bodies are checked by a schema of the application's own, in an
//! axum application that has nothing to do with ChatKit.
//!
//! ```sh
//! cargo run --example validate_only --no-default-features --features validate
//! ```
//! In another terminal:
//! ```sh
//! order() { curl -i http://127.0.0.1:3000/orders -H 'content-type: application/json' -d "$1"; }
//! order '{"item": "tea", "quantity": 2}'
//! order '{"item": "tea", "quantity": 0, "colour": 7}'
//! order '{"item": "tea", "item": "coffee"}'
//! curl -i http://127.0.0.1:3000/orders
//! ```
//! - 201: 2 × tea
//! - 400, and what is wrong in both places
//! - 400: which one is it?
//! - 200: the layer is for POST alone
#![expect(clippy::print_stderr, reason = "a program at a terminal, not the library")]

use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chatkit_rest::validate::{JsonLimits, JsonSchema, ValidateLayer};
use serde::Deserialize;
use tokio::net::TcpListener;

const ORDER: &str = r#"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["item", "quantity"],
    "properties": {
        "item": {"type": "string", "minLength": 1, "maxLength": 40},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 99},
        "ready_by": {"type": "string", "format": "date"}
    },
    "additionalProperties": false
}"#;

#[derive(Deserialize)]
struct Order {
    item: String,
    quantity: u8,
}

/// Gives the application: everything but the listener.
pub(crate) fn app() -> Result<Router, chatkit_rest::error::Error> {
    let limits = JsonLimits::default()
        .with_max_body_bytes(4096)
        .with_max_json_values(100)
        .with_body_timeout(Duration::from_secs(5));
    let validate = ValidateLayer::new(JsonSchema::compile("order", ORDER)?).with_limits(limits);

    // Around the method that has a body, and none of the others.
    let create = post(create).route_layer(validate);
    Ok(Router::new().route("/orders", get(menu).merge(create)))
}

/// Gets the bytes as they came. The schema has said all that there is to be said against them.
async fn create(Json(order): Json<Order>) -> (StatusCode, String) {
    (StatusCode::CREATED, format!("{} × {}\n", order.quantity, order.item))
}

async fn menu() -> &'static str {
    "tea, coffee\n"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app()?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
