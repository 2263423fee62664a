//! Runs: leases, bindings, limits of messages and settlements.

use std::task::Poll;
use std::time::Duration;

use chatkit_rest::session::{
    BeginRun, Bound, Deletion, Found, Lease, MessageCount, NewSession, Released, RunStart,
    SessionId, Settlement, ThreadId, Uncounted,
};
use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::support::{
    Store, abandon, at, begin, begin_of, bind, create, create_bound, first, get, list, max,
    messages, new_session, user,
};

fn releasing(lease: Lease) -> Settlement {
    Settlement { lease: Some(lease), ..Settlement::default() }
}

pub(crate) async fn twenty_first_runs_at_once_make_one_lease(store: &Store) {
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

pub(crate) async fn settling_frees_the_lease_at_once(store: &Store) {
    let id = create(store, "ada").await;
    let mut last = None;
    for _ in 0..20 {
        let lease = first(store, id, at(0)).await;
        assert_ne!(last.replace(lease), Some(lease), "each holder has a number of its own");
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Busy));
        store.settle(id, releasing(lease));
        assert_eq!(bind(store, id, lease, "thr_late").await, Bound::LeaseLost);
    }
}

pub(crate) async fn a_lease_ends_with_its_time(store: &Store) {
    let id = create(store, "ada").await;
    first(store, id, at(0)).await;
    let just_before = at(30) - SignedDuration::from_micros(1);
    assert!(matches!(begin(store, id, just_before).await, RunStart::Busy));
    first(store, id, at(30)).await;
    assert!(matches!(begin(store, id, at(59)).await, RunStart::Busy));
}

pub(crate) async fn a_lease_does_not_last_longer_when_the_clock_is_set_back(store: &Store) {
    let id = create(store, "ada").await;
    let before = first(store, id, at(3600)).await;
    // A clock is corrected by some milliseconds all the time.
    assert!(matches!(begin(store, id, at(3599)).await, RunStart::Busy));
    let after = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, before, "thr_1").await, Bound::LeaseLost);
    assert!(matches!(begin(store, id, at(29)).await, RunStart::Busy));
    assert_eq!(bind(store, id, after, "thr_1").await, Bound::Done);
}

pub(crate) async fn what_was_written_to_never_was_so_earlier(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_title(id, None, at(3600)).await.unwrap();
    // The clock is set back.
    let title = Some("t".to_owned());
    let record = store.set_title(id, title.clone(), at(0)).await.unwrap().unwrap();
    assert_eq!((record.title, record.updated_at), (title, at(3600)));
    for touched_at in [at(0), at(3601), at(1)] {
        assert!(matches!(begin(store, id, touched_at).await, RunStart::Next(_)));
        store.settle(id, Settlement { touched_at: Some(touched_at), ..messages(1) });
        let expected = touched_at.max(at(3600)).max(get(store, id).await.updated_at);
        assert_eq!(get(store, id).await.updated_at, expected);
    }
    store.ping().await.unwrap();
    assert_eq!(get(store, id).await.updated_at, at(3601));

    let new = NewSession { now: at(3600), ..new_session("ada") };
    let id = new.id;
    let _ = store.create(new, None).await.unwrap();
    let lease = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, lease, "thr_2").await, Bound::Done);
    assert_eq!(get(store, id).await.updated_at, at(3600));
}

pub(crate) async fn a_late_bind_has_lost_its_lease(store: &Store) {
    let id = create(store, "ada").await;
    let late = first(store, id, at(0)).await;
    let next = first(store, id, at(30)).await;
    assert_eq!(bind(store, id, late, "thr_late").await, Bound::LeaseLost);
    assert_eq!(get(store, id).await.thread_id, None);
    assert_eq!(bind(store, id, next, "thr_next").await, Bound::Done);
    assert_eq!(bind(store, id, late, "thr_late").await, Bound::LeaseLost);
    assert_eq!(get(store, id).await.thread_id, Some(ThreadId::from("thr_next")));
    assert_eq!(store.by_thread("thr_late").await.unwrap(), None);
}

pub(crate) async fn a_late_settle_leaves_the_next_lease_alone(store: &Store) {
    let id = create(store, "ada").await;
    let late = first(store, id, at(0)).await;
    let next = first(store, id, at(30)).await;
    store.settle(id, releasing(late));
    assert!(matches!(begin(store, id, at(31)).await, RunStart::Busy));
    store.settle(id, releasing(next));
    let after = first(store, id, at(31)).await;
    // Whoever was taken over lost the session even if the successor gave it back.
    assert_eq!(bind(store, id, late, "thr_1").await, Bound::LeaseLost);
    assert_eq!(bind(store, id, after, "thr_1").await, Bound::Done);
}

