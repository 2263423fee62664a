//! What is known of a session beyond its row.
//!
//! A session has an entry while a run is in flight, while something settled is not yet
//! committed, or while a caller that is about to begin a run has it pinned; then it is removed.
//! So the map is as large as what goes on, not as what is stored.
//!
//! Counts are absolute (`written` is what the row says, not an increment on whatever a reader
//! happens to see), because a reader can't tell whether its snapshot of the row is from before
//! or after a commit. A pin keeps the entry while a row is being read, so that the count read
//! can't be taken for current when the entry came and went in between.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::session::pages::SessionSummary;
use crate::session::record::{MessageCount, SessionId, SessionRecord};
use crate::session::store::{BeginRun, Lease, Settlement, Uncounted, whole_microseconds};

/// The entries of all sessions that have one.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    entries: HashMap<SessionId, Tally>,
    /// The sessions whose entry has something `pending`, each once.
    dirty: Vec<SessionId>,
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
    in_flight: u64,
    pins: u64,
    /// The row's message count; none until somebody has read it.
    written: Option<MessageCount>,
    /// Handed to the writer, not known to be committed.
    writing: Option<Pending>,
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
    messages: Option<MessageCount>,
    title: Option<Option<String>>,
    touched_at: Option<Timestamp>,
    discard_unbound: bool,
}

impl Tallies {
    /// Keeps the entry until [`unpin`](Self::unpin).
    pub(super) fn pin(&mut self, id: SessionId) {
        self.entries.entry(id).or_default().pins += 1;
    }

