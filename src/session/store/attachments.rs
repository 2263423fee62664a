//! Whose an attachment is.

use super::{StoreFuture, answer, lacks};
use crate::principal::UserId;

/// Whose an attachment is; a part of [`SessionStore`](super::SessionStore).
///
/// A store that doesn't implement it knows no attachment, and none can be made.
pub trait AttachmentOwners {
    /// Records that an attachment belongs to a user. [`Owned::Taken`] if it is somebody else's
    /// already; the same owner twice is fine.
    fn own_attachment<'a>(
        &'a self,
        user_id: &'a UserId,
        attachment_id: &'a str,
    ) -> StoreFuture<'a, Owned> {
        let _ = (user_id, attachment_id);
        lacks("attachments")
    }

    /// Gives the owners of these attachments, in their order: one look-up, however many they are.
    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        answer(vec![None; attachment_ids.len()])
    }

    /// Forgets an attachment; `false` if it was not known.
    fn disown_attachment<'a>(&'a self, attachment_id: &'a str) -> StoreFuture<'a, bool> {
        let _ = attachment_id;
        answer(false)
    }
}

/// The outcome of [`AttachmentOwners::own_attachment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Owned {
    /// It is theirs.
    Done,
    /// It is somebody else's.
    Taken,
}
