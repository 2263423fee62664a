//! How each call travels.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::alone::OpenFile;
use super::clients;
use super::files::Files;
use super::lists;
use super::locks;
use super::places::Places;
use super::quarantine;
use super::readers::Readers;
use super::rows;
use super::schema::{self, is_locked};
use super::writer::{Access, NO_RUN_CAN_BEGIN, Queue, Writer};
use crate::error::Error;
use crate::principal::UserId;
use crate::session::adoption::{Adopted, Adoption};
use crate::session::client_session::ClientSession;
use crate::session::pages::{
    PlacedSession, SessionSummary, SessionsPage, ThreadPlace, ThreadsPage,
};
use crate::session::quarantine::{Found, QuarantinedThread, Released, Reuse};
use crate::session::record::{
    ConversationId, MessageCount, Ownership, SessionId, SessionRecord, ThreadId,
};
use crate::session::store::{
    BeginRun, Bound, ClientSessionCreated, Created, Deletion, Lease, NewSession, Owned, RunStart,
    SessionStore, Settlement, StoreFuture,
};

/// Sessions in one SQLite file.
///
/// - **Durable.** A write is synced to the disk (write-ahead log, `synchronous = FULL`) before
///   it is acknowledged; writes that wait at the same time share one commit. What
///   [`settle`](SessionStore::settle) leaves is written soon after, and tried again every
///   second while that fails.
/// - **Exact across processes.** Others may use the file at the same time, on the same machine: every
///   limit and the lease of a first run hold across all of them, on Linux the limit of messages too with
///   those in flight. A process that ends, however it does, has none in flight any more. While several
///   processes have the file open, a run takes some more system calls; a store that is opened beside
///   others waits up to a quarter of a second for them to notice. At most 63 stores have one file open.
/// - **Point reads on the spot.** `get`, `ownership`, `by_thread`, `by_conversation`,
///   `attachment_owner`, `client_session` and `begin_run` of a bound session read on the thread that
///   polls, for about as long as it takes to wake another one (3 µs from the page cache). They never wait for a lock there. Lists
///   are read by the same connections on the runtime's threads for what blocks, eight at once.
///   Everything else goes through a thread of the store's own, so a slow disk holds up no other request.
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
/// use chatkit_rest::session::{SessionStore, SqliteStore};
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
    file: Option<Arc<OpenFile>>,
    files: Option<Arc<Files>>,
    /// One for each list that may be read at once.
    lists: Arc<Semaphore>,
    /// How long a list waits for a file that is locked.
    patience: Duration,
}

/// Attempts to read what runs left, between two commits of such. A read takes some microseconds.
pub(super) const MAX_ATTEMPTS: usize = 64;

/// How many lists are read at once; others wait. Each has a connection and a page in memory.
const MAX_LISTS: usize = 8;

/// How to open a [`SqliteStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    busy_timeout: Duration,
    bulk: bool,
    /// Its file is to have no name.
    nameless: bool,
}

impl SqliteOptions {
    /// Takes the defaults of [`SqliteStore::open`].
    pub fn new() -> Self {
        Self { busy_timeout: Duration::from_secs(2), bulk: false, nameless: false }
    }

