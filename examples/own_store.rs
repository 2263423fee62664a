//! A session store of one's own: every call counted and timed, over any other store.
//!
//! ```sh
//! cargo run --example own_store
//! ```
//!
//! This one wraps, so that it fits on a page. One over your own database implements the same six
//! traits. The thirteen methods of [`Sessions`] and [`Runs`] are every store's; the three of
//! [`AttachmentOwners`], the three of [`ClientSessions`], the six of [`Directory`] and the two of
//! [`Allowances`] can stay as they are (`impl Directory for Yours {}`) if you have no use of them. What each must hold is in the
//! documentation of [`SessionStore`], and comes to:
//!
//! - `create` counts and inserts in one transaction, so that a limit holds under any load. It gives
//!   the session its id as a conversation there too: one of a sequence, or one that must be unique. A
//!   first run begins in the same transaction.
//! - `begin_run` reads the row once: whose the session is, and on which thread, it says itself. A run
//!   in flight is a row of its own, `INSERT … ON CONFLICT DO NOTHING` by its id, so that to begin it
//!   again takes no second place; those rows and the messages that are counted are what is limited. An
//!   unbound session is one run's at a time: `UPDATE … SET lease = $run, leased_at = $now, lease_until = …
//!   WHERE thread_id IS NULL AND (lease IS NULL OR lease = $run OR lease_until <= $now OR leased_at >
//!   $now + 5 s)`. The last is for a clock that was set back: a lease that was given later than now, and
//!   by more than clocks are corrected in passing, is over.
//! - `bind` is a transaction. Whose the thread is comes first, whoever holds the lease: one that another
//!   session has, or that is in quarantine, is [`Bound::ThreadReused`], and another user's is put in
//!   quarantine in the same transaction. If it is nobody's, an `UPDATE … SET thread_id = $thread, lease =
//!   NULL WHERE lease = $run` binds it; a unique index on `thread_id` keeps two that come at once apart.
//! - `ownership` is asked before anything else is passed on. Neither it nor what `begin_run` goes by
//!   may come from a cache: another replica may have deleted the session, and another user have its
//!   thread.
//! - `settle` is called from `Drop`: it can't wait there, and its future may be dropped. Queue it in the
//!   call, and apply it before any call that comes later. The runs of a process that is gone are to
//!   be found and settled by another.
//! - `delete` compares: it deletes the session that is bound to the thread that was given, or to none
//!   and not leased. It keeps for a day where the thread stood, so that whoever deletes while they page
//!   goes on.
//! - `adopt` decides each entry when those before it are done, and an entry is one `INSERT`. What it
//!   adds is not counted by `create`, and has a count that is not known: `begin_run` says so until
//!   it is told.
//! - `list` goes on behind a place, so it wants an index on the user, `updated_at` and `created_at`,
//!   both from the newest, and the id.
//! - `threads` wants an index on the moment of `bind` and the id; `client_session` is asked for with
//!   each request of a client's, and must not come from a cache that another replica can't clear.
//! - `take_allowance` locks one row and writes it: a [`Ledger`](chatkit_rest::allowance::Ledger) has the arithmetic. Nothing of
//!   it need be synced to a disk.
//! - `blocked_users` is asked about once a second by each process that has requests, and mostly answers
//!   that the version is the one that is known: one small row, that each change draws anew.
//! - Replicas share the database: nothing but its runs depends on the process that made a session.
//!
//! The feature `store-contract` has a test for each promise, which `store_contract_tests!` makes of
//! whatever opens your store: `tests/examples/store.rs` does so with this one.
#![expect(clippy::print_stdout, reason = "a program at a terminal, not the library")]

use std::collections::BTreeMap;
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatkit_rest::allowance::{AllowanceKey, Slice, SliceReport, TakeSlice};
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Adopted, Adoption, Allowances, AttachmentOwners, BeginRun, Blocked, BlockedUser, BlockedUsers,
    BlocksVersion, Bound, ClientSession, ClientSessionCreated, ClientSessions, Created, Deletion,
    Directory, Found, MemoryStore, MessageCount, NewSession, OnThread, Owned, Ownership,
    PlacedSession, QuarantinedThread, Released, Reuse, RunId, RunStart, Runs, SessionId,
    SessionKey, SessionRecord, SessionStore, SessionSummary, Sessions, SessionsPage, Settlement,
    StoreFuture, ThreadId, ThreadPlace, ThreadsPage,
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

/// What is known of one method. A call that was dropped before it had an outcome is one, and took no
/// time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) time: Duration,
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, counts: Mutex::default() }
    }

    /// The lock is held for an addition, and never across an await.
    pub(crate) fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that was made, and passes its outcome on.
    fn counted<'a, T: Send + 'a>(
        &'a self,
        method: &'static str,
        call: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T>
    where
        S: Sync,
    {
        self.counts().entry(method).or_default().calls += 1;
        Box::pin(async move {
            let begun = Instant::now();
            let outcome = call.await;
            let mut counts = self.counts();
            let count = counts.entry(method).or_default();
            count.failures += u64::from(outcome.is_err());
            count.time += begun.elapsed();
            outcome
        })
    }
}

/// Implements a part of the contract: each method calls that of the store within at once, as `settle`
/// must, and counts it.
macro_rules! counted {
    ($part:ident: $($method:ident($($name:ident: $type:ty),*) -> $outcome:ty;)+) => {
        impl<S: SessionStore> $part for Counted<S> {$(
            #[allow(clippy::elidable_lifetime_names, reason = "some of the arguments name it")]
            fn $method<'a>(&'a self, $($name: $type),*) -> StoreFuture<'a, $outcome> {
                self.counted(stringify!($method), self.inner.$method($($name),*))
            }
        )+}
    };
}

