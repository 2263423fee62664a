//! The statements, one function each. Times are microseconds, counts are at most [`MAX_COUNT`].
//!
//! Every function that writes does so in one statement at most (one that fails after a number was
//! taken leaves that number out) or in a savepoint, so it fails as a whole and leaves the transaction
//! it is in usable.

use std::num::NonZeroU64;

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::clients;
use super::quarantine;
use super::tally::Pending;
use crate::principal::UserId;
use crate::session::adoption::{self, Adopted, AdoptedThread, Adoption, AdoptionConflict};
use crate::session::quarantine::Found;
use crate::session::record::{
    ConversationId, LAST_NUMBER, MessageCount, NO_NUMBER, Ownership, SessionId, SessionRecord,
    ThreadId,
};
use crate::session::store::{
    BeginRun, Bound, Created, Deletion, Lease, NewConversation, NewSession, Owned,
};

/// A count stays here rather than overflow, by whatever an upstream makes it grow. That of an adopted
/// session stays below: from here on is what went by where nobody has counted.
const MAX_COUNT: i64 = 1 << 53;

/// How many entries are adopted until it is asked whether it is over: some milliseconds of them.
const ASK_EVERY: usize = 256;

/// What beginning a run needs to know of a row.
#[derive(Clone)]
pub(super) struct Head {
    /// The user who asks.
    pub(super) user_id: UserId,
    /// Whether it is theirs.
    pub(super) is_own: bool,
    pub(super) thread_id: Option<ThreadId>,
    pub(super) titled: bool,
    pub(super) message_count: MessageCount,
    /// When a lease was given, and its end if it was not given back.
    pub(super) leased_at: Option<i64>,
    pub(super) lease_until: Option<i64>,
    pub(super) is_quarantined: bool,
}

pub(super) fn get(connection: &Connection, id: SessionId) -> Result<Option<Found<SessionRecord>>> {
    let sql = "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count,
            adopted, conversation, quarantined_at
        FROM session WHERE id = ?1";
    let found = |row: &Row<'_>| found(row, 9, record);
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], found).optional()
}

pub(super) fn head(
    connection: &Connection,
    id: SessionId,
    user_id: &UserId,
) -> Result<Option<Head>> {
    let sql = "SELECT thread_id, message_count, adopted, lease_until, leased_at, quarantined_at,
            user_id, title IS NOT NULL
        FROM session WHERE id = ?1";
    let head = |row: &Row<'_>| {
        Ok(Head {
            user_id: user_id.clone(),
            is_own: row.get_ref(6)?.as_str()? == user_id.as_str(),
            thread_id: row.get(0)?,
            titled: row.get(7)?,
            message_count: message_count(row, 1)?,
            leased_at: row.get(4)?,
            lease_until: row.get(3)?,
            is_quarantined: !is_null(row, 5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], head).optional()
}

pub(super) fn ownership(
    connection: &Connection,
    id: SessionId,
) -> Result<Option<Found<Ownership>>> {
    let sql = "SELECT id, user_id, thread_id, quarantined_at
        FROM session WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], owned).optional()
}

pub(super) fn ownership_of_thread(
    connection: &Connection,
    thread_id: &str,
) -> Result<Option<Found<Ownership>>> {
    let sql = "SELECT id, user_id, thread_id, quarantined_at
        FROM session WHERE thread_id = ?1";
    connection.prepare_cached(sql)?.query_row([thread_id], owned).optional()
}

fn owned(row: &Row<'_>) -> Result<Found<Ownership>> {
    found(row, 3, |row| {
        Ok(Ownership { id: session_id(row, 0)?, user_id: user_id(row, 1)?, thread_id: row.get(2)? })
    })
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

pub(super) fn id_of_thread(connection: &Connection, thread_id: &str) -> Result<Option<SessionId>> {
    let sql = "SELECT id FROM session WHERE thread_id = ?1";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| session_id(row, 0)).optional()
}

