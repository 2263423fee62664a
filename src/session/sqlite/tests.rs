//! What can be seen only from inside: batches, failures in the middle of them, and what is left
//! in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::tally::{Holder, Room};
use super::writer::Access;
use super::{SqliteOptions, SqliteStore, lists, locks, rows, schema};
use crate::principal::UserId;

#[cfg(feature = "server")]
mod pages;

use crate::session::pages::{SessionPlace, SessionsPage, ThreadPlace, ThreadsPage};
use crate::session::record::ConversationIds;
use crate::session::record::{MessageCount, SessionId, ThreadId};
use crate::session::store::{
    BeginRun, Bound, Created, Deletion, NewSession, RunStart, SessionStore, Settlement, Uncounted,
};
use jiff::Timestamp;
use rusqlite::Connection;

struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("chatkit-rest-sqlite-{}", SessionId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.join("sessions.db")
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.file()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn session(title: Option<String>) -> NewSession {
    let (id, now) = (SessionId::random(), Timestamp::UNIX_EPOCH);
    NewSession { id, user_id: ada(), title, conversation: None, now }
}

fn ada() -> UserId {
    UserId::parse("ada").unwrap()
}

async fn create(store: &SqliteStore, session: &NewSession) -> bool {
    matches!(store.create(session.clone(), None).await, Ok(Created::Session(_)))
}

async fn begin(store: &SqliteStore, id: SessionId) -> RunStart {
    let lease = Duration::from_secs(30);
    let (now, uncounted) = (Timestamp::UNIX_EPOCH, Uncounted::Tell);
    let begin = BeginRun { max_messages: None, lease, now, uncounted };
    store.begin_run(id, &ada(), None, begin).await.unwrap()
}

/// Keeps the writer busy until the sender is dropped, so that calls made meanwhile share the
/// next batch. Returns once it is.
async fn hold_writer(store: &SqliteStore) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let queue = Arc::clone(store.queue());
    let work = move |_: &Connection| {
        let _ = started.send(());
        let _ = released.recv();
        Ok(())
    };
    tokio::spawn(async move { queue.call(Access::Read, "hold", work, |()| ()).await });
    start.await.unwrap();
    release
}

