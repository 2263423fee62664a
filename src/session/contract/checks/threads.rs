//! Pages of threads, and their places.

use crate::session::contract::Store;
use crate::session::contract::support::{at, by_thread, create, create_bound, delete, first, user};
use crate::session::{Bound, Deletion, SessionId, ThreadPlace, ThreadsPage};

fn page(limit: usize) -> ThreadsPage {
    ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit }
}

async fn threads(store: &Store, page: ThreadsPage) -> Vec<String> {
    let records = store.threads(page).await.unwrap();
    records.iter().map(|placed| placed.record.thread_id.as_deref().unwrap().to_owned()).collect()
}

async fn bound_at(store: &Store, user_id: &str, thread_id: &str, seconds: i64) -> SessionId {
    let id = create(store, user_id).await;
    let run = first(store, id, at(0)).await;
    let bound = store.bind(id, &user(user_id), run, thread_id.into(), at(seconds)).await.unwrap();
    assert_eq!(bound, Bound::Done);
    id
}

/// Checks that threads are in the order of their binding.
pub async fn threads_are_in_the_order_of_their_binding(store: &Store) {
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
    assert_eq!(placed.record, by_thread(store, "a").await.unwrap().open().unwrap());
    assert_eq!(placed.place, ThreadPlace { bound_at: at(10), id: placed.record.id });
    assert_eq!(store.place_of_thread("a").await.unwrap(), Some(placed.place));
    assert_eq!(store.place_of_thread("A").await.unwrap(), None);
}

/// Checks that a page of threads lies between its cursors.
pub async fn a_page_of_threads_lies_between_its_cursors(store: &Store) {
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
    assert_eq!(delete(store, ids[1], at(5)).await, Deletion::Done);
    assert_eq!(threads(store, between(true, 1, None)).await, ["c", "d"]);
    assert_eq!(threads(store, between(false, 3, Some(1))).await, ["c"]);
    assert_eq!(threads(store, page(10)).await, ["a", "c", "d"]);
}

/// That of the session which was bound at second `n`.
fn place(ids: &[SessionId], n: usize) -> ThreadPlace {
    ThreadPlace { bound_at: at(n.try_into().unwrap()), id: ids[n] }
}

/// Checks that the place of a deleted thread is known for a day.
pub async fn the_place_of_a_deleted_thread_is_known_for_a_day(store: &Store) {
    const DAY: i64 = 24 * 3600;
    // More than are forgotten at once.
    let old = 70_usize;
    let mut ids = Vec::new();
    for n in 0..old + 2 {
        ids.push(bound_at(store, "ada", &format!("thr_{n}"), n.try_into().unwrap()).await);
    }
    for id in &ids[..old] {
        assert_eq!(delete(store, *id, at(1000)).await, Deletion::Done);
    }
    let known = async |n: usize| store.place_of_thread(&format!("thr_{n}")).await.unwrap();
    assert_eq!(known(0).await, Some(place(&ids, 0)));
    assert_eq!(by_thread(store, "thr_0").await, None);

    // Who was never bound had no place, and deleting them is no reason to forget others in vain.
    let unbound = create(store, "ada").await;
    assert_eq!(delete(store, unbound, at(1000 + DAY)).await, Deletion::Done);
    assert_eq!(known(0).await, Some(place(&ids, 0)));

    for n in [old, old + 1] {
        assert_eq!(delete(store, ids[n], at(1001 + DAY)).await, Deletion::Done);
        assert_eq!(known(n).await, Some(place(&ids, n)));
    }
    for n in 0..old {
        assert_eq!(known(n).await, None, "{n}");
    }

    // An id that is used again has its new place, and keeps that when it goes.
    let again = bound_at(store, "bob", "thr_71", 2000).await;
    let new = ThreadPlace { bound_at: at(2000), id: again };
    assert_eq!(known(71).await, Some(new));
    assert_eq!(delete(store, again, at(2001 + DAY)).await, Deletion::Done);
    assert_eq!(known(71).await, Some(new));
}

/// Checks that who deletes what a page shows goes on behind it.
pub async fn who_deletes_what_a_page_shows_goes_on_behind_it(store: &Store) {
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
            assert_eq!(delete(store, placed.record.id, at(100)).await, Deletion::Done);
        }
        if records.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e", "f", "g"]);
}

/// Checks that threads bound at one moment are all paged through.
pub async fn threads_bound_at_one_moment_are_all_paged_through(store: &Store) {
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
