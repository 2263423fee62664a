//! What can be asked about an upstream's threads, and which of their answers mean what.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::tz::Offset;
use serde_json::value::RawValue;
use tower_service::Service;

use super::plain::{Plain, PlainPage, PlainThread};
use super::sender::ReplyPermit;
use super::upstream::{Upstream, UpstreamFailure};
use super::{envelope, time};
use crate::bounds::{MAX_CURSOR_CHARS, is_longer};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::{Code, ProxyError, Rejection};
use crate::session::Needs;
use crate::stream::{Object, list, text};

/// How many rows are asked for at once where all are wanted.
pub(crate) const PAGE_ROWS: i64 = 100;

/// The most pages that are read to tell whether a thread, or an item, exists.
const MAX_PROBE_PAGES: usize = 5;

/// The most pages of items of one thread.
pub(crate) const MAX_ITEM_PAGES: usize = 10_000;

/// One page of anything.
#[derive(Default)]
pub(crate) struct UpstreamPage<'a> {
    /// Objects, all of them.
    pub(crate) data: Vec<&'a RawValue>,
    pub(crate) has_more: bool,
    after: Option<String>,
}

impl<'a> UpstreamPage<'a> {
    fn of_plain(plain: PlainPage<'a>) -> Result<Self, UpstreamFailure> {
        Self::new(plain.data, Some(plain.has_more), plain.after)
    }

    fn new(
        data: Vec<&'a RawValue>,
        has_more: Option<bool>,
        after: Option<String>,
    ) -> Result<Self, UpstreamFailure> {
        let after = after.filter(|after| !after.is_empty());
        // Nobody could send it back, and many pages' cursors are kept.
        if after.as_deref().is_some_and(|after| is_longer(after, MAX_CURSOR_CHARS)) {
            return Err(UpstreamFailure::Protocol("the upstream's cursor is too long"));
        }
        let has_more = has_more.unwrap_or(after.is_some());
        if has_more && after.is_none() {
            return Err(UpstreamFailure::Protocol(
                "the upstream's page has no cursor of the next one",
            ));
        }
        if data.iter().any(|row| !row.get().starts_with('{')) {
            return Err(UpstreamFailure::Protocol(
                "the upstream's page has a row that is no object",
            ));
        }
        Ok(Self { data, has_more, after })
    }

    /// Gives the cursor of the next page, if there is one.
    pub(crate) fn next(&self) -> Option<&str> {
        if self.has_more { self.after.as_deref() } else { None }
    }

    /// Tells whether there is nothing, here or behind: what a thread looks like that isn't there.
    pub(crate) fn is_nothing(&self) -> bool {
        self.data.is_empty() && !self.has_more
    }
}

/// What a server tells of a thread with its oldest items.
pub(crate) struct ThreadWithItems<'a> {
    pub(crate) title: Option<String>,
    pub(crate) status: Option<&'a RawValue>,
    pub(crate) allowed_image_domains: Option<&'a RawValue>,
    /// A thread that is shown without items has none.
    pub(crate) items: UpstreamPage<'a>,
}

impl<'a> ThreadWithItems<'a> {
    /// Makes one of which nothing else is known.
    pub(crate) fn of_items(items: UpstreamPage<'a>) -> Self {
        Self { title: None, status: None, allowed_image_domains: None, items }
    }
}

const NO_PAGE: UpstreamFailure = UpstreamFailure::Protocol("the upstream's page is not one");

/// Reads a page; a list is a page that is the last.
///
/// One that isn't the last and doesn't say where the next one is isn't one, and nor is one with a
/// row that is no object: to leave that out, or to take it for the last, would lose what is there.
pub(crate) fn page(bytes: &[u8]) -> Result<UpstreamPage<'_>, UpstreamFailure> {
    match Plain::read(bytes) {
        Some(plain) => UpstreamPage::of_plain(plain),
        None => odd_page(bytes),
    }
}

