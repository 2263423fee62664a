//! The thread that writes, and the queue before it.
//!
//! Each round takes everything that waits and puts it into one transaction: the cost of a
//! synced commit (a disk's round trip) is shared by all who wait for it. Nobody is answered
//! before the commit.
//!
//! While it has the file's one write lock it waits for nothing, for every process waits for that. A call
//! whose session somebody else has locked is left out of the transaction and waits beside the queue; of
//! what was settled it leaves out the messages, which go with a later one.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::files::Files;
use super::places::Places;
use super::runs::{self, Lease};
use super::schema::{begin_to_write, still_locked};
use super::tally::{Holder, Pending, Share, Tallies};
use super::watch::Watch;
use crate::error::{Error, chain};
use crate::session::record::SessionId;
use crate::session::store::{RunId, Settlement};

/// Calls that may wait. Each belongs to a request in progress (or one that was just dropped),
/// so this is above any sensible limit of those; beyond it, calls fail at once.
const MAX_QUEUE: usize = 16_384;

/// How long the writer leaves settled runs alone after it could not write them.
const RETRY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// How long settled runs are collected before they are written: nobody waits for them, reads
/// have them already, and a commit for each would cost more than the run.
const SETTLE_AFTER: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 200 });

/// How long it takes until it is looked again whether a session's lock is free.
const TRY_EVERY: Duration = Duration::from_millis(1);

/// What a call is told that needs a session's lock while nobody gets one.
pub(super) const NO_RUN_CAN_BEGIN: &str =
    "another process that has it open was stopped, and no run can begin";

/// What a call needs: the file's one write lock or not, and maybe that of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    /// To write, with the lock of a session, which it decides on: from before it runs until it is done.
    Decide(SessionId),
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
    /// Those that its connection has run.
    #[cfg(test)]
    pub(super) statements: super::schema::Statements,
    /// How often the writer was woken.
    #[cfg(test)]
    pub(super) wakes: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing, and they come together in any way"
)]
struct State {
    tasks: VecDeque<Box<dyn Task>>,
    /// Those whose session somebody else has locked, and until when they wait for it.
    waiting: Vec<(Instant, Box<dyn Task>)>,
    tallies: Tallies,
    /// Somebody wants to know whether the files are still there.
    look: bool,
    /// The writer waits: whoever has something for it must wake it, which is a system call. While it
    /// works it looks for more by itself.
    idle: bool,
    /// No call is taken on any more; what is here is still to be done.
    closed: bool,
    /// Nobody is left to do it.
    ended: bool,
}

/// A call on its way through the writer.
trait Task: Send {
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

struct Call<W, T, D, U> {
    access: Access,
    context: &'static str,
    work: Option<W>,
    outcome: Option<rusqlite::Result<T>>,
    done: Option<D>,
    answer: Option<Result<U, Error>>,
    reply: oneshot::Sender<Result<U, Error>>,
    waits_until: Option<Instant>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    /// But for the messages of sessions that somebody else has locked.
    Locked,
    Failed,
}

/// What the writer has to do.
#[derive(Default)]
struct Batch {
    tasks: VecDeque<Box<dyn Task>>,
    settled: Vec<(SessionId, Pending)>,
    /// Those that nobody can run now.
    refused: VecDeque<Box<dyn Task>>,
}

impl Writer {
    /// Starts the writer. `patience` is how long a batch waits for a file that somebody else has
    /// locked. None is written to `files` that are lost.
    pub(super) fn start(
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests look at what it runs"))]
        mut connection: Connection,
        patience: Duration,
        files: Option<Arc<Files>>,
        places: Places,
    ) -> std::io::Result<Self> {
        #[cfg(test)]
        let statements = super::schema::Statements::default();
        #[cfg(test)]
        statements.count(&mut connection);
        let state = Mutex::new(State { tallies: Tallies::new(places), ..State::default() });
        let queue = Arc::new(Queue {
            state,
            work: Condvar::new(),
            files,
            patience,
            #[cfg(test)]
            statements,
            #[cfg(test)]
            wakes: std::sync::atomic::AtomicUsize::new(0),
        });
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
        let call = Call {
            access,
            context,
            work,
            outcome: None,
            done,
            answer: None,
            reply,
            waits_until: None,
        };
        self.push(Box::new(call)).map_err(|why| Error::store(context, why))?;
        answer.await.unwrap_or_else(|_| Err(Error::store(context, "its writer has ended")))
    }

