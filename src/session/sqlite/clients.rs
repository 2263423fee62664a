//! Sessions of clients.

use std::num::NonZeroU32;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::rows::{PURGE, out_of_range, timestamp, user_id};
use super::store::SqliteStore;
use crate::session::client_session::ClientSession;
use crate::session::store::{
    CLOCK_TOLERANCE, ClientSessionCreated, ClientSessions, KEEP_EXPIRED, StoreFuture,
};

impl ClientSessions for SqliteStore {
    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        self.write("could not create a client session", move |connection| {
            create(connection, &session, max_active.get())
        })
    }

    fn client_session<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<ClientSession>> {
        let id = id.to_owned();
        Box::pin(
            self.read("could not read a client session", move |connection| get(connection, &id)),
        )
    }

    fn cancel_client_session<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<ClientSession>> {
        let id = id.to_owned();
        self.write("could not cancel a client session", move |connection| {
            cancel(connection, &id, now)
        })
    }
}

/// Keeps one, in two statements, of which the first may stay when the second fails: what it removed
/// was of no more use.
fn create(
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

fn get(connection: &Connection, id: &str) -> Result<Option<ClientSession>> {
    let sql = "SELECT id, user_id, created_at, expires_at, cancelled_at, requests_per_minute,
        details FROM client_session WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id], client_session).optional()
}

fn cancel(connection: &Connection, id: &str, now: Timestamp) -> Result<Option<ClientSession>> {
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
