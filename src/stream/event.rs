//! The events of a run, as far as the gateway tells them apart.

use super::item::ItemKind;

/// The kind of a ChatKit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// Any other that is about no item, known or not, and what is no event at all. Told apart
    /// before any output only, and to observers never: to them it is [`Other`](Self::Other).
    Aside,
    /// `error`
    Error,
    /// `thread.item.added`. Told apart before any output only, and to observers never: to them it
    /// is [`Other`](Self::Other).
    ItemAdded,
    /// `thread.item.done`
    ItemDone,
    /// `thread.item.removed`. Told apart before any output only, and to observers never: to them
    /// it is [`Other`](Self::Other).
    ItemRemoved,
    /// `thread.item.replaced`. Told apart before any output only, and to observers never: to them
    /// it is [`Other`](Self::Other).
    ItemReplaced,
    /// Any other, known or not.
    Other,
    /// `stream_options`
    StreamOptions,
    /// `thread.created`
    ThreadCreated,
    /// `thread.updated`
    ThreadUpdated,
}

impl EventKind {
    pub(super) fn parse(name: &[u8]) -> Self {
        match name {
            b"error" => Self::Error,
            b"stream_options" => Self::StreamOptions,
            b"thread.created" => Self::ThreadCreated,
            b"thread.item.added" => Self::ItemAdded,
            b"thread.item.done" => Self::ItemDone,
            b"thread.item.removed" => Self::ItemRemoved,
            b"thread.item.replaced" => Self::ItemReplaced,
            b"thread.updated" => Self::ThreadUpdated,
            b"thread.item.updated" => Self::Other,
            _ => Self::Aside,
        }
    }
}

/// A complete event that passed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Its kind; [`EventKind::Other`] where it could not be told.
    pub kind: EventKind,
    /// The kind of its item, for [`EventKind::ItemDone`].
    pub item_kind: Option<ItemKind>,
    /// The id of its thread or item, where the kind has one of interest.
    pub id: Option<&'a str>,
    /// The thread's title, for the events about the thread.
    pub title: Option<&'a str>,
    /// The error, for [`EventKind::Error`].
    pub error: Option<ErrorEvent<'a>>,
    /// It is no object with a `type`, known or not.
    pub(super) says_nothing: bool,
}

impl<'a> Event<'a> {
    /// Makes an event of this kind, of which nothing else is known.
    pub const fn new(kind: EventKind) -> Self {
        Self { kind, item_kind: None, id: None, title: None, error: None, says_nothing: false }
    }

    /// Sets the kind of its item.
    #[must_use]
    pub const fn with_item_kind(self, item_kind: ItemKind) -> Self {
        Self { item_kind: Some(item_kind), ..self }
    }

    /// Sets the id of its thread or item.
    #[must_use]
    pub const fn with_id(self, id: &'a str) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Sets the thread's title.
    #[must_use]
    pub const fn with_title(self, title: &'a str) -> Self {
        Self { title: Some(title), ..self }
    }

    /// Sets the error.
    #[must_use]
    pub const fn with_error(self, error: ErrorEvent<'a>) -> Self {
        Self { error: Some(error), ..self }
    }
}

/// An `error` event.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ErrorEvent<'a> {
    /// `stream.error`, `custom`, or a code of a newer server.
    pub code: &'a str,
    /// Written for the user, where `code` is `custom`.
    pub message: Option<&'a str>,
    /// Whether the server thinks that trying again may help.
    pub allow_retry: bool,
}

impl<'a> ErrorEvent<'a> {
    /// Makes an error with this code, without a message, after which trying again doesn't help.
    pub const fn new(code: &'a str) -> Self {
        Self { code, message: None, allow_retry: false }
    }

    /// Sets what is written for the user.
    #[must_use]
    pub const fn with_message(self, message: &'a str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// Sets whether trying again may help.
    #[must_use]
    pub const fn with_allow_retry(self, allow_retry: bool) -> Self {
        Self { allow_retry, ..self }
    }
}
