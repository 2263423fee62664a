//! Reads the session's thread, and its oldest items.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::list_items::DEFAULT_LIMIT;
use crate::chatkit::messages::display;
use crate::chatkit::threads::{self, Whereabouts};
use crate::chatkit::upstream::{Upstream, UpstreamFailure};
use crate::chatkit::{ChatKit, ChatKitBody, envelope};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, ItemCursors, OwnedSession, SessionId, SessionRecord};
use crate::stream;
use crate::surface::Surface;

pub(crate) struct GetThread;

pub(crate) struct Call {
    path: ThreadPath,
}

impl Operation for GetThread {
    const ROW: Row = Row {
        name: "get_thread",
        surface: Surface::Rest,
        method: Method::GET,
        path: "/sessions/{session_id}/threads/{thread_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound],
        tag: "Threads",
        summary: "Read a thread",
        description: "As the chat server has it, without its items.",
        links: &[],
    };

    type Call = Call;
    type Grant = (OwnedSession, ItemCursors);

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        Ok(Call { path: read.thread_path() })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Self::Grant, Rejection> {
        desk.open_thread(principal, &call.path).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        (session, cursors): Self::Grant,
        _: Call,
    ) -> Reply<R> {
        let record = session.record();
        let Some(thread_id) = &record.thread_id else {
            return reply::one(FullThread::from(record));
        };
        let upstream = &mut exchange.upstream;
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        let answer = match upstream.json(get).await {
            Ok(answer) => Ok(answer),
            Err(failure) if failure.is_not_found() => return Err(threads::lost()),
            // Some servers answer so for ever once a thread has a title: its items can be had all
            // the same.
            Err(failure) if failure.is_bare_500() => {
                Err(items(upstream, thread_id, failure).await?)
            }
            Err(failure) => return Err(failure.into()),
        };
        let thread = match &answer {
            Ok(answer) => threads::thread(answer)?,
            Err(items) => threads::ThreadWithItems::of_items(threads::page(items)?),
        };
        let after = match thread.items.next() {
            Some(next) => Some(cursors.seal(thread_id, next).await?),
            None => None,
        };
        let offset = exchange.settings.utc_offset;
        let visible = |item: &&RawValue| threads::visible(item, offset);
        reply::one(FullThread {
            thread_id: Some(thread_id),
            title: record.title.as_deref().or(thread.title.as_deref()),
            status: thread.status.filter(|status| status.get().starts_with('{')),
            allowed_image_domains: thread.allowed_image_domains.filter(|domains| is_texts(domains)),
            items: ItemPage {
                data: thread.items.data.iter().filter_map(visible).collect(),
                has_more: after.is_some(),
                after: after.as_deref(),
            },
            ..FullThread::from(record)
        })
    }
}

/// Gets the oldest items of a thread that can't be got itself for `failure`.
async fn items<S: ChatKit<R>, R: ChatKitBody>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    failure: UpstreamFailure,
) -> Result<Bytes, Rejection> {
    let answer = upstream.json(envelope::page(Some(thread_id), DEFAULT_LIMIT, true, None)).await;
    if let Ok(page) = &answer
        && !threads::page(page)?.is_nothing()
    {
        return answer.map_err(Rejection::from);
    }
    match upstream.listed(thread_id).await {
        Whereabouts::There => answer.map_err(Rejection::from),
        Whereabouts::Lost => Err(threads::lost()),
        Whereabouts::Unknown => Err(failure.into()),
    }
}

fn is_texts(value: &RawValue) -> bool {
    stream::list(value)
        .is_some_and(|values| values.iter().all(|value| value.get().starts_with('"')))
}

/// A session's thread with its oldest items.
#[derive(Serialize)]
struct FullThread<'a> {
    #[serde(serialize_with = "display")]
    id: SessionId,
    #[serde(serialize_with = "display")]
    session_id: SessionId,
    thread_id: Option<&'a str>,
    title: Option<&'a str>,
    status: Option<&'a RawValue>,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
    #[serde(serialize_with = "display")]
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_image_domains: Option<&'a RawValue>,
    items: ItemPage<'a>,
}

/// Items, and where the next ones are.
#[derive(Default, Serialize)]
struct ItemPage<'a> {
    data: Vec<Box<RawValue>>,
    has_more: bool,
    after: Option<&'a str>,
}

/// As it is before its first message.
impl<'a> From<&'a SessionRecord> for FullThread<'a> {
    fn from(record: &'a SessionRecord) -> Self {
        Self {
            id: record.id,
            session_id: record.id,
            thread_id: None,
            title: record.title.as_deref(),
            status: None,
            created_at: record.created_at,
            updated_at: record.updated_at,
            allowed_image_domains: None,
            items: ItemPage::default(),
        }
    }
}
