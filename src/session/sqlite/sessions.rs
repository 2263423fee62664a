//! Sessions: made, found, listed, deleted.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::begin::Place;
use super::lists;
use super::rows;
use super::runs::{self, Lease};
use super::schema::{self, is_locked};
use super::store::SqliteStore;
use super::writer::{Access, NO_RUN_CAN_BEGIN, Queue};
use crate::error::Error;
use crate::session::pages::{SessionSummary, SessionsPage};
use crate::session::quarantine::Found;
use crate::session::record::{ConversationId, Ownership, SessionId, SessionRecord, ThreadId};
use crate::session::store::{
    BeginRun, Created, Deletion, NewSession, SessionKey, Sessions, StoreFuture,
};

/// Attempts to read what runs left, between two commits of such. A read takes some microseconds.
pub(super) const MAX_ATTEMPTS: usize = 64;

impl Sessions for SqliteStore {
    fn create(
        &self,
        session: NewSession,
        max_sessions: Option<NonZeroU32>,
    ) -> StoreFuture<'_, Created> {
        let max = max_sessions.map(NonZeroU32::get);
        if let Some(begin) = session.first_run {
            return Box::pin(self.create_for_run(session, max, begin));
        }
        let queue = Arc::clone(self.queue());
        self.write(CREATE, move |connection| create(connection, &queue, &session, max))
    }

    fn get<'a>(&'a self, session: SessionKey<'a>) -> StoreFuture<'a, Option<Found<SessionRecord>>> {
        Box::pin(async move {
            // A second read by its id, because the tally has to be asked before the row.
            match self.id(session).await? {
                Some(id) => self.corrected(id, move |connection| rows::get(connection, id)).await,
                None => Ok(None),
            }
        })
    }

    fn ownership<'a>(
        &'a self,
        session: SessionKey<'a>,
    ) -> StoreFuture<'a, Option<Found<Ownership>>> {
        Box::pin(self.read_by(session, "could not read whose a session is", rows::ownership))
    }

    fn list(&self, page: SessionsPage) -> StoreFuture<'_, Vec<SessionSummary>> {
        Box::pin(self.read_list("could not list sessions", move |connection, queue| {
            lists::sessions(connection, queue, &page)
        }))
    }

    fn set_title(
        &self,
        id: SessionId,
        title: Option<String>,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<SessionRecord>> {
        self.write("could not set a title", move |connection| {
            rows::set_title(connection, id, title.as_deref(), now)
        })
    }

    fn delete<'a>(
        &'a self,
        id: SessionId,
        thread_id: Option<&'a str>,
        now: Timestamp,
    ) -> StoreFuture<'a, Deletion> {
        Box::pin(self.delete_if(id, thread_id, now))
    }

    fn signing_key(&self, fresh: [u8; 32]) -> StoreFuture<'_, [u8; 32]> {
        Box::pin(async move {
            let context = "could not read the signing key";
            // Mostly there is one, and a file that is locked is no reason not to have it.
            if let Some(key) = self.read(context, signing_key).await? {
                return Ok(key);
            }
            self.write(context, move |c| keep_signing_key(c, &fresh)).await
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        let context = "could not use the session store";
        Box::pin(async move {
            self.read_list(context, |connection, _| rows::read_each_table(connection)).await?;
            // A transaction that changes nothing succeeds on a disk that is full, too.
            self.write(context, schema::write_again).await?;
            let why = self.queue().tallies(|tallies| {
                let places = tallies.places();
                if places.is_waiting() {
                    Some(NO_RUN_CAN_BEGIN)
                } else if places.are_lost().unwrap_or(true) {
                    Some("the file by which processes tell one another of their runs was deleted")
                } else {
                    None
                }
            });
            if let Some(why) = why {
                return Err(Error::store(context, why.to_owned()));
            }
            Ok(())
        })
    }
}

const CREATE: &str = "could not create a session";

/// What a session is called, for the writer.
pub(super) enum Name {
    Conversation(ConversationId),
    Id(SessionId),
    Thread(ThreadId),
}

impl Name {
    pub(super) fn new(session: SessionKey<'_>) -> Self {
        match session {
            SessionKey::Conversation(id) => Self::Conversation(id),
            SessionKey::Id(id) => Self::Id(id),
            SessionKey::Thread(thread_id) => Self::Thread(thread_id.into()),
        }
    }

    pub(super) fn key(&self) -> SessionKey<'_> {
        match self {
            Self::Conversation(id) => SessionKey::Conversation(*id),
            Self::Id(id) => SessionKey::Id(*id),
            Self::Thread(thread_id) => SessionKey::Thread(thread_id),
        }
    }
}

