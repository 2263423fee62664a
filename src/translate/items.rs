//! `get_thread`, `list_items`, `create_feedback`.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde_json::value::RawValue;
use tower_service::Service;

use super::pages::{self, Place, Range, Row, Stopped};
use super::service::{Exchange, Reply};
use super::threads::{self, Whereabouts};
use super::upstream::{Failure, Upstream};
use super::{envelope, reply};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::{ItemCursors, Needs, SessionRecord, ThreadId};
use crate::stream;
use crate::validate::{Feedback, Page};

/// How many items a page has where nobody says.
const DEFAULT_LIMIT: i64 = 20;

/// The most pages of the upstream's that are read for one of ours: hidden items make them short.
const MAX_PAGES: usize = 100;

const NO_ITEMS: &[Box<RawValue>] = &[];

/// The session's thread, and its oldest items.
pub(crate) async fn thread<S, R>(
    mut exchange: Exchange<S>,
    record: SessionRecord,
    cursors: ItemCursors,
) -> Reply<R>
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
        Ok(answer) => Ok(answer),
        Err(failure) if failure.is_not_found() => return Err(threads::lost()),
        // Some servers answer so for ever once a thread has a title: its items can be had all
        // the same.
        Err(failure) if failure.is_bare_500() => Err(items(upstream, thread_id, failure).await?),
        Err(failure) => return Err(failure.into()),
    };
    let thread = match &answer {
        Ok(answer) => threads::thread(answer)?,
        Err(items) => threads::Thread::of_items(threads::page(items)?),
    };
    let offset = exchange.settings.utc_offset;
    let after = match thread.items.next() {
        Some(next) => Some(cursors.seal(thread_id, next).await?),
        None => None,
    };
    reply::one(reply::FullThread {
        thread_id: Some(thread_id),
        title: record.title.as_deref().or(thread.title.as_deref()),
        status: thread.status.filter(|status| status.get().starts_with('{')),
        allowed_image_domains: thread.allowed_image_domains.filter(|domains| is_texts(domains)),
        items: reply::ItemPage {
            data: visible(&thread.items, offset).collect(),
            has_more: after.is_some(),
            after: after.as_deref(),
        },
        ..reply::FullThread::from(&record)
    })
}

fn is_texts(value: &RawValue) -> bool {
    stream::list(value)
        .is_some_and(|values| values.iter().all(|value| value.get().starts_with('"')))
}

/// The oldest items of a thread that can't be got itself for `failure`.
async fn items<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    failure: Failure,
) -> Result<Bytes, Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
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

/// A page of a thread's items.
pub(crate) async fn list<S, R>(
    mut exchange: Exchange<S>,
    thread_id: Option<ThreadId>,
    wanted: Page,
    cursors: ItemCursors,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = thread_id else { return reply::page(NO_ITEMS, None) };
    let offset = exchange.settings.utc_offset;
    let upstream = &mut exchange.upstream;
    let range = Range {
        thread_id: &thread_id,
        ascending: wanted.ascending,
        limit: usize::try_from(wanted.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or_default(),
        from: Place::parse(wanted.after.as_deref()),
        behind: None,
        check_cursor: false,
        filling: MAX_PAGES,
        may_be_empty: true,
    };
    let row = |item: &RawValue| threads::visible(item, offset).map_or(Row::Hidden, Row::Shown);
    match pages::collect(upstream, range, row).await {
        // A thread that isn't there looks like one without items.
        Ok(page) if page.was_empty && wanted.after.is_none() => {
            if upstream.has_lost_empty(&thread_id).await {
                return Err(threads::lost());
            }
            reply::page(&page.items, None)
        }
        Ok(page) => {
            let after = match page.next {
                Some(next) => Some(cursors.seal(&thread_id, &next.write()).await?),
                None => None,
            };
            reply::page(&page.items, after.as_deref())
        }
        // Some servers fail on a cursor that they have forgotten.
        Err(Stopped::Failed(failure)) if wanted.after.is_some() && failure.is_bare_500() => {
            Err(match upstream.whereabouts(&thread_id).await {
                Whereabouts::There => cursors.refusal(),
                Whereabouts::Lost => threads::lost(),
                Whereabouts::Unknown => failure.into(),
            })
        }
        Err(Stopped::Failed(failure)) => {
            Err(upstream.refusal_about(&thread_id, Needs::Thread, failure).await)
        }
        Err(Stopped::UnknownCursor) => Err(Rejection::new(Code::Internal)),
    }
}

/// The items that clients are meant to see, with their times in UTC.
fn visible<'a>(
    page: &'a threads::Page<'_>,
    offset: Offset,
) -> impl Iterator<Item = Box<RawValue>> + 'a {
    page.data.iter().filter_map(move |item| threads::visible(item, offset))
}

/// What the user thinks of some items.
pub(crate) async fn feedback<S, R>(
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
