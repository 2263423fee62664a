//! Runs: begun, bound, settled.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::quarantine;
use super::rows::{MAX_COUNT, conversation, is_null, message_count, stored_count};
use super::store::SqliteStore;
use super::tally::Pending;
use super::writer::Access;
use crate::principal::UserId;
use crate::session::quarantine::Reuse;
use crate::session::record::{MessageCount, SessionId, ThreadId};
use crate::session::store::{
    BeginRun, Bound, OnThread, RunId, RunStart, Runs, SessionKey, Settlement, StoreFuture, is_held,
};

impl Runs for SqliteStore {
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        Box::pin(self.begin(session, on, user_id, begin))
    }

    fn bind<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        run: RunId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Bound> {
        let (user_id, queue) = (user_id.clone(), Arc::clone(self.queue()));
        let work =
            move |connection: &Connection| bind(connection, id, user_id, run, &thread_id, now);
        let done = move |bound| {
            if bound == Bound::Done {
                queue.tallies(|tallies| tallies.bound(id, run));
            }
            bound
        };
        Box::pin(self.queue().call(Access::Write, "could not bind a session", work, done))
    }

    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>> {
        let user_id = user_id.clone();
        self.write("could not look at a thread", move |connection| {
            let reuse = quarantine::reuse(connection, id, user_id, &thread_id, now)?;
            Ok(reuse.filter(|reuse| reuse.quarantined.is_some()))
        })
    }

    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) -> StoreFuture<'_, ()> {
        let unwritten = self.queue().settle(id, run, settlement);
        Box::pin(async move {
            let Some(access) = unwritten else { return Ok(()) };
            // Whatever was settled is written before the next call, or fails with it.
            let context = "could not write what a run left";
            self.queue().call(access, context, |_| Ok(()), |()| ()).await
        })
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        let (context, queue) = ("could not set a message count", Arc::clone(self.queue()));
        let work = move |connection: &Connection| {
            if !queue.tallies(|tallies| tallies.is_busy(id)) {
                set_message_count(connection, id, seen, messages)?;
            }
            Ok(())
        };
        Box::pin(self.queue().call(Access::Decide(id), context, work, |()| ()))
    }
}

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
    /// The lease that was given and not given back.
    pub(super) lease: Option<Lease>,
    pub(super) is_quarantined: bool,
}

/// A first run's right to bind its session. Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// None if a process of an older version has given it.
    pub(super) run: Option<RunId>,
    since: Option<i64>,
    until: i64,
}

impl Lease {
    /// Tells whether it is somebody's by the time alone.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        is_held(now, self.since, self.until)
    }
}

/// Gives the row of the session that was found under a name and has that id, if it still is.
pub(super) fn head(
    connection: &Connection,
    id: SessionId,
    session: SessionKey<'_>,
    user_id: &UserId,
) -> rusqlite::Result<Option<Head>> {
    let sql = "SELECT thread_id, message_count, adopted, lease_until, leased_at, lease_run,
            quarantined_at, user_id, title IS NOT NULL, conversation
        FROM session WHERE id = ?1";
    let head = |row: &Row<'_>| {
        let thread_id: Option<ThreadId> = row.get(0)?;
        let is_it = match session {
            SessionKey::Conversation(id) => conversation(row, 9)? == Some(id),
            SessionKey::Id(_) => true,
            SessionKey::Thread(named) => thread_id.as_deref() == Some(named),
        };
        if !is_it {
            return Ok(None);
        }
        Ok(Some(Head {
            user_id: user_id.clone(),
            is_own: row.get_ref(7)?.as_str()? == user_id.as_str(),
            thread_id,
            titled: row.get(8)?,
            message_count: message_count(row, 1)?,
            lease: lease(row, 3)?,
            is_quarantined: !is_null(row, 6)?,
        }))
    };
    let head = connection.prepare_cached(sql)?.query_row([id.as_bytes()], head).optional()?;
    Ok(head.flatten())
}

