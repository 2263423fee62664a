//! One-shot chat's history: which conversations there are, and which is meant.

use std::cmp::Reverse;

use super::{ConversationIds, Rules};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::admitted::{Action, Conversation, ConversationPage, store_down};
use crate::session::record::{ConversationId, SessionId, SessionRecord};
use crate::validate::{HistoryCall, Look, Report};

impl Rules {
    pub(super) async fn history(
        &self,
        principal: &Principal,
        call: HistoryCall,
    ) -> Result<Action, Rejection> {
        match call.look {
            Look::Conversations { limit, after } => {
                let page = self.conversations(principal, limit, after.as_deref()).await?;
                Ok(Action::Conversations(page))
            }
            Look::Messages { conversation, after } => {
                let conversation = self.conversation(principal, &conversation).await?;
                Ok(Action::Conversation(conversation, after))
            }
        }
    }

    /// A page of what the caller may go on with, the one that was written to last first.
    async fn conversations(
        &self,
        principal: &Principal,
        limit: usize,
        after: Option<&str>,
    ) -> Result<ConversationPage, Rejection> {
        let after = match after {
            None => None,
            Some(cursor) => Some(Place::parse(cursor).ok_or_else(|| {
                Rejection::from(Report::one("/after", "must be a cursor").of_query())
                    .message("The parameter after is no cursor of these conversations.")
            })?),
        };
        let records = self.store.list(principal.user_id()).await.map_err(store_down)?;
        let mut left = records
            .into_iter()
            .filter(|record| after.is_none_or(|after| Place::of(record) > after))
            .filter_map(|record| self.shown(record));
        let conversations: Vec<_> = left.by_ref().take(limit).collect();
        let next = match (left.next(), conversations.last()) {
            (Some(_), Some(last)) => Some(Place::of(&last.record).write()),
            _ => None,
        };
        Ok(ConversationPage { conversations, next })
    }

    /// A session as a conversation; `None` if it has no id here.
    fn shown(&self, record: SessionRecord) -> Option<Conversation> {
        if self.chat.ids == ConversationIds::Uuid {
            return Some(Conversation { id: None, record });
        }
        let id = record.conversation.filter(|id| self.chat.ids.are_like(*id))?;
        Some(Conversation { id: Some(id), record })
    }

    /// The conversation of that id, if it is the caller's.
    async fn conversation(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<Conversation, Rejection> {
        let (record, id) = match self.chat.ids {
            ConversationIds::Uuid => (self.own_record(principal, id).await, None),
            ids @ (ConversationIds::Conv | ConversationIds::Integer) => {
                let id = ConversationId::parse(id).filter(|id| ids.are_like(*id));
                (self.own_conversation(principal, id).await, id)
            }
        };
        let record = record.map_err(super::chat::no_session)?;
        Ok(Conversation { id, record })
    }
}

/// Where a session stands in the order of [`SessionStore::list`](crate::session::SessionStore).
/// The place outlives what stands there: nothing comes twice, whatever is written to meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Microseconds since the Unix epoch, as is the next.
    updated_at: Reverse<i64>,
    created_at: Reverse<i64>,
    id: SessionId,
}

impl Place {
    fn of(record: &SessionRecord) -> Self {
        Self {
            updated_at: Reverse(record.updated_at.as_microsecond()),
            created_at: Reverse(record.created_at.as_microsecond()),
            id: record.id,
        }
    }

    fn write(self) -> String {
        let Self { updated_at: Reverse(updated_at), created_at: Reverse(created_at), id } = self;
        format!("{updated_at}.{created_at}.{id}")
    }

    fn parse(cursor: &str) -> Option<Self> {
        let (updated_at, rest) = cursor.split_once('.')?;
        let (created_at, id) = rest.split_once('.')?;
        Some(Self {
            updated_at: Reverse(updated_at.parse().ok()?),
            created_at: Reverse(created_at.parse().ok()?),
            id: SessionId::parse(id)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::principal::UserId;
    use crate::session::record::MessageCount;

    #[test]
    fn places_are_in_the_order_of_the_list_and_survive_being_written() {
        let place = |updated: i64, created: i64, id: u8| {
            let at = |micros| Timestamp::from_microsecond(micros).unwrap();
            Place::of(&SessionRecord {
                id: SessionId::from_bytes([id; 16]),
                user_id: UserId::parse("ada").unwrap(),
                thread_id: None,
                conversation: None,
                title: None,
                created_at: at(created),
                updated_at: at(updated),
                message_count: MessageCount::Known(0),
            })
        };
        let places =
            [place(9, 1, 0), place(8, 7, 3), place(8, 6, 1), place(8, 6, 2), place(-1, -2, 0)];
        assert!(places.is_sorted());
        for place in places {
            assert_eq!(Place::parse(&place.write()), Some(place));
        }
        for cursor in
            ["", "1", "1.2", "1.2.3", "1.2.3f2504e0-4f89-41d3-9a0c-0305e82c3301.", "a.b.c"]
        {
            assert_eq!(Place::parse(cursor), None, "{cursor}");
        }
    }
}
