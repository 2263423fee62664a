//! What is deleted, and what stays.

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, begin, bind, by_thread, create, create_bound, first, get, messages, new_run, next, settle,
    user,
};
use crate::session::{Bound, Deletion, OnThread, RunStart, SessionId, Settlement, ThreadId};

/// Checks that a session is deleted only as what it is: bound to the thread that was given, or to none.
pub async fn a_session_is_deleted_as_what_it_is(store: &Store) {
    let bound = create_bound(store, "ada", "thr_1").await;
    let unbound = create(store, "ada").await;
    let before = [get(store, bound).await, get(store, unbound).await];
    for thread_id in [None, Some("thr_2"), Some("THR_1"), Some("thr_"), Some("")] {
        let deletion = store.delete(bound, thread_id, at(0)).await.unwrap();
        assert_eq!(deletion, Deletion::Bound(ThreadId::from("thr_1")), "{thread_id:?}");
    }
    for thread_id in ["thr_1", "thr_2", ""] {
        let deletion = store.delete(unbound, Some(thread_id), at(0)).await.unwrap();
        assert_eq!(deletion, Deletion::Unknown, "{thread_id:?}");
    }
    assert_eq!([get(store, bound).await, get(store, unbound).await], before);
    for (id, thread_id) in [(bound, Some("thr_1")), (unbound, None)] {
        assert_eq!(store.delete(id, thread_id, at(0)).await.unwrap(), Deletion::Done);
        for thread_id in [thread_id, None, Some("thr_1")] {
            assert_eq!(store.delete(id, thread_id, at(0)).await.unwrap(), Deletion::Unknown);
        }
        assert_eq!(store.get(id.into()).await.unwrap(), None);
    }
    assert_eq!(by_thread(store, "thr_1").await, None);
    let nobody = SessionId::random();
    assert_eq!(store.delete(nobody, None, at(0)).await.unwrap(), Deletion::Unknown);
}

/// Checks that an unbound session stays while its first run is held, and not for longer.
pub async fn what_may_be_bound_yet_is_not_deleted(store: &Store) {
    let id = create(store, "ada").await;
    let run = first(store, id, at(0)).await;
    for now in [0, 29] {
        assert_eq!(store.delete(id, None, at(now)).await.unwrap(), Deletion::Busy);
    }
    // Whoever looked before it was bound doesn't delete it as what it was.
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    let deletion = store.delete(id, None, at(30)).await.unwrap();
    assert_eq!(deletion, Deletion::Bound(ThreadId::from("thr_1")));
    settle(store, id, run, messages(2));

    let settled = create(store, "ada").await;
    let run = first(store, settled, at(0)).await;
    settle(store, settled, run, Settlement::default());
    assert_eq!(store.delete(settled, None, at(0)).await.unwrap(), Deletion::Done);

    let late = create(store, "ada").await;
    let run = first(store, late, at(0)).await;
    assert_eq!(store.delete(late, None, at(30)).await.unwrap(), Deletion::Done);
    assert_eq!(bind(store, late, run, "thr_2").await, Bound::LeaseLost);
    assert_eq!(by_thread(store, "thr_2").await, None);

    // The clock is set back to before the lease began.
    let back = create(store, "ada").await;
    first(store, back, at(3600)).await;
    assert_eq!(store.delete(back, None, at(0)).await.unwrap(), Deletion::Done);
}

/// Checks that a bound session is deleted whatever runs in it, and that these are settled in silence.
pub async fn runs_in_flight_keep_no_bound_session(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let runs = [next(store, id, at(0)).await, next(store, id, at(0)).await];
    assert_eq!(store.delete(id, Some("thr_1"), at(0)).await.unwrap(), Deletion::Done);
    for run in runs {
        store.settle(id, run, messages(2)).await.unwrap();
    }
    assert_eq!(store.get(id.into()).await.unwrap(), None);
    // Whose thread it is next starts anew.
    let other = create_bound(store, "bob", "thr_1").await;
    assert_eq!(get(store, other).await.message_count.known(), Some(0));
}

/// Checks that of a deletion and a first run at once one happens, and never both.
pub async fn a_session_is_deleted_or_run(store: &Store) {
    for round in 0..50 {
        let id = create(store, "ada").await;
        let mut calls = JoinSet::new();
        for n in 0..4 {
            let store = store.clone();
            calls.spawn(async move {
                if (n + round) % 2 == 0 {
                    let ada = user("ada");
                    let begin = new_run(None, at(0));
                    match store.begin_run(id.into(), OnThread::Any, &ada, begin).await.unwrap() {
                        RunStart::First { .. } => Some(Some(begin.run)),
                        RunStart::Busy | RunStart::Unknown => None,
                        other => panic!("{other:?}"),
                    }
                } else {
                    match store.delete(id, None, at(0)).await.unwrap() {
                        Deletion::Done => Some(None),
                        Deletion::Busy | Deletion::Unknown => None,
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        let happened: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
        match happened[..] {
            [Some(run)] => {
                let thread_id = format!("thr_{round}");
                assert_eq!(bind(store, id, run, &thread_id).await, Bound::Done);
                assert!(matches!(begin(store, id, at(0)).await, RunStart::Next { .. }));
            }
            [None] => assert_eq!(store.get(id.into()).await.unwrap(), None),
            _ => panic!("both, or neither: {happened:?}"),
        }
    }
}

/// Checks that of a deletion and a binding at once one happens, and that the other is told.
pub async fn a_session_is_deleted_or_bound(store: &Store) {
    for round in 0..50 {
        let id = create(store, "ada").await;
        let run = first(store, id, at(0)).await;
        let thread_id = format!("thr_{round}");
        let (named, other) = (ThreadId::from(&*thread_id), store.clone());
        let binding =
            tokio::spawn(
                async move { other.bind(id, &user("ada"), run, named, at(30)).await.unwrap() },
            );
        let deletion = store.delete(id, None, at(30)).await.unwrap();
        match (binding.await.unwrap(), deletion) {
            (Bound::Done, Deletion::Bound(bound)) => assert_eq!(*bound, *thread_id),
            (Bound::LeaseLost, Deletion::Done) => {
                assert_eq!(store.get(id.into()).await.unwrap(), None);
                assert_eq!(by_thread(store, &thread_id).await, None);
            }
            both => panic!("{both:?}"),
        }
    }
}
