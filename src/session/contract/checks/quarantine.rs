//! Threads whose id came twice.

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, begin, bind, by_thread, create, create_bound, delete, first, get, list, made, max,
    messages, new_run, new_session, next, settle, user,
};
use crate::session::{
    Adopted, AdoptedThread, Adoption, AdoptionConflict, Bound, ConversationId, Created, Deletion,
    Found, MessageCount, NewConversation, NewSession, Newcomer, OnThread, QuarantinedThread,
    Released, Reuse, RunId, RunStart, SessionId, SessionKey, Settlement, ThreadId, ThreadsPage,
};

/// Makes `thr_1`, that of ada's and then given to eve: both sessions.
async fn quarantined(store: &Store) -> (SessionId, SessionId) {
    let (owner, other) = (create_bound(store, "ada", "thr_1").await, create(store, "eve").await);
    let run = first(store, other, at(0)).await;
    let reuse = reused(store, other, run).await;
    assert_eq!(reuse.quarantined, Some(1));
    settle(store, other, run, Settlement::default());
    (owner, other)
}

async fn reused(store: &Store, id: SessionId, run: RunId) -> Reuse {
    match bind(store, id, run, "thr_1").await {
        Bound::ThreadReused(reuse) => reuse,
        bound => panic!("{bound:?}"),
    }
}

async fn all(store: &Store) -> Vec<QuarantinedThread> {
    store.quarantined(None, 100).await.unwrap()
}

fn page(user_id: Option<&str>) -> ThreadsPage {
    let user_id = user_id.map(user);
    ThreadsPage { user_id, ascending: true, after: None, until: None, limit: 100 }
}

fn adoption(user_id: &str) -> Vec<Adoption> {
    vec![Adoption::Thread(AdoptedThread {
        thread_id: "thr_1".into(),
        user_id: user(user_id),
        title: None,
        created_at: at(0),
        updated_at: at(0),
        known_by: None,
    })]
}

/// Checks that an id that comes twice locks its thread.
pub async fn an_id_that_comes_twice_locks_its_thread(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let other = create(store, "eve").await;
    let run = first(store, other, at(0)).await;
    let reuse = reused(store, other, run).await;
    let expected = Reuse {
        owner_session: owner,
        owner: user("ada"),
        other: user("eve"),
        quarantined: Some(1),
    };
    assert_eq!(reuse, expected);
    let locked = Some(Found::Quarantined { id: owner, user_id: user("ada") });
    assert_eq!(store.get(owner.into()).await.unwrap(), locked);
    assert_eq!(by_thread(store, "thr_1").await, locked);
    let locked = Some(Found::Quarantined { id: owner, user_id: user("ada") });
    assert_eq!(store.ownership(owner.into()).await.unwrap(), locked);
    assert_eq!(store.ownership(SessionKey::Thread("thr_1")).await.unwrap(), locked);
    // She who got it has nothing of it, and her lease is good for another thread.
    assert_eq!(get(store, other).await.thread_id, None);
    assert!(matches!(begin(store, other, at(1)).await, RunStart::Busy));
    assert_eq!(bind(store, other, run, "thr_2").await, Bound::Done);
    let expected = QuarantinedThread {
        thread_id: "thr_1".into(),
        since: at(1),
        times: 1,
        owner_session: owner,
        owner: user("ada"),
        others: vec![Newcomer { user_id: user("eve"), session_id: other, since: at(1) }],
        more_others: 0,
        is_deleted: false,
    };
    assert_eq!(all(store).await, [expected]);
}

