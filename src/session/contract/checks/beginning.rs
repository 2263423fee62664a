//! Which runs begin: whose, and on which thread.

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, begin, begin_of, begin_with, bind, create, create_bound, first, get, made, max, messages,
    new_run, new_session, settle, user,
};
use crate::session::{
    Bound, ConversationId, MessageCount, NewConversation, NewSession, OnThread, RunId, RunStart,
    SessionId, SessionKey, Settlement,
};

/// Begins a new run.
async fn asked(
    store: &Store,
    session: SessionKey<'_>,
    on: OnThread<'_>,
    user_id: &str,
    limit: Option<u32>,
) -> RunStart {
    let begin = new_run(limit.and_then(max), at(0));
    store.begin_run(session, on, &user(user_id), begin).await.unwrap()
}

/// Checks that no run begins where there is no session, and that nothing comes of one that is settled
/// there.
pub async fn a_run_of_nothing_is_unknown(store: &Store) {
    let nobody = SessionId::random();
    assert!(matches!(begin(store, nobody, at(0)).await, RunStart::Unknown));
    settle(store, nobody, RunId::random(), messages(3));
    store.set_message_count(nobody, MessageCount::Known(0), 3).await.unwrap();
    assert_eq!(store.get(nobody.into()).await.unwrap(), None);
}

/// Checks that who may not have a run learns that, and nothing else of the session.
pub async fn a_run_that_is_not_the_callers_changes_nothing(store: &Store) {
    let bound = create_bound(store, "ada", "thr_1").await;
    let other = create_bound(store, "ada", "thr_2").await;
    let unbound = create(store, "ada").await;
    let leased = create(store, "ada").await;
    let run = first(store, leased, at(0)).await;
    let asked = async |id: SessionId, user_id: &str, on: OnThread<'_>, limit| {
        asked(store, id.into(), on, user_id, limit).await
    };
    for (id, thread_id) in [(bound, "thr_1"), (unbound, "thr_3"), (leased, "thr_3")] {
        let before = get(store, id).await;
        for limit in [None, Some(1)] {
            let named = [thread_id, "thr_2", ""].map(OnThread::Named);
            for on in [OnThread::Any, OnThread::Bound].into_iter().chain(named) {
                let start = asked(id, "eve", on, limit).await;
                assert!(matches!(start, RunStart::Foreign), "{start:?}");
                // Compared exactly.
                let start = asked(id, "Ada", on, limit).await;
                assert!(matches!(start, RunStart::Foreign), "{start:?}");
            }
            for named in ["thr_2", "thr_", "thr_11", "THR_1", "thr_9", ""] {
                let start = asked(id, "ada", OnThread::Named(named), limit).await;
                assert!(matches!(start, RunStart::OtherThread), "{named}: {start:?}");
            }
        }
        assert_eq!(get(store, id).await, before);
    }
    let start = asked(SessionId::random(), "eve", OnThread::Named("thr_1"), None).await;
    assert!(matches!(start, RunStart::Unknown), "{start:?}");
    // No place was taken, and no lease.
    let start = asked(bound, "ada", OnThread::Named("thr_1"), Some(1)).await;
    let RunStart::Next { thread_id, .. } = start else { panic!("there is a place: {start:?}") };
    assert_eq!(*thread_id, *"thr_1");
    let start = asked(unbound, "ada", OnThread::Any, Some(1)).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    assert!(matches!(asked(leased, "ada", OnThread::Any, Some(1)).await, RunStart::Busy));
    assert_eq!(bind(store, leased, run, "thr_3").await, Bound::Done);
    let start = asked(other, "ada", OnThread::Named("thr_2"), None).await;
    assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
}

