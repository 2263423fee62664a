//! Runs: begun, bound, settled.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::failure::Failure;
use super::ledger::Holder;
use super::pending::{Batch, Carried, Left};
use super::rows::{self, get, malformed, stored_count, uuid};
use super::store::{PostgresStore, Shared};
use super::tasks::ended;
use crate::error::Error;
use crate::principal::UserId;
use crate::session::quarantine::Reuse;
use crate::session::record::{ConversationId, MessageCount, SessionId, ThreadId};
use crate::session::store::{
    BeginRun, Bound, OnThread, RunId, RunStart, Runs, SessionKey, Settlement, StoreFuture,
    Uncounted,
};

const BEGIN: &str = "could not begin a run";

/// Why no run begins while much is unwritten.
pub(super) const FULL: &str = "too much of what runs left is not written yet";

impl Runs for PostgresStore {
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        Box::pin(async move {
            let ledger = &self.shared().ledger;
            // Of what nobody waits for any more, none is to be found in flight.
            let before = ledger.abandoned(Some(user_id));
            let holder = ledger.hold(begin.run, user_id);
            let (of_call, user) = (holder.of_call(), user_id.clone());
            let (name, wanted) = (Name::new(session), Wanted::new(on));
            let call = async move |shared: Arc<Shared>| {
                ended(before, shared.patience).await?;
                begin_run(&shared, name, wanted, user, begin, of_call).await
            };
            let start = self.write(Some(user_id), call).await?;
            if has_begun(&start).is_some() {
                holder.told();
            }
            Ok(start)
        })
    }

    fn bind<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        run: RunId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Bound> {
        let user = user_id.clone();
        self.write(Some(user_id), move |shared| async move {
            let lefts = shared.ledger.left(usize::MAX, |left| left.session == Some(id));
            let (sql, gateway) = (&shared.statements.bind, &shared.gateway);
            let (id, run) = (uuid(id.as_bytes()), uuid(run.as_bytes()));
            let (user_id, thread) = (user.as_str().as_bytes(), thread_id.as_bytes());
            let now = now.as_microsecond();
            let values = |again| -> [&(dyn ToSql + Sync); 7] {
                [gateway, &id, &user_id, &run, &thread, &now, again]
            };
            let bound = |row: &Row| match get(row, 0)? {
                "done" => Ok(Bound::Done),
                "lease_lost" => Ok(Bound::LeaseLost),
                "reused" => {
                    let reuse = reuse(row, 1, user.clone())?;
                    reuse.map(Bound::ThreadReused).ok_or_else(|| malformed("a session"))
                }
                _ => Err(malformed("an outcome")),
            };
            let mut rows = shared.query(&lefts, sql, &values(&false), false).await;
            if matches!(rows, Err(Failure::Lost(_))) {
                rows = shared.query(&lefts, sql, &values(&true), false).await;
            }
            rows.and_then(|rows| bound(rows::one(&rows)?))
                .map_err(|failure| Error::store("could not bind a session", failure))
        })
    }

    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>> {
        let user = user_id.clone();
        self.write(Some(user_id), move |shared| async move {
            let (sql, id) = (&shared.statements.thread_named, uuid(id.as_bytes()));
            let (user_id, thread) = (user.as_str().as_bytes(), thread_id.as_bytes());
            let now = now.as_microsecond();
            let values: [&(dyn ToSql + Sync); 4] = [&id, &user_id, &thread, &now];
            let named = |row: &Row| reuse(row, 0, user.clone());
            let context = "could not look at a thread";
            let reuse = shared.ask(context, &[], sql, &values, false, named).await?;
            Ok(reuse.filter(|reuse| reuse.quarantined.is_some()))
        })
    }

    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) -> StoreFuture<'_, ()> {
        let left = self.shared().ledger.settle(id, run, settlement);
        Box::pin(async move {
            let Some(left) = left else { return Ok(()) };
            let shared = self.shared();
            shared.ledger.hurry();
            timeout(shared.settle_within, left.written()).await.map_err(|_| {
                Error::store("could not write what a run left", "the database is away; it is kept")
            })
        })
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        self.write(None, move |shared| async move {
            let lefts = shared.ledger.left(usize::MAX, |left| left.session == Some(id));
            let (sql, gateway) = (&shared.statements.set_message_count, &shared.gateway);
            let (is_known, seen) = match seen {
                MessageCount::AtLeast(seen) => (false, stored_count(seen)),
                MessageCount::Known(seen) => (true, stored_count(seen)),
            };
            let (id, messages) = (uuid(id.as_bytes()), stored_count(messages));
            let values: [&(dyn ToSql + Sync); 5] = [gateway, &id, &is_known, &seen, &messages];
            let context = "could not set a message count";
            shared.ask(context, &lefts, sql, &values, true, |_| Ok(())).await
        })
    }
}

/// What a session is called, for a call that goes on by itself.
enum Name {
    Conversation(ConversationId),
    Id(SessionId),
    Thread(ThreadId),
}

impl Name {
    fn new(session: SessionKey<'_>) -> Self {
        match session {
            SessionKey::Conversation(id) => Self::Conversation(id),
            SessionKey::Id(id) => Self::Id(id),
            SessionKey::Thread(thread_id) => Self::Thread(thread_id.into()),
        }
    }
}

/// The thread that a run is to be on, and how a function calls that.
struct Wanted {
    on: &'static str,
    named: Option<ThreadId>,
}

impl Wanted {
    fn new(on: OnThread<'_>) -> Self {
        match on {
            OnThread::Any => Self { on: "any", named: None },
            OnThread::Bound => Self { on: "bound", named: None },
            OnThread::Named(thread_id) => Self { on: "named", named: Some(thread_id.into()) },
        }
    }
}

