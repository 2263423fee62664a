//! What the promises share, with the tests of this crate: nobody else is promised that it stays.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;

use super::Store;
use crate::principal::UserId;
use crate::session::{
    BeginRun, Bound, ConversationIds, Created, Deletion, Found, NewSession, OnThread, RunId,
    RunStart, SessionId, SessionKey, SessionPlace, SessionRecord, SessionSummary, SessionsPage,
    Settlement, ThreadId,
};

/// Some instant, and `seconds` after it.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub fn max(limit: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(limit)
}

pub fn new_session(user_id: &str) -> NewSession {
    NewSession::new(user(user_id), at(0))
}

pub async fn create(store: &Store, user_id: &str) -> SessionId {
    made(store, new_session(user_id)).await.id
}

/// Creates a session; there is no limit.
pub async fn made(store: &Store, session: NewSession) -> SessionRecord {
    match store.create(session, None).await.unwrap() {
        Created::Session(record) => record,
        refused => panic!("there is no limit: {refused:?}"),
    }
}

/// A session with a thread and no run in flight.
pub async fn create_bound(store: &Store, user_id: &str, thread_id: &str) -> SessionId {
    let id = create(store, user_id).await;
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, thread_id).await, Bound::Done);
    settle(store, id, run, Settlement::default());
    id
}

/// What begins a new run, with a lease of 30 s.
pub fn new_run(max_messages: Option<NonZeroU32>, now: Timestamp) -> BeginRun {
    let lease = Duration::from_secs(30);
    BeginRun { max_messages, lease, ..BeginRun::new(RunId::random(), now) }
}

/// Begins a run without a limit.
pub async fn begin(store: &Store, id: SessionId, now: Timestamp) -> RunStart {
    begin_of(store, id, None, now).await
}

pub async fn begin_of(
    store: &Store,
    id: SessionId,
    max_messages: Option<NonZeroU32>,
    now: Timestamp,
) -> RunStart {
    begin_with(store, id, new_run(max_messages, now)).await
}

/// Begins a run of whoever the session is.
pub async fn begin_with(store: &Store, id: SessionId, begin: BeginRun) -> RunStart {
    let owner = owner(store, id).await;
    store.begin_run(id.into(), OnThread::Any, &owner, begin).await.unwrap()
}

/// Begins the first run of a session that is free.
pub async fn first(store: &Store, id: SessionId, now: Timestamp) -> RunId {
    first_of(store, id, None, now).await
}

pub async fn first_of(
    store: &Store,
    id: SessionId,
    max_messages: Option<NonZeroU32>,
    now: Timestamp,
) -> RunId {
    let begin = new_run(max_messages, now);
    match begin_with(store, id, begin).await {
        RunStart::First { session, .. } => assert_eq!(session, id),
        other => panic!("not a first run: {other:?}"),
    }
    begin.run
}

/// Begins a run of a bound session.
pub async fn next(store: &Store, id: SessionId, now: Timestamp) -> RunId {
    next_of(store, id, None, now).await
}

pub async fn next_of(
    store: &Store,
    id: SessionId,
    max_messages: Option<NonZeroU32>,
    now: Timestamp,
) -> RunId {
    next_with(store, id, new_run(max_messages, now)).await
}

pub async fn next_with(store: &Store, id: SessionId, begin: BeginRun) -> RunId {
    match begin_with(store, id, begin).await {
        RunStart::Next { session, .. } => assert_eq!(session, id),
        other => panic!("not a next run: {other:?}"),
    }
    begin.run
}

/// Whose a session is; one that is gone was eve's.
async fn owner(store: &Store, id: SessionId) -> UserId {
    match store.get(id.into()).await.unwrap() {
        Some(Found::Open(record)) => record.user_id,
        Some(Found::Quarantined { user_id, .. }) => user_id,
        None => user("eve"),
    }
}

pub async fn bind(store: &Store, id: SessionId, run: RunId, thread_id: &str) -> Bound {
    let user_id = owner(store, id).await;
    store.bind(id, &user_id, run, ThreadId::from(thread_id), at(1)).await.unwrap()
}

/// Settles a run, and doesn't wait until that is durable.
pub fn settle(store: &Store, id: SessionId, run: RunId, settlement: Settlement) {
    drop(store.settle(id, run, settlement));
}

pub fn messages(messages: u64) -> Settlement {
    Settlement { messages, ..Settlement::default() }
}

pub fn discarding() -> Settlement {
    Settlement { discard_unbound: true, ..Settlement::default() }
}

/// Deletes a session that is bound to what it is bound to.
pub async fn delete(store: &Store, id: SessionId, now: Timestamp) -> Deletion {
    let found = store.get(id.into()).await.unwrap().and_then(Found::open);
    let thread_id = found.and_then(|record| record.thread_id);
    store.delete(id, thread_id.as_deref(), now).await.unwrap()
}

pub async fn get(store: &Store, id: SessionId) -> SessionRecord {
    store.get(id.into()).await.unwrap().unwrap().open().unwrap()
}

pub async fn by_thread(store: &Store, thread_id: &str) -> Option<Found<SessionRecord>> {
    store.get(SessionKey::Thread(thread_id)).await.unwrap()
}

/// The session that is bound to that thread.
pub async fn of_thread(store: &Store, thread_id: &str) -> SessionRecord {
    by_thread(store, thread_id).await.unwrap().open().unwrap()
}

pub async fn attachment_owner(store: &Store, attachment_id: &str) -> Option<UserId> {
    let mut owners = store.attachment_owners(vec![attachment_id.to_owned()]).await.unwrap();
    assert_eq!(owners.len(), 1);
    owners.remove(0)
}

/// All sessions of a user in the order of the list, which is read in pages.
pub async fn list(store: &Store, user_id: &UserId) -> Vec<SessionRecord> {
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

/// A page of all of a user's sessions.
pub async fn page(
    store: &Store,
    user_id: &UserId,
    after: Option<SessionPlace>,
    limit: usize,
) -> Vec<SessionSummary> {
    let ids = ConversationIds::Uuid;
    let page = SessionsPage { user_id: user_id.clone(), ids, after, limit };
    store.list(page).await.unwrap()
}

/// Polls a future once and drops it.
pub fn abandon<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, and keeps it.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
