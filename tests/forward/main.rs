//! The forward room against an upstream of raw sockets that does exactly what a test tells it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where an expectation fails"
)]

mod failures;
mod headers;
mod peace;
mod reuse;
mod streams;
mod support;
#[cfg(feature = "tls")]
mod tls;
