//! First runs: leases, and what they are bound with.

use std::task::Poll;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    abandon, at, begin, begin_of, begin_with, bind, by_thread, create, create_bound, delete, first,
    first_of, get, max, messages, new_run, next, poll_once, settle, user,
};
use crate::session::{
    BeginRun, Bound, Deletion, Found, OnThread, RunId, RunStart, SessionId, Settlement, ThreadId,
};

/// Checks that of twenty first runs at once one has the lease.
pub async fn twenty_first_runs_at_once_make_one_lease(store: &Store) {
    let id = create(store, "ada").await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        calls.spawn(async move { begin(&store, id, at(0)).await });
    }
    let (mut firsts, mut busy) = (0, 0);
    for outcome in calls.join_all().await {
        match outcome {
            RunStart::First { .. } => firsts += 1,
            RunStart::Busy => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((firsts, busy), (1, 19));
}

/// Checks that a first run that is settled leaves its lease to the next one at once.
pub async fn settling_frees_the_lease_at_once(store: &Store) {
    let id = create(store, "ada").await;
    for _ in 0..20 {
        let run = first(store, id, at(0)).await;
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Busy));
        settle(store, id, run, Settlement::default());
        assert_eq!(bind(store, id, run, "thr_late").await, Bound::LeaseLost);
    }
}

/// Checks that a lease is another's to take when its time is up, and not before.
pub async fn a_lease_ends_with_its_time(store: &Store) {
    let id = create(store, "ada").await;
    first(store, id, at(0)).await;
    let just_before = at(30) - SignedDuration::from_micros(1);
    assert!(matches!(begin(store, id, just_before).await, RunStart::Busy));
    first(store, id, at(30)).await;
    assert!(matches!(begin(store, id, at(59)).await, RunStart::Busy));
}

/// Checks that a lease does not last longer when the clock is set back.
pub async fn a_lease_does_not_last_longer_when_the_clock_is_set_back(store: &Store) {
    let id = create(store, "ada").await;
    let before = first(store, id, at(3600)).await;
    // A clock is corrected by some milliseconds all the time.
    assert!(matches!(begin(store, id, at(3599)).await, RunStart::Busy));
    let after = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, before, "thr_1").await, Bound::LeaseLost);
    assert!(matches!(begin(store, id, at(29)).await, RunStart::Busy));
    assert_eq!(bind(store, id, after, "thr_1").await, Bound::Done);
}

/// Checks that a run whose lease was taken over binds nothing.
pub async fn a_late_bind_has_lost_its_lease(store: &Store) {
    let id = create(store, "ada").await;
    let late = first(store, id, at(0)).await;
    let next = first(store, id, at(30)).await;
    assert_eq!(bind(store, id, late, "thr_late").await, Bound::LeaseLost);
    assert_eq!(get(store, id).await.thread_id, None);
    assert_eq!(bind(store, id, next, "thr_next").await, Bound::Done);
    assert_eq!(bind(store, id, late, "thr_late").await, Bound::LeaseLost);
    assert_eq!(get(store, id).await.thread_id, Some(ThreadId::from("thr_next")));
    assert_eq!(by_thread(store, "thr_late").await, None);
}

/// Checks that a run whose lease was taken over is settled without its successor's.
pub async fn a_late_settle_leaves_the_next_lease_alone(store: &Store) {
    let id = create(store, "ada").await;
    let late = first(store, id, at(0)).await;
    let next = first(store, id, at(30)).await;
    settle(store, id, late, Settlement::default());
    assert!(matches!(begin(store, id, at(31)).await, RunStart::Busy));
    settle(store, id, next, Settlement::default());
    let after = first(store, id, at(31)).await;
    // Whoever was taken over lost the session even if the successor gave it back.
    assert_eq!(bind(store, id, late, "thr_1").await, Bound::LeaseLost);
    assert_eq!(bind(store, id, after, "thr_1").await, Bound::Done);
}

/// Checks that time alone doesn't end a lease.
pub async fn a_lease_that_nobody_took_over_still_binds(store: &Store) {
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    let bound = store.bind(id, &user("ada"), run, ThreadId::from("thr_1"), at(600)).await.unwrap();
    assert_eq!(bound, Bound::Done);
    assert_eq!(get(store, id).await.updated_at, at(600));
}

/// Checks that a lease is used up by binding, and is its run's alone.
pub async fn a_lease_binds_once(store: &Store) {
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    for forged in [RunId::random(), RunId::from_bytes([0; 16]), RunId::from_bytes([255; 16])] {
        assert_eq!(bind(store, id, forged, "thr_forged").await, Bound::LeaseLost);
    }
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    assert_eq!(bind(store, id, run, "thr_2").await, Bound::LeaseLost);
    let record = get(store, id).await;
    assert_eq!(record.thread_id, Some(ThreadId::from("thr_1")));
    assert_eq!(by_thread(store, "thr_1").await, Some(Found::Open(record)));
    assert_eq!(by_thread(store, "thr_2").await, None);
    let nobody = SessionId::random();
    assert_eq!(bind(store, nobody, run, "thr_3").await, Bound::LeaseLost);
}

/// Checks that no session is bound to another one's thread, and that it can be bound to another.
pub async fn a_thread_belongs_to_one_session(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    assert!(matches!(bind(store, id, run, "thr_1").await, Bound::ThreadReused(_)));
    assert_eq!(by_thread(store, "thr_1").await.unwrap().open().unwrap().id, owner);
    assert_eq!(get(store, id).await.thread_id, None);
    // The lease is still held, and good for another thread.
    assert!(matches!(begin(store, id, at(1)).await, RunStart::Busy));
    assert_eq!(bind(store, id, run, "thr_2").await, Bound::Done);
    // A deleted session's thread is nobody's.
    assert_eq!(delete(store, owner, at(0)).await, Deletion::Done);
    assert_eq!(by_thread(store, "thr_1").await, None);
    create_bound(store, "bob", "thr_1").await;
}

