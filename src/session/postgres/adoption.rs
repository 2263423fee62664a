//! What a ChatKit server has already, in one statement.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::failure::Failure;
use super::rows::{get, malformed, uuid};
use super::store::Shared;
use crate::error::Error;
use crate::session::adoption::{Adopted, Adoption, AdoptionConflict, KnownBy};
use crate::session::record::ConversationId;

/// The columns of what is to be adopted.
#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<&'static str>,
    ids: Vec<&'a [u8]>,
    users: Vec<&'a [u8]>,
    titles: Vec<Option<&'a [u8]>>,
    created_at: Vec<Option<i64>>,
    updated_at: Vec<Option<i64>>,
    sessions: Vec<Option<Uuid>>,
    conversations: Vec<Option<String>>,
    numbers: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, entry: &'a Adoption) {
        match entry {
            Adoption::Attachment { attachment_id, user_id } => {
                self.kinds.push("attachment");
                self.ids.push(attachment_id.as_bytes());
                self.users.push(user_id.as_str().as_bytes());
                self.titles.push(None);
                self.created_at.push(None);
                self.updated_at.push(None);
                self.sessions.push(None);
                self.conversations.push(None);
                self.numbers.push(None);
            }
            Adoption::Thread(thread) => {
                self.kinds.push(match thread.known_by {
                    None => "thread",
                    Some(KnownBy::Conversation(_)) => "conversation",
                    Some(KnownBy::Session(_)) => "session",
                });
                self.ids.push(thread.thread_id.as_bytes());
                self.users.push(thread.user_id.as_str().as_bytes());
                self.titles.push(thread.title.as_ref().map(String::as_bytes));
                self.created_at.push(Some(thread.created_at.as_microsecond()));
                self.updated_at.push(Some(thread.updated_at.as_microsecond()));
                self.sessions.push(Some(uuid(thread.session_id().as_bytes())));
                let conversation = thread.conversation();
                self.conversations.push(conversation.map(|id| id.to_string()));
                self.numbers.push(match conversation {
                    Some(ConversationId::Integer(number)) => {
                        Some(i64::try_from(number.get()).unwrap_or(i64::MAX))
                    }
                    Some(ConversationId::Conv(_)) | None => None,
                });
            }
        }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.kinds,
            &self.ids,
            &self.users,
            &self.titles,
            &self.created_at,
            &self.updated_at,
            &self.sessions,
            &self.conversations,
            &self.numbers,
        ]
    }
}

/// Adopts all of them, or none if that fails.
pub(super) async fn adopt(
    shared: Arc<Shared>,
    entries: Vec<Adoption>,
) -> Result<Vec<Adopted>, Error> {
    let mut columns = Columns::default();
    for entry in &entries {
        columns.push(entry);
    }
    let outcomes = |rows: Vec<Row>| {
        if rows.len() != entries.len() {
            return Err(malformed("an outcome"));
        }
        rows.iter().map(adopted).collect()
    };
    let rows = shared.query(&[], &shared.statements.adopt, &columns.values(), false).await;
    rows.and_then(outcomes).map_err(|failure| Error::store("could not adopt", failure))
}

fn adopted(row: &Row) -> Result<Adopted, Failure> {
    Ok(match get(row, 0)? {
        "done" => Adopted::Done,
        "known" => Adopted::Known,
        "deleted" => Adopted::Deleted,
        "another_user" => Adopted::Conflict(AdoptionConflict::AnotherUser),
        "conversation_taken" => Adopted::Conflict(AdoptionConflict::ConversationTaken),
        "other_conversation" => Adopted::Conflict(AdoptionConflict::OtherConversation),
        "quarantined" => Adopted::Conflict(AdoptionConflict::Quarantined),
        "session_taken" => Adopted::Conflict(AdoptionConflict::SessionTaken),
        _ => return Err(malformed("an outcome")),
    })
}
