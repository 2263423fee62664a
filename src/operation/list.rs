//! THE LIST: every operation, in the order of the API's tables.

use std::fmt;

use http::Method;

use super::row::{Gives, Row, Takes};
use super::{Operation as _, chat, openai, passthrough, rest};
use crate::route::Routable;
use crate::surface::Surface;

/// Hands the list to a macro.
macro_rules! each_operation {
    ($hand_to:ident!) => {
        $hand_to! {
            CreateSession: rest::create_session::CreateSession,
            ListSessions: rest::list_sessions::ListSessions,
            GetSession: rest::get_session::GetSession,
            UpdateSession: rest::update_session::UpdateSession,
            DeleteSession: rest::delete_session::DeleteSession,
            CreateThread: rest::create_thread::CreateThread,
            CreateRun: rest::create_run::CreateRun,
            GetThread: rest::get_thread::GetThread,
            ListThreads: rest::list_threads::ListThreads,
            ListItems: rest::list_items::ListItems,
            CreateFeedback: rest::create_feedback::CreateFeedback,
            RetryItem: rest::retry_item::RetryItem,
            SubmitToolOutput: rest::submit_tool_output::SubmitToolOutput,
            SubmitStructuredInput: rest::submit_structured_input::SubmitStructuredInput,
            RunAction: rest::run_action::RunAction,
            CreateAttachment: rest::create_attachment::CreateAttachment,
            DeleteAttachment: rest::delete_attachment::DeleteAttachment,
            CreateTranscription: rest::create_transcription::CreateTranscription,
            Passthrough: passthrough::Passthrough,
            Chat: chat::chat::Chat,
            ChatForUser: chat::chat_for_user::ChatForUser,
            ListConversations: chat::list_conversations::ListConversations,
            ListConversationsForUser: chat::list_conversations_for_user::ListConversationsForUser,
            GetConversation: chat::get_conversation::GetConversation,
            GetConversationForUser: chat::get_conversation_for_user::GetConversationForUser,
            OpenAiCreateSession: openai::create_session::CreateSession,
            OpenAiCancelSession: openai::cancel_session::CancelSession,
            OpenAiListThreads: openai::list_threads::ListThreads,
            OpenAiGetThread: openai::get_thread::GetThread,
            OpenAiDeleteThread: openai::delete_thread::DeleteThread,
            OpenAiListItems: openai::list_items::ListItems,
        }
    };
}

pub(super) use each_operation;

macro_rules! names {
    ($($name:ident: $operation:ty,)*) => {
        /// The name of an operation: one row of the API's tables, one file, one fixture folder.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the name says it, and the row says the rest")]
        pub enum Name {
            $($name,)*
        }

        impl Name {
            /// All operations, in the order of the API's tables.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            pub(crate) fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        static ROW: Row = <$operation>::ROW;
                        &ROW
                    })*
                }
            }
        }
    };
}

each_operation!(names!);

impl Name {
    /// Gives the name that threads through schemas, fixtures, logs, the document and tests.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Gives the surface that it belongs to.
    pub fn surface(self) -> Surface {
        self.row().surface
    }

    /// Gives the method that asks for it.
    pub fn method(self) -> Method {
        self.row().method.clone()
    }

    /// Gives its path below the surface's prefix.
    pub fn path(self) -> &'static str {
        self.row().path
    }

    /// Tells whether its requests may have a body.
    pub fn has_body(self) -> bool {
        self.row().takes != Takes::Nothing
    }

    /// Tells whether it may be answered with a run's events.
    pub fn is_run(self) -> bool {
        self.row().gives == Gives::Run
    }

    /// Tells whether its path names the user who is calling.
    pub fn names_user(self) -> bool {
        Routable::names_user(self)
    }
}

impl Routable for Name {
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

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
