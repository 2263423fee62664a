//! Asking a ChatKit server, and reading what it says.
//!
//! Needs the feature `operation`.
//!
//! The server is a service: `forward`'s HTTP upstream, the embedded one, or a host application's
//! own. Here are the requests that it gets, word for word, the walk over its pages, and what its
//! threads, items and times are. What was a missing thread is told from a crash on the failure path
//! only, because a ChatKit server answers both alike.
//!
//! What this room does not do: it decides nothing about who may do what, knows no operation, and
//! never writes into a run's bytes.

pub(crate) mod count;
pub(crate) mod envelope;
pub(crate) mod messages;
pub(crate) mod pages;
pub(crate) mod plain;
pub(crate) mod sender;
pub(crate) mod settings;
pub(crate) mod threads;
pub(crate) mod time;
pub(crate) mod unknown;
pub(crate) mod upstream;

pub use settings::ChatKitSettings;
pub use time::parse as parse_time;
pub(crate) use unknown::KnownTypes;
pub(crate) use upstream::{ChatKit, ChatKitBody};
