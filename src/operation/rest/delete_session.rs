//! Deletes a session: its thread first, then the session, so that what is half-done can be done
//! again.

use http::Method;
use serde::Serialize;

use crate::chatkit::messages::display;
use crate::chatkit::upstream::Upstream;
use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession, SessionId};
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
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { session: read.session() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Self::Grant, Rejection> {
        desk.owned(principal, &call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        mut session: OwnedSession,
        _: Call,
    ) -> Reply<R> {
        if let Some(thread_id) = session.record().thread_id.clone() {
            delete_thread(&mut exchange.upstream, &thread_id).await?;
        }
        if let Some(thread_id) = session.delete().await? {
            // It had none when it was looked for. It has no other from then on.
            delete_thread(&mut exchange.upstream, &thread_id).await?;
            session.delete().await?;
        }
        let id = session.record().id;
        reply::one(DeletedSession { id, session_id: id, deleted: true })
    }
}

/// Has the upstream delete a thread, unless it has none of that id.
async fn delete_thread<S: ChatKit<R>, R: ChatKitBody>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
) -> Result<(), Rejection> {
    let request = envelope::thread(RequestType::ThreadsDelete, thread_id);
    match upstream.json(request).await {
        Err(failure) if !upstream.failed_for_lack_of(thread_id, &failure).await => {
            Err(failure.into())
        }
        Ok(_) | Err(_) => Ok(()),
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
