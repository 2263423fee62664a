//! What runs left, until it is written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::rows::{self, Stored, stored_count, uuid};
use crate::principal::UserId;
use crate::session::record::SessionId;
use crate::session::store::{RunId, Settlement, whole_microseconds};

/// What a run left.
pub(super) struct Left {
    /// None if nobody knows.
    pub(super) session: Option<SessionId>,
    /// Whose run it was.
    pub(super) user_id: UserId,
    pub(super) run: RunId,
    pub(super) settlement: Settlement,
    /// Whether the run may begin yet, so that it is to be settled once more, later.
    pub(super) may_begin: bool,
    /// How many flights have it along.
    carriers: AtomicUsize,
    is_written: AtomicBool,
    written: Notify,
}

impl Left {
    pub(super) fn new(
        session: Option<SessionId>,
        user_id: UserId,
        run: RunId,
        settlement: Settlement,
        may_begin: bool,
    ) -> Self {
        let (is_written, written) = (AtomicBool::new(false), Notify::new());
        let carriers = AtomicUsize::new(0);
        Self { session, user_id, run, settlement, may_begin, carriers, is_written, written }
    }

    /// Makes the same once more, for later.
    pub(super) fn again(&self) -> Self {
        let Self { session, user_id, run, settlement, .. } = self;
        Self::new(*session, user_id.clone(), *run, settlement.clone(), false)
    }

    /// Tells whether it is on its way, so that only who has to see it need take it along once more.
    pub(super) fn is_carried(&self) -> bool {
        self.carriers.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    pub(super) fn set_written(&self) {
        self.is_written.store(true, Ordering::Release);
        self.written.notify_waiters();
    }

    /// Waits until it is written.
    pub(super) async fn written(&self) {
        loop {
            let written = self.written.notified();
            if self.is_written() {
                return;
            }
            written.await;
        }
    }

    /// Tells whether it is a run's that was in flight when the session was read, so that what it left was
    /// not in the row.
    pub(super) fn is_behind(&self, session: &Stored) -> bool {
        self.session == Some(session.record.id)
            && session.in_flight.contains(&uuid(self.run.as_bytes()))
    }

    /// Does to a session what the database will; `false` if it goes.
    pub(super) fn apply(&self, session: &mut Stored) -> bool {
        let Settlement { messages, title, touched_at, discard_unbound } = &self.settlement;
        let run = uuid(self.run.as_bytes());
        let record = &mut session.record;
        if *discard_unbound && record.thread_id.is_none() && session.lease_run == Some(run) {
            return false;
        }
        record.message_count = rows::plus(record.message_count, *messages);
        if let Some(title) = title {
            record.title.clone_from(title);
        }
        if let Some(touched_at) = touched_at {
            record.updated_at = record.updated_at.max(whole_microseconds(*touched_at));
        }
        true
    }
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Left").field("run", &self.run).finish_non_exhaustive()
    }
}

/// Says that these are on their way, until it is dropped.
pub(super) struct Carried<'a>(&'a [Arc<Left>]);

impl<'a> Carried<'a> {
    pub(super) fn new(lefts: &'a [Arc<Left>]) -> Self {
        for left in lefts {
            left.carriers.fetch_add(1, Ordering::Relaxed);
        }
        Self(lefts)
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        for left in self.0 {
            left.carriers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What several left, as a statement takes it.
pub(super) struct Batch<'a> {
    gateway: Uuid,
    sessions: Vec<Option<Uuid>>,
    runs: Vec<Uuid>,
    messages: Vec<i64>,
    titled: Vec<bool>,
    titles: Vec<Option<&'a [u8]>>,
    touched_at: Vec<Option<i64>>,
    discard: Vec<bool>,
    waits: bool,
}

impl<'a> Batch<'a> {
    /// Takes whether locks are waited for, or what is locked is skipped.
    pub(super) fn new(gateway: Uuid, lefts: &'a [Arc<Left>], waits: bool) -> Self {
        let settled = || lefts.iter().map(|left| &left.settlement);
        let id = |left: &Arc<Left>| left.session.map(|id| uuid(id.as_bytes()));
        let title =
            |settled: &'a Settlement| settled.title.as_ref()?.as_ref().map(String::as_bytes);
        Self {
            gateway,
            sessions: lefts.iter().map(id).collect(),
            runs: lefts.iter().map(|left| uuid(left.run.as_bytes())).collect(),
            messages: settled().map(|settled| stored_count(settled.messages)).collect(),
            titled: settled().map(|settled| settled.title.is_some()).collect(),
            titles: settled().map(title).collect(),
            touched_at: settled()
                .map(|settled| settled.touched_at.map(Timestamp::as_microsecond))
                .collect(),
            discard: settled().map(|settled| settled.discard_unbound).collect(),
            waits,
        }
    }

    /// Gives the parameters.
    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.gateway,
            &self.sessions,
            &self.runs,
            &self.messages,
            &self.titled,
            &self.titles,
            &self.touched_at,
            &self.discard,
            &self.waits,
        ]
    }
}
