//! Two openings of the same data.

use std::collections::HashSet;
use std::num::NonZeroU32;

use tokio::task::JoinSet;

use super::adoption::{adopted, thread};
use crate::session::contract::support::{
    at, attachment_owner, begin, begin_of, begin_with, bind, create, create_bound, discarding,
    first, get, list, made, max, messages, new_run, new_session, next, next_with, of_thread,
    settle, user,
};
use crate::session::contract::{Store, Stores};
use crate::session::{
    Adopted, Adoption, BeginRun, Bound, ClientSession, ClientSessionCreated, ClientSessionStatus,
    ConversationId, Created, Deletion, Found, MessageCount, NewConversation, NewSession, OnThread,
    Owned, Released, RunId, RunStart, SessionId, SessionKey, Settlement, ThreadsPage, Uncounted,
};

/// Two openings, each as often as the other, to do something so many times at once.
fn in_turn(stores: &Stores, times: usize) -> impl Iterator<Item = Store> {
    stores.iter().cycle().take(times).cloned()
}

/// Checks that what is done at one opening is there at the other, by every name.
pub async fn what_one_does_the_other_sees([a, b]: &Stores) {
    let session = NewSession { conversation: Some(NewConversation::Conv(7)), ..new_session("ada") };
    let record = made(a, session).await;
    for key in [record.id.into(), ConversationId::Conv(7).into()] {
        assert_eq!(b.get(key).await.unwrap(), Some(Found::Open(record.clone())));
    }
    assert_eq!(list(b, &user("ada")).await, std::slice::from_ref(&record));
    let titled = b.set_title(record.id, Some("Turin".to_owned()), at(5)).await.unwrap().unwrap();
    assert_eq!(get(a, record.id).await, titled);
    assert_eq!(a.delete(record.id, None, at(6)).await.unwrap(), Deletion::Done);
    assert_eq!(b.get(record.id.into()).await.unwrap(), None);
    assert_eq!(b.delete(record.id, None, at(6)).await.unwrap(), Deletion::Unknown);
    assert_eq!(b.set_title(record.id, None, at(6)).await.unwrap(), None);
    assert_eq!(list(b, &user("ada")).await, []);
}

/// Checks that whose a thread is, is told anew each time, whoever it was given to elsewhere.
pub async fn whose_a_thread_is_is_seen_at_both([a, b]: &Stores) {
    let owner = async |store: &Store| {
        let owned = store.ownership(SessionKey::Thread("thr_1")).await.unwrap();
        owned.and_then(Found::open).map(|owned| (owned.id, owned.user_id))
    };
    let hers = create_bound(a, "ada", "thr_1").await;
    assert_eq!(owner(a).await, Some((hers, user("ada"))));
    assert_eq!(owner(b).await, Some((hers, user("ada"))));
    assert_eq!(b.delete(hers, Some("thr_1"), at(2)).await.unwrap(), Deletion::Done);
    assert_eq!(owner(a).await, None);
    let his = create_bound(b, "bob", "thr_1").await;
    assert_eq!(owner(a).await, Some((his, user("bob"))));
    assert!(matches!(begin(a, hers, at(3)).await, RunStart::Unknown));
    assert!(matches!(begin(a, his, at(3)).await, RunStart::Next { .. }));
}

/// Checks that many creations at both at once stop at the limit.
pub async fn creates_at_both_stop_at_the_limit(stores: &Stores) {
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 40) {
        calls.spawn(async move { store.create(new_session("ada"), max(10)).await.unwrap() });
    }
    let created = calls.join_all().await;
    let made = created.iter().filter(|created| matches!(created, Created::Session(_))).count();
    assert_eq!(made, 10);
    for store in stores {
        assert_eq!(list(store, &user("ada")).await.len(), 10);
    }
}

/// Checks that no number of a conversation is given at both.
pub async fn numbers_are_given_once_at_both(stores: &Stores) {
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 20) {
        let conversation = Some(NewConversation::Next);
        let session = NewSession { conversation, ..new_session("ada") };
        calls.spawn(async move { made(&store, session).await.conversation.unwrap().to_string() });
    }
    let numbers: HashSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(numbers.len(), 20);
}

