//! The thread that writes, and the queue before it.
//!
//! Each round takes everything that waits and puts it into one transaction: the cost of a
//! synced commit (a disk's round trip) is shared by all who wait for it. Nobody is answered
//! before the commit.
//!
//! While it has the file's one write lock it waits for nothing, for every process waits for that. A call
//! whose session somebody else has locked is left out of the transaction and waits beside the queue; of
//! what was settled it leaves out the messages, which go with a later one.
//!
//! `call` is what waits in the queue, `rounds` what the thread takes from it and when, and `commit` what
//! it does with that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::files::Files;
use super::places::Places;
use super::runs::Lease;
use super::tally::{Holder, Share, Tallies};
use super::watch::Watch;
use crate::error::Error;
use crate::session::record::SessionId;
use crate::session::store::{RunId, Settlement};

mod call;
mod commit;
mod rounds;

use call::{Call, Task};

/// Calls that may wait. Each belongs to a request in progress (or one that was just dropped),
/// so this is above any sensible limit of those; beyond it, calls fail at once.
const MAX_QUEUE: usize = 16_384;

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
        let call = Call::new(access, context, work, done, reply);
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
}
