//! Pages of a thread's items, made of the upstream's.
//!
//! The upstream's pages count items that aren't shown, so one of ours may take many of its. The
//! first is asked for as many rows as are wanted, which is all that most threads take; what is
//! still missing then is looked for in large pages. One of those is seldom used up, and the next
//! page of ours begins in the middle of it.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::upstream::{Upstream, UpstreamFailure};
use super::{envelope, threads};
use crate::error::BoxError;

const GOES_ROUND: UpstreamFailure = UpstreamFailure::Protocol("the upstream's cursor goes round");

/// How many rows are asked for where it isn't known how many it takes.
const MANY_ROWS: usize = 100;

/// The most pages of the upstream's that are read for one of ours.
const MAX_PAGES: usize = 1000;

/// Where in a list of the upstream's a page begins: after a cursor of the upstream's, and after
/// so many more behind that. Written as a cursor of its own kind where the upstream's alone can't
/// say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListPosition {
    pub(crate) after: Option<String>,
    pub(crate) skip: usize,
}

impl ListPosition {
    const MARK: &str = "own.";

    /// Gives the place after a cursor of the upstream's.
    pub(crate) fn after(cursor: &str) -> Self {
        Self { after: Some(cursor.to_owned()), skip: 0 }
    }

    pub(crate) fn parse(cursor: Option<&str>) -> Self {
        let own = cursor.and_then(|cursor| {
            let (skip, after) = cursor.strip_prefix(Self::MARK)?.split_once('.')?;
            let after = Some(after.to_owned()).filter(|after| !after.is_empty());
            Some(Self { after, skip: skip.parse().ok()? })
        });
        own.unwrap_or_else(|| Self { after: cursor.map(str::to_owned), skip: 0 })
    }

    pub(crate) fn write(self) -> String {
        match self {
            Self { after: Some(after), skip: 0 } if !after.starts_with(Self::MARK) => after,
            Self { after, skip } => {
                format!("{}{skip}.{}", Self::MARK, after.unwrap_or_default())
            }
        }
    }
}

/// The most pages of the upstream's in which the row is looked for behind which ours begins.
const MAX_SEARCHED_PAGES: usize = 100;

/// What is to be read.
#[derive(Debug)]
pub(crate) struct ListRange<'a> {
    pub(crate) thread_id: &'a str,
    pub(crate) ascending: bool,
    pub(crate) limit: usize,
    pub(crate) from: ListPosition,
    /// Ours begins behind the first row of this id, which is looked for from there on: the upstream
    /// is never asked by an id that may be of another thread.
    pub(crate) behind: Option<&'a str>,
    /// Whether to make sure that the upstream knows the cursor, which costs a request.
    pub(crate) check_cursor: bool,
    /// How many pages are read to fill ours up.
    pub(crate) filling: usize,
    /// Whether ours may be empty and not the last.
    pub(crate) may_be_empty: bool,
}

/// What becomes of a row.
#[derive(Debug)]
pub(crate) enum RowFate<T> {
    /// It is one of ours.
    Shown(T),
    /// It isn't.
    Hidden,
    /// The page ends before it, and so do all.
    End,
    /// It can't be told, and nor can the page without it.
    Broken(UpstreamFailure),
}

/// A page of ours.
#[derive(Debug)]
pub(crate) struct CollectedPage<T> {
    pub(crate) items: Vec<T>,
    /// Where the next one begins, if there is one.
    pub(crate) next: Option<ListPosition>,
    /// A [`RowFate::End`] was met.
    pub(crate) met_end: bool,
    /// The upstream had nothing at all there.
    pub(crate) was_empty: bool,
}

#[derive(Debug)]
pub(crate) enum Stopped {
    Failed(UpstreamFailure),
    UnknownCursor,
}

