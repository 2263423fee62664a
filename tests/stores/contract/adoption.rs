//! What a ChatKit server has already.

use std::num::NonZeroU64;
use std::time::Duration;

use chatkit_rest::session::{
    Adopted, AdoptedThread, Adoption, AdoptionConflict as Conflict, BeginRun, ConversationId,
    Created, Deletion, KnownBy, MessageCount, NewConversation, NewSession, RunStart, SessionId,
    SessionRecord, Settlement, ThreadId, ThreadsPage, Uncounted,
};
use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::support::{
    Store, abandon, at, begin, begin_of, begin_with, create, create_bound, get, list, max,
    messages, new_session, user,
};

fn thread(user_id: &str, thread_id: &str) -> AdoptedThread {
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

fn attachment(user_id: &str, attachment_id: &str) -> Adoption {
    Adoption::Attachment { attachment_id: attachment_id.to_owned(), user_id: user(user_id) }
}

async fn adopt(store: &Store, entry: Adoption) -> Adopted {
    let mut outcomes = store.adopt(vec![entry]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn adopted(store: &Store, user_id: &str, thread_id: &str) -> SessionId {
    assert_eq!(adopt(store, Adoption::Thread(thread(user_id, thread_id))).await, Adopted::Done);
    store.by_thread(thread_id).await.unwrap().unwrap().open().unwrap().id
}

/// Begins a run without a lease to come.
async fn begin_uncounted(
    store: &Store,
    id: SessionId,
    limit: Option<u32>,
    uncounted: Uncounted,
) -> RunStart {
    let max_messages = limit.and_then(max);
    let lease = Duration::from_secs(30);
    let begin = BeginRun { max_messages, lease, now: at(0), uncounted };
    begin_with(store, id, begin).await.unwrap()
}

fn counted(messages: u64) -> Uncounted {
    Uncounted::Counted { seen: 0, messages }
}

async fn count(store: &Store, id: SessionId) -> MessageCount {
    let record = get(store, id).await;
    let listed = list(store, &record.user_id).await;
    assert!(listed.contains(&record));
    record.message_count
}

pub(crate) async fn a_thread_becomes_a_session_as_it_was_given(store: &Store) {
    let nanoseconds = SignedDuration::from_nanos(123_456_789);
    let entry = AdoptedThread {
        title: Some("Trip to Turin".to_owned()),
        created_at: at(-9) + nanoseconds,
        updated_at: at(-5) + nanoseconds,
        ..thread("ada", "thr_1")
    };
    assert_eq!(adopt(store, Adoption::Thread(entry)).await, Adopted::Done);
    let record = store.by_thread("thr_1").await.unwrap().unwrap().open().unwrap();
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

    assert_eq!(adopt(store, attachment("ada", "atc_1")).await, Adopted::Done);
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), Some(user("ada")));
}

pub(crate) async fn adopted_threads_are_listed_by_their_creation(store: &Store) {
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

pub(crate) async fn what_is_known_stays_as_it_is(store: &Store) {
    let first = create_bound(store, "ada", "thr_own").await;
    let own = get(store, first).await;
    adopted(store, "ada", "thr_1").await;
    let before = list(store, &user("ada")).await;
    for thread_id in ["thr_1", "thr_own"] {
        let again = AdoptedThread { title: Some("other".into()), ..thread("ada", thread_id) };
        assert_eq!(adopt(store, Adoption::Thread(again)).await, Adopted::Known);
        let id = store.by_thread(thread_id).await.unwrap().unwrap().open().unwrap().id;
        let same = known_by(thread("ada", thread_id), KnownBy::Session(id));
        assert_eq!(adopt(store, same).await, Adopted::Known);
    }
    assert_eq!(list(store, &user("ada")).await, before);
    assert_eq!(get(store, first).await, own);
    for outcome in [Adopted::Done, Adopted::Known] {
        assert_eq!(adopt(store, attachment("ada", "atc_1")).await, outcome);
    }
}

pub(crate) async fn what_is_anothers_is_not_taken(store: &Store) {
    let bobs = create_bound(store, "bob", "thr_1").await;
    let conversation = Some(NewConversation::Conv(7));
    let session = NewSession { conversation, ..new_session("bob") };
    let _ = store.create(session, None).await.unwrap();
    let _ = store.own_attachment(&user("bob"), "atc_1").await.unwrap();
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
        (attachment("ada", "atc_1"), Conflict::AnotherUser),
        // Look-alikes are strangers.
        (Adoption::Thread(thread("Bob", "thr_1")), Conflict::AnotherUser),
    ] {
        assert_eq!(adopt(store, entry).await, Adopted::Conflict(conflict));
    }
    assert_eq!(list(store, &user("ada")).await, []);
    assert_eq!(store.by_thread("thr_2").await.unwrap(), None);
    assert_eq!(get(store, bobs).await.conversation, None);
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), Some(user("bob")));
}