pub(super) fn id_of_conversation(
    connection: &Connection,
    id: ConversationId,
) -> Result<Option<SessionId>> {
    let sql = "SELECT id FROM session WHERE conversation = ?1";
    connection.prepare_cached(sql)?.query_row([id.to_string()], |row| session_id(row, 0)).optional()
}

pub(super) fn create(
    connection: &Connection,
    session: &NewSession,
    max_sessions: Option<u32>,
) -> Result<Created> {
    let user_id = session.user_id.as_str();
    if let Some(max) = max_sessions {
        let sql = "SELECT count(*) FROM
            (SELECT 1 FROM session WHERE user_id = ?1 AND adopted = 0 AND quarantined_at IS NULL
                LIMIT ?2)";
        let has: u32 =
            connection.prepare_cached(sql)?.query_row(params![user_id, max], |row| row.get(0))?;
        if has >= max {
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
    let sql = "INSERT INTO session (id, user_id, title, created_at, updated_at, conversation)
        VALUES (?1, ?2, ?3, ?4, ?4, ?5)
        RETURNING id, user_id, thread_id, title, created_at, updated_at, message_count,
            adopted, conversation";
    let now = session.now.as_microsecond();
    connection
        .prepare_cached(sql)?
        .query_row(
            params![session.id.as_bytes(), user_id, session.title, now, conversation],
            record,
        )
        .map(Created::Session)
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

/// Adopts all of them, or none if a statement fails.
pub(super) fn adopt_all(connection: &Connection, entries: &[Adoption]) -> Result<Vec<Adopted>> {
    adopt_until(connection, entries, || false)
}

/// Adopts them, in their order, until it `is_over`, which is asked now and then and not before the
/// first ones are adopted; or none if a statement fails.
pub(super) fn adopt_until(
    connection: &Connection,
    entries: &[Adoption],
    is_over: impl FnMut() -> bool,
) -> Result<Vec<Adopted>> {
    whole(connection, || adopt_each(connection, entries, is_over))
}

fn adopt_each(
    connection: &Connection,
    entries: &[Adoption],
    mut is_over: impl FnMut() -> bool,
) -> Result<Vec<Adopted>> {
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut last = None;
    for (number, some) in entries.chunks(ASK_EVERY).enumerate() {
        if number > 0 && is_over() {
            break;
        }
        for entry in some {
            let outcome = adopt(connection, entry)?;
            if let (Adopted::Done, Adoption::Thread(thread)) = (outcome, entry)
                && let Some(ConversationId::Integer(number)) = thread.conversation()
            {
                last = last.max(Some(number));
            }
            outcomes.push(outcome);
        }
    }
    if let Some(last) = last {
        leave_behind(connection, last)?;
    }
    Ok(outcomes)
}

/// Adopts one thing; [`leave_behind`] has to follow.
fn adopt(connection: &Connection, entry: &Adoption) -> Result<Adopted> {
    match entry {
        Adoption::Attachment { attachment_id, user_id } => {
            let sql = "INSERT INTO attachment (id, user_id, adopted) SELECT ?1, ?2, 1
                WHERE NOT EXISTS
                    (SELECT 1 FROM deleted_adoption WHERE kind = 'attachment' AND id = ?1)
                ON CONFLICT DO NOTHING";
            let added =
                connection.prepare_cached(sql)?.execute([attachment_id, user_id.as_str()])?;
            if added > 0 {
                return Ok(Adopted::Done);
            }
            let owner = attachment_owner(connection, attachment_id)?;
            Ok(owner.map_or(Adopted::Deleted, |owner| adoption::of_attachment(&owner, user_id)))
        }
        Adoption::Thread(thread) => adopt_thread(connection, thread),
    }
}

fn adopt_thread(connection: &Connection, thread: &AdoptedThread) -> Result<Adopted> {
    let sql =
        "INSERT INTO session (id, user_id, thread_id, title, created_at, updated_at, bound_at,
            message_count, conversation, adopted)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?5, ?7, ?8, 1
        WHERE NOT EXISTS (SELECT 1 FROM deleted_adoption WHERE kind = 'thread' AND id = ?3)
            AND NOT EXISTS (SELECT 1 FROM deleted_thread WHERE thread_id = ?3)
            AND NOT EXISTS (SELECT 1 FROM quarantine WHERE thread_id = ?3)
        ON CONFLICT DO NOTHING";
    let added = connection.prepare_cached(sql)?.execute(params![
        thread.session_id().as_bytes(),
        thread.user_id.as_str(),
        thread.thread_id,
        thread.title,
        thread.created_at.as_microsecond(),
        thread.updated_at.as_microsecond(),
        MAX_COUNT,
        thread.conversation().map(|id| id.to_string()),
    ])?;
    if added > 0 {
        return Ok(Adopted::Done);
    }
    let known = match id_of_thread(connection, &thread.thread_id)? {
        Some(id) => get(connection, id)?,
        None if quarantine::has(connection, &thread.thread_id)? => {
            return Ok(Adopted::Conflict(AdoptionConflict::Quarantined));
        }
        None if is_deleted(connection, &thread.thread_id)? => return Ok(Adopted::Deleted),
        None => None,
    };
    Ok(known.map_or_else(|| thread.taken(), |session| thread.beside(&session)))
}

/// Tells whether a thread that no session has was one's.
fn is_deleted(connection: &Connection, thread_id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM deleted_adoption WHERE kind = 'thread' AND id = ?1)
        OR EXISTS (SELECT 1 FROM deleted_thread WHERE thread_id = ?1)";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| row.get(0))
}

/// Lets the sequence of conversations go on behind `number`, if it isn't there yet.
fn leave_behind(connection: &Connection, number: NonZeroU64) -> Result<()> {
    let sql = "UPDATE conversation_sequence SET last = ?1 WHERE last < ?1";
    let number = i64::try_from(number.get()).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute([number]).map(drop)
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

/// Gives the next lease of a session that is unbound and whose last one is over.
pub(super) fn lease(connection: &Connection, id: SessionId, begin: &BeginRun) -> Result<Lease> {
    let sql = "UPDATE session SET lease = lease + 1, lease_until = ?2, leased_at = ?3 WHERE id = ?1
        RETURNING lease";
    connection
        .prepare_cached(sql)?
        .query_row(params![id.as_bytes(), begin.lease_until(), begin.now.as_microsecond()], |row| {
            count(row, 0)
        })
        .map(Lease::new)
}

pub(super) fn bind(
    connection: &Connection,
    id: SessionId,
    user_id: UserId,
    lease: Lease,
    thread_id: &str,
    now: Timestamp,
) -> Result<Bound> {
    // First: what the upstream has done to the thread it has done, whoever holds the lease.
    if let Some(reuse) = quarantine::reuse(connection, id, user_id, thread_id, now)? {
        return Ok(Bound::ThreadReused(reuse));
    }
    let sql = "SELECT lease FROM session WHERE id = ?1 AND lease_until IS NOT NULL";
    let held = connection
        .prepare_cached(sql)?
        .query_row([id.as_bytes()], |row| count(row, 0))
        .optional()?;
    if held != Some(lease.number()) {
        return Ok(Bound::LeaseLost);
    }
    let sql = "UPDATE session SET thread_id = ?2, updated_at = max(updated_at, ?3), bound_at = ?3,
        lease_until = NULL WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        id.as_bytes(),
        thread_id,
        now.as_microsecond()
    ])?;
    Ok(Bound::Done)
}