pub(crate) async fn a_lease_that_nobody_took_over_still_binds(store: &Store) {
    let id = create(store, "ada").await;
    let lease = first(store, id, at(0)).await;
    let bound =
        store.bind(id, &user("ada"), lease, ThreadId::from("thr_1"), at(600)).await.unwrap();
    assert_eq!(bound, Bound::Done);
    assert_eq!(get(store, id).await.updated_at, at(600));
}

pub(crate) async fn a_lease_binds_once(store: &Store) {
    let id = create(store, "ada").await;
    let lease = first(store, id, at(0)).await;
    let forged = Lease::new(lease.number() + 1);
    for forged in [forged, Lease::new(0), Lease::new(u64::MAX)] {
        assert_eq!(bind(store, id, forged, "thr_forged").await, Bound::LeaseLost);
    }
    assert_eq!(bind(store, id, lease, "thr_1").await, Bound::Done);
    assert_eq!(bind(store, id, lease, "thr_2").await, Bound::LeaseLost);
    let record = get(store, id).await;
    assert_eq!(record.thread_id, Some(ThreadId::from("thr_1")));
    assert_eq!(store.by_thread("thr_1").await.unwrap(), Some(Found::Open(record)));
    assert_eq!(store.by_thread("thr_2").await.unwrap(), None);
    let nobody = SessionId::random();
    assert_eq!(bind(store, nobody, lease, "thr_3").await, Bound::LeaseLost);
}

pub(crate) async fn a_thread_belongs_to_one_session(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let id = create(store, "eve").await;
    let lease = first(store, id, at(0)).await;
    assert!(matches!(bind(store, id, lease, "thr_1").await, Bound::ThreadReused(_)));
    assert_eq!(store.release("thr_1").await.unwrap(), Released::ToOwner);
    assert_eq!(store.by_thread("thr_1").await.unwrap().unwrap().open().unwrap().id, owner);
    assert_eq!(get(store, id).await.thread_id, None);
    // The lease is still held, and good for another thread.
    assert!(matches!(begin(store, id, at(1)).await, RunStart::Busy));
    assert_eq!(bind(store, id, lease, "thr_2").await, Bound::Done);
    // A deleted session's thread is nobody's.
    assert_eq!(store.delete(owner, at(0)).await.unwrap(), Deletion::Done);
    assert_eq!(store.by_thread("thr_1").await.unwrap(), None);
    create_bound(store, "bob", "thr_1").await;
}

pub(crate) async fn a_run_of_nothing_is_unknown(store: &Store) {
    let nobody = SessionId::random();
    assert!(matches!(begin(store, nobody, at(0)).await, RunStart::Unknown));
    store.settle(nobody, messages(3));
    store.set_message_count(nobody, MessageCount::Known(0), 3).await.unwrap();
    assert_eq!(store.get(nobody).await.unwrap(), None);
}

/// Checks that who may not have the run learns that, and nothing else of the session.
pub(crate) async fn a_run_that_is_not_the_callers_changes_nothing(store: &Store) {
    let bound = create_bound(store, "ada", "thr_1").await;
    let other = create_bound(store, "ada", "thr_2").await;
    let unbound = create(store, "ada").await;
    let leased = create(store, "ada").await;
    let lease = first(store, leased, at(0)).await;
    let asked = async |id, user_id: &str, named, limit| {
        let (lease, uncounted) = (Duration::from_secs(30), Uncounted::Tell);
        let begin = BeginRun { max_messages: limit, lease, now: at(0), uncounted };
        store.begin_run(id, &user(user_id), named, begin).await.unwrap()
    };
    for (id, thread_id) in [(bound, "thr_1"), (unbound, "thr_3"), (leased, "thr_3")] {
        let before = get(store, id).await;
        for limit in [None, max(1)] {
            for named in [None, Some(thread_id), Some("thr_2"), Some("")] {
                let start = asked(id, "eve", named, limit).await;
                assert!(matches!(start, RunStart::Foreign), "{start:?}");
                // Compared exactly.
                let start = asked(id, "Ada", named, limit).await;
                assert!(matches!(start, RunStart::Foreign), "{start:?}");
            }
            for named in ["thr_2", "thr_", "thr_11", "THR_1", "thr_9", ""] {
                let start = asked(id, "ada", Some(named), limit).await;
                assert!(matches!(start, RunStart::OtherThread), "{named}: {start:?}");
            }
        }
        assert_eq!(get(store, id).await, before);
    }
    let start = asked(SessionId::random(), "eve", Some("thr_1"), None).await;
    assert!(matches!(start, RunStart::Unknown), "{start:?}");
    // No place was taken, and no lease.
    let RunStart::Next(thread_id) = asked(bound, "ada", Some("thr_1"), max(1)).await else {
        panic!("there is a place");
    };
    assert_eq!(*thread_id, *"thr_1");
    assert!(matches!(asked(unbound, "ada", None, max(1)).await, RunStart::First { .. }));
    assert!(matches!(asked(leased, "ada", None, max(1)).await, RunStart::Busy));
    assert_eq!(bind(store, leased, lease, "thr_3").await, Bound::Done);
    assert!(matches!(asked(other, "ada", Some("thr_2"), None).await, RunStart::Next(_)));
}