pub(crate) async fn each_entry_sees_those_before_it(store: &Store) {
    let own = SessionId::random();
    let entries = vec![
        known_by(thread("ada", "thr_1"), integer(5)),
        Adoption::Thread(thread("bob", "thr_1")),
        known_by(thread("ada", "thr_1"), integer(5)),
        known_by(thread("bob", "thr_2"), integer(5)),
        known_by(thread("bob", "thr_2"), KnownBy::Session(own)),
        known_by(thread("bob", "thr_3"), KnownBy::Session(own)),
        attachment("ada", "atc_1"),
        attachment("bob", "atc_1"),
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
        Adopted::Conflict(Conflict::AnotherUser),
        Adopted::Done,
    ];
    assert_eq!(store.adopt(entries).await.unwrap(), expected);
    assert_eq!(get(store, own).await.thread_id.as_deref(), Some("thr_2"));
    assert_eq!(list(store, &user("bob")).await.len(), 2);
    assert_eq!(store.adopt(Vec::new()).await.unwrap(), []);
}

pub(crate) async fn what_was_deleted_here_does_not_come_back(store: &Store) {
    const DAY: i64 = 24 * 3600;
    let id = adopted(store, "ada", "thr_1").await;
    assert_eq!(adopt(store, attachment("ada", "atc_1")).await, Adopted::Done);
    let made = create_bound(store, "ada", "thr_made").await;
    let made_too = create_bound(store, "ada", "thr_made_too").await;
    assert_eq!(store.delete(id, at(0)).await.unwrap(), Deletion::Done);
    assert_eq!(store.delete(made, at(0)).await.unwrap(), Deletion::Done);
    assert!(store.disown_attachment("atc_1").await.unwrap());
    for user_id in ["ada", "bob"] {
        for thread_id in ["thr_1", "thr_made"] {
            let again = Adoption::Thread(thread(user_id, thread_id));
            assert_eq!(adopt(store, again).await, Adopted::Deleted);
        }
        let again = known_by(thread(user_id, "thr_1"), KnownBy::Session(id));
        assert_eq!(adopt(store, again).await, Adopted::Deleted);
        assert_eq!(adopt(store, attachment(user_id, "atc_1")).await, Adopted::Deleted);
    }
    assert_eq!(store.by_thread("thr_1").await.unwrap(), None);
    assert_eq!(store.attachment_owner("atc_1").await.unwrap(), None);

    // Nor when the places of deleted threads are forgotten.
    assert_eq!(store.delete(made_too, at(DAY + 1)).await.unwrap(), Deletion::Done);
    assert_eq!(store.place_of_thread("thr_1").await.unwrap(), None);
    assert_eq!(adopt(store, Adoption::Thread(thread("ada", "thr_1"))).await, Adopted::Deleted);
    assert_eq!(adopt(store, attachment("ada", "atc_1")).await, Adopted::Deleted);

    // An attachment of that name that is made anew is one, and is not what was adopted.
    let _ = store.own_attachment(&user("bob"), "atc_1").await.unwrap();
    assert_eq!(adopt(store, attachment("bob", "atc_1")).await, Adopted::Known);
}