    /// Ends a run as [`settle`](crate::session::Runs::settle) says. None if it leaves nothing to be
    /// written; else what a call needs that is made when that is.
    pub(super) fn settle(
        &self,
        id: SessionId,
        run: RunId,
        settlement: Settlement,
    ) -> Option<Access> {
        self.end(self.state(), id, run, settlement)
    }

    /// Takes a share in a run back from somebody who was not told of it. The last one ends the run.
    pub(super) fn leave(&self, id: SessionId, share: Share) {
        let mut state = self.state();
        if let Some(untold) = state.tallies.leave(id, share) {
            let discard_unbound = untold.discard_unbound;
            let settlement = Settlement { discard_unbound, ..Settlement::default() };
            // At once: who begins it again would take it for somebody's.
            self.end(state, id, untold.run, settlement);
        }
    }

    fn end(
        &self,
        mut state: MutexGuard<'_, State>,
        id: SessionId,
        run: RunId,
        settlement: Settlement,
    ) -> Option<Access> {
        if state.ended {
            // With nobody to write it, it would only pile up.
            state.tallies.give_up(id, run);
            return Some(Access::Read);
        }
        let unwritten = state.tallies.settle(id, run, settlement)?;
        if unwritten.is_first {
            self.wake(state);
        }
        // Messages are left out of a batch without the lock.
        Some(if unwritten.messages > 0 { Access::Decide(id) } else { Access::Read })
    }

    /// Looks at the tallies. `inspect` must be short: every call on the store waits for it.
    pub(super) fn tallies<R>(&self, inspect: impl FnOnce(&mut Tallies) -> R) -> R {
        inspect(&mut self.state().tallies)
    }

    /// Takes a session's lock until the batch is done; `false` if somebody else has it. Whoever has it
    /// waits for nothing: it decides on a run, or has just committed.
    fn lock(&self, id: SessionId) -> bool {
        let locked = self.tallies(|tallies| tallies.lock(id, Holder::Writer));
        locked.unwrap_or_else(|error| {
            tracing::error!(%error, "session store: could not lock a session");
            false
        })
    }

    /// Tells, within the writer's batch, whether the run that has a lease is no more in flight anywhere.
    /// It is as long as somebody else has its session's lock, and, where other processes are not seen,
    /// until its time is up.
    pub(super) fn has_gone(&self, id: SessionId, lease: &Lease, now: Timestamp) -> bool {
        self.lock(id)
            && self.tallies(|tallies| {
                if tallies.places().is_open() {
                    !tallies.may_go_on(id, lease)
                } else {
                    !lease.is_held(now) && lease.run.is_none_or(|run| !tallies.has(id, run))
                }
            })
    }

    /// Tells whether the file and what SQLite has beside it are there. Blocks, though not for long.
    pub(super) fn has_its_files(&self) -> bool {
        self.files.as_ref().is_none_or(|files| files.look().is_ok())
    }

    /// Has the writer look whether the files are still there. Nobody waits for that.
    pub(super) fn look(&self) {
        let mut state = self.state();
        state.look = true;
        self.wake(state);
    }

    /// Tells how many calls wait.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.state().tasks.len()
    }

