//! Lists the one thread of a session.

use http::Method;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession};
use crate::surface::Surface;

pub(crate) struct ListThreads;

pub(crate) struct Call {
    session: Box<str>,
}

impl Operation for ListThreads {
    const ROW: Row = Row {
        name: "list_threads",
        surface: Surface::Rest,
        method: Method::GET,
        path: "/sessions/{session_id}/threads",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound],
        tag: "Threads",
        summary: "List the session's threads",
        description: "There is exactly one.",
        links: &[],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { session: read.session() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<OwnedSession, Rejection> {
        desk.owned(principal, &call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        session: OwnedSession,
        _: Call,
    ) -> Reply<R> {
        reply::list(vec![reply::Thread::from(session.record())])
    }
}
