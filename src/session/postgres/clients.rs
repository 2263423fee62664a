//! Sessions of clients.

use std::num::NonZeroU32;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::rows::{self, get, malformed};
use super::store::PostgresStore;
use crate::error::Error;
use crate::session::client_session::ClientSession;
use crate::session::store::{ClientSessionCreated, ClientSessions, KEEP_EXPIRED, StoreFuture};

impl ClientSessions for PostgresStore {
    fn create_client_session(
        &self,
        session: ClientSession,
        max_active: NonZeroU32,
    ) -> StoreFuture<'_, ClientSessionCreated> {
        self.write(None, move |shared| async move {
            let ClientSession { id, user_id, created_at, expires_at, details, .. } = &session;
            let (id, user_id) = (id.as_bytes(), user_id.as_str().as_bytes());
            let gone = created_at.checked_sub(KEEP_EXPIRED).ok().map(Timestamp::as_microsecond);
            let latest = rows::latest(*created_at);
            let (created_at, expires_at) =
                (created_at.as_microsecond(), expires_at.as_microsecond());
            let requests = i64::from(session.requests_per_minute.get());
            let (details, max) = (details.as_bytes(), i64::from(max_active.get()));
            let values: [&(dyn ToSql + Sync); 9] = [
                &id,
                &user_id,
                &created_at,
                &expires_at,
                &requests,
                &details,
                &max,
                &latest,
                &gone,
            ];
            let created = |row: &Row| {
                let is_created: bool = get(row, 0)?;
                Ok(if is_created {
                    ClientSessionCreated::Done
                } else {
                    ClientSessionCreated::LimitReached
                })
            };
            let sql = &shared.statements.create_client_session;
            let context = "could not create a client session";
            shared.ask(context, &[], sql, &values, false, created).await
        })
    }

    fn client_session<'a>(&'a self, id: &'a str) -> StoreFuture<'a, Option<ClientSession>> {
        Box::pin(async move {
            let (shared, id) = (self.shared(), id.as_bytes());
            let sql = &shared.statements.client_session;
            shared.read("could not read a client session", sql, &[&id], client_session).await
        })
    }

    fn cancel_client_session<'a>(
        &'a self,
        id: &'a str,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<ClientSession>> {
        let id = id.to_owned();
        self.write(None, move |shared| async move {
            let (sql, id) = (&shared.statements.cancel_client_session, id.as_bytes());
            let rows = shared.query(&[], sql, &[&id, &now.as_microsecond()], true).await;
            rows.and_then(|rows| client_session(&rows))
                .map_err(|failure| Error::store("could not cancel a client session", failure))
        })
    }
}

fn client_session(rows: &[Row]) -> Result<Option<ClientSession>, Failure> {
    let Some(row) = rows.first() else { return Ok(None) };
    let cancelled_at: Option<i64> = get(row, 4)?;
    let requests = u32::try_from(get::<i64>(row, 5)?).ok().and_then(NonZeroU32::new);
    Ok(Some(ClientSession {
        id: rows::text(row, 0)?.to_owned(),
        user_id: rows::user_id(row, 1)?,
        created_at: rows::timestamp(row, 2)?,
        expires_at: rows::timestamp(row, 3)?,
        cancelled_at: cancelled_at.map(rows::instant).transpose()?,
        requests_per_minute: requests.ok_or_else(|| malformed("a limit"))?,
        details: rows::text(row, 6)?.to_owned(),
    }))
}
