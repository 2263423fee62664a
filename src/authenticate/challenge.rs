//! What a caller who is not let in gets to read (RFC 6750 section 3).

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::slip::Slip;
use super::{InvalidToken, Missing};
use crate::rejection::{Code, Rejection};

/// Why a request has no principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    /// `Authorization` has the scheme, and nothing after it: mostly the variable is empty from which the
    /// token was to come.
    EmptyBearer,
    /// Nothing but the address says who may call, and the request names another host.
    ForeignHost,
    /// A page of another site made the browser send its cookie.
    ForeignOrigin,
    /// Nothing but the address says who may call, and a page of another site calls.
    ForeignPage,
    /// It is the key of no service that is configured, if there are any.
    InvalidKey { any: bool },
    /// There is a token, or two, but not in a way that can be read. The text is for the log.
    InvalidRequest(&'static str),
    /// The token is not believed.
    InvalidToken(InvalidToken),
    /// There is no token.
    NoToken,
    /// The token isn't where or as it has to be, by a common mistake.
    Slip(Slip),
    /// The same where no key is one, of which the log is to tell.
    SlipWithoutKeys(Slip),
    /// The token is not the secret that callers share.
    WrongSecret,
}

impl From<Unauthenticated> for Rejection {
    fn from(fault: Unauthenticated) -> Self {
        let (challenge, message, cause) = match fault {
            // Not a matter of authentication: the same cookie is fine from the right page.
            Unauthenticated::ForeignOrigin => {
                return Self::new(Code::Forbidden)
                    .message("A page of this origin may not act with your cookie.")
                    .because("a cookie was sent by a page of another origin");
            }
            Unauthenticated::ForeignHost => {
                return Self::new(Code::Forbidden)
                    .message(
                        "Without credentials, requests are taken only for localhost or a loopback \
                         address.",
                    )
                    .because("callers are believed, and the host is not this machine");
            }
            Unauthenticated::ForeignPage => {
                return Self::new(Code::Forbidden)
                    .message("A page of this origin may not call without credentials.")
                    .because("callers are believed, and a page of another origin called");
            }
            Unauthenticated::InvalidToken(InvalidToken::Insufficient(missing)) => {
                return insufficient(&missing);
            }
            Unauthenticated::InvalidRequest(cause) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                 error_description=\"Exactly one bearer token is expected.\"",
                "Exactly one bearer token is expected.",
                cause,
            ),
            Unauthenticated::Slip(slip) => return of_slip(slip, slip.cause()),
            Unauthenticated::SlipWithoutKeys(slip) => return of_slip(slip, NO_KEYS),
            Unauthenticated::EmptyBearer => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                 error_description=\"There is no token after Bearer.\"",
                "There is no token after Bearer.",
                "there is no token after Bearer",
            ),
            Unauthenticated::InvalidKey { any } => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The API key is not valid.\"",
                "Incorrect API key provided.",
                if any { "the key is none of openai.api_keys" } else { NO_KEYS },
            ),
            Unauthenticated::InvalidToken(invalid @ InvalidToken::Encrypted) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token is encrypted.\"",
                "The token is encrypted, and can be read by its issuer alone (a JWE, as the session \
                 cookie of Auth.js is): send a signed access token, or a client secret.",
                invalid.reason(),
            ),
            Unauthenticated::InvalidToken(invalid @ InvalidToken::Expired) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token has expired.\"",
                "The token has expired.",
                invalid.reason(),
            ),
            Unauthenticated::InvalidToken(
                invalid @ (InvalidToken::Purpose | InvalidToken::Type),
            ) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token is not an access token.\"",
                "The token is not an access token.",
                invalid.reason(),
            ),
            Unauthenticated::InvalidToken(invalid @ InvalidToken::NumericSubject) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token's sub is a number.\"",
                "The token's sub is a number: its issuer has to write it as a text, or the gateway \
                 to take another claim (auth.user_claim).",
                invalid.reason(),
            ),
            Unauthenticated::InvalidToken(invalid) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token is not valid.\"",
                "The token is not valid.",
                invalid.reason(),
            ),
            Unauthenticated::WrongSecret => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_token\", \
                 error_description=\"The token is not valid.\"",
                "The token is not valid.",
                "the shared secret is another one",
            ),
            // RFC 6750 section 3.1: no error where no token was sent.
            Unauthenticated::NoToken => {
                ("Bearer realm=\"chatkit-rest\"", Code::Unauthorized.message(), "there is no token")
            }
        };
        Self::new(Code::Unauthorized)
            .message(message)
            .because(cause)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

const NO_KEYS: &str = "openai.api_keys is empty";

fn of_slip(slip: Slip, cause: &'static str) -> Rejection {
    let message = slip.message();
    let challenge = slip.error().and_then(|error| {
        let description = format!(
            "Bearer realm=\"chatkit-rest\", error=\"{error}\", error_description=\"{message}\""
        );
        HeaderValue::try_from(description).ok()
    });
    let challenge =
        challenge.unwrap_or_else(|| HeaderValue::from_static("Bearer realm=\"chatkit-rest\""));
    Rejection::new(Code::Unauthorized)
        .message(message)
        .because(cause)
        .header(WWW_AUTHENTICATE, challenge)
}

