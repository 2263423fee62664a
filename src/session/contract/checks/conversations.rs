//! The ids of sessions as conversations.

use std::num::NonZeroU64;

use tokio::task::JoinSet;

use crate::session::contract::Store;
use crate::session::contract::support::{
    at, delete, discarding, first, get, list, max, new_session, settle, user,
};
use crate::session::{
    ConversationId, Created, Deletion, Found, NewConversation, NewSession, SessionRecord,
};

fn session_with(user_id: &str, conversation: NewConversation) -> NewSession {
    NewSession { conversation: Some(conversation), ..new_session(user_id) }
}

async fn create_as(store: &Store, user_id: &str, conversation: NewConversation) -> SessionRecord {
    match store.create(session_with(user_id, conversation), None).await.unwrap() {
        Created::Session(record) => record,
        refused => panic!("{refused:?}"),
    }
}

/// Gives the number of a new session.
async fn next(store: &Store) -> u64 {
    match create_as(store, "ada", NewConversation::Next).await.conversation {
        Some(ConversationId::Integer(number)) => number.get(),
        other => panic!("{other:?}"),
    }
}

fn integer(number: u64) -> ConversationId {
    ConversationId::Integer(NonZeroU64::new(number).unwrap())
}

/// Checks that a session is found by its id as a conversation.
pub async fn a_session_is_found_by_its_id_as_a_conversation(store: &Store) {
    let numbered = create_as(store, "ada", NewConversation::Next).await;
    let drawn = create_as(store, "bob", NewConversation::Conv(0x0f3a_91c2)).await;
    assert_eq!(numbered.conversation, Some(integer(1)));
    assert_eq!(drawn.conversation, Some(ConversationId::Conv(0x0f3a_91c2)));
    for record in [numbered, drawn] {
        let found = store.get(record.conversation.unwrap().into()).await.unwrap();
        assert_eq!(found, Some(Found::Open(record.clone())));
        assert_eq!(get(store, record.id).await, record);
        assert_eq!(list(store, &record.user_id).await, std::slice::from_ref(&record));
        let title = store.set_title(record.id, None, at(0)).await.unwrap().unwrap();
        assert_eq!(title.conversation, record.conversation);
    }
    for nobodys in [integer(2), ConversationId::Conv(1), ConversationId::Conv(0)] {
        assert_eq!(store.get(nobodys.into()).await.unwrap(), None, "{nobodys}");
    }
}

/// Checks that a session need not be a conversation.
pub async fn a_session_need_not_be_a_conversation(store: &Store) {
    for _ in 0..2 {
        let created = store.create(new_session("ada"), None).await.unwrap();
        assert!(matches!(created, Created::Session(SessionRecord { conversation: None, .. })));
    }
    assert_eq!(next(store).await, 1);
}

/// Checks that numbers are never given again.
pub async fn numbers_are_never_given_again(store: &Store) {
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        calls.spawn(async move { next(&store).await });
    }
    let mut numbers = calls.join_all().await;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    let last = numbers[19];
    let record = store.get(integer(last).into()).await.unwrap().unwrap().open().unwrap();
    assert_eq!(delete(store, record.id, at(0)).await, Deletion::Done);
    assert_eq!(store.get(integer(last).into()).await.unwrap(), None);
    assert!(next(store).await > last);
}

/// Checks that an id that is taken is refused and nothing is made.
pub async fn an_id_that_is_taken_is_refused_and_nothing_is_made(store: &Store) {
    let conversation = NewConversation::Conv(7);
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let (store, session) = (store.clone(), session_with(&format!("user {n}"), conversation));
        calls.spawn(async move { store.create(session, max(1)).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    let made: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Created::Session(record) => Some(record),
            Created::ConversationTaken => None,
            Created::LimitReached => panic!("each of them has none yet"),
        })
        .collect();
    assert_eq!(made.len(), 1);
    let mut listed = 0;
    for n in 0..20 {
        listed += list(store, &user(&format!("user {n}"))).await.len();
    }
    assert_eq!(listed, 1);

    // Of the two reasons the limit is told.
    let full = session_with(made[0].user_id.as_str(), conversation);
    assert!(matches!(store.create(full, max(1)).await.unwrap(), Created::LimitReached));
    assert_eq!(delete(store, made[0].id, at(0)).await, Deletion::Done);
    create_as(store, "eve", conversation).await;
}

/// Checks that a session that is discarded leaves its id free.
pub async fn a_session_that_is_discarded_leaves_its_id_free(store: &Store) {
    let conversation = NewConversation::Conv(7);
    let record = create_as(store, "ada", conversation).await;
    let run = first(store, record.id, at(0)).await;
    settle(store, record.id, run, discarding());
    store.ping().await.unwrap();
    assert_eq!(store.get(ConversationId::Conv(7).into()).await.unwrap(), None);
    create_as(store, "eve", conversation).await;
}