pub(crate) async fn no_number_is_given_that_clients_cannot_read(store: &Store) {
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

pub(crate) async fn adopted_text_is_never_interpreted(store: &Store) {
    for text in ["'", "''); DROP TABLE session; --", "%", "a\0b", "\u{fffd}\u{202e}", "?1"] {
        let title = Some(text.to_owned());
        let entry = AdoptedThread { title: title.clone(), ..thread("ada", text) };
        assert_eq!(adopt(store, Adoption::Thread(entry)).await, Adopted::Done);
        let record = store.by_thread(text).await.unwrap().unwrap().open().unwrap();
        assert_eq!((record.thread_id.as_deref(), record.title), (Some(text), title));
        assert_eq!(adopt(store, attachment("ada", text)).await, Adopted::Done);
        assert_eq!(store.attachment_owner(text).await.unwrap(), Some(user("ada")));
    }
}

pub(crate) async fn the_adopted_take_nobodys_place(store: &Store) {
    for number in 0..5 {
        adopted(store, "ada", &format!("thr_{number}")).await;
    }
    let created = async || store.create(new_session("ada"), max(2)).await.unwrap();
    assert!(matches!(created().await, Created::Session(_)));
    assert!(matches!(created().await, Created::Session(_)));
    assert!(matches!(created().await, Created::LimitReached));
    // Used or not, they are none of those that were made here.
    let id = store.by_thread("thr_0").await.unwrap().unwrap().open().unwrap().id;
    assert!(matches!(begin_uncounted(store, id, None, Uncounted::Begin).await, RunStart::Next(_)));
    store.settle(id, messages(2));
    assert!(matches!(created().await, Created::LimitReached));
    assert_eq!(store.delete(id, at(0)).await.unwrap(), Deletion::Done);
    assert!(matches!(created().await, Created::LimitReached));
    assert_eq!(list(store, &user("ada")).await.len(), 6);
}

pub(crate) async fn numbers_go_on_behind_the_adopted(store: &Store) {
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
        let found = store.by_conversation(id).await.unwrap().unwrap().open().unwrap();
        assert_eq!(found.thread_id.as_deref(), Some(thread_id));
        assert_eq!(next().await, after);
    }
    // What was not adopted leaves no gap.
    let entry = known_by(thread("bob", "thr_1"), integer(900));
    assert_eq!(adopt(store, entry).await, Adopted::Conflict(Conflict::AnotherUser));
    assert_eq!(next().await, "43");
}

pub(crate) async fn a_run_of_the_uncounted_waits_for_their_count(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    for _ in 0..3 {
        match begin_of(store, id, max(3), at(0)).await {
            RunStart::Uncounted { thread_id, seen } => {
                assert_eq!((&*thread_id, seen), ("thr_1", 0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count(store, id).await, MessageCount::AtLeast(0));
    // Nothing was begun, so there is room for one.
    assert!(matches!(begin_uncounted(store, id, Some(3), counted(2)).await, RunStart::Next(_)));
    assert_eq!(count(store, id).await, MessageCount::Known(2));
    // What others counted too late makes no difference.
    for late in [counted(0), counted(99), Uncounted::Tell, Uncounted::Begin] {
        assert!(matches!(begin_uncounted(store, id, Some(3), late).await, RunStart::MessageLimit));
    }
    store.settle(id, messages(2));
    assert_eq!(count(store, id).await, MessageCount::Known(4));
    assert!(matches!(begin_of(store, id, max(5), at(0)).await, RunStart::Next(_)));
    store.settle(id, Settlement::default());
}

pub(crate) async fn runs_that_counted_at_once_stop_at_the_limit(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let start = begin_of(&store, id, max(10), at(0)).await;
            let RunStart::Uncounted { .. } = start else { return start };
            tokio::task::yield_now().await;
            begin_uncounted(&store, id, Some(10), counted(7)).await
        });
    }
    let outcomes = calls.join_all().await;
    let begun = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::Next(_))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, RunStart::MessageLimit));
    assert_eq!((begun, refused.count()), (3, 47));
    assert_eq!(count(store, id).await, MessageCount::Known(7));
}

pub(crate) async fn a_count_that_is_the_limit_is_kept_all_the_same(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let refused = begin_uncounted(store, id, Some(10), counted(10)).await;
    assert!(matches!(refused, RunStart::MessageLimit));
    assert_eq!(count(store, id).await, MessageCount::Known(10));
    assert!(matches!(begin_of(store, id, max(11), at(0)).await, RunStart::Next(_)));
}