/// Writes what settled runs left, and says what the row's count is now; none if there is no
/// such session.
pub(super) fn settle(
    connection: &Connection,
    id: SessionId,
    pending: &Pending,
) -> Result<Option<MessageCount>> {
    let sql = "UPDATE session SET
            message_count = min(message_count + ?2,
                iif(adopted, iif(message_count < ?7, ?7 - 1, ?7 + ?7), ?7)),
            title = iif(?3, ?4, title),
            updated_at = max(updated_at, ifnull(?5, updated_at)),
            lease_until = iif(lease = ?6, NULL, lease_until)
        WHERE id = ?1 RETURNING message_count, adopted";
    let Pending { messages, title, touched_at, lease, discard_unbound } = pending;
    let values = params![
        id.as_bytes(),
        stored_count(*messages),
        title.is_some(),
        title.as_ref().and_then(Option::as_ref),
        touched_at.map(Timestamp::as_microsecond),
        lease.and_then(|lease| i64::try_from(lease.number()).ok()),
        MAX_COUNT,
    ];
    let count = connection
        .prepare_cached(sql)?
        .query_row(values, |row| message_count(row, 0))
        .optional()?;
    if *discard_unbound {
        let sql = "DELETE FROM session WHERE id = ?1 AND thread_id IS NULL";
        if connection.prepare_cached(sql)?.execute([id.as_bytes()])? > 0 {
            return Ok(None);
        }
    }
    Ok(count)
}

