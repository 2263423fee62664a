//! Messages: counted, limited, and what a run leaves.

use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, begin, begin_of, begin_with, bind, by_thread, create, create_bound, delete, discarding,
    first, get, list, max, messages, new_run, new_session, next, next_of, settle, user,
};
use crate::session::{Bound, Deletion, MessageCount, NewSession, RunId, RunStart, Settlement};

/// Checks that what was written to never was so earlier.
pub async fn what_was_written_to_never_was_so_earlier(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_title(id, None, at(3600)).await.unwrap();
    // The clock is set back.
    let title = Some("t".to_owned());
    let record = store.set_title(id, title.clone(), at(0)).await.unwrap().unwrap();
    assert_eq!((record.title, record.updated_at), (title, at(3600)));
    for touched_at in [at(0), at(3601), at(1)] {
        let run = next(store, id, touched_at).await;
        settle(store, id, run, Settlement { touched_at: Some(touched_at), ..messages(1) });
        let expected = touched_at.max(at(3600)).max(get(store, id).await.updated_at);
        assert_eq!(get(store, id).await.updated_at, expected);
    }
    store.ping().await.unwrap();
    assert_eq!(get(store, id).await.updated_at, at(3601));

    let new = NewSession { now: at(3600), ..new_session("ada") };
    let id = new.id;
    let _ = store.create(new, None).await.unwrap();
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, "thr_2").await, Bound::Done);
    assert_eq!(get(store, id).await.updated_at, at(3600));
}

/// Checks that the limit counts what is in flight.
pub async fn the_limit_counts_what_is_in_flight(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let begin = new_run(max(10), at(0));
            match begin_with(&store, id, begin).await {
                RunStart::Next { .. } => Some(begin.run),
                RunStart::MessageLimit => None,
                other => panic!("{other:?}"),
            }
        });
    }
    let mut runs: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(runs.len(), 10);
    assert_eq!(
        get(store, id).await.message_count,
        MessageCount::Known(0),
        "in flight is not in the thread"
    );

    // A run that failed gives its place back.
    settle(store, id, runs.remove(0), Settlement::default());
    let begin = new_run(max(10), at(0));
    match begin_with(store, id, begin).await {
        RunStart::Next { thread_id, .. } => assert_eq!(&*thread_id, "thr_1"),
        other => panic!("{other:?}"),
    }
    settle(store, id, begin.run, messages(2));
    assert!(matches!(begin_of(store, id, max(11), at(0)).await, RunStart::MessageLimit));
    runs.push(next_of(store, id, max(12), at(0)).await);
    for run in runs {
        settle(store, id, run, Settlement::default());
    }
    assert!(matches!(begin_of(store, id, max(2), at(0)).await, RunStart::MessageLimit));
    next_of(store, id, max(3), at(0)).await;
}

/// Checks that starts and ends at once stop at the limit.
pub async fn starts_and_ends_at_once_stop_at_the_limit(store: &Store) {
    // Each run adds as many messages as it held places, so at every moment, however starts,
    // ends and commits fall, there is room for exactly `LIMIT` runs in all.
    const LIMIT: u32 = 120;
    let id = create_bound(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        calls.spawn(async move {
            let mut begun = 0;
            loop {
                let run = new_run(max(LIMIT), at(0));
                let RunStart::Next { .. } = begin_with(&store, id, run).await else { break };
                begun += 1;
                tokio::task::yield_now().await;
                settle(&store, id, run.run, messages(1));
                if begun % 3 == 0 {
                    // Lets a commit happen, after which nothing of the session is in memory.
                    store.ping().await.unwrap();
                }
            }
            begun
        });
    }
    assert_eq!(calls.join_all().await.iter().sum::<u32>(), LIMIT);
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(u64::from(LIMIT)));
}

/// Checks that what is settled is seen at once.
pub async fn what_is_settled_is_seen_at_once(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    for round in 1_u32..=100 {
        let title = format!("title {round}");
        let now = at(i64::from(round));
        let run = next(store, id, now).await;
        let title = Some(Some(title));
        let touched_at = Some(now + SignedDuration::from_nanos(1_999));
        settle(store, id, run, Settlement { title, touched_at, ..messages(2) });
        let record = match round % 3 {
            0 => get(store, id).await,
            1 => by_thread(store, "thr_1").await.unwrap().open().unwrap(),
            _ => list(store, &user("ada")).await.remove(0),
        };
        assert_eq!(record.message_count, MessageCount::Known(2 * u64::from(round)));
        assert_eq!(record.title, Some(format!("title {round}")));
        assert_eq!(record.updated_at, now + SignedDuration::from_micros(1));
    }
    let run = next(store, id, at(0)).await;
    settle(store, id, run, Settlement { title: Some(None), ..Settlement::default() });
    assert_eq!(get(store, id).await.title, None);
}

/// Checks that an empty settlement changes nothing.
pub async fn an_empty_settlement_changes_nothing(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_title(id, Some("t".to_owned()), at(5)).await.unwrap();
    let before = get(store, id).await;
    let run = next(store, id, at(9)).await;
    settle(store, id, run, Settlement::default());
    assert_eq!(get(store, id).await, before);
    assert_eq!(list(store, &user("ada")).await, [before]);
}

/// Checks that the last of two titles stays.
pub async fn the_last_of_two_titles_stays(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    // One run stays in flight, so that what the store keeps of the session stays too.
    next(store, id, at(0)).await;
    for round in 0..50 {
        let run = next(store, id, at(0)).await;
        let upstream = Some(Some(format!("upstream's {round}")));
        settle(
            store,
            id,
            run,
            Settlement { title: upstream, touched_at: Some(at(1)), ..messages(0) },
        );
        let users = Some(format!("user's {round}"));
        let record = store.set_title(id, users.clone(), at(2)).await.unwrap().unwrap();
        assert_eq!((&record.title, record.updated_at), (&users, at(2)));
        assert_eq!(get(store, id).await, record);
    }
}

