//! One-shot chat: the conversation that is meant, or a new one.

use std::num::NonZeroU32;

use super::Desk;
use super::first_run::FirstRun;
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{Action, store_down};
use crate::session::claim::RunClaim;
use crate::session::record::{ConversationId, SessionId, SessionRecord};
use crate::validate::{Answer, ChatCall, ConversationName, Report};

/// The rules of one-shot chat, in place of [`SessionLimits`](super::SessionLimits)'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatSettings {
    /// What the ids of conversations look like.
    pub ids: ConversationIds,
    /// Sessions that a user may have before another conversation is refused; all of them count,
    /// however they were made. None unless set.
    pub max_sessions: Option<NonZeroU32>,
    /// User and assistant messages of a conversation. None unless set.
    pub max_messages: Option<NonZeroU32>,
}

/// What the ids of conversations look like.
///
/// A conversation is a session. Each is reached under the kind of id that it was made with; those
/// that were made over REST have only their session's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConversationIds {
    /// [`ConversationId::Conv`], a text.
    Conv,
    /// [`ConversationId::Integer`], a number in JSON too.
    Integer,
    /// The session's own id.
    #[default]
    Uuid,
}

impl ConversationIds {
    /// Whether they are the ids of a session that has this one as a conversation.
    pub(in crate::session) fn has(self, id: Option<ConversationId>) -> bool {
        self == Self::Uuid || id.is_some_and(|id| self.are_like(id))
    }

    /// Whether an id looks like them.
    pub(super) fn are_like(self, id: ConversationId) -> bool {
        match self {
            Self::Conv => matches!(id, ConversationId::Conv(_)),
            Self::Integer => matches!(id, ConversationId::Integer(_)),
            Self::Uuid => false,
        }
    }
}

impl Desk {
    pub(super) async fn chat(
        &self,
        principal: &Principal,
        call: ChatCall,
    ) -> Result<Action, Rejection> {
        let ChatCall { conversation, run, .. } = call;
        // An answer in JSON is one request among those in flight, however many a user has.
        let streams = run.answer == Answer::Events;
        let (claim, id) = if let Some(name) = conversation {
            self.go_on_with(principal, &name, streams).await.map_err(no_session)?
        } else {
            let ChatSettings { ids, max_sessions, max_messages } = self.chat;
            let first = FirstRun { max_sessions, max_messages, ids, streams };
            self.session_for_run(principal, first).await?
        };
        Ok(Action::Chat(claim, id, run))
    }

    /// Begins a run of a conversation of the caller's.
    async fn go_on_with(
        &self,
        principal: &Principal,
        name: &ConversationName,
        streams: bool,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        use ConversationName::{Number, Text};
        let known =
            |record: SessionRecord| (record.id, record.title.is_some(), record.conversation);
        let (id, titled, conversation) = match (self.chat.ids, name) {
            (ConversationIds::Uuid, Text(id)) => {
                let (id, titled) = self.for_chat(principal, id).await?;
                (id, titled, None)
            }
            (ConversationIds::Integer, Number(number)) => {
                let id = number.map(ConversationId::Integer);
                known(self.own_conversation(principal, id).await?)
            }
            (ConversationIds::Conv, Text(id)) => {
                let id = ConversationId::parse(id);
                let id = id.filter(|id| self.chat.ids.are_like(*id));
                known(self.own_conversation(principal, id).await?)
            }
            (ConversationIds::Integer, Text(_)) => {
                return Err(Report::one("/conversation_id", "must be an integer").into());
            }
            (ConversationIds::Conv | ConversationIds::Uuid, Number(_)) => {
                return Err(Report::one("/conversation_id", "must be a string").into());
            }
        };
        let permit = if streams { self.stream_permit(principal)? } else { None };
        let claim = self.begin_run(principal, id, titled, self.chat.max_messages, permit).await?;
        Ok((claim, conversation))
    }

    /// The session of that id, if it is the caller's, and whether it has a title.
    async fn for_chat(
        &self,
        principal: &Principal,
        session: &str,
    ) -> Result<(SessionId, bool), Rejection> {
        let owned = self.own_session(principal, session).await?;
        Ok((owned.id, owned.titled))
    }

    /// The session that has that id as a conversation, if it is the caller's.
    pub(super) async fn own_conversation(
        &self,
        principal: &Principal,
        id: Option<ConversationId>,
    ) -> Result<SessionRecord, Rejection> {
        let id = id.ok_or_else(|| Rejection::new(Code::SessionNotFound))?;
        let found = self.store.by_conversation(id).await.map_err(store_down)?;
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