/// Checks that both have one signing key.
pub async fn the_signing_key_is_one(stores: &Stores) {
    let mut calls = JoinSet::new();
    for (n, store) in (0..).zip(in_turn(stores, 20)) {
        calls.spawn(async move { store.signing_key([n; 32]).await.unwrap() });
    }
    let keys: HashSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(keys.len(), 1);
}

/// Checks that of many first runs at both at once one has the lease, and that it is good at its own.
pub async fn first_runs_at_both_make_one_lease(stores: &Stores) {
    let id = create(&stores[0], "ada").await;
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 20) {
        calls.spawn(async move {
            let begin = new_run(None, at(0));
            match begin_with(&store, id, begin).await {
                RunStart::First { .. } => Some((store, begin.run)),
                RunStart::Busy => None,
                other => panic!("{other:?}"),
            }
        });
    }
    let begun: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    let [(store, run)] = &begun[..] else { panic!("{begun:?}") };
    for store in stores {
        assert_eq!(store.delete(id, None, at(29)).await.unwrap(), Deletion::Busy);
        assert_eq!(bind(store, id, RunId::random(), "thr_2").await, Bound::LeaseLost);
    }
    assert_eq!(bind(store, id, *run, "thr_1").await, Bound::Done);
    for store in stores {
        assert_eq!(get(store, id).await.thread_id.as_deref(), Some("thr_1"));
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Next { .. }));
    }
}

/// Checks that a session that begins with a run at one is busy at the other, until that is settled.
pub async fn a_session_created_with_a_run_is_busy_at_the_other([a, b]: &Stores) {
    let run = new_run(None, at(0));
    let session = NewSession { first_run: Some(run), ..new_session("ada") };
    let id = made(a, session).await.id;
    assert!(matches!(begin(b, id, at(0)).await, RunStart::Busy));
    assert_eq!(b.delete(id, None, at(0)).await.unwrap(), Deletion::Busy);
    a.settle(id, run.run, Settlement::default()).await.unwrap();
    let there = first(b, id, at(0)).await;
    assert!(matches!(begin(a, id, at(0)).await, RunStart::Busy));
    assert_eq!(bind(a, id, run.run, "thr_1").await, Bound::LeaseLost);
    assert_eq!(bind(b, id, there, "thr_1").await, Bound::Done);
}

/// Checks that a session that was made for a run stays with the one that took it over at the other,
/// whether or not that is settled.
pub async fn a_session_that_was_taken_over_at_the_other_stays([a, b]: &Stores) {
    for (thread_id, is_settled) in [("thr_1", true), ("thr_2", false)] {
        let late = new_run(None, at(0));
        let session = NewSession { first_run: Some(late), ..new_session("ada") };
        let id = made(a, session).await.id;
        let run = first(b, id, at(30)).await;
        let left = Settlement { title: Some(Some("Turin".to_owned())), ..messages(2) };
        if is_settled {
            b.settle(id, run, left.clone()).await.unwrap();
        }
        let settled = a.settle(id, late.run, discarding());
        // Before it is durable, and then.
        get(a, id).await;
        assert!(list(a, &user("ada")).await.iter().any(|record| record.id == id));
        settled.await.unwrap();
        if !is_settled {
            assert_eq!(bind(b, id, run, thread_id).await, Bound::Done);
            b.settle(id, run, left).await.unwrap();
        }
        for store in [a, b] {
            let record = get(store, id).await;
            assert_eq!(record.title.as_deref(), Some("Turin"));
            assert_eq!(record.message_count, MessageCount::Known(2));
        }
    }
}

