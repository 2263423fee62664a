//! A store with something of everything, and what is in a file.

use std::path::Path;

use chatkit_rest::session::contract::Store;
use chatkit_rest::session::contract::support::{
    at, bind, create, create_bound, first, list, max, messages, new_session, next, settle, user,
};
use chatkit_rest::session::{
    Adopted, AdoptedThread, Adoption, Blocked, BlockedUser, Bound, ClientSession,
    ClientSessionCreated, Deletion, NewConversation, Owned, Settlement, ThreadId,
};
use rusqlite::Connection;
use rusqlite::types::Value;

/// What `written_by/0.1.0.rs` wrote.
pub(crate) const OF_0_1_0: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/written_by/0.1.0.db");

/// The rows of a file that are copied, without what is of runs.
const ROWS: [&str; 10] = [
    "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count, bound_at,
        conversation, adopted, quarantined_at, made_for_run FROM session ORDER BY id",
    "SELECT * FROM attachment ORDER BY id",
    "SELECT * FROM client_session ORDER BY id",
    "SELECT * FROM deleted_thread ORDER BY thread_id",
    "SELECT * FROM deleted_adoption ORDER BY kind, id",
    "SELECT * FROM quarantine ORDER BY thread_id",
    "SELECT * FROM quarantine_other ORDER BY thread_id, user_id",
    "SELECT * FROM blocked_user ORDER BY user_id",
    "SELECT * FROM conversation_sequence",
    "SELECT * FROM signing_key",
];

pub(crate) fn rows(file: &Path, sql: &str) -> Vec<Vec<Value>> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    statement.query_map((), row).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn contents(file: &Path) -> Vec<Vec<Vec<Value>>> {
    ROWS.iter().map(|sql| rows(file, sql)).collect()
}

/// Puts something of everything in a store, more than a batch of some.
pub(crate) async fn fill(store: &Store) {
    let plain = create_bound(store, "ada", "thr_ü\"\n").await;
    let run = next(store, plain, at(3)).await;
    let mut settlement = messages(7);
    settlement.title = Some(Some("Crème brûlée 🦊".to_owned()));
    settlement.touched_at = Some(at(9));
    settle(store, plain, run, settlement);
    create(store, "a'b").await;
    let mut numbered = new_session("bob");
    numbered.conversation = Some(NewConversation::Next);
    let _ = store.create(numbered, None).await.unwrap();
    let mut conv = new_session("bob");
    (conv.conversation, conv.title) = (Some(NewConversation::Conv(7)), Some(String::new()));
    let _ = store.create(conv, None).await.unwrap();

    let gone = create_bound(store, "ada", "thr_gone").await;
    assert_eq!(store.delete(gone, Some("thr_gone"), at(20)).await.unwrap(), Deletion::Done);
    for (who, file) in [("ada", "atc_1"), ("bob", "atc_é")] {
        assert_eq!(store.own_attachment(&user(who), file).await.unwrap(), Owned::Done);
    }
    let mut entries: Vec<_> = (0..1200)
        .map(|n| {
            let thread_id = ThreadId::from(format!("thr_adopted_{n}"));
            Adoption::Thread(AdoptedThread::new(thread_id, user("cleo"), at(n)))
        })
        .collect();
    let attachment_id = "atc_adopted".to_owned();
    entries.push(Adoption::Attachment { attachment_id, user_id: user("cleo") });
    assert!(store.adopt(entries).await.unwrap().iter().all(|it| *it == Adopted::Done));
    assert!(store.disown_attachment("atc_adopted").await.unwrap());

    create_bound(store, "ada", "thr_twice").await;
    for who in ["eve", "dan"] {
        let id = create(store, who).await;
        let run = first(store, id, at(0)).await;
        assert!(matches!(bind(store, id, run, "thr_twice").await, Bound::ThreadReused(_)));
        settle(store, id, run, Settlement::default());
    }

    store.signing_key([9; 32]).await.unwrap();
    for (id, who) in [("cksess_b", "ada"), ("cksess_a", "bob")] {
        let minute = max(30).unwrap();
        let session = ClientSession::new(id.into(), user(who), at(0), at(600), minute);
        let made = store.create_client_session(session, max(5).unwrap()).await.unwrap();
        assert_eq!(made, ClientSessionCreated::Done);
    }
    store.cancel_client_session("cksess_a", at(3)).await.unwrap().unwrap();
    for (who, why) in [("eve", Some("Zoë's 🦊")), ("nobody'--", None)] {
        let mut block = BlockedUser::new(user(who), at(30));
        block.reason = why.map(str::to_owned);
        assert_eq!(store.block(block).await.unwrap(), Blocked::Done);
    }
    // Behind what was settled.
    list(store, &user("ada")).await;
}
