//! What can be asked about an upstream's threads, and which of their answers mean what.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Deserialize;
use serde_json::value::RawValue;
use tower_service::Service;

use super::envelope;
use super::upstream::{Failure, Upstream};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::stream::HIDDEN_ITEM_TYPES;

/// How many rows are asked for at once where all are wanted.
const PAGE_ROWS: i64 = 100;

/// The most pages that are read to tell whether a thread exists.
const MAX_PROBE_PAGES: usize = 5;

/// The most pages of items of one thread.
const MAX_ITEM_PAGES: usize = 10_000;

/// One page of anything.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<&'a RawValue>,
    #[serde(default)]
    pub(super) has_more: bool,
    #[serde(default)]
    pub(super) after: Option<String>,
}

impl Page<'_> {
    /// The cursor of the next page, if there is one.
    pub(super) fn next(&self) -> Option<&str> {
        if self.has_more { self.after.as_deref() } else { None }
    }
}

/// Reads a page.
pub(super) fn page(bytes: &Bytes) -> Result<Page<'_>, Failure> {
    serde_json::from_slice(bytes).map_err(|_| Failure::Protocol("the upstream's page is not one"))
}

/// The id of a thread or an item.
pub(super) fn id(object: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Object {
        id: String,
    }
    serde_json::from_str::<Object>(object.get()).ok().map(|object| object.id)
}

fn is_hidden(item: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Item<'_>>(item.get())
        .is_ok_and(|item| HIDDEN_ITEM_TYPES.contains(&&*item.kind))
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// All visible items of a thread, oldest first.
    ///
    /// Pages follow the upstream's cursor, however short they are: hidden items are filtered
    /// out after paging, so a page may be empty and not the last. A cursor that comes twice
    /// would go on for ever (stores begin anew on one they don't know) and is a fault.
    pub(super) async fn all_items(
        &mut self,
        thread_id: &str,
    ) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut cursors = HashSet::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_ITEM_PAGES {
            let request = envelope::page(Some(thread_id), PAGE_ROWS, true, after.as_deref());
            let reply = self.json(request).await?;
            bytes += reply.len();
            if bytes > self.max_reply_bytes {
                return Err(Failure::Protocol("the upstream's items are too large together"));
            }
            let page = page(&reply)?;
            items.extend(
                page.data.iter().filter(|item| !is_hidden(item)).map(|item| (*item).to_owned()),
            );
            let Some(next) = page.next() else { return Ok(items) };
            if !cursors.insert(next.to_owned()) {
                return Err(Failure::Protocol("the upstream's cursor goes round"));
            }
            after = Some(next.to_owned());
        }
        Err(Failure::Protocol("the upstream's items don't end"))
    }

    /// Whether a failed exchange about a thread failed because the upstream has lost it.
    pub(super) async fn failed_for_lack_of(&mut self, thread_id: &str, failure: &Failure) -> bool {
        failure.is_not_found() || (failure.is_bare_500() && self.has_lost(thread_id).await)
    }

    /// Whether the upstream has lost a thread. Asked only when something failed.
    ///
    /// A ChatKit server answers the same bare 500 to "no such thread" and to "my database is
    /// down", and some answer it for ever to `threads.get_by_id` of a thread with a title. So a
    /// thread counts as lost only if getting it fails and the list of threads, which must
    /// work, doesn't have it. `false` means that it exists or that nobody can tell.
    pub(super) async fn has_lost(&mut self, thread_id: &str) -> bool {
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        match self.json(get).await {
            Ok(_) => return false,
            Err(failure) if failure.is_not_found() => return true,
            Err(failure) if !failure.is_bare_500() => return false,
            Err(_) => {}
        }
        let mut after: Option<String> = None;
        for _ in 0..MAX_PROBE_PAGES {
            let request = envelope::page(None, PAGE_ROWS, false, after.as_deref());
            let Ok(reply) = self.json(request).await else { return false };
            let Ok(page) = page(&reply) else { return false };
            if page.data.iter().any(|thread| id(thread).as_deref() == Some(thread_id)) {
                return false;
            }
            match page.next() {
                Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
                _ => return true,
            }
        }
        // More threads than are looked through: nobody can tell.
        false
    }
}
