//! REST ⇄ ChatKit.
//!
//! A request that is admitted becomes the ChatKit requests that carry it out, and their answers
//! become its reply. The service inside is anything that speaks ChatKit:
//! `forward`'s HTTP upstream, the embedded one, or a host application's own.
//!
//! A run's status is decided before it is sent (see [`stream`](crate::stream)); what was a
//! missing thread is told from a crash on the failure path only, because a ChatKit server
//! answers both alike. Creating a session or a thread asks the upstream nothing.
//!
//! What this room does not do: it decides nothing about who may do what, and it never writes
//! into a run's bytes; only answers in JSON are the gateway's own.

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
pub(crate) use unknown::Known;
pub(crate) use upstream::{ChatKit, ChatKitBody};
