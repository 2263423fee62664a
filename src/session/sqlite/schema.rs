//! The file: whether it is ours, its version, its tables.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use crate::error::Error;

/// Marks the file as ours in its header (`CkRs`).
const APPLICATION_ID: i32 = 0x436b_5273;

/// Entry *n* brings a file from version *n* to version *n + 1*; a released entry never changes.
///
/// Times are microseconds since the Unix epoch. `lease` is the number of the last lease given, and
/// `lease_run` the id of the run that has it; it is somebody's while `lease_until` is not null.
/// `made_for_run` says that no run had it but the one that the session was made with. Text is compared
/// byte for byte (the default collation).
const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    ALTER TABLE session ADD COLUMN bound_at INTEGER;
    UPDATE session SET bound_at = created_at WHERE thread_id IS NOT NULL;
    CREATE INDEX session_by_binding ON session (bound_at, id)
        WHERE bound_at IS NOT NULL;
    CREATE INDEX session_by_users_binding ON session (user_id, bound_at, id)
        WHERE bound_at IS NOT NULL;
    CREATE TABLE client_session (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        cancelled_at INTEGER,
        requests_per_minute INTEGER NOT NULL,
        details TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX client_session_by_end ON client_session (expires_at);
    CREATE TABLE signing_key (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        key BLOB NOT NULL CHECK (length(key) = 32)
    ) STRICT;
",
    "
    ALTER TABLE session ADD COLUMN conversation TEXT;
    CREATE UNIQUE INDEX session_by_conversation ON session (conversation)
        WHERE conversation IS NOT NULL;
    CREATE TABLE conversation_sequence (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        last INTEGER NOT NULL
    ) STRICT;
    INSERT INTO conversation_sequence (id, last) VALUES (1, 0);
",
    // Until its process ends, a program that was started before the second entry binds sessions
    // without the moment, and their threads would never be listed.
    "
    UPDATE session SET bound_at = updated_at WHERE thread_id IS NOT NULL AND bound_at IS NULL;
    CREATE TRIGGER session_is_bound AFTER UPDATE OF thread_id ON session
        WHEN NEW.thread_id IS NOT NULL AND NEW.bound_at IS NULL
        BEGIN
            UPDATE session SET bound_at = updated_at WHERE id = NEW.id;
        END;
    CREATE TABLE deleted_thread (
        thread_id TEXT PRIMARY KEY,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        bound_at INTEGER NOT NULL,
        deleted_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deleted_thread_by_time ON deleted_thread (deleted_at);
    CREATE INDEX client_session_by_user ON client_session (user_id, expires_at);
",
    // The count of an adopted session that nobody has counted is 2^53 and what went by since. A
    // program that was started before this entry takes that for a count which is above every limit,
    // rather than for none, and never writes a larger one than 2^53. It deletes too, which is why
    // that is remembered by triggers.
    "
    ALTER TABLE session ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX session_made_for_user ON session (user_id) WHERE adopted = 0;
    ALTER TABLE attachment ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE deleted_adoption (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER adopted_session_is_deleted AFTER DELETE ON session WHEN OLD.adopted
        BEGIN
            INSERT OR IGNORE INTO deleted_adoption (kind, id) VALUES ('thread', OLD.thread_id);
        END;
    CREATE TRIGGER adopted_attachment_is_deleted AFTER DELETE ON attachment WHEN OLD.adopted
        BEGIN
            INSERT OR IGNORE INTO deleted_adoption (kind, id) VALUES ('attachment', OLD.id);
        END;
",
    // Conversations may be few among a user's sessions. A lease that was given before the clock was set
    // back is told by when that was; an older program leaves the moment of an earlier one.
    "
    ALTER TABLE session ADD COLUMN leased_at INTEGER;
    CREATE INDEX session_by_users_conversation
        ON session (user_id, updated_at DESC, created_at DESC) WHERE conversation IS NOT NULL;
",
    // A thread whose id was given to two users. The row of its session may be gone; the others' are not
    // looked at.
    "
    ALTER TABLE session ADD COLUMN quarantined_at INTEGER;
    DROP INDEX session_made_for_user;
    CREATE INDEX session_made_for_user ON session (user_id)
        WHERE adopted = 0 AND quarantined_at IS NULL;
    CREATE TABLE quarantine (
        thread_id TEXT PRIMARY KEY,
        since INTEGER NOT NULL,
        times INTEGER NOT NULL,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        user_id TEXT NOT NULL,
        more_others INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE quarantine_other (
        thread_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        session_id BLOB NOT NULL CHECK (length(session_id) = 16),
        since INTEGER NOT NULL,
        PRIMARY KEY (thread_id, user_id)
    ) STRICT, WITHOUT ROWID;
",
    // A lease is a run's. A program that was started before this entry goes by its number, and doesn't
    // say which run it gives one to: then it is not the last run's any more.
    "
    ALTER TABLE session ADD COLUMN lease_run BLOB CHECK (length(lease_run) = 16);
    CREATE TRIGGER lease_is_taken_over AFTER UPDATE OF lease ON session
        WHEN NEW.lease <> OLD.lease AND NEW.lease_run = OLD.lease_run
        BEGIN
            UPDATE session SET lease_run = NULL WHERE id = NEW.id;
        END;
    ALTER TABLE session ADD COLUMN made_for_run INTEGER NOT NULL DEFAULT 0;
",
];

/// The version that the migrations end with.
const VERSION: u32 = 8;

const _: () = assert!(MIGRATIONS.len() == VERSION as usize);

/// How long it takes until a log that is being folded is tried again.
const FOLD_EVERY: Duration = Duration::from_millis(5);

/// How long it is slept before it is tried again to begin, while somebody else writes.
const TRY_EVERY: Duration = Duration::from_millis(2);

/// Attempts to change the journal mode of a file that others are opening too.
const MAX_ATTEMPTS: u32 = 32;

/// Opens the file for writing, and creates or updates it if need be.
///
/// # Errors
/// If the file can't be opened or written within `busy_timeout`, isn't an SQLite database, or
/// belongs to another program or to a newer version. It is left as it was then.
pub(super) fn open_for_writing(path: &Path, busy_timeout: Duration) -> Result<Connection, Error> {
    let failed = |what: &str| format!("could not {what} the session store {}", path.display());
    create_private(path).map_err(|error| Error::io(failed("create"), error))?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy_timeout)
        .map_err(|error| Error::store(failed("open"), error))?;
    // Before anything that writes to it, such as the change of its journal mode.
    check_ownership(&connection)
        .map_err(|error| Error::store(failed("read"), error))?
        .map_err(|refusal| Error::store(failed("use"), refusal))?;
    check_writable(&connection).map_err(|error| Error::store(failed("write to"), error))?;
    prepare(&connection, busy_timeout).map_err(|error| Error::store(failed("prepare"), error))?;
    Ok(connection)
}

/// Pages are kept in memory, and in the log, until there are many: rows in no order touch the same
/// ones again and again. Commits are not synced one by one.
pub(super) fn prepare_for_bulk(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -262_144)?;
    // Of pages, which are 4 KiB each.
    connection.pragma_update(None, "wal_autocheckpoint", 131_072)?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

/// Syncs what was committed to the log. Nobody locks that.
pub(super) fn sync_log(path: &Path) -> std::io::Result<()> {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    match File::options().write(true).open(log) {
        Ok(file) => file.sync_all(),
        // There is no log, so all of it is in the file.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves what the log has to the file, and cuts the log off if nobody needs it for a moment of
/// `patience`: whether it did.
///
/// While somebody else moves it SQLite says so at once, and a gateway does after each commit on a log
/// that is large.
#[expect(clippy::disallowed_methods, reason = "who calls this has nothing else to do")]
pub(super) fn fold_log(path: &Path, patience: Duration) -> rusqlite::Result<bool> {
    let deadline = Instant::now() + patience;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, patience)?;
    loop {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy: bool = connection.query_row(sql, (), |row| row.get(0))?;
        if !is_busy || Instant::now() >= deadline {
            return Ok(!is_busy);
        }
        std::thread::sleep(FOLD_EVERY);
    }
}

/// Gives the size of the log, in bytes.
pub(super) fn log_bytes(path: &Path) -> u64 {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// Fails where [`open_for_writing`] would for what is at `path`, and for who owns it; makes nothing.
pub(super) fn check_usable(path: &Path, busy_timeout: Duration) -> Result<(), Error> {
    let failed = |what: &str| format!("could not {what} the session store {}", path.display());
    // In place of the file, and of its log.
    let mut beside = path.to_owned().into_os_string();
    beside.push(format!(".{}", uuid::Uuid::new_v4()));
    File::create_new(&beside)
        .and_then(|_| std::fs::remove_file(&beside))
        .map_err(|error| Error::io(failed("create"), error))?;
    match File::options().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(failed("open"), error)),
        Ok(_) => {}
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout)
        .map_err(|error| Error::store(failed("open"), error))?;
    check_ownership(&connection)
        .map_err(|error| Error::store(failed("read"), error))?
        .map_err(|refusal| Error::store(failed("use"), refusal))
}

/// Opens the file for reading only, if it is of this version.
///
/// # Errors
/// If there is none, or it can't be read within `busy_timeout`, or belongs to another program or to
/// another version.
pub(super) fn open_current(path: &Path, busy_timeout: Duration) -> Result<Connection, Error> {
    let failed = |what: &str| format!("could not {what} the session store {}", path.display());
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout)
        .map_err(|error| Error::store(failed("open"), error))?;
    let read_failed = |error| Error::store(failed("read"), error);
    check_ownership(&connection)
        .map_err(read_failed)?
        .map_err(|refusal| Error::store(failed("use"), refusal))?;
    let version: u32 = pragma(&connection, "user_version").map_err(read_failed)?;
    if version < VERSION {
        let refusal = format!(
            "its version is {version}: a newer gateway, which knows {VERSION}, has to open it first"
        );
        return Err(Error::store(failed("use"), refusal));
    }
    Ok(connection)
}

/// Copies the file as it is at this moment. The copy is for its owner only.
pub(super) fn copy(from: &Path, to: &Path, busy_timeout: Duration) -> Result<(), Error> {
    let failed = || format!("could not copy the session store {}", from.display());
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Error::io(failed(), error));
    let (from, to) = (absolute(from)?, absolute(to)?);
    create_private(&to).map_err(|error| Error::io(failed(), error))?;
    let copied = || {
        let connection = connect(&from, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout)?;
        // A name that isn't UTF-8 is none that SQLite could be told.
        connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map(drop)
    };
    copied().map_err(|error| Error::store(failed(), error))
}