fn sessions_in(file: &std::path::Path) -> i64 {
    let connection = schema::open_for_reading(file).unwrap();
    connection.query_row("SELECT count(*) FROM session", (), |row| row.get(0)).unwrap()
}

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
    let wakes = || store.queue().wakes.load(Ordering::Relaxed);
    let release = hold_writer(&store).await;
    let before = wakes();
    let settle = async {
        store.settle(id, Settlement { messages: 1, ..Settlement::default() });
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

/// All kinds of lists, from a place on and from the start.
fn lists() -> Vec<(SessionsPage, ThreadsPage)> {
    let (user_id, id) = (UserId::parse("ada").unwrap(), SessionId::from_bytes([255; 16]));
    let now = Timestamp::UNIX_EPOCH;
    let mut all = Vec::new();
    for ids in [ConversationIds::Conv, ConversationIds::Integer, ConversationIds::Uuid] {
        for of_user in [true, false] {
            for ascending in [true, false] {
                for (behind, before) in [(false, false), (true, false), (false, true), (true, true)]
                {
                    let place = ThreadPlace { bound_at: now, id };
                    let after = SessionPlace { updated_at: now, created_at: now, id };
                    let after = behind.then_some(after);
                    let sessions = SessionsPage { user_id: user_id.clone(), ids, after, limit: 5 };
                    let threads = ThreadsPage {
                        user_id: of_user.then(|| user_id.clone()),
                        ascending,
                        after: behind.then_some(place),
                        until: before.then_some(place),
                        limit: 5,
                    };
                    all.push((sessions, threads));
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn what_is_locked_is_in_no_list_though_something_of_it_is_to_be_written() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    let (other, eve) = (SessionId::random(), UserId::parse("eve").unwrap());
    let named = store.thread_named(other, &eve, "t".into(), Timestamp::UNIX_EPOCH).await;
    assert!(named.unwrap().is_some());
    let release = hold_writer(&store).await;
    store.settle(id, Settlement { messages: 2, ..Settlement::default() });
    for (sessions, threads) in lists() {
        assert_eq!(store.list(sessions).await.unwrap(), []);
        assert_eq!(store.threads(threads).await.unwrap(), []);
    }
    drop(release);
}

#[tokio::test]
async fn no_list_is_read_by_the_writer_or_waits_for_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    // For as long as this is there, whoever waits for the writer waits for ever.
    let release = hold_writer(&store).await;
    // What the writer has not written yet is in them all the same.
    let title = Some("new".to_owned());
    let settled = Settlement { title: Some(title.clone()), messages: 2, ..Settlement::default() };
    store.settle(id, settled);
    for (sessions, threads) in lists() {
        let wanted = sessions.ids == ConversationIds::Uuid && sessions.after.is_none();
        let listed = store.list(sessions).await.unwrap();
        assert_eq!(listed.len(), usize::from(wanted));
        assert!(listed.iter().all(|session| session.title == title));
        let listed = store.threads(threads).await.unwrap();
        assert!(listed.iter().all(|placed| placed.record.message_count == MessageCount::Known(2)));
    }
    drop(release);
}

#[tokio::test]
async fn lists_are_read_in_the_order_of_an_index() {
    let directory = Directory::new();
    let _store = directory.store();
    let connection = schema::open_for_reading(&directory.file()).unwrap();
    let check = |sql: &str| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let [step] = &*plan else { panic!("{plan:?}: {sql}") };
        assert!(step.contains(" USING INDEX session_by_"), "{step}: {sql}");
        step.clone()
    };
    for (sessions, threads) in lists() {
        for range in lists::ranges(sessions.after) {
            let step = check(&lists::sessions_sql(sessions.ids, range));
            assert!(step.starts_with("SEARCH"), "{step}");
            let expected = match range {
                lists::Range::All => "(user_id=?)",
                lists::Range::SameTimes(_) => {
                    "(user_id=? AND updated_at=? AND created_at=? AND id>?)"
                }
                lists::Range::SameUpdate(_) => "(user_id=? AND updated_at=? AND created_at<?)",
                lists::Range::Earlier(_) => "(user_id=? AND updated_at<?)",
            };
            assert!(step.ends_with(expected), "{step}");
        }
        check(&lists::threads_sql(&threads));
    }
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
    assert_eq!(store.get(abandoned.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_nobody_took_is_settled() {
    let directory = Directory::new();
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    let queue = store.queue();
    let lease = Duration::from_secs(30);
    let (now, uncounted) = (Timestamp::UNIX_EPOCH, Uncounted::Tell);
    let run = BeginRun { max_messages: None, lease, now, uncounted };
    let mut call = store.begin_run(session.id, &session.user_id, None, run);
    // Answered, and never looked at.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    store.ping().await.unwrap();
    assert_eq!(queue.tallies(|tallies| tallies.len()), 1);
    drop(call);
    store.ping().await.unwrap();
    assert_eq!(queue.tallies(|tallies| tallies.len()), 0);
    assert!(matches!(begin(&store, session.id).await, RunStart::First { .. }));
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let directory = Directory::new();
    let store = directory.store();
    let (first, big) = (session(None), session(Some("x".repeat(1 << 20))));
    assert!(create(&store, &first).await);
    let limit_pages = |pages: i64| {
        let set =
            move |connection: &Connection| connection.pragma_update(None, "max_page_count", pages);
        store.queue().call(Access::Read, "set the limit", set, |()| ())
    };
    limit_pages(1).await.unwrap(); // The least is what there is already.
    let error = store.create(big.clone(), None).await.unwrap_err();
    assert!(error.is_store() && error.chain().contains("full"), "{}", error.chain());
    assert_eq!(store.get(big.id).await.unwrap(), None);

    // What needs no room goes on.
    let RunStart::First { lease, .. } = begin(&store, first.id).await else { panic!("unbound") };
    let bound = store
        .bind(first.id, &first.user_id, lease, ThreadId::from("t"), Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(bound.unwrap(), Bound::Done);
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
    assert!(matches!(begin(&store, session.id).await, RunStart::First { .. }));
    let other = Connection::open(directory.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.settle(session.id, Settlement { messages: 2, ..Settlement::default() });
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

/// A bound session without a run in flight.
async fn bound(store: &SqliteStore) -> SessionId {
    let session = session(None);
    assert!(create(store, &session).await);
    let RunStart::First { lease, .. } = begin(store, session.id).await else { panic!("unbound") };
    let bound = store
        .bind(session.id, &session.user_id, lease, ThreadId::from("t"), Timestamp::UNIX_EPOCH)
        .await;
    assert_eq!(bound.unwrap(), Bound::Done);
    store.settle(session.id, Settlement::default());
    session.id
}

#[tokio::test]
async fn a_row_read_before_a_commit_is_corrected_after_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    let release = hold_writer(&store).await;
    store.settle(id, Settlement { messages: 2, ..Settlement::default() });
    let release = Arc::new(std::sync::Mutex::new(Some(release)));
    let queue = Arc::clone(store.queue());
    let read = move |connection: &Connection| {
        let before = rows::get(connection, id);
        drop(release.lock().unwrap().take());
        while queue.tallies(|tallies| tallies.len()) > 0 {
            std::thread::yield_now();
        }
        before
    };
    assert_eq!(
        store.corrected(id, read).await.unwrap().unwrap().open().unwrap().message_count,
        MessageCount::Known(2)
    );
    assert_eq!(
        store.get(id).await.unwrap().unwrap().open().unwrap().message_count,
        MessageCount::Known(2)
    );
}

#[tokio::test]
async fn a_count_is_not_committed_while_somebody_goes_by_it() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let of_one = Room { max: Some(1), uncounted: Uncounted::Tell };
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    let read = |connection: &Connection| {
        let before = rows::head(connection, id, &ada());
        store.settle(id, Settlement { messages: 1, ..Settlement::default() });
        // The writer has taken it, and waits.
        let overlay = || store.queue().tallies(|tallies| tallies.overlay(id));
        while store.queue().tallies(|tallies| tallies.is_dirty()) {
            std::thread::yield_now();
        }
        assert!(overlay().is_some());
        // Nor does another run begin on the spot.
        let read = |connection: &Connection| rows::head(connection, id, &ada());
        assert!(store.begin_bound(id, None, of_one, read).unwrap().is_none());
        before
    };
    let begun = store.begin_bound(id, None, of_one, read).unwrap();
    assert!(matches!(begun, Some(RunStart::MessageLimit)), "{begun:?}");
    store.ping().await.unwrap();
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

/// Such a one has no use of the lock.
#[tokio::test]
async fn a_run_that_is_not_the_callers_does_not_wait_for_the_session() {
    let directory = Directory::new();
    let store = directory.store();
    let id = bound(&store).await;
    let locked = store.queue().tallies(|tallies| tallies.lock(id, Holder::Caller));
    assert!(locked.unwrap());
    let (now, uncounted) = (Timestamp::UNIX_EPOCH, Uncounted::Tell);
    let run = BeginRun { max_messages: None, lease: Duration::from_secs(30), now, uncounted };
    let eve = UserId::parse("eve").unwrap();
    let start = store.begin_run(id, &eve, Some("t"), run).await.unwrap();
    assert!(matches!(start, RunStart::Foreign), "{start:?}");
    let start = store.begin_run(id, &ada(), Some("u"), run).await.unwrap();
    assert!(matches!(start, RunStart::OtherThread), "{start:?}");
    store.queue().tallies(|tallies| tallies.unlock(id));
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
    let start = store.begin_run(id, &ada(), Some("t"), run).await.unwrap();
    assert!(matches!(start, RunStart::Next(_)), "{start:?}");
}

#[tokio::test]
async fn what_is_written_in_a_runs_own_batch_is_counted_once() {
    let directory = Directory::new();
    let store = directory.store();
    let session = session(None);
    assert!(create(&store, &session).await);
    let RunStart::First { lease, .. } = begin(&store, session.id).await else { panic!("unbound") };
    let release = hold_writer(&store).await;
    // It showed a message, and came to nothing.
    let settled = Settlement { lease: Some(lease), messages: 1, ..Settlement::default() };
    store.settle(session.id, settled);
    let max_messages = std::num::NonZeroU32::new(2);
    let (now, uncounted) = (Timestamp::UNIX_EPOCH, Uncounted::Tell);
    let run = BeginRun { max_messages, lease: Duration::from_secs(30), now, uncounted };
    let run = store.begin_run(session.id, &session.user_id, None, run);
    let (begun, ()) = tokio::join!(run, async { drop(release) });
    assert!(matches!(begun.unwrap(), RunStart::First { .. }));
}

#[tokio::test]
async fn nothing_of_a_session_stays_in_memory() {
    let directory = Directory::new();
    let store = directory.store();
    let queue = Arc::clone(store.queue());
    for round in 0..20 {
        let session = session(None);
        assert!(create(&store, &session).await);
        let RunStart::First { lease, .. } = begin(&store, session.id).await else {
            panic!("unbound")
        };
        let thread_id = ThreadId::from(format!("thr_{round}"));
        let bound =
            store.bind(session.id, &session.user_id, lease, thread_id, Timestamp::UNIX_EPOCH).await;
        assert_eq!(bound.unwrap(), Bound::Done);
        assert!(matches!(begin(&store, session.id).await, RunStart::Next(_)));
        assert_eq!(queue.tallies(|tallies| tallies.len()), 1);
        store.settle(session.id, Settlement { messages: 2, ..Settlement::default() });
        store.settle(session.id, Settlement::default());
        let deleted = store.delete(session.id, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(deleted, Deletion::Done);
        assert!(matches!(begin(&store, session.id).await, RunStart::Unknown));
        assert_eq!(queue.tallies(|tallies| tallies.len()), 0);
    }
}

#[tokio::test]
async fn a_writer_that_has_ended_is_an_error() {
    let directory = Directory::new();
    let store = directory.store();
    let panics = |_: &Connection| -> rusqlite::Result<()> { panic!("on purpose, in a test") };
    let ended = store.queue().call(Access::Read, "panic", panics, |()| ()).await;
    assert!(ended.unwrap_err().is_store());
    assert!(store.ping().await.unwrap_err().is_store());
    store.settle(SessionId::random(), Settlement { messages: 2, ..Settlement::default() });
    assert_eq!(store.queue().tallies(|tallies| tallies.len()), 0);
}

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
        assert_eq!(all, 9);
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
            assert!(store.get(id).await.unwrap().is_some());
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
            told(store.get(id).await.unwrap_err());
            told(store.threads(lists().remove(0).1).await.unwrap_err());
            // What is settled waits.
            store.settle(id, Settlement { messages: 2, ..Settlement::default() });
            told(store.set_title(id, None, Timestamp::UNIX_EPOCH).await.unwrap_err());

            std::fs::rename(path(".away"), path(suffix)).unwrap();
            assert!(create(&store, &session(None)).await, "{suffix} {replaced}");
            let record = store.get(id).await.unwrap().unwrap().open().unwrap();
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
    assert!(store.get(id).await.unwrap().is_some());
    std::fs::rename(directory.file(), directory.file().with_extension("away")).unwrap();
    // Every look that is due is one more chance.
    while store.ownership(id).await.is_ok() {
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
    assert!(linked.get(session.id).await.unwrap().is_some());
    // With the same locks, which are in a file beside it.
    drop((store, linked));
    assert_eq!(std::fs::read_dir(&elsewhere.0).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn a_ping_tells_of_a_process_that_keeps_all_runs_from_beginning() {
    let directory = Directory::new();
    drop(directory.store());
    let stopped = locks::Locks::open(&directory.file()).unwrap();
    assert!(stopped.try_lock(super::places::UNMARKED).unwrap());
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(1));
    let store = short.open(&directory.file()).unwrap();
    assert!(store.ping().await.unwrap_err().chain().contains("was stopped"));
    drop(stopped);
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// It would not get to it, for somebody writes all the time.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn where_no_run_can_begin_none_waits_for_the_file() {
    let directory = Directory::new();
    let first = directory.store();
    let (bound, unbound) = (bound(&first).await, session(None));
    assert!(create(&first, &unbound).await);
    drop(first);
    let stopped = locks::Locks::open(&directory.file()).unwrap();
    assert!(stopped.try_lock(super::places::UNMARKED).unwrap());
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(1));
    let store = short.open(&directory.file()).unwrap();
    let other = Connection::open(directory.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let lease = Duration::from_secs(30);
    let (now, uncounted) = (Timestamp::UNIX_EPOCH, Uncounted::Tell);
    let run = BeginRun { max_messages: None, lease, now, uncounted };
    for id in [bound, unbound.id] {
        let error = store.begin_run(id, &ada(), None, run).await.unwrap_err();
        assert!(error.chain().contains("was stopped"), "{}", error.chain());
    }
}

/// Two stores that know of one another.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
async fn two_stores(directory: &Directory) -> [SqliteStore; 2] {
    let stores = [directory.store(), directory.store()];
    for store in &stores {
        while !store.queue().tallies(|tallies| tallies.places().is_shared()) {
            tokio::task::yield_now().await;
        }
    }
    stores
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn who_waits_for_a_session_holds_up_nobody_else() {
    let directory = Directory::new();
    let [store, stopped] = two_stores(&directory).await;
    let (id, unbound) = (bound(&store).await, session(None));
    assert!(create(&store, &unbound).await);
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    let release = hold_writer(&store).await;
    let locked = |id| stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap();
    assert!(locked(id) && locked(unbound.id));

    let title = Some("new".to_owned());
    store.settle(
        id,
        Settlement { title: Some(title.clone()), messages: 2, ..Settlement::default() },
    );
    let mut waiting = std::pin::pin!(async {
        tokio::join!(
            begin(&store, unbound.id),
            store.set_message_count(id, MessageCount::Known(2), 7)
        )
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let fresh = session(None);
    let (made, ()) = tokio::join!(create(&store, &fresh), async { drop(release) });
    assert!(made, "in the same batch");
    // All of what was settled but the messages.
    let row = |connection: &Connection| rows::get(connection, id).unwrap().unwrap().open().unwrap();
    let other = Connection::open(directory.file()).unwrap();
    let record = row(&other);
    assert_eq!((record.title, record.message_count), (title, MessageCount::Known(0)));
    let count = async || store.get(id).await.unwrap().unwrap().open().unwrap().message_count;
    assert_eq!(count().await, MessageCount::Known(2));
    // What is settled is tried again now and then, which takes a moment. Who waits, waits for seconds.
    other.busy_timeout(Duration::from_millis(500)).unwrap();
    for _ in 0..2000 {
        other.execute_batch("BEGIN IMMEDIATE; COMMIT").unwrap();
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    for id in [id, unbound.id] {
        stopped.queue().tallies(|tallies| tallies.unlock(id));
    }
    let (begun, counted) = waiting.await;
    assert!(matches!(begun, RunStart::First { .. }));
    counted.unwrap();
    // With the messages before it.
    assert_eq!(row(&other).message_count, MessageCount::Known(7));
    assert_eq!(count().await, MessageCount::Known(7));
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn who_waits_for_a_session_in_vain_is_told() {
    let directory = Directory::new();
    let [_, stopped] = two_stores(&directory).await;
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(50));
    let store = short.open(&directory.file()).unwrap();
    let id = bound(&store).await;
    assert!(matches!(begin(&store, id).await, RunStart::Next(_)));
    assert!(stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap());
    store.settle(id, Settlement { messages: 2, ..Settlement::default() });
    let error = store.set_message_count(id, MessageCount::Known(2), 7).await.unwrap_err();
    assert!(error.chain().contains("has the session locked"), "{}", error.chain());
    // The last chance for what is settled, until the lock is free.
    let queue = Arc::clone(store.queue());
    let before = queue.statements.so_far();
    let unlocked = std::thread::spawn(move || {
        // It has tried, and tries again.
        while queue.statements.so_far() == before {
            std::thread::yield_now();
        }
        stopped.queue().tallies(|tallies| tallies.unlock(id));
    });
    drop(store);
    unlocked.join().unwrap();
    let other = Connection::open(directory.file()).unwrap();
    let record = rows::get(&other, id).unwrap().unwrap().open().unwrap();
    assert_eq!(record.message_count, MessageCount::Known(2));
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
async fn begin_of(store: &SqliteStore, id: SessionId, max: u32) -> RunStart {
    let (lease, now) = (Duration::from_secs(30), Timestamp::UNIX_EPOCH);
    let max_messages = std::num::NonZeroU32::new(max);
    let begin = BeginRun { max_messages, lease, now, uncounted: Uncounted::Tell };
    store.begin_run(id, &ada(), None, begin).await.unwrap()
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn who_comes_after_the_file_of_runs_was_deleted_finds_those_in_flight() {
    for replaced in [false, true] {
        let directory = Directory::new();
        let store = directory.store();
        let id = bound(&store).await;
        assert!(matches!(begin_of(&store, id, 3).await, RunStart::Next(_)));
        let runs = directory.0.join(format!("sessions.db{}", locks::SUFFIX));
        std::fs::remove_file(&runs).unwrap();
        if replaced {
            std::fs::write(&runs, "").unwrap();
        }
        // Its own runs go on.
        assert!(matches!(begin_of(&store, id, 3).await, RunStart::Next(_)));
        store.settle(id, Settlement::default());
        let newcomer = directory.store();
        for store in [&store, &newcomer] {
            while !store.queue().tallies(|tallies| tallies.places().is_shared()) {
                tokio::task::yield_now().await;
            }
            store.ping().await.unwrap();
        }
        assert!(matches!(begin_of(&newcomer, id, 2).await, RunStart::Next(_)));
        assert!(matches!(begin_of(&newcomer, id, 2).await, RunStart::MessageLimit));
        assert!(matches!(begin_of(&store, id, 2).await, RunStart::MessageLimit));
        drop((store, newcomer));
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_while_the_file_of_runs_is_deleted_again_and_again() {
    let directory = Directory::new();
    let stores = two_stores(&directory).await;
    let id = bound(&stores[0]).await;
    let runs = directory.0.join(format!("sessions.db{}", locks::SUFFIX));
    assert!(matches!(begin_of(&stores[0], id, 2).await, RunStart::Next(_)));
    for round in 0..20 {
        std::fs::remove_file(&runs).unwrap();
        let [left, right] = &stores;
        let (left, right) = tokio::join!(begin_of(left, id, 2), begin_of(right, id, 2));
        let begun = [left, right].map(|start| matches!(start, RunStart::Next(_)));
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "round {round}");
        stores[usize::from(begun[1])].settle(id, Settlement::default());
    }
}
