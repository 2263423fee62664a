//! The proof that it is the gateway that calls: a signed statement with each request to the upstream.
//!
//! Needs the feature `operation`.
//!
//! A ChatKit server believes whatever user its caller names. On a machine of its own, whoever reaches
//! it is any user; with a proof it knows better. The statement is a JWT (RFC 7519) in the header
//! [`PROOF`], which no client's header of that name ever replaces or joins, and says
//!
//! | claim | |
//! |---|---|
//! | `iss`, `aud` | who made it, and for whom |
//! | `sub` | the user in whose name is asked, as the id is, and not as the user's header has it encoded |
//! | `iat`, `exp` | now, and [`LIFE`] later |
//! | `jti` | 128 random bits, never the same twice |
//! | `op` | the gateway's operation that asks, such as `create_run` |
//! | `request_id` | the `x-request-id` of the client's request, if it has one |
//! | `body_sha256` | the SHA-256 of the body as it is sent, in base64url |
//!
//! Neither method nor path is in it: all that is sent is a `POST` to one endpoint, whose path whatever
//! is between may rewrite; what is asked for is in the body.
//!
//! A [`Signer`] makes them, by a secret that the upstream has too, or by a private key of whose public
//! half the upstream needs no more than where it is published ([`Signer::key_set`]).
//!
//! ```
//! use std::time::SystemTime;
//!
//! use chatkit_rest::chatkit::ChatKitSettings;
//! use chatkit_rest::principal::UserId;
//! use chatkit_rest::proof::{Signer, Statement};
//!
//! let signer = Signer::hs256("0123456789abcdef0123456789abcdef")?
//!     .with_audience("https://chatkit.example.org");
//! // What a layer for host applications is given …
//! let settings = ChatKitSettings::default().with_proof(signer.clone());
//! // … and what it does with it.
//! let ada = UserId::parse("ada")?;
//! let statement = Statement::new(&ada, "create_run", b"{}");
//! let proof = signer.sign(&statement, SystemTime::now());
//! assert_eq!(proof.to_str()?.split('.').count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod key;
#[cfg(feature = "server")]
mod layer;
mod statement;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

pub use self::key::InvalidKey;
use self::key::{Key, PublicKey};
#[cfg(feature = "server")]
pub use self::layer::{KEY_SET_PATH, KeySet, KeySetFuture, KeySetLayer};
use self::statement::Signed;
pub use self::statement::Statement;

/// The header that carries the statement.
pub const PROOF: HeaderName = HeaderName::from_static("chatkit-gateway-proof");

/// How long a statement is good for: long enough for clocks that differ a little and for a connection
/// that waits, and too short for what is found in a log.
pub const LIFE: Duration = Duration::from_secs(30);

/// The `iss` of a [`Signer`] of which nothing else is said.
pub const ISSUER: &str = "chatkit-rest";

/// What [`Signer::hs256`] needs of a secret, in bytes: as much as the hash has (RFC 7518 section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Signs statements. Cloning is a reference count; `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Signer {
    key: Arc<Key>,
    published: Vec<PublicKey>,
    issuer: Arc<str>,
    audience: Arc<str>,
    /// The header, in base64url and with the dot; and how the claims begin, which are the same in all.
    fixed: Arc<Signed>,
}

impl Signer {
    /// Signs by a secret that the upstream has too (HS256).
    ///
    /// # Errors
    /// If it has less than [`MIN_SECRET_BYTES`].
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        Ok(Self::of(Key::hs256(secret.as_ref())?))
    }

    /// Signs by a private key (`EdDSA` with Ed25519, RFC 8037), in PEM as
    /// `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// If it is no such key.
    pub fn ed25519_pem(pem: impl AsRef<str>) -> Result<Self, InvalidKey> {
        Ok(Self::of(Key::ed25519(pem.as_ref())?))
    }

    fn of(key: Key) -> Self {
        let (issuer, audience) = (Arc::from(ISSUER), Arc::from(""));
        let fixed = Arc::new(Signed::new(&key, &issuer, &audience));
        Self { key: Arc::new(key), published: Vec::new(), issuer, audience, fixed }
    }

    /// Sets who says so (`iss`); [`ISSUER`] if not set.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> Self {
        self.issuer = issuer.into();
        self.made_anew()
    }

    /// Sets for whom it is (`aud`), which a server that is not meant refuses; none if not set.
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.audience = audience.into();
        self.made_anew()
    }

    fn made_anew(self) -> Self {
        Self { fixed: Arc::new(Signed::new(&self.key, &self.issuer, &self.audience)), ..self }
    }

    /// Publishes a key beside one's own, by which nothing is signed: the next one, before it is used,
    /// or the last, as long as others still sign by it. In PEM, the public half or the private one.
    ///
    /// # Errors
    /// If it is no Ed25519 key, or if statements are signed by a secret, of which nothing is published.
    pub fn publishing_pem(mut self, pem: impl AsRef<str>) -> Result<Self, InvalidKey> {
        if self.key.public().is_none() {
            return Err(InvalidKey::NothingPublished);
        }
        self.published.push(PublicKey::parse(pem.as_ref())?);
        Ok(self)
    }

    /// Gives the public keys as a JWK Set (RFC 7517), each by its thumbprint (RFC 7638); `None` if
    /// statements are signed by a secret.
    pub fn key_set(&self) -> Option<Bytes> {
        let own = self.key.public()?;
        let others = self.published.iter().filter(|key| *key != own);
        let keys: Vec<_> = std::iter::once(own).chain(others).map(PublicKey::jwk).collect();
        Some(format!("{{\"keys\":[{}]}}", keys.join(",")).into())
    }

    /// Gives the value of [`PROOF`] for what is said, marked as sensitive.
    pub fn sign(&self, statement: &Statement<'_>, now: SystemTime) -> HeaderValue {
        self.fixed.sign(&self.key, statement, now)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.key.algorithm())
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
