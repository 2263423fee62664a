//! What only the SQLite store promises: a file that lasts, and that others may touch.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chatkit_rest::session::contract::Store;
use chatkit_rest::session::contract::support::{
    at, attachment_owner, bind, create, create_bound, first, get, list, max, messages, new_session,
    next, of_thread, settle, user,
};
use chatkit_rest::session::{
    Adopted, AdoptedThread, Adoption, Bound, ConversationId, Created, MessageCount,
    NewConversation, Owned, SessionRecord, SqliteOptions, SqliteStore, ThreadId, ThreadsPage,
};
use rusqlite::Connection;

use crate::support::{Directory, first_after};

fn integrity(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let directory = Directory::new();
    let store = directory.store();
    let bound = create_bound(&store, "ada", "thr_1").await;
    let leased = create(&store, "bob").await;
    let late = first(&store, leased, at(0)).await;
    assert_eq!(store.own_attachment(&user("ada"), "atc_1").await.unwrap(), Owned::Done);
    let run = next(&store, bound, at(0)).await;
    let mut settlement = messages(2);
    settlement.title = Some(Some("from the last run".to_owned()));
    settlement.touched_at = Some(at(9));
    // Not waited for: closing the store is what writes it.
    settle(&store, bound, run, settlement);
    let before = get(&store, bound).await;
    drop(store);

    let store = directory.store();
    assert_eq!(get(&store, bound).await, before);
    assert_eq!((before.message_count, before.updated_at), (MessageCount::Known(2), at(9)));
    assert_eq!(of_thread(&store, "thr_1").await, before);
    assert_eq!(attachment_owner(&store, "atc_1").await, Some(user("ada")));
    let run = first_after(&store, leased).await;
    assert_eq!(bind(&store, leased, late, "thr_2").await, Bound::LeaseLost);
    assert_eq!(bind(&store, leased, run, "thr_2").await, Bound::Done);
    drop(store);
    assert_eq!(integrity(&directory.file()), "ok");
    let files = std::fs::read_dir(directory.file().parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "a store that was closed is one file");
}

/// What version 0.1.0 made, with two sessions that are bound and one that isn't.
const FIRST_VERSION: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE session (
        id BLOB PRIMARY KEY CHECK (length(id) = 16),
        user_id TEXT NOT NULL,
        thread_id TEXT UNIQUE,
        title TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        message_count INTEGER NOT NULL DEFAULT 0,
        lease INTEGER NOT NULL DEFAULT 0,
        lease_until INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_by_user ON session (user_id, updated_at DESC, created_at DESC);
    CREATE TABLE attachment (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO session VALUES
        (x'00112233445540678899aabbccddeeff', 'ada', 'thr_1', 'Turin', 10, 20, 4, 1, NULL),
        (x'aa112233445540678899aabbccddeeff', 'bob', 'thr_2', NULL, 5, 5, 0, 1, NULL),
        (x'ff112233445540678899aabbccddeeff', 'ada', NULL, NULL, 30, 30, 0, 0, NULL);
    INSERT INTO attachment VALUES ('atc_1', 'bob');
    PRAGMA application_id = 1131106931;
    PRAGMA user_version = 1;
";

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = Directory::new();
    let connection = Connection::open(directory.file()).unwrap();
    connection.execute_batch(FIRST_VERSION).unwrap();
    drop(connection);

    let store = directory.store();
    let found = of_thread(&store, "thr_1").await;
    assert_eq!(found.id.to_string(), "00112233-4455-4067-8899-aabbccddeeff");
    assert_eq!(
        (found.title.as_deref(), found.message_count),
        (Some("Turin"), MessageCount::Known(4))
    );
    assert_eq!((found.created_at.as_microsecond(), found.updated_at.as_microsecond()), (10, 20));
    assert_eq!(found.conversation, None);
    assert_eq!(list(&store, &user("ada")).await.len(), 2);
    assert_eq!(attachment_owner(&store, "atc_1").await, Some(user("bob")));
    next(&store, found.id, at(0)).await;
    let mut page = ThreadsPage::new(9);
    page.ascending = true;
    let threads = store.threads(page).await.unwrap();
    let ids: Vec<_> =
        threads.iter().filter_map(|placed| placed.record.thread_id.as_deref()).collect();
    assert_eq!(ids, ["thr_2", "thr_1"]);
    let key = store.signing_key([7; 32]).await.unwrap();
    assert_eq!(number(&store).await, 1);
    drop(store);
    // Once is enough.
    let store = directory.store();
    assert_eq!(store.signing_key([8; 32]).await.unwrap(), key);
    assert_eq!(number(&store).await, 2);
    drop(store);
    assert_eq!(integrity(&directory.file()), "ok");
}

// What a program of version 0.1.0 does, which was started before the file was brought up to date.
#[tokio::test]
async fn what_an_older_program_binds_meanwhile_is_listed() {
    let directory = Directory::new();
    let old = Connection::open(directory.file()).unwrap();
    old.execute_batch(FIRST_VERSION).unwrap();
    let store = directory.store();
    let bind = "UPDATE session SET thread_id = 'thr_3', updated_at = 40, lease_until = NULL
        WHERE thread_id IS NULL";
    assert_eq!(old.execute(bind, ()).unwrap(), 1);
    let mut page = ThreadsPage::new(9);
    page.ascending = true;
    let threads = store.threads(page).await.unwrap();
    let places: Vec<_> = threads
        .iter()
        .map(|placed| (placed.record.thread_id.as_deref(), placed.place.bound_at.as_microsecond()))
        .collect();
    assert_eq!(places, [(Some("thr_2"), 5), (Some("thr_1"), 10), (Some("thr_3"), 40)]);
}

// What a program does that was started before the file had adopted sessions: it finds a count above
// every limit, and what it adds to that, and counts, is no news to this one.
#[tokio::test]
async fn an_older_program_lets_nobody_past_an_unknown_count() {
    let directory = Directory::new();
    let store = directory.store();
    let thread = AdoptedThread::new(ThreadId::from("thr_1"), user("ada"), at(0));
    assert_eq!(store.adopt(vec![Adoption::Thread(thread)]).await.unwrap(), [Adopted::Done]);
    let old = Connection::open(directory.file()).unwrap();
    let count = || -> i64 {
        old.query_row("SELECT message_count FROM session", (), |row| row.get(0)).unwrap()
    };
    let seen = count();
    assert!(seen > i64::from(u32::MAX));
    let settle = "UPDATE session SET message_count = min(message_count + 2, 9007199254740992)";
    assert_eq!(old.execute(settle, ()).unwrap(), 1);
    let id = of_thread(&store, "thr_1").await.id;
    assert_eq!(get(&store, id).await.message_count.known(), None);
    let recount = "UPDATE session SET message_count = 6 WHERE message_count = ?1";
    assert_eq!(old.execute(recount, [seen]).unwrap(), 1);
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(6));
}

