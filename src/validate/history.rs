//! One-shot chat's history: target and query → [`HistoryCall`].

use serde_json::Value;

use super::reader::Reader;
use super::{parse as bodies, query};
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// The conversations of a page unless the query says so.
const DEFAULT_LIMIT: u64 = 50;

/// The most conversations of a page.
const MAX_LIMIT: u64 = 100;

/// A look at what was said.
#[derive(Debug)]
#[non_exhaustive]
pub struct HistoryCall {
    /// The user that the path names, who is the caller.
    pub user: Option<Box<str>>,
    /// What is looked at.
    pub look: Look,
}

/// What is looked at.
#[derive(Debug)]
#[non_exhaustive]
pub enum Look {
    /// A page of the caller's conversations.
    Conversations {
        /// The most that are shown, at most 100.
        limit: usize,
        /// Where the page begins, an opaque cursor.
        after: Option<String>,
    },
    /// A page of a conversation's messages.
    Messages {
        /// The conversation's id.
        conversation: Box<str>,
        /// Where the page begins, an opaque cursor.
        after: Option<String>,
    },
}

pub(crate) fn parse(
    rules: &Reader,
    target: &Target,
    query: Option<&str>,
) -> Result<HistoryCall, Rejection> {
    let value = query::parse(query, &["limit", "after"])?;
    let after = || bodies::string_at(&value, "after").filter(|after| !after.is_empty());
    let look = match target.operation() {
        Operation::ListConversations | Operation::ListConversationsForUser => {
            rules.schemas.check_query(target.operation(), &value)?;
            let limit = value.get("limit").and_then(Value::as_u64).unwrap_or(DEFAULT_LIMIT);
            let limit = usize::try_from(limit.min(MAX_LIMIT)).unwrap_or_default();
            Look::Conversations { limit, after: after() }
        }
        Operation::GetConversation | Operation::GetConversationForUser => {
            rules.schemas.check_query(target.operation(), &value)?;
            let conversation = target.conversation().unwrap_or_default().into();
            Look::Messages { conversation, after: after() }
        }
        _ => return Err(Rejection::new(Code::Internal)),
    };
    Ok(HistoryCall { user: target.other().map(Box::from), look })
}
