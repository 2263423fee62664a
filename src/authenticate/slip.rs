//! What callers do by mistake with a token, told by its form alone.
//!
//! It is looked for when a request is refused anyway, and nothing that it says is of the token.

use http::Request;
use http::header::{AUTHORIZATION, HeaderMap};

use super::InvalidToken;
use super::challenge::Unauthenticated;
use super::secret::CLIENT_SECRET_PREFIX;
use crate::surface::Surface;

/// A mistake, with what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slip {
    /// `Bearer Bearer …`: the word was in the variable already.
    BearerTwice,
    /// `Bearer: …`: a colon, as after the name of a header.
    Colon,
    /// An API key, where a user's token is expected.
    KeyForToken,
    /// There is no key where a service's is expected.
    NoKey,
    /// There is a token, and no scheme or another before it.
    NoScheme,
    /// It is in another header.
    OtherHeader,
    /// `$TOKEN`, `<token>`: what was to be replaced.
    Placeholder,
    /// It is in the URL.
    Query,
    /// It has quotes around it.
    Quoted,
    /// The secret of a client session, where a service's key is expected.
    SecretForKey,
    /// A user's token, where a service's key is expected.
    TokenForKey,
    /// `undefined`, `null`: what a program writes that has no token.
    Unset,
}

impl Slip {
    /// Gives what the client is told: a sentence that can stand in quotes in a header.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::BearerTwice => {
                "The word Bearer stands twice in Authorization: send it once, before the token."
            }
            Self::Colon => {
                "There is a colon after Bearer: send Authorization with that word, a blank, and the \
                 token."
            }
            Self::KeyForToken => {
                "This looks like an API key, and a user's token is expected here: keys are for the \
                 OpenAI-compatible routes."
            }
            Self::NoKey => {
                "A service's API key is required here, not a user's token: send Authorization with \
                 the word Bearer, a blank, and the key."
            }
            Self::NoScheme => {
                "There is no Bearer before the token: send Authorization with that word, a blank, \
                 and the token."
            }
            Self::OtherHeader => {
                "Credentials are not looked for in that header: send Authorization with the word \
                 Bearer, a blank, and the token."
            }
            Self::Placeholder => {
                "After Bearer is a placeholder in place of the token: fill it in (a shell fills in \
                 variables between double quotes, not between single ones)."
            }
            Self::Query => {
                "Credentials are not looked for in the URL, which logs keep: send Authorization \
                 with the word Bearer, a blank, and the token."
            }
            Self::Quoted => "The token has quotes around it: send it without them.",
            Self::SecretForKey => {
                "This looks like the secret of a client session, and the service's API key is \
                 expected here."
            }
            Self::TokenForKey => {
                "This looks like a user's token, and a service's API key is expected here."
            }
            Self::Unset => {
                "After Bearer is the word for a value that is not there: the program that called \
                 has no token, and should get one first."
            }
        }
    }

    /// Gives what the log says.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::BearerTwice => "Bearer stands twice in the Authorization header",
            Self::Colon => "there is a colon after Bearer",
            Self::KeyForToken => "the token looks like an API key",
            Self::NoKey => "there is no key",
            Self::NoScheme => "there is no Bearer before the token",
            Self::OtherHeader => "the credentials are in another header than Authorization",
            Self::Placeholder => "there is a placeholder in place of the token",
            Self::Query => "the credentials are in the URL",
            Self::Quoted => "the token has quotes around it",
            Self::SecretForKey => "the key looks like the secret of a client session",
            Self::TokenForKey => "the key looks like a JSON Web Token",
            Self::Unset => "there is the word for no value in place of the token",
        }
    }

    /// Gives the code of RFC 6750 section 3.1; nothing where there is no token where one is looked for.
    pub(super) const fn error(self) -> Option<&'static str> {
        match self {
            Self::NoKey | Self::OtherHeader | Self::Query => None,
            Self::BearerTwice
            | Self::Colon
            | Self::NoScheme
            | Self::Placeholder
            | Self::Quoted
            | Self::Unset => Some("invalid_request"),
            Self::KeyForToken | Self::SecretForKey | Self::TokenForKey => Some("invalid_token"),
        }
    }
}