async fn begin_run(
    shared: &Shared,
    name: Name,
    wanted: Wanted,
    user_id: UserId,
    begin: BeginRun,
    holder: Holder,
) -> Result<RunStart, Error> {
    if shared.ledger.is_full() {
        return Err(Error::store(BEGIN, FULL));
    }
    let turn = holder.turn();
    let _turn = turn.lock().await;
    let (id, conversation, thread) = match &name {
        Name::Id(id) => (Some(*id), None, None),
        Name::Conversation(id) => (None, Some(id.to_string()), None),
        Name::Thread(thread_id) => (None, None, Some(thread_id.as_bytes())),
    };
    // Of another session it sees nothing; whose session has another name, all may be of it.
    let is_seen = |left: &Left| match (id, left.session) {
        (Some(id), Some(session)) => id == session,
        _ => true,
    };
    let lefts = shared.ledger.left(usize::MAX, |left| left.user_id == user_id && is_seen(left));
    let session = id.map(|id| uuid(id.as_bytes()));
    let named = wanted.named.as_deref().map(str::as_bytes);
    let user = user_id.as_str().as_bytes();
    let run = uuid(begin.run.as_bytes());
    let max = begin.max_messages.map(|max| i64::from(max.get()));
    let (now, latest) = (begin.now.as_microsecond(), rows::latest(begin.now));
    let lease_until = begin.lease_until();
    let (uncounted, seen, counted) = match begin.uncounted {
        Uncounted::Begin => ("begin", None, None),
        Uncounted::Counted { seen, messages } => {
            ("counted", Some(stored_count(seen)), Some(stored_count(messages)))
        }
        Uncounted::Tell => ("tell", None, None),
    };
    let values: [&(dyn ToSql + Sync); 15] = [
        &shared.gateway,
        &session,
        &conversation,
        &thread,
        &wanted.on,
        &named,
        &user,
        &run,
        &max,
        &now,
        &latest,
        &lease_until,
        &uncounted,
        &seen,
        &counted,
    ];
    // In one transaction, whose only lock of a session is that of the run's.
    let is_one = id.is_some() && lefts.iter().all(|left| left.session == id) && !lefts.is_empty();
    let batch = is_one.then(|| Batch::new(shared.gateway, &lefts, true));
    let of_both = batch.as_ref().map(|batch| {
        let ([of_settle @ .., _waits], [_gateway, of_begin @ ..]) = (batch.values(), values);
        [&of_settle[..], &of_begin].concat()
    });
    let (sql, values, along) = match &of_both {
        Some(of_both) => (&shared.statements.settle_and_begin_run, &of_both[..], &[][..]),
        None => (&shared.statements.begin_run, &values[..], &lefts[..]),
    };
    let _carried = Carried::new(&lefts);
    let until = shared.calls.latest();
    let mut rows = shared.query_until(until, along, sql, values, false).await;
    let is_again = |failure: &Failure| failure.is_unknown() && failure.is_worth_another();
    if rows.as_ref().is_err_and(is_again) {
        // By its id it is the same run, whichever begins it; but the one that was lost may do so yet,
        // when it is settled.
        holder.may_have_begun(id, false);
        rows = shared.query_until(until, along, sql, values, false).await;
    }
    if is_one && rows.is_ok() {
        shared.written(&lefts);
    }
    let start = rows.and_then(|rows| start(rows::one(&rows)?));
    match &start {
        Ok(start) => {
            if let Some(session) = has_begun(start) {
                holder.begun(session, false);
            }
        }
        Err(failure) if failure.is_unknown() => holder.may_have_begun(id, false),
        Err(_) => {}
    }
    start.map_err(|failure| Error::store(BEGIN, failure))
}

/// Tells whether a run has begun, and in which session.
fn has_begun(start: &RunStart) -> Option<SessionId> {
    match start {
        RunStart::First { session, .. } | RunStart::Next { session, .. } => Some(*session),
        RunStart::Busy
        | RunStart::Foreign
        | RunStart::MessageLimit
        | RunStart::OtherThread
        | RunStart::Quarantined
        | RunStart::Unbound
        | RunStart::Uncounted { .. }
        | RunStart::Unknown => None,
    }
}

fn start(row: &Row) -> Result<RunStart, Failure> {
    let session = || rows::session_id(row, 1);
    let thread_id = || rows::text(row, 2).map(ThreadId::from);
    Ok(match get(row, 0)? {
        "busy" => RunStart::Busy,
        "first" => RunStart::First { session: session()?, titled: get(row, 3)? },
        "foreign" => RunStart::Foreign,
        "message_limit" => RunStart::MessageLimit,
        "next" => RunStart::Next { session: session()?, thread_id: thread_id()? },
        "other_thread" => RunStart::OtherThread,
        "quarantined" => RunStart::Quarantined,
        "unbound" => RunStart::Unbound,
        "uncounted" => {
            let (session, thread_id) = (session()?, thread_id()?);
            RunStart::Uncounted { session, thread_id, seen: rows::count(row, 4)? }
        }
        "unknown" => RunStart::Unknown,
        _ => return Err(malformed("an outcome")),
    })
}

/// Reads whose a thread is that was given again, from a column on.
fn reuse(row: &Row, column: usize, other: UserId) -> Result<Option<Reuse>, Failure> {
    if get::<Option<Uuid>>(row, column)?.is_none() {
        return Ok(None);
    }
    let owner_session = rows::session_id(row, column)?;
    let owner = rows::user_id(row, column + 1)?;
    let quarantined: Option<i64> = get(row, column + 2)?;
    let quarantined = quarantined.map(i64::unsigned_abs);
    Ok(Some(Reuse { owner_session, owner, other, quarantined }))
}
