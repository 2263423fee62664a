//! A store's content in another store, and what version 0.1.0 wrote in a store of today's.

use std::path::{Path, PathBuf};

use chatkit_rest::error::Error;
use chatkit_rest::session::contract::support::{
    at, attachment_owner, first, get, list, new_session, user,
};
use chatkit_rest::session::{
    CopiedTable, CopyEnd, CopyStep, MessageCount, NewConversation, copy_store,
};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::alone::Other;
use crate::filling::{OF_0_1_0, contents, fill, rows};
use crate::support::{Directory, open};

fn execute(file: &Path, sql: &str) -> usize {
    Connection::open(file).unwrap().execute(sql, ()).unwrap()
}

fn sqlite(file: &Path) -> CopyEnd {
    CopyEnd::Sqlite(file.to_owned())
}

async fn copy(from: CopyEnd, to: CopyEnd) -> Result<Vec<CopiedTable>, Error> {
    copy_store(from, to, |_| {}).await
}

async fn copied(from: &Path, to: &Path) -> Vec<CopiedTable> {
    copy(sqlite(from), sqlite(to)).await.unwrap()
}

fn written(copied: &[CopiedTable]) -> Vec<u64> {
    copied.iter().map(|table| table.written).collect()
}

fn sums(copied: &[CopiedTable]) -> Vec<(&str, u64, [u8; 32])> {
    copied.iter().map(|table| (table.name, table.rows, table.sha256)).collect()
}

fn other(directory: &Directory, name: &str) -> PathBuf {
    directory.file().with_file_name(name)
}

/// What 0.1.0 wrote, in a directory that goes with the test.
fn of_0_1_0() -> Directory {
    let directory = Directory::new();
    std::fs::copy(OF_0_1_0, directory.file()).unwrap();
    directory
}

async fn filled() -> Directory {
    let directory = Directory::new();
    let store = directory.store();
    fill(&store).await;
    drop(store);
    directory
}

#[tokio::test]
async fn what_0_1_0_wrote_is_all_there() {
    let directory = of_0_1_0();
    let file = directory.file();
    let of_session = "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count,
        bound_at, conversation FROM session ORDER BY id";
    let others = ["attachment", "client_session", "signing_key", "deleted_thread"];
    let of_others =
        "id, user_id, created_at, expires_at, cancelled_at, requests_per_minute, details";
    let read = |file: &Path| {
        let mut all = vec![rows(file, of_session)];
        all.push(rows(file, "SELECT id, user_id FROM attachment ORDER BY id"));
        all.push(rows(file, &format!("SELECT {of_others} FROM client_session ORDER BY id")));
        all.push(rows(file, "SELECT id, key FROM signing_key"));
        all.push(rows(file, "SELECT * FROM deleted_thread"));
        all.push(rows(file, "SELECT last FROM conversation_sequence"));
        all
    };
    let before = read(&file);
    assert_eq!(rows(&file, "PRAGMA user_version"), [[Value::Integer(4)]]);
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [7, 3, 3, 1, 1, 1], "{others:?}");

    drop(directory.store());
    assert_eq!(read(&file), before);
    let store = directory.store();
    let ada = list(&store, &user("ada")).await;
    let titles: Vec<_> = ada.iter().map(|session| session.title.as_deref()).collect();
    assert_eq!(titles, [Some("Crème brûlée, and \"more\""), None]);
    assert_eq!(ada[0].message_count, MessageCount::Known(4));
    assert_eq!(ada[0].thread_id.as_deref(), Some("thr_b"));
    assert_eq!(attachment_owner(&store, "att_é").await, Some(user("Zoë 🦊")));
    let cancelled = store.client_session("cksess_1").await.unwrap().unwrap();
    assert!(cancelled.cancelled_at.is_some());
    assert!(store.place_of_thread("thr_gone").await.unwrap().is_some());
    let left = list(&store, &user("a'b;--")).await.remove(0);
    // The run that had it is long over.
    first(&store, left.id, at(0)).await;
    let mut numbered = new_session("bob");
    numbered.conversation = Some(NewConversation::Next);
    let _ = store.create(numbered, None).await.unwrap();
    drop(store);
    assert_eq!(rows(&file, "SELECT last FROM conversation_sequence"), [[Value::Integer(4)]]);
}

#[tokio::test]
async fn everything_goes_over_and_back() {
    for directory in [of_0_1_0(), filled().await] {
        let (file, there, back) =
            (directory.file(), other(&directory, "there.db"), other(&directory, "back.db"));
        drop(directory.store());
        let mut steps = Vec::new();
        let over = copy_store(sqlite(&file), sqlite(&there), |progress| {
            assert!(progress.rows <= progress.of, "{progress:?}");
            steps.push(progress.step);
        });
        let over = over.await.unwrap();
        steps.dedup();
        assert_eq!(steps, [CopyStep::Copying, CopyStep::Verifying]);
        assert_eq!(contents(&there), contents(&file));
        assert_eq!(written(&over), over.iter().map(|table| table.rows).collect::<Vec<_>>());
        let again = copied(&there, &back).await;
        assert_eq!(contents(&back), contents(&file));
        assert_eq!(sums(&again), sums(&over));
    }
}

