//! A session that is made together with its first run, and for it.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{ConversationIds, Rules};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::store_down;
use crate::session::claim::RunClaim;
use crate::session::record::{ConversationId, SessionRecord};
use crate::session::store::NewConversation;

/// How often an id is drawn. With a million conversations all draws meet one that is taken in one
/// of 10²⁹ cases: a store that says so is out of order.
const MAX_DRAWS: usize = 8;

/// What such a session is, and what its run takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstRun {
    pub(super) max_sessions: Option<NonZeroU32>,
    pub(super) max_messages: Option<NonZeroU32>,
    pub(super) ids: ConversationIds,
    /// It takes one of the user's streams.
    pub(super) streams: bool,
}

impl Rules {
    /// Makes a session and begins its first run. If that comes to nothing the session is gone.
    pub(super) async fn session_for_run(
        self: &Arc<Self>,
        principal: &Principal,
        first: FirstRun,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        // A task of its own, so that a client that leaves can't stop it between the two: it ends
        // with a claim, and dropping that takes the session away again.
        let (rules, principal) = (Arc::clone(self), principal.clone());
        let begun = tokio::spawn(async move { rules.create_for_run(&principal, first).await });
        begun.await.map_err(|_| {
            Rejection::new(Code::Internal).because("the task for a session was stopped")
        })?
    }

    async fn create_for_run(
        &self,
        principal: &Principal,
        first: FirstRun,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        let permit = if first.streams { self.stream_permit(principal)? } else { None };
        let record = self.add_conversation(principal, first).await?;
        match self.begin_run(record.id, false, first.max_messages, permit).await {
            Ok(claim) => Ok((claim.discarding_unbound(), record.conversation)),
            Err(rejection) => {
                self.store.delete(record.id).await.map_err(store_down)?;
                Err(rejection)
            }
        }
    }

    async fn add_conversation(
        &self,
        principal: &Principal,
        first: FirstRun,
    ) -> Result<SessionRecord, Rejection> {
        for _ in 0..MAX_DRAWS {
            let conversation = match first.ids {
                ConversationIds::Conv => Some(NewConversation::random()),
                ConversationIds::Integer => Some(NewConversation::Next),
                ConversationIds::Uuid => None,
            };
            let added = self.add(principal, None, conversation, first.max_sessions).await?;
            if let Some(record) = added {
                return Ok(record);
            }
        }
        Err(Rejection::new(Code::ServiceUnavailable)
            .because("every id that was drawn for a conversation is taken"))
    }
}
