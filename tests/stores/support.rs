//! What the tests of stores share.

use std::future::Future;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    BeginRun, Bound, ConversationIds, Created, Found, Lease, MemoryStore, NewSession, RunStart,
    SessionId, SessionPlace, SessionRecord, SessionStore, SessionSummary, SessionsPage, Settlement,
    SqliteStore, ThreadId, Uncounted,
};
use jiff::Timestamp;

pub(crate) type Store = Arc<dyn SessionStore>;

pub(crate) fn memory() -> Store {
    Arc::new(MemoryStore::new())
}

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let name = format!("chatkit-rest-stores-{}", SessionId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    pub(crate) fn store(&self) -> Store {
        open(&self.file())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Arc::new(SqliteStore::open(path).unwrap())
}

/// Makes some instant, and `seconds` after it.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub(crate) fn max(limit: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(limit)
}

pub(crate) fn new_session(user_id: &str) -> NewSession {
    NewSession {
        id: SessionId::random(),
        user_id: user(user_id),
        title: None,
        conversation: None,
        now: at(0),
    }
}

pub(crate) async fn create(store: &Store, user_id: &str) -> SessionId {
    match store.create(new_session(user_id), None).await.unwrap() {
        Created::Session(record) => record.id,
        refused => panic!("there is no limit: {refused:?}"),
    }
}

/// Gives a session with a thread and no run in flight.
pub(crate) async fn create_bound(store: &Store, user_id: &str, thread_id: &str) -> SessionId {
    let id = create(store, user_id).await;
    let lease = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, lease, thread_id).await, Bound::Done);
    store.settle(id, Settlement::default());
    id
}

/// Begins a run without a limit, with a lease of 30 s.
pub(crate) async fn begin(store: &Store, id: SessionId, now: Timestamp) -> RunStart {
    begin_of(store, id, None, now).await
}

pub(crate) async fn begin_of(
    store: &Store,
    id: SessionId,
    max_messages: Option<NonZeroU32>,
    now: Timestamp,
) -> RunStart {
    let (lease, uncounted) = (Duration::from_secs(30), Uncounted::Tell);
    let begin = BeginRun { max_messages, lease, now, uncounted };
    begin_with(store, id, begin).await.unwrap()
}

/// Begins a run of whoever the session is.
pub(crate) async fn begin_with(
    store: &Store,
    id: SessionId,
    begin: BeginRun,
) -> Result<RunStart, Error> {
    store.begin_run(id, &owner(store, id).await, None, begin).await
}

pub(crate) async fn first(store: &Store, id: SessionId, now: Timestamp) -> Lease {
    match begin(store, id, now).await {
        RunStart::First { lease, .. } => lease,
        other => panic!("not a first run: {other:?}"),
    }
}

/// Tells whose a session is; one that is gone was eve's.
async fn owner(store: &Store, id: SessionId) -> UserId {
    match store.get(id).await.unwrap() {
        Some(Found::Open(record)) => record.user_id,
        Some(Found::Quarantined { user_id, .. }) => user_id,
        None => user("eve"),
    }
}

pub(crate) async fn bind(store: &Store, id: SessionId, lease: Lease, thread_id: &str) -> Bound {
    let user_id = owner(store, id).await;
    store.bind(id, &user_id, lease, ThreadId::from(thread_id), at(1)).await.unwrap()
}

pub(crate) async fn get(store: &Store, id: SessionId) -> SessionRecord {
    store.get(id).await.unwrap().unwrap().open().unwrap()
}

/// Gives all sessions of a user in the order of the list, which is read in pages.
pub(crate) async fn list(store: &Store, user_id: &UserId) -> Vec<SessionRecord> {
    let mut records: Vec<SessionRecord> = Vec::new();
    let mut after = None;
    loop {
        let page = page(store, user_id, after, 7).await;
        let is_last = page.len() < 7;
        after = page.last().map(SessionPlace::of);
        for summary in page {
            let record = get(store, summary.id).await;
            assert_eq!((&record.user_id, SessionSummary::from(record.clone())), (user_id, summary));
            records.push(record);
        }
        if is_last {
            return records;
        }
    }
}

/// Gives a page of all of a user's sessions.
pub(crate) async fn page(
    store: &Store,
    user_id: &UserId,
    after: Option<SessionPlace>,
    limit: usize,
) -> Vec<SessionSummary> {
    let ids = ConversationIds::Uuid;
    let page = SessionsPage { user_id: user_id.clone(), ids, after, limit };
    store.list(page).await.unwrap()
}

pub(crate) fn messages(messages: u64) -> Settlement {
    Settlement { messages, ..Settlement::default() }
}

/// Polls a future once and drops it.
pub(crate) fn abandon<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
