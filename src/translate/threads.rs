//! What can be asked about an upstream's threads, and which of their answers mean what.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde_json::value::RawValue;
use tower_service::Service;

use super::upstream::{Failure, Upstream};
use super::{envelope, time};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::Needs;
use crate::stream::{Object, list, text};

/// How many rows are asked for at once where all are wanted.
pub(super) const PAGE_ROWS: i64 = 100;

/// The most pages that are read to tell whether a thread, or an item, exists.
const MAX_PROBE_PAGES: usize = 5;

/// The most pages of items of one thread.
pub(super) const MAX_ITEM_PAGES: usize = 10_000;

/// One page of anything.
pub(super) struct Page<'a> {
    /// Objects, all of them.
    pub(super) data: Vec<&'a RawValue>,
    pub(super) has_more: bool,
    after: Option<String>,
}

impl Page<'_> {
    /// The cursor of the next page, if there is one.
    pub(super) fn next(&self) -> Option<&str> {
        if self.has_more { self.after.as_deref() } else { None }
    }

    /// Whether there is nothing, here or behind: what a thread looks like that isn't there.
    pub(super) fn is_nothing(&self) -> bool {
        self.data.is_empty() && !self.has_more
    }
}

/// Reads a page; a list is a page that is the last.
///
/// One that isn't the last and doesn't say where the next one is isn't one, and nor is one with a
/// row that is no object: to leave that out, or to take it for the last, would lose what is there.
pub(super) fn page(bytes: &[u8]) -> Result<Page<'_>, Failure> {
    const NOT_ONE: Failure = Failure::Protocol("the upstream's page is not one");
    let page = match object(bytes) {
        None => {
            let list = serde_json::from_slice(bytes).map_err(|_| NOT_ONE)?;
            Page { data: list, has_more: false, after: None }
        }
        Some(page) => {
            let data = match page.member("data").ok_or(NOT_ONE)? {
                // What some languages write for a list without anything in it.
                nothing if nothing.get() == "null" => Vec::new(),
                data => list(data).ok_or(NOT_ONE)?,
            };
            let after = page.text("after").filter(|after| !after.is_empty());
            let has_more = match page.get("has_more").map(RawValue::get) {
                None => after.is_some(),
                Some("true" | "1" | "\"true\"") => true,
                Some("false" | "0" | "\"false\"") => false,
                Some(_) => return Err(NOT_ONE),
            };
            if has_more && after.is_none() {
                return Err(Failure::Protocol("the upstream's page has no cursor of the next one"));
            }
            Page { data, has_more, after }
        }
    };
    if page.data.iter().any(|row| !row.get().starts_with('{')) {
        return Err(Failure::Protocol("the upstream's page has a row that is no object"));
    }
    Ok(page)
}

/// The id of a thread or an item.
pub(super) fn id(object: &RawValue) -> Option<String> {
    Object::of(object)?.id()
}

/// Reads an answer that is an object.
pub(super) fn object(json: &[u8]) -> Option<Object<'_>> {
    Object::read(std::str::from_utf8(json).ok()?)
}

pub(super) fn is_hidden(item: &RawValue) -> bool {
    Object::of(item).is_some_and(|item| item.is_hidden())
}

/// An item as clients are to see it: with its time in UTC and otherwise as it was written; as it
/// is, if its time can't be read. `None` if it is hidden.
pub(super) fn visible(item: &RawValue, offset: Offset) -> Option<Box<RawValue>> {
    let object = Object::of(item);
    if object.as_ref().is_some_and(Object::is_hidden) {
        return None;
    }
    let with_utc_time = object
        .and_then(|object| with_utc_time(item, &object, offset))
        .and_then(|text| RawValue::from_string(text).ok());
    Some(with_utc_time.unwrap_or_else(|| item.to_owned()))
}

