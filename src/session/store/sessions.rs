//! Which sessions there are, and whose.

use std::fmt;
use std::num::NonZeroU32;

use jiff::Timestamp;
use uuid::Uuid;

use super::{BeginRun, StoreFuture};
use crate::principal::UserId;
use crate::session::pages::{SessionSummary, SessionsPage};
use crate::session::quarantine::Found;
use crate::session::record::{ConversationId, Ownership, SessionId, SessionRecord, ThreadId};

/// The sessions; a part of [`SessionStore`](super::SessionStore), whose documentation says what holds
/// for all of its calls.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Adds a session, unless its owner already has `max_sessions`; those that were
    /// [adopted](super::Directory::adopt), or are in [quarantine](Found::Quarantined), are none of
    /// them. Nor are those that were made with [a first run](NewSession::first_run), if that is unsettled,
    /// has not bound them, and ended with its process: some of these go where there is no room otherwise.
    ///
    /// Counting, giving it its id as a conversation, adding, and beginning
    /// [its first run](NewSession::first_run) are one step. An id that a session has already is an
    /// error. If there is a first run and the future is dropped before it resolves, neither stays, unless
    /// somebody [began the run again](super::Runs::begin_run) and was told so.
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created>;

    /// Gives the session of that name, whoever owns it.
    fn get<'a>(&'a self, session: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>>;

    /// Tells whose the session of that name is. Asked for many requests, so it must be cheap.
    fn ownership<'a>(
        &'a self,
        session: SessionKey<'a>,
    ) -> StoreFuture<'a, Option<Found<Ownership>>>;

    /// Gives a page of a user's sessions but those in [quarantine](Found::Quarantined), newest
    /// `updated_at` first; ties by newest `created_at`, then id.
    ///
    /// Who goes on after the [place](crate::session::SessionPlace::of) of a page's last session meets
    /// each session that is not written to meanwhile once, whatever becomes of the others.
    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>>;

    /// Sets the title and `updated_at`; `None` if there is no such session, or it is in
    /// [quarantine](Found::Quarantined).
    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>>;

    /// Deletes a session that is bound to that thread, or, if none is given, to none.
    ///
    /// One in [quarantine](Found::Quarantined) stays, and so does an unbound one while its first run
    /// is held: it may be bound yet. Runs of a bound one may be in flight, and still be settled.
    ///
    /// The [place](super::Directory::place_of_thread) of its thread, if it had one, stays known for a
    /// day after `now`. Some of those that were deleted earlier may go: enough of them that they
    /// don't pile up.
    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        now: Timestamp,
    ) -> StoreFuture<'a, Deletion>;

    /// Gives the key that cursors and the secrets of client sessions are signed with: `fresh` if there
    /// was none yet, and the same for ever after. Replicas on one store have one key. It is a secret.
    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]>;

    /// Resolves to `Ok` if the store could serve a request now: whatever it keeps can be read, is
    /// where others look for it, and can be written.
    fn ping(&self) -> StoreFuture<'_, ()>;
}

/// What a request calls a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKey<'a> {
    /// Its id as a conversation.
    Conversation(ConversationId),
    /// Its id.
    Id(SessionId),
    /// The id of the upstream's thread that it is bound to.
    Thread(&'a str),
}

impl From<SessionId> for SessionKey<'_> {
    fn from(id: SessionId) -> Self {
        Self::Id(id)
    }
}

impl From<ConversationId> for SessionKey<'_> {
    fn from(id: ConversationId) -> Self {
        Self::Conversation(id)
    }
}

/// What [`Sessions::create`] adds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its owner.
    pub user_id: UserId,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Its id as a conversation, if it is to have one.
    pub conversation: Option<NewConversation>,
    /// `created_at` and `updated_at`. Truncated to microseconds.
    pub now: Timestamp,
    /// The run that begins with it, as [`RunStart::First`](super::RunStart::First), if one does: the
    /// caller may make its thread, and binds or settles. A new session has room for it, and its
    /// messages are known, whatever it says of both.
    pub first_run: Option<BeginRun>,
}

impl NewSession {
    /// Makes one of a random id, with nothing but its owner and its time.
    pub fn new(user_id: UserId, now: Timestamp) -> Self {
        let id = SessionId::random();
        Self { id, user_id, title: None, conversation: None, now, first_run: None }
    }
}

/// The id as a conversation that a new session is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewConversation {
    /// [`ConversationId::Conv`] of these bits.
    Conv(u32),
    /// [`ConversationId::Integer`] of the next number of the store's sequence: greater than every
    /// one that was ever given, those of deleted sessions included, and at most 2^53 - 1; an error if
    /// there is none left. Numbers may be left out.
    Next,
}

impl NewConversation {
    /// Makes a [`Conv`](Self::Conv) of 32 random bits. Another session may have it already.
    pub fn random() -> Self {
        // The first field of a UUID v4 is random in all of its bits (RFC 9562 section 5.4).
        Self::Conv(Uuid::new_v4().as_fields().0)
    }
}

/// The outcome of [`Sessions::create`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum Created {
    /// Another session has that id as a conversation. The user's limit was not reached.
    ConversationTaken,
    /// The user has as many sessions as they may have.
    LimitReached,
    /// The session as it was stored.
    Session(SessionRecord),
}

/// The outcome of [`Sessions::delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Deletion {
    /// It is bound to this thread, and not to the one that was given, if one was.
    Bound(ThreadId),
    /// Its first run is held.
    Busy,
    /// It is deleted.
    Done,
    /// Its thread is in [quarantine](Found::Quarantined), so it stays.
    Quarantined,
    /// There is no such session; or it is unbound, and a thread was given.
    Unknown,
}
