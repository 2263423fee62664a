//! Why a token is refused. For the log; the client is not told.

use std::fmt;

use super::Missing;
use crate::principal::InvalidUserId;

/// Why a token is not believed.
///
/// Its text never has anything of the token in it. Clients get to see only whether it has
/// expired, is for something else than access, or has a number as its `sub`, which they can do something
/// about and which is looked at when its signature was found good; the rest would help whoever is
/// guessing. What a good token lacks of what is required is told as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidToken {
    /// `alg` is not one of the pinned algorithms.
    AlgorithmNotAllowed,
    /// `aud` doesn't name us.
    Audience,
    /// The header has `jwk`, `jku`, `x5c` or `x5u`.
    BringsItsOwnKey,
    /// The header has `crit`, and no extension is understood here.
    CriticalExtension,
    /// It is a JWE.
    Encrypted,
    /// `exp` is over.
    Expired,
    /// It is good, and lacks what is [required](super::VerifierBuilder::require).
    Insufficient(Missing),
    /// `iss` is not the configured issuer.
    Issuer,
    /// The key of the set that `kid` names is for another algorithm than `alg`.
    KeyAlgorithm,
    /// It is not the compact form of a signed JSON object, or a name comes twice in one.
    Malformed,
    /// There is no `exp`, or it is not a number that can be a date.
    NoExpiry,
    /// The claim that names the user is missing, or not of the right type.
    NoUser,
    /// `sub` is to name the user, and is a number, which a subject never is (RFC 7519 section 4.1.2).
    NumericSubject,
    /// `nbf` is yet to come.
    NotYetValid,
    /// It says that it is an ID, refresh or logout token, or another that is not for access.
    Purpose,
    /// It is the secret of a client session that was cancelled, or is forgotten.
    Revoked,
    /// The signature is not one of ours.
    Signature,
    /// It has more than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    TooLong,
    /// `typ` in its header is not the configured one.
    Type,
    /// The key set has no key of the token's `kid`, or without one none that made its signature.
    UnknownKey,
    /// The claim that names the user can't be a user id.
    User(InvalidUserId),
}

impl InvalidToken {
    /// Gives the reason, for the log.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "the token's alg is not one of the configured ones",
            Self::Audience => "the token's aud does not name this service",
            Self::BringsItsOwnKey => "the token's header has jwk, jku, x5c or x5u",
            Self::CriticalExtension => "the token's header has crit",
            Self::Encrypted => "the token is encrypted",
            Self::Expired => "the token has expired",
            Self::Insufficient(_) => "the token lacks what auth.require asks for",
            Self::Issuer => "the token's iss is not the configured one",
            Self::KeyAlgorithm => "the token's alg is not that of its key in the key set",
            Self::Malformed => "the token is malformed",
            Self::NoExpiry => "the token has no exp, or exp is not a number that can be a date",
            Self::NoUser => {
                "the token's user claim (auth.user_claim, auth.user) is missing or of the wrong type"
            }
            Self::NumericSubject => {
                "the token's sub is a number, and RFC 7519 has it as a text: have the issuer write \
                 it as one, or name another claim in auth.user_claim, which may be a number"
            }
            Self::NotYetValid => "the token's nbf is yet to come",
            Self::Purpose => {
                "the token says that it is an ID, refresh or logout token, not for access"
            }
            Self::Revoked => "the client session was cancelled, or is not known",
            Self::Signature => "the token's signature does not match",
            Self::TooLong => "the token is too long",
            Self::Type => "the token's typ is not auth.token_type",
            Self::UnknownKey => "the key set has no key for the token (its kid)",
            Self::User(InvalidUserId::ControlCharacter) => "the user id has a control character",
            Self::User(InvalidUserId::Empty) => "the user id is empty",
            Self::User(InvalidUserId::TooLong) => "the user id is too long",
        }
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        if let Self::Insufficient(missing) = self { write!(f, ": {missing}") } else { Ok(()) }
    }
}

impl std::error::Error for InvalidToken {}
