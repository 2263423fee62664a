//! Sessions of clients.

use std::num::NonZeroU32;

use jiff::Timestamp;

use super::MemoryStore;
use crate::error::Error;
use crate::session::client_session::{ClientSession, ClientSessionStatus};
use crate::session::store::{
    ClientSessionCreated, ClientSessions, KEEP_EXPIRED, StoreFuture, whole_microseconds,
};

impl ClientSessions for MemoryStore {
    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        Box::pin(async move {
            let mut tables = self.tables();
            if tables.client_sessions.contains_key(&session.id) {
                return Err(Error::store("could not create a client session", "its id is in use"));
            }
            if let Ok(gone) = session.created_at.checked_sub(KEEP_EXPIRED) {
                tables.client_sessions.retain(|_, other| other.expires_at >= gone);
            }
            let now = session.created_at;
            let active = tables.client_sessions.values().filter(|other| {
                other.user_id == session.user_id && other.status(now) == ClientSessionStatus::Active
            });
            if active.count() as u64 >= u64::from(max_active.get()) {
                return Ok(ClientSessionCreated::LimitReached);
            }
            let session = ClientSession {
                created_at: whole_microseconds(session.created_at),
                expires_at: whole_microseconds(session.expires_at),
                ..session
            };
            tables.client_sessions.insert(session.id.clone(), session);
            Ok(ClientSessionCreated::Done)
        })
    }

    fn client_session<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<ClientSession>> {
        self.later(move |tables| tables.client_sessions.get(id).cloned())
    }

    fn cancel_client_session<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<ClientSession>> {
        self.later(move |tables| {
            let session = tables.client_sessions.get_mut(id)?;
            if session.cancelled_at.is_none() && now < session.expires_at {
                session.cancelled_at = Some(whole_microseconds(now));
            }
            Some(session.clone())
        })
    }
}
