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

impl Preamble {
    /// Sets the id of the thread that the run created.
    #[must_use]
    pub fn with_thread_id(self, thread_id: impl Into<String>) -> Self {
        Self { thread_id: Some(thread_id.into()), ..self }
    }

    /// Sets the id that the upstream gave the user's message.
    #[must_use]
    pub fn with_user_message_id(self, user_message_id: impl Into<String>) -> Self {
        Self { user_message_id: Some(user_message_id.into()), ..self }
    }
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

impl RunError {
    /// Makes an error with this code, without a message, after which trying again doesn't help.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), message: None, allow_retry: false }
    }

    /// Sets what is written for the user.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// Sets whether trying again may help.
    #[must_use]
    pub fn with_allow_retry(self, allow_retry: bool) -> Self {
        Self { allow_retry, ..self }
    }
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

impl RunFailure {
    /// Makes a failure before any event.
    pub fn new(cause: RunFailureCause) -> Self {
        Self { cause, preamble: Preamble::default(), events: 0 }
    }

    /// Sets what was known by then.
    #[must_use]
    pub fn with_preamble(self, preamble: Preamble) -> Self {
        Self { preamble, ..self }
    }

    /// Sets how many events came before.
    #[must_use]
    pub fn with_events(self, events: u64) -> Self {
        Self { events, ..self }
    }
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