/// Checks that what is locked is nobody's to use, and its owner's to know of.
pub async fn what_is_locked_is_nobodys(store: &Store) {
    let (owner, _) = quarantined(store).await;
    assert!(matches!(begin(store, owner, at(0)).await, RunStart::Quarantined));
    // Only the owner learns of it, and before whether the thread that they name is its.
    for (user_id, thread_id) in [("ada", "thr_1"), ("ada", "thr_2"), ("eve", "thr_1")] {
        let (on, begin) = (OnThread::Named(thread_id), new_run(None, at(0)));
        let start = store.begin_run(owner.into(), on, &user(user_id), begin).await.unwrap();
        match user_id {
            "ada" => assert!(matches!(start, RunStart::Quarantined), "{start:?}"),
            _ => assert!(matches!(start, RunStart::Foreign), "{start:?}"),
        }
    }
    assert_eq!(store.set_title(owner, Some("mine".into()), at(9)).await.unwrap(), None);
    assert_eq!(delete(store, owner, at(9)).await, Deletion::Quarantined);
    let nobodys = SessionId::random();
    assert_eq!(delete(store, nobodys, at(9)).await, Deletion::Unknown);
    assert_eq!(list(store, &user("ada")).await, []);
    assert_eq!(store.threads(page(Some("ada"))).await.unwrap(), []);
    assert_eq!(store.threads(page(None)).await.unwrap(), []);
    for adopter in ["ada", "eve"] {
        let adopted = store.adopt(adoption(adopter)).await.unwrap();
        assert_eq!(adopted, [Adopted::Conflict(AdoptionConflict::Quarantined)]);
    }
    assert_eq!(all(store).await.len(), 1);
}

/// Checks that what is locked leaves its owner room.
pub async fn what_is_locked_leaves_its_owner_room(store: &Store) {
    quarantined(store).await;
    let created = store.create(new_session("ada"), max(1)).await.unwrap();
    assert!(matches!(created, Created::Session(_)), "{created:?}");
    let refused = async || store.create(new_session("ada"), max(1)).await.unwrap();
    assert!(matches!(refused().await, Created::LimitReached));
    assert_eq!(store.release("thr_1").await.unwrap(), Released::ToOwner);
    assert!(matches!(refused().await, Created::LimitReached));
    let created = store.create(new_session("ada"), max(2)).await.unwrap();
    assert!(matches!(created, Created::LimitReached), "{created:?}");
}

/// Checks that pages go on past what is locked.
pub async fn pages_go_on_past_what_is_locked(store: &Store) {
    let (mut open, other) = (Vec::new(), create_bound(store, "eve", "thr_eve").await);
    for n in 0..20 {
        let thread = format!("thr_{n}");
        let id = create_bound(store, "ada", &thread).await;
        if n % 3 == 0 {
            open.push(id);
        } else {
            store.thread_named(other, &user("eve"), thread.into(), at(2)).await.unwrap().unwrap();
        }
    }
    open.sort_unstable();
    let listed: Vec<_> = list(store, &user("ada")).await.iter().map(|record| record.id).collect();
    assert_eq!(listed, open, "all of one moment, so in the order of their ids");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = ThreadsPage { after, limit: 2, ..page(Some("ada")) };
        let placed = store.threads(page).await.unwrap();
        after = placed.last().map(|placed| placed.place);
        seen.extend(placed.iter().map(|placed| placed.record.id));
        if placed.len() < 2 {
            break;
        }
    }
    assert_eq!(seen, open);
}

/// Checks that a conversation that is locked is found so.
pub async fn a_conversation_that_is_locked_is_found_so(store: &Store) {
    let conversation = Some(NewConversation::Conv(7));
    let session = NewSession { conversation, ..new_session("ada") };
    let Created::Session(record) = store.create(session, None).await.unwrap() else { panic!() };
    let run = first(store, record.id, at(0)).await;
    assert_eq!(bind(store, record.id, run, "thr_1").await, Bound::Done);
    let other = create(store, "eve").await;
    let run = first(store, other, at(0)).await;
    reused(store, other, run).await;
    let found = store.get(ConversationId::Conv(7).into()).await.unwrap();
    assert_eq!(found, Some(Found::Quarantined { id: record.id, user_id: user("ada") }));
}

/// Checks that two threads of one user lock nothing.
pub async fn two_threads_of_one_user_lock_nothing(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let other = create(store, "ada").await;
    let run = first(store, other, at(0)).await;
    let reuse = reused(store, other, run).await;
    assert_eq!((reuse.quarantined, reuse.owner_session), (None, owner));
    assert_eq!(get(store, owner).await.thread_id, Some(ThreadId::from("thr_1")));
    assert_eq!(get(store, other).await.thread_id, None);
    assert_eq!(all(store).await, []);
}

