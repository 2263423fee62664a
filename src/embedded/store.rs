//! Where threads are kept: SQLite, on a thread of its own.
//!
//! A database in memory needs no thread: its calls take microseconds and are made in place,
//! which also keeps them out of the way of a paused clock in tests.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, chain};
use crate::shown::shown;

/// Calls that wait for the thread; more wait in their callers.
const QUEUE: usize = 256;

/// How long a write waits for another writer of the same file.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS embedded_threads (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    title TEXT,
    status TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS embedded_threads_by_time ON embedded_threads (created_at, seq);
CREATE TABLE IF NOT EXISTS embedded_items (
    seq INTEGER PRIMARY KEY,
    thread_id TEXT NOT NULL REFERENCES embedded_threads (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (thread_id, id)
) STRICT;
CREATE INDEX IF NOT EXISTS embedded_items_by_time ON embedded_items (thread_id, created_at, seq);
CREATE TABLE IF NOT EXISTS embedded_attachments (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    thread_id TEXT
) STRICT;
";

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database. The thread ends with the last of them.
#[derive(Clone)]
pub(super) struct Store(Arc<StoreAccess>);

enum StoreAccess {
    /// In place.
    Memory(Mutex<Connection>),
    /// On the thread.
    Thread {
        jobs: mpsc::Sender<Job>,
        /// Written by runs that are dropped, which can't wait for a place in the queue. Each run
        /// leaves one job at most, so there are never more of them than runs.
        last_words: Arc<Mutex<Vec<Job>>>,
    },
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            StoreAccess::Memory(_) => "Store(memory)",
            StoreAccess::Thread { .. } => "Store(file)",
        })
    }
}

impl Store {
    pub(super) fn in_memory() -> Result<Self, Error> {
        let failed =
            |error| Error::store("could not make the database of the embedded server", error);
        let connection = Connection::open_in_memory().and_then(prepare).map_err(failed)?;
        Ok(Self(Arc::new(StoreAccess::Memory(Mutex::new(connection)))))
    }

    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error| {
            let path = path.display();
            Error::store(format!("could not open the embedded server's database {path}"), error)
        };
        // Absolute, because SQLite would read a name that begins with "file:" as a URI, and
        // `:memory:` as none.
        let path = &std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let connection = Connection::open(path)
            .and_then(|connection| {
                connection.busy_timeout(BUSY)?;
                connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
                // A power failure may lose the last messages, never the file.
                connection.pragma_update(None, "synchronous", "normal")?;
                prepare(connection)
            })
            .map_err(failed)?;

        let (jobs, queue) = mpsc::channel(QUEUE);
        let last_words = Arc::default();
        let thread_last_words = Arc::clone(&last_words);
        thread::Builder::new()
            .name("chatkit-embedded".into())
            .spawn(move || work(connection, queue, &thread_last_words))
            .map_err(|error| Error::io("could not start the embedded server's thread", error))?;
        Ok(Self(Arc::new(StoreAccess::Thread { jobs, last_words })))
    }

    /// Reads. `query` sees one consistent state.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.call(TransactionBehavior::Deferred, query).await
    }

    /// Writes, all or nothing. It is written even if the future is dropped meanwhile.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.call(TransactionBehavior::Immediate, change).await
    }

    /// Writes without waiting, in order before any later call. For `Drop`.
    pub(super) fn write_last_words<F>(&self, change: F)
    where
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    {
        let job: Job = Box::new(move |connection| {
            if let Err(error) = within(connection, TransactionBehavior::Immediate, change) {
                tracing::warn!(error = &*shown(&chain(&error)), "a cancelled run was not stored");
            }
        });
        match &*self.0 {
            StoreAccess::Memory(connection) => {
                job(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
            }
            StoreAccess::Thread { jobs, last_words } => {
                last_words.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                // Wakes the thread; if the queue is full it is awake.
                let _ = jobs.try_send(Box::new(|_| ()));
            }
        }
    }

    async fn call<T, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let answer = match &*self.0 {
            StoreAccess::Memory(connection) => {
                let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                within(&mut connection, behavior, work)
            }
            StoreAccess::Thread { jobs, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    let _ = answer.send(within(connection, behavior, work));
                });
                let stopped = |error: tokio::sync::oneshot::error::RecvError| {
                    Error::store("the embedded server's thread has stopped", error)
                };
                // The job comes back with the error, and with it the sender that is waited for.
                let _ = jobs.send(job).await;
                answered.await.map_err(stopped)?
            }
        };
        answer.map_err(|error| Error::store("the embedded server's database failed", error))
    }
}

fn prepare(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn within<T>(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    let answer = work(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}

fn work(mut connection: Connection, mut queue: mpsc::Receiver<Job>, last_words: &Mutex<Vec<Job>>) {
    loop {
        let job = queue.blocking_recv();
        // What was said last was said before this job was sent.
        let said = std::mem::take(&mut *last_words.lock().unwrap_or_else(PoisonError::into_inner));
        for words in said {
            words(&mut connection);
        }
        match job {
            Some(job) => job(&mut connection),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_whatever_its_name() {
        for uri in ["file:/no/such?mode=memory", "file:no/such?mode=memory", ""] {
            assert!(Store::open(Path::new(uri)).is_err(), "{uri}");
        }
    }
}
