//! The secrets of client sessions: made by the OpenAI-compatible API, and accepted as bearer
//! tokens everywhere else.
//!
//! Needs the features `authenticate` and `session`.
//!
//! A secret is `ek_`, a JSON payload, `.`, and its HMAC-SHA-256, both in unpadded base64url. The
//! key is drawn by whoever needs it first and kept in the session store, so it is the same for
//! all replicas on one store and after a restart. The payload says which session it is of and
//! when that ends; what counts is the session's row, which is looked up each time, so that a
//! secret that is revoked is revoked everywhere at once. A secret with a wrong signature, or one
//! that has expired, is refused without looking anything up.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authenticate::{
    CLIENT_SECRET_PREFIX, CallerFuture, ClientSecrets, InvalidToken, MAX_TOKEN_BYTES, SecretError,
};
use crate::error::Error;
use crate::principal::{Allowance, Principal};
use crate::session::{
    ClientSecret, ClientSession, ClientSessionStatus, SecretSigner, SessionStore, StoreFuture,
};

/// The version of the payload.
const VERSION: u32 = 1;

/// Makes and checks the secrets of the client sessions in a store. Cloning is a reference count.
#[derive(Clone)]
pub struct StoredSecrets(Arc<Inner>);

struct Inner {
    store: Arc<dyn SessionStore>,
    /// It never changes once the store has it.
    key: OnceLock<hmac::Key>,
}

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    v: u32,
    sid: &'a str,
    exp: i64,
}

impl StoredSecrets {
    /// Makes those of the sessions in `store`.
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        Self(Arc::new(Inner { store, key: OnceLock::new() }))
    }

    async fn key(&self) -> Result<&hmac::Key, Error> {
        if let Some(key) = self.0.key.get() {
            return Ok(key);
        }
        let mut fresh = [0; 32];
        rand::fill(&mut fresh)
            .map_err(|_| Error::store("could not draw a signing key", "no random numbers"))?;
        let kept = self.0.store.signing_key(fresh).await?;
        Ok(self.0.key.get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, &kept)))
    }

    async fn verified(self, secret: String) -> Result<Principal, SecretError> {
        const MALFORMED: SecretError = SecretError::Invalid(InvalidToken::Malformed);
        if secret.len() > MAX_TOKEN_BYTES {
            return Err(SecretError::Invalid(InvalidToken::TooLong));
        }
        let (signed, signature) = secret.rsplit_once('.').ok_or(MALFORMED)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
        let key = self.key().await.map_err(SecretError::Unavailable)?;
        hmac::verify(key, signed.as_bytes(), &signature)
            .map_err(|_| SecretError::Invalid(InvalidToken::Signature))?;
        let payload = signed.strip_prefix(CLIENT_SECRET_PREFIX).ok_or(MALFORMED)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| MALFORMED)?;
        let payload: Payload<'_> = serde_json::from_slice(&payload).map_err(|_| MALFORMED)?;
        if payload.v != VERSION {
            return Err(MALFORMED);
        }
        let now = Timestamp::now();
        if now.as_second() >= payload.exp {
            return Err(SecretError::Invalid(InvalidToken::Expired));
        }
        let session = self.0.store.client_session(payload.sid).await;
        let session = session.map_err(SecretError::Unavailable)?;
        let Some(session) = session else {
            return Err(SecretError::Invalid(InvalidToken::Revoked));
        };
        match session.status(now) {
            ClientSessionStatus::Active => {}
            ClientSessionStatus::Cancelled => {
                return Err(SecretError::Invalid(InvalidToken::Revoked));
            }
            ClientSessionStatus::Expired => {
                return Err(SecretError::Invalid(InvalidToken::Expired));
            }
        }
        let allowance = Allowance::new(session.id, session.requests_per_minute);
        Ok(Principal::with_allowance(session.user_id, allowance))
    }
}

impl ClientSecrets for StoredSecrets {
    fn caller(&self, secret: &str) -> CallerFuture {
        Box::pin(self.clone().verified(secret.to_owned()))
    }
}

impl SecretSigner for StoredSecrets {
    fn sign<'a>(&'a self, session: &'a ClientSession) -> StoreFuture<'a, ClientSecret> {
        Box::pin(async move {
            let key = self.key().await?;
            let payload =
                Payload { v: VERSION, sid: &session.id, exp: session.expires_at.as_second() };
            let payload = serde_json::to_vec(&payload)
                .map_err(|error| Error::store("could not write a client secret", error))?;
            let signed = format!("{CLIENT_SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(payload));
            let signature = hmac::sign(key, signed.as_bytes());
            let signature = URL_SAFE_NO_PAD.encode(signature);
            Ok(ClientSecret::new(format!("{signed}.{signature}")))
        })
    }
}

impl fmt::Debug for StoredSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSecrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use jiff::SignedDuration;

