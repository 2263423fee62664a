use std::sync::{Arc, OnceLock};

use crate::principal::{Principal, UserId};
use crate::route::Operation;
use crate::session::{Action, Effect, OpenAiAction, SessionId};
use crate::stream::End;

/// What the rooms tell of a request, for its log line. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    user: OnceLock<UserId>,
    service: OnceLock<UserId>,
    operation: OnceLock<Operation>,
    chatkit: OnceLock<&'static str>,
    session: OnceLock<SessionId>,
    end: OnceLock<End>,
}

impl Record {
    /// Who is calling.
    pub(crate) fn caller(&self, caller: &Principal) {
        let who = if caller.is_service() { &self.0.service } else { &self.0.user };
        let _ = who.set(caller.user_id().clone());
    }

    /// What they ask for.
    pub(crate) fn operation(&self, operation: Operation) {
        let _ = self.0.operation.set(operation);
    }

    /// What was admitted.
    pub(crate) fn admitted(&self, action: &Action) {
        // Whom a service acts for, where that is one user.
        let on_behalf = match action {
            Action::OpenAi(OpenAiAction::Session(session, _)) => Some(&session.user_id),
            Action::OpenAi(OpenAiAction::ListThreads(directory, _)) => directory.user(),
            Action::OpenAi(
                OpenAiAction::GetThread(session)
                | OpenAiAction::DeleteThread(session, _)
                | OpenAiAction::ListItems(session, _),
            ) => Some(&session.record().user_id),
            _ => None,
        };
        if let Some(user) = on_behalf {
            let _ = self.0.user.set(user.clone());
        }
        let session = match action {
            Action::Created(record)
            | Action::Thread(record)
            | Action::Threads(record)
            | Action::GetThread(record) => Some(record.id),
            Action::Get(session) | Action::Update(session, _) | Action::Delete(session, _) => {
                Some(session.record().id)
            }
            Action::Run(claim, _) | Action::FollowUp(claim, _) | Action::Chat(claim, ..) => {
                Some(claim.session_id())
            }
            Action::Conversation(conversation, _) => Some(conversation.record.id),
            Action::ListItems(session, ..)
            | Action::Feedback(session, ..)
            | Action::SyncAction(session, ..) => Some(*session),
            Action::Passthrough(call, effect) => {
                if let Some(kind) = call.kind {
                    let _ = self.0.chatkit.set(kind.as_str());
                }
                match effect {
                    Effect::Run(claim) => Some(claim.session_id()),
                    Effect::Update(session) | Effect::Delete(session) => Some(session.record().id),
                    _ => None,
                }
            }
            Action::OpenAi(
                OpenAiAction::GetThread(session)
                | OpenAiAction::DeleteThread(session, _)
                | OpenAiAction::ListItems(session, _),
            ) => Some(session.record().id),
            Action::Listed(_)
            | Action::Conversations(_)
            | Action::OpenAi(_)
            | Action::CreateAttachment(..)
            | Action::DeleteAttachment(..)
            | Action::Transcribe(_) => None,
        };
        if let Some(session) = session {
            let _ = self.0.session.set(session);
        }
    }

    /// How its run ended.
    #[cfg(feature = "translate")]
    pub(crate) fn ended(&self, end: End) {
        let _ = self.0.end.set(end);
    }

    pub(super) fn user_id(&self) -> Option<&UserId> {
        self.0.user.get()
    }

    /// The name of its key.
    pub(super) fn service_name(&self) -> Option<&str> {
        self.0.service.get().map(UserId::as_str)
    }

    pub(super) fn operation_name(&self) -> Option<&'static str> {
        self.0.operation.get().map(|operation| operation.name())
    }

    pub(super) fn chatkit_type(&self) -> Option<&'static str> {
        self.0.chatkit.get().copied()
    }

    pub(super) fn session_id(&self) -> Option<SessionId> {
        self.0.session.get().copied()
    }

    pub(super) fn end(&self) -> Option<End> {
        self.0.end.get().copied()
    }
}
