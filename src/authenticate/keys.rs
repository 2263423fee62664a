//! The keys that signatures are checked with.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc;

use super::jws::Jws;
use super::{Algorithm, JwkSet, material};
use crate::error::Error;

/// Checks a secret for HMAC; what is wrong with it, as the end of a sentence. Its length is not
/// looked at.
pub(crate) fn check_secret(secret: &[u8]) -> Result<(), String> {
    match material::in_place_of_secret(secret) {
        None => Ok(()),
        Some(is) => Err(format!(
            "{is}; expected random bytes, such as `openssl rand -hex 64` makes, or for a public key \
             its own algorithm, such as RS256"
        )),
    }
}

/// Checks that this is one public key in PEM that fits all of `algorithms`; what is wrong with it,
/// as the end of a sentence.
#[cfg(feature = "config")]
pub(crate) fn check_public_key(algorithms: &[Algorithm], pem: &[u8]) -> Result<(), String> {
    public_keys(algorithms, pem).map(drop)
}

/// Reads a key set that is in a file, of which at least one key must fit `algorithms`; what is wrong
/// with it, as the end of a sentence.
pub(super) fn key_set(json: &[u8], algorithms: &[Algorithm]) -> Result<JwkSet, String> {
    let set = JwkSet::parse(json, algorithms).map_err(|invalid| invalid.to_string())?;
    if !set.is_empty() {
        return Ok(set);
    }
    let Some(first) = set.unused().first() else {
        return Err("has no key in its list; expected those that tokens are signed with".into());
    };
    let kid = first.kid.as_ref().map_or_else(String::new, |kid| format!(" {kid:?}"));
    let count = set.unused().len();
    Err(format!("has no key that can be used: of {count}, the first{kid} {}", first.why))
}

/// Checks that this is a key set of which a key fits `algorithms`; what is wrong with it, as the end
/// of a sentence.
#[cfg(feature = "config")]
pub(crate) fn check_key_set(algorithms: &[Algorithm], json: &[u8]) -> Result<(), String> {
    key_set(json, algorithms).map(drop)
}

/// One key per pinned algorithm, checked once.
///
/// Key confusion is impossible by construction: a token's `alg` picks the entry, and the entry
/// holds a key made for that algorithm and no other. Keys that come and go are a
/// [`JwkSet`](super::JwkSet), of which the token's `kid` picks as well.
pub(super) struct KeySet {
    keys: Vec<DecodingKey>,
    /// One for each key.
    algorithms: Vec<Algorithm>,
}

impl KeySet {
    /// Takes one secret for every algorithm in `algorithms`, all of which must be HMAC.
    pub(super) fn of_secret(
        algorithms: &[Algorithm],
        secret: &[u8],
        min_bytes: usize,
    ) -> Result<Self, Error> {
        check_secret(secret).map_err(|why| Error::config(format!("the JWT secret {why}")))?;
        if secret.len() < min_bytes {
            let plural = if secret.len() == 1 { "" } else { "s" };
            return Err(Error::config(format!(
                "the JWT secret has {} byte{plural} and needs at least {min_bytes} (RFC 7518 \
                 section 3.2): a shorter one can be guessed from any token; `openssl rand -hex \
                 {min_bytes}` makes a good one",
                secret.len(),
            )));
        }
        let key = |&algorithm: &Algorithm| {
            if algorithm.is_symmetric() {
                return Ok((algorithm, DecodingKey::from_secret(secret)));
            }
            Err(Error::config(format!(
                "{algorithm} needs a public key, and a secret is configured; a secret goes with \
                 HS256, HS384 and HS512 only, and the two kinds must not be mixed",
            )))
        };
        algorithms.iter().map(key).collect::<Result<_, _>>().map(Self::of)
    }

    /// Takes one PEM public key for every algorithm in `algorithms`, none of which may be HMAC.
    pub(super) fn of_pem(algorithms: &[Algorithm], pem: &[u8]) -> Result<Self, Error> {
        let keys = public_keys(algorithms, pem);
        keys.map(Self::of).map_err(|why| Error::config(format!("the JWT public key {why}")))
    }

