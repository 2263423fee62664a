//! Threads, items, attachments and transcriptions, named in paths.

use std::sync::Arc;

use super::Desk;
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::session::ThreadPath;
use crate::session::admitted::{Attachments, OwnedSession};
use crate::session::cursors::List;
use crate::session::grant::{OwnedThread, Seal};
use crate::session::items::{ItemCursors, ItemsFrom};
use crate::session::needs::Needs;
use crate::session::record::SessionRecord;

impl Desk {
    /// Gives the right to record what becomes of the caller's attachments.
    pub(crate) fn attachments(&self, principal: &Principal) -> Attachments {
        Attachments::new(principal.user_id().clone(), Arc::clone(&self.store))
    }

    /// Gives the same for one that the caller names, if it is theirs or, where that is let through,
    /// nobody's.
    pub(crate) async fn find_attachment(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<Attachments, Rejection> {
        self.check_attachments(principal, &[id]).await?;
        Ok(self.attachments(principal))
    }

    /// Gives the session whose thread a path names, and what the cursors of its items are made by.
    pub(crate) async fn open_thread(
        &self,
        principal: &Principal,
        path: &ThreadPath,
    ) -> Result<(OwnedSession, ItemCursors), Rejection> {
        let record = self.thread(principal, path).await?;
        Ok((self.own(record), self.item_cursors(principal, List::Items)))
    }

    /// Gives the same, to read the thread's items from the cursor `after` on.
    pub(crate) async fn open_items(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        after: Option<&str>,
    ) -> Result<(OwnedSession, ItemsFrom), Rejection> {
        let (session, cursors) = self.open_thread(principal, path).await?;
        let after = match after {
            Some(after) => {
                let thread_id = session.record().thread_id.as_deref();
                Some(cursors.open_or_refuse(thread_id, after).await?)
            }
            None => None,
        };
        Ok((session, ItemsFrom { after, cursors, _seal: Seal }))
    }

    /// Gives the thread that a path names, where nothing can be done before it is there upstream.
    pub(crate) async fn bound_thread(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        needs: Needs,
    ) -> Result<OwnedThread, Rejection> {
        let record = self.thread(principal, path).await?;
        let thread = record.thread_id.ok_or_else(|| needs.unmet_without_thread())?;
        Ok(OwnedThread::new(record.id, thread))
    }

    /// Finds the session that a thread's path names, if it is the caller's and the thread is its.
    async fn thread(
        &self,
        principal: &Principal,
        path: &ThreadPath,
    ) -> Result<SessionRecord, Rejection> {
        let record = self.own_record(principal, &path.session).await?;
        let of = record.thread_id.as_deref();
        self.check_thread(principal, record.id, of, &path.thread).await?;
        Ok(record)
    }
}
