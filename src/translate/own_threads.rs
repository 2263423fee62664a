//! Which of the upstream's threads are the caller's.
//!
//! The upstream's list has everybody's. So many of its pages are read, and those of the caller's
//! threads that aren't in them are told as the store knows them: they may be behind any number of
//! others'.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tower_service::Service;

use super::pages::Place;
use super::service::Reply;
use super::upstream::{Failure, Upstream};
use super::{envelope, reply, threads, time};
use crate::error::BoxError;
use crate::rejection::{Code, Rejection};
use crate::session::{OwnThreads, PlacedSession, SessionId, ThreadId, ThreadPlace};
use crate::validate::Page;

/// What the server takes an absent limit, and 0, for.
const DEFAULT_LIMIT: i64 = 20;

/// The fewest rows that are asked for at once: the caller's may be rare among them.
const MIN_LIST_ROWS: i64 = 100;

/// The most pages that are read for one page of the caller's own threads.
const MAX_LIST_PAGES: usize = 10;

/// How many are read of the store at once.
const STORE_ROWS: usize = 100;

#[derive(Serialize)]
struct OwnPage<'a> {
    data: Vec<&'a RawValue>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Start {
    Upstream {
        place: Place,
        /// How many of the caller's were shown before it; `None` where nobody knows, because the
        /// cursor is the upstream's own.
        shown: Option<usize>,
    },
    /// After this place of the store's; nothing is asked of the upstream any more.
    Store(ThreadPlace),
}

impl Start {
    const STORE: &str = "own.store.";
    const SHOWN: &str = "own.shown.";

    fn parse(cursor: Option<&str>) -> Self {
        cursor.and_then(Self::parse_own).unwrap_or_else(|| {
            let place = Place::parse(cursor);
            // Before the first cursor of the upstream's there is nothing but what is skipped.
            let shown = place.after.is_none().then_some(place.skip);
            Self::Upstream { place, shown }
        })
    }

    fn parse_own(cursor: &str) -> Option<Self> {
        if let Some(rest) = cursor.strip_prefix(Self::SHOWN) {
            let (shown, place) = rest.split_once('.')?;
            let shown = Some(shown.parse().ok()?);
            return Some(Self::Upstream { place: Place::parse(Some(place)), shown });
        }
        let (micros, id) = cursor.strip_prefix(Self::STORE)?.split_once('.')?;
        let bound_at = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
        Some(Self::Store(ThreadPlace { bound_at, id: SessionId::parse(id)? }))
    }

    fn write(self) -> String {
        match self {
            Self::Upstream { place: place @ Place { after: Some(_), .. }, shown: Some(shown) } => {
                format!("{}{shown}.{}", Self::SHOWN, place.write())
            }
            Self::Upstream { place, .. } => place.write(),
            Self::Store(ThreadPlace { bound_at, id }) => {
                format!("{}{}.{id}", Self::STORE, bound_at.as_microsecond())
            }
        }
    }
}

/// A page that is being filled.
struct Filling {
    enough: usize,
    ids: HashSet<String>,
    data: Vec<Box<RawValue>>,
}

/// What the upstream's list came to.
enum Scanned {
    /// The page is full, or there is no more; where the next one begins, if there is one.
    Done(Option<Place>),
    /// So much was read, and some are still missing.
    TooLong,
}

/// One page of the caller's own threads.
pub(super) async fn list<S, R>(
    upstream: &mut Upstream<S>,
    mut own: OwnThreads,
    wanted: &Page,
) -> Reply<R>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let limit = match wanted.limit {
        None | Some(0) => DEFAULT_LIMIT,
        Some(limit) => limit.max(0),
    };
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut page = Filling { enough, ids: HashSet::new(), data: Vec::new() };
    let next = if own.ids().is_empty() || enough == 0 {
        // Without any thread of their own there is nothing to look for.
        None
    } else {
        match Start::parse(wanted.after.as_deref()) {
            Start::Store(place) => {
                own.resume(place);
                page.fill_from_store(&mut own, 0).await?
            }
            Start::Upstream { place, shown } => {
                match page.scan(upstream, own.ids(), place, shown, wanted.ascending, limit).await? {
                    Scanned::Done(next) => next.map(|place| Start::Upstream {
                        place,
                        shown: shown.map(|shown| shown + page.data.len()),
                    }),
                    Scanned::TooLong => {
                        page.fill_from_store(&mut own, shown.unwrap_or_default()).await?
                    }
                }
            }
        }
    };
    let data = page.data.iter().map(|thread| &**thread).collect();
    reply::json(&OwnPage { data, has_more: next.is_some(), after: next.map(Start::write) })
}

impl Filling {
    fn is_full(&self) -> bool {
        self.data.len() == self.enough
    }

