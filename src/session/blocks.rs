//! Users who are shut out.
//!
//! A token is good until it expires, whatever is known of its bearer by then. So an operator can shut
//! a user out: the store has a list of those, and each gateway follows it, never more than
//! [`BLOCK_SEEN_WITHIN`] behind when it lets somebody do something. Nothing of theirs is touched.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::principal::UserId;

/// How many users can be blocked at once: each gateway has all of their ids in memory.
pub const MAX_BLOCKED_USERS: usize = 100_000;

/// How many characters the reason of a block can have.
pub const MAX_BLOCK_REASON_CHARS: usize = 200;

/// How long it takes at most until every gateway on a store goes by a block, or by its end: none lets
/// anybody do anything by what the list was before.
///
/// Whoever waits for so long after [`block`](super::Directory::block) knows that nothing of the user's is
/// let in from then on. What was let in before goes on, and may have yet to reach the ChatKit server: it
/// does so once it has a place and a connection there, if that doesn't take it too long.
pub const BLOCK_SEEN_WITHIN: Duration = Duration::from_secs(1);

/// A user who is shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedUser {
    /// The user, who need not have anything.
    pub user_id: UserId,
    /// Since when. Microseconds' precision.
    pub since: Timestamp,
    /// Why, if the operator said so; for operators alone.
    pub reason: Option<String>,
}

impl BlockedUser {
    /// Makes one who is blocked since then, for no reason that is told.
    pub fn new(user_id: UserId, since: Timestamp) -> Self {
        Self { user_id, since, reason: None }
    }
}

/// The outcome of [`Directory::block`](super::Directory::block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Blocked {
    /// The user is blocked now.
    Done,
    /// The user was blocked before: that stays as it is.
    Already,
    /// There are [as many](MAX_BLOCKED_USERS) as there can be.
    Full,
}

/// What a store's list of blocked users was at some moment: another one after each change. A store
/// that was set back to what it was once may not have one twice, so it is drawn and not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlocksVersion([u8; 16]);

impl BlocksVersion {
    /// Makes a new random one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }

    /// Gives its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Makes one of its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// All who are blocked at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedUsers {
    /// What the list is then.
    pub version: BlocksVersion,
    /// They, in no order.
    pub users: Vec<UserId>,
}

impl BlockedUsers {
    /// Makes the list of that version.
    pub fn new(version: BlocksVersion, users: Vec<UserId>) -> Self {
        Self { version, users }
    }
}
