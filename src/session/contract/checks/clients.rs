//! Sessions of clients.

use std::num::NonZeroU32;

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{at, user};
use crate::session::{ClientSession, ClientSessionCreated, ClientSessionStatus};

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

/// Checks that active client sessions are limited exactly.
pub async fn active_client_sessions_are_limited_exactly(store: &Store) {
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

/// Checks that a client session is stored as it was given.
pub async fn a_client_session_is_stored_as_it_was_given(store: &Store) {
    let session = client_session("cksess_1", 0, 600);
    add(store, session.clone()).await;
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session.clone()));
    assert_eq!(store.client_session("CKSESS_1").await.unwrap(), None);
    let again = ClientSession { user_id: user("eve"), ..session.clone() };
    assert!(store.create_client_session(again, NonZeroU32::MAX).await.unwrap_err().is_store());
    assert_eq!(store.client_session("cksess_1").await.unwrap(), Some(session));
}

/// Checks that an active client session is cancelled once.
pub async fn an_active_client_session_is_cancelled_once(store: &Store) {
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

/// Checks that client sessions that expired long ago go.
pub async fn client_sessions_that_expired_long_ago_go(store: &Store) {
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

/// Checks that a client session does not last longer when the clock is set back.
pub async fn a_client_session_does_not_last_longer_when_the_clock_is_set_back(store: &Store) {
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
