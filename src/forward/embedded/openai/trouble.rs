//! Why there is no answer, or no whole one.

use http::StatusCode;
use serde_json::Value;

use super::super::responder::Failure;
use crate::error::chain;
use crate::forward::{ForwardError, ForwardErrorKind};

/// What went wrong with one answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The stream ended before the answer did.
    Cut,
    /// It ended, and nothing was said.
    Empty,
    /// There was no answer over HTTP, or it broke.
    Exchange(ForwardError),
    /// A content filter stopped it.
    Filtered,
    /// The answer is no event stream.
    NotAStream,
    /// The user said nothing that a model can be told.
    NothingSaid,
    /// An error in the stream, with the API's word for it.
    Reported(Option<Label>),
    /// A status other than 200, with the API's word for it.
    Status(StatusCode, Option<Label>),
    /// An event, or all of them, are longer than anything that is read.
    TooLong,
    /// An event that is no chunk of a completion.
    Unreadable,
}

/// The API's word for an error, such as `context_length_exceeded`: short and plain, since it is
/// written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label(String);

impl Label {
    /// The longest that is believed to be one.
    const MAX_LENGTH: usize = 64;

    /// Of an `error` member: its `code`, or else its `type`.
    pub(super) fn of(error: &Value) -> Option<Self> {
        let named = |name| match error.get(name)? {
            Value::String(word) => Self::new(word),
            Value::Number(number) => Self::new(&number.to_string()),
            _ => None,
        };
        named("code").or_else(|| named("type"))
    }

    fn new(word: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_label = (1..=Self::MAX_LENGTH).contains(&word.len()) && word.bytes().all(plain);
        is_label.then(|| Self(word.to_owned()))
    }
}

impl Trouble {
    /// How the turn ends with it.
    pub(super) fn failure(&self) -> Failure {
        Failure::Error { allow_retry: self.may_pass() }
    }

    /// Whether the same question may be answered later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Cut | Self::Empty | Self::NotAStream | Self::Reported(_) | Self::Unreadable => {
                true
            }
            Self::Exchange(error) => error.kind() != ForwardErrorKind::Request,
            Self::Filtered | Self::NothingSaid | Self::TooLong => false,
            Self::Status(status, _) => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
            }
        }
    }

    /// Writes it to the log. Neither the key nor what anybody said is in it.
    pub(super) fn log(&self) {
        let (kind, status, label) = match self {
            Self::Cut => ("cut", None, None),
            Self::Empty => ("empty", None, None),
            Self::Exchange(error) => {
                let error = chain(error);
                tracing::warn!(kind = "exchange", error, "the model did not answer");
                return;
            }
            Self::Filtered => ("filtered", None, None),
            Self::NotAStream => ("not a stream", None, None),
            Self::NothingSaid => ("nothing said", None, None),
            Self::Reported(label) => ("reported", None, label.as_ref()),
            Self::Status(status, label) => ("status", Some(status.as_u16()), label.as_ref()),
            Self::TooLong => ("too long", None, None),
            Self::Unreadable => ("unreadable", None, None),
        };
        let code = label.map(|label| label.0.as_str());
        tracing::warn!(kind, status, code, "the model did not answer");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_is_a_short_plain_word() {
        let long = "x".repeat(65);
        for (error, label) in [
            (
                json!({"code": "context_length_exceeded", "type": "t"}),
                Some("context_length_exceeded"),
            ),
            (json!({"code": null, "type": "invalid_request_error"}), Some("invalid_request_error")),
            (json!({"code": 429}), Some("429")),
            (json!({"code": "what you said", "type": "other"}), Some("other")),
            (json!({"code": long}), None),
            (json!({"code": ""}), None),
            (json!({"code": "line\nbreak"}), None),
            (json!({"code": {"a": 1}, "message": "secret"}), None),
            (json!("a text"), None),
            (json!(null), None),
        ] {
            assert_eq!(Label::of(&error), label.map(|word| Label(word.to_owned())), "{error}");
        }
    }

    #[test]
    fn what_may_pass_may_be_tried_again() {
        let status = |code| Trouble::Status(StatusCode::from_u16(code).unwrap(), None);
        for code in [408, 409, 425, 429, 500, 502, 503, 529] {
            assert_eq!(status(code).failure(), Failure::Error { allow_retry: true }, "{code}");
        }
        for code in [204, 301, 400, 401, 403, 404, 413, 422] {
            assert_eq!(status(code).failure(), Failure::Error { allow_retry: false }, "{code}");
        }
    }
}
