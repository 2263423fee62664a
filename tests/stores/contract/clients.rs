//! Pages of threads, client sessions and their key.

use std::num::NonZeroU32;

use chatkit_rest::session::{
    Bound, ClientSession, ClientSessionStatus, SessionId, SessionRecord, ThreadsPage,
};
use tokio::task::JoinSet;

use crate::support::{Store, at, create, create_bound, first, user};

fn page(limit: usize) -> ThreadsPage {
    ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit }
}

async fn threads(store: &Store, page: ThreadsPage) -> Vec<String> {
    let records = store.threads(page).await.unwrap();
    records.iter().map(|record| record.thread_id.as_deref().unwrap().to_owned()).collect()
}

async fn bound_at(store: &Store, user_id: &str, thread_id: &str, seconds: i64) -> SessionId {
    let id = create(store, user_id).await;
    let lease = first(store, id, at(0)).await;
    let bound = store.bind(id, lease, thread_id.into(), at(seconds)).await.unwrap();
    assert_eq!(bound, Bound::Done);
    id
}

pub(crate) async fn threads_are_in_the_order_of_their_binding(store: &Store) {
    let _unbound = create(store, "ada").await;
    for (user_id, thread_id, seconds) in [("ada", "c", 30), ("bob", "a", 10), ("ada", "b", 20)] {
        bound_at(store, user_id, thread_id, seconds).await;
    }
    assert_eq!(threads(store, page(10)).await, ["a", "b", "c"]);
    assert_eq!(threads(store, page(2)).await, ["a", "b"]);
    assert_eq!(threads(store, page(0)).await, [""; 0]);
    let newest = ThreadsPage { ascending: false, ..page(10) };
    assert_eq!(threads(store, newest).await, ["c", "b", "a"]);
    let of = |id| ThreadsPage { user_id: Some(user(id)), ..page(10) };
    assert_eq!(threads(store, of("ada")).await, ["b", "c"]);
    assert_eq!(threads(store, of("Ada")).await, [""; 0]);
    let records: Vec<SessionRecord> = store.threads(of("bob")).await.unwrap();
    assert_eq!(records, [store.by_thread("a").await.unwrap().unwrap()]);
}

pub(crate) async fn a_page_of_threads_lies_between_its_cursors(store: &Store) {
    let mut ids = Vec::new();
    for (n, thread_id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        ids.push(bound_at(store, "ada", thread_id, n.try_into().unwrap()).await);
    }
    let user_id = Some(user("ada"));
    let between = |ascending, after: usize, until: Option<usize>| ThreadsPage {
        user_id: user_id.clone(),
        ascending,
        after: Some(ids[after]),
        until: until.map(|until| ids[until]),
        limit: 10,
    };
    assert_eq!(threads(store, between(true, 1, None)).await, ["c", "d"]);
    assert_eq!(threads(store, between(true, 0, Some(3))).await, ["b", "c"]);
    assert_eq!(threads(store, between(false, 2, None)).await, ["b", "a"]);
    assert_eq!(threads(store, between(false, 3, Some(1))).await, ["c"]);
    assert_eq!(threads(store, between(true, 3, None)).await, [""; 0]);
    let before = ThreadsPage { until: Some(ids[2]), ..page(10) };
    assert_eq!(threads(store, before).await, ["a", "b"]);

    // A cursor that is none any more is the end.
    assert!(store.delete(ids[1]).await.unwrap());
    assert_eq!(threads(store, between(true, 1, None)).await, [""; 0]);
    assert_eq!(threads(store, page(10)).await, ["a", "c", "d"]);
}

pub(crate) async fn threads_bound_at_one_moment_are_all_paged_through(store: &Store) {
    for n in 0..10 {
        create_bound(store, "ada", &format!("thr_{n}")).await;
    }
    for ascending in [true, false] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = ThreadsPage { ascending, after, ..page(3) };
            let records = store.threads(page).await.unwrap();
            let Some(last) = records.last() else { break };
            after = Some(last.id);
            seen.extend(records.into_iter().map(|record| record.thread_id.unwrap()));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 10);
    }
}

pub(crate) async fn the_first_signing_key_stays(store: &Store) {
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        calls.spawn(async move { store.signing_key([n; 32]).await.unwrap() });
    }
    let keys = calls.join_all().await;
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(store.signing_key([99; 32]).await.unwrap(), keys[0]);
}

fn client_session(id: &str, created: i64, expires: i64) -> ClientSession {
    ClientSession {
        id: id.to_owned(),
        user_id: user("ada'; --"),
        created_at: at(created),
        expires_at: at(expires),
        cancelled_at: None,
        requests_per_minute: NonZeroU32::MAX,
        details: r#"{"x":"'"}"#.to_owned(),
    }
}

pub(crate) async fn a_client_session_is_stored_as_it_was_given(store: &Store) {
    let session = client_session("cksess_1", 0, 600);
    store.create_client_session(session.clone()).await.unwrap();
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session.clone()));
    assert_eq!(store.client_session("CKSESS_1").await.unwrap(), None);
    let again = ClientSession { user_id: user("eve"), ..session.clone() };
    assert!(store.create_client_session(again).await.unwrap_err().is_store());
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session));
}

pub(crate) async fn an_active_client_session_is_cancelled_once(store: &Store) {
    store.create_client_session(client_session("a", 0, 600)).await.unwrap();
    let cancel = async |id: &str, now| store.cancel_client_session(id, at(now)).await.unwrap();
    let cancelled = cancel("a", 10).await.unwrap();
    assert_eq!(cancelled.cancelled_at, Some(at(10)));
    assert_eq!(cancelled.status(at(1000)), ClientSessionStatus::Cancelled);
    assert_eq!(cancel("a", 20).await.unwrap(), cancelled);
    assert_eq!(store.client_session("a").await.unwrap(), Some(cancelled));

    store.create_client_session(client_session("b", 0, 600)).await.unwrap();
    let expired = cancel("b", 600).await.unwrap();
    assert_eq!(expired.status(at(600)), ClientSessionStatus::Expired);
    assert_eq!(expired.status(at(599)), ClientSessionStatus::Active);
    assert_eq!(cancel("c", 0).await, None);
}

pub(crate) async fn client_sessions_that_expired_long_ago_go(store: &Store) {
    const DAY: i64 = 24 * 3600;
    for n in 0..40 {
        store.create_client_session(client_session(&format!("old{n}"), 0, 600)).await.unwrap();
    }
    store.create_client_session(client_session("late", 0, 700)).await.unwrap();
    store.create_client_session(client_session("new", DAY + 650, DAY + 700)).await.unwrap();
    for n in 0..40 {
        assert_eq!(store.client_session(&format!("old{n}")).await.unwrap(), None);
    }
    for id in ["late", "new"] {
        assert!(store.client_session(id).await.unwrap().is_some(), "{id}");
    }
}