/// Checks that a run begins by any name of its session, and says which session that is.
pub async fn a_run_begins_by_any_name_of_its_session(store: &Store) {
    let conversation = ConversationId::Conv(7);
    let session = NewSession { conversation: Some(NewConversation::Conv(7)), ..new_session("ada") };
    let id = made(store, session).await.id;
    for nobodys in [SessionKey::Thread("thr_1"), ConversationId::Conv(8).into()] {
        let start = asked(store, nobodys, OnThread::Any, "ada", None).await;
        assert!(matches!(start, RunStart::Unknown), "{nobodys:?}: {start:?}");
    }
    let first = new_run(None, at(0));
    let start = store.begin_run(conversation.into(), OnThread::Any, &user("ada"), first).await;
    let start = start.unwrap();
    assert!(matches!(start, RunStart::First { session, .. } if session == id), "{start:?}");
    assert_eq!(bind(store, id, first.run, "thr_1").await, Bound::Done);
    settle(store, id, first.run, Settlement::default());
    for key in [id.into(), conversation.into(), SessionKey::Thread("thr_1")] {
        for on in [OnThread::Any, OnThread::Bound, OnThread::Named("thr_1")] {
            match asked(store, key, on, "ada", None).await {
                RunStart::Next { session, thread_id } => {
                    assert_eq!((session, &*thread_id), (id, "thr_1"), "{key:?}");
                }
                other => panic!("{key:?}: {other:?}"),
            }
        }
        let start = asked(store, key, OnThread::Named("thr_2"), "ada", None).await;
        assert!(matches!(start, RunStart::OtherThread), "{key:?}: {start:?}");
        let start = asked(store, key, OnThread::Any, "eve", None).await;
        assert!(matches!(start, RunStart::Foreign), "{key:?}: {start:?}");
    }
    // Nine are in flight, however they were called.
    assert!(matches!(begin_of(store, id, max(9), at(0)).await, RunStart::MessageLimit));
    assert!(matches!(begin_of(store, id, max(10), at(0)).await, RunStart::Next { .. }));
}

/// Checks that a run that wants a bound session takes nothing of an unbound one.
pub async fn a_run_of_what_is_to_be_bound_takes_nothing(store: &Store) {
    let id = create(store, "ada").await;
    let before = get(store, id).await;
    for limit in [None, Some(1)] {
        let start = asked(store, id.into(), OnThread::Bound, "ada", limit).await;
        assert!(matches!(start, RunStart::Unbound), "{start:?}");
    }
    assert_eq!(get(store, id).await, before);
    let run = first(store, id, at(0)).await;
    // Nor does it come to whether the session is busy.
    let start = asked(store, id.into(), OnThread::Bound, "ada", Some(1)).await;
    assert!(matches!(start, RunStart::Unbound), "{start:?}");
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    settle(store, id, run, Settlement::default());
    let start = asked(store, id.into(), OnThread::Bound, "ada", Some(1)).await;
    assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
}

/// Checks that a run that begins again has what it had, and one place.
pub async fn a_run_that_begins_again_takes_nothing_more(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let run = new_run(max(1), at(0));
    for _ in 0..3 {
        // The limit is reached by the run itself.
        match begin_with(store, id, run).await {
            RunStart::Next { session, thread_id } => {
                assert_eq!((session, &*thread_id), (id, "thr_1"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
    settle(store, id, run.run, messages(2));
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(2));
    assert!(matches!(begin_of(store, id, max(3), at(0)).await, RunStart::Next { .. }));
    assert!(matches!(begin_of(store, id, max(3), at(0)).await, RunStart::MessageLimit));
}

/// Checks that a run that begins again, by ten calls at once, is one run.
pub async fn a_run_that_begins_at_once_with_itself_is_one(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let run = new_run(max(1), at(0));
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        calls.spawn(async move { begin_with(&store, id, run).await });
    }
    for start in calls.join_all().await {
        assert!(matches!(start, RunStart::Next { .. }), "{start:?}");
    }
    settle(store, id, run.run, Settlement::default());
    assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::Next { .. }));
}

/// Checks that who may not have a run doesn't get one that has begun.
pub async fn a_run_that_has_begun_is_nobody_elses(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    let run = new_run(None, at(0));
    assert!(matches!(begin_with(store, id, run).await, RunStart::Next { .. }));
    let start = store.begin_run(id.into(), OnThread::Any, &user("eve"), run).await.unwrap();
    assert!(matches!(start, RunStart::Foreign), "{start:?}");
    let named = OnThread::Named("thr_2");
    let start = store.begin_run(id.into(), named, &user("ada"), run).await.unwrap();
    assert!(matches!(start, RunStart::OtherThread), "{start:?}");
}