counted! { Sessions:
    create(session: NewSession, max_sessions: Option<NonZeroU32>) -> Created;
    get(session: SessionKey<'a>) -> Option<Found<SessionRecord>>;
    ownership(session: SessionKey<'a>) -> Option<Found<Ownership>>;
    list(page: SessionsPage) -> Vec<SessionSummary>;
    set_title(id: SessionId, title: Option<String>, now: Timestamp) -> Option<SessionRecord>;
    delete(id: SessionId, thread_id: Option<&'a str>, now: Timestamp) -> Deletion;
    signing_key(fresh: [u8; 32]) -> [u8; 32];
    ping() -> ();
}

counted! { Runs:
    begin_run(key: SessionKey<'a>, on: OnThread<'a>, user: &'a UserId, begin: BeginRun) -> RunStart;
    bind(id: SessionId, user: &'a UserId, run: RunId, thread_id: ThreadId, now: Timestamp) -> Bound;
    thread_named(id: SessionId, user: &'a UserId, named: ThreadId, now: Timestamp) -> Option<Reuse>;
    settle(id: SessionId, run: RunId, settlement: Settlement) -> ();
    set_message_count(id: SessionId, seen: MessageCount, messages: u64) -> ();
}

counted! { AttachmentOwners:
    own_attachment(user_id: &'a UserId, attachment_id: &'a str) -> Owned;
    attachment_owners(attachment_ids: Vec<String>) -> Vec<Option<UserId>>;
    disown_attachment(attachment_id: &'a str) -> bool;
}

counted! { ClientSessions:
    create_client_session(session: ClientSession, max_active: NonZeroU32) -> ClientSessionCreated;
    client_session(id: &'a str) -> Option<ClientSession>;
    cancel_client_session(id: &'a str, now: Timestamp) -> Option<ClientSession>;
}

counted! { Directory:
    threads(page: ThreadsPage) -> Vec<PlacedSession>;
    place_of_thread(thread_id: &'a str) -> Option<ThreadPlace>;
    adopt(entries: Vec<Adoption>) -> Vec<Adopted>;
    quarantined(after: Option<ThreadId>, limit: usize) -> Vec<QuarantinedThread>;
    release(thread_id: &'a str) -> Released;
    delete_quarantined(thread_id: &'a str, now: Timestamp) -> bool;
    block(block: BlockedUser) -> Blocked;
    unblock(user_id: &'a UserId) -> bool;
    blocks(after: Option<UserId>, limit: usize) -> Vec<BlockedUser>;
    blocked_users(known: Option<BlocksVersion>) -> Option<BlockedUsers>;
}

counted! { Allowances:
    take_allowance(key: &'a AllowanceKey, take: TakeSlice) -> Slice;
    give_back_allowances(window: Duration, reports: Vec<(AllowanceKey, SliceReport)>) -> ();
}

/// Gives a session's life, as the gateway lives it: created, taken by its first message, bound to
/// the thread that the ChatKit server makes for it, and taken again.
pub(crate) async fn tour(store: Arc<dyn SessionStore>) -> Result<String, Box<dyn Error>> {
    let ada = UserId::parse("ada")?;
    let now = Timestamp::now();
    let one = NonZeroU32::new(1);

    let Created::Session(made) = store.create(NewSession::new(ada.clone(), now), one).await? else {
        return Err("the first session is within the limit".into());
    };
    let (id, key) = (made.id, SessionKey::Id(made.id));
    let Created::LimitReached = store.create(NewSession::new(ada.clone(), now), one).await? else {
        return Err("the second session is over the limit".into());
    };

    let first = BeginRun::new(RunId::random(), now);
    let RunStart::First { .. } = store.begin_run(key, OnThread::Any, &ada, first).await? else {
        return Err("a new session is free".into());
    };
    let next = BeginRun::new(RunId::random(), now);
    let RunStart::Busy = store.begin_run(key, OnThread::Any, &ada, next).await? else {
        return Err("two first messages at once must not make two threads".into());
    };
    let Bound::Done = store.bind(id, &ada, first.run, ThreadId::from("thr_1"), now).await? else {
        return Err("the lease is still the run's".into());
    };
    // What the user said, and what was answered.
    let mut settlement = Settlement::default();
    settlement.messages = 2;
    store.settle(id, first.run, settlement).await?;

    let start = store.begin_run(SessionKey::Thread("thr_1"), OnThread::Bound, &ada, next).await?;
    let RunStart::Next { thread_id, .. } = start else {
        return Err("a bound session goes on with its thread".into());
    };
    store.settle(id, next.run, Settlement::default()).await?;
    let listed = store.list(SessionsPage::new(ada, 10)).await?;
    let messages = listed.first().and_then(|session| session.message_count.known()).unwrap_or(0);
    Ok(format!("session {id} has thread {thread_id} and {messages} messages"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Arc::new(Counted::new(MemoryStore::new()));
    println!("{}", tour(Arc::<Counted<MemoryStore>>::clone(&store)).await?);
    for (method, Count { calls, failures, time }) in &*store.counts() {
        println!("{method:>10}: {calls} calls, {failures} failures, {time:?}");
    }
    Ok(())
}
