//! First runs that begin with their session.

use std::task::Poll;

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    abandon, at, begin, begin_of, begin_with, bind, create, delete, discarding, first, get, list,
    made, max, messages, new_run, new_session, poll_once, settle, user,
};
use crate::session::{
    BeginRun, Bound, ConversationId, Created, Deletion, NewConversation, NewSession, OnThread,
    RunId, RunStart, SessionId, Settlement,
};

/// So many calls later what was dropped is done or undone.
const MAX_LATER_CALLS: usize = 1000;

/// A session that is to begin with a run.
fn with_run(user_id: &str) -> (NewSession, BeginRun) {
    let run = new_run(None, at(0));
    (NewSession { first_run: Some(run), ..new_session(user_id) }, run)
}

async fn create_with_run(store: &Store, user_id: &str) -> (SessionId, RunId) {
    let (session, begin) = with_run(user_id);
    (made(store, session).await.id, begin.run)
}

/// Checks that a session that is created with its first run has one: its lease and its place.
pub async fn a_session_is_created_with_its_first_run(store: &Store) {
    let (id, run) = create_with_run(store, "ada").await;
    assert_eq!(get(store, id).await.message_count.known(), Some(0));
    assert!(matches!(begin(store, id, at(0)).await, RunStart::Busy));
    assert!(matches!(begin(store, id, at(29)).await, RunStart::Busy));
    assert_eq!(store.delete(id, None, at(29)).await.unwrap(), Deletion::Busy);
    assert_eq!(bind(store, id, RunId::random(), "thr_1").await, Bound::LeaseLost);
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    assert_eq!(bind(store, id, run, "thr_2").await, Bound::LeaseLost);
    // It is in flight.
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
    assert!(matches!(begin_of(store, id, max(2), at(0)).await, RunStart::Next { .. }));
    settle(store, id, run, messages(2));
    assert_eq!(get(store, id).await.message_count.known(), Some(2));
}

/// Checks that the lease of a run that began with its session ends as any other does.
pub async fn the_lease_of_a_created_run_ends_with_its_time(store: &Store) {
    let (id, late) = create_with_run(store, "ada").await;
    assert!(matches!(begin_of(store, id, max(1), at(30)).await, RunStart::MessageLimit));
    let run = first(store, id, at(30)).await;
    assert_eq!(bind(store, id, late, "thr_1").await, Bound::LeaseLost);
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);

    // Settled, it leaves the session to the next one at once.
    let (id, run) = create_with_run(store, "ada").await;
    settle(store, id, run, Settlement::default());
    assert_eq!(bind(store, id, run, "thr_2").await, Bound::LeaseLost);
    first(store, id, at(0)).await;
}

/// Checks that a run that began with its session and begins again is the same run.
pub async fn a_created_run_that_begins_again_takes_nothing_more(store: &Store) {
    let (session, run) = with_run("ada");
    let id = made(store, session).await.id;
    for _ in 0..2 {
        let again = BeginRun { max_messages: max(1), ..run };
        let start = begin_with(store, id, again).await;
        assert!(matches!(start, RunStart::First { session, .. } if session == id), "{start:?}");
    }
    settle(store, id, run.run, Settlement::default());
    let start = begin_of(store, id, max(1), at(0)).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
}

/// Checks that a run that began with its session stays, and the session too, if it has begun again
/// before the creation was dropped.
pub async fn a_created_run_that_begins_again_outlives_a_dropped_create(store: &Store) {
    let (session, run) = with_run("ada");
    let id = session.id;
    let mut creation = store.create(session, max(1));
    let _ = poll_once(&mut creation);
    // By the time that a later write is done.
    store.ping().await.unwrap();
    let start = store.begin_run(id.into(), OnThread::Any, &user("ada"), run).await.unwrap();
    assert!(matches!(start, RunStart::First { session, .. } if session == id), "{start:?}");
    drop(creation);
    store.ping().await.unwrap();
    assert!(matches!(begin(store, id, at(0)).await, RunStart::Busy));
    assert_eq!(bind(store, id, run.run, "thr_1").await, Bound::Done);
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
}

/// Checks that a session that was created for a run stays with the one that took it over.
pub async fn a_session_that_was_taken_over_stays(store: &Store) {
    let (id, late) = create_with_run(store, "ada").await;
    let run = first(store, id, at(30)).await;
    store.settle(id, late, discarding()).await.unwrap();
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    assert_eq!(get(store, id).await.thread_id.as_deref(), Some("thr_1"));
}