/// Checks that a first run is told whether the session has a title.
pub async fn a_first_run_says_whether_there_is_a_title(store: &Store) {
    let id = create(store, "ada").await;
    for titled in [false, true] {
        let begin = new_run(None, at(0));
        match begin_with(store, id, begin).await {
            RunStart::First { titled: found, .. } => assert_eq!(found, titled),
            other => panic!("it is free: {other:?}"),
        }
        settle(store, id, begin.run, Settlement::default());
        store.set_title(id, Some("Turin".to_owned()), at(1)).await.unwrap();
    }
}

/// Checks that a first run whose future was dropped leaves neither its lease nor its place.
pub async fn a_dropped_first_run_gives_its_lease_back(store: &Store) {
    let id = create(store, "ada").await;
    let ada = user("ada");
    for _ in 0..50 {
        let begin = new_run(None, at(0));
        match abandon(store.begin_run(id.into(), OnThread::Any, &ada, begin)) {
            Poll::Pending => {}
            Poll::Ready(Ok(RunStart::First { .. })) => {
                settle(store, id, begin.run, Settlement::default());
            }
            Poll::Ready(other) => panic!("{other:?}"),
        }
        // By the time that a later write is done.
        store.ping().await.unwrap();
        // The place in flight must have come back too, or a limit of one would refuse.
        let run = first_of(store, id, max(1), at(0)).await;
        settle(store, id, run, Settlement::default());
    }
}

/// Checks that a first run that has begun again stays when the call that began it is dropped, and goes
/// when all are that began it.
pub async fn a_first_run_that_begins_again_outlives_a_dropped_call(store: &Store) {
    let (id, ada, run) = (create(store, "ada").await, user("ada"), new_run(None, at(0)));
    let begun = || store.begin_run(id.into(), OnThread::Any, &ada, run);
    let mut calls = [begun(), begun(), begun()];
    let mut is_told = false;
    for call in &mut calls {
        is_told |= poll_once(call).is_ready();
        // By the time that a later write is done.
        store.ping().await.unwrap();
    }
    drop(calls);
    if is_told {
        settle(store, id, run.run, Settlement::default());
    }
    let other = first_of(store, id, max(1), at(0)).await;
    settle(store, id, other, Settlement::default());

    let mut calls = [begun(), begun()];
    for call in &mut calls {
        let _ = poll_once(call);
        store.ping().await.unwrap();
    }
    let start = begun().await.unwrap();
    assert!(matches!(start, RunStart::First { session, .. } if session == id), "{start:?}");
    drop(calls);
    store.ping().await.unwrap();
    assert!(matches!(begin(store, id, at(0)).await, RunStart::Busy));
    assert_eq!(bind(store, id, run.run, "thr_1").await, Bound::Done);
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
}

/// Checks that a session whose lease is held is busy, whether or not its limit is reached.
pub async fn busy_comes_before_the_limit(store: &Store) {
    let id = create(store, "ada").await;
    let run = first_of(store, id, max(1), at(0)).await;
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::Busy));
    // Taken over or not, the first run is in flight until it is settled.
    assert!(matches!(begin_of(store, id, max(1), at(30)).await, RunStart::MessageLimit));
    settle(store, id, run, Settlement::default());
    assert!(matches!(begin_of(store, id, max(1), at(30)).await, RunStart::First { .. }));
}

/// Checks that a first run that begins again has what it had, and one place.
pub async fn a_first_run_that_begins_again_takes_nothing_more(store: &Store) {
    let id = create(store, "ada").await;
    let begin_run = new_run(max(1), at(0));
    for now in [at(0), at(1), at(29)] {
        // The limit is reached by the run itself.
        let again = BeginRun { now, ..begin_run };
        let start = begin_with(store, id, again).await;
        assert!(matches!(start, RunStart::First { session, .. } if session == id), "{start:?}");
    }
    assert!(matches!(begin_of(store, id, max(2), at(29)).await, RunStart::Busy));
    assert_eq!(bind(store, id, begin_run.run, "thr_1").await, Bound::Done);
    // One place and no other: it was bound with it, and is in flight.
    assert!(matches!(begin_of(store, id, max(1), at(29)).await, RunStart::MessageLimit));
    let beside = next(store, id, at(29)).await;
    settle(store, id, beside, Settlement::default());
    settle(store, id, begin_run.run, messages(2));
    settle(store, id, begin_run.run, messages(2));
    assert_eq!(get(store, id).await.message_count.known(), Some(2));
    assert!(matches!(begin_of(store, id, max(3), at(29)).await, RunStart::Next { .. }));
    assert!(matches!(begin_of(store, id, max(3), at(29)).await, RunStart::MessageLimit));
}

/// Checks that a first run that begins again, by ten calls at once, is one run.
pub async fn a_first_run_that_begins_at_once_with_itself_is_one(store: &Store) {
    let id = create(store, "ada").await;
    let begin_run = new_run(max(1), at(0));
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        calls.spawn(async move { begin_with(&store, id, begin_run).await });
    }
    for start in calls.join_all().await {
        assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    }
    settle(store, id, begin_run.run, Settlement::default());
    first_of(store, id, max(1), at(0)).await;
}
