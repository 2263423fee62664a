//! `ChatKitRestLayer` around each kind of upstream: who gets in, and what the host's own service
//! gets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod axum_hosts;
mod fallback;
mod hyper_alone;
mod limits;
mod location;
mod matched;
mod rooms;
mod store_calls;
mod strangers;
mod support;
mod validate;
