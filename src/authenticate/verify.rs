//! From a token to a [`Principal`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::cache::{TokenCache, TokenDigest, Verified};
use super::claims::ClaimRules;
use super::jwks::{AtHand, FetchEnd, Match, RemoteKeys, Unknown};
use super::jws::Jws;
use super::keys::{KeySet, key_set};
use super::require::{MAX_REQUIREMENTS, Requirements};
use super::user::NO_USER_CLAIMS;
use super::{
    Algorithm, FetchKeys, InvalidToken, JwkSet, KeysUnavailable, Requirement, TokenType,
    UserTemplate,
};
use crate::error::Error;
use crate::principal::Principal;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The largest clock skew that may be configured.
pub const MAX_LEEWAY: Duration = Duration::from_secs(600);

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Verifies JSON Web Tokens against pinned algorithms, keys and claims.
///
/// Made once and shared; see [`Verifier::builder`]. It is complete in itself: several, each with the
/// keys and rules of its own issuer, can stand side by side. Verification is pure computation:
/// nothing that a token says is fetched, and nothing blocks. What may be fetched is the one
/// [key set](VerifierBuilder::remote_key_set) that it was made with.
pub struct Verifier {
    keys: Keys,
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
            key: KeySource::None,
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

    /// Finds who the token proves its bearer to be, by the keys that are at hand.
    ///
    /// Of a [key set](VerifierBuilder::remote_key_set) that isn't there yet nothing is known, and a
    /// token of a key that came to it lately is refused, unless the set is fetched first:
    /// [`verify_with_fetch`](Self::verify_with_fetch) waits for that.
    ///
    /// # Errors
    /// [`InvalidToken`], whose text is for the log and has nothing of the token in it.
    pub fn verify(&self, token: &str) -> Result<Principal, InvalidToken> {
        self.look(token).map_err(Unsettled::by_what_is_known)
    }

    /// Finds the same, and waits for the key set to be fetched where the token's key may be in it: at
    /// most for two fetches, which take 5 s each at most. Tokens of known keys don't wait.
    ///
    /// Who waits is to be counted by the caller: [`AuthenticateLayer`](super::AuthenticateLayer) does.
    ///
    /// # Errors
    /// [`VerifyError`]: the token is not valid, or nobody can say so because the keys can't be had.
    pub async fn verify_with_fetch(&self, token: &str) -> Result<Principal, VerifyError> {
        match self.look(token) {
            Err(Unsettled::Wait(end)) => self.verify_after(end, token).await,
            settled => settled.map_err(|unsettled| self.settle(unsettled, None)),
        }
    }

    /// Goes on with a token that has to wait.
    pub(super) async fn verify_after(
        &self,
        end: FetchEnd,
        token: &str,
    ) -> Result<Principal, VerifyError> {
        let since = end.since();
        looked_at_after(end, || self.look(token))
            .await
            .map_err(|unsettled| self.settle(unsettled, Some(since)))
    }

    /// Fetches the key set if there is none yet, and waits for it. Without a key set there is nothing to
    /// wait for.
    ///
    /// # Errors
    /// If no key is known, and none can be had now.
    pub async fn keys_ready(&self) -> Result<(), KeysUnavailable> {
        match self.keys_ready_now()? {
            None => Ok(()),
            Some(end) => end.ready().await,
        }
    }

    /// Says whether there are keys, and where there are none gives the end of the fetch that may bring
    /// them, which begins if it is time.
    pub(super) fn keys_ready_now(&self) -> Result<Option<FetchEnd>, KeysUnavailable> {
        match &self.keys {
            Keys::Fixed(_) | Keys::Listed { .. } => Ok(None),
            Keys::Remote(keys) => keys.ready_now(),
        }
    }

