//! Sessions: made, found, listed, deleted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::ledger::Holder;
use super::rows::{self, Stored, get, malformed, uuid};
use super::schema::{self, VERSION};
use super::store::{PostgresStore, Shared};
use super::tasks::ended;
use crate::error::Error;
use crate::session::pages::{SessionSummary, SessionsPage};
use crate::session::quarantine::Found;
use crate::session::record::{
    ConversationId, NO_NUMBER, Ownership, SessionId, SessionRecord, ThreadId,
};
use crate::session::store::{
    BeginRun, Created, Deletion, NewConversation, NewSession, SessionKey, Sessions, StoreFuture,
    whole_microseconds,
};

const CREATE: &str = "could not create a session";

/// How long a ping waits for what runs left in sessions that somebody has locked.
const FOR_LOCKED: Duration = Duration::from_millis(500);

impl Sessions for PostgresStore {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        Box::pin(async move {
            let (ledger, user_id) = (&self.shared().ledger, session.user_id.clone());
            // Of what nobody waits for any more, none is to be in the way.
            let before = ledger.abandoned(Some(&user_id));
            let holder = session.first_run.map(|begin| ledger.hold(begin.run, &user_id));
            let of_call = holder.as_ref().map(Holder::of_call);
            let call = async move |shared: Arc<Shared>| {
                ended(before, shared.patience).await?;
                create(&shared, session, max_sessions, of_call).await
            };
            let created = self.write(Some(&user_id), call).await?;
            if let (Created::Session(_), Some(holder)) = (&created, holder) {
                holder.told();
            }
            Ok(created)
        })
    }

    fn get<'a>(&'a self, session: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>> {
        Box::pin(self.found("could not read a session", session))
    }

    fn ownership<'a>(
        &'a self,
        session: SessionKey<'a>,
    ) -> StoreFuture<'a, Option<Found<Ownership>>> {
        Box::pin(async move {
            let found = self.found("could not read whose a session is", session).await?;
            Ok(found.map(rows::ownership))
        })
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        Box::pin(async move {
            let shared = self.shared();
            let sql = shared.statements.sessions(&page);
            let user_id = page.user_id.as_str().as_bytes();
            let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
            // Its order is one that runs change, so what they left is written before.
            let lefts = shared.ledger.left(usize::MAX, |left| left.user_id == page.user_id);
            let rows = match page.after {
                None => shared.query(&lefts, &sql, &[&user_id, &limit], true).await,
                Some(after) => {
                    let updated_at = after.updated_at.as_microsecond();
                    let created_at = after.created_at.as_microsecond();
                    let id = uuid(after.id.as_bytes());
                    let values: [&(dyn ToSql + Sync); 5] =
                        [&user_id, &limit, &updated_at, &created_at, &id];
                    shared.query(&lefts, &sql, &values, true).await
                }
            };
            rows.and_then(|rows| rows.iter().map(summary).collect())
                .map_err(|failure| Error::store("could not list sessions", failure))
        })
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.write(None, move |shared| async move {
            let lefts = shared.ledger.left(usize::MAX, |left| left.session == Some(id));
            let (id, title) = (uuid(id.as_bytes()), title.as_ref().map(String::as_bytes));
            let (sql, now) = (&shared.statements.set_title, now.as_microsecond());
            let rows = shared.query(&lefts, sql, &[&shared.gateway, &id, &title, &now], true).await;
            let record = |rows: Vec<Row>| {
                let stored = rows.first().map(Stored::read).transpose()?;
                Ok(stored.map(Stored::found).and_then(Found::open))
            };
            rows.and_then(record).map_err(|failure| Error::store("could not set a title", failure))
        })
    }

    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        now: Timestamp,
    ) -> StoreFuture<'a, Deletion> {
        let thread_id = thread_id.map(ThreadId::from);
        self.write(None, move |shared| async move {
            let lefts = shared.ledger.left(usize::MAX, |left| left.session == Some(id));
            let (id, thread) = (uuid(id.as_bytes()), thread_id.as_deref().map(str::as_bytes));
            let (at, latest, gone) = (now.as_microsecond(), rows::latest(now), rows::gone(now));
            let (sql, gateway) = (&shared.statements.delete, &shared.gateway);
            let values: [&(dyn ToSql + Sync); 6] = [gateway, &id, &thread, &at, &latest, &gone];
            shared.ask("could not delete a session", &lefts, sql, &values, false, deletion).await
        })
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        self.write(None, move |shared| async move {
            let (sql, fresh) = (&shared.statements.signing_key, &fresh[..]);
            let key = |row: &Row| {
                get::<&[u8]>(row, 0)?.try_into().map_err(|_| malformed("the signing key"))
            };
            shared.ask("could not read the signing key", &[], sql, &[&fresh], true, key).await
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let shared = self.shared();
            // A session that somebody has locked is in the way of calls, and of what runs left, but it is
            // no reason why others could not be served.
            let _ = ended(shared.ledger.abandoned(None), shared.patience).await;
            let context = "could not use the session store";
            let lefts = shared.ledger.left(usize::MAX, |_| true);
            if !lefts.is_empty() {
                let skipped = shared.settle(&shared.calls, lefts, false).await;
                let skipped = skipped.map_err(|failure| Error::store(context, failure))?;
                let written = async {
                    for left in skipped {
                        left.written().await;
                    }
                };
                let _ = timeout(FOR_LOCKED, written).await;
            }
            let can_serve = |row: &Row| {
                let version: Option<i32> = get(row, 0)?;
                let is_read_only: bool = get(row, 1)?;
                Ok((version.unwrap_or(0), is_read_only, get::<String>(row, 2)?))
            };
            let sql = &shared.statements.ping;
            let mut answer = shared.ask(context, &[], sql, &[], true, can_serve).await?;
            if answer.1 {
                // It may be the connections: none of them is told that there is another primary.
                shared.calls.renew();
                answer = shared.ask(context, &[], sql, &[], true, can_serve).await?;
            }
            let (version, is_read_only, isolation) = answer;
            if is_read_only {
                return Err(Error::store(context, "the database can only be read"));
            }
            // Behind a pooler each of its connections may have another.
            schema::check_isolation(&isolation).map_err(|why| Error::store(context, why))?;
            if version < VERSION {
                let why = format!("its schema has version {version}, and not {VERSION} any more");
                return Err(Error::store(context, why));
            }
            Ok(())
        })
    }
}