    /// Sets how long a write waits for a file that another process has locked, 2 s unless set.
    /// Whole milliseconds.
    pub fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }

    /// Sets whether many writes in a row are to take less time; not unless set. It takes 256 MiB
    /// more of memory and of the disk, and a write outlives its process at once, but the machine
    /// only when [`SqliteStore::sync`] has come back.
    pub fn bulk(mut self, bulk: bool) -> Self {
        self.bulk = bulk;
        self
    }

    /// Opens the file at `path`, and creates or updates it if need be.
    ///
    /// A new file is readable by its owner only. A relative path is one from the current
    /// directory.
    ///
    /// # Errors
    /// If the file can't be created, opened or written, isn't an SQLite database, or belongs to
    /// another program or to a newer version of this one. Such a file is not changed.
    pub fn open(&self, path: &Path) -> Result<SqliteStore, Error> {
        // Absolute, because SQLite would read a name that begins with "file:" as a URI.
        let path = std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let connection = schema::open_for_writing(&path, self.busy_timeout)?;
        // What SQLite has beside the file is beside where a link leads to.
        #[cfg(unix)]
        let path = std::fs::canonicalize(&path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let file = if self.bulk {
            schema::prepare_for_bulk(&connection)
                .map_err(|error| Error::store("could not prepare the session store", error))?;
            let file = OpenFile::open(&path)
                .map_err(|error| Error::io("could not open the session store", error))?;
            Some(Arc::new(file))
        } else {
            None
        };
        let places = if self.nameless { Ok(Places::default()) } else { Places::open(&path) };
        let places = places.map_err(|error| {
            let path = path.display();
            Error::io(format!("could not lock {path}{}, beside the store", locks::SUFFIX), error)
        })?;
        let files = if self.nameless { None } else { Some(Files::of(&path)) };
        let files = files.transpose().map_err(|error| {
            Error::io(format!("could not find the session store {}", path.display()), error)
        })?;
        let files = files.map(Arc::new);
        let writer = Writer::start(connection, self.busy_timeout, files.clone(), places)
            .map_err(|error| Error::io("could not start the session store's thread", error))?;
        Ok(SqliteStore {
            readers: Arc::new(Readers::new(path, files.clone())),
            writer,
            files,
            lists: Arc::new(Semaphore::new(MAX_LISTS)),
            patience: self.busy_timeout,
            file,
        })
    }
}

impl SqliteOptions {
    /// Opens a copy of the file at `from`, made at `to`, where there must be nothing; an empty store
    /// if there is nothing at `from` either. Others may use that file meanwhile.
    ///
    /// On Unix the copy has no name from then on, so that it is gone with the store, however that
    /// ends. It is for [`adopt`](SessionStore::adopt) only: point reads would look for it by its name.
    ///
    /// # Errors
    /// As [`open`](Self::open) of `from`, and if the copy can't be made.
    pub fn open_copy(&self, from: &Path, to: &Path) -> Result<SqliteStore, Error> {
        let absolute = std::path::absolute(from)
            .map_err(|error| Error::io(format!("could not find {}", from.display()), error))?;
        schema::check_usable(&absolute, self.busy_timeout)?;
        if absolute.exists() {
            schema::copy(&absolute, to, self.busy_timeout)?;
        }
        let store = Self { nameless: true, ..self.clone() }.open(to)?;
        if cfg!(unix) {
            schema::remove(to);
        }
        Ok(store)
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SqliteStore {
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

    /// [Adopts](SessionStore::adopt) the first ones of `entries`, in one transaction: as many as there
    /// is time for in `limit`, and for as long as the store is [alone](Self::is_alone), but some in any
    /// case. For many at once, of which each page is written once then. Returns the entries too, as they
    /// were, and as many outcomes as were adopted.
    ///
    /// # Errors
    /// As [`adopt`](SessionStore::adopt).
    pub async fn adopt_alone(
        &self,
        entries: Vec<Adoption>,
        limit: Duration,
    ) -> Result<(Vec<Adoption>, Vec<Adopted>), Error> {
        let file = self.file.clone();
        #[expect(clippy::disallowed_methods, reason = "how long a transaction takes in fact")]
        let work = move |connection: &Connection| {
            let begun = Instant::now();
            let is_alone = || file.as_ref().is_some_and(|file| !file.is_shared());
            let is_over = || begun.elapsed() >= limit || !is_alone();
            let outcomes = rows::adopt_until(connection, &entries, is_over)?;
            Ok((entries, outcomes))
        };
        self.write("could not adopt", work).await
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

    /// Reads the threads in [quarantine](SessionStore::quarantined) of the file at `path`, which is
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
        let connection = schema::open_current(&absolute, SqliteOptions::new().busy_timeout)?;
        quarantine::list(&connection, after.map(|id| &**id), limit)
            .map_err(|error| Error::store("could not list the threads in quarantine", error))
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
    fn write<T: Send + 'static>(
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
    async fn read_list<T: Send + 'static>(
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

    async fn found(&self, id: SessionId) -> Result<Option<Found<SessionRecord>>, Error> {
        self.corrected(id, move |connection| rows::get(connection, id)).await
    }

    /// Gives a row as it is with what is settled and not in it yet.
    pub(super) async fn corrected(
        &self,
        id: SessionId,
        read: impl Fn(&Connection) -> rusqlite::Result<Option<Found<SessionRecord>>>
        + Clone
        + Send
        + 'static,
    ) -> Result<Option<Found<SessionRecord>>, Error> {
        let context = "could not read a session";
        for _ in 0..MAX_ATTEMPTS {
            // Asked before the row is read: what is not in it is in the row.
            let (overlay, commits) =
                self.queue().tallies(|tallies| (tallies.overlay(id), tallies.commits()));
            let mut found = self.read(context, read.clone()).await?;
            if let Some(overlay) = overlay {
                if self.queue().tallies(|tallies| tallies.commits()) != commits {
                    // Some of it may be in the row by now.
                    continue;
                }
                if let Some(Found::Open(record)) = &mut found {
                    overlay.correct(record);
                }
            }
            return Ok(found);
        }
        Err(Error::store(context, "it is written to again and again"))
    }
}

impl SessionStore for SqliteStore {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        let max = max_sessions.map(NonZeroU32::get);
        self.write("could not create a session", move |c| rows::create(c, &session, max))
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.write("could not adopt", move |connection| rows::adopt_all(connection, &entries))
    }

    fn get(&self, id: SessionId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        Box::pin(self.found(id))
    }

    fn by_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        let thread_id = ThreadId::from(thread_id);
        Box::pin(async move {
            let id = self
                .read("could not read a thread", move |c| rows::id_of_thread(c, &thread_id))
                .await?;
            // A second read by its id, because the tally has to be asked before the row.
            match id {
                Some(id) => self.found(id).await,
                None => Ok(None),
            }
        })
    }

    fn ownership(&self, id: SessionId) -> StoreFuture<'_, Option<Found<Ownership>>> {
        Box::pin(self.read("could not read whose a session is", move |c| rows::ownership(c, id)))
    }

