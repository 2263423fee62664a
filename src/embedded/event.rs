//! What a responder says, and how it is written on the wire.

use bytes::Bytes;
use serde::Serialize;

use super::item::{Image, Item, OutputText};
use super::json::Json;
use super::thread::ThreadView;

/// An event of a run, yielded by a [`Responder`](super::Responder).
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Event {
    /// Has the client do something. Not stored.
    #[serde(rename = "client_effect")]
    ClientEffect {
        /// What to do.
        name: String,
        /// An object.
        data: Json,
    },
    /// An item that is complete; stored before it is sent. Hidden items are not sent.
    #[serde(rename = "thread.item.done")]
    ItemDone {
        /// The item.
        item: Item,
    },
    /// An item that is to come in pieces. Not stored yet.
    #[serde(rename = "thread.item.added")]
    ItemAdded {
        /// The item as it is now.
        item: Item,
    },
    /// An item that is no more.
    #[serde(rename = "thread.item.removed")]
    ItemRemoved {
        /// Its id.
        item_id: String,
    },
    /// An item that is different now.
    #[serde(rename = "thread.item.replaced")]
    ItemReplaced {
        /// The item as it is now.
        item: Item,
    },
    /// A piece of an added item.
    #[serde(rename = "thread.item.updated")]
    ItemUpdated {
        /// Whose.
        item_id: String,
        /// The piece.
        update: Update,
    },
    /// A notice for the user. Not stored.
    #[serde(rename = "notice")]
    Notice {
        /// How grave it is.
        level: Level,
        /// Markdown.
        message: String,
        /// A heading.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// What goes on. Not stored.
    #[serde(rename = "progress_update")]
    Progress {
        /// The name of an icon.
        #[serde(skip_serializing_if = "Option::is_none")]
        icon: Option<String>,
        /// What goes on.
        text: String,
    },
}

/// How grave a [notice](Event::Notice) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Very.
    Danger,
    /// Not at all.
    Info,
    /// Somewhat.
    Warning,
}

/// A piece of an item.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Update {
    /// An annotation of an assistant message's part.
    #[serde(rename = "assistant_message.content_part.annotation_added")]
    AnnotationAdded {
        /// Which part.
        content_index: usize,
        /// Before which annotation.
        annotation_index: usize,
        /// ChatKit's `Annotation` object.
        annotation: Json,
    },
    /// An image, so far.
    #[serde(rename = "generated_image.updated")]
    ImageUpdated {
        /// The image.
        image: Image,
        /// From 0 to 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
    },
    /// A part of an assistant message begins.
    #[serde(rename = "assistant_message.content_part.added")]
    PartAdded {
        /// Which part.
        content_index: usize,
        /// The part as it is now.
        content: OutputText,
    },
    /// A part of an assistant message is complete.
    #[serde(rename = "assistant_message.content_part.done")]
    PartDone {
        /// Which part.
        content_index: usize,
        /// The part.
        content: OutputText,
    },
    /// A workflow's task begins.
    #[serde(rename = "workflow.task.added")]
    TaskAdded {
        /// Which.
        task_index: usize,
        /// ChatKit's `Task` object.
        task: Json,
    },
    /// A workflow's task is different now.
    #[serde(rename = "workflow.task.updated")]
    TaskUpdated {
        /// Which.
        task_index: usize,
        /// ChatKit's `Task` object.
        task: Json,
    },
    /// More text of an assistant message's part.
    #[serde(rename = "assistant_message.content_part.text_delta")]
    TextDelta {
        /// Which part.
        content_index: usize,
        /// The text to append.
        delta: String,
    },
}

/// The events that the server itself makes.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum ServerEvent {
    #[serde(rename = "error")]
    Error {
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        allow_retry: bool,
    },
    #[serde(rename = "stream_options")]
    StreamOptions { stream_options: StreamOptions },
    #[serde(rename = "thread.created")]
    ThreadCreated { thread: ThreadView<()> },
    #[serde(rename = "thread.updated")]
    ThreadUpdated { thread: ThreadView<()> },
}

#[derive(Debug, Serialize)]
pub(super) struct StreamOptions {
    pub(super) allow_cancel: bool,
}

/// Writes one event as one SSE frame.
///
/// JSON escapes line ends, so a text can't end the frame early.
pub(super) fn frame(event: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut bytes = b"data: ".to_vec();
    serde_json::to_writer(&mut bytes, event)?;
    bytes.extend_from_slice(b"\n\n");
    Ok(bytes.into())
}
