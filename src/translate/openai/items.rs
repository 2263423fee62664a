//! Pages of a thread's items.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::List;
use super::convert;
use super::find::look_up;
use super::threads::not_found;
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::session::{ItemCursor, ItemsPage, SessionRecord};
use crate::translate::pages::{self, Collected, Place, Range, Row, Stopped};
use crate::translate::service::{Exchange, Reply};
use crate::translate::{reply, threads};
use crate::validate::Report;

/// The most pages that are read to fill one up. There must be something in it all the same, while
/// there is more: a client stops at an empty page.
const MAX_FILLING: usize = 10;

pub(crate) async fn list<S, R>(
    exchange: &mut Exchange<S>,
    record: &SessionRecord,
    page: ItemsPage,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
    // The upstream knows no `before`: what comes before a place is what comes after it in the
    // opposite order.
    let backwards = page.after.is_none() && page.before.is_some();
    let (limit, ascending) = (page.limit, page.ascending != backwards);
    let (begin, end) = if backwards { (&page.before, &None) } else { (&page.after, &page.before) };
    let (from, behind) = match begin {
        Some(ItemCursor::Given(cursor)) => (Place::parse(Some(cursor)), None),
        Some(ItemCursor::Id(id)) => (Place::default(), Some(&**id)),
        None => (Place::default(), None),
    };
    // In the other direction a place in the middle of a page is another one.
    if backwards && from.skip > 0 {
        return Err(unknown(backwards));
    }
    let was_given = from != Place::default();
    let until = end.as_ref().map(|end| match end {
        ItemCursor::Given(cursor) | ItemCursor::Id(cursor) => &**cursor,
    });
    let range = Range {
        thread_id,
        ascending,
        limit,
        from,
        behind,
        check_cursor: true,
        filling: MAX_FILLING,
        may_be_empty: false,
    };
    let row = |json: &RawValue| {
        if until.is_some() && threads::id(json).as_deref() == until {
            return Row::End;
        }
        let offset = exchange.settings.utc_offset;
        match convert::item(json, thread_id, offset, record.created_at.as_second()) {
            Ok(Some(item)) => Row::Shown(item),
            Ok(None) => Row::Hidden,
            Err(failure) => Row::Broken(failure),
        }
    };
    let mut upstream = exchange.upstream_for(&record.user_id);
    let collected = match pages::collect(&mut upstream, range, row).await {
        Ok(collected) => collected,
        Err(Stopped::UnknownCursor) => return Err(unknown(backwards)),
        Err(Stopped::Failed(failure)) => {
            if !failure.is_bare_500() && !failure.is_not_found() {
                return Err(failure.into());
            }
            // Some servers fail on a cursor that they have forgotten.
            look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
            return Err(if was_given { unknown(backwards) } else { failure.into() });
        }
    };
    let Collected { mut items, next, met_end, was_empty } = collected;
    // An upstream has no items for a thread that it has lost, which is no failure there.
    if was_empty && page.after.is_none() && look_up(&mut upstream, thread_id).await?.is_none() {
        return Err(not_found());
    }
    if until.is_some() && limit > 0 && !met_end && next.is_none() {
        return Err(Rejection::from(Report::one("/before", "must be an id of what follows"))
            .message("The parameter before names no item behind the one that after names."));
    }
    if backwards {
        items.reverse();
    }
    let mut list = List::new(items, |item| &item.id, next.is_some());
    // It goes on behind what was left out, too. Backwards it would lead the other way.
    if let Some(next) = next
        && !backwards
    {
        list.last_id = Some(page.cursors.seal(thread_id, &next.write()).await?);
    }
    reply::json(&list)
}

fn unknown(backwards: bool) -> Rejection {
    let name = if backwards { "before" } else { "after" };
    Rejection::from(Report::one(format!("/{name}"), "must be an id from this list"))
        .message(format!("The parameter {name} names no item of this thread."))
}
