//! A store that forgets with its process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::blocks::{BlockedUser, BlocksVersion};
use super::client_session::ClientSession;
use super::pages::ThreadPlace;
use super::quarantine::{Found, QuarantinedThread};
use super::record::{ConversationId, Ownership, SessionId, SessionRecord, ThreadId};
use super::store::{BeginRun, RunId, SessionKey, StoreFuture, whole_microseconds};
use crate::principal::UserId;

mod allowances;
mod attachments;
mod clients;
mod directory;
mod runs;
mod sessions;

use allowances::Ledgers;

/// Sessions in memory, for tests and for programs that keep nothing.
///
/// It holds every promise of [`SessionStore`](super::SessionStore) but durability. Its size is that of what was
/// created and not deleted: give [`create`](super::Sessions::create) a limit.
pub struct MemoryStore {
    tables: Mutex<Tables>,
    /// The clock of limits that gateways share begins here.
    made_at: Instant,
}

/// `threads`, `conversations` and `users` are indexes of `sessions`: what they name exists.
#[derive(Default)]
struct Tables {
    sessions: HashMap<SessionId, Stored>,
    threads: HashMap<ThreadId, SessionId>,
    deleted_threads: HashMap<ThreadId, Deleted>,
    /// Those of them that had been adopted; these stay.
    deleted_adopted_threads: HashSet<ThreadId>,
    /// The session of such a thread, if there is one, is marked.
    quarantine: BTreeMap<ThreadId, QuarantinedThread>,
    conversations: HashMap<ConversationId, SessionId>,
    /// The last number that was given to a conversation.
    last_number: u64,
    users: HashMap<UserId, HashSet<SessionId>>,
    attachments: HashMap<Box<str>, Attachment>,
    deleted_adopted_attachments: HashSet<Box<str>>,
    client_sessions: HashMap<String, ClientSession>,
    ledgers: Ledgers,
    signing_key: Option<[u8; 32]>,
    blocked: BTreeMap<UserId, BlockedUser>,
    /// None as long as nobody ever was.
    blocks_version: Option<BlocksVersion>,
}

/// Where a thread stood whose session was deleted.
struct Deleted {
    place: ThreadPlace,
    at: Timestamp,
}

struct Attachment {
    user_id: UserId,
    adopted: bool,
}

struct Stored {
    record: SessionRecord,
    quarantined: bool,
    adopted: bool,
    bound_at: Option<Timestamp>,
    /// Those in flight.
    runs: Vec<RunId>,
    /// Of the first run, until it has bound it or is settled.
    lease: Option<Lease>,
}

/// A first run's right to bind its session. Microseconds since the Unix epoch.
struct Lease {
    run: RunId,
    since: i64,
    until: i64,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self { tables: Mutex::default(), made_at: Instant::now() }
    }

    /// Locks the tables. No code panics while it holds the lock, so a poisoned one is still
    /// consistent.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call` when the future is polled: one that is dropped before has done nothing.
    fn later<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&mut Tables) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { Ok(call(&mut self.tables())) })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Tables {
    /// Gives the id of the session of that name, if there is one.
    fn id(&self, session: SessionKey<'_>) -> Option<SessionId> {
        match session {
            SessionKey::Conversation(id) => self.conversations.get(&id).copied(),
            SessionKey::Id(id) => Some(id),
            SessionKey::Thread(thread_id) => self.threads.get(thread_id).copied(),
        }
    }
}

impl SessionRecord {
    /// Sets when it was changed, unless that was later: a clock may have been set back since.
    fn touch(&mut self, now: Timestamp) {
        self.updated_at = self.updated_at.max(whole_microseconds(now));
    }
}

impl Stored {
    /// Makes what is kept of a session that was just made.
    fn new(record: SessionRecord) -> Self {
        let bound_at = None;
        Self { record, quarantined: false, adopted: false, bound_at, runs: Vec::new(), lease: None }
    }

    /// Gives what it is, if its thread is not in quarantine.
    fn found<T>(&self, open: impl FnOnce(&Self) -> T) -> Found<T> {
        if self.quarantined {
            let SessionRecord { id, user_id, .. } = &self.record;
            return Found::Quarantined { id: *id, user_id: user_id.clone() };
        }
        Found::Open(open(self))
    }

    fn record(&self) -> SessionRecord {
        self.record.clone()
    }

    fn ownership(&self) -> Ownership {
        let SessionRecord { id, user_id, thread_id, .. } = &self.record;
        Ownership { id: *id, user_id: user_id.clone(), thread_id: thread_id.clone() }
    }

    fn place(&self) -> Option<ThreadPlace> {
        Some(ThreadPlace { bound_at: self.bound_at?, id: self.record.id })
    }
}

impl Lease {
    /// Makes the lease of a run that begins.
    fn new(begin: &BeginRun) -> Self {
        Self { run: begin.run, since: begin.now.as_microsecond(), until: begin.lease_until() }
    }
}
