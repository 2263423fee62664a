//! Pages of a user's sessions.

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, create, create_bound, delete, discarding, first, get, list, messages, new_session, next,
    page, settle, user,
};
use crate::session::{
    ConversationIds, Deletion, NewConversation, NewSession, SessionId, SessionPlace,
    SessionSummary, SessionsPage, Settlement,
};

/// Checks that lists are newest first and ties are settled.
pub async fn lists_are_newest_first_and_ties_are_settled(store: &Store) {
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

/// Checks that pages of sessions follow one another.
pub async fn pages_of_sessions_follow_one_another(store: &Store) {
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
        assert_eq!(delete(store, session.id, at(20)).await, Deletion::Done);
        let place = SessionPlace::of(session);
        assert_eq!(ids_behind(store, Some(place), 5).await, expected[n + 1..]);
    }
}

/// Checks that what is written meanwhile moves nobody else.
pub async fn what_is_written_meanwhile_moves_nobody_else(store: &Store) {
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
            let run = next(store, id, at(200)).await;
            let touched_at = Some(at(200 + round));
            settle(store, id, run, Settlement { touched_at, ..messages(2) });
        }
        if round == 2 {
            assert_eq!(delete(store, last.id, at(300)).await, Deletion::Done);
        }
    }
    let mut once = shown.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "twice");
    shown.retain(|id| expected.contains(id));
    assert_eq!(shown, expected);
}

/// Checks that a run that ended just now is first in the list.
pub async fn a_run_that_ended_just_now_is_first_in_the_list(store: &Store) {
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
        let run = next(store, id, now).await;
        let title = Some(Some(format!("title {limit}")));
        settle(
            store,
            id,
            run,
            Settlement { title: title.clone(), touched_at: Some(now), ..messages(2) },
        );
        ids.insert(0, id);
        let listed = page(store, &user("ada"), None, limit).await;
        assert_eq!(listed.len(), limit.min(9));
        assert_eq!((listed[0].id, listed[0].updated_at), (id, now));
        assert_eq!(Some(Some(listed[0].title.clone().unwrap())), title);
        assert_eq!(SessionSummary::from(get(store, id).await), listed[0]);
        assert_eq!(ids_behind(store, None, limit).await, ids);
    }
}

/// Checks that a session that is discarded is in no list.
pub async fn a_session_that_is_discarded_is_in_no_list(store: &Store) {
    let (kept, id) = (create(store, "ada").await, create(store, "ada").await);
    let run = first(store, id, at(0)).await;
    settle(store, id, run, discarding());
    let listed = page(store, &user("ada"), None, 9).await;
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [kept]);
}

/// Checks that lists are of conversations with such ids.
pub async fn lists_are_of_conversations_with_such_ids(store: &Store) {
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
