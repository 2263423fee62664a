//! What the store keeps of a session.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::principal::UserId;

/// A session's id: a UUID v4, 122 random bits. That of one which was adopted may be any UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Makes a new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Makes a new id that is greater than those that this process has made so before, and the rest
    /// of it random: a table that is ordered by it grows at its end.
    pub(super) fn ascending() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads an id from its canonical form (36 characters, lower or upper case); `None` if it
    /// isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Gives the 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Makes an id from its 16 bytes.
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

/// A conversation's id where one-shot chat doesn't show the session's own.
///
/// It is unique among all sessions of a store, and written as clients see it: `17`, or
/// `conv_0f3a91c2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConversationId {
    /// `conv_` and 8 hexadecimal digits, drawn at random.
    Conv(u32),
    /// A number of the store's sequence, from 1 on.
    Integer(NonZeroU64),
}

impl ConversationId {
    /// Reads an id as it is [displayed](fmt::Display); `None` if it isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        let id = match text.strip_prefix("conv_") {
            Some(digits) => Self::Conv(u32::from_str_radix(digits, 16).ok()?),
            None => Self::Integer(text.parse().ok()?),
        };
        // One id has one text: no sign, no leading zero, no capital.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv(bits) => write!(f, "conv_{bits:08x}"),
            Self::Integer(number) => write!(f, "{number}"),
        }
    }
}

/// What the ids of conversations look like.
///
/// A conversation is a session. Each is reached under the kind of id that it was made with; those
/// that were made over REST have only their session's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConversationIds {
    /// [`ConversationId::Conv`], a text.
    Conv,
    /// [`ConversationId::Integer`], a number in JSON too.
    Integer,
    /// The session's own id.
    #[default]
    Uuid,
}

impl ConversationIds {
    /// Whether they are the ids of a session that has this one as a conversation.
    pub(super) fn has(self, id: Option<ConversationId>) -> bool {
        self == Self::Uuid || id.is_some_and(|id| self.are_like(id))
    }

    /// Whether an id looks like them.
    pub(super) fn are_like(self, id: ConversationId) -> bool {
        match self {
            Self::Conv => matches!(id, ConversationId::Conv(_)),
            Self::Integer => matches!(id, ConversationId::Integer(_)),
            Self::Uuid => false,
        }
    }
}

/// The last number that a conversation may be given: a client that keeps it as a floating-point
/// number, as those in JavaScript do, can't tell the next ones apart.
pub(super) const LAST_NUMBER: u64 = (1 << 53) - 1;

/// What is wrong when that one was given.
pub(super) const NO_NUMBER: &str = "no number is left for another conversation";

/// The upstream's id of a thread. Opaque.
pub type ThreadId = Arc<str>;

/// One session: who owns it, which thread is behind it, and what lists show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session's id.
    pub id: SessionId,
    /// The owner. Never changes.
    pub user_id: UserId,
    /// The upstream's thread, once there is one. Never changes after that.
    pub thread_id: Option<ThreadId>,
    /// Its id as a conversation, if it was given one. Never changes.
    pub conversation: Option<ConversationId>,
    /// The title that the user or the upstream gave it.
    pub title: Option<String>,
    /// When it was created, in microseconds' precision.
    pub created_at: Timestamp,
    /// When it was last written to: created, retitled, or a run ended. Microseconds' precision. Never
    /// goes back.
    pub updated_at: Timestamp,
    /// User and assistant messages in the thread.
    pub message_count: MessageCount,
}

impl SessionRecord {
    /// Makes the record of a session that was created then, and that nothing has happened in since.
    pub fn new(id: SessionId, user_id: UserId, created_at: Timestamp) -> Self {
        Self {
            id,
            user_id,
            thread_id: None,
            conversation: None,
            title: None,
            created_at,
            updated_at: created_at,
            message_count: MessageCount::Known(0),
        }
    }
}

/// What of a session says whether a request about it may be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ownership {
    /// The session.
    pub id: SessionId,
    /// Its owner.
    pub user_id: UserId,
    /// The upstream's thread, once there is one.
    pub thread_id: Option<ThreadId>,
}

impl Ownership {
    /// Makes that of a session which has this thread, if it has one.
    pub fn new(id: SessionId, user_id: UserId, thread_id: Option<ThreadId>) -> Self {
        Self { id, user_id, thread_id }
    }
}

/// How many user and assistant messages a thread has, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageCount {
    /// So many went by since the thread was [adopted](super::Directory::adopt), and nobody has
    /// counted those that it had before.
    AtLeast(u64),
    /// So many.
    Known(u64),
}

impl MessageCount {
    /// Gives the count, if it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Self::AtLeast(_) => None,
            Self::Known(messages) => Some(messages),
        }
    }

    /// Gives the count with so many messages more.
    #[must_use]
    pub fn plus(self, messages: u64) -> Self {
        match self {
            Self::AtLeast(seen) => Self::AtLeast(seen.saturating_add(messages)),
            Self::Known(before) => Self::Known(before.saturating_add(messages)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversations_id_has_one_text() {
        for text in ["1", "17", "18446744073709551615", "conv_00000000", "conv_0f3a91c2"] {
            assert_eq!(ConversationId::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "01",
            " 1",
            "1.0",
            "18446744073709551616",
            "conv_",
            "conv_0f3a91c",
            "conv_0f3a91c21",
            "conv_0F3A91C2",
            "conv_+f3a91c2",
            "CONV_0f3a91c2",
            "0f3a91c2",
        ] {
            assert_eq!(ConversationId::parse(text), None, "{text}");
        }
    }
}
