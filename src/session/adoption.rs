//! What a ChatKit server has already, on its way into a store.

use std::fmt;

use jiff::Timestamp;

use super::quarantine::Found;
use super::record::{ConversationId, SessionId, SessionRecord, ThreadId};
use crate::bounds::{MAX_NAME_CHARS, cut};
use crate::principal::UserId;

/// Something that a ChatKit server has already, and whose it is; for
/// [`Directory::adopt`](super::Directory::adopt).
#[derive(Clone, Debug)]
pub enum Adoption {
    /// An attachment.
    Attachment {
        /// The upstream's id of it.
        attachment_id: String,
        /// Its owner.
        user_id: UserId,
    },
    /// A thread, which becomes a session.
    Thread(AdoptedThread),
}

/// A thread that a ChatKit server has already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdoptedThread {
    /// The upstream's id of it.
    pub thread_id: ThreadId,
    /// Its owner.
    pub user_id: UserId,
    /// Its title, if that is known.
    pub title: Option<String>,
    /// When it was created. Truncated to microseconds.
    pub created_at: Timestamp,
    /// When it was last written to. Truncated to microseconds.
    pub updated_at: Timestamp,
    /// What clients of one-shot chat know it by, if they do.
    pub known_by: Option<KnownBy>,
}

impl AdoptedThread {
    /// Makes a thread of a user's, which was created then and not written to since.
    pub fn new(thread_id: ThreadId, user_id: UserId, created_at: Timestamp) -> Self {
        Self { thread_id, user_id, title: None, created_at, updated_at: created_at, known_by: None }
    }
}

/// What clients of one-shot chat know an adopted thread by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// The id as a conversation that its session is to have.
    Conversation(ConversationId),
    /// The id that its session is to have.
    Session(SessionId),
}

/// The outcome of adopting one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Adopted {
    /// It is not taken on, because of what is there already.
    Conflict(AdoptionConflict),
    /// It was adopted here, or bound to a session here within the last day, and then deleted. To
    /// adopt it anew would show what its user has done away with.
    Deleted,
    /// It was adopted.
    Done,
    /// It was there already, just so.
    Known,
}

/// Why something can't be adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdoptionConflict {
    /// It is somebody else's.
    AnotherUser,
    /// Another session has that id as a conversation.
    ConversationTaken,
    /// It is known, but not by that id as a conversation.
    OtherConversation,
    /// The upstream gave its id to another user's thread too.
    Quarantined,
    /// Another session has that id.
    SessionTaken,
}

impl fmt::Display for AdoptionConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnotherUser => "it is another user's already",
            Self::ConversationTaken => "another session has that conversation_id",
            Self::OtherConversation => "it is known already, but not by that conversation_id",
            Self::Quarantined => "its id was given to two users, so it is in quarantine",
            Self::SessionTaken => "another session has that id",
        })
    }
}

impl AdoptedThread {
    /// Makes a server's title one of a session's: its first 255 characters, as of those that a run
    /// tells, and none where it is empty.
    pub fn title(mut title: String) -> Option<String> {
        title.truncate(cut(&title, MAX_NAME_CHARS).len());
        Some(title).filter(|title| !title.is_empty())
    }

    /// Gives the outcome where the thread is that session's already.
    pub(super) fn beside(&self, session: &Found<SessionRecord>) -> Adopted {
        let session = match session {
            Found::Open(session) => session,
            // Whoever its owner is can't delete it.
            Found::Quarantined { .. } => {
                return Adopted::Conflict(AdoptionConflict::Quarantined);
            }
        };
        if session.user_id != self.user_id {
            return Adopted::Conflict(AdoptionConflict::AnotherUser);
        }
        let is_known = match self.known_by {
            None => true,
            Some(KnownBy::Conversation(id)) => session.conversation == Some(id),
            Some(KnownBy::Session(id)) => session.id == id,
        };
        if is_known {
            return Adopted::Known;
        }
        Adopted::Conflict(AdoptionConflict::OtherConversation)
    }

    /// Gives the outcome where it is what the thread is to be known by that is another's.
    pub(super) fn taken(&self) -> Adopted {
        Adopted::Conflict(match self.known_by {
            None | Some(KnownBy::Conversation(_)) => AdoptionConflict::ConversationTaken,
            Some(KnownBy::Session(_)) => AdoptionConflict::SessionTaken,
        })
    }

    /// Gives the id of its session.
    pub(super) fn session_id(&self) -> SessionId {
        match self.known_by {
            Some(KnownBy::Session(id)) => id,
            None | Some(KnownBy::Conversation(_)) => SessionId::ascending(),
        }
    }

    /// Gives its id as a conversation.
    pub(super) fn conversation(&self) -> Option<ConversationId> {
        match self.known_by {
            Some(KnownBy::Conversation(id)) => Some(id),
            None | Some(KnownBy::Session(_)) => None,
        }
    }
}

/// Gives the outcome where an attachment is `owner`'s already.
pub(super) fn of_attachment(owner: &UserId, user_id: &UserId) -> Adopted {
    if owner == user_id {
        return Adopted::Known;
    }
    Adopted::Conflict(AdoptionConflict::AnotherUser)
}
