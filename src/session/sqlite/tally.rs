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

use jiff::Timestamp;

use super::places::{Places, Seen};
use crate::principal::UserId;
use crate::session::pages::SessionSummary;
use crate::session::record::{MessageCount, SessionId, SessionRecord};
use crate::session::store::{BeginRun, Lease, Settlement, Uncounted, whole_microseconds};

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

/// What a run asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) max: Option<u64>,
    pub(super) uncounted: Uncounted,
}

impl From<&BeginRun> for Room {
    fn from(begin: &BeginRun) -> Self {
        let max = begin.max_messages.map(|max| u64::from(max.get()));
        Self { max, uncounted: begin.uncounted }
    }
}

/// What there is for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The session has as many messages as it may have, those in flight included.
    Full,
    Place,
    /// Nobody knows: the session's messages are to be counted first.
    Uncounted {
        seen: u64,
    },
}

#[derive(Debug, Default)]
struct Tally {
    /// Whose the session is, once a run has begun.
    user_id: Option<UserId>,
    in_flight: u64,
    locked: Option<Holder>,
    /// What other processes had marked when it was locked.
    others: u64,
    /// What this one has marked.
    marked: u64,
    /// Handed to the writer, not known to be committed.
    writing: Option<Pending>,
    /// What the row's count is once `writing` is committed, while it is.
    committing: Option<MessageCount>,
    /// Not yet handed to the writer.
    pending: Option<Pending>,
}

/// What settled runs of one session left to be written, merged.
#[expect(clippy::option_option, reason = "a title taken away is not a title left alone")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) messages: u64,
    pub(super) title: Option<Option<String>>,
    pub(super) touched_at: Option<Timestamp>,
    /// The newest lease to release. An older one is not the session's any more.
    pub(super) lease: Option<Lease>,
    pub(super) discard_unbound: bool,
}