#[tokio::test]
async fn a_copy_is_a_store() {
    let directory = filled().await;
    let there = other(&directory, "there.db");
    copied(&directory.file(), &there).await;
    let (before, store) = (directory.store(), open(&there));
    for who in ["ada", "bob", "cleo", "a'b", "eve"] {
        assert_eq!(list(&store, &user(who)).await, list(&before, &user(who)).await, "{who}");
    }
    let locked = store.quarantined(None, 9).await.unwrap();
    assert_eq!(locked, before.quarantined(None, 9).await.unwrap());
    assert_eq!((locked.len(), locked[0].others.len()), (1, 2));
    let blocked = store.blocks(None, 9).await.unwrap();
    assert_eq!(blocked, before.blocks(None, 9).await.unwrap());
    assert_eq!(blocked.len(), 2);
    let all = store.blocked_users(None).await.unwrap().unwrap();
    assert_eq!(all.users.len(), 2);
    let adopted = &list(&store, &user("cleo")).await[0];
    assert_eq!(get(&store, adopted.id).await.message_count, MessageCount::AtLeast(0));
    assert_eq!(store.signing_key([1; 32]).await.unwrap(), [9; 32]);
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_stopped() {
    let directory = filled().await;
    let (file, there) = (directory.file(), other(&directory, "there.db"));
    let whole = copied(&file, &there).await;
    // As it is after any batch: what has the greatest keys is missing.
    let missing = execute(
        &there,
        "DELETE FROM session WHERE id > (SELECT id FROM session ORDER BY id LIMIT 1 OFFSET 600)",
    );
    for table in ["attachment", "client_session", "quarantine", "quarantine_other", "blocked_user"]
    {
        execute(&there, &format!("DELETE FROM {table}"));
    }
    execute(&there, "DELETE FROM deleted_adoption");
    execute(&there, "DELETE FROM signing_key");
    execute(&there, "UPDATE conversation_sequence SET last = 0");
    let rest = copied(&file, &there).await;
    assert_eq!(sums(&rest), sums(&whole));
    assert_eq!(rest[0].written, u64::try_from(missing).unwrap());
    assert_eq!(contents(&there), contents(&file));
    // And from anywhere.
    execute(&there, "DELETE FROM session WHERE user_id = 'ada'");
    execute(&there, "DELETE FROM deleted_adoption");
    assert_eq!(sums(&copied(&file, &there).await), sums(&whole));
    let nothing = copied(&file, &there).await;
    assert!(written(&nothing).iter().all(|rows| *rows == 0), "{nothing:?}");
}

#[tokio::test]
async fn what_is_of_another_store_stays() {
    let directory = filled().await;
    let (file, there) = (directory.file(), other(&directory, "there.db"));
    copied(&file, &there).await;
    let before = contents(&there);
    for (change, why) in [
        (
            "INSERT INTO attachment (id, user_id) VALUES ('zzz', 'x')",
            "has the attachment \"zzz\", which",
        ),
        ("INSERT INTO attachment (id, user_id) VALUES ('', 'x')", "has the attachment \"\", which"),
        (
            "UPDATE attachment SET user_id = 'eve' WHERE id = 'atc_1'",
            "another attachment \"atc_1\"",
        ),
        (
            "UPDATE session SET title = 'other' WHERE thread_id = 'thr_adopted_700'",
            "another session ",
        ),
        ("UPDATE conversation_sequence SET last = 99", "another conversation_sequence 1"),
        ("UPDATE signing_key SET key = zeroblob(32)", "another signing_key 1"),
    ] {
        // Something to write, which isn't.
        let file = other(&directory, "changed.db");
        std::fs::copy(&there, &file).unwrap();
        assert_eq!(execute(&file, change), 1, "{change}");
        execute(&file, "DELETE FROM client_session");
        let before = contents(&file);
        let error = copy(sqlite(&directory.file()), sqlite(&file)).await.unwrap_err();
        assert!(error.chain().contains(why), "{}", error.chain());
        assert!(!error.chain().contains("eve"), "{}", error.chain());
        assert_eq!(contents(&file), before, "{change}");
        std::fs::remove_file(&file).unwrap();
    }
    assert_eq!(contents(&there), before);
}

#[tokio::test]
async fn a_store_that_was_only_opened_is_empty() {
    let directory = filled().await;
    let there = other(&directory, "there.db");
    let store = open(&there);
    assert_eq!(store.signing_key([1; 32]).await.unwrap(), [1; 32]);
    drop(store);
    copied(&directory.file(), &there).await;
    assert_eq!(contents(&there), contents(&directory.file()));

    // One that never had a key leaves the other its own.
    let (empty, there) = (other(&directory, "empty.db"), other(&directory, "also.db"));
    drop(open(&empty));
    assert_eq!(open(&there).signing_key([1; 32]).await.unwrap(), [1; 32]);
    copied(&empty, &there).await;
    assert_eq!(open(&there).signing_key([2; 32]).await.unwrap(), [1; 32]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_that_a_gateway_has_open_is_not_copied() {
    let directory = filled().await;
    let there = other(&directory, "there.db");
    let (gateway, _) = Other::open(&directory.file());
    let error = copy(sqlite(&directory.file()), sqlite(&there)).await.unwrap_err();
    assert!(error.chain().contains("the store to copy from open"), "{}", error.chain());
    let error = copy(sqlite(&there), sqlite(&directory.file())).await.unwrap_err();
    assert!(error.chain().contains("the store to copy to open"), "{}", error.chain());
    drop(gateway);
    copied(&directory.file(), &other(&directory, "another.db")).await;
}

#[tokio::test]
async fn only_a_store_of_this_version_is_copied() {
    let directory = of_0_1_0();
    let there = other(&directory, "there.db");
    let error = copy(sqlite(&directory.file()), sqlite(&there)).await.unwrap_err();
    assert!(error.chain().contains("its version is 4"), "{}", error.chain());
    assert_eq!(rows(&directory.file(), "PRAGMA user_version"), [[Value::Integer(4)]]);
    let missing = copy(sqlite(&other(&directory, "missing.db")), sqlite(&there)).await;
    assert!(missing.is_err() && !other(&directory, "missing.db").exists());
}
