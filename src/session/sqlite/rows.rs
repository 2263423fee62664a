//! The statements, one function each. Times are microseconds, counts are at most [`MAX_COUNT`].
//!
//! Every function that writes does so in one statement at most (one that fails after a number was
//! taken leaves that number out) or in a savepoint, so it fails as a whole and leaves the transaction
//! it is in usable.

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::directory::keep_place;
use super::runs::{self, Lease};
use crate::principal::UserId;
use crate::session::quarantine::Found;
use crate::session::record::{
    ConversationId, LAST_NUMBER, MessageCount, NO_NUMBER, Ownership, SessionId, SessionRecord,
    ThreadId,
};
use crate::session::store::{BeginRun, Created, Deletion, NewConversation, NewSession, SessionKey};

/// A count stays here rather than overflow, by whatever an upstream makes it grow. That of an adopted
/// session stays below: from here on is what went by where nobody has counted.
pub(super) const MAX_COUNT: i64 = 1 << 53;

/// How many rows go that are of no more use when one is made or removed: more than one, so that they
/// don't pile up, and not so many that it takes long.
pub(super) const PURGE: u32 = 64;

pub(super) fn get(connection: &Connection, id: SessionId) -> Result<Option<Found<SessionRecord>>> {
    let sql = "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count,
            adopted, conversation, quarantined_at
        FROM session WHERE id = ?1";
    let found = |row: &Row<'_>| found(row, 9, record);
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], found).optional()
}

pub(super) fn ownership(
    connection: &Connection,
    session: SessionKey<'_>,
) -> Result<Option<Found<Ownership>>> {
    let owned = |row: &Row<'_>| {
        found(row, 3, |row| {
            let (id, user_id) = (session_id(row, 0)?, user_id(row, 1)?);
            Ok(Ownership { id, user_id, thread_id: row.get(2)? })
        })
    };
    let found = match session {
        SessionKey::Conversation(id) => {
            let sql = "SELECT id, user_id, thread_id, quarantined_at
                FROM session WHERE conversation = ?1";
            connection.prepare_cached(sql)?.query_row([id.to_string()], owned)
        }
        SessionKey::Id(id) => {
            let sql = "SELECT id, user_id, thread_id, quarantined_at FROM session WHERE id = ?1";
            connection.prepare_cached(sql)?.query_row([id.as_bytes()], owned)
        }
        SessionKey::Thread(thread_id) => {
            let sql = "SELECT id, user_id, thread_id, quarantined_at
                FROM session WHERE thread_id = ?1";
            connection.prepare_cached(sql)?.query_row([thread_id], owned)
        }
    };
    found.optional()
}

/// Reads what a row says of a session whose id and owner are its first columns, and whose mark is
/// in column `mark`.
fn found<T>(
    row: &Row<'_>,
    mark: usize,
    open: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Found<T>> {
    if is_null(row, mark)? {
        return open(row).map(Found::Open);
    }
    Ok(Found::Quarantined { id: session_id(row, 0)?, user_id: user_id(row, 1)? })
}

/// Gives the id of the session of that name; that of an id is itself, whether or not it is there.
pub(super) fn id(connection: &Connection, session: SessionKey<'_>) -> Result<Option<SessionId>> {
    match session {
        SessionKey::Conversation(id) => id_of_conversation(connection, id),
        SessionKey::Id(id) => Ok(Some(id)),
        SessionKey::Thread(thread_id) => id_of_thread(connection, thread_id),
    }
}

pub(super) fn id_of_thread(connection: &Connection, thread_id: &str) -> Result<Option<SessionId>> {
    let sql = "SELECT id FROM session WHERE thread_id = ?1";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| session_id(row, 0)).optional()
}

fn id_of_conversation(connection: &Connection, id: ConversationId) -> Result<Option<SessionId>> {
    let sql = "SELECT id FROM session WHERE conversation = ?1";
    connection.prepare_cached(sql)?.query_row([id.to_string()], |row| session_id(row, 0)).optional()
}

