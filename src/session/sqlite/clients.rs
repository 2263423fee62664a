//! The statements for the OpenAI-compatible API: pages of threads, client sessions, their key.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::rows::{out_of_range, record, timestamp, user_id};
use crate::session::client_session::ClientSession;
use crate::session::record::{SessionId, SessionRecord};
use crate::session::store::{KEEP_EXPIRED, ThreadsPage};

/// How many expired client sessions go when one is made: more than one, so that they don't pile
/// up, and not so many that making one takes long.
const PURGE: u32 = 64;

pub(super) fn threads(connection: &Connection, page: &ThreadsPage) -> Result<Vec<SessionRecord>> {
    let mut sql = "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count,
            conversation
        FROM session WHERE bound_at IS NOT NULL"
        .to_owned();
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let (mut user, mut places) = (None, Vec::new());
    if let Some(user_id) = &page.user_id {
        user = Some(user_id.as_str());
    }
    let (after, until) = if page.ascending { (">", "<") } else { ("<", ">") };
    for (cursor, side) in [(page.after, after), (page.until, until)] {
        let Some(id) = cursor else { continue };
        let Some(bound_at) = bound_at(connection, id)? else { return Ok(Vec::new()) };
        places.push((side, bound_at, *id.as_bytes()));
    }
    // Writing to a `String` does not fail. There are few of these texts, and all are cached.
    if let Some(user) = &user {
        values.push(user);
        let _ = write!(sql, " AND user_id = ?{}", values.len());
    }
    for (side, bound_at, id) in &places {
        values.push(bound_at);
        values.push(id);
        let _ =
            write!(sql, " AND (bound_at, id) {side} (?{}, ?{})", values.len() - 1, values.len());
    }
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    values.push(&limit);
    let order = if page.ascending { "ASC" } else { "DESC" };
    let _ = write!(sql, " ORDER BY bound_at {order}, id {order} LIMIT ?{}", values.len());
    connection.prepare_cached(&sql)?.query_map(&*values, record)?.collect()
}

fn bound_at(connection: &Connection, id: SessionId) -> Result<Option<i64>> {
    let sql = "SELECT bound_at FROM session WHERE id = ?1 AND bound_at IS NOT NULL";
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional()
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

/// Two statements, of which the first may stay when the second fails: what it removed was of no
/// more use.
pub(super) fn create(connection: &Connection, session: &ClientSession) -> Result<()> {
    if let Ok(gone) = session.created_at.checked_sub(KEEP_EXPIRED) {
        let sql = "DELETE FROM client_session WHERE id IN
            (SELECT id FROM client_session WHERE expires_at < ?1 LIMIT ?2)";
        connection.prepare_cached(sql)?.execute(params![gone.as_microsecond(), PURGE])?;
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
        .map(drop)
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
