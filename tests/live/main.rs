//! The gateway's binary in front of the real `openai-chatkit` server, through real sockets.
//!
//! Black box: nothing of the library is used. The Python server is `examples/openai_chatkit_server`,
//! installed by `setup.sh` into `.venv`; words in a message make it do what a test needs, and its
//! `/_test` routes tell what it sent and was asked. Where it can't be installed every test fails.
//!
//! The server runs on uvicorn's `httptools`; `CHATKIT_HTTP=h11` takes the other implementation.
//!
//! A test has users of its own, because the server, which knows no users, is shared by all tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod assumptions;
mod concurrency;
mod failures;
mod items;
mod ownership;
mod passthrough;
mod restarts;
mod runs;
mod sessions;
mod support;
mod timeouts;
