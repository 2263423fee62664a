//! What is known of a session beyond its row.
//!
//! A session has an entry while a run is in flight, while something settled is not yet
//! committed, or while somebody has its lock; then it is removed. So the map is as large as what goes
//! on, not as what is stored.
//!
//! A session's messages are those in its row, those here, and those that other processes have marked
//! (see `places`). Its lock is held by whoever decides on a run, from before the row is read, and by the
//! writer, from before it commits the count until it is not here any more: so who decides counts each
//! message once, whatever other processes write. Who only shows a count has no lock. A row that was read
//! while no commit [began or ended](Tallies::commits) lacks what is here, but for what is being
//! committed at that time: then the row's new count is known, for nobody else can write.

use std::collections::{BTreeSet, HashMap};
use std::io;

use super::places::{Places, Seen};
use super::runs::Lease;
use crate::principal::UserId;
use crate::session::record::{MessageCount, SessionId};
use crate::session::store::{RunId, Settlement};

mod left;
mod session;
#[cfg(test)]
mod tests;

pub(super) use left::{Overlay, Pending};
use session::Tally;
pub(super) use session::{Found, Room, Share, Untold};

/// The entries of all sessions that have one.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    entries: HashMap<SessionId, Tally>,
    /// The sessions whose entry has something `pending`, each once.
    dirty: Vec<SessionId>,
    /// The sessions that have an [overlay](Self::overlay), each user's together.
    unwritten: BTreeSet<(UserId, SessionId)>,
    places: Places,
    /// The sessions whose lock the writer has.
    batch: Vec<SessionId>,
    commits: u64,
}

/// Who has a session's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Somebody who begins a run on the spot.
    Caller,
    /// The writer, for what is in its batch. It may take it again and again.
    Writer,
}

/// What is to be written of a run that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// With so many messages.
    pub(super) messages: u64,
    /// Nothing else is.
    pub(super) is_first: bool,
}

impl Tallies {
    pub(super) fn new(places: Places) -> Self {
        Self { places, ..Self::default() }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Takes a session's lock, which keeps its entry; `false` if somebody else has it.
    ///
    /// # Errors
    /// If it can't be told.
    pub(super) fn lock(&mut self, id: SessionId, holder: Holder) -> io::Result<bool> {
        let tally = self.entries.entry(id).or_default();
        if let Some(already) = tally.locked {
            return Ok((already, holder) == (Holder::Writer, Holder::Writer));
        }
        match self.places.lock(id) {
            Ok(Some(others)) => {
                (tally.locked, tally.others) = (Some(holder), others);
                if holder == Holder::Writer {
                    self.batch.push(id);
                }
                Ok(true)
            }
            refused => {
                self.remove_if_idle(id);
                refused.map(|_| false)
            }
        }
    }

    /// Tells whether a session's lock could be had just now. If that can't be told, to try will
    /// tell.
    pub(super) fn is_free(&self, id: SessionId) -> bool {
        let is_locked_here = self.entries.get(&id).is_some_and(|tally| tally.locked.is_some());
        !is_locked_here && self.places.is_free(id).unwrap_or(true)
    }

    pub(super) fn unlock(&mut self, id: SessionId) {
        let Some(tally) = self.entries.get_mut(&id) else { return };
        let (granted, locked) = (tally.granted.take(), tally.locked.take());
        if granted.is_some() {
            // It may have been marked, and not have got its place.
            log(self.mark(id));
        }
        if locked.is_some() {
            log(self.places.unlock(id));
        }
        self.remove_if_idle(id);
    }

    /// Gives all locks back that the writer has.
    pub(super) fn unlock_batch(&mut self) {
        for id in std::mem::take(&mut self.batch) {
            self.unlock(id);
        }
    }

    /// Looks for other processes. The sessions whose messages are to be [marked](Self::mark) now, if
    /// some are; then it is to be [said](Self::all_marked).
    ///
    /// # Errors
    /// If there is no telling.
    pub(super) fn look(&mut self) -> io::Result<Option<Vec<SessionId>>> {
        match self.places.look()? {
            Seen::Same => return Ok(None),
            Seen::Unmarked => {}
            Seen::Company => {
                // As if they had been locked since. Nobody else locks anything yet.
                for (id, _) in self.entries.iter().filter(|(_, tally)| tally.locked.is_some()) {
                    self.places.lock(*id)?;
                }
            }
            Seen::Nobody => {
                self.entries.values_mut().for_each(|tally| tally.marked = 0);
                return Ok(None);
            }
        }
        let unmarked = self.entries.iter().filter(|(_, tally)| tally.marked != tally.messages());
        Ok(Some(unmarked.map(|(id, _)| *id).collect()))
    }

    /// Marks a session's messages, as many as they are.
    pub(super) fn mark(&mut self, id: SessionId) -> io::Result<()> {
        if self.places.marks()
            && let Some(tally) = self.entries.get_mut(&id)
        {
            let messages = tally.messages();
            if messages != tally.marked {
                self.places.mark(id, tally.marked, messages)?;
                tally.marked = messages;
            }
        }
        Ok(())
    }

    /// Goes on with other places, because other processes don't find these any more.
    pub(super) fn move_to(&mut self, places: Places) {
        self.places.move_to(places);
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            if let Some(tally) = self.entries.get_mut(&id) {
                tally.marked = 0;
            }
            log(self.mark(id));
        }
    }