/// Checks that a session that was created for a run goes with it if that binds it to nothing.
pub async fn a_session_created_for_a_run_goes_with_it(store: &Store) {
    let (mut session, begin) = with_run("ada");
    session.conversation = Some(NewConversation::Conv(7));
    let id = session.id;
    assert!(matches!(store.create(session, max(1)).await.unwrap(), Created::Session(_)));
    store.settle(id, begin.run, discarding()).await.unwrap();
    assert_eq!(store.get(id.into()).await.unwrap(), None);
    assert_eq!(store.get(ConversationId::Conv(7).into()).await.unwrap(), None);
    assert_eq!(list(store, &user("ada")).await, []);
    let (again, _) = with_run("ada");
    let again = NewSession { conversation: Some(NewConversation::Conv(7)), ..again };
    assert!(matches!(store.create(again, max(1)).await.unwrap(), Created::Session(_)));
}

/// Checks that no run begins with a session that is refused.
pub async fn a_session_that_is_refused_begins_no_run(store: &Store) {
    let conversation = Some(NewConversation::Conv(7));
    let hers = made(store, NewSession { conversation, ..new_session("ada") }).await;
    let refused = [
        (with_run("ada"), None, max(1)),
        (with_run("eve"), conversation, None),
        (with_run("ada"), conversation, max(1)),
    ];
    for ((session, begin), conversation, limit) in refused {
        let id = session.id;
        let session = NewSession { conversation, ..session };
        match store.create(session, limit).await.unwrap() {
            Created::LimitReached => assert!(limit.is_some()),
            Created::ConversationTaken => assert!(limit.is_none()),
            Created::Session(record) => panic!("{record:?}"),
        }
        assert_eq!(store.get(id.into()).await.unwrap(), None);
        assert!(matches!(begin_with(store, id, begin).await, RunStart::Unknown));
        store.settle(id, begin.run, messages(3)).await.unwrap();
        assert_eq!(bind(store, id, begin.run, "thr_1").await, Bound::LeaseLost);
    }
    // An id that a session has already is an error, and gives its run nothing of that session.
    let (session, begin) = with_run("eve");
    let again = NewSession { id: hers.id, ..session };
    assert!(store.create(again, None).await.unwrap_err().is_store());
    assert_eq!(bind(store, hers.id, begin.run, "thr_1").await, Bound::LeaseLost);
    store.settle(hers.id, begin.run, Settlement { messages: 3, ..discarding() }).await.unwrap();
    assert_eq!(get(store, hers.id).await, hers);
    first(store, hers.id, at(0)).await;
}

/// Checks that of a session that was to be created with a run, and was dropped, nothing stays.
pub async fn a_dropped_create_with_a_run_leaves_nothing(store: &Store) {
    for round in 0..50 {
        let user_id = format!("user {round}");
        let (session, begin) = with_run(&user_id);
        let session = NewSession { conversation: Some(NewConversation::Conv(7)), ..session };
        let id = session.id;
        match abandon(store.create(session, max(1))) {
            Poll::Pending => {}
            // It was made before it could be dropped.
            Poll::Ready(Ok(Created::Session(_))) => settle(store, id, begin.run, discarding()),
            Poll::Ready(other) => panic!("{other:?}"),
        }
        // A store that is a network away may still be at it.
        for _ in 0..MAX_LATER_CALLS {
            store.ping().await.unwrap();
            if store.get(id.into()).await.unwrap().is_none() {
                break;
            }
        }
        assert_eq!(store.get(id.into()).await.unwrap(), None);
        assert_eq!(store.get(ConversationId::Conv(7).into()).await.unwrap(), None);
        assert_eq!(list(store, &user(&user_id)).await, []);
        let again = store.create(new_session(&user_id), max(1)).await.unwrap();
        assert!(matches!(again, Created::Session(_)), "{again:?}");
    }
    let (never_polled, _) = with_run("bob");
    drop(store.create(never_polled, None));
    store.ping().await.unwrap();
    assert_eq!(list(store, &user("bob")).await, []);
}

/// Checks that many sessions at once that begin with a run stop at the limit.
pub async fn creates_with_runs_at_once_stop_at_the_limit(store: &Store) {
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let (session, begin) = with_run("ada");
            match store.create(session, max(10)).await.unwrap() {
                Created::Session(record) => Some((record.id, begin.run)),
                Created::LimitReached => None,
                Created::ConversationTaken => panic!("none was asked for"),
            }
        });
    }
    let made: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(made.len(), 10);
    for (n, (id, run)) in made.into_iter().enumerate() {
        assert_eq!(bind(store, id, run, &format!("thr_{n}")).await, Bound::Done);
    }
    let (id, run) = (create(store, "bob").await, RunId::random());
    assert_eq!(bind(store, id, run, "thr_bob").await, Bound::LeaseLost);
    assert_eq!(delete(store, id, at(0)).await, Deletion::Done);
}
