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
        let (user_id, attachment_id) = (user_id.clone(), Box::from(attachment_id));
        self.later(move |tables| {
            let owner = user_id.clone();
            let attachment = tables
                .attachments
                .entry(attachment_id)
                .or_insert(Attachment { user_id: owner, adopted: false });
            if attachment.user_id == user_id { Owned::Done } else { Owned::Taken }
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
        let attachment_id: Box<str> = attachment_id.into();
        self.later(move |tables| {
            let removed = tables.attachments.remove(&attachment_id);
            if removed.as_ref().is_some_and(|attachment| attachment.adopted) {
                tables.deleted_adopted_attachments.insert(attachment_id);
            }
            removed.is_some()
        })
    }
}
