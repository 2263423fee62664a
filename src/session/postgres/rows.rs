//! What rows mean. Times are microseconds, counts are at most [`MAX_COUNT`].

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::failure::Failure;
use crate::principal::UserId;
use crate::session::quarantine::Found;
use crate::session::record::ThreadId;
use crate::session::record::{ConversationId, MessageCount, Ownership, SessionId, SessionRecord};
use crate::session::store::{CLOCK_TOLERANCE, KEEP_PLACE};

/// A count stays here rather than overflow, by whatever an upstream makes it grow.
const MAX_COUNT: i64 = 1 << 53;

/// The columns of a [`Stored`], of a session that is called `s`. The first parameter is this opening.
pub(super) const RECORD: &str = "s.id, s.user_id, s.thread_id, s.title, s.created_at, s.updated_at,
    s.message_count, s.counted, s.conversation, s.quarantined_at IS NOT NULL,
    CASE WHEN s.lease_gateway = $1 THEN s.lease_run END,
    ARRAY(SELECT r.run_id FROM {s}.run AS r WHERE r.session_id = s.id AND r.gateway = $1)";

/// The column behind those.
pub(super) const BEHIND_RECORD: usize = 12;

/// A session, as it was when it was read.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) record: SessionRecord,
    pub(super) is_quarantined: bool,
    /// Whose the lease is, if it is a run's of this opening.
    pub(super) lease_run: Option<Uuid>,
    /// The runs of this opening that were not settled yet.
    pub(super) in_flight: Vec<Uuid>,
}

impl Stored {
    pub(super) fn read(row: &Row) -> Result<Self, Failure> {
        let record = SessionRecord {
            id: session_id(row, 0)?,
            user_id: user_id(row, 1)?,
            thread_id: optional(row, 2)?.map(ThreadId::from),
            title: optional(row, 3)?.map(str::to_owned),
            created_at: timestamp(row, 4)?,
            updated_at: timestamp(row, 5)?,
            message_count: message_count(row, 6)?,
            conversation: conversation(row, 8)?,
        };
        Ok(Self {
            record,
            is_quarantined: get(row, 9)?,
            lease_run: get(row, 10)?,
            in_flight: get(row, 11)?,
        })
    }

    /// Gives what it is, if its thread is not in quarantine.
    pub(super) fn found(self) -> Found<SessionRecord> {
        let SessionRecord { id, user_id, .. } = self.record;
        if self.is_quarantined {
            return Found::Quarantined { id, user_id };
        }
        Found::Open(SessionRecord { user_id, ..self.record })
    }
}

/// Gives what of a session says whose it is.
pub(super) fn ownership(found: Found<SessionRecord>) -> Found<Ownership> {
    match found {
        Found::Open(SessionRecord { id, user_id, thread_id, .. }) => {
            Found::Open(Ownership { id, user_id, thread_id })
        }
        Found::Quarantined { id, user_id } => Found::Quarantined { id, user_id },
    }
}

/// Reads a column.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| Failure::Malformed(error.into()))
}

/// Gives the one row that a function answers with.
pub(super) fn one(rows: &[Row]) -> Result<&Row, Failure> {
    rows.first().ok_or_else(|| Failure::Malformed("there is no row".into()))
}

/// Makes the failure of a column that says something else than it may.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::Malformed(format!("{what} is none").into())
}

pub(super) fn text(row: &Row, column: usize) -> Result<&str, Failure> {
    utf8(get(row, column)?)
}

pub(super) fn optional(row: &Row, column: usize) -> Result<Option<&str>, Failure> {
    get::<Option<&[u8]>>(row, column)?.map(utf8).transpose()
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| Failure::Malformed(error.into()))
}

pub(super) fn session_id(row: &Row, column: usize) -> Result<SessionId, Failure> {
    Ok(SessionId::from_bytes(get::<Uuid>(row, column)?.into_bytes()))
}

pub(super) fn user_id(row: &Row, column: usize) -> Result<UserId, Failure> {
    user(text(row, column)?)
}

pub(super) fn user(text: &str) -> Result<UserId, Failure> {
    UserId::parse(text).map_err(|error| Failure::Malformed(error.into()))
}

pub(super) fn timestamp(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    instant(get(row, column)?)
}

pub(super) fn instant(microseconds: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(microseconds).map_err(|_| malformed("a time"))
}

pub(super) fn conversation(row: &Row, column: usize) -> Result<Option<ConversationId>, Failure> {
    let text: Option<&str> = get(row, column)?;
    let parse = |text| ConversationId::parse(text).ok_or_else(|| malformed("a conversation's id"));
    text.map(parse).transpose()
}

/// Reads a count in `column`, and in the one behind it whether it is all.
pub(super) fn message_count(row: &Row, column: usize) -> Result<MessageCount, Failure> {
    let count = count(row, column)?;
    let is_known: bool = get(row, column + 1)?;
    Ok(if is_known { MessageCount::Known(count) } else { MessageCount::AtLeast(count) })
}

pub(super) fn count(row: &Row, column: usize) -> Result<u64, Failure> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| malformed("a count"))
}

pub(super) fn stored_count(messages: u64) -> i64 {
    i64::try_from(messages).unwrap_or(MAX_COUNT).min(MAX_COUNT)
}

/// Adds to a count as the database does.
pub(super) fn plus(count: MessageCount, messages: u64) -> MessageCount {
    let most = MAX_COUNT.unsigned_abs();
    match count.plus(messages) {
        MessageCount::AtLeast(messages) => MessageCount::AtLeast(messages.min(most)),
        MessageCount::Known(messages) => MessageCount::Known(messages.min(most)),
    }
}

/// Gives the latest time of what has begun: what is said to begin later has not.
pub(super) fn latest(now: Timestamp) -> i64 {
    now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX).as_microsecond()
}

/// Gives the time before which the place of what was deleted goes; none near the beginning of time.
pub(super) fn gone(now: Timestamp) -> Option<i64> {
    now.checked_sub(KEEP_PLACE).ok().map(Timestamp::as_microsecond)
}

pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}
