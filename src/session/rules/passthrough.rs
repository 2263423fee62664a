//! ChatKit requests that come as such: everything they name is looked up.

use std::sync::Arc;

use super::first_run::FirstRun;
use super::{ConversationIds, Desk};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{Effect, OwnThreads, ThreadDirectory, store_down};
use crate::session::cursors::{List, Scope};
use crate::session::pages::{ThreadPlace, ThreadsPage};
use crate::validate::{ChatKitCall, Report};

impl Desk {
    /// Looks up everything that a ChatKit request names.
    pub(crate) async fn passthrough(
        &self,
        principal: &Principal,
        call: &ChatKitCall,
    ) -> Result<Effect, Rejection> {
        use RequestType as T;
        self.check_attachments(principal, &call.attachments).await?;
        let thread_id = call.thread_id.as_deref();
        // Whatever the type makes of it: a thread that is named is one that is checked.
        let session = match (call.kind, thread_id) {
            // What is changed is read whole.
            (Some(T::ThreadsUpdate), Some(id)) => {
                let session = self.own(self.own_thread(principal, id).await?);
                let cursors = self.item_cursors(principal, List::ChatKitItems);
                return Ok(Effect::Update(session, cursors));
            }
            (Some(T::ThreadsDelete), Some(id)) => {
                return Ok(Effect::Delete(self.own(self.own_thread(principal, id).await?)));
            }
            (_, Some(id)) => Some(self.session_of_thread(principal, id).await?),
            (_, None) => None,
        };
        Ok(match (call.kind, thread_id) {
            (Some(T::ThreadsCreate), _) => {
                let first = FirstRun {
                    max_sessions: self.limits.max_sessions,
                    max_messages: self.limits.max_messages,
                    ids: ConversationIds::Uuid,
                    streams: true,
                };
                Effect::Run(self.session_for_run(principal, first).await?.0)
            }
            // By type alone: a member that the type doesn't have must not change what it does.
            (Some(T::ThreadsList), _) => {
                // An empty one is none, as it is for the SDK's stores.
                let after = match call.page.after.as_deref() {
                    None | Some("") => None,
                    Some(cursor) => Some(self.own_place(principal, cursor).await?),
                };
                let page = ThreadsPage {
                    user_id: Some(principal.user_id().clone()),
                    ascending: call.page.ascending,
                    after,
                    until: None,
                    limit: 0,
                };
                let directory = ThreadDirectory::new(Arc::clone(&self.store), page, None, false);
                let user = principal.user_id().clone();
                Effect::ListThreads(OwnThreads::new(directory, user, self.cursors.clone()))
            }
            (Some(T::ThreadsGetById), Some(_)) => {
                Effect::GetThread(self.item_cursors(principal, List::ChatKitItems))
            }
            (Some(T::ItemsList), Some(id)) => {
                let cursors = self.item_cursors(principal, List::ChatKitItems);
                // As above.
                let after = match call.page.after.as_deref() {
                    None | Some("") => None,
                    Some(cursor) => Some(cursors.open_or_refuse(Some(id), cursor).await?),
                };
                Effect::ListItems(cursors, after)
            }
            (Some(T::AttachmentsCreate), _) => {
                Effect::CreateAttachment(self.attachments(principal))
            }
            (Some(T::AttachmentsDelete), _) => Effect::DeleteAttachment(
                self.attachments(principal),
                call.attachments.last().cloned().unwrap_or_default(),
            ),
            (Some(kind), Some(_)) if kind.is_streaming() => {
                let session = session.ok_or_else(|| Rejection::new(Code::ThreadNotFound))?;
                Effect::Run(self.go_on(principal, session, kind).await?)
            }
            _ => Effect::None,
        })
    }

    /// The place that a cursor names: one that a page gave, or the id of one of the caller's threads.
    pub(crate) async fn own_place(
        &self,
        principal: &Principal,
        cursor: &str,
    ) -> Result<ThreadPlace, Rejection> {
        let sealed =
            self.cursors.read(Scope::of(List::Threads, principal.user_id()), cursor).await?;
        if let Some(place) = sealed.and_then(ThreadPlace::parse) {
            return Ok(place);
        }
        let session = self.store.by_thread(cursor).await.map_err(store_down)?;
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
