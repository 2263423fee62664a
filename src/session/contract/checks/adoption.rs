//! What a ChatKit server has already.

use std::num::NonZeroU64;

use jiff::SignedDuration;

use crate::session::AdoptionConflict as Conflict;
use crate::session::contract::Store;
use crate::session::contract::support::{
    abandon, at, by_thread, create, create_bound, delete, get, list, max, messages, new_run,
    new_session, next_with, of_thread, settle, user,
};
use crate::session::{
    Adopted, AdoptedThread, Adoption, BeginRun, ConversationId, Created, Deletion, KnownBy,
    MessageCount, NewConversation, NewSession, SessionId, SessionRecord, ThreadId, ThreadsPage,
    Uncounted,
};

pub(super) fn thread(user_id: &str, thread_id: &str) -> AdoptedThread {
    AdoptedThread {
        thread_id: ThreadId::from(thread_id),
        user_id: user(user_id),
        title: None,
        created_at: at(-1000),
        updated_at: at(-500),
        known_by: None,
    }
}

fn known_by(thread: AdoptedThread, known_by: KnownBy) -> Adoption {
    Adoption::Thread(AdoptedThread { known_by: Some(known_by), ..thread })
}

fn integer(number: u64) -> KnownBy {
    KnownBy::Conversation(ConversationId::Integer(NonZeroU64::new(number).unwrap()))
}