impl PostgresStore {
    /// Reads the session of that name, with what runs left that isn't written yet.
    async fn found(
        &self,
        context: &'static str,
        session: SessionKey<'_>,
    ) -> Result<Option<Found<SessionRecord>>, Error> {
        let shared = self.shared();
        // From before it is read until it is corrected.
        let reading = shared.ledger.reading();
        let (statements, gateway) = (&shared.statements, &shared.gateway);
        let read = |rows: &[Row]| rows.first().map(Stored::read).transpose();
        let stored = match session {
            SessionKey::Id(id) => {
                let id = uuid(id.as_bytes());
                shared.read(context, &statements.get, &[gateway, &id], read).await
            }
            SessionKey::Conversation(id) => {
                let (sql, id) = (&statements.get_by_conversation, id.to_string());
                shared.read(context, sql, &[gateway, &id], read).await
            }
            SessionKey::Thread(id) => {
                let (sql, id) = (&statements.get_by_thread, id.as_bytes());
                shared.read(context, sql, &[gateway, &id], read).await
            }
        };
        let stored = stored?.and_then(|stored| shared.ledger.correct(stored, &reading));
        Ok(stored.map(Stored::found))
    }
}

async fn create(
    shared: &Shared,
    session: NewSession,
    max_sessions: Option<NonZeroU32>,
    holder: Option<Holder>,
) -> Result<Created, Error> {
    let run = session.first_run.as_ref();
    if run.is_some() && shared.ledger.is_full() {
        return Err(Error::store(CREATE, super::runs::FULL));
    }
    let turn = holder.as_ref().map(Holder::turn);
    let _turn = match &turn {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    let lefts = shared.ledger.left(usize::MAX, |left| left.user_id == session.user_id);
    let conversation = match session.conversation {
        Some(NewConversation::Conv(bits)) => Some(ConversationId::Conv(bits).to_string()),
        Some(NewConversation::Next) | None => None,
    };
    let id = uuid(session.id.as_bytes());
    let user_id = session.user_id.as_str().as_bytes();
    let title = session.title.as_ref().map(String::as_bytes);
    let is_next = session.conversation == Some(NewConversation::Next);
    let now = session.now.as_microsecond();
    let max = max_sessions.map(|max| i64::from(max.get()));
    let run_id = run.map(|begin| uuid(begin.run.as_bytes()));
    let leased_at = run.map(|begin| begin.now.as_microsecond());
    let lease_until = run.map(BeginRun::lease_until);
    let values: [&(dyn ToSql + Sync); 11] = [
        &shared.gateway,
        &id,
        &user_id,
        &title,
        &conversation,
        &is_next,
        &now,
        &max,
        &run_id,
        &leased_at,
        &lease_until,
    ];
    let rows = shared.query(&lefts, &shared.statements.create, &values, false).await;
    let outcome = rows.and_then(|rows| {
        let row = rows::one(&rows)?;
        let created: String = get(row, 0)?;
        Ok((created, rows::conversation(row, 1)?))
    });
    if let Some(holder) = &holder {
        match &outcome {
            Ok((created, _)) if created == "done" => holder.begun(session.id, true),
            Err(failure) if failure.is_unknown() => holder.may_have_begun(Some(session.id), true),
            Ok(_) | Err(_) => {}
        }
    }
    let (created, conversation) = outcome.map_err(|failure| match failure {
        Failure::Refused { code, .. } if code == SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED => {
            Error::store(CREATE, NO_NUMBER)
        }
        failure => Error::store(CREATE, failure),
    })?;
    match &*created {
        "done" => {
            let NewSession { id, user_id, title, now, .. } = session;
            let record = SessionRecord::new(id, user_id, whole_microseconds(now));
            Ok(Created::Session(SessionRecord { conversation, title, ..record }))
        }
        "conversation_taken" => Ok(Created::ConversationTaken),
        "limit_reached" => Ok(Created::LimitReached),
        "id_taken" => Err(Error::store(CREATE, "its id is in use")),
        _ => Err(Error::store(CREATE, malformed("an outcome"))),
    }
}

fn summary(row: &Row) -> Result<SessionSummary, Failure> {
    Ok(SessionSummary {
        id: rows::session_id(row, 0)?,
        conversation: rows::conversation(row, 1)?,
        title: rows::optional(row, 2)?.map(str::to_owned),
        created_at: rows::timestamp(row, 3)?,
        updated_at: rows::timestamp(row, 4)?,
        message_count: rows::message_count(row, 5)?,
    })
}

fn deletion(row: &Row) -> Result<Deletion, Failure> {
    match get(row, 0)? {
        "unknown" => Ok(Deletion::Unknown),
        "quarantined" => Ok(Deletion::Quarantined),
        "bound" => Ok(Deletion::Bound(rows::text(row, 1)?.into())),
        "busy" => Ok(Deletion::Busy),
        "done" => Ok(Deletion::Done),
        _ => Err(malformed("an outcome")),
    }
}
