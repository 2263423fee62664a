//! Callers who hold something else than a JSON Web Token.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::{InvalidToken, KeysUnavailable, VerifyError};
use crate::error::Error;
use crate::principal::{Principal, UserId};

/// What the secrets of client sessions begin with. No JSON Web Token does.
pub const CLIENT_SECRET_PREFIX: &str = "ek_";

/// The keys of services: who holds one is let in to the OpenAI-compatible API.
///
/// Only their SHA-256 digests are known here, which is safe for keys that were drawn at random.
/// Cloning is a reference count.
#[derive(Clone, Default)]
pub struct ServiceKeys(Arc<[(UserId, [u8; 32])]>);

impl ServiceKeys {
    /// Takes the names of the keys and their SHA-256 digests.
    pub fn new(keys: impl IntoIterator<Item = (UserId, [u8; 32])>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Tells whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the service that holds `key`. All keys are looked at, each in constant time.
    pub(super) fn holder(&self, key: &str) -> Option<Principal> {
        let digest = digest(&SHA256, key.as_bytes());
        let mut holder = None;
        for (name, known) in self.0.iter() {
            if verify_slices_are_equal(digest.as_ref(), known).is_ok() {
                holder = Some(name);
            }
        }
        holder.map(|name| Principal::service(name.clone()))
    }
}

impl fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Checks the secrets of client sessions.
pub trait ClientSecrets: fmt::Debug + Send + Sync + 'static {
    /// Finds who holds `secret`, which begins with [`CLIENT_SECRET_PREFIX`].
    ///
    /// Nothing may be looked up for a secret that was not made here.
    fn caller(&self, secret: &str) -> CallerFuture;
}

/// What [`ClientSecrets::caller`] returns.
pub type CallerFuture = Pin<Box<dyn Future<Output = Result<Principal, SecretError>> + Send>>;

/// Why a secret, or a token that had to wait for its key, lets nobody in.
#[derive(Debug)]
#[non_exhaustive]
pub enum SecretError {
    /// It is not believed.
    Invalid(InvalidToken),
    /// The key set that a token would have to be checked with can't be had.
    NoKeys(KeysUnavailable),
    /// Whoever knows can't be asked.
    Unavailable(Error),
}

impl From<VerifyError> for SecretError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Invalid(invalid) => Self::Invalid(invalid),
            VerifyError::Unavailable(unavailable) => Self::NoKeys(unavailable),
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid(_) => "the credentials are not valid",
            Self::NoKeys(_) => "tokens can't be checked",
            Self::Unavailable(_) => "the secrets of client sessions can't be looked up",
        })
    }
}

impl StdError for SecretError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            Self::NoKeys(unavailable) => Some(unavailable),
            Self::Unavailable(error) => Some(error),
        }
    }
}
