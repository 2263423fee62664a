//! The contract of a session store.
//!
//! It has six parts, and a store implements all of them. What an application has no use of can stay
//! as it is: the parts for [attachments](AttachmentOwners), for [clients' sessions](ClientSessions), for
//! [all threads](Directory) and for [limits that gateways share](Allowances) do nothing unless they are
//! implemented.

use std::future::Future;
use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};

use crate::allowance::Allowances;
use crate::error::Error;

mod attachments;
mod clients;
mod directory;
mod runs;
mod sessions;

pub use attachments::{AttachmentOwners, Owned};
pub use clients::{ClientSessionCreated, ClientSessions};
pub use directory::Directory;
pub(in crate::session) use runs::is_held;
pub use runs::{BeginRun, Bound, OnThread, RunId, RunStart, Runs, Settlement, Uncounted};
pub use sessions::{Created, Deletion, NewConversation, NewSession, SessionKey, Sessions};

/// What a store's calls return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Where sessions are kept.
///
/// A store keeps ownership, binding, counts, titles and times. It never keeps conversation
/// content: the upstream is the only source of that.
///
/// What every implementation promises (one suite runs over all of them, the feature `store-contract`):
///
/// - **Acknowledged is durable.** When a future that writes resolves to `Ok`, a crash of the
///   process loses nothing of it (a store in memory excepted, which is for tests).
/// - **Exact.** Limits hold under any concurrency: fifty [`create`](Sessions::create)s at
///   once with a limit of ten make ten sessions; twenty [`begin_run`](Runs::begin_run)s
///   at once on an unbound session give one [`RunStart::First`]; messages in flight count
///   towards the message limit.
/// - **A crash gives back.** A process that ends, however it does, has no run any more: neither a place
///   among a session's messages nor a lease, as soon as a store that others share can tell.
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
pub trait SessionStore:
    Sessions + Runs + AttachmentOwners + ClientSessions + Directory + Allowances
{
}

impl<T> SessionStore for T where
    T: Sessions + Runs + AttachmentOwners + ClientSessions + Directory + Allowances + ?Sized
{
}

/// Answers at once.
fn answer<T: Send + 'static>(value: T) -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Ok(value)))
}

/// Fails, as what a store that doesn't implement a part hasn't got.
fn lacks<T: Send + 'static>(what: &str) -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Err(Error::lacking(what))))
}

/// By how much a clock is corrected in passing: what began so much later than now has begun.
pub(in crate::session) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// How long the place of a deleted thread is known.
pub(in crate::session) const KEEP_PLACE: SignedDuration = SignedDuration::from_hours(24);

/// How long an expired client session is kept at least, for whoever asks about it.
pub(in crate::session) const KEEP_EXPIRED: SignedDuration = SignedDuration::from_hours(24);

/// Cuts an instant to the precision that stores keep; one near the end of time stays as it is.
pub(in crate::session) fn whole_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}