/// Gives the mistake that a request is refused for, if it is a common one; else the fault as it was.
pub(super) fn explained<B>(fault: Unauthenticated, request: &Request<B>) -> Unauthenticated {
    let authorization = only_authorization(request.headers());
    let of_token = || authorization.and_then(after_bearer);
    let slip = match fault {
        Unauthenticated::NoToken => {
            if authorization.is_some_and(|value| unquoted(value).is_some_and(has_token)) {
                Some(Slip::Quoted)
            } else if authorization.is_some_and(has_colon) {
                Some(Slip::Colon)
            } else if authorization.is_some_and(|value| has_token(value) || is_placeholder(value)) {
                Some(Slip::NoScheme)
            } else if OTHER_HEADERS.iter().any(|name| request.headers().contains_key(*name)) {
                Some(Slip::OtherHeader)
            } else if request.uri().query().is_some_and(names_token) {
                Some(Slip::Query)
            } else {
                let of_services = Surface::of_extensions(request.extensions()) == Surface::OpenAi;
                of_services.then_some(Slip::NoKey)
            }
        }
        Unauthenticated::InvalidRequest(_) => of_token().and_then(malformed),
        Unauthenticated::InvalidToken(InvalidToken::Malformed) => {
            of_token().and_then(|token| match token {
                token if is_unset(token) => Some(Slip::Unset),
                token if is_key(token) => Some(Slip::KeyForToken),
                token => is_placeholder(token).then_some(Slip::Placeholder),
            })
        }
        Unauthenticated::WrongSecret => of_token().and_then(|secret| match secret {
            secret if is_unset(secret) => Some(Slip::Unset),
            secret => is_placeholder(secret).then_some(Slip::Placeholder),
        }),
        Unauthenticated::InvalidKey { .. } => of_token().and_then(|key| match key {
            key if is_unset(key) => Some(Slip::Unset),
            key if is_secret(key) => Some(Slip::SecretForKey),
            key if is_jwt(key) => Some(Slip::TokenForKey),
            key => is_placeholder(key).then_some(Slip::Placeholder),
        }),
        Unauthenticated::EmptyBearer
        | Unauthenticated::ForeignHost
        | Unauthenticated::ForeignOrigin
        | Unauthenticated::ForeignPage
        // There is no key that would be right.
        | Unauthenticated::InvalidToken(_)
        | Unauthenticated::Slip(_)
        | Unauthenticated::SlipWithoutKeys(_) => None,
    };
    let Some(slip) = slip else { return fault };
    if matches!(fault, Unauthenticated::InvalidKey { any: false }) {
        Unauthenticated::SlipWithoutKeys(slip)
    } else {
        Unauthenticated::Slip(slip)
    }
}

/// Where other APIs have what `Authorization` has here.
const OTHER_HEADERS: [&str; 8] = [
    "api-key",
    "apikey",
    "x-access-token",
    "x-api-key",
    "x-api-token",
    "x-auth-token",
    "x-authorization",
    "x-token",
];

/// Parameters that have it elsewhere; the first is RFC 6750's (section 2.3).
const PARAMETERS: [&str; 6] = ["access_token", "api_key", "apikey", "key", "bearer", "token"];

fn names_token(query: &str) -> bool {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.any(|name| PARAMETERS.contains(&name))
}

/// Gives the value of the header if there is one header.
fn only_authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes().trim_ascii())
}

/// Gives what is after the scheme, if that is `Bearer`.
fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("bearer".len())?;
    let is_scheme = scheme.eq_ignore_ascii_case(b"bearer")
        && rest.first().is_some_and(|byte| b" \t".contains(byte));
    is_scheme.then(|| rest.trim_ascii())
}