/// Checks that a first run that is in flight at one is not begun again at the other as another one that
/// has its lease: the session is busy there, or it is one run at both.
pub async fn a_first_run_is_that_of_where_it_began([a, b]: &Stores) {
    let id = create(a, "ada").await;
    let run = new_run(None, at(0));
    assert!(matches!(begin_with(a, id, run).await, RunStart::First { .. }));
    for now in [at(0), at(30)] {
        match begin_with(b, id, BeginRun { now, ..run }).await {
            // Then it is not there to be settled, either.
            RunStart::Busy => b.settle(id, run.run, messages(7)).await.unwrap(),
            RunStart::First { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(begin_with(a, id, run).await, RunStart::First { .. }));
    assert_eq!(bind(a, id, run.run, "thr_1").await, Bound::Done);
    for store in [a, b] {
        assert!(matches!(begin_of(store, id, max(1), at(0)).await, RunStart::MessageLimit));
    }
    a.settle(id, run.run, Settlement::default()).await.unwrap();
    assert_eq!(get(b, id).await.message_count, MessageCount::Known(0));
    assert!(matches!(begin_of(b, id, max(1), at(0)).await, RunStart::Next { .. }));
}

/// Checks that of many sessions that are bound to one thread at both at once one is.
pub async fn of_many_bindings_at_both_one_is_done(stores: &Stores) {
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 20) {
        calls.spawn(async move {
            let id = create(&store, "ada").await;
            let run = first(&store, id, at(0)).await;
            (id, bind(&store, id, run, "thr_1").await)
        });
    }
    let mut done = Vec::new();
    for (id, bound) in calls.join_all().await {
        match bound {
            Bound::Done => done.push(id),
            // Of one user, so nothing is in quarantine.
            Bound::ThreadReused(reuse) => assert_eq!(reuse.quarantined, None),
            Bound::LeaseLost => panic!("it is held"),
        }
    }
    assert_eq!(done.len(), 1);
    for store in stores {
        assert_eq!(of_thread(store, "thr_1").await.id, done[0]);
    }
}

/// Checks that of a deletion at one and a first run at the other one happens, and never both.
pub async fn a_session_is_deleted_at_one_or_run_at_the_other(stores: &Stores) {
    for round in 0..30 {
        let (here, there) = (stores[round % 2].clone(), stores[(round + 1) % 2].clone());
        let id = create(&here, "ada").await;
        let begin = new_run(None, at(0));
        let starting = tokio::spawn(async move {
            there.begin_run(id.into(), OnThread::Any, &user("ada"), begin).await.unwrap()
        });
        let deletion = here.delete(id, None, at(0)).await.unwrap();
        match (starting.await.unwrap(), deletion) {
            (RunStart::First { .. }, Deletion::Busy) | (RunStart::Unknown, Deletion::Done) => {}
            both => panic!("{both:?}"),
        }
    }
}

/// How many of so many runs at once each of the two has begun, which are returned.
async fn begin_at_both(stores: &Stores, id: SessionId, limit: u32) -> Vec<(Store, RunId)> {
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 16) {
        calls.spawn(async move {
            let begin = new_run(max(limit), at(0));
            match begin_with(&store, id, begin).await {
                RunStart::Next { .. } => Some((store, begin.run)),
                RunStart::MessageLimit => None,
                other => panic!("{other:?}"),
            }
        });
    }
    calls.join_all().await.into_iter().flatten().collect()
}

/// Checks that runs at both at once stop at the limit, and that what they leave counts at both.
pub async fn of_two_one_takes_the_last_place(stores: &Stores) {
    let id = create_bound(&stores[0], "ada", "thr_1").await;
    let mut count = 0;
    for round in 0..30 {
        let begun = begin_at_both(stores, id, count + 1).await;
        let [(store, run)] = &begun[..] else { panic!("round {round}: {begun:?}") };
        // Some runs leave a message, and the next round may begin before that is written.
        let left = u32::from(round % 3 == 0);
        settle(store, id, *run, messages(left.into()));
        count += left;
    }
    for store in stores {
        store.ping().await.unwrap();
    }
    for store in stores {
        assert_eq!(get(store, id).await.message_count, MessageCount::Known(count.into()));
    }
}

