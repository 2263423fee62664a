//! The OpenAI-compatible API: what a service may see and do, from a self-hosted server.
//!
//! The store knows which threads there are and whose they are; the upstream knows what is in
//! them. It is always asked on behalf of the user who owns what is asked about.
//!
//! A file is named without the prefix that its operation's row has: `openai_create_session` is in
//! `create_session.rs`.

use crate::principal::UserId;
use crate::validate::Report;

pub(super) mod cancel_session;
pub(super) mod create_session;
pub(super) mod delete_thread;
pub(super) mod get_thread;
pub(super) mod list_items;
pub(super) mod list_threads;

mod client_session;
mod convert;
mod find;
mod list;
#[cfg(test)]
mod parsed;
mod thread;

/// Reads the id of a user, which comes as `user`.
fn user_id(id: &str) -> Result<UserId, Report> {
    UserId::parse(id).map_err(|error| Report::one("/user", format!("is not a user id: {error}")))
}
