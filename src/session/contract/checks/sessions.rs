//! Sessions: made, named, titled.

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    abandon, at, bind, by_thread, create, create_bound, delete, first, get, list, max, new_session,
    user,
};
use crate::session::{
    Bound, Created, Deletion, Found, MessageCount, NewSession, Ownership, SessionId, SessionKey,
    SessionRecord, ThreadId,
};

/// Checks that the first signing key stays, whoever brings another.
pub async fn the_first_signing_key_stays(store: &Store) {
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        calls.spawn(async move { store.signing_key([n; 32]).await.unwrap() });
    }
    let keys = calls.join_all().await;
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(store.signing_key([99; 32]).await.unwrap(), keys[0]);
}

/// Strings that mean something to a database, a C library or a URI parser.
pub(super) const HOSTILE: [&str; 12] = [
    "",
    "'",
    "''); DROP TABLE session; --",
    "\"x\"",
    "%",
    "_",
    "a\0",
    "a\0b",
    "\u{0}",
    "file:x?mode=memory",
    "\u{fffd}\u{202e}",
    "?1",
];

/// Checks that a session is stored as it was given.
pub async fn a_session_is_stored_as_it_was_given(store: &Store) {
    let nanosecond = SignedDuration::from_nanos(123_456_789);
    let session = NewSession {
        title: Some("Trip to Turin".to_owned()),
        now: at(0) + nanosecond,
        ..new_session("ada")
    };
    let expected = SessionRecord {
        id: session.id,
        user_id: user("ada"),
        thread_id: None,
        conversation: None,
        title: Some("Trip to Turin".to_owned()),
        created_at: at(0) + SignedDuration::from_micros(123_456),
        updated_at: at(0) + SignedDuration::from_micros(123_456),
        message_count: MessageCount::Known(0),
    };
    let Created::Session(created) = store.create(session, max(1)).await.unwrap() else {
        panic!("the first of one is allowed");
    };
    assert_eq!(created, expected);
    assert_eq!(get(store, created.id).await, expected);
    assert_eq!(list(store, &user("ada")).await, [expected]);
    assert_eq!(store.get(SessionId::random().into()).await.unwrap(), None);
}

/// Checks that whose a thread is, is told anew each time.
pub async fn whose_a_thread_is_is_told_anew_each_time(store: &Store) {
    let id = create(store, "ada").await;
    let owned = |user_id: &str, id, thread_id: Option<&str>| {
        let (user_id, thread_id) = (user(user_id), thread_id.map(ThreadId::from));
        Found::Open(Ownership { id, user_id, thread_id })
    };
    assert_eq!(store.ownership(id.into()).await.unwrap(), Some(owned("ada", id, None)));
    assert_eq!(store.ownership(SessionKey::Thread("thr_1")).await.unwrap(), None);
    let run = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, run, "thr_1").await, Bound::Done);
    let hers = Some(owned("ada", id, Some("thr_1")));
    assert_eq!(store.ownership(id.into()).await.unwrap(), hers);
    assert_eq!(store.ownership(SessionKey::Thread("thr_1")).await.unwrap(), hers);

    // The upstream gives the id to another.
    assert_eq!(delete(store, id, at(2)).await, Deletion::Done);
    assert_eq!(store.ownership(id.into()).await.unwrap(), None);
    assert_eq!(store.ownership(SessionKey::Thread("thr_1")).await.unwrap(), None);
    let his = create_bound(store, "bob", "thr_1").await;
    let found = store.ownership(SessionKey::Thread("thr_1")).await.unwrap();
    assert_eq!(found, Some(owned("bob", his, Some("thr_1"))));
}

/// Checks that an id that a session has already is an error.
pub async fn an_id_is_given_once(store: &Store) {
    let session = new_session("ada");
    let _ = store.create(session.clone(), None).await.unwrap();
    let again = NewSession { user_id: user("eve"), ..session.clone() };
    assert!(store.create(again, None).await.unwrap_err().is_store());
    assert_eq!(get(store, session.id).await.user_id, user("ada"));
    assert_eq!(list(store, &user("eve")).await, []);
}