pub(super) async fn adopt(store: &Store, entry: Adoption) -> Adopted {
    let mut outcomes = store.adopt(vec![entry]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub(super) async fn adopted(store: &Store, user_id: &str, thread_id: &str) -> SessionId {
    assert_eq!(adopt(store, Adoption::Thread(thread(user_id, thread_id))).await, Adopted::Done);
    of_thread(store, thread_id).await.id
}

/// Checks that a thread becomes a session as it was given.
pub async fn a_thread_becomes_a_session_as_it_was_given(store: &Store) {
    let nanoseconds = SignedDuration::from_nanos(123_456_789);
    let entry = AdoptedThread {
        title: Some("Trip to Turin".to_owned()),
        created_at: at(-9) + nanoseconds,
        updated_at: at(-5) + nanoseconds,
        ..thread("ada", "thr_1")
    };
    assert_eq!(adopt(store, Adoption::Thread(entry)).await, Adopted::Done);
    let record = of_thread(store, "thr_1").await;
    let expected = SessionRecord {
        id: record.id,
        user_id: user("ada"),
        thread_id: Some(ThreadId::from("thr_1")),
        conversation: None,
        title: Some("Trip to Turin".to_owned()),
        created_at: at(-9) + SignedDuration::from_micros(123_456),
        updated_at: at(-5) + SignedDuration::from_micros(123_456),
        message_count: MessageCount::AtLeast(0),
    };
    assert_eq!(record, expected);
    assert_eq!(list(store, &user("ada")).await, [expected]);
    let place = store.place_of_thread("thr_1").await.unwrap().unwrap();
    assert_eq!((place.id, place.bound_at), (record.id, record.created_at));
}

/// Checks that adopted threads are listed by their creation.
pub async fn adopted_threads_are_listed_by_their_creation(store: &Store) {
    create_bound(store, "ada", "thr_new").await;
    let entries = [("thr_b", -20), ("thr_a", -30), ("thr_c", -10)].map(|(thread_id, second)| {
        let created_at = at(second);
        Adoption::Thread(AdoptedThread { created_at, ..thread("ada", thread_id) })
    });
    assert_eq!(store.adopt(entries.into()).await.unwrap(), [Adopted::Done; 3]);
    let page = ThreadsPage { user_id: None, ascending: true, after: None, until: None, limit: 9 };
    let threads = store.threads(page).await.unwrap();
    let ids: Vec<_> =
        threads.iter().filter_map(|placed| placed.record.thread_id.as_deref()).collect();
    assert_eq!(ids, ["thr_a", "thr_b", "thr_c", "thr_new"]);
}

/// Checks that what is known stays as it is.
pub async fn what_is_known_stays_as_it_is(store: &Store) {
    let first = create_bound(store, "ada", "thr_own").await;
    let own = get(store, first).await;
    adopted(store, "ada", "thr_1").await;
    let before = list(store, &user("ada")).await;
    for thread_id in ["thr_1", "thr_own"] {
        let again = AdoptedThread { title: Some("other".into()), ..thread("ada", thread_id) };
        assert_eq!(adopt(store, Adoption::Thread(again)).await, Adopted::Known);
        let id = of_thread(store, thread_id).await.id;
        let same = known_by(thread("ada", thread_id), KnownBy::Session(id));
        assert_eq!(adopt(store, same).await, Adopted::Known);
    }
    assert_eq!(list(store, &user("ada")).await, before);
    assert_eq!(get(store, first).await, own);
}

/// Checks that what is another's is not taken.
pub async fn what_is_anothers_is_not_taken(store: &Store) {
    let bobs = create_bound(store, "bob", "thr_1").await;
    let conversation = Some(NewConversation::Conv(7));
    let session = NewSession { conversation, ..new_session("bob") };
    let _ = store.create(session, None).await.unwrap();
    let conv = KnownBy::Conversation(ConversationId::Conv(7));
    let other = KnownBy::Conversation(ConversationId::Conv(8));
    for (entry, conflict) in [
        (Adoption::Thread(thread("ada", "thr_1")), Conflict::AnotherUser),
        (known_by(thread("ada", "thr_2"), conv), Conflict::ConversationTaken),
        (known_by(thread("ada", "thr_2"), KnownBy::Session(bobs)), Conflict::SessionTaken),
        (known_by(thread("bob", "thr_1"), other), Conflict::OtherConversation),
        (known_by(thread("bob", "thr_1"), conv), Conflict::OtherConversation),
        (
            known_by(thread("bob", "thr_1"), KnownBy::Session(SessionId::random())),
            Conflict::OtherConversation,
        ),
        // Look-alikes are strangers.
        (Adoption::Thread(thread("Bob", "thr_1")), Conflict::AnotherUser),
    ] {
        assert_eq!(adopt(store, entry).await, Adopted::Conflict(conflict));
    }
    assert_eq!(list(store, &user("ada")).await, []);
    assert_eq!(by_thread(store, "thr_2").await, None);
    assert_eq!(get(store, bobs).await.conversation, None);
}

/// Checks that each entry sees those before it.
pub async fn each_entry_sees_those_before_it(store: &Store) {
    let own = SessionId::random();
    let entries = vec![
        known_by(thread("ada", "thr_1"), integer(5)),
        Adoption::Thread(thread("bob", "thr_1")),
        known_by(thread("ada", "thr_1"), integer(5)),
        known_by(thread("bob", "thr_2"), integer(5)),
        known_by(thread("bob", "thr_2"), KnownBy::Session(own)),
        known_by(thread("bob", "thr_3"), KnownBy::Session(own)),
        Adoption::Thread(thread("bob", "thr_4")),
    ];
    let expected = [
        Adopted::Done,
        Adopted::Conflict(Conflict::AnotherUser),
        Adopted::Known,
        Adopted::Conflict(Conflict::ConversationTaken),
        Adopted::Done,
        Adopted::Conflict(Conflict::SessionTaken),
        Adopted::Done,
    ];
    assert_eq!(store.adopt(entries).await.unwrap(), expected);
    assert_eq!(get(store, own).await.thread_id.as_deref(), Some("thr_2"));
    assert_eq!(list(store, &user("bob")).await.len(), 2);
    assert_eq!(store.adopt(Vec::new()).await.unwrap(), []);
}

/// Checks that what was deleted here does not come back.
pub async fn what_was_deleted_here_does_not_come_back(store: &Store) {
    const DAY: i64 = 24 * 3600;
    let id = adopted(store, "ada", "thr_1").await;
    let made = create_bound(store, "ada", "thr_made").await;
    let made_too = create_bound(store, "ada", "thr_made_too").await;
    assert_eq!(delete(store, id, at(0)).await, Deletion::Done);
    assert_eq!(delete(store, made, at(0)).await, Deletion::Done);
    for user_id in ["ada", "bob"] {
        for thread_id in ["thr_1", "thr_made"] {
            let again = Adoption::Thread(thread(user_id, thread_id));
            assert_eq!(adopt(store, again).await, Adopted::Deleted);
        }
        let again = known_by(thread(user_id, "thr_1"), KnownBy::Session(id));
        assert_eq!(adopt(store, again).await, Adopted::Deleted);
    }
    assert_eq!(by_thread(store, "thr_1").await, None);

    // Nor when the places of deleted threads are forgotten.
    assert_eq!(delete(store, made_too, at(DAY + 1)).await, Deletion::Done);
    assert_eq!(store.place_of_thread("thr_1").await.unwrap(), None);
    assert_eq!(adopt(store, Adoption::Thread(thread("ada", "thr_1"))).await, Adopted::Deleted);
}

/// Checks that no number is given that clients cannot read.
pub async fn no_number_is_given_that_clients_cannot_read(store: &Store) {
    let next = async || {
        let conversation = Some(NewConversation::Next);
        store.create(NewSession { conversation, ..new_session("ada") }, None).await
    };
    let last = (1 << 53) - 1;
    let entry = known_by(thread("ada", "thr_1"), integer(last - 1));
    assert_eq!(adopt(store, entry).await, Adopted::Done);
    let Created::Session(session) = next().await.unwrap() else { panic!("refused") };
    assert_eq!(session.conversation, NonZeroU64::new(last).map(ConversationId::Integer));
    for _ in 0..2 {
        let error = next().await.unwrap_err();
        assert!(error.is_store() && error.chain().contains("no number is left"), "{error:?}");
    }
    // The others go on.
    create(store, "ada").await;
    assert_eq!(list(store, &user("ada")).await.len(), 3);
}

/// Checks that what is adopted is kept and compared to the byte.
pub async fn adopted_text_is_never_interpreted(store: &Store) {
    for text in ["'", "''); DROP TABLE session; --", "%", "a\0b", "\u{fffd}\u{202e}", "?1"] {
        let title = Some(text.to_owned());
        let entry = AdoptedThread { title: title.clone(), ..thread("ada", text) };
        assert_eq!(adopt(store, Adoption::Thread(entry)).await, Adopted::Done);
        let record = of_thread(store, text).await;
        assert_eq!((record.thread_id.as_deref(), record.title), (Some(text), title));
    }
}

/// Checks that the adopted are none of those that are limited.
pub async fn the_adopted_take_nobodys_place(store: &Store) {
    for number in 0..5 {
        adopted(store, "ada", &format!("thr_{number}")).await;
    }
    let created = async || store.create(new_session("ada"), max(2)).await.unwrap();
    assert!(matches!(created().await, Created::Session(_)));
    assert!(matches!(created().await, Created::Session(_)));
    assert!(matches!(created().await, Created::LimitReached));
    // Used or not, they are none of those that were made here.
    let id = of_thread(store, "thr_0").await.id;
    let begin = BeginRun { uncounted: Uncounted::Begin, ..new_run(None, at(0)) };
    let run = next_with(store, id, begin).await;
    settle(store, id, run, messages(2));
    assert!(matches!(created().await, Created::LimitReached));
    assert_eq!(delete(store, id, at(0)).await, Deletion::Done);
    assert!(matches!(created().await, Created::LimitReached));
    assert_eq!(list(store, &user("ada")).await.len(), 6);
}

/// Checks that numbers go on behind the adopted.
pub async fn numbers_go_on_behind_the_adopted(store: &Store) {
    let next = async || {
        let conversation = Some(NewConversation::Next);
        let session = NewSession { conversation, ..new_session("ada") };
        match store.create(session, None).await.unwrap() {
            Created::Session(record) => record.conversation.unwrap().to_string(),
            refused => panic!("{refused:?}"),
        }
    };
    assert_eq!(next().await, "1");
    for (thread_id, number, after) in [("thr_1", 40, "41"), ("thr_2", 7, "42")] {
        let entry = known_by(thread("ada", thread_id), integer(number));
        assert_eq!(adopt(store, entry).await, Adopted::Done);
        let KnownBy::Conversation(id) = integer(number) else { panic!("a number") };
        let found = store.get(id.into()).await.unwrap().unwrap().open().unwrap();
        assert_eq!(found.thread_id.as_deref(), Some(thread_id));
        assert_eq!(next().await, after);
    }
    // What was not adopted leaves no gap.
    let entry = known_by(thread("bob", "thr_1"), integer(900));
    assert_eq!(adopt(store, entry).await, Adopted::Conflict(Conflict::AnotherUser));
    assert_eq!(next().await, "43");
}

/// Checks that a batch that is dropped is adopted or not.
pub async fn a_batch_that_is_dropped_is_adopted_or_not(store: &Store) {
    for round in 0..20 {
        let entries = (0..3).map(|number| thread("ada", &format!("thr_{round}_{number}")));
        let _ = abandon(store.adopt(entries.map(Adoption::Thread).collect()));
    }
    store.ping().await.unwrap();
    assert_eq!(list(store, &user("ada")).await.len() % 3, 0);
    let id = create(store, "ada").await;
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(0));
}
