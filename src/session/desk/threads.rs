//! Threads that are named by their upstream's ids, or listed.

use std::sync::Arc;

use super::first_run::FirstRun;
use super::{ConversationIds, Desk};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{OwnThreads, OwnedSession, ThreadDirectory, store_down};
use crate::session::claim::RunClaim;
use crate::session::cursors::{List, Scope};
use crate::session::grant::OwnedThread;
use crate::session::items::ItemCursors;
use crate::session::pages::{ThreadPlace, ThreadsPage};
use crate::session::store::SessionKey;
use crate::validate::Report;

impl Desk {
    /// Gives the upstream thread of that id, if it is the caller's.
    pub(crate) async fn owned_thread(
        &self,
        principal: &Principal,
        thread_id: &str,
    ) -> Result<OwnedThread, Rejection> {
        let found =
            self.store.ownership(SessionKey::Thread(thread_id)).await.map_err(store_down)?;
        let owned = self.own_found(principal, found, Code::ThreadNotFound)?;
        // The store found it by this very id.
        let thread = owned.thread_id.unwrap_or_else(|| thread_id.into());
        Ok(OwnedThread::new(owned.id, thread))
    }

    /// Gives the session of an upstream thread, whole, if it is the caller's.
    pub(crate) async fn session_of_thread(
        &self,
        principal: &Principal,
        thread_id: &str,
    ) -> Result<OwnedSession, Rejection> {
        let found = self.store.get(SessionKey::Thread(thread_id)).await.map_err(store_down)?;
        self.own_found(principal, found, Code::ThreadNotFound).map(|record| self.own(record))
    }

    /// Gives the caller's threads in the store's order, after that cursor if there is one.
    pub(crate) async fn list_own_threads(
        &self,
        principal: &Principal,
        ascending: bool,
        after: Option<&str>,
    ) -> Result<OwnThreads, Rejection> {
        let after = match after {
            Some(cursor) => Some(self.own_place(principal, cursor).await?),
            None => None,
        };
        let user = principal.user_id().clone();
        let user_id = Some(user.clone());
        let page = ThreadsPage { user_id, ascending, after, until: None, limit: 0 };
        let directory = ThreadDirectory::new(Arc::clone(&self.store), page, None, false);
        Ok(OwnThreads::new(directory, user, self.cursors.clone()))
    }

    /// Gives the cursors of the items of the caller's threads, as ChatKit's answers have them.
    pub(crate) fn chatkit_cursors(&self, principal: &Principal) -> ItemCursors {
        self.item_cursors(principal, List::ChatKitItems)
    }

    /// Begins the run that makes a thread, in a session that is made for it.
    pub(crate) async fn begin_new_thread(
        &self,
        principal: &Principal,
    ) -> Result<RunClaim, Rejection> {
        let first = FirstRun {
            max_sessions: self.limits.max_sessions,
            max_messages: self.limits.max_messages,
            ids: ConversationIds::Uuid,
            streams: true,
        };
        self.session_for_run(principal, first).await.map(|(claim, _)| claim)
    }

    /// Finds the place that a cursor names: one that a page gave, or the id of one of the caller's threads.
    async fn own_place(
        &self,
        principal: &Principal,
        cursor: &str,
    ) -> Result<ThreadPlace, Rejection> {
        let sealed =
            self.cursors.read(Scope::of(List::Threads, principal.user_id()), cursor).await?;
        if let Some(place) = sealed.and_then(ThreadPlace::parse) {
            return Ok(place);
        }
        let session = self.store.get(SessionKey::Thread(cursor)).await.map_err(store_down)?;
        let place = match session {
            // Somebody else's is told like one that nobody has.
            Some(session) if session.user_id() == principal.user_id() => {
                self.store.place_of_thread(cursor).await.map_err(store_down)?
            }
            Some(_) | None => None,
        };
        place.ok_or_else(|| {
            Rejection::from(Report::one("/params/after", "must be a cursor of this list"))
                .message("The cursor params.after is none of this list; begin without one.")
        })
    }
}
