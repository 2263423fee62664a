//! A run's claim on its session.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::record::{SessionId, ThreadId};
use super::store::{Bound, Lease, SessionStore, Settlement};
use crate::error::Error;
use crate::limit::StreamPermit;

/// A run's place in its session, from admission to its end.
///
/// Dropping it settles the run: its messages are counted, its place is free, and a session
/// whose first run came to nothing can be tried again at once.
pub struct RunClaim {
    store: Arc<dyn SessionStore>,
    session_id: SessionId,
    start: Start,
    settlement: Settlement,
    learns_titles: bool,
    counts: bool,
    showed_something: bool,
    _permit: Option<StreamPermit>,
}

#[derive(Clone, Debug)]
enum Start {
    First(Lease),
    Next(ThreadId),
}

impl RunClaim {
    pub(super) fn first(
        store: Arc<dyn SessionStore>,
        session_id: SessionId,
        lease: Lease,
        permit: Option<StreamPermit>,
    ) -> Self {
        let settlement = Settlement { lease: Some(lease), ..Settlement::default() };
        let start = Start::First(lease);
        Self {
            store,
            session_id,
            start,
            settlement,
            learns_titles: true,
            counts: true,
            showed_something: false,
            _permit: permit,
        }
    }

    pub(super) fn next(
        store: Arc<dyn SessionStore>,
        session_id: SessionId,
        thread_id: ThreadId,
        permit: Option<StreamPermit>,
    ) -> Self {
        let settlement = Settlement::default();
        let start = Start::Next(thread_id);
        Self {
            store,
            session_id,
            start,
            settlement,
            learns_titles: true,
            counts: true,
            showed_something: false,
            _permit: permit,
        }
    }

    /// Keeps the title that the user gave the session, whatever the upstream calls the thread.
    pub(super) fn keeping_title(mut self) -> Self {
        self.learns_titles = false;
        self
    }

    /// Counts none of its messages.
    pub(super) fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Makes the session vanish if the run ends without a thread: it was made for this run.
    pub(super) fn discarding_unbound(mut self) -> Self {
        self.settlement.discard_unbound = true;
        self
    }

    /// The session.
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// The upstream's thread; `None` for a first run, which makes it.
    pub fn thread_id(&self) -> Option<&ThreadId> {
        match &self.start {
            Start::First(_) => None,
            Start::Next(thread_id) => Some(thread_id),
        }
    }

    /// Stores the id of the thread that this first run made. The future owns what it needs;
    /// `None` if the session has a thread already.
    pub fn bind(
        &self,
        thread_id: &str,
    ) -> Option<impl Future<Output = Result<(), BindError>> + Send + 'static> {
        let Start::First(lease) = self.start else { return None };
        let (store, id) = (Arc::clone(&self.store), self.session_id);
        let thread_id = ThreadId::from(thread_id);
        Some(async move {
            match store.bind(id, lease, thread_id, Timestamp::now()).await {
                Ok(Bound::Done) => Ok(()),
                Ok(Bound::LeaseLost) => Err(BindError::LeaseLost),
                Ok(Bound::ThreadTaken) => Err(BindError::ThreadTaken),
                Err(error) => Err(BindError::Store(error)),
            }
        })
    }

    /// The upstream finished an item, whatever it is.
    pub fn saw_item(&mut self) {
        self.showed_something = true;
    }

    /// The upstream finished a user's or an assistant's message.
    pub fn count_message(&mut self) {
        self.saw_item();
        self.settlement.messages += u64::from(self.counts);
    }

    /// The upstream calls the thread so.
    pub fn learn_title(&mut self, title: &str) {
        if self.learns_titles {
            self.settlement.title = Some(Some(title.to_owned()));
        }
    }
}

impl Drop for RunClaim {
    fn drop(&mut self) {
        let mut settlement = std::mem::take(&mut self.settlement);
        if self.showed_something || settlement.title.is_some() {
            settlement.touched_at = Some(Timestamp::now());
        }
        self.store.settle(self.session_id, settlement);
    }
}

impl fmt::Debug for RunClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunClaim")
            .field("session_id", &self.session_id)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// A new thread could not be bound to its session.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The upstream took longer than the lease, and another run has begun.
    LeaseLost,
    /// The store failed.
    Store(Error),
    /// The upstream gave the new thread the id of another session's.
    ThreadTaken,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "the session's lease was lost before its thread was made",
            Self::Store(_) => "the new thread could not be stored",
            Self::ThreadTaken => "the upstream gave a new thread an id that is taken",
        })
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::LeaseLost | Self::ThreadTaken => None,
        }
    }
}
