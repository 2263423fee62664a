//! The stream room through its public API: whatever a stream says and however it is cut into
//! frames, its bytes pass as they are, and what is learnt of it is the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where an expectation fails"
)]

mod bytes;
mod collecting;
mod ends;
mod events;
mod holding;
mod layer;
mod parked;
mod support;
mod told;
