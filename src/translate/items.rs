//! `get_thread`, `list_items`, `create_feedback`.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde::Deserialize;
use serde_json::value::RawValue;
use tower_service::Service;

use super::service::{Exchange, Reply};
use super::threads::{self, Whereabouts};
use super::upstream::{Failure, Upstream};
use super::{envelope, reply};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::Rejection;
use crate::session::{Needs, SessionRecord, ThreadId};
use crate::validate::{Feedback, Page};

/// How many items a page has where nobody says.
const DEFAULT_LIMIT: i64 = 20;

/// The most pages of the upstream's that are read for one of ours: hidden items make them short.
const MAX_PAGES: usize = 100;

/// The items of a thread that is shown without them.
const NO_PAGE: &str = "{\"data\":[]}";

const NO_ITEMS: &[Box<RawValue>] = &[];

/// What the upstream tells of a thread.
#[derive(Default, Deserialize)]
struct Thread<'a> {
    #[serde(default)]
    title: Option<String>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    allowed_image_domains: Option<&'a RawValue>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
}

/// The session's thread, and its oldest items.
pub(super) async fn thread<S, R>(mut exchange: Exchange<S>, record: SessionRecord) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = &record.thread_id else {
        return reply::one(reply::FullThread::from(&record));
    };
    let upstream = &mut exchange.upstream;
    let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
    let answer = match upstream.json(get).await {
        Ok(answer) => Some(answer),
        // Some servers answer so for ever once a thread has a title: its items can be had all
        // the same.
        Err(failure) => match upstream.whereabouts_after(thread_id, &failure).await {
            Whereabouts::There => None,
            Whereabouts::Lost => return Err(threads::lost()),
            Whereabouts::Unknown => return Err(failure.into()),
        },
    };
    let listed;
    let (thread, page) = if let Some(answer) = &answer {
        let thread: Thread<'_> =
            threads::object(answer).ok_or(Failure::Protocol("the upstream's thread is not one"))?;
        let page = thread.items.map_or(NO_PAGE, RawValue::get);
        (thread, page.as_bytes())
    } else {
        let request = envelope::page(Some(thread_id), DEFAULT_LIMIT, true, None);
        listed = upstream.json(request).await?;
        (Thread::default(), &*listed)
    };
    let page = threads::page(page)?;
    let offset = exchange.settings.utc_offset;
    let after = page.next();
    let is_object = |value: &&RawValue| value.get().starts_with('{');
    reply::one(reply::FullThread {
        thread_id: Some(thread_id),
        title: record.title.as_deref().or(thread.title.as_deref()),
        status: thread.status.filter(is_object),
        metadata: thread.metadata.filter(is_object),
        allowed_image_domains: thread
            .allowed_image_domains
            .filter(|domains| domains.get().starts_with('[')),
        items: reply::ItemPage {
            data: visible(&page, offset).collect(),
            has_more: after.is_some(),
            after,
        },
        ..reply::FullThread::from(&record)
    })
}

/// A page of a thread's items.
pub(super) async fn list<S, R>(
    mut exchange: Exchange<S>,
    thread_id: Option<ThreadId>,
    wanted: Page,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = thread_id else { return reply::page(NO_ITEMS, None) };
    let offset = exchange.settings.utc_offset;
    let (items, after) = pages(&mut exchange.upstream, &thread_id, wanted, offset).await?;
    reply::page(&items, after.as_deref())
}

/// Reads the upstream's pages until there are enough items.
///
/// Exactly as many are asked for as are missing: what came in excess would be lost to the next
/// page, which begins where the upstream's ended.
async fn pages<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    wanted: Page,
    offset: Offset,
) -> Result<(Vec<Box<RawValue>>, Option<String>), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    let from_the_start = wanted.after.is_none();
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut after = wanted.after;
    // The client's own cursor among them: a store that begins anew on one it doesn't know would
    // lead there again.
    let mut cursors: HashSet<String> = after.iter().cloned().collect();
    for number in 0..MAX_PAGES {
        let missing = limit.saturating_sub(i64::try_from(items.len()).unwrap_or(i64::MAX));
        if missing <= 0 {
            break;
        }
        let request = envelope::page(Some(thread_id), missing, wanted.ascending, after.as_deref());
        let answer = match upstream.json(request).await {
            Ok(answer) => answer,
            Err(failure) => {
                return Err(upstream.refusal_about(thread_id, Needs::Thread, failure).await);
            }
        };
        bytes += answer.len();
        if bytes > upstream.max_reply_bytes {
            return Err(Failure::Protocol("the upstream's items are too large together").into());
        }
        let page = threads::page(&answer)?;
        items.extend(visible(&page, offset));
        let Some(next) = page.next() else {
            // A thread that isn't there looks like one without items.
            let nothing = number == 0 && from_the_start && page.data.is_empty();
            if nothing && upstream.has_lost(thread_id).await {
                return Err(threads::lost());
            }
            return Ok((items, None));
        };
        if !cursors.insert(next.to_owned()) {
            return Err(Failure::Protocol("the upstream's cursor goes round").into());
        }
        after = Some(next.to_owned());
    }
    Ok((items, after))
}

/// The items that clients are meant to see, with their times in UTC.
fn visible<'a>(
    page: &'a threads::Page<'_>,
    offset: Offset,
) -> impl Iterator<Item = Box<RawValue>> + 'a {
    page.data
        .iter()
        .filter(|item| !threads::is_hidden(item))
        .map(move |item| threads::with_utc_time(item, offset))
}

/// What the user thinks of some items.
pub(super) async fn feedback<S, R>(
    mut exchange: Exchange<S>,
    thread_id: ThreadId,
    feedback: Feedback,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::feedback(&thread_id, &feedback);
    if let Err(failure) = exchange.upstream.json(request).await {
        return Err(exchange.upstream.refusal_about(&thread_id, Needs::Item, failure).await);
    }
    reply::one(reply::Feedback { item_ids: &feedback.item_ids, kind: &feedback.kind })
}
