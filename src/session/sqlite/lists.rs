//! The statements of lists, for connections that read.
//!
//! A list is in an order that every run changes, and what a run left may not be in its row yet. So
//! those rows are read by their ids and put in their places, and the rest in the order of an index.

use std::collections::HashMap;
use std::fmt::Write as _;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, Transaction, params};

use super::rows::{conversation, get, message_count, record, session_id, timestamp};
use super::runs;
use super::schema::still_locked;
use super::sessions::MAX_ATTEMPTS;
use super::tally::Overlay;
use super::writer::Queue;
use crate::principal::UserId;
use crate::session::pages::{
    PlacedSession, SessionPlace, SessionSummary, SessionsPage, ThreadPlace, ThreadsPage,
};
use crate::session::quarantine::Found;
use crate::session::record::ConversationIds;
use crate::session::record::{SessionId, SessionRecord};

/// What a user's rows read after it was taken must be corrected by, by their ids.
type Overlays = HashMap<SessionId, Overlay>;

/// Gives the rows of one moment, for sessions change their places while they are written to, and
/// what those of a user must be corrected by.
fn snapshot<'a>(
    connection: &'a Connection,
    queue: &Queue,
    user_id: &UserId,
) -> Result<(Transaction<'a>, Overlays)> {
    for _ in 0..MAX_ATTEMPTS {
        // Asked before the rows are read: what is not in it is in them.
        let (overlays, commits) =
            queue.tallies(|tallies| (tallies.overlays_of(user_id), tallies.commits()));
        let snapshot = connection.unchecked_transaction()?;
        // The moment is that of the first read.
        snapshot.prepare_cached("SELECT 1 FROM session LIMIT 1")?.exists(())?;
        if overlays.is_empty() || queue.tallies(|tallies| tallies.commits()) == commits {
            return Ok((snapshot, overlays));
        }
    }
    Err(still_locked("it is written to again and again"))
}

/// Gives a page of a user's sessions.
pub(super) fn sessions(
    connection: &Connection,
    queue: &Queue,
    page: &SessionsPage,
) -> Result<Vec<SessionSummary>> {
    let (snapshot, overlays) = snapshot(connection, queue, &page.user_id)?;
    let mut listed = Vec::new();
    for range in ranges(page.after) {
        let mut statement = snapshot.prepare_cached(&sessions_sql(page.ids, range))?;
        let mut rows = query(&mut statement, page, range)?;
        while listed.len() < page.limit {
            let Some(row) = rows.next()? else { break };
            // Those that have something to be corrected follow.
            if !overlays.contains_key(&session_id(row, 0)?) {
                listed.push(summary(row)?);
            }
        }
    }
    for (id, overlay) in overlays {
        let Some(mut session) = of_user(&snapshot, id, page)? else { continue };
        if let Some(run) = overlay.discard
            && runs::goes_with(&snapshot, id, run)?
        {
            continue;
        }
        overlay.correct_summary(&mut session);
        if page.after.is_none_or(|after| SessionPlace::of(&session) > after) {
            listed.push(session);
        }
    }
    listed.sort_unstable_by_key(SessionPlace::of);
    listed.truncate(page.limit);
    Ok(listed)
}

/// A part of what is behind a place, all of it one piece of an index.
#[derive(Clone, Copy, Debug)]
pub(super) enum Range {
    /// Everything: there is no place.
    All,
    /// Written to and created at the same moments, of greater ids.
    SameTimes(SessionPlace),
    /// Written to at the same moment, and created earlier.
    SameUpdate(SessionPlace),
    /// Written to earlier.
    Earlier(SessionPlace),
}

/// Gives the ranges in their order.
pub(super) fn ranges(after: Option<SessionPlace>) -> impl Iterator<Item = Range> {
    let all = after.is_none().then_some(Range::All);
    let behind = after
        .map(|place| [Range::SameTimes(place), Range::SameUpdate(place), Range::Earlier(place)]);
    all.into_iter().chain(behind.into_iter().flatten())
}

pub(super) fn sessions_sql(ids: ConversationIds, range: Range) -> String {
    let (index, like) = match ids {
        ConversationIds::Uuid => ("session_by_user", ""),
        ConversationIds::Conv => {
            ("session_by_users_conversation", " AND conversation GLOB 'conv_*'")
        }
        ConversationIds::Integer => (
            "session_by_users_conversation",
            " AND conversation IS NOT NULL AND conversation NOT GLOB 'conv_*'",
        ),
    };
    let behind = match range {
        Range::All => "",
        Range::SameTimes(_) => " AND updated_at = ?2 AND created_at = ?3 AND id > ?4",
        Range::SameUpdate(_) => " AND updated_at = ?2 AND created_at < ?3",
        Range::Earlier(_) => " AND updated_at < ?2",
    };
    format!(
        "SELECT id, conversation, title, created_at, updated_at, message_count, adopted
        FROM session INDEXED BY {index}
        WHERE user_id = ?1 AND quarantined_at IS NULL{like}{behind}
        ORDER BY updated_at DESC, created_at DESC, id"
    )
}

