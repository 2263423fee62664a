//! The OpenAI-compatible API: what a service may see and do, from a self-hosted server.
//!
//! The store knows which threads there are and whose they are; the upstream knows what is in
//! them. It is always asked on behalf of the user who owns what is asked about.

use serde::Serialize;

use super::service::{Exchange, Reply};
use super::upstream::{ChatKit, ChatKitBody};
use crate::session::OpenAiAction;

pub(crate) mod convert;
pub(crate) mod delete;
pub(crate) mod find;
pub(crate) mod items;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod threads;

pub(crate) async fn carry_out<S, R>(mut exchange: Exchange<S>, action: OpenAiAction) -> Reply<R>
where
    S: ChatKit<R>,
    R: ChatKitBody,
{
    match action {
        OpenAiAction::ListThreads(directory, page) => {
            threads::list(&mut exchange, directory, page.limit).await
        }
        OpenAiAction::GetThread(session) => threads::get(&mut exchange, session.record()).await,
        OpenAiAction::DeleteThread(session, attachments) => {
            delete::thread(exchange, session, attachments).await
        }
        OpenAiAction::ListItems(session, page) => {
            items::list(&mut exchange, session.record(), page).await
        }
    }
}

/// A page of anything.
#[derive(Serialize)]
pub(crate) struct List<T> {
    object: &'static str,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl<T> List<T> {
    fn new(data: Vec<T>, id: impl Fn(&T) -> &str, has_more: bool) -> Self {
        let first_id = data.first().map(|first| id(first).to_owned());
        let last_id = data.last().map(|last| id(last).to_owned());
        Self { object: "list", data, first_id, last_id, has_more }
    }
}
