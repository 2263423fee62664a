//! What a request asks for, once it is known to be well-formed.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::chat::ChatCall;
use super::history::HistoryCall;
use super::openai::OpenAiCall;
use crate::protocol::RequestType;

/// One operation with what it needs. Ids are as they came: nobody has looked them up yet.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a variant is an operation, and its fields are that table's words")]
pub enum Call {
    GetThread(ThreadPath),
    ListItems(ThreadPath, Page),
    CreateFeedback(ThreadPath, Feedback),
    FollowUp(ThreadPath, FollowUp),
    SyncAction(ThreadPath, ActionCall),
    CreateAttachment(Box<RawValue>),
    DeleteAttachment { attachment: Box<str> },
    CreateTranscription(TranscriptionCall),
    Passthrough(ChatKitCall),
    Chat(ChatCall),
    History(HistoryCall),
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

/// What is thought of some items.
#[derive(Debug)]
#[non_exhaustive]
pub struct Feedback {
    /// The items' ids.
    pub item_ids: Vec<String>,
    /// `positive` or `negative`.
    pub kind: String,
}

/// What makes a thread go on without a message of its user's.
#[derive(Debug)]
#[non_exhaustive]
pub struct FollowUp {
    /// What it is.
    pub step: Step,
    /// How the client wants its answer.
    pub answer: Answer,
}

/// What a [`FollowUp`] is. The values are raw JSON, so that not a byte of them changes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// The answer to a user's message is made anew.
    Retry {
        /// The message's id.
        item: Box<str>,
    },
    /// A client tool call that waits gets its output.
    ToolOutput {
        /// Any JSON.
        result: Box<RawValue>,
    },
    /// Questions are answered, or skipped.
    StructuredInput {
        /// The id of the item that asks them.
        item: Box<str>,
        /// `status` and `answers`.
        input: Box<RawValue>,
    },
    /// An action.
    Action(ActionCall),
}

/// What a widget, or the client itself, wants done.
#[derive(Debug)]
#[non_exhaustive]
pub struct ActionCall {
    /// `action`, an object with a `type`.
    pub action: Box<RawValue>,
    /// The item that it comes from.
    pub item_id: Option<String>,
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

/// A ChatKit request that came as such, and what has to be looked up before it may pass.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChatKitCall {
    /// Its type; `None` for a type that isn't known, where those are let through.
    pub kind: Option<RequestType>,
    /// The very bytes.
    pub body: Bytes,
    /// `params.thread_id`.
    pub thread_id: Option<String>,
    /// `params.input.attachments`, and last `params.attachment_id`.
    pub attachments: Vec<String>,
    /// `params.title`.
    pub title: Option<String>,
    /// The page that `threads.list` asks for.
    pub page: Page,
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
