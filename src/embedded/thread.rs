//! Threads, attachments and pages, as they are on the wire.

use serde::{Deserialize, Serialize};

use super::id::new_id;
use super::json::Json;
use super::timestamp::NaiveTimestamp;

/// A thread without its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) id: String,
    pub(super) created_at: NaiveTimestamp,
    pub(super) title: Option<String>,
    pub(super) status: Status,
}

/// Whether a thread takes messages. Nothing enforces it: it is for the client to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It does.
    Active,
    /// It doesn't any more.
    Closed {
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It doesn't now.
    Locked {
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A page of a list. The cursor is there exactly when there is more.
#[derive(Debug, Serialize)]
pub(super) struct CursorPage<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
}

impl<T> CursorPage<T> {
    pub(super) fn empty() -> Self {
        Self { data: Vec::new(), has_more: false, after: None }
    }

    /// Gives the page with each of its rows turned into something else.
    pub(super) fn filter_map<U>(self, turn: impl FnMut(T) -> Option<U>) -> CursorPage<U> {
        let Self { data, has_more, after } = self;
        CursorPage { data: data.into_iter().filter_map(turn).collect(), has_more, after }
    }
}

/// A thread as clients see it: its metadata is never disclosed.
#[derive(Debug, Serialize)]
pub(super) struct ThreadView<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    id: String,
    created_at: NaiveTimestamp,
    status: Status,
    metadata: NoMetadata,
    items: CursorPage<T>,
}

#[derive(Debug, Serialize)]
struct NoMetadata {}

impl Thread {
    pub(super) fn new() -> Self {
        Self {
            id: new_id("thr"),
            created_at: NaiveTimestamp::now(),
            title: None,
            status: Status::Active,
        }
    }

    pub(super) fn with_items<T>(self, items: CursorPage<T>) -> ThreadView<T> {
        ThreadView {
            title: self.title,
            id: self.id,
            created_at: self.created_at,
            status: self.status,
            metadata: NoMetadata {},
            items,
        }
    }

    /// Shows it as in lists and events: the page of items is empty whether the thread is or not.
    pub(super) fn without_items(self) -> ThreadView<()> {
        self.with_items(CursorPage::empty())
    }
}

/// The metadata of an attachment. Its bytes are nowhere: there is no place to upload them to.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) thread_id: Option<String>,
}

/// A grey pixel, so that a client that shows the picture can.
pub(super) const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

impl Attachment {
    pub(super) fn to_json(&self) -> Json {
        let image = self.mime_type.starts_with("image/");
        let mut entries = vec![
            ("id", Json::from(self.id.as_str())),
            ("name", Json::from(self.name.as_str())),
            ("mime_type", Json::from(self.mime_type.as_str())),
            (
                "upload_descriptor",
                Json::from([
                    ("url", format!("https://uploads.invalid/{}", self.id).into()),
                    ("method", "POST".into()),
                    ("headers", Json::Object(Vec::new())),
                ]),
            ),
        ];
        if let Some(thread_id) = &self.thread_id {
            entries.push(("thread_id", Json::from(thread_id.as_str())));
        }
        entries.push(("type", Json::from(if image { "image" } else { "file" })));
        if image {
            entries.push(("preview_url", PIXEL.into()));
        }
        Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}
