//! The keys of a set that may verify tokens, and why the others may not.

use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::document::{self, InvalidKeySet, shown};
use crate::authenticate::Algorithm;
use crate::authenticate::jws::Jws;
use crate::authenticate::keys::is_signed_by;

/// The most keys that one token is tried with: those of its `kid`, or all that fit if it names none.
const MAX_TRIED: usize = 8;

/// The longest `kid` that a key may have, in bytes.
const MAX_KID_BYTES: usize = 512;

/// A key set (RFC 7517 section 5): the keys in it that may verify tokens.
///
/// Which algorithm a key verifies is fixed by the key (its kind, its curve and, where it has one, its
/// `alg`) *and* by the algorithms that were pinned when the set was read; a token only picks among
/// what is left. Keys of the HMAC algorithms (`oct`), keys for encryption, and keys whose private part
/// is in the set are never used.
#[derive(Default)]
pub struct JwkSet {
    keys: Vec<Key>,
    unused: Vec<UnusedKey>,
}

/// A key that is in a set and verifies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedKey {
    /// Its `kid`, as far as it can be shown.
    pub kid: Option<String>,
    /// Why it isn't used, as the end of a sentence that begins with the key.
    pub why: String,
}

/// What a set has to say about a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authenticate) enum Match {
    /// A key of the set made it.
    Good,
    /// The key that the token names did not.
    Bad,
    /// The key that the token names is there, and is for another algorithm.
    OtherAlgorithm,
    /// The token's key is not in the set; a newer one may have it.
    Unknown,
}

struct Key {
    kid: Option<Box<str>>,
    /// Those that are pinned and that it fits: never empty.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
    /// What the key is made of, to tell whether a later set still has it.
    material: Vec<u8>,
}

impl JwkSet {
    /// Reads a set, of which keys for other than `algorithms` are not used.
    ///
    /// That none of its keys can be used is no error: see [`is_empty`](Self::is_empty).
    ///
    /// # Errors
    /// If it is no key set, or is too large.
    pub fn parse(json: &[u8], algorithms: &[Algorithm]) -> Result<Self, InvalidKeySet> {
        let (mut keys, mut unused) = (Vec::new(), Vec::new());
        for jwk in document::keys(json)? {
            match Key::read(&jwk, algorithms) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    let kid = jwk.get("kid").and_then(Value::as_str).map(shown);
                    unused.push(UnusedKey { kid, why });
                }
            }
        }
        Ok(Self { keys, unused })
    }

    /// Tells how many of its keys verify tokens.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether none of its keys does.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Gives the keys that verify tokens: the `kid` of each, and its algorithms.
    pub fn used(&self) -> impl Iterator<Item = (Option<String>, &[Algorithm])> {
        self.keys.iter().map(|key| (key.kid.as_deref().map(shown), key.algorithms.as_slice()))
    }

    /// Gives the keys that don't, and why.
    pub fn unused(&self) -> &[UnusedKey] {
        &self.unused
    }

    /// Gives the keys of this set, by their `kid`s, that `other` has not, or not for all the same
    /// algorithms.
    pub(super) fn not_in(&self, other: &Self) -> Vec<Option<String>> {
        self.keys
            .iter()
            .filter(|key| !other.keys.iter().any(|it| key.is_same(it)))
            .map(|key| key.kid.as_deref().map(shown))
            .collect()
    }

    /// Tells which of the set's keys made the signature, if any.
    ///
    /// A key without a `kid` is tried where the set has none of the token's `kid`.
    pub(in crate::authenticate) fn verify(&self, jws: &Jws<'_>) -> Match {
        let fits = |key: &&Key| key.algorithms.contains(&jws.algorithm);
        let made_it = |key: &Key| is_signed_by(jws, jws.algorithm, &key.decoding);
        if let Some(kid) = jws.kid.as_deref() {
            let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid));
            if let Some(first) = named.next() {
                let mut fitting = std::iter::once(first).chain(named).filter(fits).peekable();
                if fitting.peek().is_none() {
                    return Match::OtherAlgorithm;
                }
                let good = fitting.take(MAX_TRIED).any(made_it);
                return if good { Match::Good } else { Match::Bad };
            }
        }
        let nameless = |key: &&Key| jws.kid.is_none() || key.kid.is_none();
        let good = self.keys.iter().filter(nameless).filter(fits).take(MAX_TRIED).any(made_it);
        if good { Match::Good } else { Match::Unknown }
    }
}

impl fmt::Debug for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwkSet")
            .field("used", &self.used().collect::<Vec<_>>())
            .field("unused", &self.unused)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>, pinned: &[Algorithm]) -> Result<Self, String> {
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.as_str().into()),
            Some(Value::String(_)) => {
                return Err(format!("has a kid of over {MAX_KID_BYTES} bytes"));
            }
            Some(_) => return Err("has a kid that is no text".into()),
        };
        check_purpose(jwk)?;
        let shape = Kind::of(jwk)?;
        // In the set it is everybody's: whoever reads it can sign.
        if jwk.contains_key("d") {
            return Err("has its private part (d) in it, so whoever can read it can sign".into());
        }
        let algorithms = shape.pinned_for(jwk, pinned)?;
        let (decoding, material) = shape.read(jwk)?;
        Ok(Self { kid, algorithms, decoding, material })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.material == other.material
            && self.algorithms.iter().all(|it| other.algorithms.contains(it))
    }
}

