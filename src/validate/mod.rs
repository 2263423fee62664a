//! The request's body: read within bounds, checked against its schema, parsed into a [`Call`].
//!
//! A ChatKit server answers a bare 500 to almost any mistake. Here each one is told apart:
//! media type (415), size (413), UTF-8, JSON, duplicate keys and depth (400 `INVALID_JSON`),
//! and every violation of the operation's JSON Schema with the JSON Pointer of its place (400
//! `INVALID_INPUT`). What comes out is a [`Validated`]: later rooms never look at a body again.
//!
//! The text of a message is passed on exactly as it was received; only its raw JSON is kept.
//!
//! What this room does not do: it knows no sessions and asks no store.
//!
//! # Alone
//! ```
//! use std::convert::Infallible;
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//! use chatkit_rest::route::{RouteLayer, Router};
//! use chatkit_rest::validate::{BodyLimits, Schemas, Validate, ValidateLayer, Validated};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{Service, ServiceBuilder, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let mut service = ServiceBuilder::new()
//!     .layer(RouteLayer::new(Router::new("/chat")?))
//!     .layer(ValidateLayer::new(Schemas::compile()?, BodyLimits::default()))
//!     .service(service_fn(|request: Request<Validated>| async move {
//!         let call = format!("{:?}", request.body().call());
//!         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(call))))
//!     }));
//! let ada = Principal::new(UserId::parse("ada").unwrap());
//! let request = Request::post("/chat/sessions")
//!     .header("content-type", "application/json")
//!     .body(Authenticated::new(ada, Full::new(Bytes::from(r#"{"titel":"x"}"#))))
//!     .unwrap();
//! assert_eq!(service.call(request).await.unwrap().status(), 400);
//! # Ok::<(), chatkit_rest::error::Error>(())
//! # }).unwrap();
//! ```

mod call;
mod chat;
mod history;
mod json;
mod layer;
mod negotiate;
mod openai;
mod parse;
mod query;
mod read;
mod report;
mod schemas;
mod service;

pub use call::{
    ActionCall, Answer, Audio, Call, ChatKitCall, Feedback, FollowUp, Page, RunCall, Step,
    ThreadPath, TranscriptionCall, Validated,
};
pub use chat::{ChatCall, ConversationName};
pub use history::{HistoryCall, Look};
pub use json::{JsonError, MAX_DEPTH, MAX_VALUES, parse as parse_json};
pub use layer::{BodyLimits, UnknownRequests, ValidateLayer};
pub use openai::{ListPage, NewClientSession, OpenAiCall};
pub use report::{Report, Violation};
pub use schemas::{SOURCES, Schemas, compile};
pub use service::{ResponseFuture, Validate};
