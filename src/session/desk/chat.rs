//! One-shot chat: the conversation that is meant, or a new one.

use std::num::{NonZeroU32, NonZeroU64};

use super::first_run::FirstRun;
use super::{Asked, Desk};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::store_down;
use crate::session::claim::RunClaim;
use crate::session::record::{ConversationId, ConversationIds, SessionId, SessionRecord};
use crate::validate::Report;

/// The rules of one-shot chat, in place of [`SessionLimits`](super::SessionLimits)'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatSettings {
    /// What the ids of conversations look like.
    pub ids: ConversationIds,
    /// Sessions that a user may have before another conversation is refused; all of them count,
    /// however they were made. None unless set.
    pub max_sessions: Option<NonZeroU32>,
    /// User and assistant messages of a conversation. None unless set.
    pub max_messages: Option<NonZeroU32>,
}

/// A conversation's id, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConversationName {
    /// A whole number; `None` for one that no conversation can have.
    Number(Option<NonZeroU64>),
    /// A text.
    Text(Box<str>),
}

impl Desk {
    /// Makes a conversation and begins its first run, which takes one of the user's streams if it
    /// `streams`.
    pub(crate) async fn begin_conversation(
        &self,
        principal: &Principal,
        streams: bool,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        let ChatSettings { ids, max_sessions, max_messages } = self.chat;
        let first = FirstRun { max_sessions, max_messages, ids, streams };
        self.session_for_run(principal, first).await
    }

    /// Begins a run of a conversation of the caller's.
    pub(crate) async fn go_on_with(
        &self,
        principal: &Principal,
        name: &ConversationName,
        streams: bool,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        self.begin_named(principal, name, streams).await.map_err(no_session)
    }

    async fn begin_named(
        &self,
        principal: &Principal,
        name: &ConversationName,
        streams: bool,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        use ConversationName::{Number, Text};
        let max_messages = self.chat.max_messages;
        let id = match (self.chat.ids, name) {
            (ConversationIds::Uuid, Text(session)) => {
                let session = SessionId::parse(session);
                let session = session.ok_or_else(|| Rejection::new(Code::SessionNotFound))?;
                let asked = Asked { max_messages, streams, ..Asked::of(session) };
                return Ok((self.begin(principal, asked).await?, None));
            }
            (ConversationIds::Integer, Number(number)) => number.map(ConversationId::Integer),
            (ConversationIds::Conv, Text(id)) => {
                ConversationId::parse(id).filter(|id| self.chat.ids.are_like(*id))
            }
            (ConversationIds::Integer, Text(_)) => {
                return Err(Report::one("/conversation_id", "must be an integer").into());
            }
            (ConversationIds::Conv | ConversationIds::Uuid, Number(_)) => {
                return Err(Report::one("/conversation_id", "must be a string").into());
            }
        };
        let id = id.ok_or_else(|| Rejection::new(Code::SessionNotFound))?;
        let asked = Asked { max_messages, streams, ..Asked::of(id) };
        Ok((self.begin(principal, asked).await?, Some(id)))
    }

    /// Finds the session that has that id as a conversation, if it is the caller's.
    pub(super) async fn own_conversation(
        &self,
        principal: &Principal,
        id: Option<ConversationId>,
    ) -> Result<SessionRecord, Rejection> {
        let id = id.ok_or_else(|| Rejection::new(Code::SessionNotFound))?;
        let found = self.store.get(id.into()).await.map_err(store_down)?;
        self.own_found(principal, found, Code::SessionNotFound)
    }
}

/// Says it in the words of this surface.
pub(super) fn no_session(rejection: Rejection) -> Rejection {
    match rejection.code() {
        Code::SessionNotFound => rejection.message("There is no such conversation."),
        _ => rejection,
    }
}
