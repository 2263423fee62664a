//! Revokes the secret of a client session.

use http::Method;

use super::client_session::show;
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, SignedSession};
use crate::surface::Surface;

pub(crate) struct CancelSession;

pub(crate) struct Call {
    session: Box<str>,
}

impl Operation for CancelSession {
    const ROW: Row = Row {
        name: "openai_cancel_session",
        surface: Surface::OpenAi,
        method: Method::POST,
        path: "/sessions/{session_id}/cancel",
        takes: Takes::AnyJson,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[Code::SessionNotFound],
        tag: "OpenAI",
        summary: "Revoke a client secret",
        description: "From then on it is refused.",
        links: &[],
    };

    type Call = Call;
    type Grant = SignedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        // The body, if there is one, says nothing.
        Ok(Call { session: read.session() })
    }

    async fn admit(desk: &Desk, _: &Principal, call: &Call) -> Result<SignedSession, Rejection> {
        desk.cancel_client_session(&call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        signed: SignedSession,
        _: Call,
    ) -> Reply<R> {
        show(&signed)
    }
}
