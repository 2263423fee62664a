//! A store that forgets with its process.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Bound as Edge;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::adoption::{self, Adopted, AdoptedThread, Adoption, AdoptionConflict, KnownBy};
use super::client_session::{ClientSession, ClientSessionStatus};
use super::pages::{
    PlacedSession, SessionPlace, SessionSummary, SessionsPage, ThreadPlace, ThreadsPage,
};
use super::quarantine::{Found, MAX_OTHERS, Newcomer, QuarantinedThread, Released, Reuse};
use super::record::{
    ConversationId, LAST_NUMBER, MessageCount, NO_NUMBER, Ownership, SessionId, SessionRecord,
    ThreadId,
};
use super::store::{
    BeginRun, Bound, ClientSessionCreated, Created, Deletion, KEEP_EXPIRED, KEEP_PLACE, Lease,
    NewConversation, NewSession, Owned, RunStart, SessionStore, Settlement, StoreFuture,
    whole_microseconds,
};
use crate::error::Error;
use crate::principal::UserId;

/// Sessions in memory, for tests and for programs that keep nothing.
///
/// It holds every promise of [`SessionStore`] but durability. Its size is that of what was
/// created and not deleted: give [`create`](SessionStore::create) a limit.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
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
    signing_key: Option<[u8; 32]>,
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
    in_flight: u64,
    /// The number of the last lease; the session's while `lease_until` is some.
    lease: u64,
    /// Microseconds since the Unix epoch.
    lease_until: Option<i64>,
    leased_at: Option<i64>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
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

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl SessionStore for MemoryStore {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        Box::pin(async move { self.tables().create(session, max_sessions) })
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.later(move |tables| entries.into_iter().map(|entry| tables.adopt(entry)).collect())
    }

    fn get(&self, id: SessionId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        self.later(move |tables| Some(tables.sessions.get(&id)?.found(Stored::record)))
    }

    fn by_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        let thread_id = ThreadId::from(thread_id);
        self.later(move |tables| {
            let id = tables.threads.get(&thread_id)?;
            Some(tables.sessions.get(id)?.found(Stored::record))
        })
    }

    fn ownership(&self, id: SessionId) -> StoreFuture<'_, Option<Found<Ownership>>> {
        self.later(move |tables| Some(tables.sessions.get(&id)?.found(Stored::ownership)))
    }

    fn ownership_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<Ownership>>> {
        let thread_id = ThreadId::from(thread_id);
        self.later(move |tables| {
            let id = tables.threads.get(&thread_id)?;
            Some(tables.sessions.get(id)?.found(Stored::ownership))
        })
    }

    fn by_conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        self.later(move |tables| {
            let id = tables.conversations.get(&id)?;
            Some(tables.sessions.get(id)?.found(Stored::record))
        })
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        self.later(move |tables| tables.list(&page))
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.later(move |tables| {
            let session = tables.sessions.get_mut(&id).filter(|session| !session.quarantined)?;
            let record = &mut session.record;
            record.title = title;
            record.touch(now);
            Some(record.clone())
        })
    }

    fn begin_run<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: Option<&'a str>,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        self.later(move |tables| match tables.sessions.get_mut(&id) {
            Some(session) => session.begin_run(user_id, thread_id, &begin),
            None => RunStart::Unknown,
        })
    }

    fn bind(
        &self,
        id: SessionId,
        user_id: &UserId,
        lease: Lease,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Bound> {
        let user_id = user_id.clone();
        self.later(move |tables| tables.bind(id, user_id, lease, thread_id, now))
    }

    fn thread_named(
        &self,
        id: SessionId,
        user_id: &UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Reuse>> {
        let user_id = user_id.clone();
        self.later(move |tables| {
            let reuse = tables.reuse(id, user_id, &thread_id, now)?;
            reuse.quarantined.is_some().then_some(reuse)
        })
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        self.later(move |tables| {
            let from = after.as_deref().map_or(Edge::Unbounded, Edge::Excluded);
            let threads = tables.quarantine.range::<str, _>((from, Edge::Unbounded));
            threads.take(limit).map(|(_, thread)| thread.clone()).collect()
        })
    }

    fn release(&self, thread_id: &str) -> StoreFuture<'_, Released> {
        let thread_id = ThreadId::from(thread_id);
        self.later(move |tables| {
            if tables.quarantine.remove(&thread_id).is_none() {
                return Released::Unknown;
            }
            match tables.threads.get(&thread_id).and_then(|id| tables.sessions.get_mut(id)) {
                Some(session) => {
                    session.quarantined = false;
                    Released::ToOwner
                }
                None => Released::Id,
            }
        })
    }

    fn delete_quarantined(&self, thread_id: &str, now: Timestamp) -> StoreFuture<'_, bool> {
        let thread_id = ThreadId::from(thread_id);
        self.later(move |tables| {
            let Some(id) = tables.threads.get(&thread_id).copied() else { return false };
            let Some(thread) = tables.quarantine.get_mut(&thread_id) else { return false };
            thread.is_deleted = true;
            tables.remove(id, now)
        })
    }

    fn settle(&self, id: SessionId, settlement: Settlement) {
        let mut tables = self.tables();
        let discard = settlement.discard_unbound;
        let Some(session) = tables.sessions.get_mut(&id) else { return };
        session.settle(settlement);
        if discard && session.record.thread_id.is_none() {
            // Unbound, so there is no place to be kept.
            tables.remove(id, Timestamp::MIN);
        }
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        self.later(move |tables| {
            if let Some(session) = tables.sessions.get_mut(&id)
                && session.in_flight == 0
                && session.record.message_count == seen
            {
                session.record.message_count = MessageCount::Known(messages);
            }
        })
    }

    fn delete(&self, id: SessionId, now: Timestamp) -> StoreFuture<'_, Deletion> {
        self.later(move |tables| tables.delete(id, now))
    }

    fn own_attachment(&self, user_id: &UserId, attachment_id: &str) -> StoreFuture<'_, Owned> {
        let (user_id, attachment_id) = (user_id.clone(), Box::from(attachment_id));
        self.later(move |tables| {
            let owner = user_id.clone();
            let attachment = tables
                .attachments
                .entry(attachment_id)
                .or_insert(Attachment { user_id: owner, adopted: false });
            if attachment.user_id == user_id { Owned::Done } else { Owned::Taken }
        })
    }

    fn attachment_owner(&self, attachment_id: &str) -> StoreFuture<'_, Option<UserId>> {
        let attachment_id: Box<str> = attachment_id.into();
        self.later(move |tables| Some(tables.attachments.get(&attachment_id)?.user_id.clone()))
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        self.later(move |tables| {
            let owner = |id: &String| Some(tables.attachments.get(&**id)?.user_id.clone());
            attachment_ids.iter().map(owner).collect()
        })
    }

    fn disown_attachment(&self, attachment_id: &str) -> StoreFuture<'_, bool> {
        let attachment_id: Box<str> = attachment_id.into();
        self.later(move |tables| {
            let removed = tables.attachments.remove(&attachment_id);
            if removed.as_ref().is_some_and(|attachment| attachment.adopted) {
                tables.deleted_adopted_attachments.insert(attachment_id);
            }
            removed.is_some()
        })
    }

    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        self.later(move |tables| tables.page(&page))
    }

    fn place_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<ThreadPlace>> {
        let thread_id = ThreadId::from(thread_id);
        self.later(move |tables| match tables.threads.get(&thread_id) {
            Some(id) => tables.sessions.get(id)?.place(),
            None => tables.deleted_threads.get(&thread_id).map(|deleted| deleted.place),
        })
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.later(move |tables| *tables.signing_key.get_or_insert(fresh))
    }

    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        Box::pin(async move {
            let mut tables = self.tables();
            if tables.client_sessions.contains_key(&session.id) {
                return Err(Error::store("could not create a client session", "its id is in use"));
            }
            if let Ok(gone) = session.created_at.checked_sub(KEEP_EXPIRED) {
                tables.client_sessions.retain(|_, other| other.expires_at >= gone);
            }
            let now = session.created_at;
            let active = tables.client_sessions.values().filter(|other| {
                other.user_id == session.user_id && other.status(now) == ClientSessionStatus::Active
            });
            if active.count() as u64 >= u64::from(max_active.get()) {
                return Ok(ClientSessionCreated::LimitReached);
            }
            let session = ClientSession {
                created_at: whole_microseconds(session.created_at),
                expires_at: whole_microseconds(session.expires_at),
                ..session
            };
            tables.client_sessions.insert(session.id.clone(), session);
            Ok(ClientSessionCreated::Done)
        })
    }

    fn client_session(&self, id: &str) -> StoreFuture<'_, Option<ClientSession>> {
        let id = id.to_owned();
        self.later(move |tables| tables.client_sessions.get(&id).cloned())
    }

    fn cancel_client_session(
        &self,
        id: &str,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<ClientSession>> {
        let id = id.to_owned();
        self.later(move |tables| {
            let session = tables.client_sessions.get_mut(&id)?;
            if session.cancelled_at.is_none() && now < session.expires_at {
                session.cancelled_at = Some(whole_microseconds(now));
            }
            Some(session.clone())
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.later(|_| ())
    }
}

impl Tables {
    fn create(
        &mut self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<Created, Error> {
        let NewSession { id, user_id, title, conversation, now } = session;
        if self.sessions.contains_key(&id) {
            return Err(Error::store("could not create a session", "its id is in use"));
        }
        let made = |id: &&SessionId| {
            self.sessions.get(id).is_some_and(|stored| !stored.adopted && !stored.quarantined)
        };
        let has = self.users.get(&user_id).into_iter().flatten().filter(made).count();
        if max_sessions.is_some_and(|max| has as u64 >= u64::from(max.get())) {
            return Ok(Created::LimitReached);
        }
        let conversation = match conversation {
            None => None,
            Some(NewConversation::Conv(bits)) => Some(ConversationId::Conv(bits)),
            Some(NewConversation::Next) => Some(self.next_number()?),
        };
        if let Some(conversation) = conversation {
            match self.conversations.entry(conversation) {
                Entry::Occupied(_) => return Ok(Created::ConversationTaken),
                Entry::Vacant(place) => place.insert(id),
            };
        }
        let now = whole_microseconds(now);
        let record = SessionRecord {
            id,
            user_id: user_id.clone(),
            thread_id: None,
            conversation,
            title,
            created_at: now,
            updated_at: now,
            message_count: MessageCount::Known(0),
        };
        self.users.entry(user_id).or_default().insert(id);
        let stored = Stored {
            record: record.clone(),
            quarantined: false,
            adopted: false,
            bound_at: None,
            in_flight: 0,
            lease: 0,
            lease_until: None,
            leased_at: None,
        };
        self.sessions.insert(id, stored);
        Ok(Created::Session(record))
    }

    fn adopt(&mut self, entry: Adoption) -> Adopted {
        match entry {
            Adoption::Attachment { attachment_id, user_id } => {
                match self.attachments.entry(attachment_id.into()) {
                    Entry::Occupied(place) => {
                        adoption::of_attachment(&place.get().user_id, &user_id)
                    }
                    Entry::Vacant(place)
                        if self.deleted_adopted_attachments.contains(place.key()) =>
                    {
                        Adopted::Deleted
                    }
                    Entry::Vacant(place) => {
                        place.insert(Attachment { user_id, adopted: true });
                        Adopted::Done
                    }
                }
            }
            Adoption::Thread(thread) => self.adopt_thread(thread),
        }
    }

    fn adopt_thread(&mut self, thread: AdoptedThread) -> Adopted {
        let session = self.threads.get(&thread.thread_id).and_then(|id| self.sessions.get(id));
        if let Some(session) = session {
            return thread.beside(&session.found(Stored::record));
        }
        if self.quarantine.contains_key(&thread.thread_id) {
            return Adopted::Conflict(AdoptionConflict::Quarantined);
        }
        if self.deleted_adopted_threads.contains(&thread.thread_id)
            || self.deleted_threads.contains_key(&thread.thread_id)
        {
            return Adopted::Deleted;
        }
        let is_taken = match thread.known_by {
            None => false,
            Some(KnownBy::Conversation(id)) => self.conversations.contains_key(&id),
            Some(KnownBy::Session(id)) => self.sessions.contains_key(&id),
        };
        if is_taken {
            return thread.taken();
        }
        let (id, conversation) = (thread.session_id(), thread.conversation());
        let AdoptedThread { thread_id, user_id, title, created_at, updated_at, .. } = thread;
        if let Some(conversation) = conversation {
            self.conversations.insert(conversation, id);
        }
        if let Some(ConversationId::Integer(number)) = conversation {
            self.last_number = self.last_number.max(number.get());
        }
        self.threads.insert(ThreadId::clone(&thread_id), id);
        self.users.entry(user_id.clone()).or_default().insert(id);
        let record = SessionRecord {
            id,
            user_id,
            thread_id: Some(thread_id),
            conversation,
            title,
            created_at: whole_microseconds(created_at),
            updated_at: whole_microseconds(updated_at),
            message_count: MessageCount::AtLeast(0),
        };
        let bound_at = Some(record.created_at);
        let stored = Stored {
            record,
            quarantined: false,
            adopted: true,
            bound_at,
            in_flight: 0,
            lease: 0,
            lease_until: None,
            leased_at: None,
        };
        self.sessions.insert(id, stored);
        Adopted::Done
    }

    fn next_number(&mut self) -> Result<ConversationId, Error> {
        let next = self.last_number.checked_add(1).filter(|next| *next <= LAST_NUMBER);
        let next = next
            .and_then(NonZeroU64::new)
            .ok_or_else(|| Error::store("could not create a session", NO_NUMBER))?;
        self.last_number = next.get();
        Ok(ConversationId::Integer(next))
    }

    fn list(&self, page: &SessionsPage) -> Vec<SessionSummary> {
        let ids = self.users.get(&page.user_id).into_iter().flatten();
        let mut places: Vec<_> = ids
            .filter_map(|id| self.sessions.get(id))
            .filter(|session| !session.quarantined)
            .map(|session| &session.record)
            .filter(|record| page.ids.has(record.conversation))
            .map(|record| SessionPlace {
                updated_at: record.updated_at,
                created_at: record.created_at,
                id: record.id,
            })
            .filter(|place| page.after.is_none_or(|after| *place > after))
            .collect();
        places.sort_unstable();
        places.truncate(page.limit);
        let record = |place: SessionPlace| Some(self.sessions.get(&place.id)?.record.clone());
        places.into_iter().filter_map(record).map(SessionSummary::from).collect()
    }

    fn page(&self, page: &ThreadsPage) -> Vec<PlacedSession> {
        let (after, until) = (page.after, page.until);
        let (above, below) = if page.ascending { (after, until) } else { (until, after) };
        let mut bound: Vec<_> = self
            .sessions
            .values()
            .filter(|session| !session.quarantined)
            .filter(|session| page.user_id.as_ref().is_none_or(|id| *id == session.record.user_id))
            .filter_map(|session| Some((session.place()?, &session.record)))
            .filter(|(place, _)| above.is_none_or(|above| *place > above))
            .filter(|(place, _)| below.is_none_or(|below| *place < below))
            .collect();
        bound.sort_unstable_by_key(|(place, _)| *place);
        if !page.ascending {
            bound.reverse();
        }
        let placed =
            |(place, record): (_, &SessionRecord)| PlacedSession { place, record: record.clone() };
        bound.into_iter().take(page.limit).map(placed).collect()
    }

    fn bind(
        &mut self,
        id: SessionId,
        user_id: UserId,
        lease: Lease,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> Bound {
        if let Some(reuse) = self.reuse(id, user_id, &thread_id, now) {
            return Bound::ThreadReused(reuse);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return Bound::LeaseLost };
        if session.lease_until.is_none() || session.lease != lease.number() {
            return Bound::LeaseLost;
        }
        session.lease_until = None;
        session.record.thread_id = Some(ThreadId::clone(&thread_id));
        session.record.touch(now);
        session.bound_at = Some(whole_microseconds(now));
        self.threads.insert(thread_id, id);
        Bound::Done
    }

    /// Tells what it means that the upstream names that thread in a run of session `id`, which is
    /// or was `other`'s; `None` if it is no other session's. That of another user goes into
    /// quarantine.
    fn reuse(
        &mut self,
        id: SessionId,
        other: UserId,
        thread_id: &ThreadId,
        now: Timestamp,
    ) -> Option<Reuse> {
        let (owner_session, owner) = match self.threads.get(thread_id) {
            Some(owner) if *owner == id => return None,
            Some(owner) => (*owner, self.sessions.get(owner)?.record.user_id.clone()),
            None => {
                let thread = self.quarantine.get(thread_id)?;
                (thread.owner_session, thread.owner.clone())
            }
        };
        if other == owner && !self.quarantine.contains_key(thread_id) {
            return Some(Reuse { owner_session, owner, other, quarantined: None });
        }
        if let Some(session) = self.sessions.get_mut(&owner_session) {
            session.quarantined = true;
        }
        let thread = self.quarantine.entry(ThreadId::clone(thread_id));
        let thread = thread.or_insert_with(|| QuarantinedThread {
            thread_id: ThreadId::clone(thread_id),
            since: whole_microseconds(now),
            times: 0,
            owner_session,
            owner: owner.clone(),
            others: Vec::new(),
            more_others: 0,
            is_deleted: false,
        });
        thread.times += 1;
        let is_known = other == owner || thread.others.iter().any(|known| known.user_id == other);
        if !is_known && thread.others.len() < MAX_OTHERS {
            let since = whole_microseconds(now);
            thread.others.push(Newcomer { user_id: other.clone(), session_id: id, since });
        } else if !is_known {
            thread.more_others += 1;
        }
        let quarantined = Some(self.quarantine.len() as u64);
        Some(Reuse { owner_session, owner, other, quarantined })
    }

    fn delete(&mut self, id: SessionId, now: Timestamp) -> Deletion {
        if self.sessions.get(&id).is_some_and(|session| session.quarantined) {
            return Deletion::Quarantined;
        }
        if self.remove(id, now) { Deletion::Done } else { Deletion::Unknown }
    }

    fn remove(&mut self, id: SessionId, now: Timestamp) -> bool {
        let Some(stored) = self.sessions.remove(&id) else { return false };
        if let Ok(gone) = now.checked_sub(KEEP_PLACE) {
            self.deleted_threads.retain(|_, deleted| deleted.at >= gone);
        }
        let place = stored.place();
        let record = stored.record;
        if let Some(thread_id) = record.thread_id {
            self.threads.remove(&thread_id);
            if stored.adopted {
                self.deleted_adopted_threads.insert(ThreadId::clone(&thread_id));
            }
            if let Some(place) = place {
                self.deleted_threads.insert(thread_id, Deleted { place, at: now });
            }
        }
        if let Some(conversation) = record.conversation {
            self.conversations.remove(&conversation);
        }
        if let Some(ids) = self.users.get_mut(&record.user_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.users.remove(&record.user_id);
            }
        }
        true
    }
}

impl SessionRecord {
    /// Sets when it was changed, unless that was later: a clock may have been set back since.
    fn touch(&mut self, now: Timestamp) {
        self.updated_at = self.updated_at.max(whole_microseconds(now));
    }
}

impl Stored {
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

    fn begin_run(&mut self, user_id: &UserId, named: Option<&str>, begin: &BeginRun) -> RunStart {
        if self.record.user_id != *user_id {
            return RunStart::Foreign;
        }
        if self.quarantined {
            return RunStart::Quarantined;
        }
        let bound = self.record.thread_id.clone();
        if named.is_some() && named != bound.as_deref() {
            return RunStart::OtherThread;
        }
        let is_held = self.lease_until.is_some_and(|until| begin.finds_held(self.leased_at, until));
        if bound.is_none() && is_held {
            return RunStart::Busy;
        }
        if let (MessageCount::AtLeast(by), 0) = (self.record.message_count, self.in_flight)
            && let Some(messages) = begin.uncounted.count(by)
        {
            self.record.message_count = MessageCount::Known(messages);
        }
        let messages = match (self.record.message_count, &bound) {
            (MessageCount::AtLeast(seen), Some(thread_id)) => {
                let Some(messages) = begin.uncounted.at_most(seen) else {
                    let thread_id = ThreadId::clone(thread_id);
                    return RunStart::Uncounted { thread_id, seen };
                };
                messages
            }
            (MessageCount::AtLeast(messages) | MessageCount::Known(messages), _) => messages,
        };
        let messages = messages.saturating_add(self.in_flight);
        if begin.max_messages.is_some_and(|max| messages >= u64::from(max.get())) {
            return RunStart::MessageLimit;
        }
        self.in_flight += 1;
        if let Some(thread_id) = bound {
            return RunStart::Next(thread_id);
        }
        self.lease += 1;
        self.lease_until = Some(begin.lease_until());
        self.leased_at = Some(begin.now.as_microsecond());
        let (lease, titled) = (Lease::new(self.lease), self.record.title.is_some());
        RunStart::First { lease, titled }
    }

    fn settle(&mut self, settlement: Settlement) {
        let Settlement { lease, messages, title, touched_at, discard_unbound: _ } = settlement;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.record.message_count = self.record.message_count.plus(messages);
        if let Some(title) = title {
            self.record.title = title;
        }
        if let Some(touched_at) = touched_at {
            self.record.touch(touched_at);
        }
        if lease.is_some_and(|lease| lease.number() == self.lease) {
            self.lease_until = None;
        }
    }
}
