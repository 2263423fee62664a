//! What is noticed of the file and of what is beside it.

use jiff::Timestamp;
use rusqlite::Connection;

use super::*;
use crate::session::pages::SessionsPage;
use crate::session::record::{ConversationIds, MessageCount};
use crate::session::store::Directory as _;

#[tokio::test]
async fn a_table_that_cannot_be_read_is_found() {
    let tables = [
        "session",
        "attachment",
        "deleted_thread",
        "deleted_adoption",
        "quarantine",
        "quarantine_other",
        "conversation_sequence",
        "client_session",
        "signing_key",
        "allowance",
        "blocked_user",
        "block_version",
    ];
    for table in tables {
        let directory = Directory::new();
        let store = directory.store();
        store.ping().await.unwrap();
        let other = Connection::open(directory.file()).unwrap();
        let all: i64 = other
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", (), |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(all, 12);
        other.execute_batch(&format!("ALTER TABLE {table} RENAME TO elsewhere")).unwrap();
        assert!(store.ping().await.unwrap_err().chain().contains(table), "{table}");
        other.execute_batch(&format!("ALTER TABLE elsewhere RENAME TO {table}")).unwrap();
        store.ping().await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_to_a_file_that_is_not_at_its_path() {
    for suffix in ["", "-wal", "-shm"] {
        for replaced in [false, true] {
            let directory = Directory::new();
            let store = directory.store();
            let id = bound(&store).await;
            let run = next(&store, id).await;
            assert!(store.get(id.into()).await.unwrap().is_some());
            let path = |end: &str| {
                let mut path = directory.file().into_os_string();
                path.push(end);
                std::path::PathBuf::from(path)
            };
            std::fs::rename(path(suffix), path(".away")).unwrap();
            if replaced {
                std::fs::copy(path(".away"), path(suffix)).unwrap();
            }
            let told = |error: crate::error::Error| {
                assert!(error.chain().contains("deleted or replaced"), "{}", error.chain());
            };
            told(store.create(session(None), None).await.unwrap_err());
            told(store.ping().await.unwrap_err());
            told(store.get(id.into()).await.unwrap_err());
            told(store.threads(super::lists::lists().remove(0).1).await.unwrap_err());
            // What is settled waits.
            settle(&store, id, run, messages(2));
            told(store.set_title(id, None, Timestamp::UNIX_EPOCH).await.unwrap_err());

            std::fs::rename(path(".away"), path(suffix)).unwrap();
            assert!(create(&store, &session(None)).await, "{suffix} {replaced}");
            let record = store.get(id.into()).await.unwrap().unwrap().open().unwrap();
            assert_eq!(record.message_count, MessageCount::Known(2));
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn who_only_reads_notices_too_that_the_file_is_gone() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    assert!(store.get(id.into()).await.unwrap().is_some());
    std::fs::rename(directory.file(), directory.file().with_extension("away")).unwrap();
    // Every look that is due is one more chance.
    while store.ownership(id.into()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_only_lists_notices_too_that_the_file_is_gone() {
    let directory = Directory::new();
    let store = directory.store();
    let (user_id, ids) = (UserId::parse("ada").unwrap(), ConversationIds::Uuid);
    let page = SessionsPage { user_id, ids, after: None, limit: 9 };
    store.list(page.clone()).await.unwrap();
    std::fs::rename(directory.file(), directory.file().with_extension("away")).unwrap();
    // As above.
    while store.list(page.clone()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// That a disk is full is seen only by who writes to it.
#[tokio::test]
async fn a_ping_changes_the_file() {
    let directory = Directory::new();
    let store = directory.store();
    let other = rusqlite::Connection::open(directory.file()).unwrap();
    let version =
        || other.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    store.ping().await.unwrap();
    assert_ne!(version(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_is_the_file() {
    let (directory, elsewhere) = (Directory::new(), Directory::new());
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    std::os::unix::fs::symlink(directory.file(), elsewhere.file()).unwrap();
    let linked = elsewhere.store();
    assert!(linked.get(session.id.into()).await.unwrap().is_some());
    // With the same locks, which are in a file beside it.
    drop((store, linked));
    assert_eq!(std::fs::read_dir(&elsewhere.0).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
}
