//! A body read within its bounds and checked against a JSON Schema, before anybody relies on it.
//!
//! Needs the feature `validate`.
//!
//! [`ValidateLayer`] does that in front of any service, by any [`JsonSchema`]. What doesn't match
//! never reaches the inner service, and each mistake is told apart:
//!
//! | what is wrong | refusal |
//! | --- | --- |
//! | the `Content-Type`, its `charset`, or a `Content-Encoding` | 415 `UNSUPPORTED_MEDIA_TYPE` |
//! | the size, or the number of values ([`JsonLimits`]) | 413 `PAYLOAD_TOO_LARGE` |
//! | the time that the body takes | 408 `REQUEST_TIMEOUT` |
//! | UTF-8, JSON, a key that comes twice, more than [`MAX_DEPTH`] levels | 400 `INVALID_JSON` |
//! | whatever the schema says | 400 `INVALID_INPUT`, with at most 32 JSON Pointers |
//!
//! Refusals name places and what is due there, and never a value that the client sent. What a
//! client reads is an envelope, or `application/problem+json` where `Accept` asks for that: see
//! [`rejection`](crate::rejection).
//!
//! A key that comes twice is refused because parsers disagree on which one counts: what was checked
//! is to be what is obeyed. The bytes go on as they came, without a copy where they came in one
//! frame, and next to them what they say: see [`Validated`].
//!
//! # What it does not do
//! - It changes nothing: no defaults are filled in, and no text is made a number.
//! - It looks at nothing but the body. Queries, paths and answers are the application's.
//! - It takes no request without a body, whatever the method. Put it around the methods that have
//!   one: `post(handler).route_layer(validate)` in axum, where `Router::route_layer` would also
//!   answer other methods with 400 in place of 405.
//! - It doesn't bound what all requests together keep in memory. A
//!   [limit on requests](crate::limit) around it does, times [`JsonLimits::max_body_bytes`].
//! - It looks for nothing outside of the schema: a `$ref` to another document is an error at the start.
//!
//! # Order
//! Inside of authentication and limits, so that nobody is read who may not ask. What those have
//! put into the request's extensions stays there.
//!
//! # Example
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use chatkit_rest::validate::{JsonSchema, Validated, ValidateLayer};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! async fn create(request: Request<Validated>) -> Result<Response<Bytes>, Infallible> {
//!     let quantity = &request.body().json()["quantity"];
//!     Ok(Response::new(format!("{quantity} ordered").into()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let schema = JsonSchema::compile(
//!     "order",
//!     r#"{
//!         "type": "object",
//!         "required": ["quantity"],
//!         "properties": {"quantity": {"type": "integer", "minimum": 1, "maximum": 99}}
//!     }"#,
//! )?;
//! let service = ValidateLayer::new(schema).layer(service_fn(create));
//! let order = |body: &'static str| Request::post("/orders").body(Full::<Bytes>::from(body));
//!
//! let response = service.clone().oneshot(order(r#"{"quantity": 2}"#)?).await?;
//! assert_eq!(response.into_body(), "2 ordered");
//!
//! let response = service.oneshot(order(r#"{"quantity": 0}"#)?).await?;
//! assert_eq!(response.status(), 400);
//! let refusal: serde_json::Value = serde_json::from_slice(response.body())?;
//! assert_eq!(refusal["error"]["code"], "INVALID_INPUT");
//! assert_eq!(refusal["error"]["details"]["errors"][0]["pointer"], "/quantity");
//! # Ok(())
//! # }
//! ```
//!
//! # The gateway's own requests
//! Its operations are read by a [`Reader`]: within [`BodyLimits`], by the [`Schemas`] of the crate.
//! A ChatKit server answers a bare 500 to almost any mistake; in front of it they are told apart as
//! above. Nobody looks at a body again after that. The text of a message is passed on exactly as it
//! was received.

mod future;
pub(crate) mod json;
mod layer;
pub(crate) mod negotiate;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod report;
mod schema;
pub(crate) mod schemas;
mod service;
mod validated;

pub use future::ValidateFuture;
pub use json::{JsonError, MAX_DEPTH, MAX_VALUES, parse as parse_json};
pub use layer::{JsonLimits, ValidateLayer};
pub use reader::{BodyLimits, Reader, UnknownRequests};
pub use report::{Report, Violation};
pub use schema::JsonSchema;
pub use schemas::{SOURCES, Schemas, compile};
pub use service::Validate;
pub use validated::Validated;
