//! Sessions, titles, lists and attachments.

use chatkit_rest::session::{
    Bound, ConversationIds, Created, Deletion, Found, MessageCount, NewConversation, NewSession,
    Owned, Ownership, RunStart, SessionId, SessionPlace, SessionRecord, SessionSummary,
    SessionsPage, Settlement, ThreadId,
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::support::{
    Store, abandon, at, begin, bind, create, create_bound, first, get, list, max, messages,
    new_session, page, user,
};

/// Strings that mean something to a database, a C library or a URI parser.
const HOSTILE: [&str; 12] = [
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

pub(crate) async fn a_session_is_stored_as_it_was_given(store: &Store) {
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
    assert_eq!(store.get(SessionId::random()).await.unwrap(), None);
}

pub(crate) async fn whose_a_thread_is_is_told_anew_each_time(store: &Store) {
    let id = create(store, "ada").await;
    let owned = |user_id: &str, id, thread_id: Option<&str>| {
        let (user_id, thread_id) = (user(user_id), thread_id.map(ThreadId::from));
        Found::Open(Ownership { id, user_id, thread_id })
    };
    assert_eq!(store.ownership(id).await.unwrap(), Some(owned("ada", id, None)));
    assert_eq!(store.ownership_of_thread("thr_1").await.unwrap(), None);
    let lease = first(store, id, at(0)).await;
    assert_eq!(bind(store, id, lease, "thr_1").await, Bound::Done);
    let hers = Some(owned("ada", id, Some("thr_1")));
    assert_eq!(store.ownership(id).await.unwrap(), hers);
    assert_eq!(store.ownership_of_thread("thr_1").await.unwrap(), hers);

    // The upstream gives the id to another.
    assert_eq!(store.delete(id, at(2)).await.unwrap(), Deletion::Done);
    assert_eq!(store.ownership(id).await.unwrap(), None);
    assert_eq!(store.ownership_of_thread("thr_1").await.unwrap(), None);
    let his = create_bound(store, "bob", "thr_1").await;
    let found = store.ownership_of_thread("thr_1").await.unwrap();
    assert_eq!(found, Some(owned("bob", his, Some("thr_1"))));
}

pub(crate) async fn an_id_is_given_once(store: &Store) {
    let session = new_session("ada");
    let _ = store.create(session.clone(), None).await.unwrap();
    let again = NewSession { user_id: user("eve"), ..session.clone() };
    assert!(store.create(again, None).await.unwrap_err().is_store());
    assert_eq!(get(store, session.id).await.user_id, user("ada"));
    assert_eq!(list(store, &user("eve")).await, []);
}

pub(crate) async fn fifty_creates_at_once_stop_at_the_limit(store: &Store) {
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

pub(crate) async fn the_limit_is_each_users_own(store: &Store) {
    for user_id in ["ada", "bob"] {
        let created = store.create(new_session(user_id), max(1)).await.unwrap();
        assert!(matches!(created, Created::Session(_)));
        let created = store.create(new_session(user_id), max(1)).await.unwrap();
        assert!(matches!(created, Created::LimitReached));
    }
}

pub(crate) async fn deleting_makes_room(store: &Store) {
    let id = create(store, "ada").await;
    assert!(matches!(
        store.create(new_session("ada"), max(1)).await.unwrap(),
        Created::LimitReached
    ));
    assert_eq!(store.delete(id, at(0)).await.unwrap(), Deletion::Done);
    assert_eq!(store.delete(id, at(0)).await.unwrap(), Deletion::Unknown);
    assert_eq!(store.get(id).await.unwrap(), None);
    assert_eq!(list(store, &user("ada")).await, []);
    let created = store.create(new_session("ada"), max(1)).await.unwrap();
    assert!(matches!(created, Created::Session(_)));
}

pub(crate) async fn lists_are_newest_first_and_ties_are_settled(store: &Store) {
    let mut ids = [(); 4].map(|()| SessionId::random());
    ids.sort_unstable();
    let [low, high, younger, touched] = ids;
    for (id, created) in [(high, 5), (touched, 1), (low, 5), (younger, 4)] {
        let session = NewSession { id, now: at(created), ..new_session("ada") };
        let _ = store.create(session, None).await.unwrap();
    }
    // Equal in `updated_at` to the other two, but older by `created_at`.
    store.set_title(younger, None, at(5)).await.unwrap();
    store.set_title(touched, None, at(6)).await.unwrap();
    let listed = list(store, &user("ada")).await;
    let listed: Vec<_> = listed.iter().map(|record| record.id).collect();
    assert_eq!(listed, [touched, low, high, younger]);
}

/// Reads on behind `after` in pages of `limit`, to the end.
async fn ids_behind(
    store: &Store,
    mut after: Option<SessionPlace>,
    limit: usize,
) -> Vec<SessionId> {
    let mut ids = Vec::new();
    loop {
        let page = page(store, &user("ada"), after, limit).await;
        assert!(page.len() <= limit);
        ids.extend(page.iter().map(|session| session.id));
        if page.len() < limit {
            return ids;
        }
        after = page.last().map(SessionPlace::of);
    }
}

pub(crate) async fn pages_of_sessions_follow_one_another(store: &Store) {
    // Three moments at which something was written to, and as many of creation at each.
    let mut expected = Vec::new();
    for updated in (0..3).rev() {
        for created in (0..3).rev() {
            let mut ids = [(); 3].map(|()| SessionId::random());
            ids.sort_unstable();
            for id in ids.iter().rev() {
                let session = NewSession { id: *id, now: at(created), ..new_session("ada") };
                let _ = store.create(session, None).await.unwrap();
                store.set_title(*id, None, at(10 + updated)).await.unwrap();
            }
            expected.extend(ids);
        }
    }
    create(store, "bob").await;
    for limit in 1..=expected.len() + 1 {
        assert_eq!(ids_behind(store, None, limit).await, expected, "{limit}");
    }
    assert_eq!(page(store, &user("ada"), None, 0).await, []);
    assert_eq!(page(store, &user("eve"), None, 9).await, []);
    // From every place on, the last one's too, whether or not something is there.
    let all = page(store, &user("ada"), None, 99).await;
    for (n, session) in all.iter().enumerate() {
        let place = SessionPlace::of(session);
        assert_eq!(ids_behind(store, Some(place), 4).await, expected[n + 1..]);
        let nobody = SessionPlace { id: SessionId::from_bytes([0; 16]), ..place };
        assert_eq!(ids_behind(store, Some(nobody), 4).await, expected[n / 3 * 3..]);
    }
    for (n, session) in all.iter().enumerate() {
        assert_eq!(store.delete(session.id, at(20)).await.unwrap(), Deletion::Done);
        let place = SessionPlace::of(session);
        assert_eq!(ids_behind(store, Some(place), 5).await, expected[n + 1..]);
    }
}

pub(crate) async fn what_is_written_meanwhile_moves_nobody_else(store: &Store) {
    let mut expected = Vec::new();
    let mut touched = Vec::new();
    for n in 0..40 {
        let thread_id = format!("thr_{n}");
        let id = create_bound(store, "ada", &thread_id).await;
        store.set_title(id, None, at(100 - n)).await.unwrap();
        if n % 4 == 3 { touched.push(id) } else { expected.push(id) }
    }
    let (mut shown, mut after) = (Vec::new(), None);
    for round in 0.. {
        let page = page(store, &user("ada"), after, 3).await;
        shown.extend(page.iter().map(|session| session.id));
        let Some(last) = page.last() else { break };
        after = Some(SessionPlace::of(last));
        // One is made, one is retitled, a run of another ends, and one is deleted.
        let _ = store
            .create(NewSession { now: at(200 + round), ..new_session("ada") }, None)
            .await
            .unwrap();
        if let Some(id) = touched.pop() {
            store.set_title(id, Some("t".to_owned()), at(200 + round)).await.unwrap();
        }
        if let Some(id) = touched.pop() {
            assert!(matches!(begin(store, id, at(200)).await, RunStart::Next(_)));
            let touched_at = Some(at(200 + round));
            store.settle(id, Settlement { touched_at, ..messages(2) });
        }
        if round == 2 {
            assert_eq!(store.delete(last.id, at(300)).await.unwrap(), Deletion::Done);
        }
    }
    let mut once = shown.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "twice");
    shown.retain(|id| expected.contains(id));
    assert_eq!(shown, expected);
}

pub(crate) async fn a_run_that_ended_just_now_is_first_in_the_list(store: &Store) {
    let mut ids = Vec::new();
    for n in 0..9 {
        let id = create_bound(store, "ada", &format!("thr_{n}")).await;
        store.set_title(id, None, at(50 - n)).await.unwrap();
        ids.push(id);
    }
    create_bound(store, "bob", "thr_bob").await;
    for (n, limit) in [(8, 1), (5, 2), (0, 3), (8, 9), (8, 20)] {
        let id = ids.remove(n);
        let now = at(100 + i64::try_from(limit).unwrap());
        assert!(matches!(begin(store, id, now).await, RunStart::Next(_)));
        let title = Some(Some(format!("title {limit}")));
        store.settle(id, Settlement { title: title.clone(), touched_at: Some(now), ..messages(2) });
        ids.insert(0, id);
        let listed = page(store, &user("ada"), None, limit).await;
        assert_eq!(listed.len(), limit.min(9));
        assert_eq!((listed[0].id, listed[0].updated_at), (id, now));
        assert_eq!(Some(Some(listed[0].title.clone().unwrap())), title);
        assert_eq!(SessionSummary::from(get(store, id).await), listed[0]);
        assert_eq!(ids_behind(store, None, limit).await, ids);
    }
}

pub(crate) async fn a_session_that_is_discarded_is_in_no_list(store: &Store) {
    let (kept, id) = (create(store, "ada").await, create(store, "ada").await);
    let lease = Some(first(store, id, at(0)).await);
    store.settle(id, Settlement { lease, discard_unbound: true, ..Settlement::default() });
    let listed = page(store, &user("ada"), None, 9).await;
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [kept]);
}

pub(crate) async fn lists_are_of_conversations_with_such_ids(store: &Store) {
    use NewConversation::{Conv, Next};
    let mut made = Vec::new();
    for (n, conversation) in
        [None, Some(Conv(1)), Some(Next), None, Some(Conv(2)), Some(Next)].into_iter().enumerate()
    {
        let now = at(i64::try_from(n).unwrap());
        let session = NewSession { conversation, now, ..new_session("ada") };
        made.push(session.id);
        let _ = store.create(session, None).await.unwrap();
    }
    for (ids, expected) in [
        (ConversationIds::Uuid, vec![5, 4, 3, 2, 1, 0]),
        (ConversationIds::Conv, vec![4, 1]),
        (ConversationIds::Integer, vec![5, 2]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|n: usize| made[n]).collect();
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = SessionsPage { user_id: user("ada"), ids, after, limit: 1 };
            let page = store.list(page).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(SessionPlace::of(last));
            listed.push(last.id);
        }
        assert_eq!(listed, expected, "{ids:?}");
    }
}