/// Checks that what is in flight at one counts at the other.
pub async fn what_is_in_flight_at_one_counts_at_the_other(stores: &Stores) {
    let [a, b] = stores;
    let id = create_bound(a, "ada", "thr_1").await;
    let runs = [next(a, id, at(0)).await, next(a, id, at(0)).await, next(b, id, at(0)).await];
    for store in stores {
        assert!(matches!(begin_of(store, id, max(3), at(0)).await, RunStart::MessageLimit));
    }
    assert_eq!(begin_at_both(stores, id, 6).await.len(), 3);
    a.settle(id, runs[0], messages(2)).await.unwrap();
    b.settle(id, runs[2], messages(2)).await.unwrap();
    // Four are in flight, and four messages are there.
    for store in stores {
        assert_eq!(get(store, id).await.message_count, MessageCount::Known(4));
        assert!(matches!(begin_of(store, id, max(8), at(0)).await, RunStart::MessageLimit));
    }
    assert_eq!(begin_at_both(stores, id, 10).await.len(), 2);
}

/// Checks that what is settled at one is seen at the other once its future has resolved.
pub async fn what_is_settled_at_one_is_seen_at_the_other(stores: &Stores) {
    let id = create_bound(&stores[0], "ada", "thr_1").await;
    for round in 1..=20_u32 {
        let (here, there) = match round % 2 {
            0 => (&stores[0], &stores[1]),
            _ => (&stores[1], &stores[0]),
        };
        let run = next(here, id, at(0)).await;
        let title = Some(Some(format!("title {round}")));
        here.settle(id, run, Settlement { title, ..messages(2) }).await.unwrap();
        let record = get(there, id).await;
        assert_eq!(record.message_count, MessageCount::Known(2 * u64::from(round)));
        assert_eq!(record.title, Some(format!("title {round}")));
    }
}

/// Checks that a thread whose id comes twice is locked at both at once.
pub async fn what_comes_twice_is_locked_at_both([a, b]: &Stores) {
    let owner = create_bound(a, "ada", "thr_1").await;
    let other = create(b, "eve").await;
    let run = first(b, other, at(0)).await;
    let bound = bind(b, other, run, "thr_1").await;
    assert!(matches!(bound, Bound::ThreadReused(_)), "{bound:?}");
    for store in [a, b] {
        let locked = Some(Found::Quarantined { id: owner, user_id: user("ada") });
        assert_eq!(store.get(SessionKey::Thread("thr_1")).await.unwrap(), locked);
        assert!(matches!(begin(store, owner, at(1)).await, RunStart::Quarantined));
        assert_eq!(list(store, &user("ada")).await, []);
        let deletion = store.delete(owner, Some("thr_1"), at(1)).await.unwrap();
        assert_eq!(deletion, Deletion::Quarantined);
    }
}

