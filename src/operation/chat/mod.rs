//! One-shot chat: one question, one answer, and what was said before.

#[expect(clippy::module_inception, reason = "the operation has its surface's name")]
pub(super) mod chat;
pub(super) mod chat_for_user;
mod conversation;
mod for_user;
pub(super) mod get_conversation;
pub(super) mod get_conversation_for_user;
pub(super) mod list_conversations;
pub(super) mod list_conversations_for_user;
mod tools;
mod turns;
