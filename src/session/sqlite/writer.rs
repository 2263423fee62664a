//! The thread that writes, and the queue before it.
//!
//! Each round takes everything that waits and puts it into one transaction: the cost of a
//! synced commit (a disk's round trip) is shared by all who wait for it. Nobody is answered
//! before the commit.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::files::Files;
use super::places::Places;
use super::rows;
use super::schema::{begin_to_write, lock_failed, still_locked};
use super::tally::{Holder, Pending, Tallies};
use super::watch::Watch;
use crate::error::{Error, chain};
use crate::session::record::SessionId;
use crate::session::store::Settlement;

/// Calls that may wait. Each belongs to a request in progress (or one that was just dropped),
/// so this is above any sensible limit of those; beyond it, calls fail at once.
const MAX_QUEUE: usize = 16_384;

/// How long the writer leaves settled runs alone after it could not write them.
const RETRY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// How long settled runs are collected before they are written: nobody waits for them, reads
/// have them already, and a commit for each would cost more than the run.
const SETTLE_AFTER: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 200 });

/// How long it is slept before a session's lock is tried again.
const TRY_EVERY: Duration = Duration::from_micros(100);

/// Whether a call needs the file's one write lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The store's side of the writer thread. Dropping it writes what is left and joins the thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    _watch: Watch,
    thread: Option<JoinHandle<()>>,
}

/// What the writer thread and those who ask it share.
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    files: Option<Arc<Files>>,
    /// How long is waited for what somebody else has locked.
    patience: Duration,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Box<dyn Task>>,
    tallies: Tallies,
    /// Somebody wants to know whether the files are still there.
    look: bool,
    /// Until when the batch waits for sessions' locks, if it had to wait for one.
    deadline: Option<Instant>,
    /// No call is taken on any more; what is here is still to be done.
    closed: bool,
    /// Nobody is left to do it.
    ended: bool,
}

/// A call on its way through the writer.
trait Task: Send {
    fn access(&self) -> Access;
    /// Nobody waits for the answer.
    fn is_abandoned(&self) -> bool;
    fn run(&mut self, connection: &Connection);
    /// Called once the batch is committed, or has failed, while the locks of its sessions are held.
    fn finish(&mut self, batch: Result<(), Arc<rusqlite::Error>>);
    /// Called when they are not any more.
    fn answer(self: Box<Self>);
}

struct Call<W, T, D, U> {
    access: Access,
    context: &'static str,
    work: Option<W>,
    outcome: Option<rusqlite::Result<T>>,
    done: Option<D>,
    answer: Option<Result<U, Error>>,
    reply: oneshot::Sender<Result<U, Error>>,
}

