//! What is told of all threads at once, and of users who are shut out.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::adoption;
use super::blocks;
use super::lists;
use super::quarantine;
use super::rows::{PURGE, session_id, timestamp};
use super::store::SqliteStore;
use crate::error::Error;
use crate::principal::UserId;
use crate::session::adoption::{Adopted, Adoption};
use crate::session::blocks::{Blocked, BlockedUser, BlockedUsers, BlocksVersion};
use crate::session::pages::{PlacedSession, ThreadPlace, ThreadsPage};
use crate::session::quarantine::{QuarantinedThread, Released};
use crate::session::record::{SessionId, ThreadId};
use crate::session::store::{Directory, KEEP_PLACE, StoreFuture};

impl Directory for SqliteStore {
    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>> {
        Box::pin(self.read_list("could not list threads", move |connection, queue| {
            lists::threads(connection, queue, &page)
        }))
    }

    fn place_of_thread<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Option<ThreadPlace>> {
        let thread_id = thread_id.to_owned();
        Box::pin(self.read("could not read a thread's place", move |connection| {
            place_of_thread(connection, &thread_id)
        }))
    }

    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>> {
        self.write("could not adopt", move |connection| adoption::adopt_all(connection, &entries))
    }

    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>> {
        let context = "could not list the threads in quarantine";
        Box::pin(self.read_list(context, move |connection, _| {
            quarantine::list(connection, after.as_deref(), limit)
        }))
    }

    fn release<'a>(&'a self, thread_id: &'a str) -> StoreFuture<'a, Released> {
        let thread_id = thread_id.to_owned();
        self.write("could not release a thread", move |c| quarantine::release(c, &thread_id))
    }

    fn delete_quarantined<'a>(
        &'a self,
        thread_id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        let thread_id = thread_id.to_owned();
        self.write("could not delete a session", move |connection| {
            quarantine::delete(connection, &thread_id, now)
        })
    }

    fn block(&self, block: BlockedUser) -> StoreFuture<'_, Blocked> {
        self.write("could not block a user", move |connection| blocks::block(connection, &block))
    }

    fn unblock<'a>(&'a self, user_id: &'a UserId) -> StoreFuture<'a, bool> {
        let user_id = user_id.clone();
        self.write("could not unblock a user", move |c| blocks::unblock(c, &user_id))
    }

    fn blocks(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<BlockedUser>> {
        let context = "could not list the blocked users";
        Box::pin(self.read_list(context, move |connection, _| {
            blocks::list(connection, after.as_ref(), limit)
        }))
    }

    fn blocked_users(&self, known: Option<BlocksVersion>) -> StoreFuture<'_, Option<BlockedUsers>> {
        Box::pin(async move {
            let context = "could not read who is blocked";
            let version = self.read(context, blocks::version).await?;
            if Some(version) == known {
                return Ok(None);
            }
            // What is changed in between is read twice: it is another version.
            let users = self.read_list(context, |connection, _| blocks::all(connection)).await?;
            Ok(Some(BlockedUsers::new(version, users)))
        })
    }
}

impl SqliteStore {
    /// [Adopts](Directory::adopt) the first ones of `entries`, in one transaction: as many as there
    /// is time for in `limit`, and for as long as the store is [alone](Self::is_alone), but some in any
    /// case. For many at once, of which each page is written once then. Returns the entries too, as they
    /// were, and as many outcomes as were adopted.
    ///
    /// # Errors
    /// As [`adopt`](Directory::adopt).
    pub async fn adopt_alone(
        &self,
        entries: Vec<Adoption>,
        limit: Duration,
    ) -> Result<(Vec<Adoption>, Vec<Adopted>), Error> {
        let file = self.file.clone();
        #[expect(clippy::disallowed_methods, reason = "how long a transaction takes in fact")]
        let work = move |connection: &Connection| {
            let begun = Instant::now();
            let is_alone = || file.as_ref().is_some_and(|file| !file.is_shared());
            let is_over = || begun.elapsed() >= limit || !is_alone();
            let outcomes = adoption::adopt_until(connection, &entries, is_over)?;
            Ok((entries, outcomes))
        };
        self.write("could not adopt", work).await
    }
}

/// Gives that of the session which has the thread, if one has; else that of the one which had it.
fn place_of_thread(
    connection: &Connection,
    thread_id: &str,
) -> rusqlite::Result<Option<ThreadPlace>> {
    let sql = "SELECT bound_at, id, 0 FROM session WHERE thread_id = ?1 AND bound_at IS NOT NULL
        UNION ALL SELECT bound_at, session_id, 1 FROM deleted_thread WHERE thread_id = ?1
        ORDER BY 3 LIMIT 1";
    let place =
        |row: &Row<'_>| Ok(ThreadPlace { bound_at: timestamp(row, 0)?, id: session_id(row, 1)? });
    connection.prepare_cached(sql)?.query_row([thread_id], place).optional()
}

/// Keeps the place of a session's thread, if it has one, and forgets some that are old.
pub(super) fn keep_place(
    connection: &Connection,
    id: SessionId,
    now: Timestamp,
) -> rusqlite::Result<()> {
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
