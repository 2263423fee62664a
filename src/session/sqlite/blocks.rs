//! The statements about users who are shut out. `block_version` changes with each of them.

use rusqlite::{Connection, Result, Row, params};

use super::rows::{self, timestamp, user_id};
use crate::principal::UserId;
use crate::session::blocks::{Blocked, BlockedUser, BlocksVersion, MAX_BLOCKED_USERS};

pub(super) fn block(connection: &Connection, block: &BlockedUser) -> Result<Blocked> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE user_id = ?1) FROM blocked_user";
    let counts = |row: &Row<'_>| Ok((rows::count(row, 0)?, rows::count(row, 1)?));
    let user_id = block.user_id.as_str();
    let (all, same) = connection.prepare_cached(sql)?.query_row([user_id], counts)?;
    if same > 0 {
        return Ok(Blocked::Already);
    }
    if all >= u64::try_from(MAX_BLOCKED_USERS).unwrap_or(u64::MAX) {
        return Ok(Blocked::Full);
    }
    rows::whole(connection, || {
        let sql = "INSERT INTO blocked_user (user_id, since, reason) VALUES (?1, ?2, ?3)";
        let values = params![user_id, block.since.as_microsecond(), block.reason];
        connection.prepare_cached(sql)?.execute(values)?;
        changed(connection)
    })?;
    Ok(Blocked::Done)
}

pub(super) fn unblock(connection: &Connection, user_id: &UserId) -> Result<bool> {
    rows::whole(connection, || {
        let sql = "DELETE FROM blocked_user WHERE user_id = ?1";
        let was_blocked = connection.prepare_cached(sql)?.execute([user_id.as_str()])? > 0;
        if was_blocked {
            changed(connection)?;
        }
        Ok(was_blocked)
    })
}

fn changed(connection: &Connection) -> Result<()> {
    let sql = "UPDATE block_version SET version = ?1";
    connection.prepare_cached(sql)?.execute([BlocksVersion::random().as_bytes()]).map(drop)
}

pub(super) fn list(
    connection: &Connection,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<BlockedUser>> {
    let sql = "SELECT user_id, since, reason FROM blocked_user
        WHERE ?1 IS NULL OR user_id > ?1 ORDER BY user_id LIMIT ?2";
    let block = |row: &Row<'_>| {
        let (user_id, since) = (user_id(row, 0)?, timestamp(row, 1)?);
        Ok(BlockedUser { user_id, since, reason: row.get(2)? })
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![after.map(UserId::as_str), limit];
    connection.prepare_cached(sql)?.query_map(values, block)?.collect()
}

/// Gives what the list is now.
pub(super) fn version(connection: &Connection) -> Result<BlocksVersion> {
    let sql = "SELECT version FROM block_version";
    connection.prepare_cached(sql)?.query_row((), |row| row.get(0).map(BlocksVersion::from_bytes))
}

pub(super) fn all(connection: &Connection) -> Result<Vec<UserId>> {
    let sql = "SELECT user_id FROM blocked_user";
    connection.prepare_cached(sql)?.query_map((), |row| user_id(row, 0))?.collect()
}
