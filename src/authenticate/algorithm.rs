//! The names of the signature algorithms.

use std::fmt;
use std::str::FromStr;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 section 2).
///
/// Algorithms are pinned by the configuration; a token only says which of them it was signed
/// with. `none` is not an algorithm here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// Edwards curve: Ed25519, and no other. So it is the same by either of its names, `EdDSA` and
    /// `Ed25519`, in the configuration and in tokens.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1.5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1.5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1.5 with SHA-512.
    Rs512,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 12] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// Gives the registered name, as in a token's `alg`; where there are two, the older one.
    pub const fn as_str(self) -> &'static str {
        match self.names() {
            [name, ..] => name,
            [] => "",
        }
    }

    /// Gives all names that it is registered under, [`as_str`](Self::as_str) first.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::EdDsa => &["EdDSA", "Ed25519"],
            Self::Es256 => &["ES256"],
            Self::Es384 => &["ES384"],
            Self::Hs256 => &["HS256"],
            Self::Hs384 => &["HS384"],
            Self::Hs512 => &["HS512"],
            Self::Ps256 => &["PS256"],
            Self::Ps384 => &["PS384"],
            Self::Ps512 => &["PS512"],
            Self::Rs256 => &["RS256"],
            Self::Rs384 => &["RS384"],
            Self::Rs512 => &["RS512"],
        }
    }

    /// Gives the shortest secret that it may have, in bytes: as many as its hash has (RFC 7518
    /// section 3.2). 0 if it has none.
    pub const fn min_secret_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            Self::EdDsa
            | Self::Es256
            | Self::Es384
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Rs256
            | Self::Rs384
            | Self::Rs512 => 0,
        }
    }

    /// Gives what jsonwebtoken calls it.
    pub(super) const fn as_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Hs384 => jsonwebtoken::Algorithm::HS384,
            Self::Hs512 => jsonwebtoken::Algorithm::HS512,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Ps384 => jsonwebtoken::Algorithm::PS384,
            Self::Ps512 => jsonwebtoken::Algorithm::PS512,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
            Self::Rs512 => jsonwebtoken::Algorithm::RS512,
        }
    }

    /// Tells whether signer and verifier share one secret.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Reads a registered name; names differ by case (RFC 7515 section 4.1.1).
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.names().contains(&name))
            .ok_or(UnknownAlgorithm)
    }
}

/// The name is none of [`Algorithm::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the algorithm must be one of ")?;
        for (i, algorithm) in Algorithm::ALL.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{algorithm}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownAlgorithm {}
