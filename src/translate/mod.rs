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

mod attachments;
mod body;
mod chat;
mod count;
mod cursors;
mod envelope;
mod errand;
mod follow_ups;
mod head;
mod history;
mod items;
mod messages;
mod observer;
mod openai;
mod own_threads;
mod pages;
mod passthrough;
mod plain;
mod reply;
mod runs;
mod sender;
mod service;
mod sessions;
mod settings;
mod threads;
pub(crate) mod time;
mod tools;
mod transcriptions;
mod turns;
mod unknown;
mod upstream;

pub use body::ReplyBody;
pub use cursors::SealedAnswer;
pub(crate) use errand::Errands;
pub use observer::SessionObserver;
pub(crate) use service::{Reply, carry_out};
pub use settings::TranslateSettings;
pub use time::parse as parse_time;
pub(crate) use unknown::Known;
pub(crate) use upstream::Detachable;
