//! Lists the caller's conversations, a page at a time.

use http::Method;
use serde::Serialize;

use super::conversation::Summary;
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::{Desk, SessionPage};
use crate::surface::Surface;

/// The conversations of a page unless the query says so.
const DEFAULT_LIMIT: u64 = 50;

/// The most conversations of a page.
const MAX_LIMIT: u64 = 100;

pub(crate) struct ListConversations;

pub(crate) struct Call {
    limit: usize,
    after: Option<String>,
}

#[derive(Serialize)]
struct ListReply<'a> {
    conversations: Vec<Summary<'a>>,
    has_more: bool,
    next: Option<&'a str>,
}

impl Operation for ListConversations {
    const ROW: Row = Row {
        name: "list_conversations",
        surface: Surface::Chat,
        method: Method::GET,
        path: "/conversations",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[],
        tag: "Chat",
        summary: "List your conversations",
        description: "Those that can be gone on with here; the one that was changed last comes first. What \
             is changed while pages are read moves to the front, and nothing comes twice.",
        links: &[("conversation_id", "/conversations/0/conversation_id")],
    };

    type Call = Call;
    type Grant = SessionPage;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let (limit, after) = read.page(DEFAULT_LIMIT, MAX_LIMIT)?;
        Ok(Call { limit, after })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<SessionPage, Rejection> {
        desk.list_conversations(principal, call.limit, call.after.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        page: SessionPage,
        _: Call,
    ) -> Reply<R> {
        reply::json(&ListReply {
            conversations: page.sessions.iter().map(Summary::from).collect(),
            has_more: page.next.is_some(),
            next: page.next.as_deref(),
        })
    }
}
