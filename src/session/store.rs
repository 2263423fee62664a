//! The contract of a session store.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::adoption::{Adopted, Adoption};
use super::client_session::ClientSession;
use super::pages::{PlacedSession, SessionSummary, SessionsPage, ThreadPlace, ThreadsPage};
use super::quarantine::{Found, QuarantinedThread, Released, Reuse};
use super::record::{ConversationId, MessageCount, Ownership, SessionId, SessionRecord, ThreadId};
use crate::error::Error;
use crate::principal::UserId;

/// What a store's calls return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Where sessions are kept.
///
/// A store keeps ownership, binding, counts, titles and times. It never keeps conversation
/// content: the upstream is the only source of that.
///
/// What every implementation promises (one test suite runs over all of them, `tests/stores`):
///
/// - **Acknowledged is durable.** When a future that writes resolves to `Ok`, a crash of the
///   process loses nothing of it (a store in memory excepted, which is for tests).
/// - **Exact.** Limits hold under any concurrency: fifty [`create`](Self::create)s at
///   once with a limit of ten make ten sessions; twenty [`begin_run`](Self::begin_run)s
///   at once on an unbound session give one [`RunStart::First`]; messages in flight count
///   towards the message limit.
/// - **Cancel-safe.** Dropping a future before it resolves leaves the store as if the call had
///   been made or as if it hadn't, never in between.
/// - **Bounded.** Whatever is kept in memory per run or per user ends with it.
/// - **Clocks go back.** A session's `updated_at` never does, and nothing that ends at some time lasts
///   longer for it.
/// - **Hostile input.** User ids, thread ids, attachment ids and titles are bytes from outside;
///   they are compared exactly and never interpreted.
/// - **Failure.** A store that can't do what it was asked to says so with an
///   [`Error`] within a bounded time and does nothing by halves.
///
/// Ownership never changes while there is something to own: a session's `user_id` and, once set, its
/// `thread_id` are constant until it is deleted. From then on its thread's id may be another's, because
/// upstreams use ids again, and it may be another process that deleted it. So callers remember
/// nothing of whose a thread is: they ask for each request.
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Adds a session, unless its owner already has `max_sessions`; those that were
    /// [adopted](Self::adopt), or are in [quarantine](Found::Quarantined), are none of them.
    ///
    /// Counting, giving it its id as a conversation, and adding are one step. An id that a session
    /// has already is an error.
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created>;

    /// Takes on what a ChatKit server has already. A thread becomes a bound session of its user's,
    /// an attachment is recorded as its user's.
    ///
    /// One outcome for each entry, in their order; each is decided when those before it are done.
    /// Every entry is adopted as a whole or not at all. A call that fails may have adopted some of
    /// them: to make it again is harmless. What was adopted and is [deleted](Self::delete) or
    /// [disowned](Self::disown_attachment) since is [`Adopted::Deleted`] for ever: the entries may
    /// have been written down before. So is, while its place is known, any thread that was deleted.
    /// What is in quarantine stays there: [`AdoptionConflict::Quarantined`].
    ///
    /// [`AdoptionConflict::Quarantined`]: super::AdoptionConflict::Quarantined
    ///
    /// An adopted session was bound when it was created, so that threads stay in their order. It
    /// never counts for [`create`](Self::create)'s limit, and its message count is
    /// [`MessageCount::AtLeast`] until somebody has counted. A number that it has as a conversation
    /// is one that [`NewConversation::Next`] has left behind from then on.
    fn adopt(&self, entries: Vec<Adoption>) -> StoreFuture<'_, Vec<Adopted>>;

    /// Gives the session of that id, whoever owns it.
    fn get(&self, id: SessionId) -> StoreFuture<'_, Option<Found<SessionRecord>>>;

    /// Gives the session that is bound to that upstream thread, whoever owns it.
    fn by_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<SessionRecord>>>;

    /// Tells whose the session of that id is. Asked for many requests, so it must be cheap.
    fn ownership(&self, id: SessionId) -> StoreFuture<'_, Option<Found<Ownership>>>;

    /// Tells whose the upstream thread is, by the session that is bound to it; as
    /// [`ownership`](Self::ownership).
    fn ownership_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<Found<Ownership>>>;

    /// Gives the session that has that id as a conversation, whoever owns it.
    fn by_conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<Found<SessionRecord>>>;

    /// Gives a page of a user's sessions but those in [quarantine](Found::Quarantined), newest
    /// `updated_at` first; ties by newest `created_at`, then id.
    ///
    /// Who goes on after the [place](super::SessionPlace::of) of a page's last session meets each
    /// session that is not written to meanwhile once, whatever becomes of the others.
    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>>;

    /// Sets the title and `updated_at`; `None` if there is no such session, or it is in
    /// [quarantine](Found::Quarantined).
    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>>;

    /// Takes the session for one run that will add one user message, if it is `user_id`'s and, where
    /// the request names a thread, bound to `thread_id`.
    ///
    /// Whose it is, is found in the same step, so that it need not be asked for before, and in this
    /// order: [`RunStart::Unknown`], [`RunStart::Foreign`], [`RunStart::Quarantined`],
    /// [`RunStart::OtherThread`]. Of these nothing is written, and no count or lease has a say in them.
    ///
    /// A bound session may have any number of runs at once; each counts as one message until
    /// it is [settled](Self::settle). An unbound session has one at a time: the caller gets a
    /// [`Lease`] and either [binds](Self::bind) with it or settles. A lease that is neither
    /// (the process died) ends by itself after `begin.lease`, and at once if the clock is set back to
    /// before it began.
    ///
    /// A run of a session whose messages nobody has counted begins as [`BeginRun::uncounted`] says.
    ///
    /// [`RunStart::Busy`] comes before [`RunStart::MessageLimit`]: the other first run may fail
    /// and give its place back. A run that was begun for a future that was dropped before it
    /// resolved is settled by the store.
    fn begin_run<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: Option<&'a str>,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart>;

    /// Binds a session to the thread that its first run made, and sets `updated_at`.
    ///
    /// The lease must still be the session's: not settled, not used, and not taken over by
    /// another run after its time was up (time alone doesn't end it). It is used up by success.
    /// Durable before it resolves, because the thread's id is shown to the client right after.
    ///
    /// Whatever became of the lease and of the session, which is or was `user_id`'s, a thread that is
    /// another session's already is [`Bound::ThreadReused`]. If that is another user's, the thread goes into quarantine in the
    /// same step: from then on every process on the store finds its session
    /// [`Quarantined`](Found::Quarantined), begins no run on it, and leaves it out of lists; the
    /// session and its counts stay. So it is with an id that is in quarantine already, even if its
    /// session is [deleted](Self::delete_quarantined).
    fn bind(
        &self,
        id: SessionId,
        user_id: &UserId,
        lease: Lease,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Bound>;

    /// Says that the upstream called a thread so in a run of a session that is bound to another one.
    /// If it is another user's, or in quarantine, it is dealt with as [`bind`](Self::bind) does;
    /// else `None`, and nothing happens.
    fn thread_named(
        &self,
        id: SessionId,
        user_id: &UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Reuse>>;

    /// Gives the threads in quarantine with ids behind `after`, in the order of their ids' bytes;
    /// at most `limit`.
    fn quarantined(
        &self,
        after: Option<ThreadId>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<QuarantinedThread>>;

    /// Takes a thread out of quarantine, as if it had never been in it.
    fn release(&self, thread_id: &str) -> StoreFuture<'_, Released>;

    /// [Deletes](Self::delete) the session of a thread in quarantine; `false` if there is none. The
    /// id stays there until it is [released](Self::release): upstream, the thread may be there still.
    fn delete_quarantined(&self, thread_id: &str, now: Timestamp) -> StoreFuture<'_, bool>;

    /// Ends a run: counts its messages, gives back its place and, if still held, its lease.
    ///
    /// Called exactly once for each [`RunStart::First`] and [`RunStart::Next`], from `Drop` too:
    /// it must not block or fail. It is applied in order with later calls on the same store (a
    /// `begin_run`, `list` or `get` made afterwards sees it), but may be made durable later; a
    /// count lost to a crash is repaired by [`set_message_count`](Self::set_message_count).
    fn settle(&self, id: SessionId, settlement: Settlement);

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

    /// Deletes a session, unless it is in [quarantine](Found::Quarantined). Runs in flight may still be
    /// settled.
    ///
    /// The [place](Self::place_of_thread) of its thread, if it had one, stays known for a day
    /// after `now`. Some of those that were deleted earlier may go: enough of them that they
    /// don't pile up.
    fn delete(&self, id: SessionId, now: Timestamp) -> StoreFuture<'_, Deletion>;

    /// Records that an attachment belongs to a user. [`Owned::Taken`] if it is somebody else's
    /// already; the same owner twice is fine.
    fn own_attachment(&self, user_id: &UserId, attachment_id: &str) -> StoreFuture<'_, Owned>;

    /// Gives the owner of an attachment.
    fn attachment_owner(&self, attachment_id: &str) -> StoreFuture<'_, Option<UserId>>;

    /// Gives the owners of these attachments, in their order: one look-up, however many they are.
    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>>;

    /// Forgets an attachment; `false` if it was not known.
    fn disown_attachment(&self, attachment_id: &str) -> StoreFuture<'_, bool>;

    /// Gives a page of the sessions that are bound and not in [quarantine](Found::Quarantined), in
    /// the order in which they were bound; ties by id.
    fn threads(&self, page: ThreadsPage) -> StoreFuture<'_, Vec<PlacedSession>>;

    /// Tells where a thread stands among the [threads](Self::threads), or stood if its session was
    /// deleted less than a day ago: who deletes what a page shows goes on behind it all the same.
    fn place_of_thread(&self, thread_id: &str) -> StoreFuture<'_, Option<ThreadPlace>>;

    /// Gives the key that the secrets of client sessions are signed with: `fresh` if there was none
    /// yet, and the same for ever after. Replicas on one store have one key. It is a secret.
    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]>;

    /// Adds a client session, unless its user has `max_active` that are active when it is created.
    /// Counting and adding are one step.
    ///
    /// Some of those that expired more than a day before may go: enough of them that they don't
    /// pile up. An id that is taken is an error.
    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated>;

    /// Gives the client session of that id. What another process has revoked is revoked here at
    /// once.
    fn client_session(&self, id: &str) -> StoreFuture<'_, Option<ClientSession>>;

    /// Sets `cancelled_at` of a client session that is active at `now` or was made later, for clocks
    /// go back, and leaves any other as it is; `None` if there is none.
    fn cancel_client_session(
        &self,
        id: &str,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<ClientSession>>;

    /// Resolves to `Ok` if the store could serve a request now: whatever it keeps can be read, is
    /// where others look for it, and can be written.
    fn ping(&self) -> StoreFuture<'_, ()>;
}

/// What [`SessionStore::create`] adds.
#[derive(Clone, Debug)]
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

/// By how much a clock is corrected in passing: what began so much later than now has begun.
pub(super) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// How long the place of a deleted thread is known.
pub(super) const KEEP_PLACE: SignedDuration = SignedDuration::from_hours(24);

/// How long an expired client session is kept at least, for whoever asks about it.
pub(super) const KEEP_EXPIRED: SignedDuration = SignedDuration::from_hours(24);

/// The outcome of [`SessionStore::create_client_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ClientSessionCreated {
    /// It was added.
    Done,
    /// The user has as many as they may have.
    LimitReached,
}

/// The outcome of [`SessionStore::create`].
#[derive(Clone, Debug)]
#[must_use]
pub enum Created {
    /// Another session has that id as a conversation. The user's limit was not reached.
    ConversationTaken,
    /// The user has as many sessions as they may have.
    LimitReached,
    /// The session as it was stored.
    Session(SessionRecord),
}

/// The outcome of [`SessionStore::delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// Its thread is in [quarantine](Found::Quarantined), so it stays.
    Quarantined,
    /// There is no such session.
    Unknown,
}

