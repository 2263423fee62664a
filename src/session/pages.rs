//! Pages of what a store has, and the places in its orders at which they begin.

use std::cmp::{Ordering, Reverse};

use jiff::Timestamp;

use super::record::{ConversationId, ConversationIds, MessageCount, SessionId, SessionRecord};
use crate::principal::UserId;

/// Which page [`Sessions::list`](super::Sessions::list) is to give.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionsPage {
    /// Whose.
    pub user_id: UserId,
    /// Those that have an id as a conversation that looks so; [`ConversationIds::Uuid`]: all.
    pub ids: ConversationIds,
    /// What comes after this place, whether or not something is there.
    pub after: Option<SessionPlace>,
    /// The most that are given.
    pub limit: usize,
}

impl SessionsPage {
    /// Asks for the first sessions of a user's, at most `limit`.
    pub fn new(user_id: UserId, limit: usize) -> Self {
        Self { user_id, ids: ConversationIds::Uuid, after: None, limit }
    }
}

/// What lists show of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The session's id.
    pub id: SessionId,
    /// Its id as a conversation, if it was given one.
    pub conversation: Option<ConversationId>,
    /// The title that the user or the upstream gave it.
    pub title: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written to.
    pub updated_at: Timestamp,
    /// User and assistant messages in the thread.
    pub message_count: MessageCount,
}

impl From<SessionRecord> for SessionSummary {
    fn from(record: SessionRecord) -> Self {
        let SessionRecord { id, conversation, title, created_at, updated_at, .. } = record;
        let message_count = record.message_count;
        Self { id, conversation, title, created_at, updated_at, message_count }
    }
}

/// A place in the order of [`Sessions::list`](super::Sessions::list), which is that of
/// [`Ord`]: the session that was written to last comes first. It outlives what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    /// When the session was last written to, in microseconds' precision.
    pub updated_at: Timestamp,
    /// When it was created, in microseconds' precision.
    pub created_at: Timestamp,
    /// The session.
    pub id: SessionId,
}

impl SessionPlace {
    /// Tells where a session stands.
    pub fn of(session: &SessionSummary) -> Self {
        let SessionSummary { id, created_at, updated_at, .. } = session;
        Self { updated_at: *updated_at, created_at: *created_at, id: *id }
    }

    /// Writes it as the text of a cursor.
    pub(super) fn write(self) -> String {
        let Self { updated_at, created_at, id } = self;
        format!("{}.{}.{id}", updated_at.as_microsecond(), created_at.as_microsecond())
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (updated_at, rest) = text.split_once('.')?;
        let (created_at, id) = rest.split_once('.')?;
        let at = |text: &str| Timestamp::from_microsecond(text.parse().ok()?).ok();
        Some(Self {
            updated_at: at(updated_at)?,
            created_at: at(created_at)?,
            id: SessionId::parse(id)?,
        })
    }
}

impl Ord for SessionPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |place: &Self| (Reverse((place.updated_at, place.created_at)), place.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for SessionPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which page [`Directory::threads`](super::Directory::threads) is to give.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ThreadsPage {
    /// This user's only.
    pub user_id: Option<UserId>,
    /// The oldest first; else the newest.
    pub ascending: bool,
    /// What comes after this place, whether or not something is there.
    pub after: Option<ThreadPlace>,
    /// And before that one.
    pub until: Option<ThreadPlace>,
    /// The most that are given.
    pub limit: usize,
}

impl ThreadsPage {
    /// Asks for the newest threads of all users, at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { user_id: None, ascending: false, after: None, until: None, limit }
    }
}

/// A place in the order of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThreadPlace {
    /// When the session was bound, in microseconds' precision.
    pub bound_at: Timestamp,
    /// The session.
    pub id: SessionId,
}

impl ThreadPlace {
    const MARK: &str = "own.store.";

    /// Writes it as the text of a cursor.
    pub(crate) fn write(self) -> String {
        format!("{}{}.{}", Self::MARK, self.bound_at.as_microsecond(), self.id)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn parse(cursor: &str) -> Option<Self> {
        let (micros, id) = cursor.strip_prefix(Self::MARK)?.split_once('.')?;
        let bound_at = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
        Some(Self { bound_at, id: SessionId::parse(id)? })
    }
}

/// A session that is bound, and where it stands among those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlacedSession {
    /// The place.
    pub place: ThreadPlace,
    /// The session.
    pub record: SessionRecord,
}

impl PlacedSession {
    /// Puts a session in its place.
    pub fn new(place: ThreadPlace, record: SessionRecord) -> Self {
        Self { place, record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(updated: i64, created: i64, id: u8) -> SessionPlace {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let id = SessionId::from_bytes([id; 16]);
        SessionPlace { updated_at: at(updated), created_at: at(created), id }
    }

    #[test]
    fn places_are_in_the_order_of_the_list_and_survive_being_written() {
        let places =
            [place(9, 1, 0), place(8, 7, 3), place(8, 6, 1), place(8, 6, 2), place(-1, -2, 0)];
        assert!(places.is_sorted());
        for place in places {
            assert_eq!(SessionPlace::parse(&place.write()), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in ["", "17", "8.7", "8.7.x", "8.x.03030303-0303-0303-0303-030303030303", "thr_1"]
        {
            assert_eq!(SessionPlace::parse(text), None, "{text}");
        }
    }
}
