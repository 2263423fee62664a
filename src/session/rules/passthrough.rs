//! ChatKit requests that come as such: everything they name is looked up.

use std::collections::HashSet;
use std::sync::Arc;

use super::first_run::FirstRun;
use super::{ConversationIds, Rules};
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{Effect, OwnThreads, ThreadDirectory, store_down};
use crate::session::record::ThreadId;
use crate::session::store::ThreadsPage;
use crate::validate::ChatKitCall;

impl Rules {
    /// Looks up everything that a ChatKit request names.
    pub(super) async fn passthrough(
        self: &Arc<Self>,
        principal: &Principal,
        call: &ChatKitCall,
    ) -> Result<Effect, Rejection> {
        use RequestType as T;
        self.check_attachments(principal, &call.attachments).await?;
        let thread_id = call.thread_id.as_deref();
        // Whatever the type makes of it: a thread that is named is one that is checked.
        let session = match thread_id {
            Some(id) => Some(self.session_of_thread(principal, id).await?),
            None => None,
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
                let sessions = self.store.list(principal.user_id()).await.map_err(store_down)?;
                let ids: HashSet<ThreadId> =
                    sessions.into_iter().filter_map(|session| session.thread_id).collect();
                let page = ThreadsPage {
                    user_id: Some(principal.user_id().clone()),
                    ascending: call.page.ascending,
                    after: None,
                    until: None,
                    limit: 0,
                };
                let directory = ThreadDirectory::new(Arc::clone(&self.store), page, None, false);
                Effect::ListThreads(OwnThreads::new(ids, directory))
            }
            (Some(T::AttachmentsCreate), _) => {
                Effect::CreateAttachment(self.attachments(principal))
            }
            (Some(T::AttachmentsDelete), _) => Effect::DeleteAttachment(
                self.attachments(principal),
                call.attachments.last().cloned().unwrap_or_default(),
            ),
            (Some(T::ThreadsUpdate), Some(id)) => {
                Effect::Update(self.own(self.own_thread(principal, id).await?))
            }
            (Some(T::ThreadsDelete), Some(id)) => {
                Effect::Delete(self.own(self.own_thread(principal, id).await?))
            }
            (Some(kind), Some(_)) if kind.is_streaming() => {
                let session = session.ok_or_else(|| Rejection::new(Code::ThreadNotFound))?;
                Effect::Run(self.go_on(principal, session, kind).await?)
            }
            _ => Effect::None,
        })
    }
}
