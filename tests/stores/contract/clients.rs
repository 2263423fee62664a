//! Pages of threads, client sessions and their key.

use std::num::NonZeroU32;

use chatkit_rest::session::{
    Bound, ClientSession, ClientSessionCreated, ClientSessionStatus, Deletion, SessionId,
    ThreadPlace, ThreadsPage,
};
use tokio::task::JoinSet;

use crate::support::{Store, at, create, create_bound, first, user};

fn page(limit: usize) -> ThreadsPage {
    ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit }
}

async fn threads(store: &Store, page: ThreadsPage) -> Vec<String> {
    let records = store.threads(page).await.unwrap();
    records.iter().map(|placed| placed.record.thread_id.as_deref().unwrap().to_owned()).collect()
}

async fn bound_at(store: &Store, user_id: &str, thread_id: &str, seconds: i64) -> SessionId {
    let id = create(store, user_id).await;
    let lease = first(store, id, at(0)).await;
    let bound = store.bind(id, &user(user_id), lease, thread_id.into(), at(seconds)).await.unwrap();
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
    let placed = store.threads(of("bob")).await.unwrap().remove(0);
    assert_eq!(placed.record, store.by_thread("a").await.unwrap().unwrap().open().unwrap());
    assert_eq!(placed.place, ThreadPlace { bound_at: at(10), id: placed.record.id });
    assert_eq!(store.place_of_thread("a").await.unwrap(), Some(placed.place));
    assert_eq!(store.place_of_thread("A").await.unwrap(), None);
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
        after: Some(place(&ids, after)),
        until: until.map(|until| place(&ids, until)),
        limit: 10,
    };
    assert_eq!(threads(store, between(true, 1, None)).await, ["c", "d"]);
    assert_eq!(threads(store, between(true, 0, Some(3))).await, ["b", "c"]);
    assert_eq!(threads(store, between(false, 2, None)).await, ["b", "a"]);
    assert_eq!(threads(store, between(false, 3, Some(1))).await, ["c"]);
    assert_eq!(threads(store, between(true, 3, None)).await, [""; 0]);
    let before = ThreadsPage { until: Some(place(&ids, 2)), ..page(10) };
    assert_eq!(threads(store, before).await, ["a", "b"]);

    // A place is one whether or not something is there.
    assert_eq!(store.delete(ids[1], at(5)).await.unwrap(), Deletion::Done);
    assert_eq!(threads(store, between(true, 1, None)).await, ["c", "d"]);
    assert_eq!(threads(store, between(false, 3, Some(1))).await, ["c"]);
    assert_eq!(threads(store, page(10)).await, ["a", "c", "d"]);
}

/// Gives that of the session which was bound at second `n`.
fn place(ids: &[SessionId], n: usize) -> ThreadPlace {
    ThreadPlace { bound_at: at(n.try_into().unwrap()), id: ids[n] }
}

pub(crate) async fn the_place_of_a_deleted_thread_is_known_for_a_day(store: &Store) {
    const DAY: i64 = 24 * 3600;
    // More than are forgotten at once.
    let old = 70_usize;
    let mut ids = Vec::new();
    for n in 0..old + 2 {
        ids.push(bound_at(store, "ada", &format!("thr_{n}"), n.try_into().unwrap()).await);
    }
    for id in &ids[..old] {
        assert_eq!(store.delete(*id, at(1000)).await.unwrap(), Deletion::Done);
    }
    let known = async |n: usize| store.place_of_thread(&format!("thr_{n}")).await.unwrap();
    assert_eq!(known(0).await, Some(place(&ids, 0)));
    assert_eq!(store.by_thread("thr_0").await.unwrap(), None);

    // Who was never bound had no place, and deleting them is no reason to forget others in vain.
    let unbound = create(store, "ada").await;
    assert_eq!(store.delete(unbound, at(1000 + DAY)).await.unwrap(), Deletion::Done);
    assert_eq!(known(0).await, Some(place(&ids, 0)));

    for n in [old, old + 1] {
        assert_eq!(store.delete(ids[n], at(1001 + DAY)).await.unwrap(), Deletion::Done);
        assert_eq!(known(n).await, Some(place(&ids, n)));
    }
    for n in 0..old {
        assert_eq!(known(n).await, None, "{n}");
    }

    // An id that is used again has its new place, and keeps that when it goes.
    let again = bound_at(store, "bob", "thr_71", 2000).await;
    let new = ThreadPlace { bound_at: at(2000), id: again };
    assert_eq!(known(71).await, Some(new));
    assert_eq!(store.delete(again, at(2001 + DAY)).await.unwrap(), Deletion::Done);
    assert_eq!(known(71).await, Some(new));
}

