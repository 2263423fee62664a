//! The file: whether it is ours, how it is opened, copied and removed, and the log beside it.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::migrations::{self, VERSION};
use crate::error::Error;

/// Marks the file as ours in its header (`CkRs`).
const APPLICATION_ID: i32 = 0x436b_5273;

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
    let (connection, version) = open_known(path, busy_timeout)?;
    if version < VERSION {
        let refusal = format!(
            "its version is {version}: a newer gateway, which knows {VERSION}, has to open it first, or \
             chatkit-rest migrate"
        );
        let failed = format!("could not use the session store {}", path.display());
        return Err(Error::store(failed, refusal));
    }
    Ok(connection)
}

/// Gives the version of the file, which is only read.
///
/// # Errors
/// As [`open_current`], but for an older version.
pub(super) fn version(path: &Path, busy_timeout: Duration) -> Result<u32, Error> {
    open_known(path, busy_timeout).map(|(_, version)| version)
}

fn open_known(path: &Path, busy_timeout: Duration) -> Result<(Connection, u32), Error> {
    let failed = |what: &str| format!("could not {what} the session store {}", path.display());
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy_timeout)
        .map_err(|error| Error::store(failed("open"), error))?;
    let read_failed = |error| Error::store(failed("read"), error);
    check_ownership(&connection)
        .map_err(read_failed)?
        .map_err(|refusal| Error::store(failed("use"), refusal))?;
    let version: u32 = pragma(&connection, "user_version").map_err(read_failed)?;
    Ok((connection, version))
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
    migrations::run_from(&transaction, version)?;
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
