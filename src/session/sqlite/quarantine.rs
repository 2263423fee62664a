//! The statements about threads in quarantine.
//!
//! `quarantine` has a row for each, `quarantine_other` one for each other user it was given to, and the
//! row of its session, while there is one, has a `quarantined_at`: all are written in one transaction.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::rows::{self, count, session_id, timestamp, user_id};
use crate::principal::UserId;
use crate::session::quarantine::{
    MAX_COUNTED, MAX_OTHERS, Newcomer, QuarantinedThread, Released, Reuse,
};
use crate::session::record::{SessionId, ThreadId};

/// Tells what it means that the upstream names that thread in a run of session `id`, which is or
/// was `other`'s; `None` if it is no other session's. That of another user goes into quarantine.
pub(super) fn reuse(
    connection: &Connection,
    id: SessionId,
    other: UserId,
    thread_id: &str,
    now: Timestamp,
) -> Result<Option<Reuse>> {
    let sql = "SELECT id, user_id, quarantined_at IS NOT NULL FROM session WHERE thread_id = ?1
        UNION ALL SELECT session_id, user_id, 1 FROM quarantine WHERE thread_id = ?1 LIMIT 1";
    let owner = |row: &Row<'_>| Ok((session_id(row, 0)?, user_id(row, 1)?, row.get(2)?));
    let owner = connection.prepare_cached(sql)?.query_row([thread_id], owner).optional()?;
    let Some((owner_session, owner, is_quarantined)): Option<(_, _, bool)> = owner else {
        return Ok(None);
    };
    if owner_session == id {
        return Ok(None);
    }
    if other == owner && !is_quarantined {
        return Ok(Some(Reuse { owner_session, owner, other, quarantined: None }));
    }
    let quarantined = rows::whole(connection, || {
        let sql = "INSERT INTO quarantine
                (thread_id, since, times, session_id, user_id, more_others)
            VALUES (?1, ?2, 1, ?3, ?4, 0) ON CONFLICT DO UPDATE SET times = times + 1";
        connection.prepare_cached(sql)?.execute(params![
            thread_id,
            now.as_microsecond(),
            owner_session.as_bytes(),
            owner.as_str(),
        ])?;
        if other != owner {
            keep_other(connection, id, &other, thread_id, now)?;
        }
        let sql = "UPDATE session SET quarantined_at = ?2
            WHERE thread_id = ?1 AND quarantined_at IS NULL";
        connection.prepare_cached(sql)?.execute(params![thread_id, now.as_microsecond()])?;
        let sql = "SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT ?1)";
        connection.prepare_cached(sql)?.query_row([MAX_COUNTED], |row| count(row, 0))
    })?;
    Ok(Some(Reuse { owner_session, owner, other, quarantined: Some(quarantined) }))
}

/// Keeps who was given a thread's id, once and as long as there is room; counts who isn't kept.
fn keep_other(
    connection: &Connection,
    id: SessionId,
    other: &UserId,
    thread_id: &str,
    now: Timestamp,
) -> Result<()> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM quarantine_other WHERE thread_id = ?1 AND user_id = ?2)";
    let ids = [thread_id, other.as_str()];
    if connection.prepare_cached(sql)?.query_row(ids, |row| row.get(0))? {
        return Ok(());
    }
    let sql = "INSERT INTO quarantine_other (thread_id, user_id, session_id, since)
        SELECT ?1, ?2, ?3, ?4
        WHERE (SELECT count(*) FROM quarantine_other WHERE thread_id = ?1) < ?5";
    let kept = connection.prepare_cached(sql)?.execute(params![
        thread_id,
        other.as_str(),
        id.as_bytes(),
        now.as_microsecond(),
        i64::try_from(MAX_OTHERS).unwrap_or(i64::MAX),
    ])?;
    if kept == 0 {
        let sql = "UPDATE quarantine SET more_others = more_others + 1 WHERE thread_id = ?1";
        connection.prepare_cached(sql)?.execute([thread_id])?;
    }
    Ok(())
}

/// Tells whether a thread's id is in quarantine.
pub(super) fn has(connection: &Connection, thread_id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE thread_id = ?1)";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| row.get(0))
}

pub(super) fn list(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<QuarantinedThread>> {
    let sql = "SELECT thread_id, since, times, session_id, user_id, more_others,
            NOT EXISTS (SELECT 1 FROM session WHERE session.thread_id = quarantine.thread_id)
        FROM quarantine WHERE ?1 IS NULL OR thread_id > ?1 ORDER BY thread_id LIMIT ?2";
    let thread = |row: &Row<'_>| {
        let thread_id: ThreadId = row.get(0)?;
        Ok(QuarantinedThread {
            others: others(connection, &thread_id)?,
            thread_id,
            since: timestamp(row, 1)?,
            times: count(row, 2)?,
            owner_session: session_id(row, 3)?,
            owner: user_id(row, 4)?,
            more_others: count(row, 5)?,
            is_deleted: row.get(6)?,
        })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.query_map(params![after, limit], thread)?.collect()
}

fn others(connection: &Connection, thread_id: &str) -> Result<Vec<Newcomer>> {
    let sql = "SELECT user_id, session_id, since FROM quarantine_other WHERE thread_id = ?1
        ORDER BY since, user_id";
    let other = |row: &Row<'_>| {
        let (user_id, session_id) = (user_id(row, 0)?, session_id(row, 1)?);
        Ok(Newcomer { user_id, session_id, since: timestamp(row, 2)? })
    };
    connection.prepare_cached(sql)?.query_map([thread_id], other)?.collect()
}

pub(super) fn release(connection: &Connection, thread_id: &str) -> Result<Released> {
    rows::whole(connection, || {
        let sql = "DELETE FROM quarantine WHERE thread_id = ?1";
        if connection.prepare_cached(sql)?.execute([thread_id])? == 0 {
            return Ok(Released::Unknown);
        }
        let sql = "DELETE FROM quarantine_other WHERE thread_id = ?1";
        connection.prepare_cached(sql)?.execute([thread_id])?;
        Ok(match open(connection, thread_id)? {
            Some(_) => Released::ToOwner,
            None => Released::Id,
        })
    })
}

pub(super) fn delete(connection: &Connection, thread_id: &str, now: Timestamp) -> Result<bool> {
    rows::whole(connection, || match open(connection, thread_id)? {
        Some(id) => rows::remove(connection, id, now).map(|()| true),
        None => Ok(false),
    })
}

/// Takes the mark from the thread's session, if it has one that is marked.
fn open(connection: &Connection, thread_id: &str) -> Result<Option<SessionId>> {
    let sql = "UPDATE session SET quarantined_at = NULL
        WHERE thread_id = ?1 AND quarantined_at IS NOT NULL RETURNING id";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| session_id(row, 0)).optional()
}
