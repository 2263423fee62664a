//! What a request asks for, once it is known to be well-formed.

use std::fmt;

use bytes::Bytes;

use super::openai::OpenAiCall;

/// One operation with what it needs. Ids are as they came: nobody has looked them up yet.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant is an operation, and its fields are that table's words")]
pub enum Call {
    CreateTranscription(TranscriptionCall),
    OpenAi(OpenAiCall),
}

/// The thread that a path names, by its session's id and its own.
#[derive(Debug)]
#[non_exhaustive]
pub struct ThreadPath {
    /// The session's id.
    pub session: Box<str>,
    /// The thread's: the session's own id, or the upstream's.
    pub thread: Box<str>,
}

/// Speech that is to become text.
#[derive(Debug)]
#[non_exhaustive]
pub struct TranscriptionCall {
    /// What was said.
    pub audio: Audio,
    /// Its media type.
    pub mime_type: String,
}

/// Audio as it came.
#[non_exhaustive]
pub enum Audio {
    /// As it is.
    Raw(Bytes),
    /// In base64, with the standard alphabet and padding (RFC 4648 section 4).
    Base64(Bytes),
}

impl fmt::Debug for Audio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
            Self::Base64(text) => write!(f, "Base64({} characters)", text.len()),
        }
    }
}

/// How a run is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream of events, byte for byte.
    Events,
    /// One JSON object, at the end.
    Json,
}

/// What a list request asks for. The names and the default order are the protocol's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// `params.limit`: absent and 0 mean the server's default of 20.
    pub limit: Option<i64>,
    /// `params.order` is `asc`.
    pub ascending: bool,
    /// `params.after`, an opaque cursor.
    pub after: Option<String>,
}