/// Checks that all who got an id are known, up to a hundred.
pub async fn all_who_got_an_id_are_known_up_to_a_hundred(store: &Store) {
    create_bound(store, "ada", "thr_1").await;
    create_bound(store, "ada", "thr_2").await;
    let again = async |whose: &str, thread: &str, second: i64| {
        let (id, user_id) = (SessionId::random(), user(whose));
        let named = store.thread_named(id, &user_id, thread.into(), at(second)).await;
        named.unwrap().unwrap();
        Newcomer { user_id, session_id: id, since: at(second) }
    };
    let mut others = vec![again("eve", "thr_1", 9).await, again("bob", "thr_1", 10).await];
    again("ada", "thr_1", 11).await;
    again("eve", "thr_1", 12).await;
    again("eve", "thr_2", 12).await;
    let thread = &all(store).await[0];
    assert_eq!((&thread.others, thread.more_others, thread.times), (&others, 0, 4));
    for n in 0..100 {
        let other = again(&format!("user {n}"), "thr_1", 20 + n).await;
        if others.len() < 100 {
            others.push(other);
        }
    }
    again("eve", "thr_1", 200).await;
    let thread = &all(store).await[0];
    assert_eq!((&thread.others, thread.more_others, thread.times), (&others, 2, 105));
    assert_eq!(store.release("thr_1").await.unwrap(), Released::ToOwner);
    let other = again("eve", "thr_1", 300).await;
    let threads = all(store).await;
    assert_eq!((&*threads[0].others, threads[0].more_others), (&[other][..], 0));
    assert_eq!(threads[1].others.len(), 1);
}

/// Checks that a lost lease hides no id that came twice.
pub async fn a_lost_lease_hides_no_id_that_came_twice(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let other = create(store, "eve").await;
    let late = first(store, other, at(0)).await;
    first(store, other, at(30)).await;
    reused(store, other, late).await;
    assert!(matches!(store.get(owner.into()).await.unwrap(), Some(Found::Quarantined { .. })));
}

/// Checks that a session that is gone was somebody's.
pub async fn a_session_that_is_gone_was_somebodys(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let gone = create(store, "ada").await;
    let run = first(store, gone, at(0)).await;
    assert_eq!(delete(store, gone, at(30)).await, Deletion::Done);
    let bind = async |whose: &str| match store
        .bind(gone, &user(whose), run, "thr_1".into(), at(1))
        .await
        .unwrap()
    {
        Bound::ThreadReused(reuse) => (reuse.other, reuse.quarantined),
        bound => panic!("{bound:?}"),
    };
    assert_eq!(bind("ada").await, (user("ada"), None));
    let named = store.thread_named(gone, &user("ada"), "thr_1".into(), at(1)).await.unwrap();
    assert_eq!(named, None);
    assert_eq!(get(store, owner).await.thread_id, Some(ThreadId::from("thr_1")));
    assert_eq!(bind("eve").await, (user("eve"), Some(1)));
    assert!(matches!(store.get(owner.into()).await.unwrap(), Some(Found::Quarantined { .. })));
    assert_eq!(all(store).await[0].others[0].user_id, user("eve"));
}

/// Checks that a later run may name its own thread and a new one.
pub async fn a_later_run_may_name_its_own_thread_and_a_new_one(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let other = create_bound(store, "eve", "thr_2").await;
    let mine = create_bound(store, "ada", "thr_3").await;
    for (id, named) in [(owner, "thr_1"), (owner, "thr_new"), (mine, "thr_1")] {
        let reuse = store.thread_named(id, &user("ada"), named.into(), at(2)).await.unwrap();
        assert_eq!(reuse, None, "{named}");
    }
    assert_eq!(all(store).await, []);
    let reuse =
        store.thread_named(other, &user("eve"), "thr_1".into(), at(2)).await.unwrap().unwrap();
    assert_eq!((reuse.owner_session, reuse.quarantined), (owner, Some(1)));
    assert!(matches!(store.get(owner.into()).await.unwrap(), Some(Found::Quarantined { .. })));
    assert!(matches!(store.get(other.into()).await.unwrap(), Some(Found::Open(_))));
}

