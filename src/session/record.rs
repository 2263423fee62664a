//! What the store keeps of a session.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::principal::UserId;

/// A session's id: a UUID v4, 122 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id from its canonical form (36 characters, lower or upper case); `None` if it
    /// isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The upstream's id of a thread. Opaque.
pub type ThreadId = Arc<str>;

/// One session: who owns it, which thread is behind it, and what lists show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session's id.
    pub id: SessionId,
    /// The owner. Never changes.
    pub user_id: UserId,
    /// The upstream's thread, once there is one. Never changes after that.
    pub thread_id: Option<ThreadId>,
    /// The title that the user or the upstream gave it.
    pub title: Option<String>,
    /// When it was created, in microseconds' precision.
    pub created_at: Timestamp,
    /// When it was last written to: created, retitled, or a run ended. Microseconds' precision.
    pub updated_at: Timestamp,
    /// User and assistant messages in the thread.
    pub message_count: u64,
}