pub(crate) async fn who_deletes_what_a_page_shows_goes_on_behind_it(store: &Store) {
    for (n, thread_id) in ["a", "b", "c", "d", "e", "f", "g"].into_iter().enumerate() {
        bound_at(store, "ada", thread_id, n.try_into().unwrap()).await;
    }
    let (mut seen, mut last) = (Vec::new(), None::<String>);
    loop {
        let after = match &last {
            Some(last) => Some(store.place_of_thread(last).await.unwrap().unwrap()),
            None => None,
        };
        let records = store.threads(ThreadsPage { after, ..page(2) }).await.unwrap();
        for placed in &records {
            last = placed.record.thread_id.as_deref().map(str::to_owned);
            seen.extend(last.clone());
            assert_eq!(store.delete(placed.record.id, at(100)).await.unwrap(), Deletion::Done);
        }
        if records.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e", "f", "g"]);
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
            after = Some(last.place);
            seen.extend(records.into_iter().map(|placed| placed.record.thread_id.unwrap()));
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

async fn add(store: &Store, session: ClientSession) {
    let created = store.create_client_session(session, NonZeroU32::MAX).await.unwrap();
    assert_eq!(created, ClientSessionCreated::Done);
}

pub(crate) async fn active_client_sessions_are_limited_exactly(store: &Store) {
    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        calls.spawn(async move {
            let session = client_session(&format!("cksess_{n}"), 0, 600);
            store.create_client_session(session, TWO).await.unwrap()
        });
    }
    let outcomes = calls.join_all().await;
    let made = outcomes.iter().filter(|made| **made == ClientSessionCreated::Done).count();
    assert_eq!(made, 2);

    let outcome = async |session| store.create_client_session(session, TWO).await.unwrap();
    let another = ClientSession { user_id: user("eve"), ..client_session("eve", 0, 600) };
    assert_eq!(outcome(another).await, ClientSessionCreated::Done);
    let late = |id, created| client_session(id, created, created + 600);
    assert_eq!(outcome(late("a", 599)).await, ClientSessionCreated::LimitReached);
    // Who is over makes room, whether by time or because they were cancelled.
    assert_eq!(outcome(late("a", 600)).await, ClientSessionCreated::Done);
    assert_eq!(outcome(late("b", 600)).await, ClientSessionCreated::Done);
    assert_eq!(outcome(late("c", 600)).await, ClientSessionCreated::LimitReached);
    store.cancel_client_session("a", at(601)).await.unwrap();
    assert_eq!(outcome(late("c", 602)).await, ClientSessionCreated::Done);
}

pub(crate) async fn a_client_session_is_stored_as_it_was_given(store: &Store) {
    let session = client_session("cksess_1", 0, 600);
    add(store, session.clone()).await;
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session.clone()));
    assert_eq!(store.client_session("CKSESS_1").await.unwrap(), None);
    let again = ClientSession { user_id: user("eve"), ..session.clone() };
    assert!(store.create_client_session(again, NonZeroU32::MAX).await.unwrap_err().is_store());
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session));
}

pub(crate) async fn an_active_client_session_is_cancelled_once(store: &Store) {
    add(store, client_session("a", 0, 600)).await;
    let cancel = async |id: &str, now| store.cancel_client_session(id, at(now)).await.unwrap();
    let cancelled = cancel("a", 10).await.unwrap();
    assert_eq!(cancelled.cancelled_at, Some(at(10)));
    assert_eq!(cancelled.status(at(1000)), ClientSessionStatus::Cancelled);
    assert_eq!(cancel("a", 20).await.unwrap(), cancelled);
    assert_eq!(store.client_session("a").await.unwrap(), Some(cancelled));

    add(store, client_session("b", 0, 600)).await;
    let expired = cancel("b", 600).await.unwrap();
    assert_eq!(expired.status(at(600)), ClientSessionStatus::Expired);
    assert_eq!(expired.status(at(599)), ClientSessionStatus::Active);
    assert_eq!(cancel("c", 0).await, None);
}

pub(crate) async fn client_sessions_that_expired_long_ago_go(store: &Store) {
    const DAY: i64 = 24 * 3600;
    // More than need go at once: it is enough that they don't pile up.
    for n in 0..100 {
        add(store, client_session(&format!("old{n}"), 0, 600)).await;
    }
    add(store, client_session("late", 0, 700)).await;
    add(store, client_session("new", DAY + 650, DAY + 700)).await;
    let mut left = 0;
    for n in 0..100 {
        let old = store.client_session(&format!("old{n}")).await.unwrap();
        left += usize::from(old.is_some());
    }
    assert!(left < 50, "{left}");
    add(store, client_session("newer", DAY + 651, DAY + 700)).await;
    for n in 0..100 {
        assert_eq!(store.client_session(&format!("old{n}")).await.unwrap(), None);
    }
    for id in ["late", "new"] {
        assert!(store.client_session(id).await.unwrap().is_some(), "{id}");
    }
}

pub(crate) async fn a_client_session_does_not_last_longer_when_the_clock_is_set_back(
    store: &Store,
) {
    let one = NonZeroU32::MIN;
    let session = client_session("a", 3600, 4200);
    add(store, session.clone()).await;
    assert_eq!(session.status(at(3599)), ClientSessionStatus::Active);
    assert_eq!(session.status(at(0)), ClientSessionStatus::Expired);
    // It is none of those that are active.
    let created = store.create_client_session(client_session("b", 0, 600), one).await.unwrap();
    assert_eq!(created, ClientSessionCreated::Done);
    // Who revokes it has done so, whatever the clock is set to next.
    let cancelled = store.cancel_client_session("a", at(0)).await.unwrap().unwrap();
    assert_eq!(cancelled.status(at(3601)), ClientSessionStatus::Cancelled);
}