// A file of the version before this one, in which an older program has bound a session.
#[tokio::test]
async fn what_an_older_program_has_bound_is_listed() {
    let directory = Directory::new();
    let id = create_bound(&directory.store(), "ada", "thr_1").await;
    let old = Connection::open(directory.file()).unwrap();
    old.execute_batch(
        "DROP TABLE blocked_user;
        DROP TABLE block_version;
        DROP TABLE allowance;
        DROP TRIGGER session_is_bound;
        DROP TABLE deleted_thread;
        DROP INDEX client_session_by_user;
        DROP INDEX session_made_for_user;
        DROP TRIGGER adopted_session_is_deleted;
        DROP TRIGGER adopted_attachment_is_deleted;
        DROP TABLE deleted_adoption;
        DROP INDEX session_by_users_conversation;
        ALTER TABLE session DROP COLUMN leased_at;
        ALTER TABLE session DROP COLUMN adopted;
        ALTER TABLE attachment DROP COLUMN adopted;
        DROP TABLE quarantine;
        DROP TABLE quarantine_other;
        ALTER TABLE session DROP COLUMN quarantined_at;
        DROP TRIGGER lease_is_taken_over;
        ALTER TABLE session DROP COLUMN lease_run;
        ALTER TABLE session DROP COLUMN made_for_run;
        UPDATE session SET bound_at = NULL;
        PRAGMA user_version = 3;",
    )
    .unwrap();
    drop(old);
    let placed = directory.store().place_of_thread("thr_1").await.unwrap().unwrap();
    assert_eq!((placed.bound_at, placed.id), (at(1), id));
}

