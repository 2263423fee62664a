//! The upstream's list, in which the caller's threads are looked for.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde_json::value::RawValue;
use tower_service::Service;

use super::candidates::Candidates;
use crate::chatkit::upstream::{Upstream, UpstreamFailure};
use crate::chatkit::{envelope, threads};
use crate::error::BoxError;
use crate::rejection::Rejection;

/// The rows that are asked for at once, whatever is wanted: the caller's may be rare among them, and
/// a server gives as many as it is asked for.
const LIST_ROWS: i64 = 100;

/// The most pages that are read for one page of the caller's own threads, beside those that the
/// threads themselves fill.
const MAX_LIST_PAGES: usize = 10;

/// What was found in the upstream's list.
pub(super) struct Scan {
    /// In the upstream's order.
    pub(super) rows: Vec<(String, Box<RawValue>)>,
    /// How many of those that were wanted were not found.
    missing: usize,
    /// The list was read to its end: what was not found is not there.
    pub(super) ended: bool,
}

impl Scan {
    /// Reads the upstream's list until the first of the candidates are found, as many as are wanted,
    /// or it ends, or it is too long.
    pub(super) async fn for_candidates<S, R>(
        upstream: &mut Upstream<S>,
        candidates: &Candidates,
        ascending: bool,
    ) -> Result<Self, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        // Of each, whether it is one that the page has unless the upstream has lost another.
        let mut wanted: HashMap<&str, bool> = HashMap::with_capacity(candidates.sessions.len());
        for (n, session) in candidates.sessions.iter().enumerate() {
            let id = session.record.thread_id.as_deref();
            wanted.extend(id.map(|id| (id, n < candidates.enough)));
        }
        let missing = wanted.values().filter(|is_first| **is_first).count();
        let mut scan = Self { rows: Vec::new(), missing, ended: false };
        let (mut after, mut bytes) = (None::<String>, 0);
        let (mut kept, mut bytes_of_rows) = (upstream.sender.permit(), 0);
        let mut cursors = HashSet::new();
        let full_pages = wanted.len() / usize::try_from(LIST_ROWS).unwrap_or(usize::MAX);
        for _ in 0..MAX_LIST_PAGES + full_pages {
            if scan.missing == 0 || bytes > upstream.max_reply_bytes() {
                break;
            }
            kept.grow_to(bytes_of_rows)?;
            let request = envelope::page(None, LIST_ROWS, ascending, after.as_deref());
            let answer = upstream.json(request).await?;
            bytes += answer.len();
            let page = threads::page(&answer)?;
            for thread in &page.data {
                let Some(id) = threads::id(thread) else { continue };
                if let Some(is_first) = wanted.remove(id.as_str()) {
                    scan.missing -= usize::from(is_first);
                    bytes_of_rows += thread.get().len();
                    scan.rows.push((id, (*thread).to_owned()));
                }
            }
            let Some(cursor) = page.next().map(str::to_owned) else {
                scan.ended = true;
                break;
            };
            // A store that begins anew on a cursor that it doesn't know would lead there again.
            if !cursors.insert(cursor.clone()) {
                return Err(UpstreamFailure::Protocol("the upstream's cursor goes round").into());
            }
            after = Some(cursor);
        }
        Ok(scan)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended || self.missing == 0
    }
}
