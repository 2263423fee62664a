//! The operations: what is read, what is needed, what is asked, and what is answered.
//!
//! Needs the feature `operation`.
//!
//! [`OperationLayer`] takes a request whose operation is known to its answer. One operation is one
//! file, and the file is the whole of it: its row of the API's table with what the document says of
//! it, what is read of a request, what a caller needs, what the upstream is asked, and what is
//! answered. `list.rs` has them all.
//!
//! A caller asks at the [`Desk`] whether they may, and gets a grant, which [`session`](crate::session)
//! alone makes: what touches a thread can't be done without one.
//!
//! # Alone
//! Behind the router, around a server that always says the same:
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use chatkit_rest::operation::{Name, OperationLayer};
//! use chatkit_rest::principal::{Authenticated, Principal, UserId};
//! use chatkit_rest::route::{RouteLayer, Router};
//! use chatkit_rest::session::{Desk, MemoryStore, SessionLimits};
//! use chatkit_rest::surface::Surfaces;
//! use chatkit_rest::chatkit::ChatKitSettings;
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
//!     .layer(RouteLayer::new(Router::new(Name::ALL, &Surfaces::rest("/chat"))?))
//!     .layer(OperationLayer::new(reader, desk, ChatKitSettings::default()))
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

use std::future::Future;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::{Desk, Granted};

pub(crate) mod attachment;
pub(crate) mod body;
mod chat;
pub(crate) mod detached;
pub(crate) mod exchange;
pub(crate) mod extra;
pub(crate) mod fields;
pub(crate) mod follow_up;
pub(crate) mod head;
mod layer;
mod list;
pub(crate) mod message;
pub(crate) mod observer;
mod openai;
mod passthrough;
mod read;
pub(crate) mod reply;
mod rest;
mod row;
pub(crate) mod run;
pub(crate) mod sealed;
mod service;

pub use body::ReplyBody;
pub use layer::OperationLayer;
pub use list::Name;
pub use observer::SessionObserver;
pub use sealed::SealedAnswer;
pub use service::Operations;

pub(crate) use exchange::{Exchange, Reply};
pub(crate) use read::Read;
pub(crate) use row::{Gives, Row, Takes};

/// One operation, from what was sent to what is answered. One file is the whole of it.
///
/// No step can be left out or put in another order: each takes what only the one before it makes,
/// and a grant is made in [`session`](crate::session) alone.
pub(crate) trait Operation: 'static {
    /// Its row of the API's tables.
    const ROW: Row;

    /// What is asked for, once it is known to be well-formed. Ids are as they came.
    type Call: Send + Sync;

    /// What shows that the caller may.
    type Grant: Granted + Send;

    /// Reads what was sent. Pure.
    ///
    /// # Errors
    /// 400, 406, 413, 422.
    fn parse(read: &Read<'_>) -> Result<Self::Call, Rejection>;

    /// Finds out whether the caller may, and takes what that needs.
    ///
    /// # Errors
    /// 403, 404, 409, 429; 400 or 422 for a cursor that is none; 503 if the store is down.
    fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Self::Call,
    ) -> impl Future<Output = Result<Self::Grant, Rejection>> + Send;

    /// Has it carried out, and replies.
    ///
    /// # Errors
    /// 502, 503, 504, and what the upstream says itself: that something isn't there (404), or isn't
    /// waited for (409).
    fn answer<S, R>(
        exchange: Exchange<S>,
        grant: Self::Grant,
        call: Self::Call,
    ) -> impl Future<Output = Reply<R>> + Send
    where
        S: ChatKit<R>,
        R: ChatKitBody;
}
