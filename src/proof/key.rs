//! What statements are signed by.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::MIN_SECRET_BYTES;
use crate::pem::{InPlaceOfKey, has_label};

/// A key, parsed once.
pub(super) enum Key {
    Secret(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair, PublicKey),
}

impl Key {
    pub(super) fn hs256(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(InvalidKey::ShortSecret);
        }
        Ok(Self::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }

    pub(super) fn ed25519(pem: &str) -> Result<Self, InvalidKey> {
        let pair = private(&decoded(pem, PRIVATE)?)?;
        let public = PublicKey::of(&pair)?;
        Ok(Self::Ed25519(pair, public))
    }

    /// Gives the `alg` of what is signed by it.
    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Ed25519(..) => "EdDSA",
        }
    }

    pub(super) const fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Secret(_) => None,
            Self::Ed25519(_, public) => Some(public),
        }
    }

    /// Gives the signature to `to`, as a part of a JWS.
    pub(super) fn sign(&self, token: &str, to: &mut String) {
        match self {
            Self::Secret(key) => {
                URL_SAFE_NO_PAD.encode_string(hmac::sign(key, token.as_bytes()), to);
            }
            // It can't fail; were it to, no signature would be no proof.
            Self::Ed25519(pair, _) => {
                if let Ok(signature) = pair.try_sign(token.as_bytes()) {
                    URL_SAFE_NO_PAD.encode_string(signature, to);
                }
            }
        }
    }
}

/// The public half of an Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads one, from either half.
    pub(super) fn parse(pem: &str) -> Result<Self, InvalidKey> {
        if let Ok(der) = decoded(pem, PRIVATE) {
            return Self::of(&private(&der)?);
        }
        let der = decoded(pem, PUBLIC)?;
        let key = der.strip_prefix(SPKI).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(InvalidKey::NotEd25519)
    }

    fn of(pair: &Ed25519KeyPair) -> Result<Self, InvalidKey> {
        let key = pair.public_key().as_ref().try_into();
        key.map(Self).map_err(|_| InvalidKey::NotEd25519)
    }

    fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Gives its thumbprint: of the members that it can't be without, by name (RFC 7638, RFC 8037).
    pub(super) fn thumbprint(&self) -> String {
        let members = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{}\"}}", self.x());
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }

    pub(super) fn jwk(&self) -> String {
        format!(
            "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\",\"kid\":\"{}\",\"alg\":\"EdDSA\",\
             \"use\":\"sig\"}}",
            self.x(),
            self.thumbprint()
        )
    }
}

/// What a `SubjectPublicKeyInfo` with an Ed25519 key begins with (RFC 8410 section 4).
const SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

fn private(der: &[u8]) -> Result<Ed25519KeyPair, InvalidKey> {
    // Other tools write no public half into it, and it is derived then.
    Ed25519KeyPair::from_pkcs8(der).map_err(|_| InvalidKey::NotEd25519)
}

/// Gives what is in the one block with that label (RFC 7468).
fn decoded(pem: &str, label: &'static str) -> Result<Vec<u8>, InvalidKey> {
    let begin = format!("-----BEGIN {label}-----");
    let (_, rest) = pem.split_once(&begin).ok_or_else(|| instead(pem, label))?;
    let end = format!("-----END {label}-----");
    let (block, rest) = rest.split_once(&end).ok_or(InvalidKey::Cut)?;
    if rest.contains("-----BEGIN ") {
        return Err(InvalidKey::Several);
    }
    let base64: String = block.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(base64).map_err(|_| missing(label))
}

fn missing(label: &str) -> InvalidKey {
    if label == PRIVATE { InvalidKey::NoPrivate } else { InvalidKey::NoPublic }
}

/// Says what is there in the place of a block with that label.
fn instead(pem: &str, label: &str) -> InvalidKey {
    match InPlaceOfKey::find(pem.as_bytes()) {
        Some(InPlaceOfKey::Encrypted) => InvalidKey::Encrypted,
        Some(InPlaceOfKey::OfSsh) => InvalidKey::OfSsh,
        Some(InPlaceOfKey::Request | InPlaceOfKey::Certificate) => InvalidKey::Certificate,
        Some(InPlaceOfKey::Public) if label == PRIVATE => InvalidKey::Public,
        // In a form that is of one kind alone, which is another.
        Some(InPlaceOfKey::Public) => InvalidKey::NotEd25519,
        None if has_label(pem.as_bytes(), " PRIVATE KEY-") => InvalidKey::NotEd25519,
        None => missing(label),
    }
}

/// Why a key can't be used. Nothing of it is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It is no private key in PEM.
    NoPrivate,
    /// It is no key in PEM.
    NoPublic,
    /// It is another kind of key.
    NotEd25519,
    /// It is a private key with a password.
    Encrypted,
    /// It is a key in a form of OpenSSH's.
    OfSsh,
    /// It is a certificate, or a request for one.
    Certificate,
    /// It is a public key, and a private one is due.
    Public,
    /// It has no end.
    Cut,
    /// A key to publish, where statements are signed by a secret.
    NothingPublished,
    /// There is more than one in it.
    Several,
    /// A secret of less than [`MIN_SECRET_BYTES`].
    ShortSecret,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrivate => {
                "is no private key in PEM; `openssl genpkey -algorithm ed25519` makes one"
            }
            Self::NoPublic => "is no key in PEM; `openssl pkey -pubout` prints a public one",
            Self::NotEd25519 => "is no Ed25519 key; `openssl genpkey -algorithm ed25519` makes one",
            Self::Encrypted => {
                "is a key that is encrypted, and nobody is there to type its password; `openssl pkey \
                 -in FILE -out NEW` takes it off"
            }
            Self::OfSsh => {
                "is a key for SSH; `openssl genpkey -algorithm ed25519` makes one that can be used"
            }
            Self::Certificate => {
                "is a certificate and no key; `openssl genpkey -algorithm ed25519` makes one"
            }
            Self::Public => "is a public key; expected the private one",
            Self::Cut => "ends within the key: it was cut, or is still being written",
            Self::NothingPublished => "is not published where a secret signs",
            Self::Several => "has more than one key",
            Self::ShortSecret => {
                "has less than 32 bytes; make a secret with `openssl rand -hex 32`"
            }
        })
    }
}

impl std::error::Error for InvalidKey {}