    /// Lets other processes decide.
    pub(super) fn all_marked(&mut self) -> io::Result<()> {
        self.places.all_marked()
    }

    /// Tells whether there is a place for a run of a session that is locked, where `row` is the count
    /// in the writer's transaction, which has what was handed over.
    pub(super) fn room_in_batch(&self, id: SessionId, row: MessageCount, room: Room) -> Found {
        self.entries
            .get(&id)
            .map_or_else(|| Tally::default().room(row, room), |tally| tally.room(row, room))
    }

    /// Tells whether a run of a session that is locked is in flight, here or elsewhere, or left
    /// something that is not in the row yet.
    pub(super) fn is_busy(&self, id: SessionId) -> bool {
        self.entries.get(&id).is_some_and(|tally| {
            !tally.runs.is_empty() || tally.others > 0 || tally.pending.is_some()
        })
    }

    /// Tells whether a run of a session that is locked is in flight here, or is about to be.
    pub(super) fn has(&self, id: SessionId, run: RunId) -> bool {
        self.entries.get(&id).is_some_and(|tally| tally.has(run))
    }

    /// Tells whether others have messages of a session that is locked.
    pub(super) fn has_others(&self, id: SessionId) -> bool {
        self.entries.get(&id).is_some_and(|tally| tally.others > 0)
    }

    /// Tells whether the run that a lease was given to may go on, for all that is known of a session
    /// that is locked. Its process has a message of the session, as long as it is there; but one of an
    /// older version doesn't say which run it is, and without places others are not known.
    pub(super) fn may_go_on(&self, id: SessionId, lease: &Lease) -> bool {
        let Some(run) = lease.run else { return true };
        if !self.places.is_open() {
            return true;
        }
        self.has_others(id) || self.has(id, run)
    }

    /// Learns that a run is given the lease of a session that the writer has locked. It has its place
    /// when that is committed; who decides in the same batch finds it in the row already.
    pub(super) fn grant(&mut self, id: SessionId, run: RunId) {
        self.entries.entry(id).or_default().granted = Some(run);
    }

    /// Takes a place for a run of a session that is locked if there is room, where `row` is the
    /// count that is committed.
    pub(super) fn begin(
        &mut self,
        id: SessionId,
        user_id: &UserId,
        run: RunId,
        row: MessageCount,
        room: Room,
    ) -> Found {
        let tally = self.entries.entry(id).or_default();
        if tally.runs.contains(&run) {
            return Found::Old;
        }
        let writing = tally.writing.as_ref().map_or(0, |writing| writing.messages);
        let found = tally.room(row.plus(writing), room);
        if found == Found::Place {
            tally.add(run, user_id);
            log(self.mark(id));
        } else {
            self.remove_if_idle(id);
        }
        found
    }

    /// Takes a place for a first run, which has the lease of a session that is locked; `false` if it
    /// had a place already.
    pub(super) fn begin_first(&mut self, id: SessionId, user_id: &UserId, run: RunId) -> bool {
        let tally = self.entries.entry(id).or_default();
        tally.leased = Some(run);
        let is_new = !tally.runs.contains(&run);
        if is_new {
            tally.add(run, user_id);
            log(self.mark(id));
        }
        is_new
    }

    /// Gives who asked the writer for a run that has its place a share in it, which is new with it, and
    /// says whether its session was made for it. None if the run is somebody's already.
    pub(super) fn share(
        &mut self,
        id: SessionId,
        run: RunId,
        is_new: bool,
        is_for_it: bool,
    ) -> Option<Share> {
        self.entries.get_mut(&id)?.share(run, is_new, is_for_it)
    }

