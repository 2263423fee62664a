//! The queries.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde_json::value::RawValue;

use super::item::{Content, Item, is_hidden};
use super::request::PageRequest;
use super::thread::{Attachment, CursorPage, Status, Thread};
use super::timestamp::NaiveTimestamp;

/// How many of the newest items every responder is shown.
const SHOWN_TO_RESPONDERS: usize = 100;

/// How many of them one that needs older messages is shown at most.
const MAX_SHOWN_TO_RESPONDERS: i64 = 1000;

/// Bytes of items that are read at once: a page ends there, and so does what a responder is shown.
const MAX_READ_BYTES: usize = 8 << 20;

pub(super) fn add_thread(db: &Connection, thread: &Thread) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO embedded_threads (id, created_at, title, status)
         VALUES (:id, :created_at, :title, :status)",
    )?
    .execute(named_params! {
        ":id": thread.id,
        ":created_at": thread.created_at.micros(),
        ":title": thread.title,
        ":status": write(&thread.status)?,
    })?;
    Ok(())
}

/// Changes a thread; nothing happens if it was deleted.
pub(super) fn save_thread(db: &Connection, thread: &Thread) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE embedded_threads SET title = :title, status = :status WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": thread.id,
        ":title": thread.title,
        ":status": write(&thread.status)?,
    })?;
    Ok(())
}

pub(super) fn thread(db: &Connection, id: &str) -> rusqlite::Result<Option<Thread>> {
    db.prepare_cached("SELECT id, created_at, title, status FROM embedded_threads WHERE id = ?1")?
        .query_row([id], read_thread)
        .optional()
}

pub(super) fn retitle_thread(
    db: &Connection,
    id: &str,
    title: String,
) -> rusqlite::Result<Option<Thread>> {
    let Some(mut thread) = thread(db, id)? else { return Ok(None) };
    thread.title = Some(title);
    save_thread(db, &thread)?;
    Ok(Some(thread))
}

pub(super) fn delete_thread(db: &Connection, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM embedded_threads WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub(super) fn threads(
    db: &Connection,
    request: &PageRequest,
) -> rusqlite::Result<CursorPage<Thread>> {
    let start: Option<(i64, i64)> = match &request.after {
        None => None,
        Some(after) => db
            .prepare_cached("SELECT created_at, seq FROM embedded_threads WHERE id = ?1")?
            .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?,
    };
    let sql = if request.descending {
        "SELECT id, created_at, title, status FROM embedded_threads
         WHERE ?1 IS NULL OR (created_at, seq) < (?1, ?2)
         ORDER BY created_at DESC, seq DESC LIMIT ?3"
    } else {
        "SELECT id, created_at, title, status FROM embedded_threads
         WHERE ?1 IS NULL OR (created_at, seq) > (?1, ?2)
         ORDER BY created_at, seq LIMIT ?3"
    };
    let (time, seq) = start.unzip();
    let rows = db
        .prepare_cached(sql)?
        .query_map((time, seq, one_more(request)), read_thread)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(page(rows, false, request, |thread| &thread.id))
}

/// Adds an item, or replaces the one of that id where it is.
pub(super) fn save_item(db: &Connection, item: &Item) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO embedded_items (thread_id, id, kind, created_at, body)
         VALUES (:thread_id, :id, :kind, :created_at, :body)
         ON CONFLICT (thread_id, id)
         DO UPDATE SET kind = :kind, created_at = :created_at, body = :body",
    )?
    .execute(named_params! {
        ":thread_id": item.thread_id,
        ":id": item.id,
        ":kind": item.content.kind(),
        ":created_at": item.created_at.micros(),
        ":body": write(item)?,
    })?;
    Ok(())
}

pub(super) fn item(db: &Connection, thread_id: &str, id: &str) -> rusqlite::Result<Option<Item>> {
    db.prepare_cached(
        "SELECT id, thread_id, created_at, kind, body FROM embedded_items
         WHERE thread_id = ?1 AND id = ?2",
    )?
    .query_row([thread_id, id], read_item)
    .optional()
}

pub(super) fn delete_item(db: &Connection, thread_id: &str, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM embedded_items WHERE thread_id = ?1 AND id = ?2")?
        .execute([thread_id, id])?;
    Ok(())
}

/// Deletes what is newer than an item.
pub(super) fn delete_items_after(
    db: &Connection,
    thread_id: &str,
    id: &str,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM embedded_items WHERE thread_id = ?1 AND (created_at, seq) >
         (SELECT created_at, seq FROM embedded_items WHERE thread_id = ?1 AND id = ?2)",
    )?
    .execute([thread_id, id])?;
    Ok(())
}

