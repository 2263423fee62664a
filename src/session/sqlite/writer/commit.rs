//! One round: everything in one transaction.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::call::Task;
use super::rounds::{Batch, Outcome};
use super::{Access, NO_RUN_CAN_BEGIN, Queue};
use crate::error::chain;
use crate::session::record::SessionId;
use crate::session::sqlite::runs;
use crate::session::sqlite::schema::{begin_to_write, still_locked};
use crate::session::sqlite::tally::Pending;

impl Queue {
    #[expect(clippy::disallowed_methods, reason = "on the writer's own thread")]
    pub(super) fn write(&self, connection: &Connection, batch: Batch) -> Outcome {
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
