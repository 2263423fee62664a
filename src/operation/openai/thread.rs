//! A thread: as the upstream tells of it, and as it is shown.

use jiff::tz::Offset;
use serde::Serialize;

use crate::chatkit::time;
use crate::rejection::{Code, Rejection};
use crate::session::SessionRecord;
use crate::stream::Object;

/// A thread as the upstream tells of it; whatever it doesn't, or in a way that can't be read, is
/// absent.
pub(super) struct ThreadSummary {
    id: String,
    created_at: Option<String>,
    title: Option<String>,
    status: Option<ThreadStatus>,
}

impl ThreadSummary {
    /// Reads what is told; `None` if it doesn't say of which thread.
    pub(super) fn read(thread: &Object<'_>) -> Option<Self> {
        Some(Self {
            id: thread.id()?,
            created_at: thread.text("created_at"),
            title: thread.text("title"),
            status: ThreadStatus::read(thread),
        })
    }

    /// Makes what is told of a thread about which the upstream says nothing.
    pub(super) fn nothing_of(thread_id: &str) -> Self {
        Self { id: thread_id.to_owned(), created_at: None, title: None, status: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Gives what its texts take in memory.
    pub(super) fn bytes(&self) -> usize {
        let reason = match &self.status {
            Some(ThreadStatus::Locked { reason } | ThreadStatus::Closed { reason }) => {
                reason.as_ref()
            }
            Some(ThreadStatus::Active) | None => None,
        };
        let texts = [self.created_at.as_ref(), self.title.as_ref(), reason];
        self.id.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// A thread as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct ShownThread {
    pub(super) id: String,
    object: &'static str,
    created_at: i64,
    status: ThreadStatus,
    title: Option<String>,
    user: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThreadStatus {
    Active,
    Locked { reason: Option<String> },
    Closed { reason: Option<String> },
}

impl ThreadStatus {
    /// Reads a thread's, which may be its name alone.
    fn read(thread: &Object<'_>) -> Option<Self> {
        let status = thread.object("status");
        let kind = match &status {
            Some(status) => status.text("type")?,
            None => thread.text("status")?,
        };
        let reason = status.and_then(|status| status.text("reason"));
        match &*kind {
            "locked" => Some(Self::Locked { reason }),
            "closed" => Some(Self::Closed { reason }),
            _ => None,
        }
    }
}

/// Shows what the upstream says, with what only the store knows: whose it is, and the rest where the
/// upstream is silent.
pub(super) fn show(record: &SessionRecord, told: ThreadSummary, offset: Offset) -> ShownThread {
    let created_at = told.created_at.and_then(|text| time::parse(&text, offset));
    ShownThread {
        id: told.id,
        object: "chatkit.thread",
        created_at: created_at.unwrap_or(record.created_at).as_second(),
        status: told.status.unwrap_or(ThreadStatus::Active),
        title: told.title.or_else(|| record.title.clone()),
        user: record.user_id.as_str().to_owned(),
    }
}

/// Refuses a thread that the upstream has lost.
pub(super) fn not_found() -> Rejection {
    Rejection::new(Code::ThreadNotFound)
        .message("No thread found with this id.")
        .because("the upstream has lost the thread")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::principal::UserId;
    use crate::session::{MessageCount, SessionId};

    #[test]
    fn a_thread_is_shown_as_the_upstream_tells_of_it() {
        let record = SessionRecord {
            id: SessionId::random(),
            user_id: UserId::parse("ada").unwrap(),
            conversation: None,
            thread_id: Some("thr_1".into()),
            title: Some("Mine".to_owned()),
            created_at: Timestamp::from_second(1_000_000_000).unwrap(),
            updated_at: Timestamp::from_second(1_000_000_001).unwrap(),
            message_count: MessageCount::Known(2),
        };
        for (told, created_at, status, title) in [
            (
                json!({"id": "thr_1", "created_at": "2026-11-21T12:35:00.999999", "title": "Theirs",
                    "status": {"type": "active"}, "metadata": {}, "items": {"data": []}}),
                1_795_232_100,
                json!({"type": "active"}),
                "Theirs",
            ),
            (
                json!({"id": "thr_1", "created_at": "2026-11-21T03:35:00Z", "title": null,
                    "status": {"type": "closed"}}),
                1_795_232_100,
                json!({"type": "closed", "reason": null}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "status": {"type": "locked", "reason": "Paid."}}),
                1_000_000_000,
                json!({"type": "locked", "reason": "Paid."}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "created_at": "soon", "status": {"type": "new"}}),
                1_000_000_000,
                json!({"type": "active"}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "created_at": 1_795_232_100_999_i64, "status": "locked",
                    "title": {}}),
                1_795_232_100,
                json!({"type": "locked", "reason": null}),
                "Mine",
            ),
            (
                json!({"id": "thr_1", "created_at": [], "title": 7,
                    "status": {"type": "closed", "reason": []}}),
                1_000_000_000,
                json!({"type": "closed", "reason": null}),
                "7",
            ),
            (
                json!({"id": "thr_1", "created_at": "1795232100", "status": {"type": null}}),
                1_795_232_100,
                json!({"type": "active"}),
                "Mine",
            ),
        ] {
            let told = told.to_string();
            let told = ThreadSummary::read(&Object::read(&told).unwrap()).unwrap();
            let shown = show(&record, told, Offset::constant(9));
            assert_eq!(
                serde_json::to_value(shown).unwrap(),
                json!({"id": "thr_1", "object": "chatkit.thread", "created_at": created_at,
                    "status": status, "title": title, "user": "ada"})
            );
        }
    }
}