    /// Learns that somebody was told of a run: from then on it is theirs to settle.
    pub(super) fn told(&mut self, id: SessionId, run: RunId) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.told(run);
        }
    }

    /// Learns that of the run of a share.
    pub(super) fn told_by(&mut self, id: SessionId, share: &Share) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.told_by(share);
        }
    }

    /// Takes a share in a run back. The run is to be settled if there is no other one, and nobody was
    /// told of it.
    pub(super) fn leave(&mut self, id: SessionId, share: Share) -> Option<Untold> {
        self.entries.get_mut(&id)?.leave(share)
    }

    /// Learns that a run has used its lease up.
    pub(super) fn bound(&mut self, id: SessionId, run: RunId) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.leased.take_if(|leased| *leased == run);
        }
    }

    /// Ends a run, if it is in flight. None if it leaves nothing to be written; if it was ended before,
    /// what is still to be written of its session counts as its own.
    pub(super) fn settle(
        &mut self,
        id: SessionId,
        run: RunId,
        settlement: Settlement,
    ) -> Option<Unwritten> {
        let tally = self.entries.get_mut(&id)?;
        let Some(pending) = tally.end(run, settlement) else {
            let messages = tally.settled();
            return tally.is_unwritten().then_some(Unwritten { messages, is_first: false });
        };
        let left = (pending != Pending::default()).then(|| {
            let messages = pending.messages;
            if let Some(earlier) = &mut tally.pending {
                earlier.add(pending);
                return Unwritten { messages, is_first: false };
            }
            tally.pending = Some(pending);
            if let Some(user_id) = &tally.user_id {
                self.unwritten.insert((user_id.clone(), id));
            }
            self.dirty.push(id);
            Unwritten { messages, is_first: self.dirty.len() == 1 }
        });
        log(self.mark(id));
        self.remove_if_idle(id);
        left
    }

    /// Ends a run where nobody is left to write what it leaves.
    pub(super) fn give_up(&mut self, id: SessionId, run: RunId) {
        let Some(tally) = self.entries.get_mut(&id) else { return };
        tally.end(run, Settlement::default());
        log(self.mark(id));
        self.remove_if_idle(id);
    }

    pub(super) fn overlay(&self, id: SessionId) -> Option<Overlay> {
        self.entries.get(&id)?.overlay()
    }

    /// Gives those of a user's sessions that have one. Takes no longer for what others have.
    pub(super) fn overlays_of(&self, user_id: &UserId) -> HashMap<SessionId, Overlay> {
        let first = (user_id.clone(), SessionId::from_bytes([0; 16]));
        self.unwritten
            .range(first..)
            .take_while(|(owner, _)| owner == user_id)
            .filter_map(|(_, id)| Some((*id, self.overlay(*id)?)))
            .collect()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Hands everything pending to the writer, which says [`written`](Self::written) or
    /// [`not_written`](Self::not_written) of each.
    pub(super) fn take_dirty(&mut self) -> Vec<(SessionId, Pending)> {
        let mut taken = Vec::with_capacity(self.dirty.len());
        for id in std::mem::take(&mut self.dirty) {
            let Some(tally) = self.entries.get_mut(&id) else { continue };
            let Some(pending) = tally.pending.take() else { continue };
            tally.writing = Some(pending.clone());
            taken.push((id, pending));
        }
        taken
    }

    /// Tells how often a commit of counts has begun or ended.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// Learns that what was handed over is about to be committed, and these will be the counts of
    /// the rows; none where there is no such session any more.
    pub(super) fn committing(&mut self, counts: &[(SessionId, Option<MessageCount>)]) {
        self.commits += 1;
        for (id, count) in counts {
            if let Some(tally) = self.entries.get_mut(id) {
                tally.committing = *count;
            }
        }
    }

    /// Learns that this has come to an end: each of those is [`written`](Self::written) or not.
    pub(super) fn committed(&mut self) {
        self.commits += 1;
    }

    /// Learns that what was handed over is committed.
    pub(super) fn written(&mut self, id: SessionId) {
        if let Some(tally) = self.entries.get_mut(&id) {
            (tally.writing, tally.committing) = (None, None);
            if let (None, Some(user_id)) = (&tally.pending, &tally.user_id) {
                self.unwritten.remove(&(user_id.clone(), id));
            }
        }
        log(self.mark(id));
        self.remove_if_idle(id);
    }

    /// Learns the same but for its messages, which are to be written with the next batch.
    pub(super) fn written_but_messages(&mut self, id: SessionId) {
        if let Some(writing) = self.entries.get_mut(&id).and_then(|tally| tally.writing.as_mut()) {
            *writing = Pending { messages: writing.messages, ..Pending::default() };
        }
        self.not_written(id);
    }

    /// Learns that what was handed over is to be written with the next batch.
    pub(super) fn not_written(&mut self, id: SessionId) {
        let Some(tally) = self.entries.get_mut(&id) else { return };
        tally.committing = None;
        let Some(mut earlier) = tally.writing.take() else { return };
        match tally.pending.take() {
            Some(later) => earlier.add(later),
            None => self.dirty.push(id),
        }
        tally.pending = Some(earlier);
    }

    fn remove_if_idle(&mut self, id: SessionId) {
        if self.entries.get(&id).is_some_and(Tally::is_idle) {
            self.entries.remove(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert!(self.unwritten.len() <= self.entries.len());
        self.entries.len()
    }
}

/// Logs what failed. A lock of one's own bytes fails only if the kernel has no memory for it, and
/// then there is nobody to tell: the run has begun or is over. The next change of the session's
/// tries again.
fn log(marked: io::Result<()>) {
    if let Err(error) = marked {
        tracing::error!(%error, "session store: could not tell other processes of a run");
    }
}
