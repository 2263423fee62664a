//! What happens in sessions: runs, each with a place of its own.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{CLOCK_TOLERANCE, SessionKey, StoreFuture};
use crate::principal::UserId;
use crate::session::quarantine::Reuse;
use crate::session::record::{MessageCount, SessionId, ThreadId};

/// The runs of sessions; a part of [`SessionStore`](super::SessionStore), whose documentation says
/// what holds for all of its calls.
///
/// A run has an id that its caller chooses. From [`begin_run`](Self::begin_run) to
/// [`settle`](Self::settle) it has a place among its session's messages, and, where the session is
/// unbound, a lease: the right to [bind](Self::bind) it. Both end with the process that began the run,
/// however that ends, so a store that several processes share must notice when one of them is gone.
pub trait Runs {
    /// Takes the session for one run that will add one user message, if it is `user_id`'s, and the run
    /// can be on that thread.
    ///
    /// Whose it is, is found in the same step, so that it need not be asked for before, and in this
    /// order: [`RunStart::Unknown`], [`RunStart::Foreign`], [`RunStart::Quarantined`],
    /// [`RunStart::OtherThread`], [`RunStart::Unbound`]. Of these nothing is written, and no count or
    /// lease has a say in them.
    ///
    /// A bound session may have any number of runs at once; each counts as one message until
    /// it is [settled](Self::settle). An unbound session has one at a time, which either
    /// [binds](Self::bind) it or is settled. Another may take its lease over after `begin.lease`, and
    /// at once if the clock is set back to before it began, or if the process that began it is gone and
    /// the store can tell.
    ///
    /// A run of a session whose messages nobody has counted begins as [`BeginRun::uncounted`] says.
    ///
    /// [`RunStart::Busy`] comes before [`RunStart::MessageLimit`]: the other first run may fail
    /// and give its place back. A run that was begun for a future that failed, or was dropped before
    /// it resolved, is settled by the store: nobody else knows whether it has begun.
    ///
    /// To begin a run again that has begun and is not settled gives what it gave, and no second place,
    /// and its lease begins anew: so whoever doesn't know whether it has begun can ask for it by its id,
    /// and while the future that began it is still there. One that has bound the session since is
    /// [`RunStart::Next`]. Once one of the futures has resolved, the run is its caller's to settle, and
    /// to drop the others leaves it alone; if none has, it ends with the last of them.
    ///
    /// That holds at the opening of the store that began it. Another one of the same data, as that of
    /// another process, need not know which ids it has in flight. Where it doesn't, a run of the same id
    /// is another run: a bound session has a place for each of the two, and [`settle`](Self::settle) ends
    /// the one that began where it is called. An unbound session is [`RunStart::Busy`] there, as long as
    /// the process that began the run is there, and even when the time of its lease is up.
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart>;

    /// Binds a session to the thread that its first run made, and sets `updated_at`.
    ///
    /// The lease must still be the run's: not settled, not used, and not taken over by
    /// another one after its time was up (time alone doesn't end it). It is used up by success.
    /// Durable before it resolves, because the thread's id is shown to the client right after.
    ///
    /// Whatever became of the lease and of the session, which is or was `user_id`'s, a thread that is
    /// another session's already is [`Bound::ThreadReused`]. If that is another user's, the thread
    /// goes into quarantine in the same step: from then on every process on the store finds its session
    /// [`Quarantined`](crate::session::Found::Quarantined), begins no run on it, and leaves it out of lists; the
    /// session and its counts stay. So it is with an id that is in quarantine already, even if its
    /// session is [deleted](super::Directory::delete_quarantined).
    fn bind<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        run: RunId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Bound>;

    /// Says that the upstream called a thread so in a run of a session that is bound to another one.
    /// If it is another user's, or in quarantine, it is dealt with as [`bind`](Self::bind) does;
    /// else `None`, and nothing happens.
    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>>;

    /// Ends a run: counts its messages, gives back its place and, if still held, its lease. One that
    /// has not begun, or is settled, is left as it is.
    ///
    /// It is applied by the call itself, in order with later calls on the same store (a
    /// `begin_run`, `list` or `get` made afterwards sees it), so that it can be made where nothing can
    /// be waited for, as in a `Drop`: it must not block there. The future resolves when it is durable;
    /// whoever has no use of that drops it, and the store makes it durable all the same, as soon as
    /// it can. A count lost to a crash is repaired by [`set_message_count`](Self::set_message_count).
    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) -> StoreFuture<'_, ()>;

    /// Replaces the message count `seen` by one counted from the upstream's items.
    ///
    /// Nothing happens if the count is another one by now, if a run is in flight, or if there is
    /// no such session: what was counted may then be older than what is stored, or have a run's
    /// messages twice.
    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()>;
}

/// A run's id: a UUID v4, 122 random bits. Its holder alone knows it, so it is a fencing token too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

impl RunId {
    /// Makes a new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Gives the 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Makes an id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What [`Runs::begin_run`] needs to know.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BeginRun {
    /// What the run is called.
    pub run: RunId,
    /// The session's limit of messages.
    pub max_messages: Option<NonZeroU32>,
    /// How long an unbound session is kept for this run.
    pub lease: Duration,
    /// The time, for the lease.
    pub now: Timestamp,
    /// What is done where nobody has counted the session's messages.
    pub uncounted: Uncounted,
}

