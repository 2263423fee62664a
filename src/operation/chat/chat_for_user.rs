//! [`Chat`], where the path names the caller.

use http::Method;

use super::chat::Chat;
use super::for_user::{ForUser, NamesUser};
use crate::operation::{Gives, Row, Takes};
use crate::rejection::Code;
use crate::surface::Surface;

pub(crate) type ChatForUser = ForUser<Chat>;

impl NamesUser for Chat {
    const ROW_FOR_USER: Row = Row {
        name: "chat_for_user",
        surface: Surface::Chat,
        method: Method::POST,
        path: "/{user_id}/chat",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[Code::SessionNotFound, Code::EmptyMessage, Code::MessageTooLong],
        tag: "Chat",
        summary: "Ask something, as a named user",
        description: "As `chat`; the user in the path must be the caller.",
        links: &[],
    };
}
