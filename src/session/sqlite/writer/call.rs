//! A call on its way through the writer.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::Access;
use crate::error::Error;

/// What the writer knows of a [`Call`].
pub(super) trait Task: Send {
    fn access(&self) -> Access;
    /// Tells whether nobody waits for the answer.
    fn is_abandoned(&self) -> bool;
    /// Tells until when it waits for its session's lock, which it didn't get just now: as was said
    /// the first time.
    fn wait_until(&mut self, until: Instant) -> Instant;
    fn run(&mut self, connection: &Connection);
    fn was_run(&self) -> bool;
    /// Is called once the batch is committed, or has failed, while the locks of its sessions are
    /// held.
    fn finish(&mut self, batch: Result<(), Arc<rusqlite::Error>>);
    /// Is called when they are not any more.
    fn answer(self: Box<Self>);
}

/// The one kind of [`Task`]: `work` in the transaction, and `done` once that is committed.
pub(super) struct Call<W, T, D, U> {
    access: Access,
    context: &'static str,
    work: Option<W>,
    outcome: Option<rusqlite::Result<T>>,
    done: Option<D>,
    answer: Option<Result<U, Error>>,
    reply: oneshot::Sender<Result<U, Error>>,
    waits_until: Option<Instant>,
}

impl<W, T, D, U> Call<W, T, D, U> {
    pub(super) fn new(
        access: Access,
        context: &'static str,
        work: W,
        done: D,
        reply: oneshot::Sender<Result<U, Error>>,
    ) -> Self {
        Self {
            access,
            context,
            work: Some(work),
            outcome: None,
            done: Some(done),
            answer: None,
            reply,
            waits_until: None,
        }
    }
}

impl<W, T, D, U> Task for Call<W, T, D, U>
where
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
    D: FnOnce(T) -> U + Send,
    U: Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn wait_until(&mut self, until: Instant) -> Instant {
        *self.waits_until.get_or_insert(until)
    }

    fn was_run(&self) -> bool {
        self.work.is_none()
    }

    fn run(&mut self, connection: &Connection) {
        self.outcome = self.work.take().map(|work| work(connection));
    }

    fn finish(&mut self, batch: Result<(), Arc<rusqlite::Error>>) {
        let left_out = || Error::store(self.context, "it was left out");
        let answer = match (batch, self.outcome.take()) {
            (_, Some(Err(error))) => Err(Error::store(self.context, error)),
            (Err(error), _) => Err(Error::store(self.context, error)),
            (Ok(()), Some(Ok(value))) => {
                self.done.take().map(|done| done(value)).ok_or_else(left_out)
            }
            (Ok(()), None) => Err(left_out()),
        };
        self.answer = Some(answer);
    }

    fn answer(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // The asker may have gone since; what was done stays done.
            let _ = self.reply.send(answer);
        }
    }
}
