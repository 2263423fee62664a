//! The request types of the ChatKit protocol.
//!
//! Needs the feature `validate`.

use std::fmt;

/// A ChatKit request's `type`.
///
/// The sixteen of `openai-chatkit` 1.6.5; older and other servers know fewer of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RequestType {
    /// `attachments.create`
    AttachmentsCreate,
    /// `attachments.delete`
    AttachmentsDelete,
    /// `input.transcribe`
    InputTranscribe,
    /// `items.feedback`
    ItemsFeedback,
    /// `items.list`
    ItemsList,
    /// `threads.add_client_tool_output`
    ThreadsAddClientToolOutput,
    /// `threads.add_structured_input`
    ThreadsAddStructuredInput,
    /// `threads.add_user_message`
    ThreadsAddUserMessage,
    /// `threads.create`
    ThreadsCreate,
    /// `threads.custom_action`
    ThreadsCustomAction,
    /// `threads.delete`
    ThreadsDelete,
    /// `threads.get_by_id`
    ThreadsGetById,
    /// `threads.list`
    ThreadsList,
    /// `threads.retry_after_item`
    ThreadsRetryAfterItem,
    /// `threads.sync_custom_action`
    ThreadsSyncCustomAction,
    /// `threads.update`
    ThreadsUpdate,
}

impl RequestType {
    /// All request types.
    pub const ALL: [Self; 16] = [
        Self::AttachmentsCreate,
        Self::AttachmentsDelete,
        Self::InputTranscribe,
        Self::ItemsFeedback,
        Self::ItemsList,
        Self::ThreadsAddClientToolOutput,
        Self::ThreadsAddStructuredInput,
        Self::ThreadsAddUserMessage,
        Self::ThreadsCreate,
        Self::ThreadsCustomAction,
        Self::ThreadsDelete,
        Self::ThreadsGetById,
        Self::ThreadsList,
        Self::ThreadsRetryAfterItem,
        Self::ThreadsSyncCustomAction,
        Self::ThreadsUpdate,
    ];

    /// Gives the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttachmentsCreate => "attachments.create",
            Self::AttachmentsDelete => "attachments.delete",
            Self::InputTranscribe => "input.transcribe",
            Self::ItemsFeedback => "items.feedback",
            Self::ItemsList => "items.list",
            Self::ThreadsAddClientToolOutput => "threads.add_client_tool_output",
            Self::ThreadsAddStructuredInput => "threads.add_structured_input",
            Self::ThreadsAddUserMessage => "threads.add_user_message",
            Self::ThreadsCreate => "threads.create",
            Self::ThreadsCustomAction => "threads.custom_action",
            Self::ThreadsDelete => "threads.delete",
            Self::ThreadsGetById => "threads.get_by_id",
            Self::ThreadsList => "threads.list",
            Self::ThreadsRetryAfterItem => "threads.retry_after_item",
            Self::ThreadsSyncCustomAction => "threads.sync_custom_action",
            Self::ThreadsUpdate => "threads.update",
        }
    }

    /// Gives the request type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Tells whether the answer is a stream of events. The other ten answer one JSON value.
    pub const fn is_streaming(self) -> bool {
        match self {
            Self::ThreadsAddClientToolOutput
            | Self::ThreadsAddStructuredInput
            | Self::ThreadsAddUserMessage
            | Self::ThreadsCreate
            | Self::ThreadsCustomAction
            | Self::ThreadsRetryAfterItem => true,
            Self::AttachmentsCreate
            | Self::AttachmentsDelete
            | Self::InputTranscribe
            | Self::ItemsFeedback
            | Self::ItemsList
            | Self::ThreadsDelete
            | Self::ThreadsGetById
            | Self::ThreadsList
            | Self::ThreadsSyncCustomAction
            | Self::ThreadsUpdate => false,
        }
    }
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