/// Checks that of fifty sessions that are created at once as many are made as there may be.
pub async fn fifty_creates_at_once_stop_at_the_limit(store: &Store) {
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move { store.create(new_session("ada"), max(10)).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    let made = outcomes.iter().filter(|outcome| matches!(outcome, Created::Session(_))).count();
    assert_eq!(made, 10);
    assert_eq!(list(store, &user("ada")).await.len(), 10);
}

/// Checks that the limit of sessions is each user's own.
pub async fn the_limit_is_each_users_own(store: &Store) {
    for user_id in ["ada", "bob"] {
        let created = store.create(new_session(user_id), max(1)).await.unwrap();
        assert!(matches!(created, Created::Session(_)));
        let created = store.create(new_session(user_id), max(1)).await.unwrap();
        assert!(matches!(created, Created::LimitReached));
    }
}

/// Checks that a session that was deleted is none of those that are limited.
pub async fn deleting_makes_room(store: &Store) {
    let id = create(store, "ada").await;
    assert!(matches!(
        store.create(new_session("ada"), max(1)).await.unwrap(),
        Created::LimitReached
    ));
    assert_eq!(delete(store, id, at(0)).await, Deletion::Done);
    assert_eq!(delete(store, id, at(0)).await, Deletion::Unknown);
    assert_eq!(store.get(id.into()).await.unwrap(), None);
    assert_eq!(list(store, &user("ada")).await, []);
    let created = store.create(new_session("ada"), max(1)).await.unwrap();
    assert!(matches!(created, Created::Session(_)));
}

/// Checks that a title is set and taken away, and that each is a change.
pub async fn a_title_is_set_and_taken_away(store: &Store) {
    let id = create(store, "ada").await;
    for (title, now) in [(Some("é".to_owned()), at(7)), (None, at(8))] {
        let record = store.set_title(id, title.clone(), now).await.unwrap().unwrap();
        assert_eq!((&record.title, record.updated_at, record.created_at), (&title, now, at(0)));
        assert_eq!(get(store, id).await, record);
    }
    let nobody = SessionId::random();
    assert_eq!(store.set_title(nobody, None, at(0)).await.unwrap(), None);
}

/// Checks that users that look alike are strangers.
pub async fn users_that_look_alike_are_strangers(store: &Store) {
    // Case, blanks, a combining accent and its composed form, Cyrillic а, wildcards, quotes.
    let users = [
        "ada",
        "Ada",
        "ada ",
        " ada",
        "a\u{301}da",
        "\u{e1}da",
        "\u{430}da",
        "%",
        "_da",
        "ad_",
        "' OR ''='",
        "ada\u{200b}",
    ];
    for user_id in users {
        let created = store.create(new_session(user_id), max(1)).await.unwrap();
        assert!(matches!(created, Created::Session(_)), "{user_id:?} was taken for another");
    }
    for user_id in users {
        let listed = list(store, &user(user_id)).await;
        assert_eq!(listed.len(), 1, "{user_id:?}");
        assert_eq!(listed[0].user_id.as_str(), user_id);
    }
}

/// Checks that ids and titles are kept and compared to the byte.
pub async fn text_is_never_interpreted(store: &Store) {
    let long = "ü".repeat(50_000);
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        let id = create(store, "ada").await;
        let run = first(store, id, at(0)).await;
        assert_eq!(bind(store, id, run, text).await, Bound::Done, "{text:?}");
        let title = Some(text.to_owned());
        store.set_title(id, title.clone(), at(2)).await.unwrap();
        let record = by_thread(store, text).await.unwrap().open().unwrap();
        assert_eq!((record.id, &record.title), (id, &title));
        assert_eq!(record.thread_id, Some(ThreadId::from(text)));
        assert_eq!(record, get(store, id).await);
    }
    for stranger in ["a", "a\0bc", "A\0b", "''", "x"] {
        assert_eq!(by_thread(store, stranger).await, None, "{stranger:?}");
    }
}

/// Checks that a session whose creation was dropped is made or not, and counts if it is.
pub async fn a_dropped_create_is_made_or_not(store: &Store) {
    for round in 0..50 {
        let user_id = format!("user {round}");
        let session = NewSession { title: Some("t".to_owned()), ..new_session(&user_id) };
        let id = session.id;
        let _ = abandon(store.create(session, max(1)));
        // By the time that a later write is done.
        store.ping().await.unwrap();
        let listed = list(store, &user(&user_id)).await;
        let again = store.create(new_session(&user_id), max(1)).await.unwrap();
        match listed.as_slice() {
            [] => assert!(matches!(again, Created::Session(_))),
            [made] => {
                assert_eq!((made.id, made.title.as_deref()), (id, Some("t")));
                assert!(matches!(again, Created::LimitReached));
            }
            more => panic!("one call made {more:?}"),
        }
    }
    let never_polled = new_session("bob");
    drop(store.create(never_polled, None));
    store.ping().await.unwrap();
    assert_eq!(list(store, &user("bob")).await, []);
}

/// Checks that a store that works says so.
pub async fn a_ping_is_answered(store: &Store) {
    store.ping().await.unwrap();
    create_bound(store, "ada", "thr_1").await;
    store.ping().await.unwrap();
    let beginning = NewSession { now: Timestamp::UNIX_EPOCH, ..new_session("ada") };
    let _ = store.create(beginning, None).await.unwrap();
    store.ping().await.unwrap();
}
