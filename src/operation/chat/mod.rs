//! One-shot chat: one question, one answer, and what was said before.

#[expect(clippy::module_inception, reason = "the operation has its surface's name")]
pub(super) mod chat;
pub(super) mod chat_for_user;
mod for_user;
