//! Whose an attachment is.

use rusqlite::{Connection, OptionalExtension as _, Result};

use super::rows::user_id;
use super::store::SqliteStore;
use crate::principal::UserId;
use crate::session::store::{AttachmentOwners, Owned, StoreFuture};

impl AttachmentOwners for SqliteStore {
    fn own_attachment<'a>(
        &'a self,
        user_id: &'a UserId,
        attachment_id: &'a str,
    ) -> StoreFuture<'a, Owned> {
        let (user_id, attachment_id) = (user_id.clone(), attachment_id.to_owned());
        self.write("could not record an attachment", move |connection| {
            own(connection, &user_id, &attachment_id)
        })
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        Box::pin(self.read("could not read attachments", move |connection| {
            owners(connection, &attachment_ids)
        }))
    }

    fn disown_attachment<'a>(&'a self, attachment_id: &'a str) -> StoreFuture<'a, bool> {
        let attachment_id = attachment_id.to_owned();
        self.write("could not forget an attachment", move |connection| {
            disown(connection, &attachment_id)
        })
    }
}

fn own(connection: &Connection, user_id: &UserId, attachment_id: &str) -> Result<Owned> {
    let Some(owner) = owner(connection, attachment_id)? else {
        let sql = "INSERT INTO attachment (id, user_id) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute([attachment_id, user_id.as_str()])?;
        return Ok(Owned::Done);
    };
    Ok(if owner == *user_id { Owned::Done } else { Owned::Taken })
}

pub(super) fn owner(connection: &Connection, attachment_id: &str) -> Result<Option<UserId>> {
    let sql = "SELECT user_id FROM attachment WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([attachment_id], |row| user_id(row, 0)).optional()
}

fn owners(connection: &Connection, attachment_ids: &[String]) -> Result<Vec<Option<UserId>>> {
    attachment_ids.iter().map(|id| owner(connection, id)).collect()
}

fn disown(connection: &Connection, attachment_id: &str) -> Result<bool> {
    let sql = "DELETE FROM attachment WHERE id = ?1";
    connection.prepare_cached(sql)?.execute([attachment_id]).map(|rows| rows > 0)
}