pub(crate) async fn a_title_is_set_and_taken_away(store: &Store) {
    let id = create(store, "ada").await;
    for (title, now) in [(Some("é".to_owned()), at(7)), (None, at(8))] {
        let record = store.set_title(id, title.clone(), now).await.unwrap().unwrap();
        assert_eq!((&record.title, record.updated_at, record.created_at), (&title, now, at(0)));
        assert_eq!(get(store, id).await, record);
    }
    let nobody = SessionId::random();
    assert_eq!(store.set_title(nobody, None, at(0)).await.unwrap(), None);
}

pub(crate) async fn users_that_look_alike_are_strangers(store: &Store) {
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

pub(crate) async fn text_is_never_interpreted(store: &Store) {
    let long = "ü".repeat(50_000);
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        let id = create(store, "ada").await;
        let lease = first(store, id, at(0)).await;
        assert_eq!(bind(store, id, lease, text).await, Bound::Done, "{text:?}");
        let title = Some(text.to_owned());
        store.set_title(id, title.clone(), at(2)).await.unwrap();
        let record = store.by_thread(text).await.unwrap().unwrap().open().unwrap();
        assert_eq!((record.id, &record.title), (id, &title));
        assert_eq!(record.thread_id, Some(ThreadId::from(text)));
        assert_eq!(record, get(store, id).await);
        assert_eq!(store.own_attachment(&user("ada"), text).await.unwrap(), Owned::Done);
    }
    for text in HOSTILE {
        assert_eq!(store.attachment_owner(text).await.unwrap(), Some(user("ada")));
    }
    let owners = store.attachment_owners(HOSTILE.map(str::to_owned).to_vec()).await.unwrap();
    assert!(owners.iter().all(|owner| *owner == Some(user("ada"))), "{owners:?}");
    for stranger in ["a", "a\0bc", "A\0b", "''", "x"] {
        assert_eq!(store.by_thread(stranger).await.unwrap(), None, "{stranger:?}");
        assert_eq!(store.attachment_owner(stranger).await.unwrap(), None, "{stranger:?}");
    }
}