    fn push(&self, task: Box<dyn Task>) -> Result<(), &'static str> {
        let mut state = self.state();
        if state.closed {
            return Err("its writer has ended");
        }
        if state.tasks.len() + state.waiting.len() >= MAX_QUEUE {
            return Err("too many calls wait for its writer");
        }
        state.tasks.push_back(task);
        self.wake(state);
        Ok(())
    }

    /// Has the writer look at what `state` has for it now, if it waits.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            #[cfg(test)]
            self.wakes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.work.notify_one();
        }
    }

    /// Locks the state. No code panics while it holds the lock, so a poisoned one is still
    /// consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, connection: &Connection) {
        let _closed = CloseAtEnd(self);
        let mut last = Outcome::Written;
        let mut attempts = self.patience.as_millis() / TRY_EVERY.as_millis();
        while let Some((batch, is_closed)) = self.next(last) {
            last = self.write(connection, batch);
            if is_closed && last == Outcome::Locked {
                // Nobody else will write them.
                attempts = attempts.saturating_sub(1);
                last = if attempts > 0 { last } else { Outcome::Failed };
            }
        }
    }

    /// Waits for something to do, and says whether the store is closed; none when all is done. What is
    /// settled doesn't count as something for a while after it could not be written.
    fn next(&self, last: Outcome) -> Option<(Batch, bool)> {
        let mut pause = match last {
            Outcome::Written | Outcome::Locked => SETTLE_AFTER,
            Outcome::Failed => RETRY_AFTER,
        };
        let mut state = self.state();
        loop {
            // Whatever woke it.
            state.idle = false;
            let refused = state.go_on();
            let dirty = state.tallies.is_dirty();
            if state.closed && last == Outcome::Locked {
                pause = pause.min(TRY_EVERY);
            }
            let due = dirty && (pause.is_zero() || (state.closed && last == Outcome::Written));
            let look = std::mem::take(&mut state.look);
            if due || look || !state.tasks.is_empty() || !refused.is_empty() {
                // To look alone is no reason to write what is settled.
                let settled = if due || !state.tasks.is_empty() {
                    state.tallies.take_dirty()
                } else {
                    Vec::new()
                };
                let tasks = std::mem::take(&mut state.tasks);
                return Some((Batch { tasks, settled, refused }, state.closed));
            }
            let is_waited_for = !state.waiting.is_empty();
            if state.closed && !is_waited_for && !(dirty && last == Outcome::Locked) {
                return None;
            }
            // Nobody notifies of more that is settled while there is some, so this ends.
            let wait = match (is_waited_for, dirty) {
                (true, true) => Some(TRY_EVERY.min(pause)),
                (true, false) => Some(TRY_EVERY),
                (false, true) => Some(pause),
                (false, false) => None,
            };
            state.idle = true;
            let Some(wait) = wait else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (guard, waited) =
                self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if waited.timed_out() && dirty {
                pause = pause.saturating_sub(wait);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "on the writer's own thread")]
    fn write(&self, connection: &Connection, batch: Batch) -> Outcome {
        let Batch { mut tasks, settled, mut refused } = batch;
        tasks.retain(|task| !task.is_abandoned());
        let are_there = self.files.as_ref().map_or(Ok(()), |files| files.look());
        let written = if tasks.is_empty() && settled.is_empty() {
            Ok(HashSet::new())
        } else {
            are_there
                .and_then(|()| self.transact(connection, &mut tasks, &settled))
                .map_err(Arc::new)
        };
        let outcome = match &written {
            Ok(locked) if locked.is_empty() => Outcome::Written,
            Ok(_) => Outcome::Locked,
            Err(_) => Outcome::Failed,
        };
        // Before anybody is answered, so that who was told of a commit finds it everywhere.
        self.tallies(|tallies| {
            if !settled.is_empty() {
                tallies.committed();
            }
            for &(id, _) in &settled {
                match &written {
                    Ok(locked) if locked.contains(&id) => tallies.written_but_messages(id),
                    Ok(_) => tallies.written(id),
                    Err(_) => tallies.not_written(id),
                }
            }
        });
        let written = written.map(drop);
        if let Err(error) = &written {
            let (calls, settled) = (tasks.len(), settled.len());
            tracing::error!(error = chain(&**error), calls, settled, "session store: not written");
        }
        let (mut waiting, mut done) = (Vec::new(), Vec::with_capacity(tasks.len() + refused.len()));
        let now = Instant::now();
        for mut task in tasks {
            if written.is_err() || task.was_run() {
                task.finish(written.as_ref().copied().map_err(Arc::clone));
                done.push(task);
                continue;
            }
            let until = task.wait_until(now + self.patience);
            if now < until {
                waiting.push((until, task));
            } else {
                refused.push_back(task);
            }
        }
        for mut task in refused {
            task.finish(Err(Arc::new(self.refusal())));
            done.push(task);
        }
        let mut state = self.state();
        state.tallies.unlock_batch();
        state.waiting.append(&mut waiting);
        drop(state);
        for task in done {
            task.answer();
        }
        outcome
    }

    /// Makes one transaction of everything, the settled first. Those of these whose messages are
    /// left out, because somebody else has the session locked; so is a call that needs such a lock.
    fn transact(
        &self,
        connection: &Connection,
        tasks: &mut VecDeque<Box<dyn Task>>,
        settled: &[(SessionId, Pending)],
    ) -> rusqlite::Result<HashSet<SessionId>> {
        let writes = !settled.is_empty() || tasks.iter().any(|task| task.access() != Access::Read);
        let transaction = if writes {
            begin_to_write(connection, self.patience)?
        } else {
            Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?
        };
        let mut counts = Vec::with_capacity(settled.len());
        let mut locked = HashSet::new();
        for (id, pending) in settled {
            if pending.messages == 0 || self.lock(*id) {
                counts.push((*id, runs::settle(&transaction, *id, pending)?));
            } else {
                // The rest needs no lock, and what is called later goes by it.
                let rest = Pending { messages: 0, ..pending.clone() };
                if rest != Pending::default() {
                    runs::settle(&transaction, *id, &rest)?;
                }
                locked.insert(*id);
            }
        }
        for task in tasks {
            // If somebody gave the lock back just now, the messages before it are still left out.
            if let Access::Decide(id) = task.access()
                && (locked.contains(&id) || !self.lock(id))
            {
                continue;
            }
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
        transaction.commit()?;
        Ok(locked)
    }

    /// Tells why somebody could not decide.
    fn refusal(&self) -> rusqlite::Error {
        still_locked(if self.tallies(|tallies| tallies.places().is_waiting()) {
            NO_RUN_CAN_BEGIN
        } else {
            "another process has the session locked"
        })
    }
}

impl State {
    /// Takes those up again that wait no longer, or whose session's lock is to be had. As long as nobody
    /// can decide, returns all that would.
    #[expect(clippy::disallowed_methods, reason = "on the writer's own thread")]
    fn go_on(&mut self) -> VecDeque<Box<dyn Task>> {
        let Self { tasks, waiting, tallies, .. } = self;
        if !waiting.is_empty() {
            let now = Instant::now();
            for (until, task) in std::mem::take(waiting) {
                match task.access() {
                    Access::Decide(id) if now < until && !tallies.is_free(id) => {
                        if !task.is_abandoned() {
                            waiting.push((until, task));
                        }
                    }
                    Access::Read | Access::Write | Access::Decide(_) => tasks.push_back(task),
                }
            }
        }
        if !tallies.places().is_waiting() || tallies.places().is_moving() {
            return VecDeque::new();
        }
        let mut refused = VecDeque::new();
        for task in std::mem::take(tasks) {
            match task.access() {
                Access::Decide(_) => refused.push_back(task),
                Access::Read | Access::Write => tasks.push_back(task),
            }
        }
        refused
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

/// Whatever ends the thread, nobody waits for it afterwards.
struct CloseAtEnd<'a>(&'a Queue);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.ended = true;
        // If it panicked in a batch; else other processes could begin no run of those sessions.
        state.tallies.unlock_batch();
        let left = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.waiting));
        let unwritten = state.tallies.is_dirty();
        drop(state);
        drop(left);
        if unwritten {
            tracing::error!("session store: closed with message counts that were not written");
        }
    }
}