/// Checks that what is released is as it was.
pub async fn a_release_gives_it_back_as_it_was(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let run = next(store, owner, at(0)).await;
    settle(store, owner, run, messages(3));
    let before = get(store, owner).await;
    // A run that has begun before ends after it, and is counted.
    let begun = next(store, owner, at(0)).await;
    let other = create(store, "eve").await;
    let run = first(store, other, at(0)).await;
    reused(store, other, run).await;
    settle(store, owner, begun, messages(2));
    assert_eq!(store.release("thr_1").await.unwrap(), Released::ToOwner);
    let mut after = get(store, owner).await;
    assert_eq!(after.message_count, MessageCount::Known(5));
    after.message_count = before.message_count;
    assert_eq!(after, before);
    assert_eq!(list(store, &user("ada")).await.len(), 1);
    next(store, owner, at(0)).await;
    assert_eq!(all(store).await, []);
    assert_eq!(store.release("thr_1").await.unwrap(), Released::Unknown);
    // The same once more.
    assert_eq!(reused(store, other, run).await.quarantined, Some(1));
}

/// Checks that a deleted session leaves its id locked.
pub async fn a_deleted_session_leaves_its_id_locked(store: &Store) {
    let (owner, other) = quarantined(store).await;
    assert!(store.delete_quarantined("thr_1", at(5)).await.unwrap());
    assert!(!store.delete_quarantined("thr_1", at(5)).await.unwrap());
    assert_eq!(store.get(owner.into()).await.unwrap(), None);
    assert_eq!(by_thread(store, "thr_1").await, None);
    assert_eq!(store.ownership(SessionKey::Thread("thr_1")).await.unwrap(), None);
    assert!(all(store).await[0].is_deleted);
    // Upstream, the thread may be there still, with what both wrote: nobody gets it.
    for id in [other, create(store, "ada").await, create(store, "bob").await] {
        let run = first(store, id, at(200_000)).await;
        assert_eq!(reused(store, id, run).await.quarantined, Some(1));
        assert_eq!(get(store, id).await.thread_id, None);
    }
    assert_eq!((all(store).await[0].times, all(store).await.len()), (4, 1));
    let adopted = store.adopt(adoption("ada")).await.unwrap();
    assert_eq!(adopted, [Adopted::Conflict(AdoptionConflict::Quarantined)]);
    assert_eq!(store.release("thr_1").await.unwrap(), Released::Id);
    create_bound(store, "bob", "thr_1").await;
}

/// Checks that the id of a deleted session is nobody's.
pub async fn the_id_of_a_deleted_session_is_nobodys(store: &Store) {
    let id = create_bound(store, "ada", "thr_1").await;
    assert_eq!(delete(store, id, at(0)).await, Deletion::Done);
    let other = create_bound(store, "eve", "thr_1").await;
    assert_eq!(get(store, other).await.thread_id, Some(ThreadId::from("thr_1")));
    assert_eq!(all(store).await, []);
    for nobodys in ["thr_1", "thr_2", ""] {
        assert_eq!(store.release(nobodys).await.unwrap(), Released::Unknown);
        assert!(!store.delete_quarantined(nobodys, at(0)).await.unwrap());
    }
    assert_eq!(get(store, other).await.user_id, user("eve"));
}

/// Checks that of many first runs with one id one is bound and then locked.
pub async fn of_many_first_runs_with_one_id_one_is_bound_and_then_locked(store: &Store) {
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        calls.spawn(async move {
            let id = create(&store, &format!("user {n}")).await;
            let run = first(&store, id, at(0)).await;
            (id, bind(&store, id, run, "thr_1").await)
        });
    }
    let outcomes = calls.join_all().await;
    let done: Vec<_> = outcomes.iter().filter(|(_, bound)| *bound == Bound::Done).collect();
    let [(owner, _)] = *done else { panic!("{outcomes:?}") };
    assert!(matches!(store.get((*owner).into()).await.unwrap(), Some(Found::Quarantined { .. })));
    let all = all(store).await;
    assert_eq!((all.len(), all[0].times, all[0].owner_session), (1, 19, *owner));
}

