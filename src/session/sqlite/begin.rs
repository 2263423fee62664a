//! How a run begins: a bound session's on the spot, an unbound one's through the writer.

use std::sync::Arc;

use rusqlite::Connection;

use super::rows::{self, Head};
use super::schema::{is_locked, lock_failed};
use super::store::SqliteStore;
use super::tally::{Found, Holder, Room};
use super::writer::{Access, Queue};
use crate::error::Error;
use crate::principal::UserId;
use crate::session::record::{MessageCount, SessionId, ThreadId};
use crate::session::store::{BeginRun, Lease, RunStart, Settlement, Uncounted};

impl SqliteStore {
    /// Begins a run of a bound session on the spot; none if that is for the writer to decide.
    pub(super) fn begin_bound(
        &self,
        id: SessionId,
        named: Option<&str>,
        room: Room,
        read: impl FnOnce(&Connection) -> rusqlite::Result<Option<Head>>,
    ) -> rusqlite::Result<Option<RunStart>> {
        let Some(lock) = Lock::take(self.queue(), id)? else {
            // Who is refused for what nobody changes any more has no use of the lock.
            return Ok(admitted(self.readers().read(read)?, named).err());
        };
        let head = match admitted(self.readers().read(read)?, named) {
            Ok(head) => head,
            Err(refused) => return Ok(Some(refused)),
        };
        let Some(thread_id) = head.thread_id else { return Ok(None) };
        if matches!(room.uncounted, Uncounted::Counted { .. })
            && head.message_count.known().is_none()
        {
            // There is a count to be written.
            return Ok(None);
        }
        let (user_id, row) = (&head.user_id, head.message_count);
        let found = self.queue().tallies(|tallies| tallies.begin(id, user_id, row, room));
        drop(lock);
        Ok(Some(next(found, thread_id)))
    }

    pub(super) async fn begin(
        &self,
        id: SessionId,
        user_id: &UserId,
        named: Option<&str>,
        begin: BeginRun,
    ) -> Result<RunStart, Error> {
        let context = "could not begin a run";
        let room = Room::from(&begin);
        let read = |connection: &Connection| rows::head(connection, id, user_id);
        match self.begin_bound(id, named, room, read) {
            Ok(Some(start)) => return Ok(start),
            Ok(None) => {}
            Err(error) if is_locked(&error) => {}
            Err(error) => return Err(Error::store(context, error)),
        }
        let (queue, work_queue) = (Arc::clone(self.queue()), Arc::clone(self.queue()));
        let (user_id, named) = (user_id.clone(), named.map(ThreadId::from));
        let work = move |connection: &Connection| {
            let head = rows::head(connection, id, &user_id)?;
            match admitted(head, named.as_deref()) {
                Ok(head) => lease(connection, &work_queue, id, head, &begin),
                Err(refused) => Ok(Leased::Refused(refused)),
            }
        };
        self.queue()
            .call(Access::Decide(id), context, work, move |leased| {
                Begun::new(queue, id, room, leased)
            })
            .await
            .map(Begun::keep)
    }
}

/// Gives the row, if a run may begin on it: it is the asker's, who may use it, and has the thread
/// that is named.
fn admitted(head: Option<Head>, named: Option<&str>) -> Result<Head, RunStart> {
    let head = head.ok_or(RunStart::Unknown)?;
    if !head.is_own {
        return Err(RunStart::Foreign);
    }
    if head.is_quarantined {
        return Err(RunStart::Quarantined);
    }
    if named.is_some() && named != head.thread_id.as_deref() {
        return Err(RunStart::OtherThread);
    }
    Ok(head)
}

/// Gives the start of a run of a bound session.
fn next(found: Found, thread_id: ThreadId) -> RunStart {
    match found {
        Found::Full => RunStart::MessageLimit,
        Found::Place => RunStart::Next(thread_id),
        Found::Uncounted { seen } => RunStart::Uncounted { thread_id, seen },
    }
}

/// What the writer found when it was asked to begin a run.
enum Leased {
    /// With the count that was written to its row, if one was.
    Bound(ThreadId, Head, Option<MessageCount>),
    First(Lease, Head),
    Refused(RunStart),
}

/// Finds what a run is to begin with, with the session's lock, which is held until the run has
/// begun.
fn lease(
    connection: &Connection,
    queue: &Queue,
    id: SessionId,
    head: Head,
    begin: &BeginRun,
) -> rusqlite::Result<Leased> {
    if let Some(thread_id) = head.thread_id.clone() {
        let counted = match head.message_count {
            MessageCount::AtLeast(by) if !queue.tallies(|tallies| tallies.is_busy(id)) => {
                begin.uncounted.count(by)
            }
            MessageCount::AtLeast(_) | MessageCount::Known(_) => None,
        };
        let written = match counted {
            Some(messages) => {
                rows::set_message_count(connection, id, head.message_count, messages)?
            }
            None => None,
        };
        return Ok(Leased::Bound(thread_id, head, written));
    }
    if head.lease_until.is_some_and(|until| begin.finds_held(head.leased_at, until)) {
        return Ok(Leased::Refused(RunStart::Busy));
    }
    let (row, room) = (head.message_count, Room::from(begin));
    if queue.tallies(|tallies| tallies.room_in_batch(id, row, room)) == Found::Full {
        return Ok(Leased::Refused(RunStart::MessageLimit));
    }
    let lease = rows::lease(connection, id, begin)?;
    Ok(Leased::First(lease, head))
}

/// A run that the writer began. Until its asker [keeps](Self::keep) it, dropping it settles it:
/// the asker may have gone meanwhile.
struct Begun {
    queue: Arc<Queue>,
    id: SessionId,
    start: Option<RunStart>,
}

impl Begun {
    fn new(queue: Arc<Queue>, id: SessionId, room: Room, leased: Leased) -> Self {
        let start = match leased {
            Leased::Bound(thread_id, head, written) => {
                let row = written.unwrap_or(head.message_count);
                let found = queue.tallies(|tallies| tallies.begin(id, &head.user_id, row, room));
                next(found, thread_id)
            }
            Leased::First(lease, head) => {
                // The limit was asked in the transaction, and the lease is given now. Who is unbound
                // was never adopted, so the count is known.
                let room = Room { max: None, uncounted: Uncounted::Begin };
                let (user_id, row) = (&head.user_id, head.message_count);
                queue.tallies(|tallies| tallies.begin(id, user_id, row, room));
                RunStart::First { lease, titled: head.titled }
            }
            Leased::Refused(refused) => refused,
        };
        Self { queue, id, start: Some(start) }
    }

    fn keep(mut self) -> RunStart {
        // Always some: only this takes it, and it takes `self` with it.
        self.start.take().unwrap_or(RunStart::Unknown)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let lease = match &self.start {
            Some(RunStart::First { lease, .. }) => Some(*lease),
            Some(RunStart::Next(_)) => None,
            _ => return,
        };
        self.queue.settle(self.id, Settlement { lease, ..Settlement::default() });
    }
}

/// A session's lock, to begin a run on the spot.
struct Lock<'a> {
    queue: &'a Queue,
    id: SessionId,
}

impl<'a> Lock<'a> {
    /// Takes the lock; none if somebody else has it.
    fn take(queue: &'a Queue, id: SessionId) -> rusqlite::Result<Option<Self>> {
        let locked = queue.tallies(|tallies| tallies.lock(id, Holder::Caller));
        // Made only if it is, for to drop it gives it back.
        Ok(locked.map_err(|error| lock_failed(&error))?.then(|| Self { queue, id }))
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.queue.tallies(|tallies| tallies.unlock(self.id));
    }
}