/// What [`SessionStore::begin_run`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct BeginRun {
    /// The session's limit of messages.
    pub max_messages: Option<NonZeroU32>,
    /// How long an unbound session is kept for this run.
    pub lease: Duration,
    /// The time, for the lease.
    pub now: Timestamp,
    /// What is done where nobody has counted the session's messages.
    pub uncounted: Uncounted,
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
    pub(super) fn at_most(self, by: u64) -> Option<u64> {
        match self {
            Self::Begin => Some(by),
            Self::Counted { seen, messages } => {
                Some(messages.saturating_add(by.saturating_sub(seen)))
            }
            Self::Tell => None,
        }
    }

    /// Gives the count to be kept, where so many went `by` and nothing runs.
    pub(super) fn count(self, by: u64) -> Option<u64> {
        match self {
            Self::Counted { seen, messages } if seen == by => Some(messages),
            Self::Begin | Self::Counted { .. } | Self::Tell => None,
        }
    }
}

impl BeginRun {
    /// Tells whether a lease is still somebody's that was given at `since` and ends at `until`,
    /// both in microseconds since the Unix epoch.
    ///
    /// One that was given later than now is over: the clock was set back since, and it would last
    /// for as much longer.
    pub(super) fn finds_held(&self, since: Option<i64>, until: i64) -> bool {
        let now = self.now.as_microsecond();
        let latest = now.saturating_add(CLOCK_TOLERANCE.as_micros().try_into().unwrap_or(i64::MAX));
        now < until && since.is_none_or(|since| since <= latest)
    }

