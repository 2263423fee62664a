//! What shows that a caller may. Whoever has one need not ask again, and this room alone makes them.

use super::admitted::{Attachments, Conversation, OwnedSession, SessionPage, ThreadDirectory};
use super::claim::RunClaim;
use super::client_session::SignedSession;
use super::record::{SessionId, ThreadId};
use crate::principal::UserId;

/// A field of those grants whose others are open: to be read, but who has none of these makes no grant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal;

/// A grant, and what the log is told of it.
pub(crate) trait Granted {
    /// Gives the session that it is about, if it is about one.
    fn session_id(&self) -> Option<SessionId> {
        None
    }

    /// Gives the one user whose things it is about, if it isn't about everybody's.
    fn user(&self) -> Option<&UserId> {
        None
    }
}

/// The right to ask about a thread that is there.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::session::{OwnedThread, SessionId, ThreadId};
/// fn forge(session: SessionId, thread: ThreadId) -> OwnedThread {
///     OwnedThread { session, thread }
/// }
/// ```
/// ```compile_fail,E0624
/// # use chatkit_rest::session::{OwnedThread, SessionId, ThreadId};
/// fn forge(session: SessionId, thread: ThreadId) -> OwnedThread {
///     OwnedThread::new(session, thread)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct OwnedThread {
    session: SessionId,
    thread: ThreadId,
}

impl OwnedThread {
    pub(super) fn new(session: SessionId, thread: ThreadId) -> Self {
        Self { session, thread }
    }

    /// The session that it is of.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The upstream's id of it.
    pub fn id(&self) -> &ThreadId {
        &self.thread
    }
}

/// Nothing of anybody's is touched.
impl Granted for () {}

impl Granted for SessionPage {}

impl Granted for Attachments {}

impl Granted for OwnedThread {
    fn session_id(&self) -> Option<SessionId> {
        Some(self.session)
    }
}

impl Granted for OwnedSession {
    fn session_id(&self) -> Option<SessionId> {
        Some(self.record().id)
    }

    fn user(&self) -> Option<&UserId> {
        Some(&self.record().user_id)
    }
}

impl Granted for Conversation {
    fn session_id(&self) -> Option<SessionId> {
        Some(self.record.id)
    }
}

impl Granted for RunClaim {
    fn session_id(&self) -> Option<SessionId> {
        Some(self.session_id())
    }
}

/// What a service calls a session is none of the gateway's.
impl Granted for SignedSession {
    fn user(&self) -> Option<&UserId> {
        Some(&self.session().user_id)
    }
}

impl Granted for ThreadDirectory {
    fn user(&self) -> Option<&UserId> {
        self.user()
    }
}

/// The first is what it is about; the second goes with it.
impl<G: Granted, H> Granted for (G, H) {
    fn session_id(&self) -> Option<SessionId> {
        self.0.session_id()
    }

    fn user(&self) -> Option<&UserId> {
        self.0.user()
    }
}
