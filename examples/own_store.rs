//! A session store of one's own: every call counted and timed, over any other store.
//!
//! ```sh
//! cargo run --example own_store
//! ```
//!
//! This one wraps, so that it fits on a page. One over your own database implements the same
//! twenty-four methods; what each must hold is in the documentation of [`SessionStore`], and comes to:
//!
//! - `create` counts and inserts in one transaction, so that a limit holds under any load. It gives
//!   the session its id as a conversation there too: one of a sequence, or one that must be unique.
//! - `begin_run` reads the row once: whose the session is, and on which thread, it says itself. It
//!   takes an unbound session for one run at a time: `UPDATE … SET lease = lease + 1,
//!   lease_until = … WHERE thread_id IS NULL AND lease_until < now`. `bind` is an `UPDATE … WHERE
//!   lease = …`, with a unique index on `thread_id`.
//! - `ownership` and `ownership_of_thread` are asked before anything else is passed on. Neither these
//!   nor what `begin_run` goes by may come from a cache: another replica may have deleted the session, and another user have its thread.
//! - `settle` is called from `Drop`: it can't wait and can't fail. Queue it, and apply it before any
//!   call that comes later.
//! - `adopt` decides each entry when those before it are done, and an entry is one `INSERT`. What it
//!   adds is not counted by `create`, and has a count that is not known: `begin_run` says so until
//!   it is told.
//! - `list` goes on behind a place, so it wants an index on the user, `updated_at` and `created_at`,
//!   both from the newest, and the id.
//! - `threads` wants an index on the moment of `bind` and the id; `client_session` is asked for with
//!   each request of a client's, and must not come from a cache that another replica can't clear.
//! - `delete` keeps for a day where the thread stood, so that whoever deletes while they page goes on.
//! - Nothing of it depends on the process that made the session: replicas share the database.
//!
//! `tests/stores/contract` has a test for each promise, as functions of any `Arc<dyn SessionStore>`;
//! `tests/examples` runs some of them on this one.
#![expect(clippy::print_stdout, reason = "a program at a terminal, not the library")]

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Adopted, Adoption, BeginRun, Bound, ClientSession, ClientSessionCreated, ConversationId,
    ConversationIds, Created, Deletion, Found, Lease, MemoryStore, MessageCount, NewSession, Owned,
    Ownership, PlacedSession, QuarantinedThread, Released, Reuse, RunStart, SessionId,
    SessionRecord, SessionStore, SessionSummary, SessionsPage, Settlement, StoreFuture, ThreadId,
    ThreadPlace, ThreadsPage, Uncounted,
};
use jiff::Timestamp;
use tokio::time::Instant;

/// A store that tells how often each of its methods was called, how often it failed, and how
/// long that took.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    counts: Mutex<BTreeMap<&'static str, Count>>,
}

/// What is known of one method.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) time: Duration,
}

impl<S: SessionStore> Counted<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, counts: Mutex::default() }
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes the call's outcome on once it is counted. A call that is dropped before it has one
    /// isn't counted.
    fn counted<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let begun = Instant::now();
            let outcome = call.await;
            self.count(method, outcome.is_ok(), begun.elapsed());
            outcome
        })
    }

    /// Counts a call. The lock is held for an addition, and never across an await.
    fn count(&self, method: &'static str, ok: bool, time: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(method).or_default();
        count.calls += 1;
        count.failures += u64::from(!ok);
        count.time += time;
    }
}

