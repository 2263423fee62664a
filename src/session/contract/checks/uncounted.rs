//! Sessions whose messages nobody has counted.

use std::task::Poll;

use tokio::task::JoinSet;

use super::adoption::adopted;
use crate::session::contract::Store;
use crate::session::contract::support::{
    abandon, at, begin, begin_of, begin_with, get, list, max, messages, new_run, next, next_of,
    next_with, settle, user,
};
use crate::session::{
    BeginRun, MessageCount, OnThread, RunId, RunStart, SessionId, Settlement, Uncounted,
};

/// What begins a run of a session whose messages may not be counted.
fn uncounted_run(limit: Option<u32>, uncounted: Uncounted) -> BeginRun {
    BeginRun { uncounted, ..new_run(limit.and_then(max), at(0)) }
}

async fn begin_uncounted(
    store: &Store,
    id: SessionId,
    limit: Option<u32>,
    uncounted: Uncounted,
) -> RunStart {
    begin_with(store, id, uncounted_run(limit, uncounted)).await
}

async fn next_uncounted(
    store: &Store,
    id: SessionId,
    limit: Option<u32>,
    uncounted: Uncounted,
) -> RunId {
    next_with(store, id, uncounted_run(limit, uncounted)).await
}

fn counted(messages: u64) -> Uncounted {
    Uncounted::Counted { seen: 0, messages }
}

async fn count(store: &Store, id: SessionId) -> MessageCount {
    let record = get(store, id).await;
    let listed = list(store, &record.user_id).await;
    assert!(listed.contains(&record));
    record.message_count
}

/// Checks that a limited run of a session that nobody has counted waits for its count.
pub async fn a_run_of_the_uncounted_waits_for_their_count(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    for _ in 0..3 {
        match begin_of(store, id, max(3), at(0)).await {
            RunStart::Uncounted { session, thread_id, seen } => {
                assert_eq!((session, &*thread_id, seen), (id, "thr_1", 0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count(store, id).await, MessageCount::AtLeast(0));
    // Nothing was begun, so there is room for one.
    let run = next_uncounted(store, id, Some(3), counted(2)).await;
    assert_eq!(count(store, id).await, MessageCount::Known(2));
    // What others counted too late makes no difference.
    for late in [counted(0), counted(99), Uncounted::Tell, Uncounted::Begin] {
        assert!(matches!(begin_uncounted(store, id, Some(3), late).await, RunStart::MessageLimit));
    }
    settle(store, id, run, messages(2));
    assert_eq!(count(store, id).await, MessageCount::Known(4));
    let run = next_of(store, id, max(5), at(0)).await;
    settle(store, id, run, Settlement::default());
}

/// Checks that runs that counted at once stop at the limit.
pub async fn runs_that_counted_at_once_stop_at_the_limit(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let start = begin_of(&store, id, max(10), at(0)).await;
            let RunStart::Uncounted { .. } = start else { return start };
            tokio::task::yield_now().await;
            begin_uncounted(&store, id, Some(10), counted(7)).await
        });
    }
    let outcomes = calls.join_all().await;
    let begun = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::Next { .. })).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::MessageLimit));
    assert_eq!((begun, refused.count()), (3, 47));
    assert_eq!(count(store, id).await, MessageCount::Known(7));
}

/// Checks that a count that is the limit is kept all the same.
pub async fn a_count_that_is_the_limit_is_kept_all_the_same(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let refused = begin_uncounted(store, id, Some(10), counted(10)).await;
    assert!(matches!(refused, RunStart::MessageLimit));
    assert_eq!(count(store, id).await, MessageCount::Known(10));
    next_of(store, id, max(11), at(0)).await;
}

