//! [`GetConversation`], where the path names the caller.

use http::Method;

use super::for_user::{ForUser, NamesUser};
use super::get_conversation::GetConversation;
use crate::operation::{Gives, Row, Takes};
use crate::rejection::Code;
use crate::surface::Surface;

pub(crate) type GetConversationForUser = ForUser<GetConversation>;

impl NamesUser for GetConversation {
    const ROW_FOR_USER: Row = Row {
        name: "get_conversation_for_user",
        surface: Surface::Chat,
        method: Method::GET,
        path: "/{user_id}/conversations/{conversation_id}",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::ThreadNotFound],
        tag: "Chat",
        summary: "Read a conversation of a named user",
        description: "As `get_conversation`; the user in the path must be the caller.",
        links: &[],
    };
}