    /// Gives whom tokens must come from, if that is set.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.rules.issuer.as_deref()
    }

    /// Remembers no tokens by itself.
    pub(super) fn forgetful(self) -> Self {
        Self { cache: None, ..self }
    }

    /// Tells whether it was verified with keys that count now.
    pub(super) fn has_keys_of(&self, verified: &Verified) -> bool {
        self.keys.generation() == Some(verified.generation)
    }

    /// Asks the clock whether it is in its lifetime.
    pub(super) fn check_time(&self, verified: &Verified) -> Result<(), InvalidToken> {
        verified.lifetime.check((self.clock)(), self.leeway)
    }

    /// Looks at everything of a token that was taken apart.
    pub(super) fn examine_parsed(&self, jws: &Jws<'_>) -> Result<Verified, Unsettled> {
        self.examine(jws, (self.clock)())
    }

    /// Gives the fault of a token that has waited `since` then, if it has.
    pub(super) fn settle(&self, unsettled: Unsettled, since: Option<Instant>) -> VerifyError {
        match (unsettled, &self.keys) {
            (Unsettled::Invalid(invalid), _) => VerifyError::Invalid(invalid),
            (Unsettled::Unavailable(unavailable), _) => VerifyError::Unavailable(unavailable),
            // Its key was looked for when the token was there already.
            (Unsettled::TooSoon(at, _), _) if since.is_some_and(|since| at >= since) => {
                VerifyError::Invalid(InvalidToken::UnknownKey)
            }
            (Unsettled::TooSoon(_, unavailable), _) => VerifyError::Unavailable(unavailable),
            (Unsettled::Wait(_), Keys::Remote(keys)) => {
                VerifyError::Unavailable(keys.unavailable())
            }
            (Unsettled::Wait(_), Keys::Fixed(_) | Keys::Listed { .. }) => {
                VerifyError::Invalid(InvalidToken::UnknownKey)
            }
        }
    }

    /// Finds who bears the token, or what is in the way.
    pub(super) fn look(&self, token: &str) -> Result<Principal, Unsettled> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong.into());
        }
        let now = (self.clock)();
        let Some(cache) = &self.cache else {
            return self.examine(&Jws::parse(token)?, now)?.believed();
        };
        let digest = TokenDigest::of(token);
        if let Some(verified) = cache.get(&digest)
            && self.keys.generation() == Some(verified.generation)
        {
            if let Err(invalid) = verified.lifetime.check(now, self.leeway) {
                cache.remove(&digest);
                return Err(invalid.into());
            }
            return verified.believed();
        }
        let verified = self.examine(&Jws::parse(token)?, now)?;
        let believed = verified.clone().believed();
        cache.insert(digest, verified);
        believed
    }

    /// Looks at everything, the signature first: claims that nobody signed are not believed.
    fn examine(&self, jws: &Jws<'_>, now: SystemTime) -> Result<Verified, Unsettled> {
        if !self.keys.algorithms().contains(&jws.algorithm) {
            return Err(InvalidToken::AlgorithmNotAllowed.into());
        }
        let generation = match &self.keys {
            Keys::Fixed(keys) => {
                if !keys.verify(jws) {
                    return Err(InvalidToken::Signature.into());
                }
                0
            }
            Keys::Listed { set, .. } => {
                check(set.verify(jws))?;
                0
            }
            // Who can't be let in by any key is not waited for, and has none fetched.
            Keys::Remote(keys) => match keys.at_hand(|| self.may_be_good(jws, now)) {
                AtHand::Keys(set, generation) => match set.verify(jws) {
                    Match::Unknown => return Err(self.ask_for_key(keys, jws, now)),
                    known => check(known).map(|()| generation)?,
                },
                AtHand::NotNeeded => return Err(InvalidToken::UnknownKey.into()),
                AtHand::Wait(end) => return Err(Unsettled::Wait(end)),
                AtHand::Unavailable(unavailable) => {
                    return Err(Unsettled::Unavailable(unavailable));
                }
            },
        };
        let verified = self.read(jws, generation)?;
        verified.lifetime.check(now, self.leeway)?;
        Ok(verified)
    }

    /// Gives what the claims say, but for the clock.
    fn read(&self, jws: &Jws<'_>, generation: u64) -> Result<Verified, InvalidToken> {
        let (standing, lifetime) = self.rules.check(jws.typ.as_deref(), &jws.claims()?)?;
        Ok(Verified { standing, lifetime, generation, issuer: 0 })
    }

    /// Says what is to be done about a token of a key that is not at hand. A fetch is only for those
    /// that would be good if there were such a key: with one that has expired, or is another issuer's,
    /// no client uses up the one that there is a minute.
    fn ask_for_key(&self, keys: &RemoteKeys, jws: &Jws<'_>, now: SystemTime) -> Unsettled {
        if !self.may_be_good(jws, now) {
            return InvalidToken::UnknownKey.into();
        }
        match keys.unknown(jws.kid.as_deref()) {
            Unknown::Wait(end) => Unsettled::Wait(end),
            Unknown::Refuse => InvalidToken::UnknownKey.into(),
            Unknown::TooSoon(at, unavailable) => Unsettled::TooSoon(at, unavailable),
            Unknown::Unavailable(unavailable) => Unsettled::Unavailable(unavailable),
        }
    }

    fn may_be_good(&self, jws: &Jws<'_>, now: SystemTime) -> bool {
        self.read(jws, 0).and_then(|it| it.lifetime.check(now, self.leeway)).is_ok()
    }

    /// Tells how many verified tokens are remembered at the moment.
    pub fn cached_tokens(&self) -> usize {
        self.cache.as_ref().map_or(0, TokenCache::len)
    }
}

