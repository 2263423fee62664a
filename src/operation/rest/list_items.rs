//! Lists a thread's items, a page at a time.

use http::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chatkit::pages::{self, ListPosition, ListRange, Stopped};
use crate::chatkit::threads::{self, Whereabouts};
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::fields::string_at;
use crate::operation::reply;
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, ItemsFrom, Needs, OwnedSession};
use crate::surface::Surface;

/// How many items a page has where nobody says.
pub(super) const DEFAULT_LIMIT: i64 = 20;

/// The most items of a page.
const MAX_LIMIT: i64 = 100;

/// The most pages of the upstream's that are read for one of ours: hidden items make them short.
const MAX_PAGES: usize = 100;

const NO_ITEMS: &[Box<RawValue>] = &[];

pub(crate) struct ListItems;

pub(crate) struct Call {
    path: ThreadPath,
    limit: usize,
    ascending: bool,
    after: Option<String>,
}

impl Operation for ListItems {
    const ROW: Row = Row {
        name: "list_items",
        surface: Surface::Rest,
        method: Method::GET,
        path: "/sessions/{session_id}/threads/{thread_id}/items",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound, Code::ItemNotFound],
        tag: "Items",
        summary: "List a thread's items",
        description: "As the chat server has them, a page at a time.",
        links: &[],
    };

    type Call = Call;
    type Grant = (OwnedSession, ItemsFrom);

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let value = read.query(&["limit", "order", "after"])?;
        let limit = value.get("limit").and_then(Value::as_i64).unwrap_or(DEFAULT_LIMIT);
        Ok(Call {
            path: read.thread_path(),
            limit: usize::try_from(limit.min(MAX_LIMIT)).unwrap_or_default(),
            ascending: value.get("order").and_then(Value::as_str) == Some("asc"),
            after: string_at(&value, "after").filter(|after| !after.is_empty()),
        })
    }

    async fn admit(
        desk: &Desk,
        principal: &Principal,
        call: &Call,
    ) -> Result<Self::Grant, Rejection> {
        desk.open_items(principal, &call.path, call.after.as_deref()).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        mut exchange: Exchange<S>,
        (session, ItemsFrom { after, cursors, .. }): Self::Grant,
        call: Call,
    ) -> Reply<R> {
        let Some(thread_id) = &session.record().thread_id else {
            return reply::page(NO_ITEMS, None);
        };
        let offset = exchange.settings.utc_offset;
        let upstream = &mut exchange.upstream;
        let range = ListRange {
            thread_id,
            ascending: call.ascending,
            limit: call.limit,
            from: ListPosition::parse(after.as_deref()),
            behind: None,
            check_cursor: false,
            filling: MAX_PAGES,
            may_be_empty: true,
        };
        let row = |item: &RawValue| {
            threads::visible(item, offset).map_or(pages::RowFate::Hidden, pages::RowFate::Shown)
        };
        match pages::collect(upstream, range, row).await {
            // A thread that isn't there looks like one without items.
            Ok(page) if page.was_empty && after.is_none() => {
                if upstream.has_lost_empty(thread_id).await {
                    return Err(threads::lost());
                }
                reply::page(&page.items, None)
            }
            Ok(page) => {
                let after = match page.next {
                    Some(next) => Some(cursors.seal(thread_id, &next.write()).await?),
                    None => None,
                };
                reply::page(&page.items, after.as_deref())
            }
            // Some servers fail on a cursor that they have forgotten.
            Err(Stopped::Failed(failure)) if after.is_some() && failure.is_bare_500() => {
                Err(match upstream.whereabouts(thread_id).await {
                    Whereabouts::There => cursors.refusal(),
                    Whereabouts::Lost => threads::lost(),
                    Whereabouts::Unknown => failure.into(),
                })
            }
            Err(Stopped::Failed(failure)) => {
                Err(upstream.refusal_about(thread_id, Needs::Thread, failure).await)
            }
            Err(Stopped::UnknownCursor) => Err(Rejection::new(Code::Internal)),
        }
    }
}