pub(crate) async fn a_count_that_may_have_a_runs_messages_is_not_kept(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    // Without a limit it begins, and what is counted meanwhile may have its messages or not.
    assert!(matches!(begin_uncounted(store, id, None, Uncounted::Begin).await, RunStart::Next(_)));
    let refused = begin_uncounted(store, id, Some(6), counted(5)).await;
    assert!(matches!(refused, RunStart::MessageLimit), "one is in flight: {refused:?}");
    assert!(matches!(begin_uncounted(store, id, Some(7), counted(5)).await, RunStart::Next(_)));
    store.set_message_count(id, MessageCount::AtLeast(0), 5).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::AtLeast(0));
    store.settle(id, messages(2));
    assert_eq!(count(store, id).await, MessageCount::AtLeast(2));
    store.settle(id, messages(1));
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    // What was counted before those went by may lack them.
    let refused = begin_uncounted(store, id, Some(8), counted(5)).await;
    assert!(matches!(refused, RunStart::MessageLimit), "{refused:?}");
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    store.set_message_count(id, MessageCount::AtLeast(2), 6).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::AtLeast(3));
    let RunStart::Uncounted { seen, .. } = begin(store, id, at(0)).await else {
        panic!("nobody has counted")
    };
    let anew = Uncounted::Counted { seen, messages: 8 };
    assert!(matches!(begin_uncounted(store, id, Some(9), anew).await, RunStart::Next(_)));
    store.settle(id, messages(1));
    assert_eq!(count(store, id).await, MessageCount::Known(9));
}

pub(crate) async fn a_count_that_somebody_else_brings_is_not_kept(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let lease = Duration::from_secs(30);
    let begin = BeginRun { max_messages: None, lease, now: at(0), uncounted: counted(8) };
    let start = store.begin_run(id, &user("eve"), Some("thr_1"), begin).await.unwrap();
    assert!(matches!(start, RunStart::Foreign), "{start:?}");
    let start = store.begin_run(id, &user("ada"), Some("thr_2"), begin).await.unwrap();
    assert!(matches!(start, RunStart::OtherThread), "{start:?}");
    assert_eq!(get(store, id).await.message_count, MessageCount::AtLeast(0));
}

pub(crate) async fn whoever_reads_all_of_an_adopted_thread_counts_it(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    let seen = get(store, id).await.message_count;
    store.set_message_count(id, seen, 6).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::Known(6));
    store.set_message_count(id, seen, 9).await.unwrap();
    assert_eq!(count(store, id).await, MessageCount::Known(6));
    assert!(matches!(begin_of(store, id, max(6), at(0)).await, RunStart::MessageLimit));
}

pub(crate) async fn a_count_of_an_adopted_thread_never_overflows(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    for _ in 0..3 {
        let begun = begin_uncounted(store, id, None, Uncounted::Begin).await;
        assert!(matches!(begun, RunStart::Next(_)));
        store.settle(id, messages(u64::MAX));
        assert_eq!(get(store, id).await.message_count.known(), None);
        assert_eq!(list(store, &user("ada")).await[0].message_count.known(), None);
    }
    let seen = get(store, id).await.message_count;
    store.set_message_count(id, seen, u64::MAX).await.unwrap();
    for _ in 0..2 {
        assert!(get(store, id).await.message_count.known() > Some(1 << 52));
        assert!(list(store, &user("ada")).await[0].message_count.known() > Some(1 << 52));
        assert!(matches!(begin(store, id, at(0)).await, RunStart::Next(_)));
        store.settle(id, messages(u64::MAX));
    }
}

pub(crate) async fn a_dropped_counted_run_gives_its_place_back(store: &Store) {
    let id = adopted(store, "ada", "thr_1").await;
    for _ in 0..20 {
        let lease = Duration::from_secs(30);
        let begin = BeginRun { max_messages: max(9), lease, now: at(0), uncounted: counted(8) };
        if let std::task::Poll::Ready(Ok(RunStart::Next(_))) = abandon(begin_with(store, id, begin))
        {
            store.settle(id, Settlement::default());
        }
    }
    store.ping().await.unwrap();
    assert!(matches!(begin_uncounted(store, id, Some(9), counted(8)).await, RunStart::Next(_)));
    assert!(matches!(begin_of(store, id, max(9), at(0)).await, RunStart::MessageLimit));
}

pub(crate) async fn a_batch_that_is_dropped_is_adopted_or_not(store: &Store) {
    for round in 0..20 {
        let entries = (0..3).map(|number| thread("ada", &format!("thr_{round}_{number}")));
        let _ = abandon(store.adopt(entries.map(Adoption::Thread).collect()));
    }
    store.ping().await.unwrap();
    assert_eq!(list(store, &user("ada")).await.len() % 3, 0);
    let id = create(store, "ada").await;
    assert_eq!(get(store, id).await.message_count, MessageCount::Known(0));
}
