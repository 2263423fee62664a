//! How runs begin and end.

use super::*;
use crate::session::record::{ConversationId, MessageCount};
use crate::session::sqlite::SqliteOptions;
use crate::session::sqlite::begin::OnTheSpot;
use crate::session::sqlite::rows;
use crate::session::sqlite::runs::{self, Head};
use crate::session::sqlite::tally::Holder;
use crate::session::store::{Deletion, NewConversation};

#[tokio::test]
async fn a_run_that_nobody_took_is_settled() {
    let directory = Directory::new();
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    let queue = store.queue();
    let begin = begins(RunId::random());
    let mut call = store.begin_run(session.id.into(), OnThread::Any, &session.user_id, begin);
    let release = hold_writer(&store).await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    // Answered, and never looked at.
    drop(release);
    store.ping().await.unwrap();
    assert_eq!(queue.tallies(|tallies| tallies.len()), 1);
    drop(call);
    store.ping().await.unwrap();
    assert_eq!(queue.tallies(|tallies| tallies.len()), 0);
    first(&store, session.id).await;
}

#[tokio::test]
async fn a_row_read_before_a_commit_is_corrected_after_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    let release = hold_writer(&store).await;
    settle(&store, id, run, messages(2));
    let release = Arc::new(std::sync::Mutex::new(Some(release)));
    let queue = Arc::clone(store.queue());
    let read = move |connection: &Connection| {
        let before = rows::get(connection, id);
        drop(release.lock().unwrap().take());
        while queue.tallies(|tallies| tallies.len()) > 0 {
            std::thread::yield_now();
        }
        before
    };
    assert_eq!(
        store.corrected(id, read).await.unwrap().unwrap().open().unwrap().message_count,
        MessageCount::Known(2)
    );
    assert_eq!(
        store.get(id.into()).await.unwrap().unwrap().open().unwrap().message_count,
        MessageCount::Known(2)
    );
}

#[tokio::test]
async fn a_count_is_not_committed_while_somebody_goes_by_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let (of_one, user_id) = (begins_up_to(RunId::random(), 1), ada());
    let head = |connection: &Connection, id: SessionId| {
        runs::head(connection, id, SessionKey::Id(id), &user_id)
    };
    let begin = |read: &dyn Fn(&Connection, SessionId) -> rusqlite::Result<Option<Head>>| {
        store.begin_on_the_spot(id.into(), OnThread::Any, &of_one, read).unwrap()
    };
    let run = next(&store, id).await;
    let read = |connection: &Connection, id: SessionId| {
        let before = head(connection, id);
        settle(&store, id, run, messages(1));
        // The writer has taken it, and waits.
        let overlay = || store.queue().tallies(|tallies| tallies.overlay(id));
        while store.queue().tallies(|tallies| tallies.is_dirty()) {
            std::thread::yield_now();
        }
        assert!(overlay().is_some());
        // Nor does another run begin on the spot.
        assert!(matches!(begin(&head), OnTheSpot::ForWriter(_)));
        before
    };
    let start = begin(&read);
    assert!(matches!(start, OnTheSpot::Decided(RunStart::MessageLimit)), "{start:?}");
    store.ping().await.unwrap();
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

/// Such a one has no use of the lock.
#[tokio::test]
async fn a_run_that_is_not_the_callers_does_not_wait_for_the_session() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let locked = store.queue().tallies(|tallies| tallies.lock(id, Holder::Caller));
    assert!(locked.unwrap());
    let (eve, begin) = (UserId::parse("eve").unwrap(), begins(RunId::random()));
    let start = store.begin_run(id.into(), OnThread::Named("t"), &eve, begin).await.unwrap();
    assert!(matches!(start, RunStart::Foreign), "{start:?}");
    let start = store.begin_run(id.into(), OnThread::Named("u"), &ada(), begin).await.unwrap();
    assert!(matches!(start, RunStart::OtherThread), "{start:?}");
    store.queue().tallies(|tallies| tallies.unlock(id));
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
    let start = store.begin_run(id.into(), OnThread::Named("t"), &ada(), begin).await.unwrap();
    assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
}

#[tokio::test]
async fn what_is_written_in_a_runs_own_batch_is_counted_once() {
    let directory = Directory::new();
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    let run = first(&store, session.id).await;
    let release = hold_writer(&store).await;
    // It showed a message, and came to nothing.
    settle(&store, session.id, run, messages(1));
    let begin = begin_by(&store, session.id.into(), begins_up_to(RunId::random(), 2));
    let (start, ()) = tokio::join!(begin, async { drop(release) });
    assert!(matches!(start, RunStart::First { .. }));
}

