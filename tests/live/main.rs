//! The gateway's binary in front of real ChatKit servers, through real sockets.
//!
//! Black box: nothing of the library is used. The server that is the measure is
//! `examples/openai_chatkit_server`, on the current `openai-chatkit`. Words in a message make it do
//! what a test needs, and its `/_test` routes tell what it sent and was asked. Two more servers,
//! for `other_servers` and `node`: `old_server`, on release 1.4 of the same SDK, and `node_server`,
//! on the third-party Node SDK. Users may come from a real identity provider, `better_auth`. `setup.sh` installs all of them; where it can't, their tests
//! fail, which `tests/run.sh` counts as skipped.
//!
//! The first one runs on uvicorn's `httptools`; `CHATKIT_HTTP=h11` takes the other implementation.
//!
//! A test has users of its own, because the servers, which know no users, are shared by all tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod assumptions;
mod better_auth;
mod chat;
mod concurrency;
mod failures;
mod items;
mod leaving_hosted;
mod nextjs;
mod node;
mod openai;
mod other_servers;
mod ownership;
mod passthrough;
mod proof;
mod restarts;
mod runs;
mod sessions;
mod support;
mod timeouts;
