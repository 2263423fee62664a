//! The operations: one variant, one wire name, one schema, one fixture folder each.

use std::fmt;

use http::Method;

use super::table::Routable;
use crate::surface::Surface;

/// One row of the API's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// `POST {prefix}/sessions`
    CreateSession,
    /// `GET {prefix}/sessions`
    ListSessions,
    /// `GET {prefix}/sessions/{session_id}`
    GetSession,
    /// `PATCH {prefix}/sessions/{session_id}`
    UpdateSession,
    /// `DELETE {prefix}/sessions/{session_id}`
    DeleteSession,
    /// `POST {prefix}/sessions/{session_id}/threads`
    CreateThread,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/runs`
    CreateRun,
    /// `GET {prefix}/sessions/{session_id}/threads/{thread_id}`
    GetThread,
    /// `GET {prefix}/sessions/{session_id}/threads`
    ListThreads,
    /// `GET {prefix}/sessions/{session_id}/threads/{thread_id}/items`
    ListItems,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/feedback`
    CreateFeedback,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/items/{item_id}/retry`
    RetryItem,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/tool_outputs`
    SubmitToolOutput,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/items/{item_id}/structured_input`
    SubmitStructuredInput,
    /// `POST {prefix}/sessions/{session_id}/threads/{thread_id}/actions`
    RunAction,
    /// `POST {prefix}/attachments`
    CreateAttachment,
    /// `DELETE {prefix}/attachments/{attachment_id}`
    DeleteAttachment,
    /// `POST {prefix}/transcriptions`
    CreateTranscription,
    /// `POST {prefix}`: a ChatKit request as it is.
    Passthrough,
    /// `POST {chat.path}/chat`
    Chat,
    /// `POST {chat.path}/{user_id}/chat`
    ChatForUser,
    /// `GET {chat.path}/conversations`
    ListConversations,
    /// `GET {chat.path}/{user_id}/conversations`
    ListConversationsForUser,
    /// `GET {chat.path}/conversations/{conversation_id}`
    GetConversation,
    /// `GET {chat.path}/{user_id}/conversations/{conversation_id}`
    GetConversationForUser,
    /// `POST {openai.path}/sessions`
    OpenAiCreateSession,
    /// `POST {openai.path}/sessions/{session_id}/cancel`
    OpenAiCancelSession,
    /// `GET {openai.path}/threads`
    OpenAiListThreads,
    /// `GET {openai.path}/threads/{thread_id}`
    OpenAiGetThread,
    /// `DELETE {openai.path}/threads/{thread_id}`
    OpenAiDeleteThread,
    /// `GET {openai.path}/threads/{thread_id}/items`
    OpenAiListItems,
}

impl Operation {
    /// All operations, in the order of the API's tables.
    pub const ALL: [Self; 31] = [
        Self::CreateSession,
        Self::ListSessions,
        Self::GetSession,
        Self::UpdateSession,
        Self::DeleteSession,
        Self::CreateThread,
        Self::CreateRun,
        Self::GetThread,
        Self::ListThreads,
        Self::ListItems,
        Self::CreateFeedback,
        Self::RetryItem,
        Self::SubmitToolOutput,
        Self::SubmitStructuredInput,
        Self::RunAction,
        Self::CreateAttachment,
        Self::DeleteAttachment,
        Self::CreateTranscription,
        Self::Passthrough,
        Self::Chat,
        Self::ChatForUser,
        Self::ListConversations,
        Self::ListConversationsForUser,
        Self::GetConversation,
        Self::GetConversationForUser,
        Self::OpenAiCreateSession,
        Self::OpenAiCancelSession,
        Self::OpenAiListThreads,
        Self::OpenAiGetThread,
        Self::OpenAiDeleteThread,
        Self::OpenAiListItems,
    ];

    /// THE TABLE: operation → its name, its surface, its method, and its path below the
    /// surface's prefix.
    #[expect(clippy::too_many_lines, reason = "a table, with a row for each operation")]
    fn row(self) -> (&'static str, Surface, Method, &'static str) {
        use Surface::{Chat, OpenAi, Rest};
        match self {
            Self::CreateSession => ("create_session", Rest, Method::POST, "/sessions"),
            Self::ListSessions => ("list_sessions", Rest, Method::GET, "/sessions"),
            Self::GetSession => ("get_session", Rest, Method::GET, "/sessions/{session_id}"),
            Self::UpdateSession => {
                ("update_session", Rest, Method::PATCH, "/sessions/{session_id}")
            }
            Self::DeleteSession => {
                ("delete_session", Rest, Method::DELETE, "/sessions/{session_id}")
            }
            Self::CreateThread => {
                ("create_thread", Rest, Method::POST, "/sessions/{session_id}/threads")
            }
            Self::CreateRun => (
                "create_run",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/runs",
            ),
            Self::GetThread => {
                ("get_thread", Rest, Method::GET, "/sessions/{session_id}/threads/{thread_id}")
            }
            Self::ListThreads => {
                ("list_threads", Rest, Method::GET, "/sessions/{session_id}/threads")
            }
            Self::ListItems => (
                "list_items",
                Rest,
                Method::GET,
                "/sessions/{session_id}/threads/{thread_id}/items",
            ),
            Self::CreateFeedback => (
                "create_feedback",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/feedback",
            ),
            Self::RetryItem => (
                "retry_item",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/items/{item_id}/retry",
            ),
            Self::SubmitToolOutput => (
                "submit_tool_output",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/tool_outputs",
            ),
            Self::SubmitStructuredInput => (
                "submit_structured_input",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/items/{item_id}/structured_input",
            ),
            Self::RunAction => (
                "run_action",
                Rest,
                Method::POST,
                "/sessions/{session_id}/threads/{thread_id}/actions",
            ),
            Self::CreateAttachment => ("create_attachment", Rest, Method::POST, "/attachments"),
            Self::DeleteAttachment => {
                ("delete_attachment", Rest, Method::DELETE, "/attachments/{attachment_id}")
            }
            Self::CreateTranscription => {
                ("create_transcription", Rest, Method::POST, "/transcriptions")
            }
            Self::Passthrough => ("passthrough", Rest, Method::POST, ""),
            Self::Chat => ("chat", Chat, Method::POST, "/chat"),
            Self::ChatForUser => ("chat_for_user", Chat, Method::POST, "/{user_id}/chat"),
            Self::ListConversations => ("list_conversations", Chat, Method::GET, "/conversations"),
            Self::ListConversationsForUser => {
                ("list_conversations_for_user", Chat, Method::GET, "/{user_id}/conversations")
            }
            Self::GetConversation => {
                ("get_conversation", Chat, Method::GET, "/conversations/{conversation_id}")
            }
            Self::GetConversationForUser => (
                "get_conversation_for_user",
                Chat,
                Method::GET,
                "/{user_id}/conversations/{conversation_id}",
            ),
            Self::OpenAiCreateSession => {
                ("openai_create_session", OpenAi, Method::POST, "/sessions")
            }
            Self::OpenAiCancelSession => {
                ("openai_cancel_session", OpenAi, Method::POST, "/sessions/{session_id}/cancel")
            }
            Self::OpenAiListThreads => ("openai_list_threads", OpenAi, Method::GET, "/threads"),
            Self::OpenAiGetThread => {
                ("openai_get_thread", OpenAi, Method::GET, "/threads/{thread_id}")
            }
            Self::OpenAiDeleteThread => {
                ("openai_delete_thread", OpenAi, Method::DELETE, "/threads/{thread_id}")
            }
            Self::OpenAiListItems => {
                ("openai_list_items", OpenAi, Method::GET, "/threads/{thread_id}/items")
            }
        }
    }

    /// The name that threads through schemas, fixtures, logs and tests.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The surface that it belongs to.
    pub fn surface(self) -> Surface {
        self.row().1
    }

    /// The method that asks for it.
    pub fn method(self) -> Method {
        self.row().2
    }

    /// Its path below the surface's prefix.
    pub fn path(self) -> &'static str {
        self.row().3
    }

    /// Whether its path names the user who is calling.
    pub fn names_user(self) -> bool {
        Routable::names_user(self)
    }

    /// Whether its requests may have a body.
    pub fn has_body(self) -> bool {
        match self {
            Self::CreateSession
            | Self::UpdateSession
            | Self::CreateThread
            | Self::CreateRun
            | Self::CreateFeedback
            | Self::RetryItem
            | Self::SubmitToolOutput
            | Self::SubmitStructuredInput
            | Self::RunAction
            | Self::CreateAttachment
            | Self::CreateTranscription
            | Self::Passthrough
            | Self::Chat
            | Self::ChatForUser
            | Self::OpenAiCreateSession
            | Self::OpenAiCancelSession => true,
            Self::ListSessions
            | Self::GetSession
            | Self::DeleteSession
            | Self::GetThread
            | Self::ListThreads
            | Self::ListItems
            | Self::DeleteAttachment
            | Self::ListConversations
            | Self::ListConversationsForUser
            | Self::GetConversation
            | Self::GetConversationForUser
            | Self::OpenAiListThreads
            | Self::OpenAiGetThread
            | Self::OpenAiDeleteThread
            | Self::OpenAiListItems => false,
        }
    }

    /// Whether it may be answered with a run's events.
    pub fn is_run(self) -> bool {
        matches!(
            self,
            Self::CreateRun
                | Self::RetryItem
                | Self::SubmitToolOutput
                | Self::SubmitStructuredInput
                | Self::RunAction
                | Self::Chat
                | Self::ChatForUser
        )
    }
}

impl Routable for Operation {
    fn method(self) -> Method {
        self.method()
    }

    fn path(self) -> &'static str {
        self.path()
    }

    fn surface(self) -> Surface {
        self.surface()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
