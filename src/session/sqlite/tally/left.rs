//! What runs that ended have left to be written, and how a row is corrected by it.

use jiff::Timestamp;

use crate::session::pages::SessionSummary;
use crate::session::record::{MessageCount, SessionRecord};
use crate::session::store::{RunId, Settlement, whole_microseconds};

/// What settled runs of one session left to be written, merged.
#[expect(clippy::option_option, reason = "a title taken away is not a title left alone")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::sqlite) struct Pending {
    pub(in crate::session::sqlite) messages: u64,
    pub(in crate::session::sqlite) title: Option<Option<String>>,
    pub(in crate::session::sqlite) touched_at: Option<Timestamp>,
    /// The run whose lease is to be given back: the last one that had it here. If another one has taken
    /// it over by the time that this is written, it stays that one's.
    pub(in crate::session::sqlite) lease: Option<RunId>,
    /// The run that the session goes with, if it is unbound and the lease in its row is still that run's:
    /// another process may have taken it over, and settled its own run since.
    pub(in crate::session::sqlite) discard: Option<RunId>,
}

/// What a row read after it was taken must be corrected by.
#[expect(clippy::option_option, reason = "a title taken away is not a title left alone")]
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session::sqlite) struct Overlay {
    /// Those that are not in the row.
    pub(super) messages: u64,
    /// The row's count without them, whatever it says.
    pub(super) row: Option<MessageCount>,
    pub(super) title: Option<Option<String>>,
    touched_at: Option<Timestamp>,
    /// The run that the row goes with, if it has the lease in it.
    pub(in crate::session::sqlite) discard: Option<RunId>,
}

impl Pending {
    /// Makes what a settled run leaves, with its lease if it had one.
    pub(super) fn new(settlement: Settlement, lease: Option<RunId>) -> Self {
        let Settlement { messages, title, touched_at, discard_unbound } = settlement;
        // As the row will have it, because it may be shown before it is written.
        let touched_at = touched_at.map(whole_microseconds);
        // Who lost the lease here leaves the session to whoever has it. It may be lost elsewhere, too.
        let discard = lease.filter(|_| discard_unbound);
        Self { messages, title, touched_at, lease, discard }
    }

    pub(super) fn add(&mut self, later: Self) {
        self.messages = self.messages.saturating_add(later.messages);
        self.title = later.title.or(self.title.take());
        self.touched_at = later.touched_at.max(self.touched_at);
        self.lease = later.lease.or(self.lease);
        // Not that of `lease` if another run took the lease over before this is written.
        self.discard = later.discard.or(self.discard);
    }
}

impl Overlay {
    /// Makes what corrects a row by what is left, of which so many messages are not in it.
    pub(super) fn new(left: Pending, row: Option<MessageCount>, messages: u64) -> Self {
        let Pending { messages: _, title, touched_at, lease: _, discard } = left;
        Self { messages, row, title, touched_at, discard }
    }

    pub(in crate::session::sqlite) fn correct(&self, record: &mut SessionRecord) {
        let SessionRecord { message_count, updated_at, title, .. } = record;
        self.apply(message_count, updated_at, title);
    }

    pub(in crate::session::sqlite) fn correct_summary(&self, session: &mut SessionSummary) {
        let SessionSummary { message_count, updated_at, title, .. } = session;
        self.apply(message_count, updated_at, title);
    }

    pub(super) fn apply(
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