/// Refuses what is for something else than verifying (RFC 7517 sections 4.2 and 4.3).
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), String> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(it)) if it == "sig" => {}
        Some(Value::String(it)) if it == "enc" => return Err("is for encryption (use)".into()),
        Some(_) => return Err("is for something else than signatures (use)".into()),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|it| it == "verify") => Ok(()),
        Some(_) => Err("is not for verifying (key_ops)".into()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Kind {
    fn of(jwk: &Map<String, Value>) -> Result<Self, String> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Ok(Self::Rsa),
            (Some("EC"), Some("P-256")) => Ok(Self::P256),
            (Some("EC"), Some("P-384")) => Ok(Self::P384),
            (Some("OKP"), Some("Ed25519")) => Ok(Self::Ed25519),
            (Some("oct"), _) => {
                Err("is a shared secret (kty oct), which no key set may give away; \
                                     a secret goes in auth.secret"
                    .into())
            }
            (Some("EC" | "OKP"), Some(curve)) => {
                let curve = shown(curve);
                Err(format!("is on the curve {curve:?}; P-256, P-384 and Ed25519 can be used"))
            }
            (Some("EC" | "OKP"), None) => Err("names no curve (crv)".into()),
            (Some(kind), _) => {
                Err(format!("is of the kind {:?}; RSA, EC and OKP can be used", shown(kind)))
            }
            (None, _) => Err("has no kty".into()),
        }
    }

    fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm as A;
        match self {
            Self::Ed25519 => &[A::EdDsa],
            Self::P256 => &[A::Es256],
            Self::P384 => &[A::Es384],
            Self::Rsa => &[A::Ps256, A::Ps384, A::Ps512, A::Rs256, A::Rs384, A::Rs512],
        }
    }

    /// Gives the algorithms that a key of this kind is for by its own word, and by that of whoever
    /// pinned them.
    fn pinned_for(
        self,
        jwk: &Map<String, Value>,
        pinned: &[Algorithm],
    ) -> Result<Vec<Algorithm>, String> {
        let own = match jwk.get("alg") {
            None => self.algorithms().to_vec(),
            Some(Value::String(name)) => match name.parse() {
                Ok(alg) if self.algorithms().contains(&alg) => vec![alg],
                Ok(alg) => return Err(format!("says that it is for {alg}, which it does not fit")),
                Err(_) => {
                    let name = shown(name);
                    return Err(format!("is for {name:?}, which is none that can be verified"));
                }
            },
            Some(_) => return Err("has an alg that is no text".into()),
        };
        let both: Vec<_> = own.iter().copied().filter(|alg| pinned.contains(alg)).collect();
        if both.is_empty() {
            let own: Vec<_> = own.iter().map(|alg| alg.as_str()).collect();
            return Err(format!("is for {}, and `algorithms` has none of it", own.join(", ")));
        }
        Ok(both)
    }

    /// Gives the key itself, and what it is made of.
    fn read(self, jwk: &Map<String, Value>) -> Result<(DecodingKey, Vec<u8>), String> {
        let curve = |length, algorithm: &'static dyn VerificationAlgorithm| {
            let point =
                [vec![0x04], coordinate(jwk, "x", length)?, coordinate(jwk, "y", length)?].concat();
            check_parsed(algorithm, &point)?;
            Ok((DecodingKey::from_ec_der(&point), point))
        };
        match self {
            Self::Ed25519 => {
                let x = coordinate(jwk, "x", 32)?;
                check_parsed(&signature::ED25519, &x)?;
                Ok((DecodingKey::from_ed_der(&x), x))
            }
            Self::P256 => curve(32, &signature::ECDSA_P256_SHA256_FIXED),
            Self::P384 => curve(48, &signature::ECDSA_P384_SHA384_FIXED),
            Self::Rsa => {
                let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
                check_rsa(&n, &e)?;
                let key = DecodingKey::from_rsa_raw_components(&n, &e);
                Ok((key, [n, vec![0], e].concat()))
            }
        }
    }
}

fn check_parsed(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<(), String> {
    let parsed = ParsedPublicKey::new(algorithm, key);
    parsed.map(drop).map_err(|_| "is damaged: it is no point of its curve".into())
}

/// aws-lc-rs looks at an RSA key only when it verifies, which is too late to tell anybody.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), String> {
    let bits = |number: &[u8]| {
        number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
    };
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !(2048..=8192).contains(&bits(n)) {
        return Err(format!("is an RSA key of {} bits; expected 2048 to 8192", bits(n)));
    }
    // NIST SP 800-56B and aws-lc agree on these bounds, but for 3, which old keys have.
    if !is_odd(n) || !is_odd(e) || !(2..=33).contains(&bits(e)) {
        return Err("is damaged: its numbers (n, e) are not those of an RSA key".into());
    }
    Ok(())
}

fn coordinate(jwk: &Map<String, Value>, name: &str, length: usize) -> Result<Vec<u8>, String> {
    let bytes = decoded(jwk, name)?;
    match bytes.len() {
        is if is == length => Ok(bytes),
        is => Err(format!("is damaged: {name} has {is} bytes in place of {length}")),
    }
}

/// Gives a number without the zeros before it, which some issuers write and aws-lc refuses.
fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = decoded(jwk, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}

fn decoded(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("has no {name}"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("is damaged: {name} is not Base64url"))
}