impl Writer {
    /// `patience` is how long a batch waits for a file that somebody else has locked. None is written
    /// to `files` that are lost.
    pub(super) fn start(
        connection: Connection,
        patience: Duration,
        files: Option<Arc<Files>>,
        places: Places,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { tallies: Tallies::new(places), ..State::default() });
        let queue = Arc::new(Queue { state, work: Condvar::new(), files, patience });
        let watch = Watch::start(&queue, patience)?;
        let thread = std::thread::Builder::new().name("session-store".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || queue.serve(&connection)
        })?;
        Ok(Self { queue, _watch: watch, thread: Some(thread) })
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.state().closed = true;
        self.queue.work.notify_all();
        if let Some(thread) = self.thread.take() {
            // It was logged by the panic hook if it panicked; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Queue {
    /// Runs `work` in the writer's next transaction and, once that is committed, `done` with
    /// its outcome, both on the writer's thread.
    ///
    /// If the future is dropped, the call is made or not. If it is made, so is `done`, and what
    /// that returned is dropped.
    pub(super) async fn call<T: Send + 'static, U: Send + 'static>(
        &self,
        access: Access,
        context: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        done: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U, Error> {
        let (reply, answer) = oneshot::channel();
        let (work, done) = (Some(work), Some(done));
        let call = Call { access, context, work, outcome: None, done, answer: None, reply };
        self.push(Box::new(call)).map_err(|why| Error::store(context, why))?;
        answer.await.unwrap_or_else(|_| Err(Error::store(context, "its writer has ended")))
    }

    /// See [`SessionStore::settle`](crate::session::store::SessionStore::settle).
    pub(super) fn settle(&self, id: SessionId, settlement: Settlement) {
        let mut state = self.state();
        // With nobody to write it, it would only pile up.
        let settlement = if state.ended { Settlement::default() } else { settlement };
        let first = state.tallies.settle(id, settlement);
        drop(state);
        if first {
            self.work.notify_one();
        }
    }

    /// `inspect` must be short: every call on the store waits for it.
    pub(super) fn tallies<R>(&self, inspect: impl FnOnce(&mut Tallies) -> R) -> R {
        inspect(&mut self.state().tallies)
    }

    /// Takes a session's lock, in a task that writes or before settled runs are committed, until the
    /// batch is done.
    ///
    /// Who has it meanwhile waits for nothing: it decides on a run, or has just committed. So this is
    /// short, unless that process was stopped right there, or this one has to wait until another has
    /// marked its messages.
    #[expect(clippy::disallowed_methods, reason = "on the writer's own thread")]
    pub(super) fn lock(&self, id: SessionId) -> rusqlite::Result<()> {
        loop {
            let mut state = self.state();
            let locked = state.tallies.lock(id, Holder::Writer);
            if locked.map_err(|error| lock_failed(&error))? {
                return Ok(());
            }
            // One for the whole batch.
            let deadline = *state.deadline.get_or_insert_with(|| Instant::now() + self.patience);
            drop(state);
            if Instant::now() >= deadline {
                return Err(still_locked("another process has the session locked"));
            }
            std::thread::sleep(TRY_EVERY);
        }
    }

    /// Has the writer look whether the files are still there. Nobody waits for that.
    pub(super) fn look(&self) {
        self.state().look = true;
        self.work.notify_one();
    }

    fn push(&self, task: Box<dyn Task>) -> Result<(), &'static str> {
        let mut state = self.state();
        if state.closed {
            return Err("its writer has ended");
        }
        if state.tasks.len() >= MAX_QUEUE {
            return Err("too many calls wait for its writer");
        }
        state.tasks.push_back(task);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// No code panics while it holds the lock, so a poisoned one is still consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, connection: &Connection) {
        let _closed = CloseAtEnd(self);
        let mut failed = false;
        while let Some((tasks, settled)) = self.next(failed) {
            failed = !self.write(connection, tasks, &settled);
        }
    }

    /// Waits for something to do; none when all is done. What is settled doesn't count as
    /// something for a while after it `failed` to be written.
    #[expect(clippy::type_complexity, reason = "the two queues, taken in one step")]
    fn next(&self, failed: bool) -> Option<(VecDeque<Box<dyn Task>>, Vec<(SessionId, Pending)>)> {
        let mut pause = if failed { RETRY_AFTER } else { SETTLE_AFTER };
        let mut state = self.state();
        loop {
            let dirty = state.tallies.is_dirty();
            let due = dirty && (pause.is_zero() || (state.closed && !failed));
            let look = std::mem::take(&mut state.look);
            if due || look || !state.tasks.is_empty() {
                // To look alone is no reason to write what is settled.
                let settled = if due || !state.tasks.is_empty() {
                    state.tallies.take_dirty()
                } else {
                    Vec::new()
                };
                return Some((std::mem::take(&mut state.tasks), settled));
            }
            if state.closed {
                return None;
            }
            if dirty {
                // Nobody notifies of more that is settled while there is some, so this ends.
                let (guard, wait) =
                    self.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
                state = guard;
                if wait.timed_out() {
                    pause = Duration::ZERO;
                }
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn write(
        &self,
        connection: &Connection,
        mut tasks: VecDeque<Box<dyn Task>>,
        settled: &[(SessionId, Pending)],
    ) -> bool {
        tasks.retain(|task| !task.is_abandoned());
        let are_there = self.files.as_ref().map_or(Ok(()), |files| files.look());
        let batch = if tasks.is_empty() && settled.is_empty() {
            Ok(())
        } else {
            are_there
                .and_then(|()| self.transact(connection, &mut tasks, settled))
                .map_err(Arc::new)
        };
        // Before anybody is answered, so that who was told of a commit finds it everywhere.
        self.tallies(|tallies| {
            if !settled.is_empty() {
                tallies.committed();
            }
            for &(id, _) in settled {
                if batch.is_ok() { tallies.written(id) } else { tallies.not_written(id) }
            }
        });
        if let Err(error) = &batch {
            let (calls, settled) = (tasks.len(), settled.len());
            tracing::error!(error = chain(&**error), calls, settled, "session store: not written");
        }
        for task in &mut tasks {
            task.finish(batch.as_ref().copied().map_err(Arc::clone));
        }
        let mut state = self.state();
        state.tallies.unlock_batch();
        state.deadline = None;
        drop(state);
        for task in tasks {
            task.answer();
        }
        batch.is_ok()
    }

    /// One transaction of everything, the settled first.
    fn transact(
        &self,
        connection: &Connection,
        tasks: &mut VecDeque<Box<dyn Task>>,
        settled: &[(SessionId, Pending)],
    ) -> rusqlite::Result<()> {
        let writes = !settled.is_empty() || tasks.iter().any(|task| task.access() == Access::Write);
        let transaction = if writes {
            begin_to_write(connection, self.patience)?
        } else {
            Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?
        };
        let mut counts = Vec::with_capacity(settled.len());
        for (id, pending) in settled {
            self.lock(*id)?;
            counts.push((*id, rows::settle(&transaction, *id, pending)?));
        }
        for task in tasks {
            task.run(&transaction);
            // A statement that fails is undone alone, but after some errors (a full disk, a failed
            // read) SQLite may roll back everything: then there is nothing left to commit.
            if transaction.is_autocommit() {
                let abort = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
                return Err(rusqlite::Error::SqliteFailure(abort, None));
            }
        }
        if !settled.is_empty() {
            self.tallies(|tallies| tallies.committing(&counts));
        }
        transaction.commit()
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

/// Whatever ends the thread, nobody waits for it afterwards.
struct CloseAtEnd<'a>(&'a Queue);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.ended = true;
        // If it panicked in a batch; else other processes could begin no run of those sessions.
        state.tallies.unlock_batch();
        let left = std::mem::take(&mut state.tasks);
        let unwritten = state.tallies.is_dirty();
        drop(state);
        drop(left);
        if unwritten {
            tracing::error!("session store: closed with message counts that were not written");
        }
    }
}