/// Gives the number of a new conversation.
async fn number(store: &Store) -> u64 {
    let mut session = new_session("ada");
    session.conversation = Some(NewConversation::Next);
    match store.create(session, None).await.unwrap() {
        Created::Session(SessionRecord {
            conversation: Some(ConversationId::Integer(number)),
            ..
        }) => number.get(),
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[test]
fn a_new_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let store = directory.store();
    let runs = cfg!(all(target_os = "linux", target_pointer_width = "64")).then_some("db-runs-shm");
    for extension in ["db", "db-wal"].into_iter().chain(runs) {
        let path = directory.file().with_extension(extension);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{extension}");
    }
    drop(store);
}

/// Refuses the file, and leaves it as it is.
fn assert_refused(path: &Path, reason: &str) {
    let before = std::fs::read(path).unwrap();
    let error = SqliteStore::open(path).unwrap_err();
    assert!(error.is_store(), "{error:?}");
    assert!(error.chain().contains(reason), "{}", error.chain());
    assert!(error.chain().contains("sessions.db"), "{}", error.chain());
    assert_eq!(std::fs::read(path).unwrap(), before);
}

#[test]
fn other_peoples_files_are_refused() {
    let directory = Directory::new();
    let path = directory.file();
    std::fs::write(&path, "Dear diary, ".repeat(100)).unwrap();
    assert_refused(&path, "not a database");

    std::fs::remove_file(&path).unwrap();
    let theirs = Connection::open(&path).unwrap();
    theirs.execute_batch("CREATE TABLE session (id)").unwrap();
    assert_refused(&path, "belongs to another program");
    theirs.execute_batch("DROP TABLE session; PRAGMA application_id = 7").unwrap();
    assert_refused(&path, "belongs to another program");
}

#[test]
fn a_newer_versions_file_is_refused() {
    let directory = Directory::new();
    drop(directory.store());
    let path = directory.file();
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 99").unwrap();
    drop(newer);
    assert_refused(&path, "its version is 99");
}

#[test]
fn a_file_that_cannot_be_made_is_an_io_error() {
    let directory = Directory::new();
    let error = SqliteStore::open(&directory.file().join("no/such.db")).unwrap_err();
    assert!(error.is_io(), "{error:?}");
}

#[test]
fn a_new_file_may_be_opened_by_many_at_once() {
    let directory = Directory::new();
    let path = directory.file();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| SqliteStore::open(&path).unwrap());
        }
    });
    assert_eq!(integrity(&path), "ok");
}

// Somebody who has one transaction after the other leaves gaps that are short, and a store that is
// opened beside finds one.
#[expect(clippy::disallowed_methods, reason = "a transaction that takes its time")]
#[test]
fn a_store_is_opened_between_the_transactions_of_another() {
    const LONG: Duration = Duration::from_millis(200);
    const PAUSE: Duration = Duration::from_millis(10);
    // A few gaps long, and whoever tries seldom meets none of them sooner or later.
    let options = SqliteOptions::new().busy_timeout(LONG * 7 / 2);
    let directory = Directory::new();
    drop(directory.store());
    let is_over = AtomicBool::new(false);
    let busy = Connection::open(directory.file()).unwrap();
    std::thread::scope(|scope| {
        let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                if busy.execute_batch("BEGIN IMMEDIATE").is_ok() {
                    let _ = begun.try_send(());
                    std::thread::sleep(LONG);
                    busy.execute_batch("COMMIT").unwrap();
                    std::thread::sleep(PAUSE);
                }
            }
        });
        has_begun.recv().unwrap();
        let opened: Result<Vec<_>, _> = (0..5).map(|_| options.open(&directory.file())).collect();
        is_over.store(true, Ordering::Relaxed);
        drop(opened.unwrap());
    });
}

#[tokio::test]
async fn a_locked_file_is_an_error_and_then_works_again() {
    let directory = Directory::new();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(20));
    let store: Store = std::sync::Arc::new(options.open(&directory.file()).unwrap());
    let id = create_bound(&store, "ada", "thr_1").await;
    let one = next(&store, id, at(0)).await;
    let before = get(&store, id).await;
    store.ping().await.unwrap();

    let other = Connection::open(directory.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Reading goes on.
    assert_eq!(list(&store, &user("ada")).await, [before]);
    let two = next(&store, id, at(0)).await;
    // Writing ends within the bound (the test hangs if it does not).
    assert!(store.create(new_session("ada"), None).await.unwrap_err().is_store());
    assert!(store.ping().await.unwrap_err().is_store());
    // What is settled counts although it can't be written yet, and however often that fails.
    settle(&store, id, one, messages(2));
    assert!(store.set_title(id, None, at(9)).await.unwrap_err().is_store());
    settle(&store, id, two, messages(3));
    assert!(store.delete(id, Some("thr_1"), at(0)).await.unwrap_err().is_store());
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(5));

    other.execute_batch("ROLLBACK").unwrap();
    store.ping().await.unwrap();
    assert_eq!(list(&store, &user("ada")).await[0].message_count, MessageCount::Known(5));
    assert!(matches!(store.create(new_session("ada"), max(2)).await.unwrap(), Created::Session(_)));
}