fn with_utc_time(item: &RawValue, object: &Object<'_>, offset: Offset) -> Option<String> {
    let written = object.get("created_at")?;
    let instant = time::parse(&text(written)?, offset)?;
    let (item, written) = (item.get(), written.get());
    // It was read out of the item, so that is where it is.
    let start = (written.as_ptr() as usize).checked_sub(item.as_ptr() as usize)?;
    let (before, after) = (item.get(..start)?, item.get(start + written.len()..)?);
    Some(format!("{before}\"{instant}\"{after}"))
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

    /// Whether a thread has such an item. `None` means that nobody can tell: the upstream fails, or
    /// it isn't among so many of the newest. Asked only when something failed.
    pub(super) async fn has_item(
        &mut self,
        thread_id: &str,
        is_it: impl Fn(&RawValue) -> bool,
    ) -> Option<bool> {
        let mut after: Option<String> = None;
        for _ in 0..MAX_PROBE_PAGES {
            let request = envelope::page(Some(thread_id), PAGE_ROWS, false, after.as_deref());
            let reply = self.json(request).await.ok()?;
            let page = page(&reply).ok()?;
            if page.data.iter().any(|item| is_it(item)) {
                return Some(true);
            }
            let Some(next) = page.next() else { return Some(false) };
            if after.as_deref() == Some(next) {
                return None;
            }
            after = Some(next.to_owned());
        }
        None
    }

    /// Whether a failed exchange about a thread failed because the upstream has lost it.
    pub(super) async fn failed_for_lack_of(&mut self, thread_id: &str, failure: &Failure) -> bool {
        failure.is_not_found() || (failure.is_bare_500() && self.has_lost(thread_id).await)
    }

    /// Whether the upstream has lost a thread. `false` means that it exists or that nobody can
    /// tell.
    pub(super) async fn has_lost(&mut self, thread_id: &str) -> bool {
        self.whereabouts(thread_id).await == Whereabouts::Lost
    }

    /// The same of a thread that is known to have no items.
    pub(super) async fn has_lost_empty(&mut self, thread_id: &str) -> bool {
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        match self.json(get).await {
            Ok(_) => false,
            Err(failure) if failure.is_bare_500() => {
                self.listed(thread_id).await == Whereabouts::Lost
            }
            Err(failure) => failure.is_not_found(),
        }
    }

    /// What became of a thread. Asked only when something failed.
    ///
    /// A ChatKit server answers the same bare 500 to "no such thread" and to "my database is
    /// down", and some answer it for ever to `threads.get_by_id` of a thread with a title. So a
    /// thread counts as lost only if getting it fails, it has no items, and the list of threads,
    /// which must work, doesn't have it.
    pub(super) async fn whereabouts(&mut self, thread_id: &str) -> Whereabouts {
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        match self.json(get).await {
            Ok(_) => Whereabouts::There,
            Err(failure) if failure.is_not_found() => Whereabouts::Lost,
            Err(failure) if failure.is_bare_500() => self.whereabouts_of_untold(thread_id).await,
            Err(_) => Whereabouts::Unknown,
        }
    }

    /// The same of a thread that was asked for already, and got a bare 500.
    pub(super) async fn whereabouts_of_untold(&mut self, thread_id: &str) -> Whereabouts {
        // One that has items is there, however long the list of threads is.
        let items = self.json(envelope::page(Some(thread_id), 1, false, None)).await;
        if items.is_ok_and(|items| page(&items).is_ok_and(|page| !page.is_nothing())) {
            return Whereabouts::There;
        }
        self.listed(thread_id).await
    }

    /// What the list of threads says of one.
    pub(super) async fn listed(&mut self, thread_id: &str) -> Whereabouts {
        let mut after: Option<String> = None;
        for _ in 0..MAX_PROBE_PAGES {
            let request = envelope::page(None, PAGE_ROWS, false, after.as_deref());
            let Ok(reply) = self.json(request).await else { return Whereabouts::Unknown };
            let Ok(page) = page(&reply) else { return Whereabouts::Unknown };
            if page.data.iter().any(|thread| id(thread).as_deref() == Some(thread_id)) {
                return Whereabouts::There;
            }
            match page.next() {
                Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
                _ => return Whereabouts::Lost,
            }
        }
        // More threads than are looked through.
        Whereabouts::Unknown
    }

    /// What a failed exchange about a thread's items becomes: a thread that is gone, what the
    /// upstream itself says isn't there, or the failure that it is.
    pub(super) async fn refusal_about(
        &mut self,
        thread_id: &str,
        needs: Needs,
        failure: Failure,
    ) -> Rejection {
        if !failure.is_not_found() && !failure.is_bare_500() {
            return failure.into();
        }
        match self.whereabouts(thread_id).await {
            Whereabouts::Lost => lost(),
            // A bare 500 may be anything else.
            Whereabouts::There if failure.is_not_found() => {
                needs.unmet().unwrap_or_else(|| failure.into())
            }
            Whereabouts::There | Whereabouts::Unknown => failure.into(),
        }
    }
}