#[tokio::test]
async fn nothing_of_a_session_stays_in_memory() {
    let directory = Directory::new();
    let store = directory.store();
    let queue = Arc::clone(store.queue());
    for round in 0..20 {
        let session = session(None);
        assert!(create(&store, &session).await);
        let run = first(&store, session.id).await;
        let thread_id = format!("thr_{round}");
        assert_eq!(bind(&store, session.id, run, &thread_id).await, Bound::Done);
        let second = next(&store, session.id).await;
        assert_eq!(queue.tallies(|tallies| tallies.len()), 1);
        settle(&store, session.id, second, messages(2));
        settle(&store, session.id, run, Settlement::default());
        let deleted = store.delete(session.id, Some(&thread_id), Timestamp::UNIX_EPOCH).await;
        assert_eq!(deleted.unwrap(), Deletion::Done);
        assert!(matches!(begin(&store, session.id).await, RunStart::Unknown));
        assert_eq!(queue.tallies(|tallies| tallies.len()), 0);
    }
}

/// A conversation that is bound to thread `t`.
async fn conversation(store: &SqliteStore) -> (SessionId, ConversationId) {
    let session = NewSession { conversation: Some(NewConversation::Conv(7)), ..session(None) };
    let begin = begins(RunId::random());
    let session = NewSession { first_run: Some(begin), ..session };
    let created = store.create(session.clone(), None).await.unwrap();
    assert!(matches!(created, Created::Session(_)), "{created:?}");
    assert_eq!(bind(store, session.id, begin.run, "t").await, Bound::Done);
    settle(store, session.id, begin.run, Settlement::default());
    (session.id, ConversationId::Conv(7))
}

