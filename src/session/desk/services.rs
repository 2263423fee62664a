//! What a service may: see every user's threads, of which it need only be known whose they are, and
//! make client sessions for users.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Desk, Order};
use crate::principal::UserId;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{
    Attachments, ItemBounds, ItemCursor, OwnedSession, ThreadDirectory, store_down,
};
use crate::session::client_session::{ClientSession, NewClientSession, SignedSession};
use crate::session::cursors::{List, looks_sealed};
use crate::session::grant::Seal;
use crate::session::items::ItemCursors;
use crate::session::pages::{ThreadPlace, ThreadsPage};
use crate::session::quarantine::Found;
use crate::session::record::{SessionId, SessionRecord, ThreadId};
use crate::session::store::{ClientSessionCreated, SessionKey};
use crate::validate::Report;

/// Where a page of threads begins or ends.
struct Cursor {
    place: ThreadPlace,
    /// The upstream's, while it has one there.
    thread_id: Option<ThreadId>,
}

/// How many client sessions of a user are active at once at most: a page in a browser has one.
const MAX_ACTIVE: NonZeroU32 = match NonZeroU32::new(1000) {
    Some(most) => most,
    None => NonZeroU32::MIN,
};

/// Gives the end of a client session, in whole seconds as the API shows them, so that it ends when it
/// says so; rounded up, so that it lasts as long as was asked for.
fn end_of_life(now: Timestamp, seconds: u64) -> Timestamp {
    let begun = i64::from(now.subsec_nanosecond() > 0);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let end = now.as_second().saturating_add(begun).saturating_add(seconds);
    Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
}

impl Desk {
    /// Makes a client session, unless its user has as many as they may have, or is shut out.
    pub(crate) async fn create_client_session(
        &self,
        wanted: &NewClientSession,
    ) -> Result<SignedSession, Rejection> {
        let now = Timestamp::now();
        let session = ClientSession {
            id: format!("cksess_{}", Uuid::new_v4().simple()),
            user_id: wanted.user_id.clone(),
            created_at: now,
            expires_at: end_of_life(now, wanted.seconds),
            cancelled_at: None,
            requests_per_minute: wanted.requests_per_minute,
            details: wanted.details.clone(),
        };
        let signed = self.sign(session.clone()).await?;
        let create = async {
            self.store.create_client_session(session, MAX_ACTIVE).await.map_err(store_down)
        };
        match self.gate.unless_blocked(&wanted.user_id, Order::After, create).await? {
            ClientSessionCreated::Done => Ok(signed),
            ClientSessionCreated::LimitReached => Err(Rejection::new(Code::SessionLimit).message(
                "The user has as many client sessions as they may have; cancel one first.",
            )),
        }
    }

    /// Cancels a client session; one that was cancelled before stays as it is.
    pub(crate) async fn cancel_client_session(&self, id: &str) -> Result<SignedSession, Rejection> {
        let cancelled = self.store.cancel_client_session(id, Timestamp::now()).await;
        let session = cancelled.map_err(store_down)?.ok_or_else(|| {
            Rejection::new(Code::SessionNotFound).message("No session found with this id.")
        })?;
        self.sign(session).await
    }

    /// Signs the secret of a client session.
    async fn sign(&self, session: ClientSession) -> Result<SignedSession, Rejection> {
        let Some(signer) = &self.signer else {
            return Err(Rejection::new(Code::Internal).because("nobody signs client secrets"));
        };
        let secret = signer.sign(&session).await.map_err(store_down)?;
        Ok(SignedSession::new(session, secret))
    }

