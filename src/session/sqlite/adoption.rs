//! The statements that take on what a ChatKit server has already.

use std::num::NonZeroU64;

use rusqlite::{Connection, Result, params};

use super::attachments;
use super::quarantine;
use super::rows::{self, MAX_COUNT};
use crate::session::adoption::{self, Adopted, AdoptedThread, Adoption, AdoptionConflict};
use crate::session::record::ConversationId;

/// How many entries are adopted until it is asked whether it is over: some milliseconds of them.
const ASK_EVERY: usize = 256;

/// Adopts all of them, or none if a statement fails.
pub(super) fn adopt_all(connection: &Connection, entries: &[Adoption]) -> Result<Vec<Adopted>> {
    adopt_until(connection, entries, || false)
}

/// Adopts them, in their order, until it `is_over`, which is asked now and then and not before the
/// first ones are adopted; or none if a statement fails.
pub(super) fn adopt_until(
    connection: &Connection,
    entries: &[Adoption],
    is_over: impl FnMut() -> bool,
) -> Result<Vec<Adopted>> {
    rows::whole(connection, || adopt_each(connection, entries, is_over))
}

fn adopt_each(
    connection: &Connection,
    entries: &[Adoption],
    mut is_over: impl FnMut() -> bool,
) -> Result<Vec<Adopted>> {
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut last = None;
    for (number, some) in entries.chunks(ASK_EVERY).enumerate() {
        if number > 0 && is_over() {
            break;
        }
        for entry in some {
            let outcome = adopt(connection, entry)?;
            if let (Adopted::Done, Adoption::Thread(thread)) = (outcome, entry)
                && let Some(ConversationId::Integer(number)) = thread.conversation()
            {
                last = last.max(Some(number));
            }
            outcomes.push(outcome);
        }
    }
    if let Some(last) = last {
        leave_behind(connection, last)?;
    }
    Ok(outcomes)
}

/// Adopts one thing; [`leave_behind`] has to follow.
fn adopt(connection: &Connection, entry: &Adoption) -> Result<Adopted> {
    match entry {
        Adoption::Attachment { attachment_id, user_id } => {
            let sql = "INSERT INTO attachment (id, user_id, adopted) SELECT ?1, ?2, 1
                WHERE NOT EXISTS
                    (SELECT 1 FROM deleted_adoption WHERE kind = 'attachment' AND id = ?1)
                ON CONFLICT DO NOTHING";
            let added =
                connection.prepare_cached(sql)?.execute([attachment_id, user_id.as_str()])?;
            if added > 0 {
                return Ok(Adopted::Done);
            }
            let owner = attachments::owner(connection, attachment_id)?;
            Ok(owner.map_or(Adopted::Deleted, |owner| adoption::of_attachment(&owner, user_id)))
        }
        Adoption::Thread(thread) => adopt_thread(connection, thread),
    }
}

fn adopt_thread(connection: &Connection, thread: &AdoptedThread) -> Result<Adopted> {
    let sql =
        "INSERT INTO session (id, user_id, thread_id, title, created_at, updated_at, bound_at,
            message_count, conversation, adopted)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?5, ?7, ?8, 1
        WHERE NOT EXISTS (SELECT 1 FROM deleted_adoption WHERE kind = 'thread' AND id = ?3)
            AND NOT EXISTS (SELECT 1 FROM deleted_thread WHERE thread_id = ?3)
            AND NOT EXISTS (SELECT 1 FROM quarantine WHERE thread_id = ?3)
        ON CONFLICT DO NOTHING";
    let added = connection.prepare_cached(sql)?.execute(params![
        thread.session_id().as_bytes(),
        thread.user_id.as_str(),
        thread.thread_id,
        thread.title,
        thread.created_at.as_microsecond(),
        thread.updated_at.as_microsecond(),
        MAX_COUNT,
        thread.conversation().map(|id| id.to_string()),
    ])?;
    if added > 0 {
        return Ok(Adopted::Done);
    }
    let known = match rows::id_of_thread(connection, &thread.thread_id)? {
        Some(id) => rows::get(connection, id)?,
        None if quarantine::has(connection, &thread.thread_id)? => {
            return Ok(Adopted::Conflict(AdoptionConflict::Quarantined));
        }
        None if is_deleted(connection, &thread.thread_id)? => return Ok(Adopted::Deleted),
        None => None,
    };
    Ok(known.map_or_else(|| thread.taken(), |session| thread.beside(&session)))
}

/// Tells whether a thread that no session has was one's.
fn is_deleted(connection: &Connection, thread_id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM deleted_adoption WHERE kind = 'thread' AND id = ?1)
        OR EXISTS (SELECT 1 FROM deleted_thread WHERE thread_id = ?1)";
    connection.prepare_cached(sql)?.query_row([thread_id], |row| row.get(0))
}

/// Lets the sequence of conversations go on behind `number`, if it isn't there yet.
fn leave_behind(connection: &Connection, number: NonZeroU64) -> Result<()> {
    let sql = "UPDATE conversation_sequence SET last = ?1 WHERE last < ?1";
    let number = i64::try_from(number.get()).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute([number]).map(drop)
}
