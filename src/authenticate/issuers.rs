//! Several issuers side by side.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use serde_json::Value;
use tokio::time::Instant;

use super::cache::{TokenCache, TokenDigest, Verified};
use super::jwks::FetchEnd;
use super::jws::Jws;
use super::verify::{Unsettled, looked_at_after};
use super::{InvalidToken, KeysUnavailable, MAX_TOKEN_BYTES, Verifier, VerifyError};
use crate::error::Error;
use crate::principal::Principal;

/// How many verified tokens are remembered, of all issuers together.
const CACHE_CAPACITY: usize = 10_000;

/// Verifies the tokens of several issuers, each by a [`Verifier`] with its keys and rules.
///
/// What a token says of its issuer (`iss`) picks the verifier, before anything of it is believed, and
/// does nothing else: that verifier checks it all, the issuer too, and no other's keys are tried. A token
/// of nobody who is known is refused.
///
/// # Danger
/// One user id is one user, whoever vouches for it. Unless that is meant, the ids of two issuers must
/// differ: by a [`UserTemplate`](super::UserTemplate) that begins with `{iss}|`, or with a text of each
/// issuer's own. It is not checked here.
#[derive(Debug)]
pub struct Issuers {
    verifiers: Vec<(String, Verifier)>,
    cache: TokenCache,
}

impl Issuers {
    /// Takes the verifiers, each of which must have an [issuer](super::VerifierBuilder::issuer) of its
    /// own. Verified tokens are remembered here, 10 000 of all issuers, and no longer by each.
    ///
    /// # Errors
    /// A configuration [`Error`]: there is none, one has no issuer, or two have the same.
    pub fn new(verifiers: impl IntoIterator<Item = Verifier>) -> Result<Self, Error> {
        let mut all: Vec<(String, Verifier)> = Vec::new();
        for verifier in verifiers {
            let Some(issuer) = verifier.issuer() else {
                return Err(Error::config("one of several JWT issuers has no name (iss)"));
            };
            let issuer = issuer.to_owned();
            if all.iter().any(|(known, _)| *known == issuer) {
                return Err(Error::config(format!("the JWT issuer {issuer:?} is there twice")));
            }
            all.push((issuer, verifier.forgetful()));
        }
        if all.is_empty() {
            return Err(Error::config("there is no JWT issuer"));
        }
        Ok(Self { verifiers: all, cache: TokenCache::new(CACHE_CAPACITY) })
    }

    /// Does as [`Verifier::verify`] does.
    ///
    /// # Errors
    /// [`InvalidToken`], also for a token of an issuer that is not known.
    pub fn verify(&self, token: &str) -> Result<Principal, InvalidToken> {
        self.look(token).map_err(Unsettled::by_what_is_known)
    }

    /// Does as [`Verifier::verify_with_fetch`] does.
    ///
    /// # Errors
    /// [`VerifyError`]: the token is not valid, or its issuer's keys can't be had.
    pub async fn verify_with_fetch(&self, token: &str) -> Result<Principal, VerifyError> {
        match self.look(token) {
            Err(Unsettled::Wait(end)) => self.verify_after(end, token).await,
            settled => settled.map_err(|unsettled| self.settle(token, unsettled, None)),
        }
    }

    async fn verify_after(&self, end: FetchEnd, token: &str) -> Result<Principal, VerifyError> {
        let since = end.since();
        looked_at_after(end, || self.look(token))
            .await
            .map_err(|unsettled| self.settle(token, unsettled, Some(since)))
    }

    /// Fetches key sets that are not there yet, all at once, and waits until the keys of one issuer are
    /// known. Nobody is waited for where they are. Another's outage is for the tokens of that other.
    ///
    /// # Errors
    /// If no key of any issuer is known, and none can be had now.
    pub async fn keys_ready(&self) -> Result<(), KeysUnavailable> {
        let (mut is_ready, mut failed, mut waits) = (false, None, Vec::new());
        for (_, verifier) in &self.verifiers {
            match verifier.keys_ready_now() {
                Ok(None) => is_ready = true,
                Ok(Some(end)) => waits.push(Box::pin(end.ready())),
                Err(unavailable) => failed = Some(unavailable),
            }
        }
        poll_fn(|cx| {
            waits.retain_mut(|wait| match wait.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => {
                    is_ready = true;
                    false
                }
                Poll::Ready(Err(unavailable)) => {
                    failed = Some(unavailable);
                    false
                }
            });
            if !is_ready && !waits.is_empty() {
                return Poll::Pending;
            }
            // There is an issuer at least, so that somebody failed where nobody is ready.
            Poll::Ready(failed.take().filter(|_| !is_ready).map_or(Ok(()), Err))
        })
        .await
    }

    fn settle(&self, token: &str, unsettled: Unsettled, since: Option<Instant>) -> VerifyError {
        let of = Jws::parse(token).and_then(|jws| self.pick(&jws));
        match of.map(|at| self.verifiers.get(at)) {
            Ok(Some((_, verifier))) => verifier.settle(unsettled, since),
            Ok(None) => VerifyError::Invalid(InvalidToken::Issuer),
            Err(invalid) => VerifyError::Invalid(invalid),
        }
    }

    /// Finds whose token it says it is.
    fn pick(&self, jws: &Jws<'_>) -> Result<usize, InvalidToken> {
        let claims = jws.claims()?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let at = self.verifiers.iter().position(|(known, _)| Some(known.as_str()) == issuer);
        at.ok_or(InvalidToken::Issuer)
    }

    pub(super) fn look(&self, token: &str) -> Result<Principal, Unsettled> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong.into());
        }
        let digest = TokenDigest::of(token);
        if let Some(verified) = self.cache.get(&digest)
            && let Some((_, verifier)) = self.verifiers.get(verified.issuer)
            && verifier.has_keys_of(&verified)
        {
            if let Err(invalid) = verifier.check_time(&verified) {
                self.cache.remove(&digest);
                return Err(invalid.into());
            }
            return verified.believed();
        }
        let jws = Jws::parse(token)?;
        let issuer = self.pick(&jws)?;
        let (_, verifier) = self.verifiers.get(issuer).ok_or(InvalidToken::Issuer)?;
        let found = Verified { issuer, ..verifier.examine_parsed(&jws)? };
        let believed = found.clone().believed();
        self.cache.insert(digest, found);
        believed
    }
}

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub(super) enum Trusted {
    One(Arc<Verifier>),
    Several(Arc<Issuers>),
}

impl Trusted {
    pub(super) fn look(&self, token: &str) -> Result<Principal, Unsettled> {
        match self {
            Self::One(verifier) => verifier.look(token),
            Self::Several(issuers) => issuers.look(token),
        }
    }

    /// Goes on with a token that has to wait.
    pub(super) async fn verify_after(
        &self,
        end: FetchEnd,
        token: &str,
    ) -> Result<Principal, VerifyError> {
        match self {
            Self::One(verifier) => verifier.verify_after(end, token).await,
            Self::Several(issuers) => issuers.verify_after(end, token).await,
        }
    }

    pub(super) async fn keys_ready(&self) -> Result<(), KeysUnavailable> {
        match self {
            Self::One(verifier) => verifier.keys_ready().await,
            Self::Several(issuers) => issuers.keys_ready().await,
        }
    }
}