/// Reads the same, member by member.
fn odd_page(bytes: &[u8]) -> Result<UpstreamPage<'_>, UpstreamFailure> {
    let Some(page) = object(bytes) else {
        let list = serde_json::from_slice(bytes).map_err(|_| NO_PAGE)?;
        return UpstreamPage::new(list, Some(false), None);
    };
    let data = match page.member("data").ok_or(NO_PAGE)? {
        // What some languages write for a list without anything in it.
        nothing if nothing.get() == "null" => Vec::new(),
        data => list(data).ok_or(NO_PAGE)?,
    };
    let has_more = match page.get("has_more").map(RawValue::get) {
        None => None,
        Some("true" | "1" | "\"true\"") => Some(true),
        Some("false" | "0" | "\"false\"") => Some(false),
        Some(_) => return Err(NO_PAGE),
    };
    UpstreamPage::new(data, has_more, page.text("after"))
}

/// Reads a thread, and the page in it.
pub(crate) fn thread(bytes: &[u8]) -> Result<ThreadWithItems<'_>, UpstreamFailure> {
    let Some(PlainThread { title, status, allowed_image_domains, items }) = Plain::read(bytes)
    else {
        return odd_thread(bytes);
    };
    let items = match items {
        Some(Plain(page)) => UpstreamPage::of_plain(page)?,
        None => UpstreamPage::default(),
    };
    Ok(ThreadWithItems { title, status, allowed_image_domains, items })
}

/// Reads the same, member by member.
fn odd_thread(bytes: &[u8]) -> Result<ThreadWithItems<'_>, UpstreamFailure> {
    let thread =
        object(bytes).ok_or(UpstreamFailure::Protocol("the upstream's thread is not one"))?;
    let items = match thread.get("items") {
        Some(page) => odd_page(page.get().as_bytes())?,
        None => UpstreamPage::default(),
    };
    Ok(ThreadWithItems {
        title: thread.text("title"),
        status: thread.get("status"),
        allowed_image_domains: thread.get("allowed_image_domains"),
        items,
    })
}

/// Gives the id of a thread or an item.
pub(crate) fn id(object: &RawValue) -> Option<String> {
    Object::of(object)?.id()
}

/// Reads an answer that is an object.
pub(crate) fn object(json: &[u8]) -> Option<Object<'_>> {
    Object::read(std::str::from_utf8(json).ok()?)
}

pub(crate) fn is_hidden(item: &RawValue) -> bool {
    Object::of(item).is_some_and(|item| item.is_hidden())
}

