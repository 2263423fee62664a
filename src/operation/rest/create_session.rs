//! Starts a session. Nothing is asked of the upstream yet.

use http::header::LOCATION;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use serde::Serialize;

use crate::chatkit::messages::display;
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::fields::string_at;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, OwnedSession, SessionId, SessionRecord};
use crate::surface::Surface;

pub(crate) struct CreateSession;

pub(crate) struct Call {
    title: Option<String>,
}

impl Operation for CreateSession {
    const ROW: Row = Row {
        name: "create_session",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions",
        takes: Takes::MaybeJson,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[Code::SessionLimit],
        tag: "Sessions",
        summary: "Start a session",
        description: "Nothing is asked of the chat server yet. Without a title, the session gets one with \
             its first message.",
        links: &[("session_id", "/data/id"), ("thread_id", "/data/id")],
    };

    type Call = Call;
    type Grant = OwnedSession;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let title = if read.is_absent() { None } else { string_at(&read.json()?, "title") };
        Ok(Call { title })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<OwnedSession, Rejection> {
        desk.create(principal, call.title.clone()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        _: Exchange<S>,
        session: OwnedSession,
        _: Call,
    ) -> Reply<R> {
        let record = session.record();
        let mut response = reply::one(CreatedSession::from(record))?;
        // Relative to what was asked for, whose last segment it has to repeat (RFC 9110 section
        // 10.2.2, RFC 3986 section 5.2.3): whoever took a part of the path off on its way here, the
        // client has all of it.
        let location = format!("sessions/{}", record.id);
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// A session as `create_session` shows it.
#[derive(Serialize)]
struct CreatedSession<'a> {
    #[serde(serialize_with = "display")]
    id: SessionId,
    user_id: &'a str,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
}

impl<'a> From<&'a SessionRecord> for CreatedSession<'a> {
    fn from(record: &'a SessionRecord) -> Self {
        Self { id: record.id, user_id: record.user_id.as_str(), created_at: record.created_at }
    }
}
