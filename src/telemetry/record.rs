use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::principal::{Principal, UserId};

/// What the rooms tell of a request, for its log line. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<RecordFields>);

#[derive(Debug, Default)]
struct RecordFields {
    user: OnceLock<UserId>,
    service: OnceLock<UserId>,
    operation: OnceLock<&'static str>,
    chatkit: OnceLock<&'static str>,
    session: OnceLock<Uuid>,
    end: OnceLock<&'static str>,
    untaken: OnceLock<()>,
}

impl Record {
    /// Notes who is calling.
    pub(crate) fn caller(&self, caller: &Principal) {
        let who = if caller.is_service() { &self.0.service } else { &self.0.user };
        let _ = who.set(caller.user_id().clone());
    }

    /// Tells whom a service acts for, where that is one user.
    pub(crate) fn on_behalf_of(&self, user: &UserId) {
        let _ = self.0.user.set(user.clone());
    }

    /// Tells the name of what they ask for.
    pub(crate) fn operation(&self, name: &'static str) {
        let _ = self.0.operation.set(name);
    }

    /// Tells the type of the ChatKit request, where that is what they sent.
    pub(crate) fn chatkit(&self, kind: &'static str) {
        let _ = self.0.chatkit.set(kind);
    }

    /// Tells which session was admitted.
    pub(crate) fn session(&self, id: Uuid) {
        let _ = self.0.session.set(id);
    }

    /// Tells how its run ended, in a word of the log's.
    #[cfg(feature = "operation")]
    pub(crate) fn ended(&self, end: &'static str) {
        let _ = self.0.end.set(end);
    }

    /// Notes that its answer's last byte was given to the connection, and the client didn't take
    /// all of it.
    #[cfg(feature = "server")]
    pub(crate) fn untaken(&self) {
        let _ = self.0.untaken.set(());
    }

    pub(super) fn is_untaken(&self) -> bool {
        self.0.untaken.get().is_some()
    }

    pub(super) fn user_id(&self) -> Option<&UserId> {
        self.0.user.get()
    }

    /// Gives the name of its key.
    pub(super) fn service_name(&self) -> Option<&str> {
        self.0.service.get().map(UserId::as_str)
    }

    pub(super) fn operation_name(&self) -> Option<&'static str> {
        self.0.operation.get().copied()
    }

    pub(super) fn chatkit_type(&self) -> Option<&'static str> {
        self.0.chatkit.get().copied()
    }

    pub(super) fn session_id(&self) -> Option<Uuid> {
        self.0.session.get().copied()
    }

    pub(super) fn end(&self) -> Option<&'static str> {
        self.0.end.get().copied()
    }
}
