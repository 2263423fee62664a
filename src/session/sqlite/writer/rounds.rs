//! What the writer's thread does next, and for how long it waits.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::call::Task;
use super::{Access, Queue, State};
use crate::session::record::SessionId;
use crate::session::sqlite::tally::Pending;

/// How long the writer leaves settled runs alone after it could not write them.
const RETRY_AFTER: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// How long settled runs are collected before they are written: nobody waits for them, reads
/// have them already, and a commit for each would cost more than the run.
const SETTLE_AFTER: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 200 });

/// How long it takes until it is looked again whether a session's lock is free.
const TRY_EVERY: Duration = Duration::from_millis(1);

/// What the writer has to do.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) tasks: VecDeque<Box<dyn Task>>,
    pub(super) settled: Vec<(SessionId, Pending)>,
    /// Those that nobody can run now.
    pub(super) refused: VecDeque<Box<dyn Task>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// But for the messages of sessions that somebody else has locked.
    Locked,
    Failed,
}

impl Queue {
    /// Does what there is to do until the store is closed and all of it is done.
    pub(super) fn serve(&self, connection: &Connection) {
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