/// The thread that a run is to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnThread<'a> {
    /// The session's, or a new one if it has none yet.
    Any,
    /// The session's.
    Bound,
    /// That of this upstream id, which is to be the session's.
    Named(&'a str),
}

impl OnThread<'_> {
    /// Finds whether a run may be on a session's thread, if it is bound to one.
    ///
    /// # Errors
    /// The outcome, if it may not.
    pub(in crate::session) fn check(self, bound: Option<&str>) -> Result<(), RunStart> {
        match (self, bound) {
            (Self::Any, _) | (Self::Bound, Some(_)) => Ok(()),
            (Self::Bound, None) => Err(RunStart::Unbound),
            (Self::Named(named), bound) if bound == Some(named) => Ok(()),
            (Self::Named(_), _) => Err(RunStart::OtherThread),
        }
    }
}

/// How a run begins whose session's message count is [`MessageCount::AtLeast`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// As if the messages that went by were all: for a run that has no limit.
    Begin,
    /// They were counted after [`RunStart::Uncounted`] had come.
    ///
    /// If nothing ran since, and nothing runs, that becomes the session's count. Otherwise what was
    /// counted may have a run's messages or not, so it is not kept, and the limit is held as if it
    /// had none of them.
    Counted {
        /// What went by before they were counted.
        seen: u64,
        /// The count.
        messages: u64,
    },
    /// Not at all: [`RunStart::Uncounted`].
    Tell,
}

impl Uncounted {
    /// Gives the most messages that there can be where so many went `by`; none if the run is not to
    /// begin.
    pub(in crate::session) fn at_most(self, by: u64) -> Option<u64> {
        match self {
            Self::Begin => Some(by),
            Self::Counted { seen, messages } => {
                Some(messages.saturating_add(by.saturating_sub(seen)))
            }
            Self::Tell => None,
        }
    }

    /// Gives the count to be kept, where so many went `by` and nothing runs.
    pub(in crate::session) fn count(self, by: u64) -> Option<u64> {
        match self {
            Self::Counted { seen, messages } if seen == by => Some(messages),
            Self::Begin | Self::Counted { .. } | Self::Tell => None,
        }
    }
}

impl BeginRun {
    /// Makes what begins a run without a limit, and keeps an unbound session for a
    /// minute.
    pub fn new(run: RunId, now: Timestamp) -> Self {
        let lease = Duration::from_secs(60);
        let uncounted = Uncounted::Tell;
        Self { run, max_messages: None, lease, now, uncounted }
    }

    /// Tells whether a lease is still somebody's that was given at `since` and ends at `until`,
    /// both in microseconds since the Unix epoch.
    ///
    /// One that was given later than now is over: the clock was set back since, and it would last
    /// for as much longer.
    pub(in crate::session) fn finds_held(&self, since: Option<i64>, until: i64) -> bool {
        is_held(self.now, since, until)
    }

    /// Gives the end of a lease that begins now, in microseconds since the Unix epoch.
    pub(in crate::session) fn lease_until(&self) -> i64 {
        let lease = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        self.now.as_microsecond().saturating_add(lease)
    }
}

/// Tells whether a lease is somebody's at this time, as [`BeginRun::finds_held`] does.
pub(in crate::session) fn is_held(now: Timestamp, since: Option<i64>, until: i64) -> bool {
    let now = now.as_microsecond();
    let latest = now.saturating_add(CLOCK_TOLERANCE.as_micros().try_into().unwrap_or(i64::MAX));
    now < until && since.is_none_or(|since| since <= latest)
}

/// The outcome of [`Runs::begin_run`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum RunStart {
    /// Another first run holds the session's lease.
    Busy,
    /// The session is unbound, and this run may make its thread.
    First {
        /// The session.
        session: SessionId,
        /// Whether it has a title.
        titled: bool,
    },
    /// The session is another user's.
    Foreign,
    /// The session has as many messages as it may have, those in flight included.
    MessageLimit,
    /// The session is bound to this thread.
    Next {
        /// The session.
        session: SessionId,
        /// The thread.
        thread_id: ThreadId,
    },
    /// The session is unbound, or bound to another thread than the one that was
    /// [named](OnThread::Named).
    OtherThread,
    /// The session's thread is in [quarantine](crate::session::Found::Quarantined).
    Quarantined,
    /// The session is unbound, and was [to be bound](OnThread::Bound).
    Unbound,
    /// The session is bound to this thread, whose messages nobody has counted. Nothing is begun.
    Uncounted {
        /// The session.
        session: SessionId,
        /// The thread.
        thread_id: ThreadId,
        /// The messages that went by, for [`Uncounted::Counted`].
        seen: u64,
    },
    /// There is no such session.
    Unknown,
}

/// The outcome of [`Runs::bind`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Bound {
    /// The session is bound; the lease is used up.
    Done,
    /// The lease ran out and somebody else has or had it, or the session is gone.
    LeaseLost,
    /// Another session is bound to that thread: the upstream used an id twice.
    ThreadReused(Reuse),
}

/// How a run ended, for [`Runs::settle`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settlement {
    /// User and assistant messages that the upstream finished.
    pub messages: u64,
    /// The last title that the upstream gave the thread: `Some(None)` if it took it away.
    pub title: Option<Option<String>>,
    /// The new `updated_at`, if the run got anywhere.
    pub touched_at: Option<Timestamp>,
    /// The session was made for this run: delete it if it is still unbound, and the lease still the
    /// run's.
    pub discard_unbound: bool,
}
