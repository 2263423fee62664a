//! The statements for the OpenAI-compatible API: places of threads, client sessions, their key.

use std::num::NonZeroU32;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::rows::{out_of_range, session_id, timestamp, user_id};
use crate::session::client_session::ClientSession;
use crate::session::pages::ThreadPlace;
use crate::session::record::SessionId;
use crate::session::store::{CLOCK_TOLERANCE, ClientSessionCreated, KEEP_EXPIRED, KEEP_PLACE};

/// How many expired client sessions go when one is made, and how many places of deleted threads
/// when one is kept: more than one, so that they don't pile up, and not so many that it takes long.
const PURGE: u32 = 64;

/// Gives that of the session which has the thread, if one has; else that of the one which had it.
pub(super) fn place_of_thread(
    connection: &Connection,
    thread_id: &str,
) -> Result<Option<ThreadPlace>> {
    let sql = "SELECT bound_at, id, 0 FROM session WHERE thread_id = ?1 AND bound_at IS NOT NULL
        UNION ALL SELECT bound_at, session_id, 1 FROM deleted_thread WHERE thread_id = ?1
        ORDER BY 3 LIMIT 1";
    let place =
        |row: &Row<'_>| Ok(ThreadPlace { bound_at: timestamp(row, 0)?, id: session_id(row, 1)? });
    connection.prepare_cached(sql)?.query_row([thread_id], place).optional()
}

/// Keeps the place of a session's thread, if it has one, and forgets some that are old.
pub(super) fn keep_place(connection: &Connection, id: SessionId, now: Timestamp) -> Result<()> {
    if let Ok(gone) = now.checked_sub(KEEP_PLACE) {
        let sql = "DELETE FROM deleted_thread WHERE thread_id IN
            (SELECT thread_id FROM deleted_thread WHERE deleted_at < ?1 LIMIT ?2)";
        connection.prepare_cached(sql)?.execute(params![gone.as_microsecond(), PURGE])?;
    }
    // A server that was set up anew may use an id again: the last place counts.
    let sql = "INSERT OR REPLACE INTO deleted_thread (thread_id, session_id, bound_at, deleted_at)
        SELECT thread_id, id, bound_at, ?2 FROM session
        WHERE id = ?1 AND bound_at IS NOT NULL AND quarantined_at IS NULL";
    connection.prepare_cached(sql)?.execute(params![id.as_bytes(), now.as_microsecond()]).map(drop)
}

pub(super) fn signing_key(connection: &Connection) -> Result<Option<[u8; 32]>> {
    connection.query_row("SELECT key FROM signing_key", (), |row| row.get(0)).optional()
}

/// Keeps `fresh` unless somebody was faster, and gives what is kept.
pub(super) fn keep_signing_key(connection: &Connection, fresh: &[u8; 32]) -> Result<[u8; 32]> {
    let sql = "INSERT INTO signing_key (id, key) VALUES (1, ?1) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute([fresh])?;
    connection.query_row("SELECT key FROM signing_key", (), |row| row.get(0))
}

/// Keeps one, in two statements, of which the first may stay when the second fails: what it removed
/// was of no more use.
pub(super) fn create(
    connection: &Connection,
    session: &ClientSession,
    max_active: u32,
) -> Result<ClientSessionCreated> {
    if let Ok(gone) = session.created_at.checked_sub(KEEP_EXPIRED) {
        let sql = "DELETE FROM client_session WHERE id IN
            (SELECT id FROM client_session WHERE expires_at < ?1 LIMIT ?2)";
        connection.prepare_cached(sql)?.execute(params![gone.as_microsecond(), PURGE])?;
    }
    let sql = "SELECT count(*) FROM (SELECT 1 FROM client_session
        WHERE user_id = ?1 AND expires_at > ?2 AND created_at <= ?4 AND cancelled_at IS NULL
        LIMIT ?3)";
    let active: u32 = connection.prepare_cached(sql)?.query_row(
        params![
            session.user_id.as_str(),
            session.created_at.as_microsecond(),
            max_active,
            latest(session.created_at)
        ],
        |row| row.get(0),
    )?;
    if active >= max_active {
        return Ok(ClientSessionCreated::LimitReached);
    }
    let sql = "INSERT INTO client_session
        (id, user_id, created_at, expires_at, requests_per_minute, details)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let ClientSession { id, user_id, created_at, expires_at, details, .. } = session;
    connection
        .prepare_cached(sql)?
        .execute(params![
            id,
            user_id.as_str(),
            created_at.as_microsecond(),
            expires_at.as_microsecond(),
            session.requests_per_minute.get(),
            details,
        ])
        .map(|_| ClientSessionCreated::Done)
}

pub(super) fn get(connection: &Connection, id: &str) -> Result<Option<ClientSession>> {
    let sql = "SELECT id, user_id, created_at, expires_at, cancelled_at, requests_per_minute,
        details FROM client_session WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id], client_session).optional()
}

pub(super) fn cancel(
    connection: &Connection,
    id: &str,
    now: Timestamp,
) -> Result<Option<ClientSession>> {
    let sql = "UPDATE client_session SET cancelled_at = ?2
        WHERE id = ?1 AND cancelled_at IS NULL AND expires_at > ?2";
    connection.prepare_cached(sql)?.execute(params![id, now.as_microsecond()])?;
    get(connection, id)
}

/// Gives the latest time of one that has begun: what was created later has not begun, and is over
/// ([`ClientSession::status`]).
fn latest(now: Timestamp) -> i64 {
    now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX).as_microsecond()
}

fn client_session(row: &Row<'_>) -> Result<ClientSession> {
    let requests: u32 = row.get(5)?;
    let cancelled: Option<i64> = row.get(4)?;
    Ok(ClientSession {
        id: row.get(0)?,
        user_id: user_id(row, 1)?,
        created_at: timestamp(row, 2)?,
        expires_at: timestamp(row, 3)?,
        cancelled_at: cancelled.map(|_| timestamp(row, 4)).transpose()?,
        requests_per_minute: NonZeroU32::new(requests).ok_or_else(|| out_of_range(5, 0))?,
        details: row.get(6)?,
    })
}
