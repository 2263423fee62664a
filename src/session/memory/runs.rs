//! Runs: begun, bound, settled.

use jiff::Timestamp;

use super::{Lease, MemoryStore, Stored, Tables};
use crate::principal::UserId;
use crate::session::quarantine::{MAX_COUNTED, MAX_OTHERS, Newcomer, QuarantinedThread, Reuse};
use crate::session::record::{MessageCount, SessionId, ThreadId};
use crate::session::store::{
    BeginRun, Bound, OnThread, RunId, RunStart, Runs, SessionKey, Settlement, StoreFuture,
    whole_microseconds,
};

impl Runs for MemoryStore {
    fn begin_run<'a>(
        &'a self,
        session: SessionKey<'a>,
        on: OnThread<'a>,
        user_id: &'a UserId,
        begin: BeginRun,
    ) -> StoreFuture<'a, RunStart> {
        self.later(move |tables| {
            let id = tables.id(session);
            match id.and_then(|id| tables.sessions.get_mut(&id)) {
                Some(session) => session.begin_run(on, user_id, &begin),
                None => RunStart::Unknown,
            }
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
        self.later(move |tables| tables.bind(id, user_id, run, thread_id, now))
    }

    fn thread_named<'a>(
        &'a self,
        id: SessionId,
        user_id: &'a UserId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Reuse>> {
        self.later(move |tables| {
            let reuse = tables.reuse(id, user_id, &thread_id, now)?;
            reuse.quarantined.is_some().then_some(reuse)
        })
    }

    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) -> StoreFuture<'_, ()> {
        let mut tables = self.tables();
        if let Some(session) = tables.sessions.get_mut(&id)
            && session.settle(run, settlement)
        {
            // Unbound, so there is no place to be kept.
            tables.remove(id, Timestamp::MIN);
        }
        drop(tables);
        self.later(|_| ())
    }

    fn set_message_count(
        &self,
        id: SessionId,
        seen: MessageCount,
        messages: u64,
    ) -> StoreFuture<'_, ()> {
        self.later(move |tables| {
            if let Some(session) = tables.sessions.get_mut(&id)
                && session.runs.is_empty()
                && session.record.message_count == seen
            {
                session.record.message_count = MessageCount::Known(messages);
            }
        })
    }
}

impl Tables {
    fn bind(
        &mut self,
        id: SessionId,
        user_id: &UserId,
        run: RunId,
        thread_id: ThreadId,
        now: Timestamp,
    ) -> Bound {
        if let Some(reuse) = self.reuse(id, user_id, &thread_id, now) {
            return Bound::ThreadReused(reuse);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return Bound::LeaseLost };
        if session.lease.take_if(|lease| lease.run == run).is_none() {
            return Bound::LeaseLost;
        }
        session.record.thread_id = Some(ThreadId::clone(&thread_id));
        session.record.touch(now);
        session.bound_at = Some(whole_microseconds(now));
        self.threads.insert(thread_id, id);
        Bound::Done
    }

    /// Tells what it means that the upstream names that thread in a run of session `id`, which is
    /// or was `other`'s; `None` if it is no other session's. That of another user goes into
    /// quarantine.
    fn reuse(
        &mut self,
        id: SessionId,
        other: &UserId,
        thread_id: &ThreadId,
        now: Timestamp,
    ) -> Option<Reuse> {
        let (owner_session, owner) = match self.threads.get(thread_id) {
            Some(owner) if *owner == id => return None,
            Some(owner) => (*owner, self.sessions.get(owner)?.record.user_id.clone()),
            None => {
                let thread = self.quarantine.get(thread_id)?;
                (thread.owner_session, thread.owner.clone())
            }
        };
        if *other == owner && !self.quarantine.contains_key(thread_id) {
            return Some(Reuse { owner_session, owner, other: other.clone(), quarantined: None });
        }
        if let Some(session) = self.sessions.get_mut(&owner_session) {
            session.quarantined = true;
        }
        let thread = self.quarantine.entry(ThreadId::clone(thread_id));
        let thread = thread.or_insert_with(|| {
            let (thread_id, since) = (ThreadId::clone(thread_id), whole_microseconds(now));
            QuarantinedThread::new(thread_id, since, owner_session, owner.clone())
        });
        thread.times += 1;
        let is_known = *other == owner || thread.others.iter().any(|known| known.user_id == *other);
        if !is_known && thread.others.len() < MAX_OTHERS {
            let since = whole_microseconds(now);
            thread.others.push(Newcomer { user_id: other.clone(), session_id: id, since });
        } else if !is_known {
            thread.more_others += 1;
        }
        let quarantined = Some((self.quarantine.len() as u64).min(MAX_COUNTED.into()));
        Some(Reuse { owner_session, owner, other: other.clone(), quarantined })
    }
}

impl Stored {
    fn begin_run(&mut self, on: OnThread<'_>, user_id: &UserId, begin: &BeginRun) -> RunStart {
        if self.record.user_id != *user_id {
            return RunStart::Foreign;
        }
        if self.quarantined {
            return RunStart::Quarantined;
        }
        let session = self.record.id;
        if let Err(refused) = on.check(self.record.thread_id.as_deref()) {
            return refused;
        }
        let has_begun = self.runs.contains(&begin.run);
        let is_held = self.lease.as_ref().is_some_and(|lease| {
            lease.run != begin.run && begin.finds_held(Some(lease.since), lease.until)
        });
        if self.record.thread_id.is_none() && is_held {
            return RunStart::Busy;
        }
        if !has_begun {
            if let Err(refused) = self.check_messages(begin) {
                return refused;
            }
            self.runs.push(begin.run);
        }
        if let Some(thread_id) = &self.record.thread_id {
            return RunStart::Next { session, thread_id: ThreadId::clone(thread_id) };
        }
        self.lease = Some(Lease::new(begin));
        RunStart::First { session, titled: self.record.title.is_some() }
    }

    /// Finds whether there is room for a run's message.
    fn check_messages(&mut self, begin: &BeginRun) -> Result<(), RunStart> {
        if let MessageCount::AtLeast(by) = self.record.message_count
            && self.runs.is_empty()
            && let Some(messages) = begin.uncounted.count(by)
        {
            self.record.message_count = MessageCount::Known(messages);
        }
        let messages = match (self.record.message_count, &self.record.thread_id) {
            (MessageCount::AtLeast(seen), Some(thread_id)) => {
                begin.uncounted.at_most(seen).ok_or_else(|| RunStart::Uncounted {
                    session: self.record.id,
                    thread_id: ThreadId::clone(thread_id),
                    seen,
                })?
            }
            (MessageCount::AtLeast(messages) | MessageCount::Known(messages), _) => messages,
        };
        let messages = messages.saturating_add(self.runs.len() as u64);
        if begin.max_messages.is_some_and(|max| messages >= u64::from(max.get())) {
            return Err(RunStart::MessageLimit);
        }
        Ok(())
    }

    /// Settles a run, if it is in flight, and tells whether the session is to go with it.
    fn settle(&mut self, run: RunId, settlement: Settlement) -> bool {
        let Some(place) = self.runs.iter().position(|other| *other == run) else { return false };
        self.runs.swap_remove(place);
        let Settlement { messages, title, touched_at, discard_unbound } = settlement;
        self.record.message_count = self.record.message_count.plus(messages);
        if let Some(title) = title {
            self.record.title = title;
        }
        if let Some(touched_at) = touched_at {
            self.record.touch(touched_at);
        }
        let had_lease = self.lease.take_if(|lease| lease.run == run).is_some();
        discard_unbound && had_lease
    }
}