/// Gives an item as clients are to see it: with its time in UTC and otherwise as it was written; as
/// it is, if its time can't be read. `None` if it is hidden.
pub(crate) fn visible(item: &RawValue, offset: Offset) -> Option<Box<RawValue>> {
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
    /// Reads all visible items of a thread, oldest first.
    ///
    /// Pages follow the upstream's cursor, however short they are: hidden items are filtered
    /// out after paging, so a page may be empty and not the last. A cursor that comes twice
    /// would go on for ever (stores begin anew on one they don't know) and is a fault. There is
    /// room for them as long as what comes with them is kept.
    pub(crate) async fn all_items(
        &mut self,
        thread_id: &str,
    ) -> Result<(Vec<Box<RawValue>>, ReplyPermit), UpstreamFailure> {
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut kept = self.sender.permit();
        let mut cursors = HashSet::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_ITEM_PAGES {
            let request = envelope::page(Some(thread_id), PAGE_ROWS, true, after.as_deref());
            let reply = self.json(request).await?;
            bytes += reply.len();
            if bytes > self.max_reply_bytes() {
                return Err(UpstreamFailure::Unread(
                    "the upstream's items are too large together",
                    ProxyError::HttpResponseBodySize,
                ));
            }
            let page = page(&reply)?;
            items.extend(
                page.data.iter().filter(|item| !is_hidden(item)).map(|item| (*item).to_owned()),
            );
            after = page.next().map(str::to_owned);
            // It is not kept beside what was read of it.
            drop(reply);
            kept.grow_to(bytes).map_err(UpstreamFailure::Crowded)?;
            let Some(next) = &after else { return Ok((items, kept)) };
            if !cursors.insert(next.clone()) {
                return Err(UpstreamFailure::Protocol("the upstream's cursor goes round"));
            }
        }
        Err(UpstreamFailure::Protocol("the upstream's items don't end"))
    }

    /// Tells whether a thread has such an item. `None` means that nobody can tell: the upstream
    /// fails, or it isn't among so many of the newest. Asked only when something failed.
    pub(crate) async fn has_item(
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

    /// Tells whether a failed exchange about a thread failed because the upstream has lost it.
    pub(crate) async fn failed_for_lack_of(
        &mut self,
        thread_id: &str,
        failure: &UpstreamFailure,
    ) -> bool {
        failure.is_not_found() || (failure.is_bare_500() && self.has_lost(thread_id).await)
    }

    /// Tells whether the upstream has lost a thread. `false` means that it exists or that nobody
    /// can tell.
    pub(crate) async fn has_lost(&mut self, thread_id: &str) -> bool {
        self.whereabouts(thread_id).await == Whereabouts::Lost
    }

    /// Tells the same of a thread that is known to have no items.
    pub(crate) async fn has_lost_empty(&mut self, thread_id: &str) -> bool {
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        match self.json(get).await {
            Ok(_) => false,
            Err(failure) if failure.is_bare_500() => {
                self.listed(thread_id).await == Whereabouts::Lost
            }
            Err(failure) => failure.is_not_found(),
        }
    }

    /// Tells what became of a thread. Asked only when something failed.
    ///
    /// A ChatKit server answers the same bare 500 to "no such thread" and to "my database is
    /// down", and some answer it for ever to `threads.get_by_id` of a thread with a title. So a
    /// thread counts as lost only if getting it fails, it has no items, and the list of threads,
    /// which must work, doesn't have it.
    pub(crate) async fn whereabouts(&mut self, thread_id: &str) -> Whereabouts {
        let get = envelope::thread(RequestType::ThreadsGetById, thread_id);
        match self.json(get).await {
            Ok(_) => Whereabouts::There,
            Err(failure) if failure.is_not_found() => Whereabouts::Lost,
            Err(failure) if failure.is_bare_500() => self.whereabouts_of_untold(thread_id).await,
            Err(_) => Whereabouts::Unknown,
        }
    }

    /// Tells the same of a thread that was asked for already, and got a bare 500.
    pub(crate) async fn whereabouts_of_untold(&mut self, thread_id: &str) -> Whereabouts {
        // One that has items is there, however long the list of threads is.
        let items = self.json(envelope::page(Some(thread_id), 1, false, None)).await;
        if items.is_ok_and(|items| page(&items).is_ok_and(|page| !page.is_nothing())) {
            return Whereabouts::There;
        }
        self.listed(thread_id).await
    }

    /// Tells what the list of threads says of one.
    pub(crate) async fn listed(&mut self, thread_id: &str) -> Whereabouts {
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

    /// Tells what a failed exchange about a thread's items becomes: a thread that is gone, what the
    /// upstream itself says isn't there, or the failure that it is.
    pub(crate) async fn refusal_about(
        &mut self,
        thread_id: &str,
        needs: Needs,
        failure: UpstreamFailure,
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
pub(crate) enum Whereabouts {
    /// The upstream has it.
    There,
    /// The upstream works, and hasn't got it.
    Lost,
    /// Nobody can tell.
    Unknown,
}

/// Gives the refusal where the upstream has lost a thread.
pub(crate) fn lost() -> Rejection {
    Rejection::new(Code::ThreadNotFound).because("the upstream has lost the thread")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn a_cursor_that_nobody_could_send_back_is_none() {
        for (chars, is_one) in [(MAX_CURSOR_CHARS, true), (MAX_CURSOR_CHARS + 1, false)] {
            let after = "é".repeat(chars);
            // As nearly every server writes it, and oddly.
            for has_more in ["true", "1"] {
                let text = format!(r#"{{"data":[],"has_more":{has_more},"after":"{after}"}}"#);
                assert_eq!(page(text.as_bytes()).is_ok(), is_one, "{chars} {has_more}");
            }
        }
    }

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
            assert_eq!(found.as_ref().map(UpstreamPage::next), next, "{text}");
        }
    }

    fn told(page: &UpstreamPage<'_>) -> String {
        let rows: Vec<_> = page.data.iter().map(|row| row.get()).collect();
        format!("{rows:?} {} {:?}", page.has_more, page.after)
    }

    fn page_as(read: fn(&[u8]) -> Result<UpstreamPage<'_>, UpstreamFailure>, json: &str) -> String {
        read(json.as_bytes()).map_or_else(|failure| format!("{failure:?}"), |page| told(&page))
    }

    fn thread_as(
        read: fn(&[u8]) -> Result<ThreadWithItems<'_>, UpstreamFailure>,
        json: &str,
    ) -> String {
        read(json.as_bytes()).map_or_else(
            |failure| format!("{failure:?}"),
            |thread| {
                let ThreadWithItems { title, status, allowed_image_domains, items } = thread;
                format!("{title:?} {status:?} {allowed_image_domains:?} {}", told(&items))
            },
        )
    }

    #[test]
    fn what_nearly_all_servers_write_is_read_in_one_walk() {
        assert!(Plain::<PlainPage<'_>>::read(br#"{"data":[{}],"has_more":false}"#).is_some());
        let thread = br#"{"id":"t","title":null,"status":{"type":"active"},"metadata":{},
            "items":{"data":[{"id":"a"}],"has_more":true,"after":"a"}}"#;
        assert!(Plain::<PlainThread<'_>>::read(thread).is_some());
        // What is derived would take these for objects.
        assert!(Plain::<PlainPage<'_>>::read(br#"[[{}],true,"c"]"#).is_none());
        assert!(Plain::<PlainThread<'_>>::read(br#"{"items":[[{}],true,"c"]}"#).is_none());
    }

    proptest! {
        #[test]
        fn one_walk_reads_what_is_read_member_by_member(
            members in vec(
                prop_oneof![
                    (
                        select(vec![
                            "data", "has_more", "after", "items", "title", "status", "\\u0064ata",
                            "allowed_image_domains", "x", "\\ud83d",
                        ]),
                        select(vec![
                            "null", "true", "false", "1", "7", r#""true""#, r#""c""#, r#""""#,
                            r#""\ud83dx""#, "[]", "[1]", "[{}]", "[[],false]", r#"[[{}],true,"c"]"#,
                            "{}", r#"{"type":"active"}"#, r#"["a.org"]"#, r#"{"data":[]}"#,
                        ]),
                    ),
                    (Just("data"), select(vec!["[]", r#"[{"id":1}, {}]"#])),
                    (Just("has_more"), select(vec!["true", "false"])),
                    (
                        Just("items"),
                        select(vec![
                            r#"{"data":[{"id":1}],"has_more":true,"after":"c"}"#,
                            r#"{"data":[{"id":1}],"has_more":false,"after":null}"#,
                            r#"{"data":[],"has_more":true}"#,
                            r#"{"data":[],"data":[{}],"has_more":false}"#,
                        ]),
                    ),
                ],
                0..7,
            ),
            end in select(vec!["}", "} ", "", "}x"]),
        ) {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let json = format!("{{{}{end}", members.join(", "));
            prop_assert_eq!(page_as(page, &json), page_as(odd_page, &json));
            prop_assert_eq!(thread_as(thread, &json), thread_as(odd_thread, &json));
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