/// Removes the file and what SQLite has beside it, as far as they are there. Who has them open goes on.
pub(super) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = path.to_owned().into_os_string();
        path.push(suffix);
        // It may never have been made.
        let _ = std::fs::remove_file(path);
    }
}

/// Opens the file for point reads, which never wait: who finds it locked asks the writer.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, Duration::ZERO)
}

fn connect(path: &Path, access: OpenFlags, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    // A connection is used by one thread at a time, so its own mutex is of no use.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Creates a file for its owner only; SQLite gives its journal the same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

fn check_ownership(connection: &Connection) -> rusqlite::Result<Result<(), String>> {
    // One snapshot: another process may be creating the file at this moment.
    let snapshot = connection.unchecked_transaction()?;
    let application_id: i32 = pragma(&snapshot, "application_id")?;
    let is_empty: bool =
        snapshot
            .query_row("SELECT NOT EXISTS (SELECT * FROM sqlite_schema)", (), |row| row.get(0))?;
    if application_id != APPLICATION_ID && !(application_id == 0 && is_empty) {
        return Ok(Err("it belongs to another program".to_owned()));
    }
    let version: u32 = pragma(&snapshot, "user_version")?;
    if version > VERSION {
        return Ok(Err(format!("its version is {version}, and this program knows {VERSION}")));
    }
    Ok(Ok(()))
}

/// Refuses a file that can't be written. SQLite opens for reading only what it may not write to,
/// and says nothing until there is something to write.
fn check_writable(connection: &Connection) -> rusqlite::Result<()> {
    if !connection.is_readonly(MAIN_DB)? {
        return Ok(());
    }
    let problem = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
    let text = "the file can't be written; let the gateway's user write to it".to_owned();
    Err(rusqlite::Error::SqliteFailure(problem, Some(text)))
}

/// Writes to the file what it says already: a page goes to the log as with any other change.
pub(super) fn write_again(connection: &Connection) -> rusqlite::Result<()> {
    // An update of a row to what it is writes nothing.
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

fn prepare(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    if use_log(connection)? != "wal" {
        // Readers would block the writer, and be blocked by it.
        let problem = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let text = "the file system does not allow a write-ahead log".to_owned();
        return Err(rusqlite::Error::SqliteFailure(problem, Some(text)));
    }
    // In WAL mode, a commit is synced to the disk only with FULL.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = begin_to_write(connection, patience)?;
    let version: u32 = pragma(&transaction, "user_version")?;
    for migration in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// Changes the journal mode, and returns what it is then.
///
/// Two processes that open a new file can be in each other's way here, which SQLite reports at
/// once rather than after the busy timeout. An exclusive lock does wait, so it is taken and left
/// before the next attempt: each attempt that fails is one where somebody else got further.
fn use_log(connection: &Connection) -> rusqlite::Result<String> {
    let change =
        || connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0));
    for _ in 1..MAX_ATTEMPTS {
        match change() {
            Err(error) if is_locked(&error) => {
                connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
            }
            outcome => return outcome,
        }
    }
    change()
}

/// Begins a transaction that writes, once nobody else has one.
///
/// SQLite's own way of waiting sleeps longer each time, up to 100 ms, and so misses the gaps between
/// the transactions of somebody who has many.
#[expect(clippy::disallowed_methods, reason = "who opens a store, and the writer's own thread")]
pub(super) fn begin_to_write(
    connection: &Connection,
    patience: Duration,
) -> rusqlite::Result<Transaction<'_>> {
    let deadline = Instant::now() + patience;
    connection.busy_timeout(Duration::ZERO)?;
    let outcome = loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error) if is_locked(&error) && Instant::now() < deadline => {
                std::thread::sleep(TRY_EVERY);
            }
            outcome => break outcome,
        }
    };
    connection.busy_timeout(patience)?;
    outcome
}

