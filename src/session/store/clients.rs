//! Sessions of clients, which a service makes for its users.

use std::num::NonZeroU32;

use jiff::Timestamp;

use super::{StoreFuture, answer, lacks};
use crate::session::client_session::ClientSession;

/// The sessions of clients, which a service makes for its users; a part of
/// [`SessionStore`](super::SessionStore).
///
/// A store that doesn't implement it has none, and none can be made.
pub trait ClientSessions {
    /// Adds a client session, unless its user has `max_active` that are active when it is created.
    /// Counting and adding are one step.
    ///
    /// Some of those that expired more than a day before may go: enough of them that they don't
    /// pile up. An id that is taken is an error.
    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        let _ = (session, max_active);
        lacks("sessions of clients")
    }

    /// Gives the client session of that id. What another process has revoked is revoked here at
    /// once.
    fn client_session<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<ClientSession>> {
        let _ = id;
        answer(None)
    }

    /// Sets `cancelled_at` of a client session that is active at `now` or was made later, for clocks
    /// go back, and leaves any other as it is; `None` if there is none.
    fn cancel_client_session<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<ClientSession>> {
        let _ = (id, now);
        answer(None)
    }
}

/// The outcome of [`ClientSessions::create_client_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum ClientSessionCreated {
    /// It was added.
    Done,
    /// The user has as many as they may have.
    LimitReached,
}
