//! What can be seen only from inside: batches, failures in the middle of them, and what is left
//! in memory.

use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::writer::Access;
use super::{SqliteStore, schema};
use crate::principal::UserId;
use crate::session::record::{SessionId, ThreadId};
use crate::session::store::{
    BeginRun, Bound, Created, NewSession, OnThread, RunId, RunStart, Runs as _, SessionKey,
    Sessions as _, Settlement,
};

mod batches;
mod files;
mod leases;
mod lists;
#[cfg(feature = "server")]
mod pages;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod processes;
mod runs;

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
    NewSession { title, ..NewSession::new(ada(), Timestamp::UNIX_EPOCH) }
}

fn ada() -> UserId {
    UserId::parse("ada").unwrap()
}

async fn create(store: &SqliteStore, session: &NewSession) -> bool {
    matches!(store.create(session.clone(), None).await, Ok(Created::Session(_)))
}

/// A run with a lease of 30 seconds.
fn begins(run: RunId) -> BeginRun {
    let lease = Duration::from_secs(30);
    BeginRun { lease, ..BeginRun::new(run, Timestamp::UNIX_EPOCH) }
}

fn begins_up_to(run: RunId, max: u32) -> BeginRun {
    BeginRun { max_messages: NonZeroU32::new(max), ..begins(run) }
}

async fn begin_by(store: &SqliteStore, session: SessionKey<'_>, begin: BeginRun) -> RunStart {
    store.begin_run(session, OnThread::Any, &ada(), begin).await.unwrap()
}

async fn begin(store: &SqliteStore, id: SessionId) -> RunStart {
    begin_by(store, id.into(), begins(RunId::random())).await
}

/// Begins an unbound session's run.
async fn first(store: &SqliteStore, id: SessionId) -> RunId {
    let run = RunId::random();
    let start = begin_by(store, id.into(), begins(run)).await;
    assert!(matches!(start, RunStart::First { session, titled: _ } if session == id), "{start:?}");
    run
}

/// Begins a bound session's run.
async fn next(store: &SqliteStore, id: SessionId) -> RunId {
    let run = RunId::random();
    let start = begin_by(store, id.into(), begins(run)).await;
    assert!(matches!(start, RunStart::Next { session, .. } if session == id), "{start:?}");
    run
}

async fn bind(store: &SqliteStore, id: SessionId, run: RunId, thread_id: &str) -> Bound {
    let thread_id = ThreadId::from(thread_id);
    store.bind(id, &ada(), run, thread_id, Timestamp::UNIX_EPOCH).await.unwrap()
}

fn settle(store: &SqliteStore, id: SessionId, run: RunId, settlement: Settlement) {
    drop(store.settle(id, run, settlement));
}

fn messages(messages: u64) -> Settlement {
    Settlement { messages, ..Settlement::default() }
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

/// A bound session without a run in flight.
async fn bound(store: &SqliteStore) -> SessionId {
    let session = session(None);
    assert!(create(store, &session).await);
    let run = first(store, session.id).await;
    assert_eq!(bind(store, session.id, run, "t").await, Bound::Done);
    settle(store, session.id, run, Settlement::default());
    session.id
}
