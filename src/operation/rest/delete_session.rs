//! Deletes a session: its thread first, then the session, so that what is half-done can be done
//! again.

use http::Method;
use serde::Serialize;

use crate::chatkit::messages::display;
use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession, RunClaim, SessionId};
use crate::surface::Surface;

pub(crate) struct DeleteSession;

pub(crate) struct Call {
    session: Box<str>,
}

impl Operation for DeleteSession {
    const ROW: Row = Row {
        name: "delete_session",
        surface: Surface::Rest,
        method: Method::DELETE,
        path: "/sessions/{session_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::Conflict],
        tag: "Sessions",
        summary: "Delete a session",
        description: "Its thread is deleted at the chat server first, so that nothing is left there.",
        links: &[],
    };

    type Call = Call;
    /// A session without a thread is held by a claim meanwhile, so that nobody makes it one.
    type Grant = (OwnedSession, Option<RunClaim>);

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { session: read.session() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Self::Grant, Rejection> {
        desk.for_deletion(principal, &call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        (session, claim): Self::Grant,
        _: Call,
    ) -> Reply<R> {
        let record = session.record();
        if let Some(thread_id) = &record.thread_id {
            let request = envelope::thread(RequestType::ThreadsDelete, thread_id);
            if let Err(failure) = exchange.upstream.json(request).await
                && !exchange.upstream.failed_for_lack_of(thread_id, &failure).await
            {
                return Err(failure.into());
            }
        }
        session.delete().await?;
        drop(claim);
        reply::one(DeletedSession { id: record.id, session_id: record.id, deleted: true })
    }
}

/// What was deleted.
#[derive(Serialize)]
struct DeletedSession {
    #[serde(serialize_with = "display")]
    id: SessionId,
    #[serde(serialize_with = "display")]
    session_id: SessionId,
    deleted: bool,
}
