//! Threads whose id the upstream gave twice.
//!
//! What two users said may be in such a thread, so from then on it is nobody's to read or to write.
//! Whatever the store gives out about one session is a [`Found`], in which one whose thread is in
//! quarantine has neither a [`SessionRecord`] nor an [`Ownership`]: without those, nothing can be done
//! to a session or shown of it.

use jiff::Timestamp;

use super::record::{Ownership, SessionId, SessionRecord, ThreadId};
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};

/// A session as the store has it, as far as was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Its owner may read and write it.
    Open(T),
    /// Its thread is in quarantine.
    Quarantined {
        /// The session.
        id: SessionId,
        /// Its owner.
        user_id: UserId,
    },
}

impl<T> Found<T> {
    /// Gives the session, unless its thread is in quarantine.
    pub fn open(self) -> Option<T> {
        match self {
            Self::Open(session) => Some(session),
            Self::Quarantined { .. } => None,
        }
    }

    /// Gives the session; to be asked when it is known that the caller may learn of it.
    ///
    /// # Errors
    /// If its thread is in quarantine.
    pub(super) fn admit(self) -> Result<T, Rejection> {
        self.open().ok_or_else(refusal)
    }

    /// Gives the owner, who alone may learn that it is in quarantine.
    pub(super) fn user_id(&self) -> &UserId
    where
        T: OfUser,
    {
        match self {
            Self::Open(session) => session.user_id(),
            Self::Quarantined { user_id, .. } => user_id,
        }
    }
}

/// What says whose a session is.
pub(super) trait OfUser {
    /// Gives the owner.
    fn user_id(&self) -> &UserId;
}

impl OfUser for SessionRecord {
    fn user_id(&self) -> &UserId {
        &self.user_id
    }
}

impl OfUser for Ownership {
    fn user_id(&self) -> &UserId {
        &self.user_id
    }
}

/// Gives the refusal of everything that is about a thread in quarantine.
pub(super) fn refusal() -> Rejection {
    Rejection::new(Code::ThreadQuarantined).because("its thread is in quarantine")
}

/// A thread's id that the upstream gave a second time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reuse {
    /// The session that had it.
    pub owner_session: SessionId,
    /// Whose that is, or was.
    pub owner: UserId,
    /// Whose session the upstream gave it to then.
    pub other: UserId,
    /// How many threads are in quarantine now, this one among them, of which 10,000 are counted at most;
    /// `None` if it isn't, because both sessions are one user's.
    pub quarantined: Option<u64>,
}

impl Reuse {
    /// Makes what tells of a thread that is a session's already, and in no quarantine.
    pub fn new(owner_session: SessionId, owner: UserId, other: UserId) -> Self {
        Self { owner_session, owner, other, quarantined: None }
    }
}

/// How many threads in quarantine are counted: whoever is told must do something long before.
pub(super) const MAX_COUNTED: u32 = 10_000;

/// How many of the others are kept by name: an upstream that knows but one id has them all.
pub(super) const MAX_OTHERS: usize = 100;

/// A thread in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedThread {
    /// The upstream's id of it.
    pub thread_id: ThreadId,
    /// Since when. Microseconds' precision.
    pub since: Timestamp,
    /// How often the upstream has given the id again, to whomever.
    pub times: u64,
    /// The session that had it first.
    pub owner_session: SessionId,
    /// Whose that is, or was.
    pub owner: UserId,
    /// The other users that it was given to, in that order: the first 100.
    pub others: Vec<Newcomer>,
    /// How often it was given to users that are none of those.
    pub more_others: u64,
    /// The owner's session was [deleted](super::Directory::delete_quarantined); the id is never
    /// bound or adopted all the same.
    pub is_deleted: bool,
}

impl QuarantinedThread {
    /// Makes that of a thread which nobody else was given yet.
    pub fn new(
        thread_id: ThreadId,
        since: Timestamp,
        owner_session: SessionId,
        owner: UserId,
    ) -> Self {
        Self {
            thread_id,
            since,
            times: 0,
            owner_session,
            owner,
            others: Vec::new(),
            more_others: 0,
            is_deleted: false,
        }
    }
}

/// Another user that a thread's id was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Newcomer {
    /// The user.
    pub user_id: UserId,
    /// The first session of theirs that was given it; it was never bound to the thread.
    pub session_id: SessionId,
    /// Since when. Microseconds' precision.
    pub since: Timestamp,
}

impl Newcomer {
    /// Makes the user of a session that was given the thread then.
    pub fn new(user_id: UserId, session_id: SessionId, since: Timestamp) -> Self {
        Self { user_id, session_id, since }
    }
}

/// The outcome of [`Directory::release`](super::Directory::release).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Released {
    /// The thread is its first owner's again.
    ToOwner,
    /// Its session is deleted; the id may be given to a new thread.
    Id,
    /// It is not in quarantine.
    Unknown,
}