/// What a token's signature is checked with.
enum Keys {
    Fixed(KeySet),
    Listed { set: JwkSet, algorithms: Vec<Algorithm> },
    Remote(RemoteKeys),
}

impl Keys {
    fn algorithms(&self) -> &[Algorithm] {
        match self {
            Self::Fixed(keys) => keys.algorithms(),
            Self::Listed { algorithms, .. } => algorithms,
            Self::Remote(keys) => keys.algorithms(),
        }
    }

    /// Gives the generation of keys for which what was verified before counts now.
    fn generation(&self) -> Option<u64> {
        match self {
            Self::Fixed(_) | Self::Listed { .. } => Some(0),
            Self::Remote(keys) => keys.generation(),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(keys) => f.debug_tuple("Fixed").field(&keys.algorithms()).finish(),
            Self::Listed { set, .. } => f.debug_tuple("Listed").field(set).finish(),
            Self::Remote(keys) => f.debug_tuple("Remote").field(keys).finish(),
        }
    }
}

/// Why nobody is known by a token, yet or at all.
pub(super) enum Unsettled {
    Invalid(InvalidToken),
    /// Its key may be there after that.
    Wait(FetchEnd),
    /// Its key was last looked for at that moment, and isn't again yet.
    TooSoon(Instant, KeysUnavailable),
    Unavailable(KeysUnavailable),
}

impl Unsettled {
    /// Gives the fault of the token where nobody waits for keys.
    pub(super) fn by_what_is_known(self) -> InvalidToken {
        match self {
            Self::Invalid(invalid) => invalid,
            Self::Wait(_) | Self::TooSoon(..) | Self::Unavailable(_) => InvalidToken::UnknownKey,
        }
    }
}

/// Looks at a token after the fetch that it waits for, and after one more if that was begun before the
/// token's key was published.
pub(super) async fn looked_at_after(
    end: FetchEnd,
    look: impl Fn() -> Result<Principal, Unsettled>,
) -> Result<Principal, Unsettled> {
    end.wait().await;
    match look() {
        Err(Unsettled::Wait(end)) => {
            end.wait().await;
            look()
        }
        settled => settled,
    }
}

impl From<InvalidToken> for Unsettled {
    fn from(invalid: InvalidToken) -> Self {
        Self::Invalid(invalid)
    }
}

/// Why nobody is known by a token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not believed.
    Invalid(InvalidToken),
    /// The keys that it would have to be checked with can't be had.
    Unavailable(KeysUnavailable),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Unavailable(unavailable) => unavailable.fmt(f),
        }
    }
}

impl std::error::Error for VerifyError {}

