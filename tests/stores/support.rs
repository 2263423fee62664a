//! What the tests of stores share.

use std::num::NonZeroU32;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::contract::Stores;
use chatkit_rest::session::{
    BeginRun, Bound, Created, Found, NewSession, OnThread, RunId, RunStart, SessionId, SessionKey,
    SessionPlace, SessionRecord, SessionSummary, SessionsPage, Settlement, SqliteStore, ThreadId,
};
use jiff::Timestamp;

pub(crate) use chatkit_rest::session::contract::Store;

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

/// What was opened, and the directory that it is in, which goes after it.
pub(crate) struct Opened<T> {
    opened: T,
    _directory: Directory,
}

impl Opened<Store> {
    pub(crate) fn one() -> Self {
        let directory = Directory::new();
        Self { opened: directory.store(), _directory: directory }
    }
}

impl Opened<Stores> {
    #[cfg_attr(
        not(all(target_os = "linux", target_pointer_width = "64")),
        expect(dead_code, reason = "what is shared is tested where it has locks")
    )]
    pub(crate) fn two() -> Self {
        let directory = Directory::new();
        Self { opened: [directory.store(), directory.store()], _directory: directory }
    }
}

impl<T> Deref for Opened<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.opened
    }
}

/// Some instant, and `seconds` after it.
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
    NewSession::new(user(user_id), at(0))
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
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, thread_id).await, Bound::Done);
    settle(store, id, run, Settlement::default());
    id
}

/// What begins a new run, with a lease of 30 s.
pub(crate) fn new_run(max_messages: Option<NonZeroU32>, now: Timestamp) -> BeginRun {
    let mut begin = BeginRun::new(RunId::random(), now);
    begin.max_messages = max_messages;
    begin.lease = Duration::from_secs(30);
    begin
}

/// Begins a run without a limit.
pub(crate) async fn begin(store: &Store, id: SessionId, now: Timestamp) -> RunStart {
    begin_of(store, id, None, now).await
}

pub(crate) async fn begin_of(
    store: &Store,
    id: SessionId,
    max_messages: Option<NonZeroU32>,
    now: Timestamp,
) -> RunStart {
    begin_with(store, id, new_run(max_messages, now)).await.unwrap()
}

/// Begins a run of whoever the session is.
pub(crate) async fn begin_with(
    store: &Store,
    id: SessionId,
    begin: BeginRun,
) -> Result<RunStart, Error> {
    store.begin_run(id.into(), OnThread::Any, &owner(store, id).await, begin).await
}

/// Begins the first run of a session that is free.
pub(crate) async fn first(store: &Store, id: SessionId, now: Timestamp) -> RunId {
    let begin = new_run(None, now);
    match begin_with(store, id, begin).await.unwrap() {
        RunStart::First { .. } => begin.run,
        other => panic!("not a first run: {other:?}"),
    }
}

/// Whether processes tell one another their runs, and so a store finds those of one that is gone.
pub(crate) const HAS_LOCKS: bool = cfg!(all(target_os = "linux", target_pointer_width = "64"));

/// Begins a first run in the place of one that began at second 0 and whose store is gone.
pub(crate) async fn first_after(store: &Store, id: SessionId) -> RunId {
    if HAS_LOCKS {
        return first(store, id, at(0)).await;
    }
    assert!(matches!(begin(store, id, at(29)).await, RunStart::Busy));
    first(store, id, at(30)).await
}

/// Begins a run of a bound session.
pub(crate) async fn next(store: &Store, id: SessionId, now: Timestamp) -> RunId {
    let begin = new_run(None, now);
    match begin_with(store, id, begin).await.unwrap() {
        RunStart::Next { .. } => begin.run,
        other => panic!("not a next run: {other:?}"),
    }
}

/// Whose a session is; one that is gone was eve's.
async fn owner(store: &Store, id: SessionId) -> UserId {
    match store.get(id.into()).await.unwrap() {
        Some(Found::Open(record)) => record.user_id,
        Some(Found::Quarantined { user_id, .. }) => user_id,
        None => user("eve"),
    }
}

pub(crate) async fn bind(store: &Store, id: SessionId, run: RunId, thread_id: &str) -> Bound {
    let user_id = owner(store, id).await;
    store.bind(id, &user_id, run, ThreadId::from(thread_id), at(1)).await.unwrap()
}

/// Settles a run, and doesn't wait until that is written.
pub(crate) fn settle(store: &Store, id: SessionId, run: RunId, settlement: Settlement) {
    drop(store.settle(id, run, settlement));
}

pub(crate) async fn get(store: &Store, id: SessionId) -> SessionRecord {
    store.get(id.into()).await.unwrap().unwrap().open().unwrap()
}

/// The session that is bound to that thread, if it is there.
pub(crate) async fn by_thread(store: &Store, thread_id: &str) -> Option<SessionRecord> {
    store.get(SessionKey::Thread(thread_id)).await.unwrap().and_then(Found::open)
}

pub(crate) async fn attachment_owner(store: &Store, attachment_id: &str) -> Option<UserId> {
    store.attachment_owners(vec![attachment_id.to_owned()]).await.unwrap().remove(0)
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
    let mut page = SessionsPage::new(user_id.clone(), limit);
    page.after = after;
    store.list(page).await.unwrap()
}

pub(crate) fn messages(messages: u64) -> Settlement {
    let mut settlement = Settlement::default();
    settlement.messages = messages;
    settlement
}
