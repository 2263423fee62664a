//! [`ListConversations`], where the path names the caller.

use http::Method;

use super::for_user::{ForUser, NamesUser};
use super::list_conversations::ListConversations;
use crate::operation::{Gives, Row, Takes};
use crate::surface::Surface;

pub(crate) type ListConversationsForUser = ForUser<ListConversations>;

impl NamesUser for ListConversations {
    const ROW_FOR_USER: Row = Row {
        name: "list_conversations_for_user",
        surface: Surface::Chat,
        method: Method::GET,
        path: "/{user_id}/conversations",
        takes: Takes::Nothing,
        gives: Gives::Json,
        asks_upstream: false,
        may_be_foreign: false,
        refuses: &[],
        tag: "Chat",
        summary: "List the conversations of a named user",
        description: "As `list_conversations`; the user in the path must be the caller.",
        links: &[],
    };
}
