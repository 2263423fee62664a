//! What became of a thread that an exchange failed on.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::threads::Told;
use crate::error::BoxError;
use crate::protocol::RequestType;
use crate::rejection::Rejection;
use crate::session::{OwnedSession, ThreadId};
use crate::stream::Object;
use crate::translate::sender::{Kept, Sender};
use crate::translate::upstream::{Failure, Upstream};
use crate::translate::{envelope, threads};

/// How many rows are asked for at once.
const ROWS: i64 = 100;

/// The most pages of one user's list in which threads are looked for.
const MAX_PAGES: usize = 5;

/// What was found out about a thread.
pub(crate) enum Found {
    Told(Told),
    /// The upstream works, and hasn't got it.
    Lost,
    /// Nobody can tell.
    Unknown {
        failure: Failure,
        /// The upstream said that it has no items.
        is_empty: bool,
    },
}

/// One user's list of threads in the upstream, as far as it was read.
pub(crate) struct Listing {
    rows: HashMap<ThreadId, Told>,
    after: Option<String>,
    /// How many pages may yet be asked for.
    left: usize,
    is_whole: bool,
    /// What the rows took when they were read, and room for that.
    bytes: usize,
    kept: Option<Kept>,
}

impl Default for Listing {
    fn default() -> Self {
        let (rows, after, left) = (HashMap::new(), None, MAX_PAGES);
        Self { rows, after, left, is_whole: false, bytes: 0, kept: None }
    }
}

impl Listing {
    /// One page from `after` on, or from the beginning.
    pub(crate) async fn ask<S, R>(
        upstream: &mut Upstream<S>,
        ascending: bool,
        after: Option<&str>,
    ) -> Result<Self, Failure>
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

    /// What it shows of a thread. That is given once.
    pub(crate) fn take(&mut self, thread_id: &str) -> Option<Told> {
        self.rows.remove(thread_id)
    }

    pub(crate) fn shows(&self, thread_id: &str) -> bool {
        self.rows.contains_key(thread_id)
    }

    fn add(&mut self, page: &threads::Page<'_>, sender: &Sender) -> Result<(), Failure> {
        for row in page.data.iter().filter_map(|row| Told::read(&Object::of(row)?)) {
            self.bytes += row.bytes();
            self.rows.insert(ThreadId::from(row.id()), row);
        }
        let kept = self.kept.get_or_insert_with(|| sender.permit());
        kept.grow_to(self.bytes).map_err(Failure::Crowded)
    }

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
    ) -> Result<Option<Told>, Failure>
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
                Err(failure @ Failure::Crowded(_)) => return Err(failure),
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

/// What the upstream tells of a thread.
///
/// A bare 500 may mean that it has lost it, or that its store is down, or that the thread has a
/// title, which makes some servers fail here for ever. Only a thread that is there has items; and
/// the list of threads, which must work, tells the rest unless it is too long to be read.
pub(crate) async fn find<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
    listing: &mut Listing,
) -> Found
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let failure =
        match upstream.json(envelope::thread(RequestType::ThreadsGetById, thread_id)).await {
            Ok(thread) => {
                let what = "the upstream's thread is not one";
                return threads::object(&thread).and_then(|told| Told::read(&told)).map_or_else(
                    || Found::Unknown { failure: Failure::Protocol(what), is_empty: false },
                    Found::Told,
                );
            }
            Err(failure) if failure.is_not_found() => return Found::Lost,
            Err(failure) if !failure.is_bare_500() => {
                return Found::Unknown { failure, is_empty: false };
            }
            Err(failure) => failure,
        };
    if listing.is_whole {
        return listing.take(thread_id).map_or(Found::Lost, Found::Told);
    }
    let is_empty = match upstream.json(envelope::page(Some(thread_id), 1, true, None)).await {
        Ok(answer) => {
            threads::page(&answer).ok().map(|page| page.data.is_empty() && !page.has_more)
        }
        // Who doesn't answer at all is asked nothing more.
        Err(failure) if failure.is_the_last() => {
            return Found::Unknown { failure, is_empty: false };
        }
        Err(_) => None,
    };
    match listing.find(upstream, thread_id).await {
        Err(failure) => Found::Unknown { failure, is_empty: false },
        Ok(Some(told)) => Found::Told(told),
        Ok(None) if is_empty == Some(false) => Found::Told(Told::nothing_of(thread_id)),
        Ok(None) if listing.is_whole => Found::Lost,
        Ok(None) => Found::Unknown { failure, is_empty: is_empty == Some(true) },
    }
}

/// What the upstream tells of a thread; `None` if it has lost it.
///
/// # Errors
/// If nobody can tell.
pub(crate) async fn look_up<S, R>(
    upstream: &mut Upstream<S>,
    thread_id: &str,
) -> Result<Option<Told>, Failure>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    match find(upstream, thread_id, &mut Listing::default()).await {
        Found::Told(told) => Ok(Some(told)),
        Found::Lost => Ok(None),
        Found::Unknown { failure, .. } => Err(failure),
    }
}

/// Deletes a session's thread, and then the session.
///
/// A thread that the upstream can neither delete nor get, that has no items and that no list
/// shows is as good as lost: nothing of it is left that anybody could see, and nobody could ever
/// be rid of it.
pub(crate) async fn remove<S, R>(
    upstream: &mut Upstream<S>,
    session: &OwnedSession,
    thread_id: &str,
) -> Result<(), Rejection>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let request = envelope::thread(RequestType::ThreadsDelete, thread_id);
    if let Err(failure) = upstream.json(request).await {
        let is_gone = failure.is_not_found()
            || failure.is_bare_500()
                && matches!(
                    find(upstream, thread_id, &mut Listing::default()).await,
                    Found::Lost | Found::Unknown { is_empty: true, .. }
                );
        if !is_gone {
            return Err(failure.into());
        }
    }
    session.delete().await
}