/// Checks that a recount replaces only what it saw.
pub async fn a_recount_replaces_only_what_it_saw(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let runs = [next(store, id, at(0)).await, next(store, id, at(0)).await];
    settle(store, id, runs[0], messages(40));
    // A run is in flight, whose messages may have been counted.
    store.set_message_count(id, MessageCount::Known(40), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(40));
    settle(store, id, runs[1], messages(2));
    // A run has ended since the count was seen.
    store.set_message_count(id, MessageCount::Known(40), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(42));
    store.set_message_count(id, MessageCount::Known(42), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(7));
    assert!(matches!(begin_of(store, id, max(7), at(0)).await, RunStart::MessageLimit));
    store.set_message_count(id, MessageCount::Known(7), 0).await.unwrap();
    // Nothing is counted any more.
    let run = next_of(store, id, max(1), at(0)).await;
    settle(store, id, run, messages(1));
    assert_eq!(list(store, &user("ada")).await[0].message_count, MessageCount::Known(1));
}

/// Checks that a count never overflows.
pub async fn a_count_never_overflows(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_message_count(id, MessageCount::Known(0), u64::MAX).await.unwrap();
    for _ in 0..2 {
        let run = next(store, id, at(0)).await;
        settle(store, id, run, messages(u64::MAX));
        assert!(get(store, id).await.message_count.known() >= Some(1 << 53));
        assert!(list(store, &user("ada")).await[0].message_count.known() >= Some(1 << 53));
        assert!(matches!(begin_of(store, id, max(u32::MAX), at(0)).await, RunStart::MessageLimit));
    }
}

/// Checks that a deleted session is settled in silence.
pub async fn a_deleted_session_is_settled_in_silence(store: &Store) {
    let bound = create_bound(store, "ada", "thr_1").await;
    let unbound = create(store, "ada").await;
    let next = next(store, bound, at(0)).await;
    let first = first(store, unbound, at(0)).await;
    for id in [bound, unbound] {
        assert_eq!(delete(store, id, at(30)).await, Deletion::Done);
    }
    assert_eq!(bind(store, unbound, first, "thr_2").await, Bound::LeaseLost);
    settle(store, bound, next, Settlement { title: Some(Some("t".to_owned())), ..messages(2) });
    settle(store, unbound, first, Settlement::default());
    for id in [bound, unbound] {
        assert_eq!(store.get(id.into()).await.unwrap(), None);
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Unknown));
    }
    assert_eq!(list(store, &user("ada")).await, []);
    store.ping().await.unwrap();
}

/// Checks that a settlement is durable when its future resolves, and says what was settled.
pub async fn a_settlement_that_resolves_is_there(store: &Store) {
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    for round in 1..=20 {
        let run = if round == 1 { run } else { next(store, id, at(0)).await };
        let title = Some(Some(format!("title {round}")));
        let settlement = Settlement { title, touched_at: Some(at(round)), ..messages(2) };
        store.settle(id, run, settlement).await.unwrap();
        let record = get(store, id).await;
        assert_eq!(record.message_count.known(), u64::try_from(2 * round).ok());
        assert_eq!(record.title, Some(format!("title {round}")));
        assert_eq!(record.updated_at, at(round));
    }
    let unbound = create(store, "ada").await;
    let run = first(store, unbound, at(0)).await;
    store.settle(unbound, run, discarding()).await.unwrap();
    assert_eq!(store.get(unbound.into()).await.unwrap(), None);
}

/// Checks that nothing comes of a run that has not begun, or in another session, or is settled.
pub async fn only_a_run_in_flight_is_settled(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let (unbound, other) = (create(store, "ada").await, create_bound(store, "ada", "thr_2").await);
    let run = next(store, id, at(0)).await;
    let elsewhere = next(store, other, at(0)).await;
    let settlement = || Settlement {
        title: Some(Some("t".to_owned())),
        touched_at: Some(at(9)),
        ..Settlement { messages: 3, ..discarding() }
    };
    let before = [get(store, id).await, get(store, unbound).await];
    for unknown in [RunId::random(), elsewhere] {
        for id in [id, unbound] {
            store.settle(id, unknown, settlement()).await.unwrap();
        }
    }
    assert_eq!([get(store, id).await, get(store, unbound).await], before);
    // The place is still taken.
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
    store.settle(id, run, messages(1)).await.unwrap();
    let before = get(store, id).await;
    store.settle(id, run, settlement()).await.unwrap();
    settle(store, id, run, settlement());
    assert_eq!(get(store, id).await, before);
    // And given back once.
    let next = next_of(store, id, max(2), at(0)).await;
    settle(store, id, run, settlement());
    assert!(matches!(begin_of(store, id, max(2), at(0)).await, RunStart::MessageLimit));
    settle(store, id, next, Settlement::default());

    let first = first(store, unbound, at(0)).await;
    store.settle(unbound, RunId::random(), settlement()).await.unwrap();
    assert!(matches!(begin(store, unbound, at(0)).await, RunStart::Busy));
    assert_eq!(bind(store, unbound, first, "thr_3").await, Bound::Done);
}

/// Checks that a session that was bound meanwhile is not discarded with its run.
pub async fn what_is_bound_is_not_discarded(store: &Store) {
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    store.settle(id, run, discarding()).await.unwrap();
    assert_eq!(get(store, id).await.thread_id.as_deref(), Some("thr_1"));
}
