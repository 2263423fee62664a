//! Why there is no answer, or no whole one.

use http::StatusCode;

use super::super::responder::Failure;
use super::report::{About, ApiReport, Label};
use super::request::History;
use super::retry::Advice;
use crate::error::chain;
use crate::forward::{ForwardError, ForwardErrorKind, UpstreamUrl};
use crate::shown::shown;

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
    /// The answer is neither an event stream nor JSON.
    NotAStream,
    /// The user said nothing that a model can be told.
    NothingSaid,
    /// A failure in the answer, with what the API says of it.
    Reported(ApiReport),
    /// A status other than 200, with what the API says of it and of trying again.
    Status(StatusCode, ApiReport, Advice),
    /// An event, or all of them, are longer than anything that is read.
    TooLong,
    /// An event that is no chunk of a completion.
    Unreadable,
}

impl Trouble {
    /// Tells how the turn ends with it.
    pub(super) fn failure(&self) -> Failure {
        Failure::Error { allow_retry: self.may_pass() }
    }

    /// Tells whether the same question may be answered later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Cut | Self::Empty | Self::NotAStream | Self::Unreadable => true,
            Self::Exchange(error) => error.kind() != ForwardErrorKind::Request,
            Self::Filtered | Self::NothingSaid | Self::TooLong => false,
            Self::Reported(report) | Self::Status(_, report, _) => report.may_pass.unwrap_or(true),
        }
    }

    /// Tells how much of the conversation may be told instead, if the model or its API won't have
    /// all of it and never will.
    pub(super) fn instead(&self) -> Option<History> {
        let report = match self {
            Self::Filtered => return Some(History::Answered),
            Self::Reported(report) | Self::Status(_, report, _) => report,
            Self::Cut
            | Self::Empty
            | Self::Exchange(_)
            | Self::NotAStream
            | Self::NothingSaid
            | Self::TooLong
            | Self::Unreadable => return None,
        };
        let told = match report.about {
            About::Access => return None,
            About::Length => History::Newer,
            About::Perhaps | About::Said => History::Answered,
        };
        (report.may_pass == Some(false)).then_some(told)
    }

    /// Tells whether it is the question that made it, which must not be in the way of the next
    /// ones. What came of an answer that had begun is nothing else.
    pub(super) fn is_of_the_question(&self, has_begun: bool) -> bool {
        match self {
            Self::Reported(ApiReport { about: About::Perhaps, .. })
            | Self::Status(_, ApiReport { about: About::Perhaps, .. }, _)
                if !has_begun =>
            {
                false
            }
            Self::TooLong => true,
            other => other.instead().is_some(),
        }
    }

    /// Tells whether to ask again at once, on nobody's behest, and what the API said of that.
    ///
    /// Only where the API has it that this may help, or where the question has hardly been read.
    pub(super) fn advice(&self) -> Option<Advice> {
        match self {
            Self::Exchange(error) => {
                let unread =
                    matches!(error.kind(), ForwardErrorKind::Connect | ForwardErrorKind::Head);
                unread.then(Advice::default)
            }
            Self::Reported(report) => (report.may_pass == Some(true)).then(Advice::default),
            Self::Status(_, report, advice) => {
                let again = advice.again.unwrap_or(report.may_pass == Some(true));
                again.then_some(*advice)
            }
            Self::Cut
            | Self::Empty
            | Self::Filtered
            | Self::NotAStream
            | Self::NothingSaid
            | Self::TooLong
            | Self::Unreadable => None,
        }
    }

    /// Writes it to the log, with the address that was asked, but for its query. Neither the key nor
    /// what anybody said is in it.
    pub(super) fn log(&self, url: &UpstreamUrl, then: &'static str) {
        let (kind, status, label) = match self {
            Self::Cut => ("cut", None, None),
            Self::Empty => ("empty", None, None),
            Self::Exchange(error) => {
                let error = chain(error);
                let error = &*shown(&error);
                tracing::warn!(kind = "exchange", error, %url, then, "the model did not answer");
                return;
            }
            Self::Filtered => ("filtered", None, None),
            Self::NotAStream => ("not a stream", None, None),
            Self::NothingSaid => ("nothing said", None, None),
            Self::Reported(report) => ("reported", None, report.label.as_ref()),
            Self::Status(status, report, _) => {
                ("status", Some(status.as_u16()), report.label.as_ref())
            }
            Self::TooLong => ("too long", None, None),
            Self::Unreadable => ("unreadable", None, None),
        };
        let code = label.map(Label::as_str);
        let hint = self.hint(url);
        tracing::warn!(kind, status, code, %url, hint, then, "the model did not answer");
    }

    /// Gives what to look at first.
    fn hint(&self, url: &UpstreamUrl) -> Option<&'static str> {
        let is_missing = matches!(self, Self::Status(StatusCode::NOT_FOUND, ..));
        let is_bare = url.path() == "/chat/completions";
        (is_missing && is_bare).then_some("is /v1 missing in embedded.base_url?")
    }
}

#[cfg(test)]
mod tests {
    use super::super::responder::completions_url;
    use super::*;

    #[test]
    fn a_base_without_its_version_is_pointed_out() {
        let status = |status| Trouble::Status(status, ApiReport::default(), Advice::default());
        let hint = |trouble: Trouble, base| trouble.hint(&completions_url(base).unwrap());
        for base in ["http://127.0.0.1:11434", "http://127.0.0.1:11434/?a=b"] {
            let said = hint(status(StatusCode::NOT_FOUND), base);
            assert_eq!(said, Some("is /v1 missing in embedded.base_url?"), "{base}");
            assert_eq!(hint(status(StatusCode::BAD_REQUEST), base), None);
            assert_eq!(hint(Trouble::Empty, base), None);
        }
        assert_eq!(hint(status(StatusCode::NOT_FOUND), "http://127.0.0.1:11434/v1"), None);
    }
}