pub(crate) async fn an_attachment_has_one_owner(store: &Store) {
    let (ada, eve) = (user("ada"), user("eve"));
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), None);
    assert_eq!(store.own_attachment(&ada, "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(store.own_attachment(&ada, "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(store.own_attachment(&eve, "atc_1").await.unwrap(), Owned::Taken);
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), Some(ada.clone()));
    assert_eq!(store.own_attachment(&eve, "atc_2").await.unwrap(), Owned::Done);
    let ids = ["atc_2", "atc_0", "atc_1", "atc_2"].map(str::to_owned).to_vec();
    let owners = store.attachment_owners(ids).await.unwrap();
    assert_eq!(owners, [Some(eve.clone()), None, Some(ada), Some(eve.clone())]);
    assert_eq!(store.attachment_owners(Vec::new()).await.unwrap(), []);
    assert!(store.disown_attachment("atc_1").await.unwrap());
    assert!(!store.disown_attachment("atc_1").await.unwrap());
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), None);
    assert_eq!(store.own_attachment(&eve, "atc_1").await.unwrap(), Owned::Done);
}

pub(crate) async fn a_dropped_create_is_made_or_not(store: &Store) {
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

pub(crate) async fn a_ping_is_answered(store: &Store) {
    store.ping().await.unwrap();
    create_bound(store, "ada", "thr_1").await;
    store.ping().await.unwrap();
    let beginning = NewSession { now: Timestamp::UNIX_EPOCH, ..new_session("ada") };
    let _ = store.create(beginning, None).await.unwrap();
    store.ping().await.unwrap();
}