/// Says what a good token lacks (RFC 6750 section 3.1). In the header are all scopes that one needs.
fn insufficient(missing: &Missing) -> Rejection {
    let mut challenge = String::from(
        "Bearer realm=\"chatkit-rest\", error=\"insufficient_scope\", error_description=\"The token \
         lacks a scope or a claim that is required.\"",
    );
    if let Some(scope) = missing.scope() {
        challenge.push_str(", scope=\"");
        challenge.push_str(scope);
        challenge.push('"');
    }
    let rejection = Rejection::new(Code::InsufficientScope)
        .detail("missing", missing.names())
        .because(InvalidToken::Insufficient(missing.clone()).to_string());
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => rejection.header(WWW_AUTHENTICATE, challenge),
        Err(_) => rejection,
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidToken as T;
    use super::Unauthenticated as U;
    use super::*;
    use crate::authenticate::require::Requirements;
    use crate::principal::InvalidUserId;

    /// Gives the one after it: a new one is to be put in here.
    fn after(fault: &U) -> Option<U> {
        Some(match fault {
            U::EmptyBearer => U::ForeignHost,
            U::ForeignHost => U::ForeignOrigin,
            U::ForeignOrigin => U::ForeignPage,
            U::ForeignPage => U::InvalidKey { any: false },
            U::InvalidKey { any: false } => U::InvalidKey { any: true },
            U::InvalidKey { any: true } => {
                U::InvalidRequest("the Authorization header is malformed")
            }
            U::InvalidRequest(_) => U::NoToken,
            U::NoToken => U::WrongSecret,
            U::WrongSecret => U::Slip(Slip::BearerTwice),
            U::Slip(slip) => match slip {
                Slip::BearerTwice => U::Slip(Slip::Colon),
                Slip::Colon => U::Slip(Slip::KeyForToken),
                Slip::KeyForToken => U::Slip(Slip::NoKey),
                Slip::NoKey => U::Slip(Slip::NoScheme),
                Slip::NoScheme => U::Slip(Slip::OtherHeader),
                Slip::OtherHeader => U::Slip(Slip::Placeholder),
                Slip::Placeholder => U::Slip(Slip::Query),
                Slip::Query => U::Slip(Slip::Quoted),
                Slip::Quoted => U::Slip(Slip::SecretForKey),
                Slip::SecretForKey => U::Slip(Slip::TokenForKey),
                Slip::TokenForKey => U::Slip(Slip::Unset),
                Slip::Unset => U::SlipWithoutKeys(Slip::Unset),
            },
            U::SlipWithoutKeys(_) => U::InvalidToken(T::AlgorithmNotAllowed),
            U::InvalidToken(invalid) => U::InvalidToken(match invalid {
                T::AlgorithmNotAllowed => T::Audience,
                T::Audience => T::BringsItsOwnKey,
                T::BringsItsOwnKey => T::CriticalExtension,
                T::CriticalExtension => T::Encrypted,
                T::Encrypted => T::Expired,
                T::Expired => T::Issuer,
                T::Issuer => T::KeyAlgorithm,
                T::KeyAlgorithm => T::Malformed,
                T::Malformed => T::NoExpiry,
                T::NoExpiry => T::NoUser,
                T::NoUser => T::NumericSubject,
                T::NumericSubject => T::NotYetValid,
                T::NotYetValid => T::Purpose,
                T::Purpose => T::Revoked,
                T::Revoked => T::Signature,
                T::Signature => T::TooLong,
                T::TooLong => T::Type,
                T::Type => T::UnknownKey,
                T::UnknownKey => T::User(InvalidUserId::ControlCharacter),
                T::User(InvalidUserId::ControlCharacter) => T::User(InvalidUserId::Empty),
                T::User(InvalidUserId::Empty) => T::User(InvalidUserId::TooLong),
                T::User(InvalidUserId::TooLong) => T::Insufficient(missing()),
                T::Insufficient(_) => return None,
            }),
        })
    }

    fn missing() -> Missing {
        let required = vec!["scope:chat".parse().unwrap()];
        let claims = serde_json::from_str("{}").unwrap();
        Requirements::new(required).check(&claims).unwrap_err()
    }

    /// Whoever has a cause from the log finds it in the manual, with what to do.
    #[test]
    fn every_cause_has_its_row_in_the_manual() {
        let chapter = include_str!("../manual/troubleshooting.md");
        let quoted: Vec<_> = chapter
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|row| row.split(" | ").next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        for fault in std::iter::successors(Some(U::EmptyBearer), after) {
            let rejection = Rejection::from(fault);
            let cause = rejection.cause().unwrap();
            let is_it = |said: &&&str| match said.strip_suffix('…') {
                Some(begin) => cause.starts_with(begin),
                None => cause == **said,
            };
            assert_eq!(quoted.iter().filter(is_it).count(), 1, "{cause}");
        }
    }
}
