//! Bytes in, events out: [`LineSplitter`] and [`Fields`] together.

use super::event::{ErrorEvent, Event, EventKind};
use super::fields::Fields;
use super::item::ItemKind;
use crate::sse::{LineSplitter, Sink};

/// What a scanner tells.
pub(crate) trait Listener {
    /// Hears that a `thread.created` is passing and its id is known; its event may not be complete
    /// yet. Told of each such event, once.
    fn thread_created(&mut self, thread_id: &str);

    /// Hears the same of a `thread.updated`.
    fn thread_named(&mut self, thread_id: &str);

    /// Hears that an event is complete.
    fn event(&mut self, event: Event<'_>);

    /// Tells whether output has passed, so that nothing belongs to the preamble any more.
    fn after_output(&self) -> bool {
        true
    }
}

/// An incremental scanner of a run's bytes. It never copies an event.
#[derive(Debug)]
pub(crate) struct Scanner {
    lines: LineSplitter,
    fields: Fields,
    /// The thread that the event is about has been told of.
    announced: bool,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self { lines: LineSplitter::new(), fields: Fields::new(), announced: false }
    }

    /// Feeds the next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8], listener: &mut impl Listener) {
        let Self { lines, fields, announced } = self;
        lines.feed(bytes, &mut ScanSink { fields, announced, listener });
    }

    /// Gives what is known of the event whose data has begun and whose end hasn't come.
    pub(crate) fn unfinished(&self) -> Option<(Option<EventKind>, Option<ItemKind>)> {
        self.lines.is_within_event().then_some((self.fields.kind, self.fields.item_kind))
    }
}

struct ScanSink<'a, L> {
    fields: &'a mut Fields,
    announced: &'a mut bool,
    listener: &'a mut L,
}

impl<L: Listener> Sink for ScanSink<'_, L> {
    fn data(&mut self, bytes: &[u8]) -> bool {
        let more = self.fields.feed(bytes);
        if !*self.announced
            && let Some(kind @ (EventKind::ThreadCreated | EventKind::ThreadUpdated)) =
                self.fields.kind
            && let Some(id) = &self.fields.thread_id
        {
            *self.announced = true;
            if kind == EventKind::ThreadCreated {
                self.listener.thread_created(id);
            } else {
                self.listener.thread_named(id);
            }
        }
        more
    }

    fn dispatch(&mut self) {
        let fields = &*self.fields;
        let kind = fields.kind.unwrap_or(EventKind::Aside);
        let error = (kind == EventKind::Error).then(|| ErrorEvent {
            code: fields.code.as_deref().unwrap_or("stream.error"),
            message: fields.message.as_deref(),
            allow_retry: fields.allow_retry.unwrap_or(false),
        });
        // What else was seen before the kind was known belongs to no event.
        let (item_kind, id, title) = match kind {
            EventKind::ItemDone => (fields.item(), fields.item_id.as_deref(), None),
            EventKind::ItemAdded | EventKind::ItemReplaced => (fields.item(), None, None),
            EventKind::ThreadCreated | EventKind::ThreadUpdated => {
                (None, fields.thread_id.as_deref(), fields.title.as_deref())
            }
            EventKind::Aside
            | EventKind::Error
            | EventKind::ItemRemoved
            | EventKind::Other
            | EventKind::StreamOptions => (None, None, None),
        };
        let says_nothing = fields.says_nothing();
        self.listener.event(Event { kind, item_kind, id, title, error, says_nothing });
        self.fields.after_output = self.listener.after_output();
        self.fields.reset();
        *self.announced = false;
    }
}
