//! Pages of what a store has, and the places in its orders at which they begin.

use std::cmp::{Ordering, Reverse};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::record::{ConversationId, MessageCount, SessionId, SessionRecord};
use super::rules::ConversationIds;
use crate::principal::UserId;

/// Which page [`SessionStore::list`](super::SessionStore::list) is to give.
#[derive(Clone, Debug)]
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

/// What lists show of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A place in the order of [`SessionStore::list`](super::SessionStore::list), which is that of
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
    /// Where a session stands.
    pub fn of(session: &SessionSummary) -> Self {
        let SessionSummary { id, created_at, updated_at, .. } = session;
        Self { updated_at: *updated_at, created_at: *created_at, id: *id }
    }

    /// Writes it as a cursor in the user's list.
    pub(super) fn write(self, user: &UserId) -> String {
        let mut cursor = [0; CURSOR_BYTES];
        let place = self.bytes();
        let (head, check) = cursor.split_at_mut(PLACE_BYTES);
        head.copy_from_slice(&place);
        check.copy_from_slice(&checksum(user, &place));
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// Reads what [`write`](Self::write) wrote for the same user; `None` if it is anything else.
    pub(super) fn parse(cursor: &str, user: &UserId) -> Option<Self> {
        let mut bytes = [0; CURSOR_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(cursor, &mut bytes).ok()?;
        let (place, rest) = bytes.split_first_chunk::<PLACE_BYTES>()?;
        if length != CURSOR_BYTES || rest != checksum(user, place) {
            return None;
        }
        let (updated_at, rest) = place.split_first_chunk::<8>()?;
        let (created_at, id) = rest.split_first_chunk::<8>()?;
        let at = |bytes: &[u8; 8]| Timestamp::from_microsecond(i64::from_be_bytes(*bytes)).ok();
        Some(Self {
            updated_at: at(updated_at)?,
            created_at: at(created_at)?,
            id: SessionId::from_bytes(id.try_into().ok()?),
        })
    }

    fn bytes(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        let (updated_at, rest) = bytes.split_at_mut(8);
        let (created_at, id) = rest.split_at_mut(8);
        updated_at.copy_from_slice(&self.updated_at.as_microsecond().to_be_bytes());
        created_at.copy_from_slice(&self.created_at.as_microsecond().to_be_bytes());
        id.copy_from_slice(self.id.as_bytes());
        bytes
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

const PLACE_BYTES: usize = 32;
const CURSOR_BYTES: usize = PLACE_BYTES + 8;

/// Tells a cursor from what is none, and one user's from another's. It is no secret how: whoever
/// makes a cursor of their own reads from it what is theirs all the same.
fn checksum(user: &UserId, place: &[u8; PLACE_BYTES]) -> [u8; 8] {
    // FNV-1a, of 64 bits: the same in every build, so that replicas understand one another.
    let bytes = user.as_str().bytes().chain([0]).chain(place.iter().copied());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.to_be_bytes()
}

/// Which page [`SessionStore::threads`](super::SessionStore::threads) is to give.
#[derive(Clone, Debug)]
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

    /// Writes it as a cursor.
    #[cfg(feature = "translate")]
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
pub struct PlacedSession {
    /// The place.
    pub place: ThreadPlace,
    /// The session.
    pub record: SessionRecord,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(updated: i64, created: i64, id: u8) -> SessionPlace {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let id = SessionId::from_bytes([id; 16]);
        SessionPlace { updated_at: at(updated), created_at: at(created), id }
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[test]
    fn places_are_in_the_order_of_the_list_and_survive_being_written() {
        let places =
            [place(9, 1, 0), place(8, 7, 3), place(8, 6, 1), place(8, 6, 2), place(-1, -2, 0)];
        assert!(places.is_sorted());
        for place in places {
            assert_eq!(SessionPlace::parse(&place.write(&user("ada")), &user("ada")), Some(place));
        }
    }

    #[test]
    fn what_is_no_cursor_of_the_users_is_none() {
        let cursor = place(8, 7, 3).write(&user("ada"));
        for other in ["bob", "Ada", "ada ", "ad"] {
            assert_eq!(SessionPlace::parse(&cursor, &user(other)), None, "{other}");
        }
        for end in 0..cursor.len() {
            assert_eq!(SessionPlace::parse(&cursor[..end], &user("ada")), None, "{end}");
            let mut changed = cursor.clone().into_bytes();
            changed[end] = if changed[end] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(SessionPlace::parse(&changed, &user("ada")), None, "{changed}");
        }
        for made_up in ["", "17", "8.7.03030303-0303-0303-0303-030303030303", "thr_1"] {
            assert_eq!(SessionPlace::parse(made_up, &user("ada")), None, "{made_up}");
        }
        assert_eq!(SessionPlace::parse(&format!("{cursor}AA"), &user("ada")), None);
        assert_eq!(SessionPlace::parse(&format!("{cursor}="), &user("ada")), None);
        assert_eq!(SessionPlace::parse(&"A".repeat(10_000), &user("ada")), None);
    }
}