/// Sets the count, and gives it as it was stored; none if there is no such session.
pub(super) fn set_message_count(
    connection: &Connection,
    id: SessionId,
    seen: MessageCount,
    messages: u64,
) -> Result<Option<MessageCount>> {
    let sql = "UPDATE session SET message_count = iif(adopted, min(?3, ?4 - 1), ?3)
        WHERE id = ?1 AND message_count = ?2 RETURNING message_count, adopted";
    let seen = match seen {
        MessageCount::AtLeast(by) => stored_count(by).saturating_add(MAX_COUNT),
        MessageCount::Known(messages) => stored_count(messages),
    };
    let values = params![id.as_bytes(), seen, stored_count(messages), MAX_COUNT];
    connection.prepare_cached(sql)?.query_row(values, |row| message_count(row, 0)).optional()
}

/// Deletes it, in several statements, of which the first may stay when a later one fails: what they
/// removed was of no more use, and the place of a thread that is still there is not asked for.
pub(super) fn delete(connection: &Connection, id: SessionId, now: Timestamp) -> Result<Deletion> {
    clients::keep_place(connection, id, now)?;
    let sql = "DELETE FROM session WHERE id = ?1 AND quarantined_at IS NULL";
    if connection.prepare_cached(sql)?.execute([id.as_bytes()])? > 0 {
        return Ok(Deletion::Done);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM session WHERE id = ?1)";
    let stays = connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0))?;
    Ok(if stays { Deletion::Quarantined } else { Deletion::Unknown })
}

pub(super) fn own_attachment(
    connection: &Connection,
    user_id: &UserId,
    attachment_id: &str,
) -> Result<Owned> {
    let Some(owner) = attachment_owner(connection, attachment_id)? else {
        let sql = "INSERT INTO attachment (id, user_id) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute([attachment_id, user_id.as_str()])?;
        return Ok(Owned::Done);
    };
    Ok(if owner == *user_id { Owned::Done } else { Owned::Taken })
}

pub(super) fn attachment_owner(
    connection: &Connection,
    attachment_id: &str,
) -> Result<Option<UserId>> {
    let sql = "SELECT user_id FROM attachment WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([attachment_id], |row| user_id(row, 0)).optional()
}

pub(super) fn attachment_owners(
    connection: &Connection,
    attachment_ids: &[String],
) -> Result<Vec<Option<UserId>>> {
    attachment_ids.iter().map(|id| attachment_owner(connection, id)).collect()
}

pub(super) fn disown_attachment(connection: &Connection, attachment_id: &str) -> Result<bool> {
    let sql = "DELETE FROM attachment WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([attachment_id]).map(|rows| rows > 0)
}

/// Reads of each table, by the names of its columns, what comes first.
pub(super) fn read_each_table(connection: &Connection) -> Result<()> {
    const FIRST: [&str; 9] = [
        "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count, lease,
            lease_until, leased_at, bound_at, conversation, adopted, quarantined_at
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

fn is_null(row: &Row<'_>, column: usize) -> Result<bool> {
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

fn stored_count(messages: u64) -> i64 {
    i64::try_from(messages).unwrap_or(MAX_COUNT).min(MAX_COUNT)
}
