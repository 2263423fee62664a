//! REST ⇄ ChatKit.
//!
//! An [`Admitted`](crate::session::Admitted) request becomes the ChatKit requests that carry it
//! out, and their answers become its reply. The service inside is anything that speaks ChatKit:
//! `forward`'s HTTP upstream, the embedded one, or a host application's own.
//!
//! A run's status is decided before it is sent (see [`stream`](crate::stream)); what was a
//! missing thread is told from a crash on the failure path only, because a ChatKit server
//! answers both alike. Creating a session or a thread asks the upstream nothing.
//!
//! [`ChatKitRestLayer`] is the whole way from *route* to here for a host application that
//! verifies its callers itself; `examples/axum_app.rs` shows it.
//!
//! What this room does not do: it decides nothing about who may do what, and it never writes
//! into a run's bytes; only answers in JSON are the gateway's own.
//!
//! # Alone
//! With the rooms before it that make what it takes, around a server that always says the same:
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//! use chatkit_rest::route::{RouteLayer, Router};
//! use chatkit_rest::session::{MemoryStore, SessionLayer, SessionLimits};
//! use chatkit_rest::translate::{TranslateLayer, TranslateSettings};
//! use chatkit_rest::validate::{BodyLimits, Schemas, ValidateLayer};
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
//! let sessions = SessionLayer::new(Arc::new(MemoryStore::new()), SessionLimits::default());
//! let mut service = ServiceBuilder::new()
//!     .layer(RouteLayer::new(Router::new("/chat")?))
//!     .layer(ValidateLayer::new(Schemas::compile()?, BodyLimits::default()))
//!     .layer(sessions)
//!     .layer(TranslateLayer::new(TranslateSettings::default()))
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

mod attachments;
mod body;
mod bundle;
mod chat;
mod count;
mod envelope;
mod errand;
mod follow_ups;
mod head;
mod history;
mod host;
mod items;
mod layer;
mod messages;
mod observer;
mod openai;
mod own_threads;
mod pages;
mod passthrough;
mod plain;
mod reply;
mod runs;
mod sender;
mod service;
mod sessions;
mod threads;
pub(crate) mod time;
mod tools;
mod transcriptions;
mod turns;
mod unknown;
mod upstream;

pub use body::ReplyBody;
pub use bundle::{ChatKitRest, ChatKitRestLayer, Rooms};
pub use host::{FallbackFuture, HostFuture, RequirePrincipal, Theirs};
pub use layer::{TranslateLayer, TranslateSettings};
pub use observer::SessionObserver;
pub use service::Translate;
pub use time::parse as parse_time;
