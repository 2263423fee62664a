//! The signature algorithms that tokens may have.

use super::hint;

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037, but `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFCs'")]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Hs256,
    Hs384,
    Hs512,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    const ALL: [Self; 12] = [
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

    /// The name in a token's `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// Whether its key is a secret (HMAC).
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// The kind of key it takes.
    fn key_kind(self) -> &'static str {
        match self {
            Self::EdDsa => "an Ed25519 key",
            Self::Es256 => "a P-256 key",
            Self::Es384 => "a P-384 key",
            Self::Hs256 | Self::Hs384 | Self::Hs512 => "a secret",
            Self::Ps256 | Self::Ps384 | Self::Ps512 => "an RSA key",
            Self::Rs256 | Self::Rs384 | Self::Rs512 => "an RSA key",
        }
    }

    /// The shortest secret it should have, in bytes (RFC 7518 section 3.2).
    pub(super) fn secret_bytes(self) -> usize {
        match self {
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 32,
        }
    }

    pub(super) fn parse_all(names: &[&str]) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for name in names {
            let Some(algorithm) = Self::ALL.into_iter().find(|known| known.as_str() == *name)
            else {
                let known = Self::ALL.map(Self::as_str);
                return Err(match hint::nearest(name, known) {
                    Some(near) => format!("has {name:?} (did you mean {near:?}?)"),
                    None => format!("has {name:?}, which is none that is accepted"),
                });
            };
            if !all.contains(&algorithm) {
                all.push(algorithm);
            }
        }
        match all.split_first() {
            None => Err("is empty: no token could be verified".into()),
            Some((first, rest)) => {
                match rest.iter().find(|other| other.key_kind() != first.key_kind()) {
                    None => Ok(all),
                    Some(other) => Err(format!(
                        "mixes {}, which takes {}, with {}, which takes {}; one key can't serve \
                         both",
                        first.as_str(),
                        first.key_kind(),
                        other.as_str(),
                        other.key_kind(),
                    )),
                }
            }
        }
    }
}