/// What became of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// The upstream has it.
    There,
    /// The upstream works, and hasn't got it.
    Lost,
    /// Nobody can tell.
    Unknown,
}

/// The refusal where the upstream has lost a thread.
pub(super) fn lost() -> Rejection {
    Rejection::new(Code::ThreadNotFound).because("the upstream has lost the thread")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_the_last_says_where_the_next_one_is() {
        for (text, next) in [
            (r#"{"data":[],"has_more":true,"after":"c"}"#, Some(Some("c"))),
            (r#"{"data":[],"has_more":false,"after":"c"}"#, Some(None)),
            (r#"{"data":[],"has_more":false,"after":null}"#, Some(None)),
            (r#"{"data":[]}"#, Some(None)),
            (r#"{"data":[],"has_more":true}"#, None),
            (r#"{"data":[],"has_more":true,"after":null}"#, None),
            (r#"{"data":[],"has_more":true,"after":""}"#, None),
            ("[]", Some(None)),
            (r#" [{"id":1},{}] "#, Some(None)),
            (r#"{"data":null,"has_more":false}"#, Some(None)),
            (r#"{"data":[{}],"has_more":null,"after":null}"#, Some(None)),
            (r#"{"data":[{}],"has_more":true,"after":7}"#, Some(Some("7"))),
            (r#"{"data":[{}],"has_more":1,"after":"c"}"#, Some(Some("c"))),
            (r#"{"data":[{}],"after":"c"}"#, Some(Some("c"))),
            (
                r#"{"data":[1],"data":[{}],"has_more":true,"has_more":false,"after":"c"}"#,
                Some(None),
            ),
            (r#"{"data":[{}],"has_more":"maybe","after":"c"}"#, None),
            (r#"{"data":[{}],"has_more":true,"after":{}}"#, None),
            (r#"{"data":[{},null],"has_more":false}"#, None),
            (r#"{"data":["i"],"has_more":false}"#, None),
            ("[[]]", None),
            (r#"{"data":{},"has_more":false}"#, None),
            (r#"{"has_more":false}"#, None),
            ("{}", None),
            ("null", None),
            ("7", None),
        ] {
            let found = page(text.as_bytes()).ok();
            assert_eq!(found.as_ref().map(Page::next), next, "{text}");
        }
    }

    #[test]
    fn only_an_items_own_time_is_changed() {
        let tokyo = Offset::constant(9);
        for (item, expected) in [
            (
                r#"{"n":1.50, "created_at" : "2026-11-21T12:35:00","x":{"created_at":"2026-11-21T12:35:00"}}"#,
                r#"{"n":1.50, "created_at" : "2026-11-21T03:35:00Z","x":{"created_at":"2026-11-21T12:35:00"}}"#,
            ),
            (
                r#"{"created_at":"2026-11-21T12\u003a35:00+02:00"}"#,
                r#"{"created_at":"2026-11-21T10:35:00Z"}"#,
            ),
            (r#"{"created_at":"yesterday"}"#, r#"{"created_at":"yesterday"}"#),
            (r#"{"created_at":1795232100}"#, r#"{"created_at":"2026-11-21T03:35:00Z"}"#),
            (
                r#"{"created_at":null,"a":[],"a":{},"created_at":1795232100123.5}"#,
                r#"{"created_at":null,"a":[],"a":{},"created_at":"2026-11-21T03:35:00.1235Z"}"#,
            ),
            (r#"{"created_at":[1]}"#, r#"{"created_at":[1]}"#),
            (r#"{"id":"m"}"#, r#"{"id":"m"}"#),
            (r#"["2026-11-21T12:35:00"]"#, r#"["2026-11-21T12:35:00"]"#),
        ] {
            let item = RawValue::from_string(item.to_owned()).unwrap();
            assert_eq!(visible(&item, tokyo).unwrap().get(), expected);
        }
    }
}