    use super::*;
    use crate::principal::UserId;
    use crate::session::{ClientSessions as _, MemoryStore};

    fn session(id: &str, seconds: i64) -> ClientSession {
        let now = Timestamp::now();
        ClientSession {
            id: id.to_owned(),
            user_id: UserId::parse("ada").unwrap(),
            created_at: now,
            expires_at: now + SignedDuration::from_secs(seconds),
            cancelled_at: None,
            requests_per_minute: NonZeroU32::new(3).unwrap(),
            details: "{}".to_owned(),
        }
    }

    async fn sign(secrets: &StoredSecrets, session: &ClientSession) -> String {
        secrets.sign(session).await.unwrap().expose().to_owned()
    }

    fn invalid(outcome: Result<Principal, SecretError>) -> InvalidToken {
        match outcome.unwrap_err() {
            SecretError::Invalid(invalid) => invalid,
            error => panic!("{error:?}"),
        }
    }

    #[tokio::test]
    async fn a_secret_is_good_wherever_its_store_is_until_it_is_revoked() {
        let store = Arc::new(MemoryStore::new());
        let here = StoredSecrets::new(Arc::<MemoryStore>::clone(&store));
        let there = StoredSecrets::new(Arc::<MemoryStore>::clone(&store));
        let session = session("cksess_1", 600);
        let _ = store.create_client_session(session.clone(), NonZeroU32::MAX).await.unwrap();
        let secret = sign(&here, &session).await;
        assert_eq!(sign(&there, &session).await, secret);
        assert!(secret.starts_with(CLIENT_SECRET_PREFIX));
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
        let caller = there.caller(&secret).await.unwrap();
        assert_eq!(caller.user_id().as_str(), "ada");
        let allowance = caller.allowance().unwrap();
        assert_eq!(
            (&**allowance.session(), allowance.requests_per_minute().get()),
            ("cksess_1", 3)
        );

        let _ = store.cancel_client_session("cksess_1", Timestamp::now()).await.unwrap();
        assert_eq!(invalid(there.caller(&secret).await), InvalidToken::Revoked);
    }

    #[tokio::test]
    async fn what_was_not_made_here_is_refused_before_anything_is_looked_up() {
        // A session that is looked up is one that nobody has: it would be `Revoked`.
        let ours = StoredSecrets::new(Arc::new(MemoryStore::new()));
        let theirs = StoredSecrets::new(Arc::new(MemoryStore::new()));
        let session = session("cksess_1", 600);
        let forged = sign(&theirs, &session).await;
        assert_eq!(invalid(ours.caller(&forged).await), InvalidToken::Signature);
        let secret = sign(&ours, &session).await;
        for at in 0..secret.len() {
            let mut changed = secret.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character has bits that mean nothing, and must be zero.
            let reason = invalid(ours.caller(&changed).await);
            assert!(
                matches!(reason, InvalidToken::Signature | InvalidToken::Malformed),
                "{reason:?}"
            );
        }
        for malformed in ["ek_", "ek_.", "ek_x", "ek_.x", "ek_a.b.c"] {
            let reason = invalid(ours.caller(malformed).await);
            assert!(
                matches!(reason, InvalidToken::Signature | InvalidToken::Malformed),
                "{reason:?}"
            );
        }
        let long = format!("ek_{}", "a".repeat(MAX_TOKEN_BYTES));
        assert_eq!(invalid(ours.caller(&long).await), InvalidToken::TooLong);
        assert_eq!(invalid(ours.caller(&secret).await), InvalidToken::Revoked);
        let over = sign(&ours, &self::session("cksess_1", 0)).await;
        assert_eq!(invalid(ours.caller(&over).await), InvalidToken::Expired);
    }

    #[tokio::test]
    async fn a_secret_ends_with_its_session() {
        let store = Arc::new(MemoryStore::new());
        let secrets = StoredSecrets::new(Arc::<MemoryStore>::clone(&store));
        let over = session("cksess_1", 0);
        let _ = store.create_client_session(over.clone(), NonZeroU32::MAX).await.unwrap();
        let secret = sign(&secrets, &over).await;
        assert_eq!(invalid(secrets.caller(&secret).await), InvalidToken::Expired);
        let secret = sign(&secrets, &session("cksess_gone", 600)).await;
        assert_eq!(invalid(secrets.caller(&secret).await), InvalidToken::Revoked);
    }
}
