//! Tokens that were verified before.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use super::InvalidToken;
use super::claims::Lifetime;
use super::require::Missing;
use super::verify::Unsettled;
use crate::principal::Principal;

/// A bounded memory of verified tokens: who they name, and how long they live.
///
/// A signature doesn't become wrong with time, so an entry goes stale only with its key: it counts
/// for the generation of keys that it is of. Whether it is still in its lifetime is asked of the
/// clock on every hit. Tokens themselves are not kept, only
/// their SHA-256. Refused tokens are not kept either: a flood of them evicts nothing.
pub(super) struct TokenCache {
    verified: Cache<TokenDigest, Verified>,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// What is known of a token whose signature, purpose, issuer, audience and user were found good.
#[derive(Clone)]
pub(super) struct Verified {
    /// Whom it names, unless it lacks what is required.
    pub(super) standing: Result<Principal, Missing>,
    pub(super) lifetime: Lifetime,
    /// Of the keys that it was verified with.
    pub(super) generation: u64,
    /// Which of several issuers has it, by its place.
    pub(super) issuer: usize,
}

impl Verified {
    /// Gives whom it names, if it has what is required.
    pub(super) fn believed(self) -> Result<Principal, Unsettled> {
        self.standing.map_err(|missing| InvalidToken::Insufficient(missing).into())
    }
}

impl TokenCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { verified: Cache::new(capacity) }
    }

    /// Allocates nothing.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Verified> {
        self.verified.get(digest)
    }

    pub(super) fn insert(&self, digest: TokenDigest, verified: Verified) {
        self.verified.insert(digest, verified);
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.verified.remove(digest);
    }

    pub(super) fn len(&self) -> usize {
        self.verified.len()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        // SHA-256 has 32 bytes; a shorter zip would only leave zeros.
        for (byte, of_digest) in bytes.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
            *byte = *of_digest;
        }
        Self(bytes)
    }
}
