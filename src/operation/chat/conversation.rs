//! A conversation as it is shown.

use serde::Serialize;
use serde_json::Value;

use crate::session::{Conversation, ConversationId, SessionId, SessionSummary};

/// A conversation as lists show it.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    conversation_id: Value,
    title: Option<&'a str>,
    created_at: String,
    updated_at: String,
    /// `None` where nobody has counted.
    message_count: Option<u64>,
}

impl<'a> From<&'a Conversation> for Summary<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        let record = &conversation.record;
        Self {
            conversation_id: shown_id(conversation.id, record.id),
            title: record.title.as_deref(),
            created_at: record.created_at.to_string(),
            updated_at: record.updated_at.to_string(),
            message_count: record.message_count.known(),
        }
    }
}

impl<'a> From<&'a SessionSummary> for Summary<'a> {
    fn from(session: &'a SessionSummary) -> Self {
        Self {
            conversation_id: shown_id(session.conversation, session.id),
            title: session.title.as_deref(),
            created_at: session.created_at.to_string(),
            updated_at: session.updated_at.to_string(),
            message_count: session.message_count.known(),
        }
    }
}

/// Gives the id of a conversation, in JSON.
pub(super) fn shown_id(id: Option<ConversationId>, session: SessionId) -> Value {
    match id {
        Some(ConversationId::Integer(number)) => number.get().into(),
        Some(id @ ConversationId::Conv(_)) => id.to_string().into(),
        None => session.to_string().into(),
    }
}