/// Checks that whose an attachment is, is seen at both, and that one is its owner.
pub async fn an_attachment_has_one_owner_at_both([a, b]: &Stores) {
    assert_eq!(a.own_attachment(&user("ada"), "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(b.own_attachment(&user("eve"), "atc_1").await.unwrap(), Owned::Taken);
    assert_eq!(attachment_owner(b, "atc_1").await, Some(user("ada")));
    assert!(b.disown_attachment("atc_1").await.unwrap());
    assert_eq!(attachment_owner(a, "atc_1").await, None);
    assert_eq!(b.own_attachment(&user("eve"), "atc_1").await.unwrap(), Owned::Done);
    assert_eq!(attachment_owner(a, "atc_1").await, Some(user("eve")));
}

fn client_session(id: &str) -> ClientSession {
    ClientSession {
        id: id.to_owned(),
        user_id: user("ada"),
        created_at: at(0),
        expires_at: at(600),
        cancelled_at: None,
        requests_per_minute: NonZeroU32::MAX,
        details: "{}".to_owned(),
    }
}

/// Checks that a client session that is cancelled at one is so at the other at once.
pub async fn what_is_cancelled_at_one_is_so_at_the_other([a, b]: &Stores) {
    let session = client_session("cksess_1");
    let created = a.create_client_session(session.clone(), NonZeroU32::MIN).await.unwrap();
    assert_eq!(created, ClientSessionCreated::Done);
    assert_eq!(b.client_session("cksess_1").await.unwrap(), Some(session));
    let cancelled = b.cancel_client_session("cksess_1", at(1)).await.unwrap();
    assert_eq!(a.client_session("cksess_1").await.unwrap(), cancelled);
    assert_eq!(cancelled.unwrap().status(at(1)), ClientSessionStatus::Cancelled);
}

/// Checks that active client sessions are limited exactly, over both.
pub async fn client_sessions_at_both_are_limited_exactly(stores: &Stores) {
    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
    let mut calls = JoinSet::new();
    for (n, store) in in_turn(stores, 20).enumerate() {
        let session = client_session(&format!("cksess_{n}"));
        calls.spawn(async move { store.create_client_session(session, TWO).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    let made = outcomes.iter().filter(|made| **made == ClientSessionCreated::Done).count();
    assert_eq!(made, 2);
}

/// Checks that what is released or deleted at one is so at the other at once.
pub async fn what_leaves_quarantine_at_one_is_free_at_the_other([a, b]: &Stores) {
    let owner = create_bound(a, "ada", "thr_1").await;
    let other = create_bound(a, "eve", "thr_2").await;
    let lock = async || {
        let named = a.thread_named(other, &user("eve"), "thr_1".into(), at(2)).await.unwrap();
        assert_eq!(named.unwrap().quarantined, Some(1));
        assert_eq!(b.quarantined(None, 9).await.unwrap().len(), 1);
    };
    lock().await;
    assert_eq!(b.release("thr_1").await.unwrap(), Released::ToOwner);
    assert_eq!(get(a, owner).await.thread_id.as_deref(), Some("thr_1"));
    lock().await;
    assert!(b.delete_quarantined("thr_1", at(3)).await.unwrap());
    assert_eq!(a.get(owner.into()).await.unwrap(), None);
    assert!(!a.delete_quarantined("thr_1", at(3)).await.unwrap());
    assert_eq!(a.release("thr_1").await.unwrap(), Released::Id);
    assert_eq!(b.quarantined(None, 9).await.unwrap(), []);
}

/// Checks that the same threads adopted at both at once are adopted once.
pub async fn what_is_adopted_at_both_is_so_once(stores: &Stores) {
    let mut calls = JoinSet::new();
    for store in in_turn(stores, 10) {
        let threads = (0..10).map(|n| Adoption::Thread(thread("ada", &format!("thr_{n}"))));
        calls.spawn(async move { store.adopt(threads.collect()).await.unwrap() });
    }
    let outcomes = calls.join_all().await.concat();
    let done = outcomes.iter().filter(|outcome| **outcome == Adopted::Done).count();
    let known = outcomes.iter().filter(|outcome| **outcome == Adopted::Known).count();
    assert_eq!((done, known), (10, 90));
    let page = ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit: 99 };
    let [a, b] = stores;
    let threads = a.threads(page.clone()).await.unwrap();
    assert_eq!(threads.len(), 10);
    assert_eq!(b.threads(page).await.unwrap(), threads);
}

/// Checks that nobody keeps a count while a run is in flight at the other.
pub async fn nobody_keeps_a_count_while_a_run_is_in_flight_elsewhere([a, b]: &Stores) {
    let id = adopted(a, "ada", "thr_1").await;
    let run = |limit, uncounted| BeginRun { uncounted, ..new_run(limit, at(0)) };
    let counted = Uncounted::Counted { seen: 0, messages: 3 };
    let here = next_with(a, id, run(None, Uncounted::Begin)).await;
    assert!(matches!(begin_with(b, id, run(max(4), counted)).await, RunStart::MessageLimit));
    let there = next_with(b, id, run(max(5), counted)).await;
    assert!(matches!(begin_with(a, id, run(max(5), counted)).await, RunStart::MessageLimit));
    b.settle(id, there, Settlement::default()).await.unwrap();
    // Whoever has read all of it.
    b.set_message_count(id, MessageCount::AtLeast(0), 3).await.unwrap();
    assert_eq!(get(b, id).await.message_count, MessageCount::AtLeast(0));
    a.settle(id, here, messages(2)).await.unwrap();
    b.set_message_count(id, MessageCount::AtLeast(2), 5).await.unwrap();
    assert_eq!(get(a, id).await.message_count, MessageCount::Known(5));
}
