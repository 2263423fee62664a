//! What is known of one session.

use std::sync::Arc;

use super::Holder;
use super::left::{Overlay, Pending};
use crate::principal::UserId;
use crate::session::record::MessageCount;
use crate::session::store::{BeginRun, RunId, Settlement, Uncounted};

/// What a run asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::session::sqlite) struct Room {
    pub(in crate::session::sqlite) max: Option<u64>,
    pub(in crate::session::sqlite) uncounted: Uncounted,
}

impl From<&BeginRun> for Room {
    fn from(begin: &BeginRun) -> Self {
        let max = begin.max_messages.map(|max| u64::from(max.get()));
        Self { max, uncounted: begin.uncounted }
    }
}

/// What there is for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session::sqlite) enum Found {
    /// The session has as many messages as it may have, those in flight included.
    Full,
    /// A place, which the run had already.
    Old,
    /// A place.
    Place,
    /// Nobody knows: the session's messages are to be counted first.
    Uncounted { seen: u64 },
}

/// What each of those has whom the writer is to tell of one run.
#[derive(Clone, Debug)]
pub(in crate::session::sqlite) struct Share(Arc<()>);

/// A run in flight of which nobody was told yet.
#[derive(Debug)]
pub(in crate::session::sqlite) struct Untold {
    pub(in crate::session::sqlite) run: RunId,
    /// Its session was made for it.
    pub(in crate::session::sqlite) discard_unbound: bool,
    share: Share,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Whose the session is, once a run has begun.
    pub(super) user_id: Option<UserId>,
    /// Those in flight.
    pub(super) runs: Vec<RunId>,
    /// Those of them that end when the last one goes who asked for them.
    untold: Vec<Untold>,
    /// The one of them that was given the session's lease, until it has bound the session.
    pub(super) leased: Option<RunId>,
    /// The one that was given the lease in the writer's batch, and may not have its place yet.
    pub(super) granted: Option<RunId>,
    pub(super) locked: Option<Holder>,
    /// What other processes had marked when it was locked.
    pub(super) others: u64,
    /// What this one has marked.
    pub(super) marked: u64,
    /// Handed to the writer, not known to be committed.
    pub(super) writing: Option<Pending>,
    /// What the row's count is once `writing` is committed, while it is.
    pub(super) committing: Option<MessageCount>,
    /// Not yet handed to the writer.
    pub(super) pending: Option<Pending>,
}

impl Tally {
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.locked.is_none() && !self.is_unwritten()
    }

    /// Tells whether ended runs have left something to be written.
    pub(super) fn is_unwritten(&self) -> bool {
        self.writing.is_some() || self.pending.is_some()
    }

    /// Tells whether there is a place for a run, where `row` is the count with what was handed to
    /// the writer.
    pub(super) fn room(&self, row: MessageCount, room: Room) -> Found {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.messages);
        let messages = match row.plus(pending) {
            MessageCount::Known(messages) => messages,
            MessageCount::AtLeast(seen) => match room.uncounted.at_most(seen) {
                Some(messages) => messages,
                None => return Found::Uncounted { seen },
            },
        };
        let messages = messages.saturating_add(self.in_flight()).saturating_add(self.others);
        if room.max.is_some_and(|max| messages >= max) { Found::Full } else { Found::Place }
    }

    /// Tells whether a run has a place, or is given the lease and gets one.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.granted == Some(run) || self.runs.contains(&run)
    }

    /// Gives a run a place.
    pub(super) fn add(&mut self, run: RunId, user_id: &UserId) {
        self.runs.push(run);
        self.user_id.get_or_insert_with(|| user_id.clone());
    }

    /// Takes a run's place from it, and gives what it leaves to be written; none if it has no place.
    pub(super) fn end(&mut self, run: RunId, settlement: Settlement) -> Option<Pending> {
        let place = self.runs.iter().position(|other| *other == run)?;
        self.runs.swap_remove(place);
        self.told(run);
        let lease = self.leased.take_if(|leased| *leased == run);
        Some(Pending::new(settlement, lease))
    }

    /// Gives who asked the writer for a run that has its place a share in it. None if somebody was told
    /// of it: then it is theirs.
    pub(super) fn share(&mut self, run: RunId, is_new: bool, is_for_it: bool) -> Option<Share> {
        if is_new {
            let share = Share(Arc::new(()));
            let untold = Untold { run, discard_unbound: is_for_it, share: share.clone() };
            self.untold.push(untold);
            return Some(share);
        }
        let untold = self.untold.iter().find(|untold| untold.run == run)?;
        Some(untold.share.clone())
    }

    /// Learns that somebody was told of a run.
    pub(super) fn told(&mut self, run: RunId) {
        self.untold.retain(|untold| untold.run != run);
    }

    /// Learns that of the run of that share.
    pub(super) fn told_by(&mut self, share: &Share) {
        self.untold.retain(|untold| !untold.is_of(share));
    }

    /// Takes a share back, and gives the run if it was the last one and nobody was told of it.
    pub(super) fn leave(&mut self, share: Share) -> Option<Untold> {
        let place = self.untold.iter().position(|untold| untold.is_of(&share))?;
        drop(share);
        let is_last = |untold: &Untold| Arc::strong_count(&untold.share.0) == 1;
        self.untold.get(place).is_some_and(is_last).then(|| self.untold.swap_remove(place))
    }

    pub(super) fn overlay(&self) -> Option<Overlay> {
        let (earlier, later) = match (&self.writing, &self.pending) {
            (Some(earlier), later) => (earlier, later.as_ref()),
            (None, Some(earlier)) => (earlier, None),
            (None, None) => return None,
        };
        let mut all = earlier.clone();
        if let Some(later) = later {
            all.add(later.clone());
        }
        let row = self.committing;
        let messages = match row {
            Some(_) => self.pending.as_ref().map_or(0, |pending| pending.messages),
            None => all.messages,
        };
        Some(Overlay::new(all, row, messages))
    }

    /// Gives the messages that ended runs have left to be written.
    pub(super) fn settled(&self) -> u64 {
        let unwritten = [&self.writing, &self.pending].into_iter().flatten();
        unwritten.fold(0, |messages, pending| pending.messages.saturating_add(messages))
    }

    /// Gives those that are not in the row, for others: that of the run which is being given the lease
    /// is one of them, for the lease may be in the row before its place is here.
    pub(super) fn messages(&self) -> u64 {
        let granted = self.granted.is_some_and(|granted| !self.runs.contains(&granted));
        self.settled().saturating_add(self.in_flight()).saturating_add(granted.into())
    }

    fn in_flight(&self) -> u64 {
        self.runs.len() as u64
    }
}

impl Untold {
    /// Tells whether it is the run of that share; not one that began since, of the same id.
    fn is_of(&self, share: &Share) -> bool {
        Arc::ptr_eq(&self.share.0, &share.0)
    }
}