/// Gives the fault of a token with what the set says of it.
fn check(found: Match) -> Result<(), InvalidToken> {
    match found {
        Match::Good => Ok(()),
        Match::Bad => Err(InvalidToken::Signature),
        Match::OtherAlgorithm => Err(InvalidToken::KeyAlgorithm),
        Match::Unknown => Err(InvalidToken::UnknownKey),
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys)
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
    key: KeySource,
    rules: ClaimRules,
    required: Vec<Requirement>,
    leeway: Duration,
    cache_capacity: usize,
    clock: Clock,
}

enum KeySource {
    None,
    /// Two kinds were set.
    Several,
    Json(Vec<u8>),
    Pem(Vec<u8>),
    Remote(Arc<dyn FetchKeys>),
    Secret {
        secret: Vec<u8>,
        may_be_short: bool,
    },
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

    fn secret_of(self, secret: Vec<u8>, may_be_short: bool) -> Self {
        self.key(KeySource::Secret { secret, may_be_short })
    }

    /// Sets the public key for the other algorithms: one PEM block, `PUBLIC KEY` (RFC 7468
    /// section 13) or `RSA PUBLIC KEY`.
    pub fn public_key_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        self.key(KeySource::Pem(pem.into()))
    }

    /// Sets the public keys for the other algorithms: a key set in JSON (RFC 7517 section 5), of which
    /// a [`JwkSet`] says what is used.
    pub fn key_set(self, json: impl Into<Vec<u8>>) -> Self {
        self.key(KeySource::Json(json.into()))
    }

    /// Sets where the key set with the public keys comes from. It is asked for when the first token
    /// needs it, and anew before it is old; if that fails, the keys of before are used for a day more.
    /// For a token whose `kid` it doesn't have, it is asked for at once, and at most once a minute.
    ///
    /// That is done in tasks of the tokio runtime that verifies tokens, whose time driver has to be on.
    pub fn remote_key_set(self, fetch: Arc<dyn FetchKeys>) -> Self {
        self.key(KeySource::Remote(fetch))
    }

    /// Sets the key: the last of a kind counts, and two kinds are a mistake.
    fn key(mut self, key: KeySource) -> Self {
        let is_first = matches!(self.key, KeySource::None);
        let is_same = std::mem::discriminant(&self.key) == std::mem::discriminant(&key);
        self.key = if is_first || is_same { key } else { KeySource::Several };
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
    /// doesn't fit an algorithm, a key set without one that does, a secret shorter than
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
        let keys = match self.key {
            KeySource::None => {
                return Err(Error::config("neither a JWT secret nor a public key is set"));
            }
            KeySource::Several => {
                return Err(Error::config(
                    "both a JWT secret and a public key, or one of them and a key set, are set; keep \
                     the one that tokens are signed for",
                ));
            }
            KeySource::Pem(pem) => Keys::Fixed(KeySet::of_pem(&self.algorithms, &pem)?),
            KeySource::Secret { secret, may_be_short } => {
                let needed = self.algorithms.iter().map(|it| it.min_secret_bytes()).max();
                let needed = if may_be_short { 1 } else { needed.unwrap_or(1) };
                Keys::Fixed(KeySet::of_secret(&self.algorithms, &secret, needed)?)
            }
            KeySource::Json(json) => {
                check_public(&self.algorithms)?;
                let set = key_set(&json, &self.algorithms)
                    .map_err(|why| Error::config(format!("the JWT key set {why}")))?;
                Keys::Listed { set, algorithms: self.algorithms }
            }
            KeySource::Remote(fetch) => {
                check_public(&self.algorithms)?;
                Keys::Remote(RemoteKeys::new(fetch, self.algorithms))
            }
        };
        let cache = (self.cache_capacity > 0).then(|| TokenCache::new(self.cache_capacity));
        Ok(Verifier { keys, rules: self.rules, leeway: self.leeway, cache, clock: self.clock })
    }
}

/// Refuses algorithms whose keys are secrets where keys are published.
fn check_public(algorithms: &[Algorithm]) -> Result<(), Error> {
    match algorithms.iter().find(|algorithm| algorithm.is_symmetric()) {
        None => Ok(()),
        Some(algorithm) => Err(Error::config(format!(
            "{algorithm} needs a secret, and a key set is configured, whose keys anyone may know",
        ))),
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