pub(crate) async fn a_first_run_says_whether_there_is_a_title(store: &Store) {
    let id = create(store, "ada").await;
    for titled in [false, true] {
        let RunStart::First { lease, titled: found } = begin(store, id, at(0)).await else {
            panic!("it is free");
        };
        assert_eq!(found, titled);
        store.settle(id, releasing(lease));
        store.set_title(id, Some("Turin".to_owned()), at(1)).await.unwrap();
    }
}

pub(crate) async fn a_dropped_first_run_gives_its_lease_back(store: &Store) {
    let id = create(store, "ada").await;
    for _ in 0..50 {
        let begun = abandon(begin(store, id, at(0)));
        match begun {
            Poll::Pending => {}
            Poll::Ready(RunStart::First { lease, .. }) => store.settle(id, releasing(lease)),
            Poll::Ready(other) => panic!("{other:?}"),
        }
        // The place in flight must have come back too, or a limit of one would refuse.
        let RunStart::First { lease, .. } = begin_of(store, id, max(1), at(0)).await else {
            panic!("the lease or the place is still held");
        };
        store.settle(id, releasing(lease));
    }
}

pub(crate) async fn busy_comes_before_the_limit(store: &Store) {
    let id = create(store, "ada").await;
    let RunStart::First { lease, .. } = begin_of(store, id, max(1), at(0)).await else {
        panic!("the first message of one is allowed");
    };
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::Busy));
    // Taken over or not, the first run is in flight until it is settled.
    assert!(matches!(begin_of(store, id, max(1), at(30)).await, RunStart::MessageLimit));
    store.settle(id, releasing(lease));
    assert!(matches!(begin_of(store, id, max(1), at(30)).await, RunStart::First { .. }));
}

pub(crate) async fn the_limit_counts_what_is_in_flight(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move { begin_of(&store, id, max(10), at(0)).await });
    }
    let outcomes = calls.join_all().await;
    let begun = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::Next(_))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::MessageLimit));
    assert_eq!((begun, refused.count()), (10, 40));
    assert_eq!(
        get(store, id).await.message_count,
        MessageCount::Known(0),
        "in flight is not in the thread"
    );

    store.settle(id, Settlement::default());
    let RunStart::Next(thread_id) = begin_of(store, id, max(10), at(0)).await else {
        panic!("a run that failed gave its place back");
    };
    assert_eq!(&*thread_id, "thr_1");
    store.settle(id, messages(2));
    assert!(matches!(begin_of(store, id, max(11), at(0)).await, RunStart::MessageLimit));
    assert!(matches!(begin_of(store, id, max(12), at(0)).await, RunStart::Next(_)));
    for _ in 0..10 {
        store.settle(id, Settlement::default());
    }
    assert!(matches!(begin_of(store, id, max(2), at(0)).await, RunStart::MessageLimit));
    assert!(matches!(begin_of(store, id, max(3), at(0)).await, RunStart::Next(_)));
}