fn query<'a>(
    statement: &'a mut rusqlite::CachedStatement<'_>,
    page: &SessionsPage,
    range: Range,
) -> Result<rusqlite::Rows<'a>> {
    let user = page.user_id.as_str();
    match range {
        Range::All => statement.query([user]),
        Range::SameTimes(SessionPlace { updated_at, created_at, id }) => statement.query(params![
            user,
            updated_at.as_microsecond(),
            created_at.as_microsecond(),
            id.as_bytes()
        ]),
        Range::SameUpdate(SessionPlace { updated_at, created_at, .. }) => {
            statement.query(params![user, updated_at.as_microsecond(), created_at.as_microsecond()])
        }
        Range::Earlier(SessionPlace { updated_at, .. }) => {
            statement.query(params![user, updated_at.as_microsecond()])
        }
    }
}

/// Gives the session of that id if it is one of which the page may be, and whether it is bound.
fn of_user(
    connection: &Connection,
    id: SessionId,
    page: &SessionsPage,
) -> Result<Option<SessionSummary>> {
    let sql = "SELECT id, conversation, title, created_at, updated_at, message_count, adopted
        FROM session WHERE id = ?1 AND user_id = ?2 AND quarantined_at IS NULL";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![id.as_bytes(), page.user_id.as_str()], summary)
        .optional()?;
    Ok(found.filter(|session| page.ids.has(session.conversation)))
}

fn summary(row: &Row<'_>) -> Result<SessionSummary> {
    Ok(SessionSummary {
        id: session_id(row, 0)?,
        conversation: conversation(row, 1)?,
        title: row.get(2)?,
        created_at: timestamp(row, 3)?,
        updated_at: timestamp(row, 4)?,
        message_count: message_count(row, 5)?,
    })
}

/// Gives a page of the sessions that are bound. Runs don't change their order, so each is corrected
/// in its place.
pub(super) fn threads(
    connection: &Connection,
    queue: &Queue,
    page: &ThreadsPage,
) -> Result<Vec<PlacedSession>> {
    let before = queue.tallies(|tallies| tallies.commits());
    let mut listed = threads_in_rows(connection, page)?;
    let (overlays, commits) = queue.tallies(|tallies| {
        let overlay = |placed: &PlacedSession| tallies.overlay(placed.record.id);
        (listed.iter().map(overlay).collect::<Vec<_>>(), tallies.commits())
    });
    for (placed, overlay) in listed.iter_mut().zip(overlays) {
        if commits != before {
            // Some of it may be in the rows, and some may be neither here nor there.
            if let Some(Found::Open(record)) = current(connection, queue, placed.record.id)? {
                placed.record = record;
            }
        } else if let Some(overlay) = overlay {
            overlay.correct(&mut placed.record);
        }
    }
    Ok(listed)
}

/// Gives a session as it is now, with what is settled and not in its row yet.
fn current(
    connection: &Connection,
    queue: &Queue,
    id: SessionId,
) -> Result<Option<Found<SessionRecord>>> {
    for _ in 0..MAX_ATTEMPTS {
        // Asked before the row is read: what is not in it is in the row.
        let (overlay, commits) = queue.tallies(|tallies| (tallies.overlay(id), tallies.commits()));
        let mut found = get(connection, id)?;
        let Some(overlay) = overlay else { return Ok(found) };
        if queue.tallies(|tallies| tallies.commits()) == commits {
            if let Some(Found::Open(record)) = &mut found {
                overlay.correct(record);
            }
            return Ok(found);
        }
    }
    Err(still_locked("it is written to again and again"))
}

fn threads_in_rows(connection: &Connection, page: &ThreadsPage) -> Result<Vec<PlacedSession>> {
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let user = page.user_id.as_ref().map(UserId::as_str);
    let places: Vec<_> = [page.after, page.until]
        .into_iter()
        .flatten()
        .map(|place| (place.bound_at.as_microsecond(), *place.id.as_bytes()))
        .collect();
    if let Some(user) = &user {
        values.push(user);
    }
    for (bound_at, id) in &places {
        values.push(bound_at);
        values.push(id);
    }
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    values.push(&limit);
    let session = |row: &Row<'_>| {
        let record = record(row)?;
        Ok(PlacedSession {
            place: ThreadPlace { bound_at: timestamp(row, 9)?, id: record.id },
            record,
        })
    };
    connection.prepare_cached(&threads_sql(page))?.query_map(&*values, session)?.collect()
}

/// Writes the text of a query. There are few of these texts, and all are cached. Its parameters
/// are, as far as they are there: the user, the places in their order, the limit.
pub(super) fn threads_sql(page: &ThreadsPage) -> String {
    let mut sql = "SELECT id, user_id, thread_id, title, created_at, updated_at, message_count,
            adopted, conversation, bound_at
        FROM session WHERE bound_at IS NOT NULL AND quarantined_at IS NULL"
        .to_owned();
    let mut parameters = 0;
    // Writing to a `String` does not fail.
    if page.user_id.is_some() {
        parameters += 1;
        sql.push_str(" AND user_id = ?1");
    }
    let (after, until) = if page.ascending { (">", "<") } else { ("<", ">") };
    for (place, side) in [(page.after, after), (page.until, until)] {
        if place.is_some() {
            let (bound_at, id) = (parameters + 1, parameters + 2);
            parameters = id;
            let _ = write!(sql, " AND (bound_at, id) {side} (?{bound_at}, ?{id})");
        }
    }
    let order = if page.ascending { "ASC" } else { "DESC" };
    let limit = parameters + 1;
    let _ = write!(sql, " ORDER BY bound_at {order}, id {order} LIMIT ?{limit}");
    sql
}