/// Checks that a count that may have a run's messages is not kept.
pub async fn a_count_that_may_have_a_runs_messages_is_not_kept(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    // Without a limit it begins, and what is counted meanwhile may have its messages or not.
    let one = next_uncounted(store, id, None, Uncounted::Begin).await;
    let refused = begin_uncounted(store, id, Some(6), counted(5)).await;
    assert!(matches!(refused, RunStart::MessageLimit), "one is in flight: {refused:?}");
    let other = next_uncounted(store, id, Some(7), counted(5)).await;
    store.set_message_count(id, MessageCount::AtLeast(0), 5).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::AtLeast(0));
    settle(store, id, one, messages(2));
    assert_eq!(count(store, id).await, MessageCount::AtLeast(2));
    settle(store, id, other, messages(1));
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    // What was counted before those went by may lack them.
    let refused = begin_uncounted(store, id, Some(8), counted(5)).await;
    assert!(matches!(refused, RunStart::MessageLimit), "{refused:?}");
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    store.set_message_count(id, MessageCount::AtLeast(2), 6).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    let RunStart::Uncounted { seen, .. } = begin(store, id, at(0)).await else {
        panic!("nobody has counted")
    };
    let anew = Uncounted::Counted { seen, messages: 8 };
    let run = next_uncounted(store, id, Some(9), anew).await;
    settle(store, id, run, messages(1));
    assert_eq!(count(store, id).await, MessageCount::Known(9));
}

/// Checks that a count that somebody else brings is not kept.
pub async fn a_count_that_somebody_else_brings_is_not_kept(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let begin = uncounted_run(None, counted(8));
    let on = OnThread::Named("thr_1");
    let start = store.begin_run(id.into(), on, &user("eve"), begin).await.unwrap();
    assert!(matches!(start, RunStart::Foreign), "{start:?}");
    let on = OnThread::Named("thr_2");
    let start = store.begin_run(id.into(), on, &user("ada"), begin).await.unwrap();
    assert!(matches!(start, RunStart::OtherThread), "{start:?}");
    assert_eq!(get(store, id).await.message_count, MessageCount::AtLeast(0));
}

/// Checks that whoever reads all of an adopted thread counts it.
pub async fn whoever_reads_all_of_an_adopted_thread_counts_it(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let seen = get(store, id).await.message_count;
    store.set_message_count(id, seen, 6).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::Known(6));
    store.set_message_count(id, seen, 9).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::Known(6));
    assert!(matches!(begin_of(store, id, max(6), at(0)).await, RunStart::MessageLimit));
}

/// Checks that a count of an adopted thread never overflows.
pub async fn a_count_of_an_adopted_thread_never_overflows(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    for _ in 0..3 {
        let run = next_uncounted(store, id, None, Uncounted::Begin).await;
        settle(store, id, run, messages(u64::MAX));
        assert_eq!(get(store, id).await.message_count.known(), None);
        assert_eq!(list(store, &user("ada")).await[0].message_count.known(), None);
    }
    let seen = get(store, id).await.message_count;
    store.set_message_count(id, seen, u64::MAX).await.unwrap();
    for _ in 0..2 {
        assert!(get(store, id).await.message_count.known() > Some(1 << 52));
        assert!(list(store, &user("ada")).await[0].message_count.known() > Some(1 << 52));
        let run = next(store, id, at(0)).await;
        settle(store, id, run, messages(u64::MAX));
    }
}

/// Checks that a dropped counted run gives its place back.
pub async fn a_dropped_counted_run_gives_its_place_back(store: &Store) {
    let (id, ada) = (adopted(store, "ada", "thr_1").await, user("ada"));
    for _ in 0..20 {
        let begin = uncounted_run(Some(9), counted(8));
        let start = abandon(store.begin_run(id.into(), OnThread::Any, &ada, begin));
        if let Poll::Ready(Ok(RunStart::Next { .. })) = start {
            settle(store, id, begin.run, Settlement::default());
        }
    }
    store.ping().await.unwrap();
    next_uncounted(store, id, Some(9), counted(8)).await;
    assert!(matches!(begin_of(store, id, max(9), at(0)).await, RunStart::MessageLimit));
}
