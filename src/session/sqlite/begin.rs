//! How a run begins: a bound session's on the spot, an unbound one's through the writer.

use std::sync::Arc;

use rusqlite::Connection;

use super::rows;
use super::runs::{self, Head, Lease};
use super::schema::{is_locked, lock_failed};
use super::sessions::Name;
use super::store::SqliteStore;
use super::tally::{Found, Holder, Room, Share};
use super::writer::{Access, Queue};
use crate::error::Error;
use crate::principal::UserId;
use crate::session::record::{MessageCount, SessionId, ThreadId};
use crate::session::store::{BeginRun, OnThread, RunId, RunStart, SessionKey, Uncounted};

/// How far a run came on the spot.
#[derive(Debug)]
pub(super) enum OnTheSpot {
    /// It has begun, or was refused.
    Decided(RunStart),
    /// The writer is to decide on a run of this session.
    ForWriter(SessionId),
}

impl SqliteStore {
    /// Begins a run of a bound session on the spot, if that is not for the writer to decide.
    pub(super) fn begin_on_the_spot(
        &self,
        session: SessionKey<'_>,
        on: OnThread<'_>,
        begin: &BeginRun,
        read: impl FnOnce(&Connection, SessionId) -> rusqlite::Result<Option<Head>>,
    ) -> rusqlite::Result<OnTheSpot> {
        self.readers().read(|connection| {
            let Some(id) = rows::id(connection, session)? else {
                return Ok(OnTheSpot::Decided(RunStart::Unknown));
            };
            let lock = Lock::take(self.queue(), id)?;
            let head = match admitted(read(connection, id)?, on) {
                Ok(head) => head,
                Err(refused) => return Ok(OnTheSpot::Decided(refused)),
            };
            // Who is refused for what nobody changes any more has no use of the lock.
            let (Some(_lock), Some(thread_id)) = (lock, head.thread_id) else {
                return Ok(OnTheSpot::ForWriter(id));
            };
            if matches!(begin.uncounted, Uncounted::Counted { .. })
                && head.message_count.known().is_none()
            {
                // There is a count to be written.
                return Ok(OnTheSpot::ForWriter(id));
            }
            let (user_id, row) = (&head.user_id, head.message_count);
            let found = self.queue().tallies(|tallies| {
                let found = tallies.begin(id, user_id, begin.run, row, Room::from(begin));
                if found == Found::Old {
                    tallies.told(id, begin.run);
                }
                found
            });
            Ok(OnTheSpot::Decided(next(found, id, thread_id)))
        })
    }

    pub(super) async fn begin(
        &self,
        session: SessionKey<'_>,
        on: OnThread<'_>,
        user_id: &UserId,
        begin: BeginRun,
    ) -> Result<RunStart, Error> {
        let context = "could not begin a run";
        let read = |connection: &Connection, id| runs::head(connection, id, session, user_id);
        let id = match self.begin_on_the_spot(session, on, &begin, read) {
            Ok(OnTheSpot::Decided(start)) => return Ok(start),
            Ok(OnTheSpot::ForWriter(id)) => id,
            Err(error) if is_locked(&error) => match self.id(session).await? {
                Some(id) => id,
                None => return Ok(RunStart::Unknown),
            },
            Err(error) => return Err(Error::store(context, error)),
        };
        let (queue, work_queue) = (Arc::clone(self.queue()), Arc::clone(self.queue()));
        let (user_id, name, on) = (user_id.clone(), Name::new(session), Wanted::new(on));
        let work = move |connection: &Connection| {
            let head = runs::head(connection, id, name.key(), &user_id)?;
            match admitted(head, on.thread()) {
                Ok(head) => decide(connection, &work_queue, id, head, &begin),
                Err(refused) => Ok(Decision::Refused(refused)),
            }
        };
        let done = move |decision| carry_out(queue, id, &begin, decision);
        self.queue().call(Access::Decide(id), context, work, done).await.map(Place::keep)
    }
}

/// Gives the row, if a run may begin on it: it is the asker's, who may use it, and its thread is one
/// that the run can be on.
fn admitted(head: Option<Head>, on: OnThread<'_>) -> Result<Head, RunStart> {
    let head = head.ok_or(RunStart::Unknown)?;
    if !head.is_own {
        return Err(RunStart::Foreign);
    }
    if head.is_quarantined {
        return Err(RunStart::Quarantined);
    }
    on.check(head.thread_id.as_deref())?;
    Ok(head)
}

/// The thread that a run is to be on, for the writer.
enum Wanted {
    Any,
    Bound,
    Named(ThreadId),
}

impl Wanted {
    fn new(on: OnThread<'_>) -> Self {
        match on {
            OnThread::Any => Self::Any,
            OnThread::Bound => Self::Bound,
            OnThread::Named(thread_id) => Self::Named(thread_id.into()),
        }
    }

    fn thread(&self) -> OnThread<'_> {
        match self {
            Self::Any => OnThread::Any,
            Self::Bound => OnThread::Bound,
            Self::Named(thread_id) => OnThread::Named(thread_id),
        }
    }
}