/// Creates a session. Where there is no room, those go before that were made for runs that `has_gone`
/// says nobody has any more; they stay away if this fails.
pub(super) fn create(
    connection: &Connection,
    session: &NewSession,
    max_sessions: Option<u32>,
    has_gone: impl Fn(SessionId, &Lease) -> bool,
) -> Result<Created> {
    let user_id = session.user_id.as_str();
    if let Some(max) = max_sessions {
        let sql = "SELECT count(*) FROM
            (SELECT 1 FROM session WHERE user_id = ?1 AND adopted = 0 AND quarantined_at IS NULL
                LIMIT ?2)";
        let is_full = || {
            let has =
                connection.prepare_cached(sql)?.query_row(params![user_id, max], |row| row.get(0));
            has.map(|has: u32| has >= max)
        };
        if is_full()? && (!remove_left(connection, session, has_gone)? || is_full()?) {
            return Ok(Created::LimitReached);
        }
    }
    let conversation = match session.conversation {
        None => None,
        Some(NewConversation::Conv(bits)) => {
            let id = ConversationId::Conv(bits);
            if id_of_conversation(connection, id)?.is_some() {
                return Ok(Created::ConversationTaken);
            }
            Some(id.to_string())
        }
        // If the session can't be added after all, its number is left out.
        Some(NewConversation::Next) => Some(next_number(connection)?.to_string()),
    };
    let sql = "INSERT INTO session (id, user_id, title, created_at, updated_at, conversation,
            lease, lease_until, leased_at, lease_run, made_for_run)
        VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6 IS NOT NULL, ?6, ?7, ?8, ?6 IS NOT NULL)
        RETURNING id, user_id, thread_id, title, created_at, updated_at, message_count,
            adopted, conversation";
    let (now, run) = (session.now.as_microsecond(), session.first_run.as_ref());
    let values = params![
        session.id.as_bytes(),
        user_id,
        session.title,
        now,
        conversation,
        run.map(BeginRun::lease_until),
        run.map(|begin| begin.now.as_microsecond()),
        run.map(|begin| begin.run.as_bytes()),
    ];
    connection.prepare_cached(sql)?.query_row(values, record).map(Created::Session)
}

/// Removes some of the sessions of a new one's user that were made for runs that have gone, and tells
/// whether there were any.
fn remove_left(
    connection: &Connection,
    session: &NewSession,
    has_gone: impl Fn(SessionId, &Lease) -> bool,
) -> Result<bool> {
    // One that was settled, or that an older program took over, has no run's lease any more.
    let sql = "SELECT id, lease_until, leased_at, lease_run FROM session
        WHERE user_id = ?1 AND adopted = 0 AND quarantined_at IS NULL AND made_for_run
            AND thread_id IS NULL AND lease_until IS NOT NULL AND lease_run IS NOT NULL
        ORDER BY leased_at LIMIT ?2";
    let made_for_runs: Vec<_> = connection
        .prepare_cached(sql)?
        .query_map(params![session.user_id.as_str(), PURGE], |row| {
            Ok((session_id(row, 0)?, runs::lease(row, 1)?))
        })?
        .collect::<Result<_>>()?;
    let mut has_removed = false;
    for (id, lease) in made_for_runs {
        if lease.is_some_and(|lease| has_gone(id, &lease)) {
            remove(connection, id, session.now)?;
            has_removed = true;
        }
    }
    Ok(has_removed)
}

/// Does all of it, or nothing if a statement fails.
pub(super) fn whole<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Within the transaction of the batch, in which others' calls are too.
    connection.execute_batch("SAVEPOINT whole")?;
    let outcome = work();
    if outcome.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK TO whole")?;
    }
    if !connection.is_autocommit() {
        connection.execute_batch("RELEASE whole")?;
    }
    outcome
}

/// Takes the next number of conversations. It stays taken, whatever becomes of the session.
fn next_number(connection: &Connection) -> Result<u64> {
    let sql = "UPDATE conversation_sequence SET last = last + 1 WHERE last < ?1 RETURNING last";
    let last = i64::try_from(LAST_NUMBER).unwrap_or(i64::MAX);
    let next = connection.prepare_cached(sql)?.query_row([last], |row| count(row, 0));
    next.optional()?.ok_or_else(|| {
        let problem = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        rusqlite::Error::SqliteFailure(problem, Some(NO_NUMBER.to_owned()))
    })
}

pub(super) fn set_title(
    connection: &Connection,
    id: SessionId,
    title: Option<&str>,
    now: Timestamp,
) -> Result<Option<SessionRecord>> {
    // Without `RETURNING`, for which SQLite makes a table each time: to read the row is half as much.
    let sql = "UPDATE session SET title = ?2, updated_at = max(updated_at, ?3)
        WHERE id = ?1 AND quarantined_at IS NULL";
    let set = params![id.as_bytes(), title, now.as_microsecond()];
    if connection.prepare_cached(sql)?.execute(set)? == 0 {
        return Ok(None);
    }
    Ok(get(connection, id)?.and_then(Found::open))
}

/// Deletes a session as it is to be: bound to that thread, or, if none is given, unbound with no
/// lease that `is_held`.
pub(super) fn delete(
    connection: &Connection,
    id: SessionId,
    thread_id: Option<&str>,
    now: Timestamp,
    is_held: impl FnOnce(&Lease) -> bool,
) -> Result<Deletion> {
    let sql = "SELECT thread_id, quarantined_at, lease_until, leased_at, lease_run
        FROM session WHERE id = ?1";
    let found = |row: &Row<'_>| Ok((row.get(0)?, !is_null(row, 1)?, runs::lease(row, 2)?));
    let found = connection.prepare_cached(sql)?.query_row([id.as_bytes()], found).optional()?;
    let Some((bound, is_quarantined, lease)): Option<(Option<ThreadId>, _, _)> = found else {
        return Ok(Deletion::Unknown);
    };
    if is_quarantined {
        return Ok(Deletion::Quarantined);
    }
    match (bound, thread_id) {
        (Some(bound), Some(thread_id)) if *bound == *thread_id => {}
        (Some(bound), _) => return Ok(Deletion::Bound(bound)),
        (None, Some(_)) => return Ok(Deletion::Unknown),
        (None, None) if lease.as_ref().is_some_and(is_held) => return Ok(Deletion::Busy),
        (None, None) => {}
    }
    remove(connection, id, now)?;
    Ok(Deletion::Done)
}

