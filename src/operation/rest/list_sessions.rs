//! Lists the caller's sessions, a page at a time.

use http::Method;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::{Desk, SessionPage};
use crate::surface::Surface;

/// The sessions of a page unless the query says so, and the most.
const MAX_LIMIT: u64 = 100;

pub(crate) struct ListSessions;

pub(crate) struct Call {
    limit: usize,
    after: Option<String>,
}

impl Operation for ListSessions {
    const ROW: Row = Row {
        name: "list_sessions",
        surface: Surface::Rest,
        method: Method::GET,
        path: "/sessions",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[],
        tag: "Sessions",
        summary: "List your sessions",
        description: "Those that were changed last come first, a page at a time.",
        links: &[],
    };

    type Call = Call;
    type Grant = SessionPage;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let (limit, after) = read.page(MAX_LIMIT, MAX_LIMIT)?;
        Ok(Call { limit, after })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<SessionPage, Rejection> {
        desk.list_sessions(principal, call.limit, call.after.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        page: SessionPage,
        _: Call,
    ) -> Reply<R> {
        reply::sessions(&page)
    }
}
