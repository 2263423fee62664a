//! Who owns what, remembered.
//!
//! Only what can't go wrong by being old: a bound session's owner and thread never change. An
//! entry is dropped when its session is deleted; one that outlives its session (deleted by
//! another process) still names the only user who ever had it.

use std::fmt;

use quick_cache::sync::Cache;

use super::record::{SessionId, SessionRecord, ThreadId};
use crate::principal::UserId;

/// How many bound sessions are remembered.
const CAPACITY: usize = 10_000;

/// A bound session.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) thread: ThreadId,
}

/// The bound sessions that were looked up last.
pub(super) struct Owners {
    sessions: Cache<SessionId, Binding>,
    threads: Cache<ThreadId, Binding>,
}

impl Owners {
    pub(super) fn new() -> Self {
        Self { sessions: Cache::new(CAPACITY), threads: Cache::new(CAPACITY) }
    }

    pub(super) fn of_session(&self, id: SessionId) -> Option<Binding> {
        self.sessions.get(&id)
    }

    pub(super) fn of_thread(&self, thread_id: &str) -> Option<Binding> {
        self.threads.get(thread_id)
    }

    /// Remembers a session, if it is bound.
    pub(super) fn learn(&self, record: &SessionRecord) {
        let Some(thread_id) = &record.thread_id else { return };
        let binding = Binding {
            session: record.id,
            user: record.user_id.clone(),
            thread: ThreadId::clone(thread_id),
        };
        self.threads.insert(ThreadId::clone(thread_id), binding.clone());
        self.sessions.insert(record.id, binding);
    }

    /// Forgets a session that is deleted.
    pub(super) fn forget(&self, record: &SessionRecord) {
        self.sessions.remove(&record.id);
        if let Some(thread_id) = &record.thread_id {
            self.threads.remove(&**thread_id);
        }
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
