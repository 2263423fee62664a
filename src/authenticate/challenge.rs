//! What a caller who is not let in gets to read (RFC 6750 section 3).

use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::InvalidToken;
use super::slip::Slip;
use crate::rejection::{Code, Rejection};

/// Why a request has no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            Unauthenticated::InvalidRequest(cause) => (
                "Bearer realm=\"chatkit-rest\", error=\"invalid_request\", \
                 error_description=\"Exactly one bearer token is expected.\"",
                "Exactly one bearer token is expected.",
                cause,
            ),
            Unauthenticated::Slip(slip) => return of_slip(slip),
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
                if any { "the key is none of openai.api_keys" } else { "openai.api_keys is empty" },
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

fn of_slip(slip: Slip) -> Rejection {
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
        .because(slip.cause())
        .header(WWW_AUTHENTICATE, challenge)
}
