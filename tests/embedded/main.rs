//! The in-process ChatKit server, from outside: every request, as a gateway sends it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own functions may fail as the test does"
)]

mod cancel;
mod client;
mod failures;
mod files;
#[cfg(feature = "openai")]
mod openai;
mod pages;
mod recorded;
mod requests;
mod text;
mod timing;
