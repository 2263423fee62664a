//! Requests of a limit that are handed out ahead, so that several gateways hold to one limit.
//!
//! Needs the feature `limit` or `session`.
//!
//! Gateways that share a store share limits of requests: [`Allowances`] is a part of the session
//! store's contract, and the room `limit` takes from it. A gateway doesn't ask for each request. It
//! takes a *slice* of what a user may still do, a tenth of the limit, and lets requests in
//! on that until it is used up or over.
//!
//! # Never more than the limit
//! Of every user, or client session, no more than `limit` requests are let in within any
//! [`window`](TakeSlice::window), by all gateways together. With *W* the window and *L* the
//! [lifetime](TakeSlice::lifetime) of a slice, a tenth of it:
//!
//! 1. A slice that was granted at *g* is used before *g* + *L*. The gateway measures *L* from
//!    before it asked, which was before *g*; no clock is compared with another machine's.
//! 2. Each request that was granted has a *last moment* at which it may have been let in: *g* + *L*, or
//!    what the gateway [reported](SliceReport) since, which is not before the moment itself.
//! 3. At *t* the store grants no more than `limit` less all those whose last moment is after *t* − *W*.
//!
//! Of the slices that requests within any *W* were let in on, take the one that was granted last,
//! at *t*. One of the requests was let in at *t* or later, so all of them were after *t* − *W*, and so are
//! their last moments. All of them were counted at *t*, its own too, and there were no more than
//! `limit`.
//!
//! # Refused no earlier than need be
//! What is refused is refused for what was let in less than *W* before, for what a gateway
//! holds, which is given back when its slice is over, and for what nobody could report, as
//! after a gateway's end, for *W* + *L* at most. Moments are reported to a sixtieth of the window and kept to
//! another (whole seconds of a minute, which `Retry-After` is told in), and are taken for later than they were by as
//! much as a call took to get to the store: by so much is a request given back late.
//!
//! # What is kept
//! A store keeps a [`Ledger`] for each key until *W* + *L* after its last slice. It has an entry for
//! each slice that is out, and at most 70 for all requests that were reported. Keys are made by requests of
//! verified users and of client sessions that exist, and go by themselves.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::principal::UserId;

mod ledger;

pub use ledger::Ledger;

/// What calls of [`Allowances`] return.
pub type AllowanceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Limits of requests that several gateways share; a part of the contract of `session::SessionStore`, or
/// by itself.
///
/// A store that doesn't implement it shares none: each gateway has limits of its own then.
///
/// Nothing of it need be durable, but where it is lost, as with a process that kept it in memory,
/// no slice must be granted for [`window`](TakeSlice::window) and
/// [`lifetime`](TakeSlice::lifetime) after, or the limit doesn't hold for so long.
pub trait Allowances: fmt::Debug + Send + Sync + 'static {
    /// Applies the reports and grants a slice, in one step: of what `take` wants, as much as there is,
    /// as the [module](self) says. Whoever drops the future may have been granted a slice that nobody
    /// knows of.
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: TakeSlice,
    ) -> AllowanceFuture<'a, Slice> {
        let _ = (key, take);
        let lacking = Error::lacking("limits of requests that gateways share");
        Box::pin(std::future::ready(Err(lacking)))
    }

    /// Applies reports of slices that are used up or over, each as
    /// [`take_allowance`](Self::take_allowance) does. A call that fails may have applied some of them.
    fn give_back_allowances(
        &self,
        window: Duration,
        reports: Vec<(AllowanceKey, SliceReport)>,
    ) -> AllowanceFuture<'_, ()> {
        let _ = (window, reports);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Whose requests a limit is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AllowanceKey {
    /// A user's.
    User(UserId),
    /// Those of the client session of that id, which has a limit of its own.
    ClientSession(Arc<str>),
}

impl AllowanceKey {
    /// Gives bytes that are no other key's: a `u` or an `s`, and the id.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, id) = match self {
            Self::User(id) => (b'u', id.as_str()),
            Self::ClientSession(id) => (b's', &**id),
        };
        let mut bytes = Vec::with_capacity(1 + id.len());
        bytes.push(tag);
        bytes.extend_from_slice(id.as_bytes());
        bytes
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TakeSlice {
    /// The requests that all gateways together may let in within any `window`.
    pub limit: NonZeroU32,
    /// That of the limit: the same for all who ask.
    pub window: Duration,
    /// How many requests are wanted.
    pub want: NonZeroU32,
    /// What became of slices of the same key. Applied first.
    pub reports: Vec<SliceReport>,
}

impl TakeSlice {
    /// Asks for a tenth of the limit, and at least for one.
    pub fn new(limit: NonZeroU32, window: Duration) -> Self {
        let want = NonZeroU32::new(limit.get() / SLICES).unwrap_or(NonZeroU32::MIN);
        Self { limit, window, want, reports: Vec::new() }
    }

    /// Gives the time within which a slice is to be used, from before it was asked for.
    pub fn lifetime(&self) -> Duration {
        lifetime(self.window)
    }
}

/// How many slices make the limit, and how many lifetimes of one the window.
const SLICES: u32 = 10;

/// Moments are told apart by so many of a window.
const MOMENTS: u32 = 60;

/// Gives the time within which a slice of a limit with that window is to be used.
pub(crate) fn lifetime(window: Duration) -> Duration {
    window / SLICES
}

/// Gives the time that is not told apart.
pub(crate) fn moment(window: Duration) -> Duration {
    window / MOMENTS
}

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// By what it is reported. Of no use if nothing was granted.
    pub id: SliceId,
    /// How many requests may be let in: what was wanted, unless there was less.
    pub granted: u32,
    /// How many are left for whoever asks next.
    pub left: u32,
    /// If none are left, the time until one is there again at the latest, unless somebody else takes it.
    pub wait: Duration,
}

/// A slice of its key's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SliceId(pub i64);

/// What became of a slice that is not used any more.
///
/// The store applies it once: to send it again changes nothing, and requests that it doesn't tell
/// of were let in at the end of the slice's lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceReport {
    /// The slice.
    pub slice: SliceId,
    /// The requests that were let in on it.
    pub used: Vec<UsedAt>,
    /// How many never will be.
    pub given_back: u32,
}

/// Requests that were let in on a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedAt {
    /// The time after the slice was granted within which all of them were. Measured from before it was
    /// asked for.
    pub after: Duration,
    /// How many.
    pub requests: u32,
}
