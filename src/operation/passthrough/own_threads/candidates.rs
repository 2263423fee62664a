//! The caller's threads as the store has them, and the page that is cut from them.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::scan::Scan;
use crate::chatkit::sender::ReplyPermit;
use crate::chatkit::time;
use crate::rejection::{Code, Rejection};
use crate::session::{OwnThreads, PlacedSession, SessionRecord, ThreadPlace};

/// How many more than are wanted are read of the store, in the place of those that the upstream has
/// lost. Where it has lost more in a row, a page is shorter than it might be.
const SPARE_ROWS: usize = 100;

/// The rows of a page of the store's.
const STORE_ROWS: usize = 100;

/// Those of the caller's threads of which a page is made, in the store's order.
pub(super) struct Candidates {
    pub(super) sessions: Vec<PlacedSession>,
    /// There are none behind them.
    pub(super) are_all: bool,
    /// How many are wanted.
    pub(super) enough: usize,
}

/// A page, and the place of the last thread before the next one, if there is one.
pub(super) struct CutPage {
    pub(super) data: Vec<Box<RawValue>>,
    pub(super) next: Option<ThreadPlace>,
}

impl Candidates {
    /// Reads the store's pages until there are enough, and some to spare, or no more, or more than
    /// `max_bytes` of titles and ids: where the page is to end then, however many were wanted.
    pub(super) async fn read(
        own: &mut OwnThreads,
        enough: usize,
        max_bytes: usize,
        kept: &mut ReplyPermit,
    ) -> Result<Self, Rejection> {
        let mut left = enough.saturating_add(SPARE_ROWS);
        let (mut sessions, mut bytes) = (Vec::new(), 0);
        while left > 0 && bytes <= max_bytes {
            let rows = left.min(STORE_ROWS);
            let page = own.next(rows).await?;
            let is_last = page.len() < rows;
            left -= page.len();
            bytes += page.iter().map(size).sum::<usize>();
            kept.grow_to(bytes)?;
            sessions.extend(page);
            if is_last {
                return Ok(Self { sessions, are_all: true, enough });
            }
        }
        Ok(Self { sessions, are_all: false, enough })
    }

    /// Cuts the page, in the store's order, without what the upstream has lost.
    pub(super) fn cut(&self, scan: Scan) -> Result<CutPage, Rejection> {
        let mut found: HashMap<String, Box<RawValue>> = scan.rows.into_iter().collect();
        let (mut data, mut last) = (Vec::new(), None);
        for session in &self.sessions {
            let row = session.record.thread_id.as_deref().and_then(|id| found.remove(id));
            if row.is_none() && scan.ended {
                continue;
            }
            if data.len() == self.enough {
                return Ok(CutPage { data, next: last });
            }
            data.push(match row {
                Some(row) => row,
                None => stored(session)?,
            });
            last = Some(session.place);
        }
        let next = if self.are_all { None } else { self.sessions.last() };
        Ok(CutPage { data, next: next.map(|session| session.place) })
    }
}

/// Gives what a session takes in memory for what is shown of it.
fn size(session: &PlacedSession) -> usize {
    let SessionRecord { title, thread_id, .. } = &session.record;
    title.as_deref().map_or(0, str::len) + thread_id.as_deref().map_or(0, str::len)
}

/// Writes a thread as the store knows it.
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