impl<S: SessionStore> SessionStore for Counted<S> {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        self.counted("create", self.inner.create(session, max_sessions))
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.counted("adopt", self.inner.adopt(entries))
    }

    fn get(&self, id: SessionId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        self.counted("get", self.inner.get(id))
    }

    fn by_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        self.counted("by_thread", self.inner.by_thread(thread_id))
    }

    fn ownership(&self, id: SessionId) -> StoreFuture<'_, Option<Found<Ownership>>> {
        self.counted("ownership", self.inner.ownership(id))
    }

    fn ownership_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<Ownership>>> {
        self.counted("ownership_of_thread", self.inner.ownership_of_thread(thread_id))
    }

    fn by_conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        self.counted("by_conversation", self.inner.by_conversation(id))
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        self.counted("list", self.inner.list(page))
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.counted("set_title", self.inner.set_title(id, title, now))
    }

    fn begin_run<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: Option<&'a str>,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        self.counted("begin_run", self.inner.begin_run(id, user_id, thread_id, begin))
    }

    fn bind(
        &self,
        id: SessionId,
        user_id: &UserId,
        lease: Lease,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Bound> {
        self.counted("bind", self.inner.bind(id, user_id, lease, thread_id, now))
    }

    fn thread_named(
        &self,
        id: SessionId,
        user_id: &UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Reuse>> {
        self.counted("thread_named", self.inner.thread_named(id, user_id, thread_id, now))
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        self.counted("quarantined", self.inner.quarantined(after, limit))
    }

    fn release(&self, thread_id: &str) -> StoreFuture<'_, Released> {
        self.counted("release", self.inner.release(thread_id))
    }

    fn delete_quarantined(&self, thread_id: &str, now: Timestamp) -> StoreFuture<'_, bool> {
        self.counted("delete_quarantined", self.inner.delete_quarantined(thread_id, now))
    }

    fn settle(&self, id: SessionId, settlement: Settlement) {
        let begun = Instant::now();
        self.inner.settle(id, settlement);
        self.count("settle", true, begun.elapsed());
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        self.counted("set_message_count", self.inner.set_message_count(id, seen, messages))
    }

    fn delete(&self, id: SessionId, now: Timestamp) -> StoreFuture<'_, Deletion> {
        self.counted("delete", self.inner.delete(id, now))
    }

    fn own_attachment(&self, user_id: &UserId, attachment_id: &str) -> StoreFuture<'_, Owned> {
        self.counted("own_attachment", self.inner.own_attachment(user_id, attachment_id))
    }

    fn attachment_owner(&self, attachment_id: &str) -> StoreFuture<'_, Option<UserId>> {
        self.counted("attachment_owner", self.inner.attachment_owner(attachment_id))
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        self.counted("attachment_owners", self.inner.attachment_owners(attachment_ids))
    }

    fn disown_attachment(&self, attachment_id: &str) -> StoreFuture<'_, bool> {
        self.counted("disown_attachment", self.inner.disown_attachment(attachment_id))
    }

    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        self.counted("threads", self.inner.threads(page))
    }

    fn place_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<ThreadPlace>> {
        self.counted("place_of_thread", self.inner.place_of_thread(thread_id))
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.counted("signing_key", self.inner.signing_key(fresh))
    }

    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        self.counted("create_client_session", self.inner.create_client_session(session, max_active))
    }

    fn client_session(&self, id: &str) -> StoreFuture<'_, Option<ClientSession>> {
        self.counted("client_session", self.inner.client_session(id))
    }

    fn cancel_client_session(
        &self,
        id: &str,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<ClientSession>> {
        self.counted("cancel_client_session", self.inner.cancel_client_session(id, now))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.counted("ping", self.inner.ping())
    }
}

/// Gives a session's life, as the gateway lives it: created, taken by its first message, bound to
/// the thread that the ChatKit server makes for it, and taken again.
pub(crate) async fn tour(store: Arc<dyn SessionStore>) -> Result<String, Box<dyn Error>> {
    let ada = UserId::parse("ada")?;
    let now = Timestamp::now();
    let one = NonZeroU32::new(1);
    let session = |id| {
        let (user_id, title, conversation) = (ada.clone(), None, None);
        NewSession { id, user_id, title, conversation, now }
    };

    let id = SessionId::random();
    let Created::Session(_) = store.create(session(id), one).await? else {
        return Err("the first session is within the limit".into());
    };
    let Created::LimitReached = store.create(session(SessionId::random()), one).await? else {
        return Err("the second session is over the limit".into());
    };

    let (lease, uncounted) = (Duration::from_secs(45), Uncounted::Tell);
    let begin = BeginRun { max_messages: None, lease, now, uncounted };
    let RunStart::First { lease, .. } = store.begin_run(id, &ada, None, begin).await? else {
        return Err("a new session is free".into());
    };
    let RunStart::Busy = store.begin_run(id, &ada, None, begin).await? else {
        return Err("two first messages at once must not make two threads".into());
    };
    let Bound::Done = store.bind(id, &ada, lease, ThreadId::from("thr_1"), now).await? else {
        return Err("the lease is still the session's".into());
    };
    // What the user said, and what was answered.
    store.settle(id, Settlement { messages: 2, ..Settlement::default() });

    let RunStart::Next(thread_id) = store.begin_run(id, &ada, None, begin).await? else {
        return Err("a bound session goes on with its thread".into());
    };
    store.settle(id, Settlement::default());
    let ids = ConversationIds::Uuid;
    let page = SessionsPage { user_id: ada.clone(), ids, after: None, limit: 10 };
    let listed = store.list(page).await?;
    let messages = listed.first().and_then(|session| session.message_count.known()).unwrap_or(0);
    Ok(format!("session {id} has thread {thread_id} and {messages} messages"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Arc::new(Counted::new(MemoryStore::new()));
    println!("{}", tour(Arc::<Counted<MemoryStore>>::clone(&store)).await?);
    for (method, Count { calls, failures, time }) in store.counts() {
        println!("{method:>10}: {calls} calls, {failures} failures, {time:?}");
    }
    Ok(())
}