pub(crate) async fn starts_and_ends_at_once_stop_at_the_limit(store: &Store) {
    // Each run adds as many messages as it held places, so at every moment, however starts,
    // ends and commits fall, there is room for exactly `LIMIT` runs in all.
    const LIMIT: u32 = 120;
    let id = create_bound(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        calls.spawn(async move {
            let mut begun = 0;
            while let RunStart::Next(_) = begin_of(&store, id, max(LIMIT), at(0)).await {
                begun += 1;
                tokio::task::yield_now().await;
                store.settle(id, messages(1));
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

pub(crate) async fn what_is_settled_is_seen_at_once(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    for round in 1_u32..=100 {
        let title = format!("title {round}");
        let now = at(i64::from(round));
        assert!(matches!(begin(store, id, now).await, RunStart::Next(_)));
        let title = Some(Some(title));
        let touched_at = Some(now + SignedDuration::from_nanos(1_999));
        store.settle(id, Settlement { title, touched_at, ..messages(2) });
        let record = match round % 3 {
            0 => get(store, id).await,
            1 => store.by_thread("thr_1").await.unwrap().unwrap().open().unwrap(),
            _ => list(store, &user("ada")).await.remove(0),
        };
        assert_eq!(record.message_count, MessageCount::Known(2 * u64::from(round)));
        assert_eq!(record.title, Some(format!("title {round}")));
        assert_eq!(record.updated_at, now + SignedDuration::from_micros(1));
    }
    assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
    store.settle(id, Settlement { title: Some(None), ..Settlement::default() });
    assert_eq!(get(store, id).await.title, None);
}

pub(crate) async fn an_empty_settlement_changes_nothing(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_title(id, Some("t".to_owned()), at(5)).await.unwrap();
    let before = get(store, id).await;
    assert!(matches!(begin(store, id, at(9)).await, RunStart::Next(_)));
    store.settle(id, Settlement::default());
    assert_eq!(get(store, id).await, before);
    assert_eq!(list(store, &user("ada")).await, [before]);
}

pub(crate) async fn the_last_of_two_titles_stays(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    // One run stays in flight, so that what the store keeps of the session stays too.
    assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
    for round in 0..50 {
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
        let upstream = Some(Some(format!("upstream's {round}")));
        store.settle(id, Settlement { title: upstream, touched_at: Some(at(1)), ..messages(0) });
        let users = Some(format!("user's {round}"));
        let record = store.set_title(id, users.clone(), at(2)).await.unwrap().unwrap();
        assert_eq!((&record.title, record.updated_at), (&users, at(2)));
        assert_eq!(get(store, id).await, record);
    }
}

pub(crate) async fn a_recount_replaces_only_what_it_saw(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    for _ in 0..2 {
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
    }
    store.settle(id, messages(40));
    // A run is in flight, whose messages may have been counted.
    store.set_message_count(id, MessageCount::Known(40), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(40));
    store.settle(id, messages(2));
    // A run has ended since the count was seen.
    store.set_message_count(id, MessageCount::Known(40), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(42));
    store.set_message_count(id, MessageCount::Known(42), 7).await.unwrap();
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(7));
    assert!(matches!(begin_of(store, id, max(7), at(0)).await, RunStart::MessageLimit));
    store.set_message_count(id, MessageCount::Known(7), 0).await.unwrap();
    let RunStart::Next(_) = begin_of(store, id, max(1), at(0)).await else {
        panic!("nothing is counted any more");
    };
    store.settle(id, messages(1));
    assert_eq!(list(store, &user("ada")).await[0].message_count, MessageCount::Known(1));
}

pub(crate) async fn a_count_never_overflows(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    store.set_message_count(id, MessageCount::Known(0), u64::MAX).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
        store.settle(id, messages(u64::MAX));
        assert!(get(store, id).await.message_count.known() >= Some(1 << 53));
        assert!(list(store, &user("ada")).await[0].message_count.known() >= Some(1 << 53));
        assert!(matches!(begin_of(store, id, max(u32::MAX), at(0)).await, RunStart::MessageLimit));
    }
}

pub(crate) async fn a_deleted_session_is_settled_in_silence(store: &Store) {
    let bound = create_bound(store, "ada", "thr_1").await;
    let unbound = create(store, "ada").await;
    assert!(matches!(begin(store, bound, at(0)).await, RunStart::Next(_)));
    let lease = first(store, unbound, at(0)).await;
    for id in [bound, unbound] {
        assert_eq!(store.delete(id, at(0)).await.unwrap(), Deletion::Done);
    }
    assert_eq!(bind(store, unbound, lease, "thr_2").await, Bound::LeaseLost);
    store.settle(bound, Settlement { title: Some(Some("t".to_owned())), ..messages(2) });
    store.settle(unbound, releasing(lease));
    for id in [bound, unbound] {
        assert_eq!(store.get(id).await.unwrap(), None);
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Unknown));
    }
    assert_eq!(list(store, &user("ada")).await, []);
    store.ping().await.unwrap();
}
