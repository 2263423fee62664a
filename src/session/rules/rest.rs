//! Threads, items, attachments and transcriptions, named in paths.

use std::sync::Arc;

use super::Desk;
use crate::principal::Principal;
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::session::admitted::{Action, Attachments};
use crate::session::claim::RunClaim;
use crate::session::cursors::List;
use crate::session::grant::OwnedThread;
use crate::session::needs::Needs;
use crate::session::record::{SessionId, SessionRecord};
use crate::validate::{Call, ThreadPath};

impl Desk {
    /// What belongs to a thread or to a user.
    pub(crate) async fn rest(
        &self,
        principal: &Principal,
        call: Call,
    ) -> Result<Action, Rejection> {
        match call {
            Call::GetThread(path) => {
                let record = self.thread(principal, &path).await?;
                Ok(Action::GetThread(record, self.item_cursors(principal, List::Items)))
            }
            Call::ListItems(path, mut page) => {
                let record = self.thread(principal, &path).await?;
                let cursors = self.item_cursors(principal, List::Items);
                if let Some(after) = page.after.take() {
                    let thread_id = record.thread_id.as_deref();
                    page.after = Some(cursors.open_or_refuse(thread_id, &after).await?);
                }
                Ok(Action::ListItems(record.id, record.thread_id, page, cursors))
            }
            Call::CreateFeedback(path, feedback) => {
                let thread = self.bound_thread(principal, &path, Needs::Item).await?;
                Ok(Action::Feedback(thread.session(), thread.id().clone(), feedback))
            }
            Call::CreateAttachment(params) => {
                Ok(Action::CreateAttachment(self.attachments(principal), params))
            }
            Call::DeleteAttachment { attachment } => {
                self.check_attachments(principal, &[&*attachment]).await?;
                Ok(Action::DeleteAttachment(self.attachments(principal), attachment))
            }
            Call::CreateTranscription(call) => Ok(Action::Transcribe(call)),
            _ => Err(Rejection::new(Code::Internal)),
        }
    }

    pub(crate) fn attachments(&self, principal: &Principal) -> Attachments {
        Attachments::new(principal.user_id().clone(), Arc::clone(&self.store))
    }

    /// The session that a thread's path names, if it is the caller's and the thread is its.
    pub(crate) async fn thread(
        &self,
        principal: &Principal,
        path: &ThreadPath,
    ) -> Result<SessionRecord, Rejection> {
        let record = self.own_record(principal, &path.session).await?;
        let of = record.thread_id.as_deref();
        self.check_thread(principal, record.id, of, &path.thread).await?;
        Ok(record)
    }

    /// Gives the thread that a path names, where nothing can be done before the upstream has it.
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

    /// Begins a run that no message starts, by a request of this `kind`, on a thread that is there.
    pub(crate) async fn begin_without_message(
        &self,
        principal: &Principal,
        path: &ThreadPath,
        needs: Needs,
        kind: RequestType,
    ) -> Result<RunClaim, Rejection> {
        let thread = self.bound_thread(principal, path, needs).await?;
        self.go_on(principal, thread.session(), kind).await
    }

    /// A run on a thread that is there, by whatever request: a ChatKit request of the client's
    /// own has the same limits, and counts the same, as the REST operation that stands for it.
    pub(crate) async fn go_on(
        &self,
        principal: &Principal,
        session: SessionId,
        kind: RequestType,
    ) -> Result<RunClaim, Rejection> {
        let is_message = kind == RequestType::ThreadsAddUserMessage;
        let max_messages = self.limits.max_messages.filter(|_| is_message);
        let permit = self.stream_permit(principal, true)?;
        let claim = self.begin_run(principal, session, None, max_messages).await?.holding(permit);
        // What is tried again takes the place of what was counted before.
        let again = kind == RequestType::ThreadsRetryAfterItem;
        Ok(if again { claim.uncounted() } else { claim })
    }
}