    /// Gives the end of a lease that begins now, in microseconds since the Unix epoch.
    pub(super) fn lease_until(&self) -> i64 {
        let lease = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX);
        self.now.as_microsecond().saturating_add(lease)
    }
}

/// The outcome of [`SessionStore::begin_run`].
#[derive(Clone, Debug)]
#[must_use]
pub enum RunStart {
    /// Another first run holds the session's lease.
    Busy,
    /// The session is unbound, and this caller may make its thread.
    First {
        /// The right to bind it.
        lease: Lease,
        /// Whether it has a title.
        titled: bool,
    },
    /// The session is another user's.
    Foreign,
    /// The session has as many messages as it may have, those in flight included.
    MessageLimit,
    /// The session is bound to this thread.
    Next(ThreadId),
    /// The session is unbound, or bound to another thread than the one that was named.
    OtherThread,
    /// The session's thread is in [quarantine](Found::Quarantined).
    Quarantined,
    /// The session is bound to this thread, whose messages nobody has counted. Nothing is begun.
    Uncounted {
        /// The thread.
        thread_id: ThreadId,
        /// The messages that went by, for [`Uncounted::Counted`].
        seen: u64,
    },
    /// There is no such session.
    Unknown,
}

/// The right to bind a session: a number that is different for each holder (a fencing token).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(u64);

impl Lease {
    /// Makes a lease of that number. For implementations of [`SessionStore`].
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Gives the number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The outcome of [`SessionStore::bind`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Bound {
    /// The session is bound; the lease is used up.
    Done,
    /// The lease ran out and somebody else has or had it, or the session is gone.
    LeaseLost,
    /// Another session is bound to that thread: the upstream used an id twice.
    ThreadReused(Reuse),
}

/// How a run ended, for [`SessionStore::settle`].
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// The lease, if the session was not bound with it.
    pub lease: Option<Lease>,
    /// User and assistant messages that the upstream finished.
    pub messages: u64,
    /// The last title that the upstream gave the thread: `Some(None)` if it took it away.
    pub title: Option<Option<String>>,
    /// The new `updated_at`, if the run got anywhere.
    pub touched_at: Option<Timestamp>,
    /// The session was made for this run: delete it if it is still unbound.
    pub discard_unbound: bool,
}

/// The outcome of [`SessionStore::own_attachment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Owned {
    /// It is theirs.
    Done,
    /// It is somebody else's.
    Taken,
}

/// Cuts an instant to the precision that stores keep; one near the end of time stays as it is.
pub(super) fn whole_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}