    /// Opens the directory of a user's threads, or of everybody's, where a page of them is to be
    /// read, once it is known that its cursors are some.
    pub(crate) async fn open_directory(
        &self,
        user: Option<UserId>,
        ascending: bool,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<ThreadDirectory, Rejection> {
        let after = self.cursor("/after", after).await?;
        let until = self.cursor("/before", before).await?;
        let (backwards, after, until) = match (after, until) {
            (None, Some(until)) => (true, Some(until), None),
            (after, until) => (false, after, until),
        };
        let cursor = after.as_ref().and_then(|cursor| cursor.thread_id.clone());
        let page = ThreadsPage {
            user_id: user,
            ascending: ascending != backwards,
            after: after.map(|cursor| cursor.place),
            until: until.map(|cursor| cursor.place),
            limit: 0,
        };
        Ok(ThreadDirectory::new(Arc::clone(&self.store), page, cursor, backwards))
    }

    /// Finds the place that a parameter names: a thread's, or that of one which was deleted not long
    /// ago.
    async fn cursor(&self, pointer: &str, id: Option<&str>) -> Result<Option<Cursor>, Rejection> {
        let Some(id) = id else { return Ok(None) };
        // Of one in quarantine its place is told, as of one that is deleted.
        let found = self.find(id).await?.and_then(Found::open);
        let thread_id = found.and_then(|record| record.thread_id);
        let place = self.store.place_of_thread(thread_id.as_deref().unwrap_or(id)).await;
        let place = place.map_err(store_down)?.ok_or_else(|| {
            let name = pointer.trim_start_matches('/');
            Rejection::from(Report::one(pointer, "must be a thread's id"))
                .message(format!("The parameter {name} names no thread."))
        })?;
        Ok(Some(Cursor { place, thread_id }))
    }

    /// Finds the session of a thread, whoever owns it. One without a thread is none.
    pub(crate) async fn find_thread(&self, id: &str) -> Result<OwnedSession, Rejection> {
        let record = self.find(id).await?.map(Found::admit).transpose()?;
        let bound = record.filter(|record| record.thread_id.is_some());
        bound.map(|record| self.own(record)).ok_or_else(|| {
            Rejection::new(Code::ThreadNotFound).message("No thread found with this id.")
        })
    }

    /// Finds the same, and gives the right to delete its owner's attachments.
    pub(crate) async fn find_thread_with_files(
        &self,
        id: &str,
    ) -> Result<(OwnedSession, Attachments), Rejection> {
        let session = self.find_thread(id).await?;
        let owner = session.record().user_id.clone();
        let attachments = Attachments::new(owner, Arc::clone(&self.store));
        Ok((session, attachments))
    }

    /// Finds the same, and tells which of the cursors of its items this gateway gave.
    pub(crate) async fn find_items(
        &self,
        id: &str,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<(OwnedSession, ItemBounds), Rejection> {
        let session = self.find_thread(id).await?;
        let record = session.record();
        // The owner's, whichever service asks.
        let cursors =
            ItemCursors::new(List::OpenAiItems, record.user_id.clone(), self.cursors.clone());
        let read = async |cursor: Option<&str>, unknown: fn() -> Rejection| {
            let Some(cursor) = cursor else { return Ok(None) };
            let thread_id = record.thread_id.as_deref().unwrap_or_default();
            Ok::<_, Rejection>(Some(match cursors.open(thread_id, cursor).await? {
                Some(given) => ItemCursor::Given(given.to_owned()),
                // It would be looked for among the thread's ids, page by page, and be none.
                None if looks_sealed(cursor) => return Err(unknown()),
                None => ItemCursor::Id(cursor.to_owned()),
            }))
        };
        let unknown_before: fn() -> Rejection = match after {
            Some(_) => ItemCursor::unknown_end,
            None => || ItemCursor::unknown("before"),
        };
        let after = read(after, || ItemCursor::unknown("after")).await?;
        let before = read(before, unknown_before).await?;
        Ok((session, ItemBounds { after, before, cursors, _seal: Seal }))
    }

    /// Finds the session of a thread, by the upstream's id of it or by its own.
    async fn find(&self, id: &str) -> Result<Option<Found<SessionRecord>>, Rejection> {
        let mut found = self.store.get(SessionKey::Thread(id)).await.map_err(store_down)?;
        if found.is_none()
            && let Some(id) = SessionId::parse(id)
        {
            found = self.store.get(id.into()).await.map_err(store_down)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_session_lasts_as_long_as_was_asked_for() {
        let at = |nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap();
        for (now, seconds, end) in
            [(7_000_000_000, 1, 8), (7_000_000_001, 1, 9), (7_999_999_999, 600, 608)]
        {
            assert_eq!(end_of_life(at(now), seconds).as_second(), end);
        }
        assert_eq!(end_of_life(Timestamp::MAX, u64::MAX), Timestamp::MAX);
    }
}
