//! Whose an attachment is.

use super::{Attachment, MemoryStore};
use crate::principal::UserId;
use crate::session::store::{AttachmentOwners, Owned, StoreFuture};

impl AttachmentOwners for MemoryStore {
    fn own_attachment<'a>(
        &'a self,
        user_id: &'a UserId,
        attachment_id: &'a str,
    ) -> StoreFuture<'a, Owned> {
        self.later(move |tables| {
            let attachment = tables
                .attachments
                .entry(Box::from(attachment_id))
                .or_insert_with(|| Attachment { user_id: user_id.clone(), adopted: false });
            if attachment.user_id == *user_id { Owned::Done } else { Owned::Taken }
        })
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        self.later(move |tables| {
            let owner = |id: &String| Some(tables.attachments.get(&**id)?.user_id.clone());
            attachment_ids.iter().map(owner).collect()
        })
    }

    fn disown_attachment<'a>(&'a self, attachment_id: &'a str) -> StoreFuture<'a, bool> {
        self.later(move |tables| {
            let removed = tables.attachments.remove(attachment_id);
            if removed.as_ref().is_some_and(|attachment| attachment.adopted) {
                tables.deleted_adopted_attachments.insert(Box::from(attachment_id));
            }
            removed.is_some()
        })
    }
}