impl SqliteStore {
    /// Creates a session and begins its first run. Both are undone if the asker has gone.
    async fn create_for_run(
        &self,
        session: NewSession,
        max_sessions: Option<u32>,
        begin: BeginRun,
    ) -> Result<Created, Error> {
        let (id, queue) = (session.id, Arc::clone(self.queue()));
        let work_queue = Arc::clone(self.queue());
        let work = move |connection: &Connection| {
            let created = create(connection, &work_queue, &session, max_sessions)?;
            if matches!(created, Created::Session(_)) {
                work_queue.tallies(|tallies| tallies.grant(id, begin.run));
            }
            Ok(created)
        };
        let done = move |created| {
            let place = match &created {
                Created::Session(record) => Place::of_new(queue, id, &record.user_id, begin.run),
                Created::ConversationTaken | Created::LimitReached => None,
            };
            (created, place)
        };
        // With its lock, which is held until the run has its place: until then the lease in the row
        // looks like that of a process that is gone.
        let created = self.queue().call(Access::Decide(id), CREATE, work, done).await?;
        Ok(Place::keep(created))
    }

    /// Gives the id of the session of that name; that of an id is itself, whether or not it is there.
    pub(super) async fn id(&self, session: SessionKey<'_>) -> Result<Option<SessionId>, Error> {
        match session {
            SessionKey::Id(id) => Ok(Some(id)),
            SessionKey::Conversation(_) | SessionKey::Thread(_) => {
                self.read_by(session, "could not find a session", rows::id).await
            }
        }
    }

    /// Does a point read by a session's name here and now, or through the writer if the file is locked.
    async fn read_by<T: Send + 'static>(
        &self,
        session: SessionKey<'_>,
        context: &'static str,
        read: fn(&Connection, SessionKey<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        match self.readers().read(|connection| read(connection, session)) {
            Err(error) if is_locked(&error) => {
                let name = Name::new(session);
                let work = move |connection: &Connection| read(connection, name.key());
                self.queue().call(Access::Read, context, work, |value| value).await
            }
            outcome => outcome.map_err(|error| Error::store(context, error)),
        }
    }

    /// Deletes a session as [`delete`](Sessions::delete) says. Whether the lease of one that looks held
    /// is that of a process which is gone can be told only with the session's lock, so nobody else
    /// waits for that.
    async fn delete_if(
        &self,
        id: SessionId,
        thread_id: Option<&str>,
        now: Timestamp,
    ) -> Result<Deletion, Error> {
        let (context, named) = ("could not delete a session", thread_id.map(ThreadId::from));
        let by_time = move |connection: &Connection| {
            rows::delete(connection, id, named.as_deref(), now, |lease| lease.is_held(now))
        };
        let deletion = self.write(context, by_time).await?;
        if deletion != Deletion::Busy {
            return Ok(deletion);
        }
        let queue = Arc::clone(self.queue());
        let work = move |connection: &Connection| {
            let is_held = |lease: &Lease| {
                lease.is_held(now) && queue.tallies(|tallies| tallies.may_go_on(id, lease))
            };
            rows::delete(connection, id, None, now, is_held)
        };
        self.queue().call(Access::Decide(id), context, work, |deletion| deletion).await
    }

    /// Gives a row as it is with what is settled and not in it yet.
    pub(super) async fn corrected(
        &self,
        id: SessionId,
        read: impl Fn(&Connection) -> rusqlite::Result<Option<Found<SessionRecord>>>
        + Clone
        + Send
        + 'static,
    ) -> Result<Option<Found<SessionRecord>>, Error> {
        let context = "could not read a session";
        for _ in 0..MAX_ATTEMPTS {
            // Asked before the row is read: what is not in it is in the row.
            let (overlay, commits) =
                self.queue().tallies(|tallies| (tallies.overlay(id), tallies.commits()));
            let mut found = self.read(context, read.clone()).await?;
            if let Some(overlay) = overlay {
                let goes = match overlay.discard {
                    Some(run) => self.read(context, move |c| runs::goes_with(c, id, run)).await?,
                    None => false,
                };
                if self.queue().tallies(|tallies| tallies.commits()) != commits {
                    // Some of it may be in the row by now.
                    continue;
                }
                if let Some(Found::Open(record)) = &mut found {
                    if goes {
                        return Ok(None);
                    }
                    overlay.correct(record);
                }
            }
            return Ok(found);
        }
        Err(Error::store(context, "it is written to again and again"))
    }
}

fn create(
    connection: &Connection,
    queue: &Queue,
    session: &NewSession,
    max_sessions: Option<u32>,
) -> rusqlite::Result<Created> {
    let has_gone = |id, lease: &Lease| queue.has_gone(id, lease, session.now);
    rows::create(connection, session, max_sessions, has_gone)
}

fn signing_key(connection: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    connection.query_row("SELECT key FROM signing_key", (), |row| row.get(0)).optional()
}

/// Keeps `fresh` unless somebody was faster, and gives what is kept.
fn keep_signing_key(connection: &Connection, fresh: &[u8; 32]) -> rusqlite::Result<[u8; 32]> {
    let sql = "INSERT INTO signing_key (id, key) VALUES (1, ?1) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute([fresh])?;
    connection.query_row("SELECT key FROM signing_key", (), |row| row.get(0))
}