    pub(super) fn unpin(&mut self, id: SessionId) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.pins = tally.pins.saturating_sub(1);
        }
        self.remove_if_idle(id);
    }

    /// Whether there is a place for a run. `row` is the count in the session's row, of the present
    /// transaction or read under a pin.
    pub(super) fn room(&self, id: SessionId, row: MessageCount, room: Room) -> Found {
        let tally = self.entries.get(&id);
        let settled = tally.map_or(row, |tally| tally.settled(row));
        let messages = match settled {
            MessageCount::Known(messages) => messages,
            MessageCount::AtLeast(seen) => match room.uncounted.at_most(seen) {
                Some(messages) => messages,
                None => return Found::Uncounted { seen },
            },
        };
        let messages = messages.saturating_add(tally.map_or(0, |tally| tally.in_flight));
        if room.max.is_some_and(|max| messages >= max) { Found::Full } else { Found::Place }
    }

    /// Whether a run is in flight, or left something that is not in the row yet.
    pub(super) fn is_busy(&self, id: SessionId) -> bool {
        self.entries.get(&id).is_some_and(|tally| tally.in_flight > 0 || tally.pending.is_some())
    }

    /// Takes a place for a run if there is [room](Self::room).
    pub(super) fn begin(&mut self, id: SessionId, row: MessageCount, room: Room) -> Found {
        let found = self.room(id, row, room);
        if found == Found::Place {
            let tally = self.entries.entry(id).or_default();
            tally.written.get_or_insert(row);
            tally.in_flight += 1;
        }
        found
    }

    /// Ends a run. `true` if there is something to write where there was nothing before.
    pub(super) fn settle(&mut self, id: SessionId, settlement: Settlement) -> bool {
        let pending = Pending::from(settlement);
        let tally = self.entries.entry(id).or_default();
        tally.in_flight = tally.in_flight.saturating_sub(1);
        if pending == Pending::default() {
            self.remove_if_idle(id);
            return false;
        }
        match &mut tally.pending {
            Some(earlier) => {
                earlier.add(pending);
                false
            }
            none => {
                *none = Some(pending);
                self.dirty.push(id);
                self.dirty.len() == 1
            }
        }
    }

    pub(super) fn overlay(&self, id: SessionId) -> Option<Overlay> {
        self.entries.get(&id)?.overlay()
    }

    /// Those of all sessions that have one.
    pub(super) fn overlays(&self) -> HashMap<SessionId, Overlay> {
        self.entries.iter().filter_map(|(id, tally)| Some((*id, tally.overlay()?))).collect()
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

    /// What was handed over is committed, and this is the count of the row; none if there is
    /// no such session any more.
    pub(super) fn written(&mut self, id: SessionId, count: Option<MessageCount>) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.writing = None;
            tally.written = count.or(tally.written);
        }
        self.remove_if_idle(id);
    }

    /// What was handed over is to be written with the next batch.
    pub(super) fn not_written(&mut self, id: SessionId) {
        let Some(tally) = self.entries.get_mut(&id) else { return };
        let Some(mut earlier) = tally.writing.take() else { return };
        match tally.pending.take() {
            Some(later) => earlier.add(later),
            None => self.dirty.push(id),
        }
        tally.pending = Some(earlier);
    }

    /// The row's count was replaced, and that is committed.
    pub(super) fn recounted(&mut self, id: SessionId, count: MessageCount) {
        if let Some(tally) = self.entries.get_mut(&id) {
            tally.written = Some(count);
        }
    }

    fn remove_if_idle(&mut self, id: SessionId) {
        if self.entries.get(&id).is_some_and(Tally::is_idle) {
            self.entries.remove(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Tally {
    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.pins == 0 && self.writing.is_none() && self.pending.is_none()
    }

    fn overlay(&self) -> Option<Overlay> {
        let mut all = self.writing.clone().or_else(|| self.pending.clone())?;
        if let (Some(_), Some(pending)) = (&self.writing, &self.pending) {
            all.add(pending.clone());
        }
        let Pending { messages, title, touched_at, lease: _, discard_unbound } = all;
        let messages = self.written.map(|written| written.plus(messages));
        Some(Overlay { messages, title, touched_at, discard_unbound })
    }

    /// The count with what ended runs have left to be written.
    fn settled(&self, row: MessageCount) -> MessageCount {
        let unwritten = [&self.writing, &self.pending];
        let unwritten = unwritten.into_iter().flatten().map(|pending| pending.messages);
        unwritten.fold(self.written.unwrap_or(row), MessageCount::plus)
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

    /// Whether the row is on its way out of the file.
    pub(super) fn discards(&self, is_bound: bool) -> bool {
        self.discard_unbound && !is_bound
    }

    fn apply(
        &self,
        message_count: &mut MessageCount,
        updated_at: &mut Timestamp,
        title: &mut Option<String>,
    ) {
        *message_count = self.messages.unwrap_or(*message_count);
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
            assert_eq!(tallies.begin(id, Known(3), of(5)), found);
        }
        assert!(tallies.settle(id, messages(1)));
        let full = |tallies: &Tallies, row| {
            assert_eq!(tallies.room(id, Known(row), of(5)), Found::Full);
            assert_eq!(tallies.room(id, Known(row), of(6)), Found::Place);
        };
        full(&tallies, 3);
        assert_eq!(tallies.take_dirty().len(), 1);
        // Whether the commit has happened or not, the count a reader brings makes no difference.
        full(&tallies, 3);
        full(&tallies, 4);
        tallies.written(id, Some(Known(4)));
        full(&tallies, 4);
        assert!(!tallies.settle(id, messages(0)), "nothing to write");
        assert_eq!(tallies.len(), 0);
    }

    #[test]
    fn a_pin_shields_a_stale_count() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        tallies.pin(id);
        let stale = Known(0);
        assert_eq!(tallies.begin(id, Known(0), NO_LIMIT), Found::Place);
        tallies.settle(id, messages(2));
        tallies.take_dirty();
        tallies.written(id, Some(Known(2)));
        assert_eq!(tallies.room(id, stale, of(2)), Found::Full);
        tallies.unpin(id);
        assert_eq!(tallies.len(), 0);
    }

    #[test]
    fn what_could_not_be_written_is_merged_with_what_came_later() {
        let (id, mut tallies) = (SessionId::random(), Tallies::default());
        for _ in 0..3 {
            assert_eq!(tallies.begin(id, Known(0), NO_LIMIT), Found::Place);
        }
        let title = |text: &str| Some(Some(text.to_owned()));
        let lease = |number| Some(Lease::new(number));
        tallies.settle(id, Settlement { title: title("a"), lease: lease(2), ..messages(1) });
        tallies.take_dirty();
        tallies.settle(id, Settlement { title: title("b"), lease: lease(1), ..messages(2) });
        let overlay = tallies.overlay(id).unwrap();
        assert_eq!((overlay.messages, overlay.title), (Some(Known(3)), title("b")));
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
        tallies.written(id, None);
        assert_eq!((tallies.len(), tallies.overlay(id)), (0, None));
    }
}
