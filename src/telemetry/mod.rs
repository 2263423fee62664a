//! One log line for each request: who, what, how it ended, how long it took.
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

mod layer;
mod record;
mod request_id;
mod service;

pub use layer::{TraceLayer, UserLayer};
pub use record::Record;
pub use service::{ResponseFuture, Trace, TracedBody, User};
