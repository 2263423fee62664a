//! What the log is told of a request that was admitted.

use uuid::Uuid;

use crate::session::{Action, OpenAiAction};
use crate::telemetry::Record;

/// Tells whom a service acts for, where that is one user, and the session.
pub(super) fn tell(action: &Action, record: &Record) {
    let on_behalf = match action {
        Action::OpenAi(OpenAiAction::ListThreads(directory, _)) => directory.user(),
        Action::OpenAi(
            OpenAiAction::GetThread(session)
            | OpenAiAction::DeleteThread(session, _)
            | OpenAiAction::ListItems(session, _),
        ) => Some(&session.record().user_id),
        _ => None,
    };
    if let Some(user) = on_behalf {
        record.on_behalf_of(user);
    }
    let session = match action {
        Action::OpenAi(
            OpenAiAction::GetThread(session)
            | OpenAiAction::DeleteThread(session, _)
            | OpenAiAction::ListItems(session, _),
        ) => Some(session.record().id),
        Action::OpenAi(_) => None,
    };
    if let Some(session) = session {
        record.session(Uuid::from_bytes(*session.as_bytes()));
    }
}
