//! How a run can fail before its status is fixed.

use crate::error::BoxError;
use crate::rejection::Rejection;

/// What the preamble told before the run failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preamble {
    /// The id of the thread that the run created.
    pub thread_id: Option<String>,
    /// The id that the upstream gave the user's message.
    pub user_message_id: Option<String>,
}

/// An `error` event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunError {
    /// `stream.error`, `custom`, or a code of a newer server.
    pub code: String,
    /// Written for the user, where `code` is `custom`.
    pub message: Option<String>,
    /// Whether the server thinks that trying again may help.
    pub allow_retry: bool,
}

/// A run that failed before the commit.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunFailure {
    /// Why.
    pub cause: RunFailureCause,
    /// What was known by then.
    pub preamble: Preamble,
    /// Complete events that came before; none means that the upstream did nothing, or nothing
    /// that it told.
    pub events: u64,
}

/// Why a run failed before the commit.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunFailureCause {
    /// The body broke: cut, reset, badly framed, timed out, or the observer could not store
    /// the new thread. The type of the error says which.
    Broken(BoxError),
    /// The stream ended well without any output.
    Ended,
    /// The upstream said so.
    ErrorEvent(RunError),
    /// The answer is longer than may be collected.
    TooLarge,
    /// There is no room for so much of the answer: what to say of it.
    Crowded(Rejection),
    /// The answer that was collected lacks what can't be read: an item that is none, or a message
    /// that was begun and never finished.
    Unreadable,
}