/// Checks that what is locked is told in pages.
pub async fn the_locked_are_told_in_pages(store: &Store) {
    for n in 0..7 {
        let thread = format!("thr_{n}");
        create_bound(store, "ada", &thread).await;
        let other = create_bound(store, "eve", &format!("own_{n}")).await;
        store.thread_named(other, &user("eve"), thread.into(), at(2)).await.unwrap().unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.quarantined(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        after = page.last().map(|thread| thread.thread_id.clone());
        seen.extend(page.into_iter().map(|thread| thread.thread_id.to_string()));
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..7).map(|n| format!("thr_{n}")).collect::<Vec<_>>());
}

/// Checks that a thread whose id comes twice is found by none of its names from then on.
pub async fn what_comes_twice_is_found_locked(store: &Store) {
    let conversation = Some(NewConversation::Conv(7));
    let owner = made(store, NewSession { conversation, ..new_session("ada") }).await.id;
    let run = first(store, owner, at(0)).await;
    assert_eq!(bind(store, owner, run, "thr_1").await, Bound::Done);
    settle(store, owner, run, Settlement::default());
    let other = create(store, "eve").await;
    let run = first(store, other, at(0)).await;
    let reuse = reused(store, other, run).await;
    assert_eq!((reuse.owner_session, reuse.owner, reuse.other), (owner, user("ada"), user("eve")));
    assert!(reuse.quarantined.is_some());
    let conversation = ConversationId::Conv(7);
    for key in [owner.into(), conversation.into(), SessionKey::Thread("thr_1")] {
        let locked = Some(Found::Quarantined { id: owner, user_id: user("ada") });
        assert_eq!(store.get(key).await.unwrap(), locked, "{key:?}");
        let locked = Some(Found::Quarantined { id: owner, user_id: user("ada") });
        assert_eq!(store.ownership(key).await.unwrap(), locked, "{key:?}");
        for on in [OnThread::Any, OnThread::Bound, OnThread::Named("thr_1")] {
            let begin = new_run(None, at(0));
            let start = store.begin_run(key, on, &user("ada"), begin).await.unwrap();
            assert!(matches!(start, RunStart::Quarantined), "{start:?}");
            let start = store.begin_run(key, on, &user("eve"), begin).await.unwrap();
            assert!(matches!(start, RunStart::Foreign), "{start:?}");
        }
    }
    assert_eq!(list(store, &user("ada")).await, []);
    assert_eq!(store.set_title(owner, Some("mine".into()), at(9)).await.unwrap(), None);
    for thread_id in [None, Some("thr_1"), Some("thr_2")] {
        let deletion = store.delete(owner, thread_id, at(9)).await.unwrap();
        assert_eq!(deletion, Deletion::Quarantined);
    }
    // She who got it has nothing of it, and her lease is good for another thread.
    assert_eq!(bind(store, other, run, "thr_2").await, Bound::Done);
    assert_eq!(get(store, other).await.thread_id, Some(ThreadId::from("thr_2")));
}

/// Checks that a run of a bound session that names another user's thread locks it.
pub async fn a_thread_that_is_named_elsewhere_is_locked(store: &Store) {
    let owner = create_bound(store, "ada", "thr_1").await;
    let mine = create_bound(store, "ada", "thr_2").await;
    let other = create_bound(store, "eve", "thr_3").await;
    let named = async |id: SessionId, whose: &str, thread_id: &str| {
        store.thread_named(id, &user(whose), thread_id.into(), at(2)).await.unwrap()
    };
    assert_eq!(named(owner, "ada", "thr_1").await, None);
    assert_eq!(named(mine, "ada", "thr_1").await, None);
    assert_eq!(named(other, "eve", "thr_new").await, None);
    let reuse = named(other, "eve", "thr_1").await.unwrap();
    assert_eq!((reuse.owner_session, reuse.owner, reuse.other), (owner, user("ada"), user("eve")));
    assert!(reuse.quarantined.is_some());
    assert!(matches!(store.get(owner.into()).await.unwrap(), Some(Found::Quarantined { .. })));
    assert!(matches!(store.get(other.into()).await.unwrap(), Some(Found::Open(_))));
    assert!(matches!(store.get(mine.into()).await.unwrap(), Some(Found::Open(_))));
}
