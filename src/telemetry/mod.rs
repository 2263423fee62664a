//! One log line for each request: who, what, how it ended, how long it took.
//!
//! Needs the feature `operation`.
//!
//! [`TraceLayer`] is the outermost layer. It gives every request an id (the client's own
//! `X-Request-Id` where that is 1 to 128 of `A–Z a–z 0–9 . _ -`, else a UUID v7), echoes it on
//! every response, passes it and a valid `traceparent` on to the upstream, and logs one event
//! at target `chatkit_rest::request` when the response's *body* is over: a stream counts until
//! its last byte.
//!
//! Rooms further in tell it what they learn through the [`Record`] in the request's extensions.
//! It is for the log alone: no room reads it, and all work the same without one.
//!
//! Bodies, tokens, query strings and header values are never logged.
//!
//! | field | there when | what |
//! |---|---|---|
//! | `request_id` | always | the request's id, as in `X-Request-Id` and in an error's body |
//! | `method`, `path` | always | without the query |
//! | `operation` | the path is one of ours | `create_run`, … |
//! | `chatkit` | on the pass-through | the ChatKit request's type, if it is a known one |
//! | `user` | the caller was verified | their id; of a service, whom it acts for |
//! | `service` | the caller was verified | the name of its key |
//! | `session` | one was admitted | its id |
//! | `status` | there was an answer | the status that was sent |
//! | `code`, `cause` | it was refused | the code of the body, and the reason that only the log is told |
//! | `outcome` | always | `complete`, `refused`; `failed` (a run said so after its status was sent), `truncated` (cut by the upstream), `idle` (the upstream fell silent), `unbound` (a pass-through's new thread could not be stored, or a stream named another user's), `cancelled` (the client left, or took too little), `drained` (the gateway ended before it did) |
//! | `bytes` | always | of the answer's body that the connection was given, whether or not the client took them |
//! | `duration_ms` | always | from the request's head to the end of the answer's body |
//!
//! The level is `ERROR` for `INTERNAL`, `WARN` for `UPSTREAM_ERROR`, `UPSTREAM_TIMEOUT`,
//! `THREAD_ID_REUSED`, `ATTACHMENT_ID_REUSED` and `SERVICE_UNAVAILABLE`, and `INFO` for everything else.
//!
//! # Alone
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use chatkit_rest::telemetry::TraceLayer;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, Service, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = |_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
//! };
//! let mut service = TraceLayer::new().layer(service_fn(hello));
//!
//! let response = service.call(Request::builder().header("x-request-id", "r-1").body(())?).await?;
//! assert_eq!(response.headers()["x-request-id"], "r-1");
//! let response = service.call(Request::new(())).await?;
//! assert_eq!(response.headers()["x-request-id"].len(), 36);
//! # Ok(())
//! # }
//! ```

mod layer;
mod record;
mod request_id;
mod service;

#[cfg(feature = "server")]
pub(crate) use layer::Ending;
pub use layer::{TraceLayer, UserLayer};
pub use record::Record;
#[cfg(feature = "server")]
pub(crate) use service::is_long;
pub use service::{ResponseFuture, Trace, TracedBody, User};
