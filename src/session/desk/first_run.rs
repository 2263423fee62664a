//! A session that is made together with its first run, and for it.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{ConversationIds, Desk};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::claim::RunClaim;
use crate::session::record::{ConversationId, SessionRecord};
use crate::session::store::{BeginRun, NewConversation, NewSession};

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

impl Desk {
    /// Makes a session and begins its first run, in one step. If that comes to nothing the session is
    /// gone.
    pub(super) async fn session_for_run(
        &self,
        principal: &Principal,
        first: FirstRun,
    ) -> Result<(RunClaim, Option<ConversationId>), Rejection> {
        let permit = self.stream_permit(principal, first.streams)?;
        let begin = self.run_to_begin(first.max_messages);
        let record = self.add_with_run(principal, first, begin, NewConversation::random).await?;
        // Made in the poll that the store answers in, so that nothing can come in between.
        let claim = RunClaim::with_session(Arc::clone(&self.store), &record, begin.run);
        Ok((claim.holding(permit), record.conversation))
    }

    async fn add_with_run(
        &self,
        principal: &Principal,
        first: FirstRun,
        begin: BeginRun,
        mut draw: impl FnMut() -> NewConversation,
    ) -> Result<SessionRecord, Rejection> {
        for _ in 0..MAX_DRAWS {
            let conversation = match first.ids {
                ConversationIds::Conv => Some(draw()),
                ConversationIds::Integer => Some(NewConversation::Next),
                ConversationIds::Uuid => None,
            };
            let session = NewSession {
                conversation,
                first_run: Some(begin),
                ..NewSession::new(principal.user_id().clone(), begin.now)
            };
            if let Some(record) = self.add(session, first.max_sessions).await? {
                return Ok(record);
            }
        }
        Err(Rejection::new(Code::ServiceUnavailable)
            .because("every id that was drawn for a conversation is taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::UserId;
    use crate::session::{MemoryStore, SessionLimits, Sessions as _, SessionsPage};

    #[tokio::test]
    async fn an_id_that_is_taken_is_drawn_again_but_not_for_ever() {
        let store = Arc::new(MemoryStore::new());
        let desk = Desk::new(Arc::<MemoryStore>::clone(&store), SessionLimits::default());
        let ada = Principal::new(UserId::parse("ada").unwrap());
        let ids = ConversationIds::Conv;
        let first = FirstRun { max_sessions: None, max_messages: None, ids, streams: false };
        let mut drawn = 0;
        for (bits, expected) in [(vec![7], Some(7)), (vec![7, 7, 8], Some(8)), (vec![7; 99], None)]
        {
            let mut all = bits.into_iter();
            let draw = || {
                drawn += 1;
                NewConversation::Conv(all.next().unwrap())
            };
            let begin = desk.run_to_begin(None);
            match (desk.add_with_run(&ada, first, begin, draw).await, expected) {
                (Ok(record), Some(bits)) => {
                    assert_eq!(record.conversation, Some(ConversationId::Conv(bits)));
                }
                (Err(rejection), None) => assert_eq!(rejection.code(), Code::ServiceUnavailable),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(drawn, 1 + 3 + MAX_DRAWS);
        let page = SessionsPage { user_id: ada.user_id().clone(), ids, after: None, limit: 9 };
        assert_eq!(store.list(page).await.unwrap().len(), 2);
    }
}
