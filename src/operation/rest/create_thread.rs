//! Names the session's thread, which has the session's own id until the upstream makes it.

use http::Method;

use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession};
use crate::surface::Surface;

pub(crate) struct CreateThread;

pub(crate) struct Call {
    session: Box<str>,
}

impl Operation for CreateThread {
    const ROW: Row = Row {
        name: "create_thread",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads",
        takes: Takes::MaybeJson,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound],
        tag: "Threads",
        summary: "Get the session's thread",
        description: "A session has one thread, and this names it. Asking again gives the same answer.",
        links: &[("session_id", "/data/session_id"), ("thread_id", "/data/id")],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        if !read.is_absent() {
            read.json()?;
        }
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
        reply::one(reply::Thread::from(session.record()))
    }
}
