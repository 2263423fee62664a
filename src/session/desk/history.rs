//! Pages of sessions, and one-shot chat's history: which conversations there are, and which is meant.

use super::{ConversationIds, Desk};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::admitted::{Conversation, SessionPage, store_down};
use crate::session::cursors::{List, Scope};
use crate::session::grant::Seal;
use crate::session::pages::{SessionPlace, SessionsPage};
use crate::session::record::ConversationId;
use crate::validate::Report;

impl Desk {
    /// Gives a page of what the caller may go on with, the one that was written to last first.
    pub(crate) async fn list_conversations(
        &self,
        principal: &Principal,
        limit: usize,
        after: Option<&str>,
    ) -> Result<SessionPage, Rejection> {
        let ids = self.chat.ids;
        let mut page = self.sessions(principal, List::Conversations, ids, limit, after).await?;
        if ids == ConversationIds::Uuid {
            // They have the session's own, whatever else they were given once.
            page.sessions.iter_mut().for_each(|session| session.conversation = None);
        }
        Ok(page)
    }

    /// Gives a page of the caller's sessions, or, by their `ids`, of some of them.
    pub(super) async fn sessions(
        &self,
        principal: &Principal,
        list: List,
        ids: ConversationIds,
        limit: usize,
        after: Option<&str>,
    ) -> Result<SessionPage, Rejection> {
        let user_id = principal.user_id();
        let scope = Scope::of(list, user_id);
        let after = match after {
            None => None,
            Some(cursor) => {
                let text = self.cursors.read(scope, cursor).await?;
                Some(text.and_then(SessionPlace::parse).ok_or_else(|| {
                    let list = list.name();
                    Rejection::from(Report::one("/after", "must be a cursor").of_query())
                        .message(format!("The parameter after is no cursor of these {list}."))
                })?)
            }
        };
        // One more than is wanted tells whether there are more.
        let more = limit.saturating_add(1);
        let page = SessionsPage { user_id: user_id.clone(), ids, after, limit: more };
        let mut sessions = self.store.list(page).await.map_err(store_down)?;
        let has_more = sessions.len() > limit;
        sessions.truncate(limit);
        let next = match sessions.last().filter(|_| has_more).map(SessionPlace::of) {
            Some(place) => Some(self.cursors.write(scope, &place.write()).await?),
            None => None,
        };
        Ok(SessionPage::new(user_id.clone(), sessions, next))
    }

    /// Opens a conversation of the caller's at the page of its messages that a cursor names, or at
    /// the newest.
    pub(crate) async fn open_conversation(
        &self,
        principal: &Principal,
        id: &str,
        after: Option<&str>,
    ) -> Result<Conversation, Rejection> {
        let (record, id) = match self.chat.ids {
            ConversationIds::Uuid => (self.own_record(principal, id).await, None),
            ids @ (ConversationIds::Conv | ConversationIds::Integer) => {
                let id = ConversationId::parse(id).filter(|id| ids.are_like(*id));
                (self.own_conversation(principal, id).await, id)
            }
        };
        let record = record.map_err(super::chat::no_session)?;
        let cursors = self.item_cursors(principal, List::Messages);
        let after = match after {
            Some(after) => Some(cursors.open_or_refuse(record.thread_id.as_deref(), after).await?),
            None => None,
        };
        Ok(Conversation { id, record, cursors, after, _seal: Seal })
    }
}
