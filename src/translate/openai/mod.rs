//! The OpenAI-compatible API: what a service may see and do, from a self-hosted server.
//!
//! The store knows which threads there are and whose they are; the upstream knows what is in
//! them. It is always asked on behalf of the user who owns what is asked about.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use serde::Serialize;

use super::errand::Errands;
use super::sender::Sender;
use super::service::Reply;
use super::settings::TranslateSettings;
use super::unknown::Known;
use super::upstream::{Detachable, Upstream};
use crate::error::BoxError;
use crate::principal::UserId;
use crate::session::OpenAiAction;

pub(crate) mod convert;
pub(crate) mod delete;
pub(crate) mod find;
pub(crate) mod items;
pub(crate) mod sessions;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod threads;

/// What an operation needs to be carried out.
pub(crate) struct Exchange<S> {
    pub(crate) service: S,
    pub(crate) settings: Arc<TranslateSettings>,
    pub(crate) errands: Errands,
    /// That of the service's request.
    pub(crate) head: Arc<Parts>,
}

impl<S: Clone> Exchange<S> {
    /// The upstream, on behalf of `owner`.
    fn upstream(&self, owner: &UserId) -> Upstream<S> {
        let (settings, head) = (Arc::clone(&self.settings), Arc::clone(&self.head));
        Upstream {
            service: self.service.clone(),
            // A service's key is for the gateway alone.
            sender: Sender::new(settings, head, owner.clone()).keeping_token(),
            // Nothing is asked here that an upstream may not know.
            known: Known::default(),
        }
    }
}

pub(crate) async fn carry_out<S, R>(mut exchange: Exchange<S>, action: OpenAiAction) -> Reply<R>
where
    S: Detachable<R> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match action {
        OpenAiAction::Session(session, secret) => sessions::show(&session, &secret),
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
