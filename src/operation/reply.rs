//! Replies: `{"success": true, "data": …}`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::body::ReplyBody;
use super::sealed::SealedAnswer;
use crate::chatkit::messages::display;
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::session::{SessionId, SessionPage, SessionRecord, SessionSummary};
use crate::stream::RunObserver;

/// Enough for a reply with one thing, which then doesn't grow.
const USUAL_BYTES: usize = 512;

#[derive(Serialize)]
struct SuccessEnvelope<T, M> {
    success: bool,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<M>,
}

#[derive(Serialize)]
struct Total {
    total: usize,
}

#[derive(Serialize)]
struct PageMeta<'a> {
    total: usize,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
struct More<'a> {
    has_more: bool,
    after: Option<&'a str>,
}

/// A session as lists show it.
#[derive(Serialize)]
pub(crate) struct Session<'a> {
    #[serde(serialize_with = "display")]
    id: SessionId,
    user_id: &'a str,
    title: Option<&'a str>,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
    #[serde(serialize_with = "display")]
    updated_at: Timestamp,
    /// `None` where nobody has counted.
    message_count: Option<u64>,
}

/// A session's thread, under the session's own id.
#[derive(Serialize)]
pub(crate) struct Thread {
    #[serde(serialize_with = "display")]
    id: SessionId,
    #[serde(serialize_with = "display")]
    session_id: SessionId,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
}

impl<'a> From<&'a SessionRecord> for Session<'a> {
    fn from(record: &'a SessionRecord) -> Self {
        Self {
            id: record.id,
            user_id: record.user_id.as_str(),
            title: record.title.as_deref(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            message_count: record.message_count.known(),
        }
    }
}

impl<'a> Session<'a> {
    fn listed(session: &'a SessionSummary, user_id: &'a UserId) -> Self {
        Self {
            id: session.id,
            user_id: user_id.as_str(),
            title: session.title.as_deref(),
            created_at: session.created_at,
            updated_at: session.updated_at,
            message_count: session.message_count.known(),
        }
    }

    pub(crate) fn with_message_count(self, message_count: Option<u64>) -> Self {
        Self { message_count, ..self }
    }
}

impl From<&SessionRecord> for Thread {
    fn from(record: &SessionRecord) -> Self {
        Self { id: record.id, session_id: record.id, created_at: record.created_at }
    }
}

/// Makes a reply with one thing.
pub(crate) fn one<T: Serialize, R, O: RunObserver>(
    data: T,
) -> Result<Response<ReplyBody<R, O>>, Rejection> {
    json(&SuccessEnvelope { success: true, data, meta: None::<Total> })
}

/// Makes a reply with a list of things.
pub(crate) fn list<T: Serialize, R, O: RunObserver>(
    data: Vec<T>,
) -> Result<Response<ReplyBody<R, O>>, Rejection> {
    let meta = Some(Total { total: data.len() });
    json(&SuccessEnvelope { success: true, data, meta })
}

/// Makes a reply with one page of a user's sessions.
pub(crate) fn sessions<R, O: RunObserver>(
    page: &SessionPage,
) -> Result<Response<ReplyBody<R, O>>, Rejection> {
    let SessionPage { user_id, sessions, next, .. } = page;
    let data: Vec<_> = sessions.iter().map(|session| Session::listed(session, user_id)).collect();
    let more = More { has_more: next.is_some(), after: next.as_deref() };
    let meta = Some(PageMeta { total: data.len(), more });
    json(&SuccessEnvelope { success: true, data, meta })
}

/// Makes a reply with one page of a list; `after` is where the next one begins.
pub(crate) fn page<T: Serialize, R, O: RunObserver>(
    data: &[T],
    after: Option<&str>,
) -> Result<Response<ReplyBody<R, O>>, Rejection> {
    let meta = Some(More { has_more: after.is_some(), after });
    json(&SuccessEnvelope { success: true, data, meta })
}

/// Makes a reply that is `value` and nothing around it.
pub(crate) fn json<T: Serialize, R, O: RunObserver>(
    value: &T,
) -> Result<Response<ReplyBody<R, O>>, Rejection> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, value).map_err(|error| {
        Rejection::new(Code::Internal).because(format!("a reply could not be written: {error}"))
    })?;
    Ok(whole(Bytes::from(bytes)))
}

/// Makes a reply of these bytes.
pub(crate) fn whole<R, O: RunObserver>(bytes: Bytes) -> Response<ReplyBody<R, O>> {
    document(ReplyBody::whole(bytes))
}

/// Makes a reply of an answer of the upstream's.
pub(crate) fn sealed<R, O: RunObserver>(answer: SealedAnswer) -> Response<ReplyBody<R, O>> {
    document(ReplyBody::sealed(answer))
}

fn document<R, O: RunObserver>(body: ReplyBody<R, O>) -> Response<ReplyBody<R, O>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