#[tokio::test]
async fn a_bound_sessions_run_begins_on_the_spot_whatever_it_is_called() {
    let directory = Directory::new();
    let store = directory.store();
    let (id, conversation) = conversation(&store).await;
    // Who waits for it waits for ever.
    let release = hold_writer(&store).await;
    for key in [SessionKey::Id(id), SessionKey::Thread("t"), conversation.into()] {
        let run = RunId::random();
        let start = begin_by(&store, key, begins(run)).await;
        let RunStart::Next { session, thread_id } = start else { panic!("{key:?}: {start:?}") };
        assert_eq!((session, &*thread_id), (id, "t"));
        settle(&store, id, run, Settlement::default());
        assert!(store.get(key).await.unwrap().is_some());
        let owner = store.ownership(key).await.unwrap().unwrap().open().unwrap();
        assert_eq!((owner.id, owner.user_id), (id, ada()));
    }
    let other = ConversationId::Conv(8);
    for key in [SessionId::random().into(), SessionKey::Thread("u"), other.into()] {
        let start = begin_by(&store, key, begins(RunId::random())).await;
        assert!(matches!(start, RunStart::Unknown), "{key:?}: {start:?}");
        assert_eq!(store.get(key).await.unwrap(), None);
        assert_eq!(store.ownership(key).await.unwrap(), None);
    }
    drop(release);
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn a_session_that_is_not_called_so_any_more_is_not_begun() {
    let directory = Directory::new();
    let store = directory.store();
    let (id, conversation) = conversation(&store).await;
    let other = Connection::open(directory.file()).unwrap();
    for (key, change) in [
        (SessionKey::Thread("t"), "UPDATE session SET thread_id = 'u'"),
        (conversation.into(), "UPDATE session SET conversation = NULL"),
    ] {
        let read = |connection: &Connection, found: SessionId| {
            assert_eq!(found, id);
            other.execute_batch(change).unwrap();
            runs::head(connection, id, key, &ada())
        };
        let begin = begins(RunId::random());
        let start = store.begin_on_the_spot(key, OnThread::Any, &begin, read).unwrap();
        assert!(matches!(start, OnTheSpot::Decided(RunStart::Unknown)), "{start:?}");
    }
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn a_run_that_is_begun_again_has_one_place() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let of_two = begins_up_to(RunId::random(), 2);
    for _ in 0..3 {
        let start = begin_by(&store, id.into(), of_two).await;
        assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
    }
    let others = begins_up_to(RunId::random(), 2);
    assert!(matches!(begin_by(&store, id.into(), others).await, RunStart::Next { .. }));
    let third = begin_by(&store, id.into(), begins_up_to(RunId::random(), 2)).await;
    assert!(matches!(third, RunStart::MessageLimit), "{third:?}");
    // Full as it is, it has room for who is in it.
    assert!(matches!(begin_by(&store, id.into(), of_two).await, RunStart::Next { .. }));
    settle(&store, id, of_two.run, Settlement::default());
    settle(&store, id, others.run, Settlement::default());
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn a_first_run_that_is_begun_again_keeps_its_lease() {
    let directory = Directory::new();
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    let begin = begins_up_to(RunId::random(), 1);
    let at = |second| BeginRun { now: Timestamp::from_second(second).unwrap(), ..begin };
    for second in [0, 20] {
        let start = begin_by(&store, session.id.into(), at(second)).await;
        assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    }
    // From the last time on.
    let other = BeginRun { run: RunId::random(), ..at(49) };
    assert!(matches!(begin_by(&store, session.id.into(), other).await, RunStart::Busy));
    // Who doesn't look at the answer of the second time has the first one.
    let mut call = store.begin_run(session.id.into(), OnThread::Any, &session.user_id, at(20));
    let release = hold_writer(&store).await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    drop(release);
    store.ping().await.unwrap();
    drop(call);
    assert!(matches!(begin_by(&store, session.id.into(), other).await, RunStart::Busy));
    assert_eq!(bind(&store, session.id, begin.run, "t").await, Bound::Done);
    let start = begin_by(&store, session.id.into(), begin).await;
    assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
    settle(&store, session.id, begin.run, Settlement::default());
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn only_a_run_in_flight_is_settled() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    store.settle(id, RunId::random(), messages(7)).await.unwrap();
    store.settle(SessionId::random(), run, messages(7)).await.unwrap();
    let full = begin_by(&store, id.into(), begins_up_to(RunId::random(), 1)).await;
    assert!(matches!(full, RunStart::MessageLimit), "{full:?}");
    store.settle(id, run, messages(2)).await.unwrap();
    store.settle(id, run, messages(2)).await.unwrap();
    let record = store.get(id.into()).await.unwrap().unwrap().open().unwrap();
    assert_eq!(record.message_count, MessageCount::Known(2));
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn who_waits_for_a_settlement_finds_it_in_the_file() {
    let directory = Directory::new();
    let store = SqliteOptions::new().busy_timeout(Duration::ZERO).open(&directory.file()).unwrap();
    let id = bound(&store).await;
    let other = Connection::open(directory.file()).unwrap();
    let count = || rows::get(&other, id).unwrap().unwrap().open().unwrap().message_count;
    let run = next(&store, id).await;
    store.settle(id, run, messages(2)).await.unwrap();
    assert_eq!(count(), MessageCount::Known(2));

    let run = next(&store, id).await;
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.settle(id, run, messages(2)).await.unwrap_err();
    assert!(error.is_store() && error.chain().contains("locked"), "{}", error.chain());
    other.execute_batch("ROLLBACK").unwrap();
    // Made again, it waits for what is left of it.
    store.settle(id, run, messages(2)).await.unwrap();
    assert_eq!(count(), MessageCount::Known(4));
}

#[tokio::test]
async fn a_settlement_waits_for_nothing_if_nothing_is_to_be_written_or_nobody_waits() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let [empty, full] = [next(&store, id).await, next(&store, id).await];
    let release = hold_writer(&store).await;
    store.settle(id, empty, Settlement::default()).await.unwrap();
    let queued = || store.queue().queued();
    let before = queued();
    let settled = store.settle(id, full, messages(2));
    assert_eq!(queued(), before);
    // It is done all the same.
    let record = store.get(id.into()).await.unwrap().unwrap().open().unwrap();
    assert_eq!(record.message_count, MessageCount::Known(2));
    drop(settled);
    assert_eq!(queued(), before);
    drop(release);
}

#[tokio::test]
async fn a_session_and_its_first_run_are_made_in_one_step() {
    let directory = Directory::new();
    let store = directory.store();
    let begin = begins(RunId::random());
    let new = || NewSession { first_run: Some(begin), ..session(Some("A title".to_owned())) };
    let (kept, refused) = (new(), new());
    let created = store.create(kept.clone(), NonZeroU32::new(1)).await.unwrap();
    assert!(matches!(created, Created::Session(_)), "{created:?}");
    let created = store.create(refused, NonZeroU32::new(1)).await.unwrap();
    assert!(matches!(created, Created::LimitReached), "{created:?}");
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 1);
    assert!(matches!(
        begin_by(&store, kept.id.into(), begins(RunId::random())).await,
        RunStart::Busy
    ));
    let start = begin_by(&store, kept.id.into(), begin).await;
    assert!(matches!(start, RunStart::First { titled: true, .. }), "{start:?}");
    assert_eq!(bind(&store, kept.id, begin.run, "t").await, Bound::Done);
    settle(&store, kept.id, begin.run, Settlement::default());
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn a_session_that_was_made_for_a_run_that_nobody_took_is_gone() {
    let directory = Directory::new();
    let store = directory.store();
    let session = NewSession { first_run: Some(begins(RunId::random())), ..session(None) };
    let mut call = store.create(session.clone(), None);
    let release = hold_writer(&store).await;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    // Answered, and never looked at.
    drop(release);
    store.ping().await.unwrap();
    assert!(store.get(session.id.into()).await.unwrap().is_some());
    let release = hold_writer(&store).await;
    drop(call);
    // At once, though it is still in the file.
    assert_eq!(store.get(session.id.into()).await.unwrap(), None);
    assert_eq!(sessions_in(&directory.file()), 1);
    drop(release);
    store.ping().await.unwrap();
    assert_eq!(sessions_in(&directory.file()), 0);
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}
