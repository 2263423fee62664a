//! Connections for reading. Point reads use them on the thread that asks.
//!
//! A look-up by key in a file that the page cache holds takes about 3 µs. Handing it to
//! another thread and back takes 13 µs on an idle machine and several times that on a busy one,
//! so it would cost the worker more than the read itself. A list reads a row for each of its own, from
//! as many places of the file, so it is read where it may block. Neither keeps the writer from anything:
//! only a point read that finds the file locked goes there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::files::Files;
use super::schema;

/// Idle connections. More than the program has worker threads are never in use at once.
pub(super) struct Readers {
    path: PathBuf,
    files: Option<Arc<Files>>,
    idle: Mutex<Vec<Connection>>,
    /// Those that all of them have run.
    #[cfg(test)]
    pub(super) statements: schema::Statements,
}

/// How long a list that finds the file locked sleeps before it tries again.
const TRY_EVERY: Duration = Duration::from_millis(2);

/// Connections kept open for later; each is a file descriptor and some tens of kilobytes.
const MAX_IDLE: usize = 32;

impl Readers {
    /// Makes those of the store at `path`. Nothing is read from `files` that are lost, nor from
    /// others in their place.
    pub(super) fn new(path: PathBuf, files: Option<Arc<Files>>) -> Self {
        let idle = Mutex::default();
        Self {
            path,
            files,
            idle,
            #[cfg(test)]
            statements: schema::Statements::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `read` on some connection, outside of a transaction and without waiting for locks.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let files = self.files.as_deref();
        files.map_or(Ok(()), Files::check)?;
        let idle = self.idle().pop();
        let connection = if let Some(connection) = idle {
            connection
        } else {
            #[cfg_attr(not(test), expect(unused_mut, reason = "tests look at what it runs"))]
            let mut connection = schema::open_for_reading(&self.path)?;
            #[cfg(test)]
            self.statements.count(&mut connection);
            // What was opened just now was found by its name.
            files.map_or(Ok(()), Files::look)?;
            connection
        };
        // After an error the connection is closed: a new one starts from a known state.
        let value = read(&connection)?;
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        Ok(value)
    }

    /// Reads the same where it may block: waits for a file that is locked, for `patience` at most.
    #[expect(clippy::disallowed_methods, reason = "on a thread of its own, which may block")]
    pub(super) fn read_patiently<T>(
        &self,
        patience: Duration,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            match self.read(&read) {
                Err(error) if schema::is_locked(&error) && Instant::now() < deadline => {
                    std::thread::sleep(TRY_EVERY);
                }
                outcome => return outcome,
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("path", &self.path).finish_non_exhaustive()
    }
}
