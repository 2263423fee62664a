//! Whose an attachment is.

use tokio_postgres::Row;

use super::rows::{self, get};
use super::store::PostgresStore;
use crate::principal::UserId;
use crate::session::store::{AttachmentOwners, Owned, StoreFuture};

impl AttachmentOwners for PostgresStore {
    fn own_attachment<'a>(
        &'a self,
        user_id: &'a UserId,
        attachment_id: &'a str,
    ) -> StoreFuture<'a, Owned> {
        let (user, id) = (user_id.clone(), attachment_id.to_owned());
        self.write(Some(user_id), move |shared| async move {
            let (sql, user, id) =
                (&shared.statements.own_attachment, user.as_str().as_bytes(), id.as_bytes());
            let owned = |row: &Row| Ok(if get(row, 0)? { Owned::Done } else { Owned::Taken });
            let context = "could not record an attachment";
            shared.ask(context, &[], sql, &[&user, &id], true, owned).await
        })
    }

    fn attachment_owners(
        &self,
        attachment_ids: Vec<String>,
    ) -> StoreFuture<'_, Vec<Option<UserId>>> {
        Box::pin(async move {
            let ids: Vec<&[u8]> = attachment_ids.iter().map(String::as_bytes).collect();
            let owner = |row: &Row| rows::optional(row, 0)?.map(rows::user).transpose();
            let owners = |rows: &[Row]| rows.iter().map(owner).collect();
            let shared = self.shared();
            let sql = &shared.statements.attachment_owners;
            shared.read("could not read attachments", sql, &[&ids], owners).await
        })
    }

    fn disown_attachment<'a>(&'a self, attachment_id: &'a str) -> StoreFuture<'a, bool> {
        let id = attachment_id.to_owned();
        self.write(None, move |shared| async move {
            let (sql, id) = (&shared.statements.disown_attachment, id.as_bytes());
            let context = "could not forget an attachment";
            shared.ask(context, &[], sql, &[&id], false, |row| get(row, 0)).await
        })
    }
}
