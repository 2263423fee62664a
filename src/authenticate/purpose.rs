//! What a token was made for: tokens of one issuer are signed with one key, so that what tells an
//! access token from the others is what they say of themselves (RFC 8725 sections 2.8 and 3.11).

use serde_json::Value;

use super::InvalidToken;
use super::jws::UniqueMembers;

/// Header types of tokens that are for something else than access.
const OTHER_TYPES: [&str; 9] = [
    "client-authentication+jwt",
    "dpop+jwt",
    "id+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "refresh+jwt",
    "rt+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
];

/// Claims in which issuers say what a token is for: Keycloak (`typ`), Cognito (`token_use`),
/// flask-jwt-extended and many FastAPI applications (`type`), Simple JWT (`token_type`).
const PURPOSES: [&str; 5] = ["typ", "type", "token_type", "tokenType", "token_use"];

/// What stands there for a token that is not for access, without case, `-`, `_` and the word
/// "token".
const OTHER_PURPOSES: [&str; 6] = ["id", "logout", "offline", "refresh", "rt", "serializedid"];

/// Which tokens are taken for access tokens, by the `typ` in their header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenType {
    /// All but those that say that they are something else: by a `typ` of ID, logout or refresh
    /// tokens (`id+jwt`, `logout+jwt`, `refresh+jwt`, `Refresh`, …), or by a claim (`typ`, `type`,
    /// `token_type` or `token_use` that is or has `refresh`, `id` or `logout`; `events` of a
    /// security event).
    ///
    /// Most issuers say nothing, or `JWT`, which passes. So does an ID token that doesn't say in
    /// so many words that it is one.
    #[default]
    NotAnother,
    /// Those with this `typ`, such as `at+jwt` (RFC 9068), in any case, with or without
    /// `application/` before it; and their claims may not say that they are something else.
    Only(String),
    /// All, whatever they say: for users whose ID tokens are their access tokens.
    DangerAny,
}

impl TokenType {
    /// Tells whether it asks for a type that says of itself that it is not for access.
    #[cfg(feature = "config")]
    pub(crate) fn asks_for_another(&self) -> bool {
        match self {
            Self::Only(only) => is_for_another(only),
            Self::NotAnother | Self::DangerAny => false,
        }
    }

    pub(super) fn check(
        &self,
        typ: Option<&str>,
        claims: &UniqueMembers,
    ) -> Result<(), InvalidToken> {
        match self {
            Self::DangerAny => return Ok(()),
            Self::Only(only) => {
                if !typ.is_some_and(|typ| bare(typ).eq_ignore_ascii_case(bare(only))) {
                    return Err(InvalidToken::Type);
                }
            }
            Self::NotAnother => {
                if typ.is_some_and(is_for_another) {
                    return Err(InvalidToken::Purpose);
                }
            }
        }
        let mut says = PURPOSES.iter().filter_map(|name| claims.get(name));
        if says.any(says_another) || is_event(claims) {
            return Err(InvalidToken::Purpose);
        }
        Ok(())
    }
}

/// Gives a media type without `application/`, which RFC 7515 section 4.1.9 lets be left out.
fn bare(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

fn is_any(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// Tells whether a claim says so: by its text, or by one of several.
fn says_another(claim: &Value) -> bool {
    match claim {
        Value::String(purpose) => is_for_another(purpose),
        Value::Array(several) => several.iter().filter_map(Value::as_str).any(is_for_another),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Tells whether a media type, with or without parameters, or a word is that of another token.
fn is_for_another(purpose: &str) -> bool {
    let media = purpose.split(';').next().unwrap_or_default();
    let media = bare(media.trim()).trim();
    if is_any(media, &OTHER_TYPES) {
        return true;
    }
    // Longer than any of the words.
    if media.len() > 32 {
        return false;
    }
    let word: String = media.chars().filter(char::is_ascii_alphanumeric).collect();
    let word = word.to_ascii_lowercase();
    is_any(word.strip_suffix("token").unwrap_or(&word), &OTHER_PURPOSES)
}

/// Tells whether it tells of events (RFC 8417 section 2.2), as `OpenID` Connect's logout tokens do:
/// by URIs, so that a claim of the same name that is an application's own is no sign of it.
fn is_event(claims: &UniqueMembers) -> bool {
    let events = claims.get("events").and_then(Value::as_object);
    events.is_some_and(|events| events.keys().any(|name| name.contains(':')))
}