    fn ownership_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<Ownership>>> {
        let thread_id = ThreadId::from(thread_id);
        Box::pin(self.read("could not read whose a thread is", move |connection| {
            rows::ownership_of_thread(connection, &thread_id)
        }))
    }

    fn by_conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<Found<SessionRecord>>> {
        Box::pin(async move {
            let id = self
                .read("could not read a conversation", move |c| rows::id_of_conversation(c, id))
                .await?;
            match id {
                Some(id) => self.found(id).await,
                None => Ok(None),
            }
        })
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        Box::pin(self.read_list("could not list sessions", move |connection, queue| {
            lists::sessions(connection, queue, &page)
        }))
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.write("could not set a title", move |connection| {
            rows::set_title(connection, id, title.as_deref(), now)
        })
    }

    fn begin_run<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: Option<&'a str>,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        Box::pin(self.begin(id, user_id, thread_id, begin))
    }

    fn bind(
        &self,
        id: SessionId,
        user_id: &UserId,
        lease: Lease,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Bound> {
        let user_id = user_id.clone();
        self.write("could not bind a session", move |connection| {
            rows::bind(connection, id, user_id, lease, &thread_id, now)
        })
    }

    fn thread_named(
        &self,
        id: SessionId,
        user_id: &UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Reuse>> {
        let user_id = user_id.clone();
        self.write("could not look at a thread", move |connection| {
            let reuse = quarantine::reuse(connection, id, user_id, &thread_id, now)?;
            Ok(reuse.filter(|reuse| reuse.quarantined.is_some()))
        })
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        let context = "could not list the threads in quarantine";
        Box::pin(self.read_list(context, move |connection, _| {
            quarantine::list(connection, after.as_deref(), limit)
        }))
    }

    fn release(&self, thread_id: &str) -> StoreFuture<'_, Released> {
        let thread_id = thread_id.to_owned();
        self.write("could not release a thread", move |c| quarantine::release(c, &thread_id))
    }

    fn delete_quarantined(&self, thread_id: &str, now: Timestamp) -> StoreFuture<'_, bool> {
        let thread_id = thread_id.to_owned();
        self.write("could not delete a session", move |connection| {
            quarantine::delete(connection, &thread_id, now)
        })
    }

    fn settle(&self, id: SessionId, settlement: Settlement) {
        self.queue().settle(id, settlement);
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        let (context, queue) = ("could not set a message count", Arc::clone(self.queue()));
        let work = move |connection: &Connection| {
            if !queue.tallies(|tallies| tallies.is_busy(id)) {
                rows::set_message_count(connection, id, seen, messages)?;
            }
            Ok(())
        };
        Box::pin(self.queue().call(Access::Decide(id), context, work, |()| ()))
    }

    fn delete(&self, id: SessionId, now: Timestamp) -> StoreFuture<'_, Deletion> {
        self.write("could not delete a session", move |c| rows::delete(c, id, now))
    }

    fn own_attachment(&self, user_id: &UserId, attachment_id: &str) -> StoreFuture<'_, Owned> {
        let (user_id, attachment_id) = (user_id.clone(), attachment_id.to_owned());
        self.write("could not record an attachment", move |connection| {
            rows::own_attachment(connection, &user_id, &attachment_id)
        })
    }

    fn attachment_owner(&self, attachment_id: &str) -> StoreFuture<'_, Option<UserId>> {
        let attachment_id = attachment_id.to_owned();
        Box::pin(self.read("could not read an attachment", move |connection| {
            rows::attachment_owner(connection, &attachment_id)
        }))
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        Box::pin(self.read("could not read attachments", move |connection| {
            rows::attachment_owners(connection, &attachment_ids)
        }))
    }

    fn disown_attachment(&self, attachment_id: &str) -> StoreFuture<'_, bool> {
        let attachment_id = attachment_id.to_owned();
        self.write("could not forget an attachment", move |connection| {
            rows::disown_attachment(connection, &attachment_id)
        })
    }

    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        Box::pin(self.read_list("could not list threads", move |connection, queue| {
            lists::threads(connection, queue, &page)
        }))
    }

    fn place_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<ThreadPlace>> {
        let thread_id = thread_id.to_owned();
        Box::pin(self.read("could not read a thread's place", move |connection| {
            clients::place_of_thread(connection, &thread_id)
        }))
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        Box::pin(async move {
            let context = "could not read the signing key";
            // Mostly there is one, and a file that is locked is no reason not to have it.
            if let Some(key) = self.read(context, clients::signing_key).await? {
                return Ok(key);
            }
            self.write(context, move |c| clients::keep_signing_key(c, &fresh)).await
        })
    }

    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        self.write("could not create a client session", move |connection| {
            clients::create(connection, &session, max_active.get())
        })
    }

    fn client_session(&self, id: &str) -> StoreFuture<'_, Option<ClientSession>> {
        let id = id.to_owned();
        Box::pin(self.read("could not read a client session", move |connection| {
            clients::get(connection, &id)
        }))
    }

    fn cancel_client_session(
        &self,
        id: &str,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<ClientSession>> {
        let id = id.to_owned();
        self.write("could not cancel a client session", move |connection| {
            clients::cancel(connection, &id, now)
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        let context = "could not use the session store";
        Box::pin(async move {
            self.read_list(context, |connection, _| rows::read_each_table(connection)).await?;
            // A transaction that changes nothing succeeds on a disk that is full, too.
            self.write(context, schema::write_again).await?;
            let why = self.queue().tallies(|tallies| {
                let places = tallies.places();
                if places.is_waiting() {
                    Some(NO_RUN_CAN_BEGIN)
                } else if places.are_lost().unwrap_or(true) {
                    Some("the file by which processes tell one another of their runs was deleted")
                } else {
                    None
                }
            });
            if let Some(why) = why {
                return Err(Error::store(context, why.to_owned()));
            }
            Ok(())
        })
    }
}
