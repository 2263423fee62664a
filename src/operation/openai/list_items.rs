//! Lists a thread's items, a page at a time.

use http::Method;
use serde_json::value::RawValue;

use super::convert;
use super::find::look_up;
use super::list::{self, ListPage, ShownPage};
use super::thread::not_found;
use crate::chatkit::pages::{self, CollectedPage, ListPosition, ListRange, Stopped};
use crate::chatkit::{ChatKit, ChatKitBody, threads};
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::{Desk, ItemBounds, ItemCursor, OwnedSession};
use crate::surface::Surface;

/// The most pages that are read to fill one up. There must be something in it all the same, while
/// there is more: a client stops at an empty page.
const MAX_FILLING: usize = 10;

pub(crate) struct ListItems;

#[derive(Debug)]
pub(crate) struct Call {
    thread: Box<str>,
    page: ListPage,
}

impl Operation for ListItems {
    const ROW: Row = Row {
        name: "openai_list_items",
        surface: Surface::OpenAi,
        method: Method::GET,
        path: "/threads/{thread_id}/items",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: false,
        refuses: &[Code::ThreadNotFound, Code::Conflict],
        tag: "OpenAI",
        summary: "List a thread's items",
        description: "Those that the hosted API has a form for.",
        links: &[],
    };

    type Call = Call;
    type Grant = (OwnedSession, ItemBounds);

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let (_, page) = list::page(read, &["after", "before", "limit", "order"])?;
        Ok(Call { thread: read.thread(), page })
    }

    async fn admit(desk: &Desk, _: &Principal, call: &Call) -> Result<Self::Grant, Rejection> {
        let ListPage { after, before, .. } = &call.page;
        desk.find_items(&call.thread, after.as_deref(), before.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        (session, bounds): Self::Grant,
        call: Call,
    ) -> Reply<R> {
        let record = session.record();
        let Some(thread_id) = &record.thread_id else { return Err(not_found()) };
        // The upstream knows no `before`: what comes before a place is what comes after it in the
        // opposite order.
        let backwards = bounds.after.is_none() && bounds.before.is_some();
        let (limit, ascending) = (call.page.limit, call.page.ascending != backwards);
        let (begin_name, begin, end) = if backwards {
            ("before", &bounds.before, &None)
        } else {
            ("after", &bounds.after, &bounds.before)
        };
        let (from, behind) = match begin {
            Some(ItemCursor::Given(cursor)) => (ListPosition::parse(Some(cursor)), None),
            Some(ItemCursor::Id(id)) => (ListPosition::default(), Some(&**id)),
            None => (ListPosition::default(), None),
        };
        // In the other direction a place in the middle of a page is another one.
        if backwards && from.skip > 0 {
            return Err(ItemCursor::unknown(begin_name));
        }
        let was_given = from != ListPosition::default();
        let until = end.as_ref().map(|end| match end {
            ItemCursor::Given(cursor) | ItemCursor::Id(cursor) => &**cursor,
        });
        let range = ListRange {
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
                return pages::RowFate::End;
            }
            let offset = exchange.settings.utc_offset;
            match convert::item(json, thread_id, offset, record.created_at.as_second()) {
                Ok(Some(item)) => pages::RowFate::Shown(item),
                Ok(None) => pages::RowFate::Hidden,
                Err(failure) => pages::RowFate::Broken(failure),
            }
        };
        let mut upstream = exchange.upstream_for(&record.user_id);
        let collected = match pages::collect(&mut upstream, range, row).await {
            Ok(collected) => collected,
            Err(Stopped::UnknownCursor) => return Err(ItemCursor::unknown(begin_name)),
            Err(Stopped::Failed(failure)) => {
                if !failure.is_bare_500() && !failure.is_not_found() {
                    return Err(failure.into());
                }
                // Some servers fail on a cursor that they have forgotten.
                look_up(&mut upstream, thread_id).await?.ok_or_else(not_found)?;
                return Err(if was_given {
                    ItemCursor::unknown(begin_name)
                } else {
                    failure.into()
                });
            }
        };
        let CollectedPage { mut items, next, met_end, was_empty } = collected;
        // An upstream has no items for a thread that it has lost, which is no failure there.
        if was_empty && bounds.after.is_none() && look_up(&mut upstream, thread_id).await?.is_none()
        {
            return Err(not_found());
        }
        if until.is_some() && limit > 0 && !met_end && next.is_none() {
            return Err(ItemCursor::unknown_end());
        }
        if backwards {
            items.reverse();
        }
        let mut list = ShownPage::new(items, |item| &item.id, next.is_some());
        // It goes on behind what was left out, too. Backwards it would lead the other way.
        if let Some(next) = next
            && !backwards
        {
            list.last_id = Some(bounds.cursors.seal(thread_id, &next.write()).await?);
        }
        reply::json(&list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;

    #[test]
    fn pages_are_read_from_the_query() {
        let page = |url: &str| {
            let call = parsed::<ListItems>(url, "").unwrap();
            assert_eq!(&*call.thread, "t/1");
            call.page
        };
        let default = ListPage { limit: 20, ..ListPage::default() };
        assert_eq!(page("/threads/t%2F1/items"), default);
        assert_eq!(page("/threads/t%2F1/items?user=x"), default);
        assert_eq!(
            page("/threads/t%2F1/items?limit=500&order=asc&after=7&before=true"),
            ListPage {
                limit: 100,
                ascending: true,
                after: Some("7".to_owned()),
                before: Some("true".to_owned()),
            }
        );
        assert_eq!(page("/threads/t%2F1/items?limit=0").limit, 0);
    }
}
