//! The operations: what is read, what is needed, what is asked, and what is answered.
//!
//! [`OperationLayer`] takes a request whose operation is known to its answer: it reads the body
//! within bounds, finds out at the [`Desk`](crate::session::Desk) whether the caller may, and has the
//! upstream carry it out.
//!
//! # Alone
//! Behind the router, around a server that always says the same:
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use chatkit_rest::operation::OperationLayer;
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//! use chatkit_rest::route::{RouteLayer, Router};
//! use chatkit_rest::session::{Desk, MemoryStore, SessionLimits};
//! use chatkit_rest::translate::TranslateSettings;
//! use chatkit_rest::validate::{BodyLimits, Reader, Schemas};
//! use http::{Method, Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Service, ServiceBuilder, service_fn};
//!
//! const EVENTS: &str = r#"data: {"type":"thread.created","thread":{"id":"thr_1"}}
//!
//! data: {"type":"thread.item.done","item":{"id":"msg_1","type":"assistant_message"}}
//!
//! "#;
//!
//! async fn chatkit(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/chatkit"));
//!     assert_eq!(request.headers()["x-user-id"], "ada");
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok(response.body(Full::from(EVENTS)).unwrap_or_default())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reader = Reader::new(Schemas::compile()?, BodyLimits::default());
//! let desk = Desk::new(Arc::new(MemoryStore::new()), SessionLimits::default());
//! let mut service = ServiceBuilder::new()
//!     .layer(RouteLayer::new(Router::new("/chat")?))
//!     .layer(OperationLayer::new(reader, desk, TranslateSettings::default()))
//!     .service(service_fn(chatkit));
//!
//! let ada = Principal::new(UserId::parse("ada")?);
//! let body = |text: &'static str| Authenticated::new(ada.clone(), Full::new(Bytes::from(text)));
//! let created = service.call(Request::post("/chat/sessions").body(body(""))?).await?;
//! let session = created.headers()["location"].to_str()?.rsplit('/').next().unwrap_or_default();
//!
//! let runs = format!("/chat/sessions/{session}/threads/{session}/runs");
//! let run = service.call(Request::post(runs).body(body(r#"{"message":"Hello"}"#))?).await?;
//! assert_eq!(run.status(), 200);
//! assert_eq!(run.into_body().collect().await.map_err(|_| "cut")?.to_bytes(), EVENTS);
//! # Ok(())
//! # }
//! ```

mod layer;
mod service;
mod tell;

pub use layer::OperationLayer;
pub use service::Operations;
