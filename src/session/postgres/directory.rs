//! What is told of all threads at once, and of users who are shut out.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::adoption;
use super::failure::Failure;
use super::rows::{self, BEHIND_RECORD, Stored, get, malformed, uuid};
use super::store::PostgresStore;
use crate::principal::UserId;
use crate::session::adoption::{Adopted, Adoption};
use crate::session::blocks::{
    Blocked, BlockedUser, BlockedUsers, BlocksVersion, MAX_BLOCKED_USERS,
};
use crate::session::pages::{PlacedSession, ThreadPlace, ThreadsPage};
use crate::session::quarantine::{Newcomer, QuarantinedThread, Released};
use crate::session::record::{SessionId, ThreadId};
use crate::session::store::{Directory, StoreFuture};

impl Directory for PostgresStore {
    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        Box::pin(async move {
            let shared = self.shared();
            let (ledger, sql) = (&shared.ledger, shared.statements.threads(&page));
            let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
            let at =
                |place: Option<ThreadPlace>| place.map(|place| place.bound_at.as_microsecond());
            let id = |place: Option<ThreadPlace>| place.map(|place| uuid(place.id.as_bytes()));
            let (after_at, after_id) = (at(page.after), id(page.after));
            let (until_at, until_id) = (at(page.until), id(page.until));
            let user_id = page.user_id.as_ref().map(|user_id| user_id.as_str().as_bytes());
            let values: [&(dyn ToSql + Sync); 7] =
                [&shared.gateway, &limit, &after_at, &after_id, &until_at, &until_id, &user_id];
            // From before they are read until they are corrected.
            let reading = ledger.reading();
            let placed = |row: &Row| {
                let bound_at = rows::timestamp(row, BEHIND_RECORD)?;
                // Runs don't change their order, and one that is bound doesn't go with its run.
                let session = ledger.correct(Stored::read(row)?, &reading);
                Ok(session.map(|session| {
                    let place = ThreadPlace { bound_at, id: session.record.id };
                    PlacedSession::new(place, session.record)
                }))
            };
            let read =
                |rows: &[Row]| rows.iter().filter_map(|row| placed(row).transpose()).collect();
            shared.read("could not list threads", &sql, &values, read).await
        })
    }

    fn place_of_thread<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Option<ThreadPlace>> {
        Box::pin(async move {
            let (shared, thread) = (self.shared(), thread_id.as_bytes());
            let place = |row: &Row| {
                let (bound_at, id) = (rows::timestamp(row, 0)?, rows::session_id(row, 1)?);
                Ok(ThreadPlace { bound_at, id })
            };
            let read = |rows: &[Row]| rows.first().map(place).transpose();
            let sql = &shared.statements.place_of_thread;
            shared.read("could not read a thread's place", sql, &[&thread], read).await
        })
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.write(None, move |shared| adoption::adopt(shared, entries))
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        Box::pin(async move {
            // Behind the id that has no bytes are all.
            let after = after.as_deref().map(str::as_bytes).unwrap_or_default();
            let shared = self.shared();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let context = "could not list the threads in quarantine";
            let read = |rows: &[Row]| rows.iter().map(quarantined).collect();
            shared.read(context, &shared.statements.quarantined, &[&after, &limit], read).await
        })
    }

    fn release<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Released> {
        let thread_id = thread_id.to_owned();
        self.write(None, move |shared| async move {
            let (sql, thread) = (&shared.statements.release, thread_id.as_bytes());
            let released = |row: &Row| match get(row, 0)? {
                "to_owner" => Ok(Released::ToOwner),
                "id" => Ok(Released::Id),
                "unknown" => Ok(Released::Unknown),
                _ => Err(malformed("an outcome")),
            };
            shared.ask("could not release a thread", &[], sql, &[&thread], false, released).await
        })
    }

    fn delete_quarantined<'a>(
        &'a self,
        thread_id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let thread_id = thread_id.to_owned();
        self.write(None, move |shared| async move {
            let (sql, thread) = (&shared.statements.delete_quarantined, thread_id.as_bytes());
            let (now, gone) = (now.as_microsecond(), rows::gone(now));
            let values: [&(dyn ToSql + Sync); 3] = [&thread, &now, &gone];
            let context = "could not delete a session";
            shared.ask(context, &[], sql, &values, false, |row| get(row, 0)).await
        })
    }

    fn block(&self, block: BlockedUser) -> StoreFuture<'_, Blocked> {
        self.write(None, move |shared| async move {
            let BlockedUser { user_id, since, reason } = block;
            let (user, since) = (user_id.as_str().as_bytes(), since.as_microsecond());
            let (reason, version) = (reason.as_deref().map(str::as_bytes), fresh_version());
            let most = i64::try_from(MAX_BLOCKED_USERS).unwrap_or(i64::MAX);
            let values: [&(dyn ToSql + Sync); 5] = [&user, &since, &reason, &version, &most];
            let blocked = |row: &Row| match get(row, 0)? {
                "done" => Ok(Blocked::Done),
                "already" => Ok(Blocked::Already),
                "full" => Ok(Blocked::Full),
                _ => Err(malformed("an outcome")),
            };
            let sql = &shared.statements.block;
            shared.ask("could not block a user", &[], sql, &values, false, blocked).await
        })
    }

    fn unblock<'a>(&'a self, user_id: &'a UserId) -> StoreFuture<'a, bool> {
        let user_id = user_id.clone();
        self.write(None, move |shared| async move {
            let (user, version) = (user_id.as_str().as_bytes(), fresh_version());
            let values: [&(dyn ToSql + Sync); 2] = [&user, &version];
            let (context, sql) = ("could not unblock a user", &shared.statements.unblock);
            shared.ask(context, &[], sql, &values, false, |row| get(row, 0)).await
        })
    }

    fn blocks(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<BlockedUser>> {
        Box::pin(async move {
            let after = after.as_ref().map(|user_id| user_id.as_str().as_bytes());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let block = |row: &Row| {
                let (user_id, since) = (rows::user_id(row, 0)?, rows::timestamp(row, 1)?);
                let reason = rows::optional(row, 2)?.map(str::to_owned);
                Ok(BlockedUser { user_id, since, reason })
            };
            let read = |rows: &[Row]| rows.iter().map(block).collect();
            let (shared, context) = (self.shared(), "could not list the blocked users");
            shared.read(context, &shared.statements.blocks, &[&after, &limit], read).await
        })
    }

    fn blocked_users(&self, known: Option<BlocksVersion>) -> StoreFuture<'_, Option<BlockedUsers>> {
        Box::pin(async move {
            let known = known.map(|version| uuid(version.as_bytes()));
            let all = |row: &Row| {
                let version = BlocksVersion::from_bytes(get::<Uuid>(row, 0)?.into_bytes());
                let users: Vec<&[u8]> = get(row, 1)?;
                let user = |bytes| rows::user(rows::utf8(bytes)?);
                let users = users.into_iter().map(user).collect::<Result<_, Failure>>()?;
                Ok(BlockedUsers::new(version, users))
            };
            let read = |rows: &[Row]| rows.first().map(all).transpose();
            let (shared, context) = (self.shared(), "could not read who is blocked");
            shared.read(context, &shared.statements.blocked_users, &[&known], read).await
        })
    }
}

/// Draws what the list of blocked users is once it is changed.
fn fresh_version() -> Uuid {
    uuid(BlocksVersion::random().as_bytes())
}

fn quarantined(row: &Row) -> Result<QuarantinedThread, Failure> {
    let users: Vec<&[u8]> = get(row, 7)?;
    let (sessions, times): (Vec<Uuid>, Vec<i64>) = (get(row, 8)?, get(row, 9)?);
    let newcomer = |((user_id, session), since): ((&[u8], Uuid), i64)| {
        let user_id: UserId = rows::user(rows::utf8(user_id)?)?;
        let session_id = SessionId::from_bytes(session.into_bytes());
        Ok(Newcomer { user_id, session_id, since: rows::instant(since)? })
    };
    let others = users.into_iter().zip(sessions).zip(times).map(newcomer);
    Ok(QuarantinedThread {
        thread_id: rows::text(row, 0)?.into(),
        since: rows::timestamp(row, 1)?,
        times: rows::count(row, 2)?,
        owner_session: rows::session_id(row, 3)?,
        owner: rows::user_id(row, 4)?,
        others: others.collect::<Result<_, Failure>>()?,
        more_others: rows::count(row, 5)?,
        is_deleted: get(row, 6)?,
    })
}
