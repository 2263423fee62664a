//! Gives a session another title: the upstream first, so that a title that it doesn't take is not
//! shown.

use http::Method;
use jiff::Timestamp;

use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::fields::string_at;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession, store_down};
use crate::surface::Surface;

pub(crate) struct UpdateSession;

pub(crate) struct Call {
    session: Box<str>,
    title: String,
}

impl Operation for UpdateSession {
    const ROW: Row = Row {
        name: "update_session",
        surface: Surface::Rest,
        method: Method::PATCH,
        path: "/sessions/{session_id}",
        takes: Takes::Json,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound],
        tag: "Sessions",
        summary: "Give a session another title",
        description: "The chat server is told first; a title that it doesn't take is not kept.",
        links: &[],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let title = string_at(&read.json()?, "title").unwrap_or_default();
        Ok(Call { session: read.session(), title })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<OwnedSession, Rejection> {
        desk.owned(principal, &call.session).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        session: OwnedSession,
        Call { title, .. }: Call,
    ) -> Reply<R> {
        if let Some(thread_id) = &session.record().thread_id {
            let request = envelope::thread_title(thread_id, &title);
            if let Err(failure) = exchange.upstream.json(request).await {
                if exchange.upstream.failed_for_lack_of(thread_id, &failure).await {
                    return Err(Rejection::new(Code::ThreadNotFound));
                }
                return Err(failure.into());
            }
        }
        let record = session.set_title(title, Timestamp::now()).await.map_err(store_down)?;
        match record {
            Some(record) => reply::one(reply::Session::from(&record)),
            None => Err(Rejection::new(Code::SessionNotFound)),
        }
    }
}
