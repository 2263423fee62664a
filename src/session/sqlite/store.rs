//! The store, and the ways that a call can travel.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::alone::OpenFile;
use super::blocks;
use super::files::Files;
use super::options::{BUSY_TIMEOUT, SqliteOptions};
use super::quarantine;
use super::readers::Readers;
use super::schema::{self, is_locked};
use super::writer::{Access, Queue, Writer};
use crate::error::Error;
use crate::principal::UserId;
use crate::session::blocks::BlockedUser;
use crate::session::quarantine::QuarantinedThread;
use crate::session::record::ThreadId;
use crate::session::store::StoreFuture;

/// Sessions in one SQLite file.
///
/// - **Durable.** A write is synced to the disk (write-ahead log, `synchronous = FULL`) before
///   it is acknowledged; writes that wait at the same time share one commit. What
///   [`settle`](crate::session::Runs::settle) leaves is written soon after, at once if somebody waits
///   for it, and tried again every second while that fails.
/// - **Exact across processes.** Others may use the file at the same time, on the same machine: every
///   limit and the lease of a first run hold across all of them, on Linux the limit of messages too with
///   those in flight. A process that ends, however it does, has none in flight any more, and no lease:
///   elsewhere a lease lasts until its time is up. While several processes have the file open, a run
///   takes some more system calls; a store that is opened beside others waits up to a quarter of a
///   second for them to notice. At most 63 stores have one file open.
/// - **Point reads on the spot.** `get`, `ownership`, `attachment_owners`, `client_session` and
///   `begin_run` of a bound session read on the thread that polls, for about as long as it takes to
///   wake another one (3 µs from the page cache). They never wait for a lock there. Lists are read by
///   the same connections on the runtime's threads for what blocks, eight at once. Everything else goes
///   through a thread of the store's own, so a slow disk holds up no other request.
/// - **Its own files.** Once the file, or the log that SQLite has beside it, was deleted or replaced, calls
///   fail: a write at once, a read within about a second. The empty file `-runs-shm`, by which processes tell
///   one another of their runs, is made anew within a quarter of a second; several processes begin no run
///   until all have noticed.
/// - **Bounded.** A call fails after about twice [`busy_timeout`](SqliteOptions::busy_timeout)
///   at the latest if the file is locked: once for the batch before it, once for its own. One
///   whose session another process has locked, which was stopped just then, waits for that once more,
///   without holding up any other. Where another process was stopped that does not tell of its runs, none
///   begins, and that is told at once.
///
/// Dropping the store closes the file: it waits until what was settled is written, for
/// `busy_timeout` at most if the file is locked.
///
/// ```
/// use chatkit_rest::session::{Sessions, SqliteStore};
///
/// # let directory = std::env::temp_dir().join(format!("chatkit-rest-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory).unwrap();
/// let store = SqliteStore::open(&directory.join("sessions.db"))?;
/// # let ready = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # ready.block_on(async {
/// store.ping().await?;
/// # Ok::<_, chatkit_rest::error::Error>(()) })?;
/// # drop(store);
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<_, chatkit_rest::error::Error>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    // The order of the fields is that of their drops: the connection that closes last folds the
    // log into the file, which one for reading could not.
    readers: Arc<Readers>,
    writer: Writer,
    /// For many writes in a row.
    pub(super) file: Option<Arc<OpenFile>>,
    files: Option<Arc<Files>>,
    /// One for each list that may be read at once.
    lists: Arc<Semaphore>,
    /// How long a list waits for a file that is locked.
    patience: Duration,
}

/// How many lists are read at once; others wait. Each has a connection and a page in memory.
const MAX_LISTS: usize = 8;

impl SqliteStore {
    /// Makes one of its parts, which are open.
    pub(super) fn new(
        readers: Readers,
        writer: Writer,
        file: Option<Arc<OpenFile>>,
        files: Option<Arc<Files>>,
        patience: Duration,
    ) -> Self {
        let (readers, lists) = (Arc::new(readers), Arc::new(Semaphore::new(MAX_LISTS)));
        Self { readers, writer, file, files, lists, patience }
    }