/// Removes a session, in several statements, of which the first may stay when a later one fails: what
/// they removed was of no more use, and the place of a thread that is still there is not asked for.
pub(super) fn remove(connection: &Connection, id: SessionId, now: Timestamp) -> Result<()> {
    keep_place(connection, id, now)?;
    let sql = "DELETE FROM session WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([id.as_bytes()]).map(drop)
}

/// Reads of each table, by the names of its columns, what comes first.
pub(super) fn read_each_table(connection: &Connection) -> Result<()> {
    const FIRST: [&str; 12] = [
        "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count, lease,
            lease_until, leased_at, lease_run, made_for_run, bound_at, conversation, adopted,
            quarantined_at
            FROM session NOT INDEXED LIMIT 1",
        "SELECT id, user_id, adopted FROM attachment NOT INDEXED LIMIT 1",
        "SELECT thread_id, session_id, bound_at, deleted_at FROM deleted_thread
            NOT INDEXED LIMIT 1",
        "SELECT kind, id FROM deleted_adoption NOT INDEXED LIMIT 1",
        "SELECT thread_id, since, times, session_id, user_id, more_others
            FROM quarantine NOT INDEXED LIMIT 1",
        "SELECT thread_id, user_id, session_id, since FROM quarantine_other NOT INDEXED LIMIT 1",
        "SELECT last FROM conversation_sequence LIMIT 1",
        "SELECT id, user_id, created_at, expires_at, cancelled_at, requests_per_minute, details
            FROM client_session NOT INDEXED LIMIT 1",
        "SELECT length(key) FROM signing_key LIMIT 1",
        "SELECT key, ledger, over_at FROM allowance NOT INDEXED LIMIT 1",
        "SELECT user_id, since, reason FROM blocked_user NOT INDEXED LIMIT 1",
        "SELECT version FROM block_version LIMIT 1",
    ];
    for sql in FIRST {
        connection.query_row(sql, (), |_| Ok(())).optional()?;
    }
    Ok(())
}

pub(super) fn record(row: &Row<'_>) -> Result<SessionRecord> {
    Ok(SessionRecord {
        id: session_id(row, 0)?,
        user_id: user_id(row, 1)?,
        thread_id: row.get(2)?,
        title: row.get(3)?,
        created_at: timestamp(row, 4)?,
        updated_at: timestamp(row, 5)?,
        message_count: message_count(row, 6)?,
        conversation: conversation(row, 8)?,
    })
}

pub(super) fn session_id(row: &Row<'_>, column: usize) -> Result<SessionId> {
    row.get(column).map(SessionId::from_bytes)
}

pub(super) fn conversation(row: &Row<'_>, column: usize) -> Result<Option<ConversationId>> {
    let text: Option<String> = row.get(column)?;
    let parse = |text: String| {
        ConversationId::parse(&text).ok_or_else(|| {
            let problem = "not a conversation's id".into();
            rusqlite::Error::FromSqlConversionFailure(column, Type::Text, problem)
        })
    };
    text.map(parse).transpose()
}

pub(super) fn user_id(row: &Row<'_>, column: usize) -> Result<UserId> {
    UserId::parse(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    let microseconds: i64 = row.get(column)?;
    Timestamp::from_microsecond(microseconds).map_err(|_| out_of_range(column, microseconds))
}

pub(super) fn is_null(row: &Row<'_>, column: usize) -> Result<bool> {
    Ok(row.get_ref(column)? == ValueRef::Null)
}

/// Reads a count in `column`, and in the one behind it whether the session was adopted.
pub(super) fn message_count(row: &Row<'_>, column: usize) -> Result<MessageCount> {
    let stored: i64 = row.get(column)?;
    let adopted: bool = row.get(column + 1)?;
    if adopted && stored >= MAX_COUNT {
        return Ok(MessageCount::AtLeast(stored.abs_diff(MAX_COUNT)));
    }
    count(row, column).map(MessageCount::Known)
}

pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|_| out_of_range(column, count))
}

pub(super) fn out_of_range(column: usize, value: i64) -> rusqlite::Error {
    let error = FromSqlError::OutOfRange(value);
    rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into())
}

pub(super) fn stored_count(messages: u64) -> i64 {
    i64::try_from(messages).unwrap_or(MAX_COUNT).min(MAX_COUNT)
}
