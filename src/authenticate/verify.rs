//! From a token to a [`Principal`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cache::{TokenCache, TokenDigest, Verified};
use super::claims::ClaimRules;
use super::jws::Jws;
use super::keys::KeySet;
use super::require::{MAX_REQUIREMENTS, Requirements};
use super::user::NO_USER_CLAIMS;
use super::{Algorithm, InvalidToken, Requirement, TokenType, UserTemplate};
use crate::error::Error;
use crate::principal::Principal;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The largest clock skew that may be configured.
pub const MAX_LEEWAY: Duration = Duration::from_secs(600);

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Verifies JSON Web Tokens against pinned algorithms, keys and claims.
///
/// Made once and shared; see [`Verifier::builder`]. Verification is pure computation: nothing
/// that a token says is fetched, and nothing blocks.
pub struct Verifier {
    keys: KeySet,
    rules: ClaimRules,
    leeway: Duration,
    cache: Option<TokenCache>,
    clock: Clock,
}

impl Verifier {
    /// Starts from nothing but a leeway of 60 s, the user in `sub`, and a cache of 10 000 tokens.
    ///
    /// ```
    /// use chatkit_rest::authenticate::{Algorithm, Verifier};
    ///
    /// let verifier = Verifier::builder()
    ///     .algorithms([Algorithm::Hs256])
    ///     .secret("a secret of at least thirty-two bytes")
    ///     .issuer("https://accounts.example")
    ///     .audience("chat")
    ///     .build()?;
    /// assert!(verifier.verify("not.a.token").is_err());
    /// # Ok::<(), chatkit_rest::error::Error>(())
    /// ```
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder {
            algorithms: Vec::new(),
            key: None,
            rules: ClaimRules {
                issuer: None,
                audience: None,
                user: UserTemplate::of_claim("sub"),
                token_type: TokenType::default(),
                requirements: Requirements::default(),
            },
            required: Vec::new(),
            leeway: Duration::from_secs(60),
            cache_capacity: 10_000,
            clock: Arc::new(SystemTime::now),
        }
    }

    /// Finds who the token proves its bearer to be.
    ///
    /// # Errors
    /// [`InvalidToken`], whose text is for the log and has nothing of the token in it.
    pub fn verify(&self, token: &str) -> Result<Principal, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let now = (self.clock)();
        let Some(cache) = &self.cache else {
            let verified = self.examine(token)?;
            verified.lifetime.check(now, self.leeway)?;
            return verified.standing.map_err(InvalidToken::Insufficient);
        };
        let digest = TokenDigest::of(token);
        if let Some(verified) = cache.get(&digest) {
            if let Err(invalid) = verified.lifetime.check(now, self.leeway) {
                cache.remove(&digest);
                return Err(invalid);
            }
            return verified.standing.map_err(InvalidToken::Insufficient);
        }
        let verified = self.examine(token)?;
        verified.lifetime.check(now, self.leeway)?;
        let standing = verified.standing.clone();
        cache.insert(digest, verified);
        standing.map_err(InvalidToken::Insufficient)
    }

    /// Gives everything but the clock, the signature first: claims that nobody signed are not read.
    fn examine(&self, token: &str) -> Result<Verified, InvalidToken> {
        let jws = Jws::parse(token)?;
        if !self.keys.algorithms().any(|pinned| pinned == jws.algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed);
        }
        if !self.keys.verify(&jws) {
            return Err(InvalidToken::Signature);
        }
        let (standing, lifetime) = self.rules.check(jws.typ.as_deref(), &jws.claims()?)?;
        Ok(Verified { standing, lifetime })
    }

    /// Tells how many verified tokens are remembered at the moment.
    pub fn cached_tokens(&self) -> usize {
        self.cache.as_ref().map_or(0, TokenCache::len)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithms", &self.keys.algorithms().collect::<Vec<_>>())
            .field("rules", &self.rules)
            .field("leeway", &self.leeway)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Verifier`].
#[must_use]
pub struct VerifierBuilder {
    algorithms: Vec<Algorithm>,
    key: Option<KeySource>,
    rules: ClaimRules,
    required: Vec<Requirement>,
    leeway: Duration,
    cache_capacity: usize,
    clock: Clock,
}

enum KeySource {
    Both,
    Pem(Vec<u8>),
    Secret { secret: Vec<u8>, may_be_short: bool },
}

impl VerifierBuilder {
    /// Pins the algorithms. There is no default: which they are must never follow from a token.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self.algorithms.sort_unstable();
        self.algorithms.dedup();
        self
    }

    /// Sets the secret for HS256, HS384 and HS512, as it is (not as base64 or hexadecimal).
    pub fn secret(self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret_of(secret.into(), false)
    }

    /// Takes a secret as [`secret`](Self::secret) does, of any length but 0. RFC 7518 section 3.2
    /// forbids secrets that are shorter than the hash: one can be guessed from any token.
    pub fn danger_short_secret(self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret_of(secret.into(), true)
    }

    fn secret_of(mut self, secret: Vec<u8>, may_be_short: bool) -> Self {
        self.key = Some(match self.key {
            None | Some(KeySource::Secret { .. }) => KeySource::Secret { secret, may_be_short },
            Some(KeySource::Both | KeySource::Pem(_)) => KeySource::Both,
        });
        self
    }

    /// Sets the public key for the other algorithms: one PEM block, `PUBLIC KEY` (RFC 7468
    /// section 13) or `RSA PUBLIC KEY`.
    pub fn public_key_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.key = Some(match self.key {
            None | Some(KeySource::Pem(_)) => KeySource::Pem(pem.into()),
            Some(KeySource::Both | KeySource::Secret { .. }) => KeySource::Both,
        });
        self
    }

    /// Requires `iss` to be exactly this. Without it, `iss` is not looked at.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.rules.issuer = Some(issuer.into());
        self
    }

    /// Requires `aud` to be this, or to have this among others. Without it, a token that has an
    /// `aud` is refused, because it is meant for somebody else (RFC 7519 section 4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.rules.audience = Some(audience.into());
        self
    }

    /// Sets which tokens are for access. If it isn't set: all but those that say that they are
    /// something else.
    pub fn token_type(mut self, token_type: TokenType) -> Self {
        self.rules.token_type = token_type;
        self
    }

    /// Sets how far the clocks of issuer and gateway may be apart, in whole seconds; at most
    /// [`MAX_LEEWAY`].
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the claim that names the user. In any claim but `sub`, an integer counts as its digits.
    pub fn user_claim(mut self, name: impl Into<String>) -> Self {
        self.rules.user = UserTemplate::of_claim(name);
        self
    }

    /// Sets how the user's id is made of several claims, in place of
    /// [`user_claim`](Self::user_claim).
    pub fn user(mut self, template: UserTemplate) -> Self {
        self.rules.user = template;
        self
    }

    /// Requires all of these of a token, at most 32. One that is good and lacks some of them is
    /// answered with 403 ([`InvalidToken::Insufficient`]).
    pub fn require(mut self, all: impl IntoIterator<Item = Requirement>) -> Self {
        self.required = all.into_iter().collect();
        self
    }

    /// Sets how many verified tokens to remember; 0 verifies every token anew.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// Asks `clock` for the time instead of the operating system.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Parses the keys.
    ///
    /// # Errors
    /// A configuration [`Error`] that says what to change: no algorithm, no key, a key that
    /// doesn't fit an algorithm, a secret shorter than
    /// [`Algorithm::min_secret_bytes`] or that is a public key, a mix of HMAC and public keys, a user claim
    /// that can't name a user, too much that is required, or a leeway above [`MAX_LEEWAY`].
    pub fn build(mut self) -> Result<Verifier, Error> {
        if self.algorithms.is_empty() {
            return Err(Error::config("no JWT algorithm is named"));
        }
        if let Some(claim) = self.rules.user.claims().find(|claim| NO_USER_CLAIMS.contains(claim)) {
            return Err(Error::config(format!("the claim {claim:?} can't name a user")));
        }
        if self.required.len() > MAX_REQUIREMENTS {
            return Err(Error::config("more is required of a token than 32 scopes and claims"));
        }
        self.rules.requirements = Requirements::new(std::mem::take(&mut self.required));
        if self.leeway > MAX_LEEWAY {
            return Err(Error::config("the JWT leeway must be at most 10 minutes"));
        }
        let keys = match &self.key {
            None => return Err(Error::config("neither a JWT secret nor a public key is set")),
            Some(KeySource::Both) => {
                return Err(Error::config(
                    "both a JWT secret and a public key are set; keep the one that tokens are \
                     signed for",
                ));
            }
            Some(KeySource::Pem(pem)) => KeySet::of_pem(&self.algorithms, pem)?,
            Some(KeySource::Secret { secret, may_be_short }) => {
                let needed = self.algorithms.iter().map(|it| it.min_secret_bytes()).max();
                let needed = if *may_be_short { 1 } else { needed.unwrap_or(1) };
                KeySet::of_secret(&self.algorithms, secret, needed)?
            }
        };
        let cache = (self.cache_capacity > 0).then(|| TokenCache::new(self.cache_capacity));
        Ok(Verifier { keys, rules: self.rules, leeway: self.leeway, cache, clock: self.clock })
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("algorithms", &self.algorithms)
            .field("rules", &self.rules)
            .field("required", &self.required)
            .field("leeway", &self.leeway)
            .field("cache_capacity", &self.cache_capacity)
            .finish_non_exhaustive()
    }
}