    /// Reads the upstream's pages until there are enough of the caller's, or all of them, or no
    /// more; a page in which more were found than are wanted is begun anew for the next one.
    async fn scan<S, R>(
        &mut self,
        upstream: &mut Upstream<S>,
        own: &HashSet<ThreadId>,
        mut place: Place,
        shown: Option<usize>,
        ascending: bool,
        limit: i64,
    ) -> Result<Scanned, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let rows = limit.max(MIN_LIST_ROWS);
        // The client's own cursor among them: a store that begins anew on one it doesn't know would
        // lead there again.
        let mut cursors: HashSet<String> = place.after.iter().cloned().collect();
        let mut bytes = 0;
        for _ in 0..MAX_LIST_PAGES {
            let request = envelope::page(None, rows, ascending, place.after.as_deref());
            let answer = upstream.json(request).await?;
            bytes += answer.len();
            let page = threads::page(&answer)?;
            let mut seen = 0;
            for thread in &page.data {
                let Some(id) = threads::id(thread).filter(|id| own.contains(id.as_str())) else {
                    continue;
                };
                seen += 1;
                if seen <= place.skip {
                    continue;
                }
                if self.is_full() {
                    return Ok(Scanned::Done(Some(Place { skip: seen - 1, ..place })));
                }
                if self.ids.insert(id) {
                    self.data.push((*thread).to_owned());
                }
            }
            if shown.is_some_and(|shown| shown + self.ids.len() >= own.len()) {
                return Ok(Scanned::Done(None));
            }
            let Some(cursor) = page.next().map(str::to_owned) else {
                return Ok(Scanned::Done(None));
            };
            if !cursors.insert(cursor.clone()) {
                return Err(Failure::Protocol("the upstream's cursor goes round").into());
            }
            place = Place { after: Some(cursor), skip: 0 };
            if self.is_full() {
                return Ok(Scanned::Done(Some(place)));
            }
            if bytes > upstream.max_reply_bytes {
                break;
            }
        }
        // Where it isn't known what was shown, more can only be looked for.
        Ok(if shown.is_some() { Scanned::TooLong } else { Scanned::Done(Some(place)) })
    }

    /// Goes on with what the store knows, but for the first so many, which were shown before. Its
    /// order is the upstream's: a thread is bound when it is made.
    async fn fill_from_store(
        &mut self,
        own: &mut OwnThreads,
        mut shown: usize,
    ) -> Result<Option<Start>, Rejection> {
        let mut last = None;
        loop {
            let sessions = own.next(STORE_ROWS).await?;
            for session in sessions.iter().skip(shown) {
                let Some(id) = session.record.thread_id.as_deref() else { continue };
                if self.ids.contains(id) {
                    continue;
                }
                if self.is_full() {
                    return Ok(last.map(Start::Store));
                }
                self.data.push(stored(session)?);
                last = Some(session.place);
            }
            if sessions.len() < STORE_ROWS {
                return Ok(None);
            }
            shown = shown.saturating_sub(sessions.len());
        }
    }
}

/// A thread as the store knows it.
fn stored(session: &PlacedSession) -> Result<Box<RawValue>, Rejection> {
    #[derive(Serialize)]
    struct Thread<'a> {
        id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        created_at: String,
        status: Status,
        metadata: Nothing,
        items: Items,
    }
    #[derive(Serialize)]
    struct Status {
        r#type: &'static str,
    }
    #[derive(Serialize)]
    struct Nothing {}
    #[derive(Serialize)]
    struct Items {
        data: [(); 0],
        has_more: bool,
    }
    let thread = Thread {
        id: session.record.thread_id.as_deref(),
        title: session.record.title.as_deref(),
        created_at: time::whole_microseconds(session.place.bound_at).to_string(),
        status: Status { r#type: "active" },
        metadata: Nothing {},
        items: Items { data: [], has_more: false },
    };
    to_raw_value(&thread).map_err(|error| {
        Rejection::new(Code::Internal).because(format!("a thread could not be written: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_the_stores_is_told_from_the_upstreams() {
        let place = ThreadPlace {
            bound_at: "2026-11-21T03:26:14.142749Z".parse().unwrap(),
            id: SessionId::random(),
        };
        let behind = |after: &str, shown| Start::Upstream { place: Place::after(after), shown };
        let stored = Start::Store(place);
        let cursor = stored.clone().write();
        for from in [
            stored,
            behind("thr_1", None),
            behind("thr_1", Some(3)),
            Start::Upstream { place: Place { after: None, skip: 2 }, shown: Some(2) },
            Start::Upstream { place: Place { after: Some("a.b".into()), skip: 2 }, shown: Some(7) },
            // Those of the upstream's that look like ours come back as the upstream's.
            behind(&cursor, None),
            behind(&cursor, Some(1)),
            behind("own.shown.1.x", None),
        ] {
            assert_eq!(Start::parse(Some(&from.clone().write())), from);
        }
        for text in ["thr_1", "own.store.", "own.store.x.y", "own.store.1.y", "own.shown.x"] {
            assert_eq!(Start::parse(Some(text)), behind(text, None), "{text}");
        }
    }
}
