//! How long what clients name may be, on every surface and in the server that is built in.
//!
//! The schemas say the same (a test holds them to it). What is said in a message has limits of its
//! own in the configuration.

/// The most characters of an id, or of a name that stands for one: of a thread, an item, an
/// attachment, a model, a tool, an action, a tag, its group, a question.
#[cfg(any(feature = "embedded", feature = "translate", test))]
pub(crate) const MAX_ID_CHARS: usize = 512;

/// The most characters of a title, of a file's name, or of a media type.
#[cfg(any(feature = "embedded", test))]
pub(crate) const MAX_NAME_CHARS: usize = 255;

/// The most characters of a cursor. They are the upstream's, and may have more than an id in them.
#[cfg(any(feature = "embedded", feature = "translate", test))]
pub(crate) const MAX_CURSOR_CHARS: usize = 2048;

/// The most characters of one value of an answer to a structured input.
#[cfg(any(feature = "embedded", test))]
pub(crate) const MAX_ANSWER_CHARS: usize = 10_000;

/// The most entries of a list: parts, attachments, items, answers, values. An id that is there twice
/// is two.
pub(crate) const MAX_ENTRIES: usize = 256;

/// The most bytes of a request's metadata, written as JSON without white space.
#[cfg(feature = "validate")]
pub(crate) const MAX_METADATA_BYTES: usize = 65_536;

/// Whether a text has more characters than `max`.
#[cfg(any(feature = "embedded", feature = "translate"))]
pub(crate) fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().count() > max
}