impl From<UpstreamFailure> for Stopped {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Reads the upstream's pages until there are enough items, or no more.
pub(crate) async fn collect<S, R, T>(
    upstream: &mut Upstream<S>,
    range: ListRange<'_>,
    mut row: impl FnMut(&RawValue) -> RowFate<T>,
) -> Result<CollectedPage<T>, Stopped>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let ask = |rows: usize, after: Option<&str>| {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        envelope::page(Some(range.thread_id), rows, range.ascending, after)
    };
    let mut place = range.from;
    let mut collected =
        CollectedPage { items: Vec::new(), next: None, met_end: false, was_empty: false };
    if range.limit == 0 {
        return Ok(collected);
    }
    // The client's own cursor among them: a store that begins anew on one it doesn't know would
    // lead there again.
    let mut cursors: HashSet<String> = place.after.iter().cloned().collect();
    let mut ids_are_cursors = false;
    let (mut bytes, mut was_empty) = (0, true);
    let (mut behind, mut searched) = (range.behind, 0);
    let mut kept = upstream.sender.permit();
    for number in 1..=MAX_PAGES {
        // For what was read of the pages before, which are gone themselves.
        kept.grow_to(bytes).map_err(UpstreamFailure::Crowded)?;
        let is_first = number == 1 && place.skip == 0 && behind.is_none();
        let rows = if is_first { range.limit } else { MANY_ROWS };
        let answer = upstream.json(ask(rows, place.after.as_deref())).await?;
        let page = threads::page(&answer)?;
        let mut used = place.skip.min(page.data.len());
        if let Some(id) = behind {
            match page.data.iter().position(|row| threads::id(row).as_deref() == Some(id)) {
                Some(index) => {
                    behind = None;
                    used = index + 1;
                }
                None => match page.next() {
                    Some(next) if number < MAX_SEARCHED_PAGES => {
                        if !cursors.insert(next.to_owned()) {
                            return Err(GOES_ROUND.into());
                        }
                        place = ListPosition::after(next);
                        searched = number;
                        continue;
                    }
                    Some(_) | None => return Err(Stopped::UnknownCursor),
                },
            }
        }
        bytes += answer.len();
        if bytes > upstream.max_reply_bytes() {
            let what = "the upstream's items are too large together";
            return Err(UpstreamFailure::Protocol(what).into());
        }
        was_empty = was_empty && page.data.is_empty() && !page.has_more;
        if number == 1
            && let (true, Some(_), Some(first)) =
                (range.check_cursor, &place.after, page.data.first())
        {
            // Many stores begin anew on a cursor that they don't know. Whoever follows such a
            // page, and the one after it, could go on for ever.
            let top = upstream.json(ask(1, None)).await?;
            let top = threads::page(&top)?;
            if top.data.first().is_some_and(|item| item.get() == first.get()) {
                return Err(Stopped::UnknownCursor);
            }
        }
        let next = page.next();
        if let (Some(next), Some(last)) = (next, page.data.last()) {
            ids_are_cursors = threads::id(last).as_deref() == Some(next);
        }
        for (index, item) in page.data.iter().enumerate().skip(used) {
            match row(item) {
                RowFate::Hidden => {}
                RowFate::Broken(failure) => return Err(failure.into()),
                RowFate::End => {
                    collected.met_end = true;
                    return Ok(collected);
                }
                RowFate::Shown(shown) if collected.items.len() < range.limit => {
                    collected.items.push(shown);
                    used = index + 1;
                }
                RowFate::Shown(_) => {
                    let cursor = ids_are_cursors.then(|| cursor_behind(&page, used)).flatten();
                    collected.next =
                        Some(cursor.unwrap_or(ListPosition { after: place.after, skip: used }));
                    return Ok(collected);
                }
            }
        }
        let Some(next) = next else {
            collected.was_empty = was_empty;
            return Ok(collected);
        };
        if !cursors.insert(next.to_owned()) {
            return Err(GOES_ROUND.into());
        }
        place = ListPosition::after(next);
        let filled = number - searched >= range.filling
            && (range.may_be_empty || !collected.items.is_empty());
        if filled || collected.items.len() >= range.limit {
            collected.next = Some(place);
            return Ok(collected);
        }
    }
    Err(UpstreamFailure::Protocol("the upstream's items don't end").into())
}