    /// Opens the file at `path` with the default [options](SqliteOptions::open).
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        SqliteOptions::new().open(path)
    }

    /// Makes everything durable that was acknowledged before; for a store that was opened for
    /// [many writes](SqliteOptions::bulk), because others sync each. Blocks.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        // In the order in which it is moved.
        schema::sync_log(self.readers.path())
            .and_then(|()| self.file.as_ref().map_or(Ok(()), |file| file.sync()))
            .map_err(|error| Error::io("could not sync the session store", error))
    }

    /// Tells whether no other process has the file open; for a store that was opened for [many
    /// writes](SqliteOptions::bulk), any other is not known to be alone. Where that can't be told,
    /// as on Windows, it isn't alone either. Other stores of this process are not seen.
    pub fn is_alone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !file.is_shared())
    }

    /// Moves what was written from the log to the file, and cuts the log off, if others who use the
    /// file let it for a moment: whether they did. A log grows for as long as somebody reads it
    /// whenever it could begin anew. Blocks, others' writes too, for `patience` at most.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn fold_log(&self, patience: Duration) -> Result<bool, Error> {
        match schema::fold_log(self.readers.path(), patience) {
            Err(error) if is_locked(&error) => Ok(false),
            outcome => outcome
                .map_err(|error| Error::store("could not fold the session store's log", error)),
        }
    }

    /// Gives the size of the log, in bytes.
    pub fn log_bytes(&self) -> u64 {
        schema::log_bytes(self.readers.path())
    }

    /// Gives the version of the file at `path`, which is only read; 0 if there is none, or nothing in it.
    ///
    /// # Errors
    /// If it can't be read, or belongs to another program or to a newer version.
    pub fn version_of(path: &Path) -> Result<u32, Error> {
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        if !absolute.exists() {
            return Ok(0);
        }
        schema::version(&absolute, BUSY_TIMEOUT)
    }

    /// Reads the threads in [quarantine](crate::session::Directory::quarantined) of the file at `path`, which is
    /// only read. Blocks.
    ///
    /// # Errors
    /// If there is no such file, or it isn't of this program's version, or can't be read.
    pub fn read_quarantine(
        path: &Path,
        after: Option<&ThreadId>,
        limit: usize,
    ) -> Result<Vec<QuarantinedThread>, Error> {
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let connection = schema::open_current(&absolute, BUSY_TIMEOUT)?;
        quarantine::list(&connection, after.map(|id| &**id), limit)
            .map_err(|error| Error::store("could not list the threads in quarantine", error))
    }

    /// Reads the [blocked users](crate::session::Directory::blocks) of the file at `path`, which is only read.
    /// Blocks.
    ///
    /// # Errors
    /// If there is no such file, or it isn't of this program's version, or can't be read.
    pub fn read_blocks(
        path: &Path,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<BlockedUser>, Error> {
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let connection = schema::open_current(&absolute, BUSY_TIMEOUT)?;
        blocks::list(&connection, after, limit)
            .map_err(|error| Error::store("could not list the blocked users", error))
    }

    /// Connections for reading, and for the beginning of a run.
    pub(super) fn readers(&self) -> &Arc<Readers> {
        if self.files.as_ref().is_some_and(|files| files.are_due()) {
            self.queue().look();
        }
        &self.readers
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        self.writer.queue()
    }

    /// Writes through the writer.
    pub(super) fn write<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.queue().call(Access::Write, context, work, |value| value))
    }

    /// Does a point read here and now, or through the writer if the file is locked.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        match self.readers().read(&work) {
            Err(error) if is_locked(&error) => {
                self.queue().call(Access::Read, context, work, |value| value).await
            }
            outcome => outcome.map_err(|error| Error::store(context, error)),
        }
    }

    /// Reads a list, on a thread that may block. The writer has no part in it.
    pub(super) async fn read_list<T: Send + 'static>(
        &self,
        context: &'static str,
        read: impl Fn(&Connection, &Queue) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |why: &str| Error::store(context, why.to_owned());
        let permit = Arc::clone(&self.lists).acquire_owned().await;
        let permit = permit.map_err(|_| failed("it is closed"))?;
        let (readers, queue) = (Arc::clone(self.readers()), Arc::clone(self.queue()));
        let patience = self.patience;
        let work = move || {
            // Held until it is done, though nobody may wait for it any more.
            let _permit = permit;
            readers.read_patiently(patience, |connection| read(connection, &queue))
        };
        let outcome = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn_blocking(work).await.map_err(|_| failed("it was stopped"))?
            }
            // Then there are no others that would have to wait.
            Err(_) => work(),
        };
        outcome.map_err(|error| Error::store(context, error))
    }
}
