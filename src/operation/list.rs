//! THE LIST: every operation, in the order of the API's tables.

use super::{Operation as _, Row, chat, openai, passthrough, rest};
use crate::route::Operation as Name;

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
            RetryItem: rest::retry_item::RetryItem,
            SubmitToolOutput: rest::submit_tool_output::SubmitToolOutput,
            SubmitStructuredInput: rest::submit_structured_input::SubmitStructuredInput,
            RunAction: rest::run_action::RunAction,
            Passthrough: passthrough::Passthrough,
            Chat: chat::chat::Chat,
            ChatForUser: chat::chat_for_user::ChatForUser,
            ListConversations: chat::list_conversations::ListConversations,
            ListConversationsForUser: chat::list_conversations_for_user::ListConversationsForUser,
            GetConversation: chat::get_conversation::GetConversation,
            GetConversationForUser: chat::get_conversation_for_user::GetConversationForUser,
            ListItems: rest::list_items::ListItems,
            CreateFeedback: rest::create_feedback::CreateFeedback,
            CreateAttachment: rest::create_attachment::CreateAttachment,
            DeleteAttachment: rest::delete_attachment::DeleteAttachment,
            CreateTranscription: rest::create_transcription::CreateTranscription,
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

macro_rules! rows {
    ($($name:ident: $operation:ty,)*) => {
        /// Gives the row of an operation.
        pub(crate) fn row(name: Name) -> Option<&'static Row> {
            match name {
                $(Name::$name => {
                    static ROW: Row = <$operation>::ROW;
                    Some(&ROW)
                })*
            }
        }
    };
}

each_operation!(rows!);
