//! Pages of a thread's items.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::convert::{self, Item};
use super::find::look_up;
use super::threads::not_found;
use super::{Exchange, List};
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::session::SessionRecord;
use crate::translate::service::Reply;
use crate::translate::upstream::{Failure, Upstream};
use crate::translate::{envelope, reply, threads};
use crate::validate::{ListPage, Report};

/// The most pages of the upstream's that are read until there is something to show. A client
/// stops at an empty page, so there must be something while there is more.
const MAX_PAGES: usize = 1000;

/// The most pages that are read to fill one up.
const MAX_FILLING: usize = 10;

/// Where the upstream is read, and how far.
struct Range<'a> {
    limit: usize,
    ascending: bool,
    after: Option<&'a str>,
    until: Option<&'a str>,
}

pub(super) async fn list<S, R>(
    exchange: &mut Exchange<'_, S>,
    record: &SessionRecord,
    page: ListPage,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
    // The upstream knows no `before`: what comes before a place is what comes after it in the
    // opposite order.
    let (after, before) = (page.after.as_deref(), page.before.as_deref());
    let backwards = after.is_none() && before.is_some();
    let (limit, ascending) = (page.limit, page.ascending != backwards);
    let range = if backwards {
        Range { limit, ascending, after: before, until: None }
    } else {
        Range { limit, ascending, after, until: before }
    };
    let convert = |json: &_| {
        let offset = exchange.settings.utc_offset;
        convert::item(json, thread_id, offset, record.created_at.as_second())
    };
    let mut upstream = exchange.upstream(&record.user_id);
    let collected = match collect(&mut upstream, thread_id, &range, convert).await {
        Ok(collected) => collected,
        Err(Stopped::UnknownCursor) => return Err(unknown(backwards)),
        Err(Stopped::Failed(failure)) => {
            if !failure.is_bare_500() && !failure.is_not_found() {
                return Err(failure.into());
            }
            // Some servers fail on a cursor that they don't know.
            look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
            return Err(if range.after.is_some() { unknown(backwards) } else { failure.into() });
        }
    };
    let Collected { mut items, next, was_empty } = collected;
    // An upstream has no items for a thread that it has lost, which is no failure there.
    if was_empty && range.after.is_none() && look_up(&mut upstream, thread_id).await?.is_none() {
        return Err(not_found());
    }
    if backwards {
        items.reverse();
    }
    let mut list = List::new(items, |item| &item.id, next.is_some());
    // The upstream's own cursor, which goes on behind what was left out. Backwards it would lead
    // the other way.
    if let Some(next) = next
        && !backwards
    {
        list.last_id = Some(next);
    }
    reply::json(&list)
}

fn unknown(backwards: bool) -> Rejection {
    let name = if backwards { "before" } else { "after" };
    Rejection::from(Report::one(format!("/{name}"), "must be an id from this list"))
        .message(format!("The parameter {name} names no item of this thread."))
}

struct Collected {
    items: Vec<Item>,
    /// The cursor of what comes next, if there is more.
    next: Option<String>,
    /// The upstream had nothing at all there.
    was_empty: bool,
}

enum Stopped {
    Failed(Failure),
    UnknownCursor,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Reads the upstream's pages until enough of what is there has been converted.
///
/// It is asked for exactly as many items as are missing, so that its cursor is always that of the
/// end of what is shown.
async fn collect<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    range: &Range<'_>,
    convert: impl Fn(&serde_json::value::RawValue) -> Option<Item>,
) -> Result<Collected, Stopped>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut items = Vec::new();
    let mut cursor = range.after.map(str::to_owned);
    // The client's own cursor among them: a store that begins anew on one it doesn't know would
    // lead there again.
    let mut cursors: HashSet<String> = cursor.iter().cloned().collect();
    if range.limit == 0 {
        return Ok(Collected { items, next: None, was_empty: false });
    }
    let (mut bytes, mut was_empty) = (0, true);
    for number in 1..=MAX_PAGES {
        let missing = i64::try_from(range.limit - items.len()).unwrap_or(i64::MAX);
        let ask = |after| envelope::page(Some(thread_id), missing, range.ascending, after);
        let answer = upstream.json(ask(cursor.as_deref())).await?;
        bytes += answer.len();
        if bytes > upstream.max_reply_bytes {
            let what = "the upstream's items are too large together";
            return Err(Failure::Protocol(what).into());
        }
        let page = threads::page(&answer)?;
        was_empty = was_empty && page.data.is_empty() && !page.has_more;
        if number == 1
            && let (Some(_), Some(first), true) = (range.after, page.data.first(), page.has_more)
        {
            // Many stores begin anew on a cursor that they don't know. Whoever follows such a
            // page, and the one after it, could go on for ever.
            let top = upstream.json(ask(None)).await?;
            let top = threads::page(&top)?;
            if top.data.first().is_some_and(|item| item.get() == first.get()) {
                return Err(Stopped::UnknownCursor);
            }
        }
        for item in &page.data {
            if range.until.is_some() && threads::id(item).as_deref() == range.until {
                return Ok(Collected { items, next: None, was_empty });
            }
            items.extend(convert(item));
        }
        let Some(next) = page.next().map(str::to_owned) else {
            return Ok(Collected { items, next: None, was_empty });
        };
        if !cursors.insert(next.clone()) {
            return Err(Failure::Protocol("the upstream's cursor goes round").into());
        }
        let filled = !items.is_empty() && number >= MAX_FILLING;
        if filled || items.len() >= range.limit {
            return Ok(Collected { items, next: Some(next), was_empty });
        }
        cursor = Some(next);
    }
    Err(Failure::Protocol("the upstream's items don't end").into())
}