/// What a row read after it was taken must be corrected by.
#[expect(clippy::option_option, reason = "a title taken away is not a title left alone")]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Those that are not in the row.
    messages: u64,
    /// The row's count without them, whatever it says.
    row: Option<MessageCount>,
    title: Option<Option<String>>,
    touched_at: Option<Timestamp>,
    discard_unbound: bool,
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
        if tally.locked.take().is_some() {
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

    /// Tells whether there is a place for a run of a session that is locked, where `row` is the
    /// count that is committed.
    fn room(&self, id: SessionId, row: MessageCount, room: Room) -> Found {
        let writing = self.entries.get(&id).and_then(|tally| tally.writing.as_ref());
        self.room_in_batch(id, row.plus(writing.map_or(0, |writing| writing.messages)), room)
    }

    /// Tells the same where `row` is the count in the writer's transaction, which has what was
    /// handed over.
    pub(super) fn room_in_batch(&self, id: SessionId, row: MessageCount, room: Room) -> Found {
        let idle = Tally::default();
        let tally = self.entries.get(&id).unwrap_or(&idle);
        let pending = tally.pending.as_ref().map_or(0, |pending| pending.messages);
        let messages = match row.plus(pending) {
            MessageCount::Known(messages) => messages,
            MessageCount::AtLeast(seen) => match room.uncounted.at_most(seen) {
                Some(messages) => messages,
                None => return Found::Uncounted { seen },
            },
        };
        let messages = messages.saturating_add(tally.in_flight).saturating_add(tally.others);
        if room.max.is_some_and(|max| messages >= max) { Found::Full } else { Found::Place }
    }

    /// Tells whether a run of a session that is locked is in flight, here or elsewhere, or left
    /// something that is not in the row yet.
    pub(super) fn is_busy(&self, id: SessionId) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|tally| tally.in_flight > 0 || tally.others > 0 || tally.pending.is_some())
    }

    /// Takes a place for a run if there is [room](Self::room).
    pub(super) fn begin(
        &mut self,
        id: SessionId,
        user_id: &UserId,
        row: MessageCount,
        room: Room,
    ) -> Found {
        let found = self.room(id, row, room);
        if found == Found::Place {
            let tally = self.entries.entry(id).or_default();
            tally.in_flight += 1;
            tally.user_id.get_or_insert_with(|| user_id.clone());
            log(self.mark(id));
        }
        found
    }

    /// Ends a run. `true` if there is something to write where there was nothing before.
    pub(super) fn settle(&mut self, id: SessionId, settlement: Settlement) -> bool {
        let pending = Pending::from(settlement);
        let tally = self.entries.entry(id).or_default();
        tally.in_flight = tally.in_flight.saturating_sub(1);
        let is_first = match &mut tally.pending {
            _ if pending == Pending::default() => false,
            Some(earlier) => {
                earlier.add(pending);
                false
            }
            none => {
                *none = Some(pending);
                if let Some(user_id) = &tally.user_id {
                    self.unwritten.insert((user_id.clone(), id));
                }
                self.dirty.push(id);
                self.dirty.len() == 1
            }
        };
        log(self.mark(id));
        self.remove_if_idle(id);
        is_first
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

impl Tally {
    fn is_idle(&self) -> bool {
        self.in_flight == 0
            && self.locked.is_none()
            && self.writing.is_none()
            && self.pending.is_none()
    }

    fn overlay(&self) -> Option<Overlay> {
        let (earlier, later) = match (&self.writing, &self.pending) {
            (Some(earlier), later) => (earlier, later.as_ref()),
            (None, Some(earlier)) => (earlier, None),
            (None, None) => return None,
        };
        let mut all = earlier.clone();
        if let Some(later) = later {
            all.add(later.clone());
        }
        let Pending { mut messages, title, touched_at, lease: _, discard_unbound } = all;
        let row = self.committing;
        if row.is_some() {
            messages = self.pending.as_ref().map_or(0, |pending| pending.messages);
        }
        Some(Overlay { messages, row, title, touched_at, discard_unbound })
    }

    /// Gives what ended runs have left to be written.
    fn settled(&self) -> u64 {
        let unwritten = [&self.writing, &self.pending].into_iter().flatten();
        unwritten.fold(0, |messages, pending| pending.messages.saturating_add(messages))
    }

    /// Gives those that are not in the row.
    fn messages(&self) -> u64 {
        self.settled().saturating_add(self.in_flight)
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

impl Pending {
    fn add(&mut self, later: Self) {
        self.messages = self.messages.saturating_add(later.messages);
        self.title = later.title.or(self.title.take());
        self.touched_at = later.touched_at.max(self.touched_at);
        let newer = |lease: &Option<Lease>| lease.map(Lease::number);
        self.lease = std::cmp::max_by_key(self.lease, later.lease, newer);
        self.discard_unbound |= later.discard_unbound;
    }
}

impl From<Settlement> for Pending {
    fn from(settlement: Settlement) -> Self {
        let Settlement { lease, messages, title, touched_at, discard_unbound } = settlement;
        // As the row will have it, because it may be shown before it is written.
        let touched_at = touched_at.map(whole_microseconds);
        Self { messages, title, touched_at, lease, discard_unbound }
    }
}

impl Overlay {
    pub(super) fn correct(&self, record: &mut SessionRecord) {
        let SessionRecord { message_count, updated_at, title, .. } = record;
        self.apply(message_count, updated_at, title);
    }

    pub(super) fn correct_summary(&self, session: &mut SessionSummary) {
        let SessionSummary { message_count, updated_at, title, .. } = session;
        self.apply(message_count, updated_at, title);
    }

    /// Tells whether the row is on its way out of the file.
    pub(super) fn discards(&self, is_bound: bool) -> bool {
        self.discard_unbound && !is_bound
    }

    fn apply(
        &self,
        message_count: &mut MessageCount,
        updated_at: &mut Timestamp,
        title: &mut Option<String>,
    ) {
        *message_count = self.row.unwrap_or(*message_count).plus(self.messages);
        *updated_at = (*updated_at).max(self.touched_at.unwrap_or(*updated_at));
        if let Some(new) = &self.title {
            title.clone_from(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MessageCount::Known;
    use super::*;

    const NO_LIMIT: Room = Room { max: None, uncounted: Uncounted::Tell };

    fn begin(tallies: &mut Tallies, id: SessionId, row: u64, room: Room) -> Found {
        tallies.begin(id, &UserId::parse("ada").unwrap(), Known(row), room)
    }

    fn of(max: u64) -> Room {
        Room { max: Some(max), ..NO_LIMIT }
    }

    fn messages(messages: u64) -> Settlement {
        Settlement { messages, ..Settlement::default() }
    }

    #[test]
    fn a_message_is_counted_once_from_its_run_to_its_row() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        for found in [Found::Place, Found::Place, Found::Full] {
            assert_eq!(begin(&mut tallies, id, 3, of(5)), found);
        }
        assert!(tallies.settle(id, messages(1)));
        let full = |tallies: &Tallies, row| {
            assert_eq!(tallies.room(id, Known(row), of(5)), Found::Full);
            assert_eq!(tallies.room(id, Known(row), of(6)), Found::Place);
        };
        full(&tallies, 3);
        assert_eq!(tallies.take_dirty().len(), 1);
        full(&tallies, 3);
        tallies.written(id);
        full(&tallies, 4);
        assert!(!tallies.settle(id, messages(0)), "nothing to write");
        assert_eq!(tallies.len(), 0);
    }

    #[test]
    fn who_has_no_lock_finds_the_count_while_it_is_committed() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        assert_eq!(begin(&mut tallies, id, 3, NO_LIMIT), Found::Place);
        tallies.settle(id, messages(2));
        tallies.take_dirty();
        tallies.settle(id, messages(1));
        let shown = |tallies: &Tallies, row| {
            let overlay = tallies.overlay(id).unwrap();
            let (mut count, mut at, mut title) = (Known(row), Timestamp::UNIX_EPOCH, None);
            overlay.apply(&mut count, &mut at, &mut title);
            count
        };
        // Another process has written three messages meanwhile.
        assert_eq!(shown(&tallies, 6), Known(9));
        let before = tallies.commits();
        tallies.committing(&[(id, Some(Known(8)))]);
        assert_eq!([shown(&tallies, 6), shown(&tallies, 8)], [Known(9), Known(9)]);
        tallies.committed();
        tallies.written(id);
        assert_eq!(shown(&tallies, 8), Known(9));
        assert_eq!(tallies.commits() - before, 2);
    }

    #[test]
    fn a_lock_is_one_holders() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        let lock = |tallies: &mut Tallies, holder| tallies.lock(id, holder).unwrap();
        assert!(lock(&mut tallies, Holder::Caller));
        assert!(!lock(&mut tallies, Holder::Caller) && !lock(&mut tallies, Holder::Writer));
        tallies.unlock(id);
        assert!(lock(&mut tallies, Holder::Writer) && lock(&mut tallies, Holder::Writer));
        assert!(!lock(&mut tallies, Holder::Caller));
        assert_eq!(tallies.len(), 1);
        tallies.unlock_batch();
        assert_eq!(tallies.len(), 0);
    }

    #[test]
    fn what_is_unwritten_is_found_by_whose_it_is() {
        let users = ["ada", "adb", "ad"].map(|id| UserId::parse(id).unwrap());
        let mut tallies = Tallies::default();
        let ids = [[0; 16], [255; 16], [7; 16]].map(SessionId::from_bytes);
        for (id, user_id) in ids.into_iter().zip(&users) {
            for _ in 0..2 {
                assert_eq!(tallies.begin(id, user_id, Known(0), NO_LIMIT), Found::Place);
            }
            assert!(tallies.overlays_of(user_id).is_empty());
            tallies.settle(id, messages(0));
            assert!(tallies.overlays_of(user_id).is_empty());
            tallies.settle(id, messages(1));
        }
        let found = |tallies: &Tallies| {
            let of = |user_id| tallies.overlays_of(user_id).into_keys().collect::<Vec<_>>();
            users.each_ref().map(of).concat()
        };
        assert_eq!(found(&tallies), ids);
        tallies.take_dirty();
        assert_eq!(found(&tallies), ids);
        tallies.written(ids[0]);
        tallies.not_written(ids[1]);
        assert_eq!(found(&tallies), ids[1..]);
        tallies.take_dirty();
        ids[1..].iter().for_each(|id| tallies.written(*id));
        assert_eq!((found(&tallies), tallies.unwritten.len()), (Vec::new(), 0));
    }

    #[test]
    fn what_could_not_be_written_is_merged_with_what_came_later() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        for _ in 0..3 {
            assert_eq!(begin(&mut tallies, id, 0, NO_LIMIT), Found::Place);
        }
        let title = |text: &str| Some(Some(text.to_owned()));
        let lease = |number| Some(Lease::new(number));
        tallies.settle(id, Settlement { title: title("a"), lease: lease(2), ..messages(1) });
        tallies.take_dirty();
        tallies.settle(id, Settlement { title: title("b"), lease: lease(1), ..messages(2) });
        let overlay = tallies.overlay(id).unwrap();
        assert_eq!((overlay.messages, overlay.row, overlay.title), (3, None, title("b")));
        tallies.not_written(id);
        assert!(!tallies.settle(id, messages(4)), "the writer has been told already");
        let merged = Pending {
            messages: 7,
            title: title("b"),
            touched_at: None,
            lease: lease(2),
            discard_unbound: false,
        };
        assert_eq!(tallies.take_dirty(), [(id, merged)]);
        tallies.written(id);
        assert_eq!((tallies.len(), tallies.overlay(id)), (0, None));
    }
}
