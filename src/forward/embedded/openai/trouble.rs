//! Why there is no answer, or no whole one.

use http::StatusCode;

use super::super::responder::Failure;
use super::report::{Label, Report};
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
    /// The answer is neither an event stream nor JSON.
    NotAStream,
    /// The user said nothing that a model can be told.
    NothingSaid,
    /// A failure in the answer, with what the API says of it.
    Reported(Report),
    /// A status other than 200, with what the API says of it.
    Status(StatusCode, Report),
    /// An event, or all of them, are longer than anything that is read.
    TooLong,
    /// An event that is no chunk of a completion.
    Unreadable,
}

impl Trouble {
    /// How the turn ends with it.
    pub(super) fn failure(&self) -> Failure {
        Failure::Error { allow_retry: self.may_pass() }
    }

    /// Whether the same question may be answered later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Cut | Self::Empty | Self::NotAStream | Self::Unreadable => true,
            Self::Exchange(error) => error.kind() != ForwardErrorKind::Request,
            Self::Filtered | Self::NothingSaid | Self::TooLong => false,
            Self::Reported(report) | Self::Status(_, report) => report.may_pass.unwrap_or(true),
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
            Self::Reported(report) => ("reported", None, report.label.as_ref()),
            Self::Status(status, report) => {
                ("status", Some(status.as_u16()), report.label.as_ref())
            }
            Self::TooLong => ("too long", None, None),
            Self::Unreadable => ("unreadable", None, None),
        };
        let code = label.map(Label::as_str);
        tracing::warn!(kind, status, code, "the model did not answer");
    }
}