/// Gives a thread's newest items, newest first, as many as a responder is shown that needs this
/// many messages.
pub(super) fn newest_items(
    db: &Connection,
    thread_id: &str,
    messages: usize,
) -> rusqlite::Result<Vec<Item>> {
    let mut statement = db.prepare_cached(
        "SELECT id, thread_id, created_at, kind, body FROM embedded_items
         WHERE thread_id = ?1 ORDER BY created_at DESC, seq DESC LIMIT ?2",
    )?;
    let mut items = Vec::new();
    let (mut found, mut bytes) = (0_usize, 0_usize);
    let mut rows = statement.query((thread_id, MAX_SHOWN_TO_RESPONDERS))?;
    while let Some(row) = rows.next()? {
        if items.len() >= SHOWN_TO_RESPONDERS && found >= messages {
            break;
        }
        bytes += row.get_ref(4)?.as_bytes()?.len();
        // The newest is what is to be answered.
        if bytes > MAX_READ_BYTES && !items.is_empty() {
            break;
        }
        let item = read_item(row)?;
        found += usize::from(item.content.is_message());
        items.push(item);
    }
    Ok(items)
}

/// Gives a page of items as they are on the wire. Hidden ones count, but are not in it. It is
/// shorter than was asked for where the items are very long.
pub(super) fn items(
    db: &Connection,
    thread_id: &str,
    request: &PageRequest,
) -> rusqlite::Result<CursorPage<Box<RawValue>>> {
    let start: Option<(i64, i64)> = match &request.after {
        None => None,
        Some(after) => db
            .prepare_cached(
                "SELECT created_at, seq FROM embedded_items WHERE thread_id = ?1 AND id = ?2",
            )?
            .query_row([thread_id, after], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?,
    };
    let sql = if request.descending {
        "SELECT id, kind, body FROM embedded_items
         WHERE thread_id = ?1 AND (?2 IS NULL OR (created_at, seq) < (?2, ?3))
         ORDER BY created_at DESC, seq DESC LIMIT ?4"
    } else {
        "SELECT id, kind, body FROM embedded_items
         WHERE thread_id = ?1 AND (?2 IS NULL OR (created_at, seq) > (?2, ?3))
         ORDER BY created_at, seq LIMIT ?4"
    };
    let (time, seq) = start.unzip();
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query((thread_id, time, seq, one_more(request)))?;
    let mut items: Vec<(String, String, String)> = Vec::new();
    let (mut bytes, mut is_cut) = (0_usize, false);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(2)?.as_bytes()?.len();
        is_cut = bytes > MAX_READ_BYTES && !items.is_empty();
        if is_cut {
            break;
        }
        items.push((row.get(0)?, row.get(1)?, row.get(2)?));
    }
    let page = page(items, is_cut, request, |(id, ..)| id);
    Ok(page.filter_map(
        |(_, kind, body)| {
            if is_hidden(&kind) { None } else { RawValue::from_string(body).ok() }
        },
    ))
}

pub(super) fn save_attachment(db: &Connection, attachment: &Attachment) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO embedded_attachments (id, name, mime_type, thread_id)
         VALUES (:id, :name, :mime_type, :thread_id)
         ON CONFLICT (id) DO UPDATE SET thread_id = :thread_id",
    )?
    .execute(named_params! {
        ":id": attachment.id,
        ":name": attachment.name,
        ":mime_type": attachment.mime_type,
        ":thread_id": attachment.thread_id,
    })?;
    Ok(())
}

/// Gives the attachments of these ids, in order; `None` if one of them is not there.
pub(super) fn attachments(
    db: &Connection,
    ids: &[String],
) -> rusqlite::Result<Option<Vec<Attachment>>> {
    let mut query = db.prepare_cached(
        "SELECT id, name, mime_type, thread_id FROM embedded_attachments WHERE id = ?1",
    )?;
    ids.iter()
        .map(|id| {
            query
                .query_row([id], |row| {
                    Ok(Attachment {
                        id: row.get(0)?,
                        name: row.get(1)?,
                        mime_type: row.get(2)?,
                        thread_id: row.get(3)?,
                    })
                })
                .optional()
        })
        .collect()
}

pub(super) fn delete_attachment(db: &Connection, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM embedded_attachments WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Gives the `LIMIT` that also tells whether there is more.
fn one_more(request: &PageRequest) -> i64 {
    if request.limit < 0 { -1 } else { request.limit.saturating_add(1) }
}

/// Makes a page; `is_cut`: there are more rows than were read.
fn page<T>(
    mut rows: Vec<T>,
    is_cut: bool,
    request: &PageRequest,
    id: impl Fn(&T) -> &String,
) -> CursorPage<T> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let has_more = is_cut || rows.len() > limit;
    rows.truncate(limit);
    let after = if has_more { rows.last().map(|row| id(row).clone()) } else { None };
    CursorPage { data: rows, has_more, after }
}

fn read_thread(row: &Row<'_>) -> rusqlite::Result<Thread> {
    let status: String = row.get(3)?;
    Ok(Thread {
        id: row.get(0)?,
        created_at: NaiveTimestamp::from_micros(row.get(1)?),
        title: row.get(2)?,
        status: serde_json::from_str::<Status>(&status).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(error))
        })?,
    })
}

fn read_item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let (kind, body): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(Item {
        id: row.get(0)?,
        thread_id: row.get(1)?,
        created_at: NaiveTimestamp::from_micros(row.get(2)?),
        content: Content::read(&kind, &body)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(4, kind, Type::Text))?,
    })
}

fn write(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