/// Tells whether a value without the scheme has a token in it, alone or after something else.
fn has_token(value: &[u8]) -> bool {
    value
        .split(|byte| b" \t\"':=,".contains(byte))
        .any(|word| is_jwt(word) || is_secret(word) || is_key(word))
}

/// Tells whether it has the form of a signed JSON Web Token: an object in Base64, twice, and a third
/// part.
fn is_jwt(word: &[u8]) -> bool {
    let mut parts = word.split(|byte| *byte == b'.');
    let mut is_object = || parts.next().is_some_and(|part| part.starts_with(b"eyJ"));
    is_object() && is_object() && parts.next().is_some() && parts.next().is_none()
}

/// Tells whether it begins as the secret of a client session.
fn is_secret(word: &[u8]) -> bool {
    word.starts_with(CLIENT_SECRET_PREFIX.as_bytes())
}

/// Tells whether it begins as the keys of services do that are made here, and as OpenAI's.
fn is_key(word: &[u8]) -> bool {
    word.starts_with(b"sk-")
}

fn is_unset(token: &[u8]) -> bool {
    [&b"undefined"[..], b"null", b"None", b"nil", b"NaN"].contains(&token)
}

/// Tells whether what should be the scheme is `Bearer:`.
fn has_colon(value: &[u8]) -> bool {
    value.split_at_checked("bearer".len()).is_some_and(|(scheme, rest)| {
        scheme.eq_ignore_ascii_case(b"bearer") && rest.trim_ascii_start().starts_with(b":")
    })
}

/// Tells whether it stands for what was to be put in its place: by the marks around it or before it, or
/// as the word of a manual, `TOKEN`, `your-access-token`, `xxx`.
fn is_placeholder(text: &[u8]) -> bool {
    let has_marks = text.starts_with(b"$")
        || [(&b"<"[..], &b">"[..]), (b"{", b"}"), (b"%", b"%"), (b"[", b"]")]
            .into_iter()
            .any(|(open, close)| text.starts_with(open) && text.ends_with(close));
    let is_filling = |byte: &u8| b".xX*".contains(byte);
    let is_word = text.len() <= MAX_WORD
        && text.split(|byte| b"-_".contains(byte)).all(|word| {
            let known = |known: &&[u8]| word.eq_ignore_ascii_case(known);
            WORDS.iter().any(known)
        });
    has_marks || is_word || (text.len() >= 3 && text.iter().all(is_filling))
}

/// The longest text that may be a word of a manual.
const MAX_WORD: usize = 40;

/// What such words are made of, one or several with dashes between.
const WORDS: [&[u8]; 15] = [
    b"access", b"api", b"auth", b"bearer", b"here", b"id", b"insert", b"jwt", b"key", b"my",
    b"secret", b"the", b"token", b"user", b"your",
];

/// Gives the mistake in what is after `Bearer` and is no token.
fn malformed(token: &[u8]) -> Option<Slip> {
    // As many as the client likes, so that each pair may cost no room on the stack.
    let bare = std::iter::successors(Some(token), |token| unquoted(token)).last().unwrap_or(token);
    // What is in them may be no token either.
    malformed_bare(bare).or_else(|| (bare.len() < token.len()).then_some(Slip::Quoted))
}

/// Gives the mistake in what has no quotes around it.
fn malformed_bare(token: &[u8]) -> Option<Slip> {
    if after_bearer(token).is_some() {
        return Some(Slip::BearerTwice);
    }
    if token.starts_with(b":") {
        return Some(Slip::Colon);
    }
    if token == b"[object Object]" || token == b"[object Promise]" {
        return Some(Slip::Unset);
    }
    is_placeholder(token).then_some(Slip::Placeholder)
}

/// Gives what is between quotes, if it is.
fn unquoted(text: &[u8]) -> Option<&[u8]> {
    [b"\"", b"'", b"`"].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}