    /// Tells whether the signature is one over what is signed, in constant time for HMAC.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> bool {
        std::iter::zip(&self.algorithms, &self.keys)
            .filter(|(algorithm, _)| **algorithm == jws.algorithm)
            .any(|(algorithm, key)| is_signed_by(jws, *algorithm, key))
    }

    /// Gives the pinned algorithms.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    fn of(keys: Vec<(Algorithm, DecodingKey)>) -> Self {
        let (algorithms, keys) = keys.into_iter().unzip();
        Self { keys, algorithms }
    }
}

/// Tells whether `key` made the signature, as one of that algorithm.
///
/// By the provider that is named here and not by the process's default one, which
/// [`jsonwebtoken::decode`] takes: a library must not set that for its host, and where another
/// crate enables jsonwebtoken's other backend nobody has set it, and `decode` panics.
pub(super) fn is_signed_by(jws: &Jws<'_>, algorithm: Algorithm, key: &DecodingKey) -> bool {
    // Made for each token that isn't cached: jsonwebtoken's verifiers are not `Sync`.
    (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm.as_jsonwebtoken(), key)
        .is_ok_and(|verifier| verifier.verify(jws.signed.as_bytes(), &jws.signature).is_ok())
}

fn public_keys(
    algorithms: &[Algorithm],
    pem: &[u8],
) -> Result<Vec<(Algorithm, DecodingKey)>, String> {
    // jsonwebtoken takes private keys and certificates for public keys in some places, and would
    // then read the wrong field of them; of several keys it takes the first.
    material::check_public_pem(pem)?;
    algorithms.iter().map(|algorithm| public_key(*algorithm, pem)).collect()
}

fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    let Some(PublicKind { verification, read, is_rsa, wanted }) = public_kind(algorithm) else {
        return Err(format!(
            "can't be used: {algorithm} needs a secret; anyone may know a public key, so the two \
             kinds must not be mixed",
        ));
    };
    let unfit = |is: &str| format!("does not fit {algorithm}, which needs {wanted}: it is {is}");
    let unfit_kind = || unfit(material::kind(pem).unwrap_or("another key, or damaged"));
    let decoded = read(pem).map_err(|_| unfit_kind())?;
    let bytes = decoded.try_get_as_bytes().map_err(|_| unfit_kind())?;
    // aws-lc-rs looks at the size of an RSA key only when it verifies, which is too late to tell
    // whoever configured it.
    if is_rsa {
        let bits = material::rsa_bits(bytes).ok_or_else(unfit_kind)?;
        if !(2048..=8192).contains(&bits) {
            return Err(unfit(&format!("one of {bits} bits")));
        }
    }
    // jsonwebtoken looks at the curve, and whether it is a key at all, only when it verifies.
    ParsedPublicKey::new(verification, bytes).map_err(|_| unfit_kind())?;
    Ok((algorithm, decoded))
}

/// How keys of an asymmetric algorithm are read and checked.
struct PublicKind {
    verification: &'static dyn VerificationAlgorithm,
    read: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
    is_rsa: bool,
    wanted: &'static str,
}

fn public_kind(algorithm: Algorithm) -> Option<PublicKind> {
    let rsa = |verification| PublicKind {
        verification,
        read: DecodingKey::from_rsa_pem,
        is_rsa: true,
        wanted: "an RSA key of 2048 to 8192 bits",
    };
    let ec = |verification, wanted| PublicKind {
        verification,
        read: DecodingKey::from_ec_pem,
        is_rsa: false,
        wanted,
    };
    Some(match algorithm {
        Algorithm::EdDsa => PublicKind {
            verification: &signature::ED25519,
            read: DecodingKey::from_ed_pem,
            is_rsa: false,
            wanted: "an Ed25519 key",
        },
        Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED, "a P-256 key"),
        Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED, "a P-384 key"),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
    })
}
