//! What the store keeps of a client session.

use std::fmt;
use std::num::NonZeroU32;

use jiff::Timestamp;

use super::store::{CLOCK_TOLERANCE, StoreFuture};
use crate::principal::UserId;

/// The right of one client (a page in a browser) to act for a user for a while, which a service
/// gave it: what the OpenAI-compatible API calls a session, and no [session](super::SessionRecord).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSession {
    /// Its id: `cksess_` and 32 hexadecimal digits.
    pub id: String,
    /// Whom its client acts for.
    pub user_id: UserId,
    /// When it was made, in microseconds' precision.
    pub created_at: Timestamp,
    /// From when on it is no use, in microseconds' precision.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was before it expired.
    pub cancelled_at: Option<Timestamp>,
    /// What its client may ask for in a minute.
    pub requests_per_minute: NonZeroU32,
    /// What else the service said when it made it: a JSON object that is shown to services, and not
    /// looked at. `Debug` leaves it out.
    pub details: String,
}

impl ClientSession {
    /// Makes one that lasts from the one time to the other, and of which the service said no more.
    pub fn new(
        id: String,
        user_id: UserId,
        created_at: Timestamp,
        expires_at: Timestamp,
        requests_per_minute: NonZeroU32,
    ) -> Self {
        let (cancelled_at, details) = (None, "{}".to_owned());
        Self { id, user_id, created_at, expires_at, cancelled_at, requests_per_minute, details }
    }

    /// Tells how it stands at `now`. One that was made later is over: the clock was set back since,
    /// and it would last for as much longer.
    pub fn status(&self, now: Timestamp) -> ClientSessionStatus {
        let latest = now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX);
        if self.cancelled_at.is_some() {
            ClientSessionStatus::Cancelled
        } else if now >= self.expires_at || self.created_at > latest {
            ClientSessionStatus::Expired
        } else {
            ClientSessionStatus::Active
        }
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, user_id, created_at, expires_at, cancelled_at, requests_per_minute, .. } =
            self;
        f.debug_struct("ClientSession")
            .field("id", id)
            .field("user_id", user_id)
            .field("created_at", created_at)
            .field("expires_at", expires_at)
            .field("cancelled_at", cancelled_at)
            .field("requests_per_minute", requests_per_minute)
            .finish_non_exhaustive()
    }
}

/// A client session that is asked for.
#[cfg(feature = "operation")]
pub(crate) struct NewClientSession {
    /// Whom it is for.
    pub(crate) user_id: UserId,
    /// How long it lasts, in seconds.
    pub(crate) seconds: u64,
    /// Its requests a minute.
    pub(crate) requests_per_minute: NonZeroU32,
    /// `workflow` and `chatkit_configuration` with their defaults, as a JSON object. `Debug` leaves
    /// it out.
    pub(crate) details: String,
}

#[cfg(feature = "operation")]
impl fmt::Debug for NewClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewClientSession")
            .field("user_id", &self.user_id)
            .field("seconds", &self.seconds)
            .field("requests_per_minute", &self.requests_per_minute)
            .finish_non_exhaustive()
    }
}

/// How a client session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientSessionStatus {
    /// Its secret is good.
    Active,
    /// It was revoked.
    Cancelled,
    /// Its time is over.
    Expired,
}

impl ClientSessionStatus {
    /// Gives its name as the OpenAI-compatible API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// The secret of a client session. `Debug` shows nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Takes what is to be kept out of sight.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Gives the secret itself, for the reply.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// A client session and its secret: the right to hand that out.
///
/// [`session`](crate::session) alone makes one. Outside of it this doesn't compile:
/// ```compile_fail,E0451
/// # use chatkit_rest::session::{ClientSecret, ClientSession, SignedSession};
/// fn forge(session: ClientSession, secret: ClientSecret) -> SignedSession {
///     SignedSession { session, secret }
/// }
/// ```
/// ```compile_fail,E0624
/// # use chatkit_rest::session::{ClientSecret, ClientSession, SignedSession};
/// fn forge(session: ClientSession, secret: ClientSecret) -> SignedSession {
///     SignedSession::new(session, secret)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SignedSession {
    session: ClientSession,
    secret: ClientSecret,
}

impl SignedSession {
    pub(super) fn new(session: ClientSession, secret: ClientSecret) -> Self {
        Self { session, secret }
    }

    /// Gives the session as it is kept.
    pub fn session(&self) -> &ClientSession {
        &self.session
    }

    /// Gives the secret that whoever asked for the session is given.
    pub fn secret(&self) -> &ClientSecret {
        &self.secret
    }
}

/// Makes the secrets of client sessions.
pub trait SecretSigner: fmt::Debug + Send + Sync + 'static {
    /// Makes the secret of a client session; the same each time.
    ///
    /// # Errors
    /// If what it is signed with can't be had.
    fn sign<'a>(&'a self, session: &'a ClientSession) -> StoreFuture<'a, ClientSecret>;
}