/// Reads a lease whose end, beginning and run are the columns from this one on.
pub(super) fn lease(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Lease>> {
    let Some(until) = row.get(column)? else { return Ok(None) };
    let run: Option<[u8; 16]> = row.get(column + 2)?;
    Ok(Some(Lease { run: run.map(RunId::from_bytes), since: row.get(column + 1)?, until }))
}

/// Gives a session's lease to a run; for longer, if it has it.
pub(super) fn give_lease(
    connection: &Connection,
    id: SessionId,
    begin: &BeginRun,
) -> rusqlite::Result<()> {
    let sql = "UPDATE session SET lease = lease + (lease_run IS NOT ?4), lease_until = ?2,
            leased_at = ?3, lease_run = ?4, made_for_run = made_for_run AND lease_run IS ?4
        WHERE id = ?1";
    let values = params![
        id.as_bytes(),
        begin.lease_until(),
        begin.now.as_microsecond(),
        begin.run.as_bytes()
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

fn bind(
    connection: &Connection,
    id: SessionId,
    user_id: UserId,
    run: RunId,
    thread_id: &str,
    now: Timestamp,
) -> rusqlite::Result<Bound> {
    // First: what the upstream has done to the thread it has done, whoever holds the lease.
    if let Some(reuse) = quarantine::reuse(connection, id, user_id, thread_id, now)? {
        return Ok(Bound::ThreadReused(reuse));
    }
    let sql = "UPDATE session SET thread_id = ?2, updated_at = max(updated_at, ?3), bound_at = ?3,
            lease_until = NULL, lease_run = NULL
        WHERE id = ?1 AND lease_run = ?4 AND lease_until IS NOT NULL";
    let values = params![id.as_bytes(), thread_id, now.as_microsecond(), run.as_bytes()];
    let bound = connection.prepare_cached(sql)?.execute(values)? > 0;
    Ok(if bound { Bound::Done } else { Bound::LeaseLost })
}

/// Writes what settled runs left, and says what the row's count is now; none if there is no
/// such session.
pub(super) fn settle(
    connection: &Connection,
    id: SessionId,
    pending: &Pending,
) -> rusqlite::Result<Option<MessageCount>> {
    let sql = "UPDATE session SET
            message_count = min(message_count + ?2,
                iif(adopted, iif(message_count < ?7, ?7 - 1, ?7 + ?7), ?7)),
            title = iif(?3, ?4, title),
            updated_at = max(updated_at, ifnull(?5, updated_at)),
            lease_until = iif(lease_run = ?6, NULL, lease_until),
            lease_run = nullif(lease_run, ?6)
        WHERE id = ?1 RETURNING message_count, adopted";
    let Pending { messages, title, touched_at, lease, discard } = pending;
    // While the row tells whose the lease is.
    if let Some(run) = discard {
        let sql = "DELETE FROM session WHERE id = ?1 AND thread_id IS NULL AND lease_run = ?2";
        if connection.prepare_cached(sql)?.execute([id.as_bytes(), run.as_bytes()])? > 0 {
            return Ok(None);
        }
    }
    let values = params![
        id.as_bytes(),
        stored_count(*messages),
        title.is_some(),
        title.as_ref().and_then(Option::as_ref),
        touched_at.map(Timestamp::as_microsecond),
        lease.as_ref().map(RunId::as_bytes),
        MAX_COUNT,
    ];
    connection.prepare_cached(sql)?.query_row(values, |row| message_count(row, 0)).optional()
}

/// Tells whether a session that is to go with that run does: it is unbound, and the lease is the run's;
/// or it has gone.
pub(super) fn goes_with(
    connection: &Connection,
    id: SessionId,
    run: RunId,
) -> rusqlite::Result<bool> {
    let sql = "SELECT thread_id IS NULL AND lease_run IS ?2 FROM session WHERE id = ?1";
    let values = [id.as_bytes(), run.as_bytes()];
    let goes = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(goes.unwrap_or(true))
}

/// Sets the count, and gives it as it was stored; none if there is no such session.
pub(super) fn set_message_count(
    connection: &Connection,
    id: SessionId,
    seen: MessageCount,
    messages: u64,
) -> rusqlite::Result<Option<MessageCount>> {
    let sql = "UPDATE session SET message_count = iif(adopted, min(?3, ?4 - 1), ?3)
        WHERE id = ?1 AND message_count = ?2 RETURNING message_count, adopted";
    let seen = match seen {
        MessageCount::AtLeast(by) => stored_count(by).saturating_add(MAX_COUNT),
        MessageCount::Known(messages) => stored_count(messages),
    };
    let values = params![id.as_bytes(), seen, stored_count(messages), MAX_COUNT];
    connection.prepare_cached(sql)?.query_row(values, |row| message_count(row, 0)).optional()
}