/// Gives the start of a run of a bound session.
fn next(found: Found, session: SessionId, thread_id: ThreadId) -> RunStart {
    match found {
        Found::Full => RunStart::MessageLimit,
        Found::Old | Found::Place => RunStart::Next { session, thread_id },
        Found::Uncounted { seen } => RunStart::Uncounted { session, thread_id, seen },
    }
}

/// What the writer decided when it was asked to begin a run.
enum Decision {
    /// With the count that was written to its row, if one was.
    Bound(ThreadId, Head, Option<MessageCount>),
    First(Head),
    Refused(RunStart),
}

/// Finds what a run is to begin with, with the session's lock, which is held until the run has
/// begun.
fn decide(
    connection: &Connection,
    queue: &Queue,
    id: SessionId,
    head: Head,
    begin: &BeginRun,
) -> rusqlite::Result<Decision> {
    if let Some(thread_id) = head.thread_id.clone() {
        let counted = match head.message_count {
            MessageCount::AtLeast(by) if !queue.tallies(|tallies| tallies.is_busy(id)) => {
                begin.uncounted.count(by)
            }
            MessageCount::AtLeast(_) | MessageCount::Known(_) => None,
        };
        let written = match counted {
            Some(messages) => {
                runs::set_message_count(connection, id, head.message_count, messages)?
            }
            None => None,
        };
        return Ok(Decision::Bound(thread_id, head, written));
    }
    let (row, room) = (head.message_count, Room::from(begin));
    let refused = queue.tallies(|tallies| {
        let is_old = tallies.has(id, begin.run);
        let is_anothers = |lease: Lease| {
            if lease.run == Some(begin.run) {
                // Whatever its time: by its id alone the lease would be both runs'.
                return !is_old && tallies.has_others(id);
            }
            lease.is_held(begin.now) && tallies.may_go_on(id, &lease)
        };
        if head.lease.is_some_and(is_anothers) {
            return Some(RunStart::Busy);
        }
        let is_full = || tallies.room_in_batch(id, row, room) == Found::Full;
        (!is_old && is_full()).then_some(RunStart::MessageLimit)
    });
    if let Some(refused) = refused {
        return Ok(Decision::Refused(refused));
    }
    runs::give_lease(connection, id, begin)?;
    queue.tallies(|tallies| tallies.grant(id, begin.run));
    Ok(Decision::First(head))
}

/// Takes a run's place as was decided, once that is committed.
fn carry_out(
    queue: Arc<Queue>,
    id: SessionId,
    begin: &BeginRun,
    decision: Decision,
) -> (RunStart, Option<Place>) {
    let run = begin.run;
    let (start, share) = match decision {
        Decision::Bound(thread_id, head, written) => {
            let row = written.unwrap_or(head.message_count);
            let (user_id, room) = (&head.user_id, Room::from(begin));
            let (found, share) = queue.tallies(|tallies| {
                let found = tallies.begin(id, user_id, run, row, room);
                let share = match found {
                    Found::Old | Found::Place => {
                        tallies.share(id, run, found == Found::Place, false)
                    }
                    Found::Full | Found::Uncounted { .. } => None,
                };
                (found, share)
            });
            (next(found, id, thread_id), share)
        }
        Decision::First(head) => {
            // The limit was asked in the transaction, and the lease is given now.
            let share = queue.tallies(|tallies| {
                let is_new = tallies.begin_first(id, &head.user_id, run);
                tallies.share(id, run, is_new, false)
            });
            (RunStart::First { session: id, titled: head.titled }, share)
        }
        Decision::Refused(refused) => (refused, None),
    };
    (start, share.map(|share| Place::new(queue, id, share)))
}

/// The place of a run that the writer began, which each has who asked for that. Until one of them
/// [keeps](Self::keep) it, dropping the last one settles the run: the askers may have gone meanwhile.
pub(super) struct Place {
    queue: Arc<Queue>,
    id: SessionId,
    share: Option<Share>,
}

impl Place {
    fn new(queue: Arc<Queue>, id: SessionId, share: Share) -> Self {
        Self { queue, id, share: Some(share) }
    }

    /// Takes the place of the first run of a session that was made for it, and goes with it.
    pub(super) fn of_new(
        queue: Arc<Queue>,
        id: SessionId,
        user_id: &UserId,
        run: RunId,
    ) -> Option<Self> {
        let share = queue.tallies(|tallies| {
            let is_new = tallies.begin_first(id, user_id, run);
            tallies.share(id, run, is_new, true)
        });
        share.map(|share| Self::new(queue, id, share))
    }

    /// Gives the answer to the asker, whose the place is from now on.
    pub(super) fn keep<T>((answer, place): (T, Option<Self>)) -> T {
        if let Some(mut place) = place
            && let Some(share) = place.share.take()
        {
            place.queue.tallies(|tallies| tallies.told_by(place.id, &share));
        }
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(share) = self.share.take() {
            self.queue.leave(self.id, share);
        }
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