/// Reports that some bytes of the file could not be locked.
pub(super) fn lock_failed(error: &std::io::Error) -> rusqlite::Error {
    let problem = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_LOCK);
    rusqlite::Error::SqliteFailure(problem, Some(error.to_string()))
}

/// Reports that somebody else has locked some bytes of the file for too long.
pub(super) fn still_locked(why: &str) -> rusqlite::Error {
    let problem = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(problem, Some(why.to_owned()))
}

/// Tells whether somebody else has the file locked.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// How many statements connections have run.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Statements(std::sync::Arc<std::sync::atomic::AtomicUsize>);

#[cfg(test)]
impl Statements {
    pub(super) fn count(&self, connection: &mut Connection) {
        use rusqlite::trace::{TraceEvent, TraceEventCodes};

        let counter = std::sync::Arc::clone(&self.0);
        let count = move |_: TraceEvent<'_>| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count)).unwrap();
    }

    pub(super) fn so_far(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As SQLite opens it for whoever may not write to it; root may.
    #[test]
    fn a_file_that_can_only_be_read_is_refused() {
        let name = format!("chatkit-rest-read-only-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        drop(open_for_writing(&path, Duration::ZERO).unwrap());
        let connection = open_for_reading(&path).unwrap();
        // Nothing else that is done with a file that is up to date fails.
        prepare(&connection, Duration::ZERO).unwrap();
        let refusal = check_writable(&connection).unwrap_err();
        assert_eq!(refusal.sqlite_error_code(), Some(ErrorCode::ReadOnly));
        assert!(write_again(&connection).is_err());
        drop(connection);
        remove(&path);
    }
}
