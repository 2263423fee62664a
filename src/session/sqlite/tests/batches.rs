//! What the writer does in one transaction, and what if it can't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::session::record::MessageCount;
use crate::session::sqlite::{SqliteOptions, rows};

#[tokio::test]
async fn calls_that_wait_together_are_committed_together_and_fail_alone() {
    let directory = Directory::new();
    let store = directory.store();
    let (known, fresh, last) = (session(None), session(None), session(None));
    assert!(create(&store, &known).await);

    let file = directory.file();
    let release = hold_writer(&store).await;
    let look = move |connection: &Connection| {
        let inside: i64 =
            connection.query_row("SELECT count(*) FROM session", (), |row| row.get(0))?;
        Ok((inside, sessions_in(&file)))
    };
    let look = store.queue().call(Access::Read, "look", look, |seen| seen);
    let all = async {
        tokio::join!(
            create(&store, &fresh),
            create(&store, &known),
            create(&store, &last),
            look,
            // Polled last, when all of the above wait.
            async { drop(release) },
        )
    };
    let (fresh_made, known_made, last_made, seen, ()) = all.await;
    assert!(fresh_made && !known_made && last_made);
    // Two were added in the transaction of that batch, and nothing was committed yet.
    assert_eq!(seen.unwrap(), (3, 1));
    assert_eq!(sessions_in(&directory.file()), 3);
}

/// To wake a thread is a system call, whether it waits or not.
#[tokio::test]
async fn a_writer_that_works_is_not_woken() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    let wakes = || store.queue().wakes.load(Ordering::Relaxed);
    let release = hold_writer(&store).await;
    let before = wakes();
    let settle = async {
        drop(store.settle(id, run, Settlement { messages: 1, ..Settlement::default() }));
        store.queue().look();
        let woken = wakes() - before;
        drop(release);
        woken
    };
    let (one, other) = (session(None), session(None));
    let (one, other, woken) = tokio::join!(create(&store, &one), create(&store, &other), settle);
    assert_eq!((one, other, woken), (true, true, 0));
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_not_made() {
    let directory = Directory::new();
    let store = directory.store();
    let release = hold_writer(&store).await;
    let abandoned = session(None);
    {
        let mut call = std::pin::pin!(store.create(abandoned.clone(), None));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
    }
    drop(release);
    store.ping().await.unwrap();
    assert_eq!(store.get(abandoned.id.into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let directory = Directory::new();
    let store = directory.store();
    let (small, big) = (session(None), session(Some("x".repeat(1 << 20))));
    assert!(create(&store, &small).await);
    let limit_pages = |pages: i64| {
        let set =
            move |connection: &Connection| connection.pragma_update(None, "max_page_count", pages);
        store.queue().call(Access::Read, "set the limit", set, |()| ())
    };
    limit_pages(1).await.unwrap(); // The least is what there is already.
    let error = store.create(big.clone(), None).await.unwrap_err();
    assert!(error.is_store() && error.chain().contains("full"), "{}", error.chain());
    assert_eq!(store.get(big.id.into()).await.unwrap(), None);

    // What needs no room goes on.
    let run = first(&store, small.id).await;
    assert_eq!(bind(&store, small.id, run, "t").await, Bound::Done);
    limit_pages(1 << 20).await.unwrap();
    assert!(create(&store, &big).await);
    assert_eq!(sessions_in(&directory.file()), 2);
}

#[tokio::test]
async fn what_was_settled_is_tried_again_unasked() {
    let directory = Directory::new();
    let store = SqliteOptions::new().busy_timeout(Duration::ZERO).open(&directory.file()).unwrap();
    let session = session(None);
    assert!(create(&store, &session).await);
    let run = first(&store, session.id).await;
    let other = Connection::open(directory.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    settle(&store, session.id, run, messages(2));
    assert!(store.ping().await.is_err());
    let count = || rows::get(&other, session.id).unwrap().unwrap().open().unwrap().message_count;
    assert_eq!(count(), MessageCount::Known(0));
    other.execute_batch("ROLLBACK").unwrap();
    while store.queue().tallies(|tallies| tallies.len()) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(), MessageCount::Known(2));
}

#[tokio::test]
async fn a_reader_that_finds_the_file_locked_asks_the_writer() {
    let directory = Directory::new();
    let store = directory.store();
    let here = std::thread::current().id();
    let read_elsewhere = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&read_elsewhere);
    let read = move |_: &Connection| {
        if std::thread::current().id() == here {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None));
        }
        told.store(true, Ordering::SeqCst);
        Ok(7)
    };
    assert_eq!(store.read("read", read).await.unwrap(), 7);
    assert!(read_elsewhere.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_writer_that_has_ended_is_an_error() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    let panics = |_: &Connection| -> rusqlite::Result<()> { panic!("on purpose, in a test") };
    let ended = store.queue().call(Access::Read, "panic", panics, |()| ()).await;
    assert!(ended.unwrap_err().is_store());
    assert!(store.ping().await.unwrap_err().is_store());
    let settled = store.settle(id, run, messages(2));
    assert!(settled.await.unwrap_err().is_store());
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}
