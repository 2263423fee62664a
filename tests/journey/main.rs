//! Black box: a whole gateway behind its own port, in front of an upstream that each test plays
//! byte by byte, and called by clients that see every byte.
//!
//! Nothing of the library is used but its configuration and its server. Tests wait for sockets
//! and log lines, never for time; where time is the subject it is a setting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

mod access;
mod adopt;
mod blocks;
mod bytes;
mod chat;
mod chat_errors;
mod conversations;
mod cors;
mod cursors;
mod cuts;
mod drain;
mod embedded;
mod errors;
mod faults;
mod first_run;
mod floods;
mod foreign;
mod front;
mod health;
mod hold;
mod hosted;
mod http2;
mod identity;
mod issuers;
mod items;
mod key_sets;
mod limits;
mod logs;
mod model;
mod passthrough;
mod patience;
mod peace;
mod proof;
mod quarantine;
mod replicas;
mod request_ids;
mod resource;
mod silence;
mod slow_readers;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod windows;
mod wire;