/// Gives the place behind so many rows of a page whose ids are cursors, unless the id in question
/// is another row's too.
fn cursor_behind(page: &threads::UpstreamPage<'_>, used: usize) -> Option<ListPosition> {
    let id = threads::id(page.data.get(used.checked_sub(1)?)?)?;
    let namesakes =
        page.data.iter().filter(|item| threads::id(item).as_deref() == Some(&*id)).count();
    (namesakes == 1).then(|| ListPosition::after(&id))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::HeaderValue;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// How a store writes its cursors.
    #[derive(Clone, Copy, Debug)]
    enum Style {
        /// The id of the last row.
        Id,
        /// The number of the next row.
        Opaque,
        /// The same, as our own are written.
        LikeOurs,
    }

    /// A thread whose items are hidden where they are marked so, and which counts the requests.
    #[derive(Clone)]
    struct TestThread {
        items: Arc<[(String, bool)]>,
        style: Style,
        asked: Arc<Mutex<Vec<usize>>>,
    }

    impl TestThread {
        fn new(items: impl Iterator<Item = (String, bool)>, style: Style) -> Self {
            Self { items: items.collect(), style, asked: Arc::default() }
        }

        fn answer(&self, request: &Value) -> Value {
            let params = &request["params"];
            let limit = usize::try_from(params["limit"].as_u64().unwrap()).unwrap();
            self.asked.lock().unwrap().push(limit);
            let mut items = self.items.to_vec();
            if params["order"] == "desc" {
                items.reverse();
            }
            let from = params["after"].as_str().map_or(0, |after| match self.style {
                Style::Id => items.iter().position(|(id, _)| id == after).map_or(0, |at| at + 1),
                Style::Opaque => after.parse().unwrap(),
                Style::LikeOurs => after.strip_prefix("own.0.").unwrap().parse().unwrap(),
            });
            let to = (from + limit).min(items.len());
            let data: Vec<Value> = items[from..to]
                .iter()
                .map(|(id, hidden)| {
                    json!({"id": id, "type": if *hidden { "sdk_hidden_context" } else { "widget" }})
                })
                .collect();
            let mut page = json!({"data": data, "has_more": to < items.len()});
            if to < items.len() {
                page["after"] = match self.style {
                    Style::Id => items[to - 1].0.clone().into(),
                    Style::Opaque => to.to_string().into(),
                    Style::LikeOurs => format!("own.0.{to}").into(),
                };
            }
            page
        }

        /// Gives one page: the ids and the next cursor.
        fn page(
            &self,
            ascending: bool,
            limit: usize,
            cursor: Option<&str>,
        ) -> (Vec<String>, Option<String>) {
            let page =
                self.collect(Self::range(ascending, limit, ListPosition::parse(cursor))).unwrap();
            (page.items, page.next.map(ListPosition::write))
        }

        fn range(ascending: bool, limit: usize, from: ListPosition) -> ListRange<'static> {
            ListRange {
                thread_id: "thr_1",
                ascending,
                limit,
                from,
                behind: None,
                check_cursor: false,
                filling: 100,
                may_be_empty: true,
            }
        }

        fn collect(&self, range: ListRange<'_>) -> Result<CollectedPage<String>, Stopped> {
            let thread = self.clone();
            let service = service_fn(move |request: Request<Full<Bytes>>| {
                let thread = thread.clone();
                async move {
                    let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap();
                    let answer = thread.answer(&serde_json::from_slice(&body.to_bytes()).unwrap());
                    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                    let json = HeaderValue::from_static("application/json");
                    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                    Ok::<_, Infallible>(response)
                }
            });
            let mut upstream = Upstream::of(service);
            let row = |item: &RawValue| {
                if threads::is_hidden(item) {
                    return RowFate::Hidden;
                }
                RowFate::Shown(threads::id(item).unwrap())
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(collect(&mut upstream, range, row))
        }

        /// Gives the ids behind one, as far as they are on one page.
        fn behind(&self, ascending: bool, limit: usize, id: &str) -> Option<Vec<String>> {
            let range = ListRange {
                behind: Some(id),
                ..Self::range(ascending, limit, ListPosition::default())
            };
            match self.collect(range) {
                Ok(page) => Some(page.items),
                Err(Stopped::UnknownCursor) => None,
                Err(Stopped::Failed(failure)) => panic!("{failure:?}"),
            }
        }

        fn asked(&self) -> Vec<usize> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }

        /// Gives all pages: the ids, and how many requests each took.
        fn walk(&self, ascending: bool, limit: usize) -> (Vec<String>, Vec<usize>) {
            let (mut all, mut requests, mut cursor) = (Vec::new(), Vec::new(), None);
            loop {
                let (ids, next) = self.page(ascending, limit, cursor.as_deref());
                requests.push(self.asked().len());
                assert!(ids.len() <= limit);
                all.extend(ids);
                if next.is_none() {
                    return (all, requests);
                }
                assert_ne!(next, cursor);
                cursor = next;
            }
        }
    }

    const STYLES: [Style; 3] = [Style::Id, Style::Opaque, Style::LikeOurs];

    /// Makes items of a pattern: `V` is shown and `h` hidden.
    fn pattern(pattern: &str) -> impl Iterator<Item = (String, bool)> {
        pattern.chars().enumerate().map(|(n, kind)| (format!("i{n}"), kind == 'h'))
    }

    #[test]
    fn hidden_items_are_read_in_large_pages() {
        let hidden = "h".repeat(300);
        for style in STYLES {
            for items in [format!("VVV{hidden}"), format!("{hidden}VVV"), format!("V{hidden}VV")] {
                for ascending in [true, false] {
                    let thread = TestThread::new(pattern(&items), style);
                    let (ids, next) = thread.page(ascending, 20, None);
                    assert_eq!((ids.len(), next), (3, None));
                    assert_eq!(thread.asked(), [20, 100, 100, 100], "{style:?}");
                    let (all, requests) = thread.walk(ascending, 1);
                    assert_eq!(all.len(), 3);
                    assert!(requests.iter().all(|&n| n <= 4), "{requests:?}");
                    assert!(requests.iter().sum::<usize>() <= 8, "{requests:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice() {
        for style in STYLES {
            for items in ["VVVVVVVVV", "VhVhhVVhV", "hhVVVhVVVVh", "hhh", "", "hV", "Vh"] {
                // With pages of a hundred rows that are not the last, too.
                for items in [items.to_owned(), items.repeat(30)] {
                    for (ascending, limit) in
                        (1..=7).flat_map(|limit| [(true, limit), (false, limit)])
                    {
                        let thread = TestThread::new(pattern(&items), style);
                        let shown = pattern(&items).filter(|(_, hidden)| !hidden);
                        let mut expected: Vec<String> = shown.map(|(id, _)| id).collect();
                        if !ascending {
                            expected.reverse();
                        }
                        let (all, requests) = thread.walk(ascending, limit);
                        assert_eq!(all, expected, "{style:?} {items} {limit}");
                        assert!(requests.iter().all(|&n| n <= 2), "{requests:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_thread_without_hidden_items_takes_no_more_than_is_wanted() {
        let thread = TestThread::new(pattern("VVVVV"), Style::Opaque);
        assert_eq!(thread.page(true, 2, None).1.as_deref(), Some("2"));
        assert_eq!(thread.page(true, 2, Some("2")).1.as_deref(), Some("4"));
        assert_eq!(thread.page(true, 2, Some("4")).1, None);
        assert_eq!(thread.asked(), [2, 2, 2]);
    }

    #[test]
    fn a_row_is_looked_for_in_the_threads_own_pages() {
        for style in STYLES {
            let thread = TestThread::new(pattern(&"Vh".repeat(150)), style);
            for (id, next, pages) in
                [("i0", &["i2", "i4"][..], 1), ("i98", &["i100", "i102"], 2), ("i298", &[], 3)]
            {
                assert_eq!(thread.behind(true, 2, id).unwrap(), next, "{style:?} {id}");
                assert_eq!(thread.asked(), vec![100; pages], "{style:?} {id}");
            }
            assert_eq!(thread.behind(false, 2, "i298").unwrap(), ["i296", "i294"]);
            assert_eq!(thread.asked(), [100]);
            for id in ["i300", "other", "own.1.i1", ""] {
                assert_eq!(thread.behind(true, 2, id), None, "{style:?} {id}");
                assert_eq!(thread.asked(), [100; 3], "{style:?} {id}");
            }
        }
        // So far and no further.
        let long = TestThread::new(pattern(&"V".repeat(10_002)), Style::Opaque);
        assert_eq!(long.behind(true, 1, "i9999").unwrap(), ["i10000"]);
        assert_eq!(long.asked().len(), 101);
        assert_eq!(long.behind(true, 1, "i10000"), None);
        assert_eq!(long.asked().len(), MAX_SEARCHED_PAGES);
    }

    #[test]
    fn the_next_cursor_is_an_id_only_where_that_says_where() {
        let ids = |ids: &[&str], style| {
            let items = ids.iter().map(|id| ((*id).to_owned(), id.starts_with('h')));
            TestThread::new(items.collect::<Vec<_>>().into_iter(), style)
        };
        let plain = ["h1", "a", "b", "c"];
        assert_eq!(ids(&plain, Style::Id).page(true, 1, None).1.as_deref(), Some("a"));
        assert_eq!(ids(&plain, Style::Opaque).page(true, 1, None).1.as_deref(), Some("own.1.1"));
        // Some servers give every answer the same id.
        let fake = ["h1", "x", "b", "x"];
        assert_eq!(ids(&fake, Style::Id).page(true, 1, None).1.as_deref(), Some("own.1.h1"));
        let (all, _) = ids(&fake, Style::Opaque).walk(true, 1);
        assert_eq!(all, ["x", "b", "x"]);
    }

    #[test]
    fn a_place_survives_being_written_as_a_cursor() {
        for (after, skip) in [
            (None, 3),
            (Some("thr_1"), 0),
            (Some("own.1.x"), 2),
            (Some("own.1.x"), 0),
            (Some("own.x"), 0),
            (Some("a.b"), 7),
        ] {
            let place = ListPosition { after: after.map(str::to_owned), skip };
            assert_eq!(ListPosition::parse(Some(&place.clone().write())), place);
        }
        assert_eq!(ListPosition::parse(None), ListPosition::default());
        let foreign = ListPosition::after("own.x.y");
        assert_eq!(ListPosition::parse(Some("own.x.y")), foreign);
    }
}
