//! What became of a thread: whether the upstream has it, and what it tells of it.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::thread::ThreadSummary;
use crate::chatkit::sender::{ReplyPermit, Sender};
use crate::chatkit::upstream::{Upstream, UpstreamFailure};
use crate::chatkit::{envelope, threads};
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::session::ThreadId;
use crate::stream::Object;

/// How many rows are asked for at once.
const ROWS: i64 = 100;

/// The most pages of one user's list in which threads are looked for.
const MAX_PAGES: usize = 5;

/// What was found out about a thread.
pub(super) enum ThreadLookup {
    Found(ThreadSummary),
    /// The upstream works, and hasn't got it.
    Lost,
    /// Nobody can tell.
    Unknown {
        failure: UpstreamFailure,
        /// The upstream said that it has no items.
        is_empty: bool,
    },
}

/// One user's list of threads in the upstream, as far as it was read.
pub(super) struct Listing {
    rows: HashMap<ThreadId, ThreadSummary>,
    after: Option<String>,
    /// How many pages may yet be asked for.
    left: usize,
    is_whole: bool,
    /// What the rows took when they were read, and room for that.
    bytes: usize,
    kept: Option<ReplyPermit>,
}

impl Default for Listing {
    fn default() -> Self {
        let (rows, after, left) = (HashMap::new(), None, MAX_PAGES);
        Self { rows, after, left, is_whole: false, bytes: 0, kept: None }
    }
}

impl Listing {
    /// Asks for one page from `after` on, or from the beginning.
    pub(super) async fn ask<S, R>(
        upstream: &mut Upstream<S>,
        ascending: bool,
        after: Option<&str>,
    ) -> Result<Self, UpstreamFailure>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let answer = upstream.json(envelope::page(None, ROWS, ascending, after)).await?;
        let page = threads::page(&answer)?;
        let mut listing = Self::default();
        listing.add(&page, &upstream.sender)?;
        if after.is_none() {
            listing.is_whole = !page.has_more;
            if !ascending {
                listing.go_on(page.next());
            }
        }
        Ok(listing)
    }

    /// Takes what it shows of a thread. That is given once.
    pub(super) fn take(&mut self, thread_id: &str) -> Option<ThreadSummary> {
        self.rows.remove(thread_id)
    }

    /// Tells whether it shows a thread.
    pub(super) fn shows(&self, thread_id: &str) -> bool {
        self.rows.contains_key(thread_id)
    }

    /// Adds a page's rows.
    fn add(
        &mut self,
        page: &threads::UpstreamPage<'_>,
        sender: &Sender,
    ) -> Result<(), UpstreamFailure> {
        for row in page.data.iter().filter_map(|row| ThreadSummary::read(&Object::of(row)?)) {
            self.bytes += row.bytes();
            self.rows.insert(ThreadId::from(row.id()), row);
        }
        let kept = self.kept.get_or_insert_with(|| sender.permit());
        kept.grow_to(self.bytes).map_err(UpstreamFailure::Crowded)
    }

    /// Goes on to the next page, if there is one that isn't the same again.
    fn go_on(&mut self, next: Option<&str>) {
        let goes_round = next.is_some() && self.after.as_deref() == next;
        self.left = if next.is_none() || goes_round { 0 } else { self.left.saturating_sub(1) };
        self.after = next.map(str::to_owned);
    }

    /// Reads on until the thread is there, or as far as is allowed.
    ///
    /// # Errors
    /// If there is no room for what is read.
    async fn find<S, R>(
        &mut self,
        upstream: &mut Upstream<S>,
        thread_id: &str,
    ) -> Result<Option<ThreadSummary>, UpstreamFailure>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        loop {
            if let Some(told) = self.take(thread_id) {
                return Ok(Some(told));
            }
            if self.is_whole || self.left == 0 {
                return Ok(None);
            }
            let request = envelope::page(None, ROWS, false, self.after.as_deref());
            let answer = match upstream.json(request).await {
                Err(failure @ UpstreamFailure::Crowded(_)) => return Err(failure),
                answer => answer,
            };
            let page = answer.as_ref().ok().and_then(|answer| threads::page(answer).ok());
            let Some(page) = page else {
                self.left = 0;
                return Ok(None);
            };
            self.add(&page, &upstream.sender)?;
            self.is_whole = !page.has_more;
            self.go_on(page.next());
        }
    }
}

/// Finds out what the upstream tells of a thread.
///
/// A bare 500 may mean that it has lost it, or that its store is down, or that the thread has a
/// title, which makes some servers fail here for ever. Only a thread that is there has items; and
/// the list of threads, which must work, tells the rest unless it is too long to be read.
pub(super) async fn find<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    listing: &mut Listing,
) -> ThreadLookup
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let failure =
        match upstream.json(envelope::thread(RequestType::ThreadsGetById, thread_id)).await {
            Ok(thread) => {
                let what = "the upstream's thread is not one";
                return threads::object(&thread)
                    .and_then(|told| ThreadSummary::read(&told))
                    .map_or_else(
                        || ThreadLookup::Unknown {
                            failure: UpstreamFailure::Protocol(what),
                            is_empty: false,
                        },
                        ThreadLookup::Found,
                    );
            }
            Err(failure) if failure.is_not_found() => return ThreadLookup::Lost,
            Err(failure) if !failure.is_bare_500() => {
                return ThreadLookup::Unknown { failure, is_empty: false };
            }
            Err(failure) => failure,
        };
    if listing.is_whole {
        return listing.take(thread_id).map_or(ThreadLookup::Lost, ThreadLookup::Found);
    }
    let is_empty = match upstream.json(envelope::page(Some(thread_id), 1, true, None)).await {
        Ok(answer) => {
            threads::page(&answer).ok().map(|page| page.data.is_empty() && !page.has_more)
        }
        // Who doesn't answer at all is asked nothing more.
        Err(failure) if failure.is_the_last() => {
            return ThreadLookup::Unknown { failure, is_empty: false };
        }
        Err(_) => None,
    };
    match listing.find(upstream, thread_id).await {
        Err(failure) => ThreadLookup::Unknown { failure, is_empty: false },
        Ok(Some(told)) => ThreadLookup::Found(told),
        Ok(None) if is_empty == Some(false) => {
            ThreadLookup::Found(ThreadSummary::nothing_of(thread_id))
        }
        Ok(None) if listing.is_whole => ThreadLookup::Lost,
        Ok(None) => ThreadLookup::Unknown { failure, is_empty: is_empty == Some(true) },
    }
}

/// Gives what the upstream tells of a thread; `None` if it has lost it.
///
/// # Errors
/// If nobody can tell.
pub(super) async fn look_up<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
) -> Result<Option<ThreadSummary>, UpstreamFailure>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match find(upstream, thread_id, &mut Listing::default()).await {
        ThreadLookup::Found(told) => Ok(Some(told)),
        ThreadLookup::Lost => Ok(None),
        ThreadLookup::Unknown { failure, .. } => Err(failure),
    }
}
