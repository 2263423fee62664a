//! A run read to its end, for an answer in JSON.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;

use bytes::Bytes;
use http_body::Body;
use serde_json::value::RawValue;

use super::event::EventKind;
use super::failure::{RunFailure, RunFailureCause};
use super::fields::Fields;
use super::hold::{AFTER_ERROR, HoldDeadline, Silence};
use super::item::ItemKind;
use super::object::{Object, text};
use super::watch::{RunObserver, Watch};
use crate::error::BoxError;
use crate::rejection::Rejection;
use crate::sse::{LineSplitter, Sink};

/// What a run left behind.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Transcript {
    /// Every finished item as the upstream sent it, in order; hidden ones left out, replaced
    /// ones replaced, removed ones removed.
    pub items: Vec<Box<RawValue>>,
    /// The id of the thread that the run created.
    pub thread_id: Option<String>,
    /// Whether the client was told something that is no item (`client_effect`, `notice`,
    /// `progress_update`).
    pub has_effects: bool,
}

/// A finished item.
struct FinishedItem {
    /// Empty if it has none that can be read.
    id: String,
    kind: Option<ItemKind>,
    json: Box<RawValue>,
}

/// What there was of items that the finished ones don't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    #[default]
    Nothing,
    /// Of one nothing says what it is.
    Kind,
    /// One could not be read.
    Item,
}

/// Finished items in their order, and where those of an id are. Any number of events may be about
/// any number of items: none of them is searched for.
#[derive(Default)]
struct FinishedItems {
    /// None where one was removed.
    in_order: Vec<Option<Box<RawValue>>>,
    /// Never empty.
    places: HashMap<String, Vec<usize>>,
}

impl FinishedItems {
    fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    fn push(&mut self, item: FinishedItem) {
        self.places.entry(item.id).or_default().push(self.in_order.len());
        self.in_order.push(Some(item.json));
    }

    /// Puts an item in the place of the last one of its id.
    fn replace(&mut self, item: FinishedItem) {
        let last = self.places.get(&item.id).filter(|_| !item.id.is_empty());
        let place = last.and_then(|places| places.last());
        match place.and_then(|place| self.in_order.get_mut(*place)) {
            Some(place) => *place = Some(item.json),
            None => self.push(item),
        }
    }

    /// Removes the last one of that id.
    fn remove(&mut self, id: &str) {
        let Some(places) = self.places.get_mut(id) else { return };
        if let Some(item) = places.pop().and_then(|place| self.in_order.get_mut(place)) {
            *item = None;
        }
        if places.is_empty() {
            self.places.remove(id);
        }
    }
}

/// What was begun and isn't finished, in its order and by its id.
#[derive(Default)]
struct UnfinishedItems {
    in_order: BTreeMap<u64, String>,
    places: HashMap<String, VecDeque<u64>>,
    next: u64,
}

impl UnfinishedItems {
    fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    fn push(&mut self, id: String) {
        self.places.entry(id.clone()).or_default().push_back(self.next);
        self.in_order.insert(self.next, id);
        self.next += 1;
    }

    /// Tells whether the message with this id had been begun.
    fn finish(&mut self, id: &str) -> bool {
        let Some(places) = self.places.remove(id) else { return false };
        for place in places {
            self.in_order.remove(&place);
        }
        true
    }

    fn finish_first(&mut self) {
        let Some((_, id)) = self.in_order.pop_first() else { return };
        if let Some(places) = self.places.get_mut(&id) {
            places.pop_front();
            if places.is_empty() {
                self.places.remove(&id);
            }
        }
    }
}

#[derive(Default)]
struct Collecting {
    event: Vec<u8>,
    items: FinishedItems,
    /// The ids of the assistant's messages that were begun.
    begun: UnfinishedItems,
    /// The item that the last delta was for, as it was written.
    updated: String,
    lack: Lack,
    /// Something was finished that a client sees, and that isn't what was sent in.
    has_answer: bool,
    has_effects: bool,
}

impl Sink for Collecting {
    fn data(&mut self, bytes: &[u8]) -> bool {
        self.event.extend_from_slice(bytes);
        true
    }

    fn dispatch(&mut self) {
        let mut event = std::mem::take(&mut self.event);
        // A stream of events is decoded so, whatever is in it.
        self.read(&String::from_utf8_lossy(&event));
        event.clear();
        self.event = event;
    }
}

impl Collecting {
    fn read(&mut self, data: &str) {
        let Some(event) = Object::read(data) else {
            // What isn't JSON is nothing that this version knows, unless it says that it is.
            if is_about_an_item(data) {
                self.lack = Lack::Item;
            }
            return;
        };
        match event.get("type").and_then(text).as_deref() {
            Some("thread.item.added") => {
                if let Some(item) = event.object("item")
                    && item.item_kind() == Some(ItemKind::AssistantMessage)
                {
                    let id = item.id().unwrap_or_default();
                    // What was finished already isn't begun again.
                    if id.is_empty() || !self.items.has(&id) {
                        self.begun.push(id);
                    }
                }
            }
            Some("thread.item.updated") => self.update(&event),
            Some("thread.item.done") => {
                if let Some(item) = self.item(&event) {
                    self.has_answer |= item.kind.is_some_and(|kind| {
                        !matches!(kind, ItemKind::Unseen | ItemKind::UserMessage)
                    });
                    // Some servers give a message another id when it is done.
                    if item.kind == Some(ItemKind::AssistantMessage) && !self.begun.finish(&item.id)
                    {
                        self.begun.finish_first();
                    }
                    self.items.push(item);
                }
            }
            Some("thread.item.replaced") => {
                if let Some(item) = self.item(&event) {
                    // An answered form, or a completed tool call, was sent in.
                    self.has_answer |=
                        matches!(item.kind, Some(ItemKind::AssistantMessage | ItemKind::Other));
                    self.begun.finish(&item.id);
                    self.items.replace(item);
                } else if let Some(id) = event.object("item").and_then(|hidden| hidden.id()) {
                    self.items.remove(&id);
                }
            }
            Some("thread.item.removed") => {
                let Some(id) = event.text("item_id") else { return };
                self.begun.finish(&id);
                self.items.remove(&id);
            }
            Some("client_effect" | "notice" | "progress_update") => self.has_effects = true,
            Some(_) | None => {}
        }
    }

    /// Takes a part of a message: one that nobody announced begins it all the same.
    fn update(&mut self, event: &Object<'_>) {
        let Some(written) = event.get("item_id").map(RawValue::get) else { return };
        // Of all the deltas of a message only the first one is looked into.
        if self.updated == written {
            return;
        }
        written.clone_into(&mut self.updated);
        let Some(id) = event.text("item_id") else { return };
        let is_known = self.begun.has(&id) || self.items.has(&id);
        let is_message = || {
            let update = event.object("update")?.text("type")?;
            Some(update.starts_with("assistant_message."))
        };
        if !is_known && is_message() == Some(true) {
            self.begun.push(id);
        }
    }

    /// Gives the event's item, unless that is hidden.
    fn item(&mut self, event: &Object<'_>) -> Option<FinishedItem> {
        let Some((json, item)) = event.get("item").and_then(|json| Some((json, Object::of(json)?)))
        else {
            self.lack = Lack::Item;
            return None;
        };
        let id = item.id().unwrap_or_default();
        if item.is_hidden() {
            self.begun.finish(&id);
            return None;
        }
        let kind = item.item_kind();
        if kind.is_none() {
            self.lack = self.lack.max(Lack::Kind);
        }
        Some(FinishedItem { id, kind, json: json.to_owned() })
    }

    /// Tells whether there was something that the items don't tell.
    fn is_lacking(&self) -> bool {
        let is_lacking = match self.lack {
            Lack::Nothing => false,
            Lack::Kind => !self.has_answer,
            Lack::Item => true,
        };
        is_lacking || !self.begun.is_empty()
    }
}

/// Tells whether data that is no JSON calls itself an event with a finished item.
fn is_about_an_item(data: &str) -> bool {
    let mut fields = Fields::new();
    fields.feed(data.as_bytes());
    matches!(fields.kind, Some(EventKind::ItemDone | EventKind::ItemReplaced))
}

/// Reads a run to its end. After an `error` event before any output that is at most a quarter of a
/// second away, unless output follows.
///
/// # Errors
/// [`RunFailure`] if it was cut, ended without any output that an answer can show or tell of, had an
/// `error` event, is longer than `max_bytes`, or has an item that can't be read: one that is no
/// object at all, since what is odd inside of one is kept, one of which nothing says what it is, if
/// there is nothing else, or a message of the assistant's that was begun and never finished. One `error` event is enough, whatever comes after it: an answer
/// in one piece has no place for it, and would pass for a whole one.
pub async fn collect<B, O>(watch: Watch<B, O>, max_bytes: usize) -> Result<Transcript, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    collect_run(Box::pin(watch), max_bytes, Silence::Fails, |_| Ok(())).await
}

/// Does as [`collect`] does, where a run may be silent and `make_room` is asked for so many bytes
/// before they are read into.
pub(crate) async fn collect_run<B, O>(
    mut watch: Pin<Box<Watch<B, O>>>,
    max_bytes: usize,
    silence: Silence,
    mut make_room: impl FnMut(usize) -> Result<(), Rejection>,
) -> Result<Transcript, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    let mut lines = LineSplitter::new();
    let mut collecting = Collecting::default();
    let mut bytes = 0_usize;
    let mut deadline = HoldDeadline::default();
    let failed = loop {
        let Some(next) = deadline.next_frame(watch.as_mut()).await else { break None };
        match next {
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                bytes += data.len();
                if bytes > max_bytes {
                    break Some(RunFailureCause::TooLarge);
                }
                if let Err(rejection) = make_room(bytes) {
                    break Some(RunFailureCause::Crowded(rejection));
                }
                lines.feed(data, &mut collecting);
                let progress = watch.as_mut().progress();
                if progress.output {
                    deadline = HoldDeadline::default();
                } else if progress.refused {
                    deadline.shorten(AFTER_ERROR);
                }
            }
            Some(Err(error)) => break Some(RunFailureCause::Broken(error)),
            None => break None,
        }
    };
    let progress = watch.as_mut().progress();
    let answered = match silence {
        Silence::Fails => progress.output && (collecting.has_answer || collecting.has_effects),
        Silence::Passes => progress.output || progress.prepared,
    };
    let cause = match (failed, progress.error.clone()) {
        // What becomes of the stream of a run that was refused is no news.
        (Some(RunFailureCause::Broken(_)), Some(error)) if !progress.output => {
            Some(RunFailureCause::ErrorEvent(error))
        }
        (Some(cause), _) => Some(cause),
        (None, Some(error)) => Some(RunFailureCause::ErrorEvent(error)),
        (None, None) if collecting.is_lacking() => Some(RunFailureCause::Unreadable),
        (None, None) if !answered => Some(RunFailureCause::Ended),
        (None, None) => None,
    };
    let preamble = std::mem::take(&mut progress.preamble);
    match cause {
        Some(cause) => Err(RunFailure { cause, preamble, events: progress.events }),
        None => Ok(Transcript {
            items: collecting.items.in_order.into_iter().flatten().collect(),
            thread_id: preamble.thread_id,
            has_effects: collecting.has_effects,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: &str, id: &str, n: usize) -> String {
        match kind {
            "removed" => format!(r#"{{"type":"thread.item.removed","item_id":"{id}"}}"#),
            "added" | "done" | "replaced" => format!(
                r#"{{"type":"thread.item.{kind}","item":{{"id":"{id}","type":"assistant_message","n":{n}}}}}"#
            ),
            _ => panic!("{kind}"),
        }
    }

    /// The same, where everything is searched for.
    #[derive(Default)]
    struct Searching {
        items: Vec<(String, usize)>,
        begun: Vec<String>,
    }

    impl Searching {
        fn read(&mut self, kind: &str, id: &str, n: usize) {
            let begun = self.begun.len();
            if kind != "added" {
                self.begun.retain(|known| known != id);
            }
            let last = self.items.iter().rposition(|(known, _)| known == id);
            match (kind, last) {
                ("added", Some(_)) if !id.is_empty() => {}
                ("added", _) => self.begun.push(id.to_owned()),
                ("replaced", Some(last)) if !id.is_empty() => self.items[last].1 = n,
                ("removed", Some(last)) => drop(self.items.remove(last)),
                ("removed", None) => {}
                ("done", _) if begun == self.begun.len() && begun > 0 => {
                    self.begun.remove(0);
                    self.items.push((id.to_owned(), n));
                }
                _ => self.items.push((id.to_owned(), n)),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_would_be_searched_for(
            events in proptest::collection::vec(
                (prop_oneof![Just("added"), Just("done"), Just("replaced"), Just("removed")],
                 prop_oneof![Just(""), Just("a"), Just("b"), Just("c")]),
                0..40,
            )
        ) {
            let (mut collecting, mut searching) = (Collecting::default(), Searching::default());
            for (n, (kind, id)) in events.into_iter().enumerate() {
                collecting.read(&event(kind, id, n));
                searching.read(kind, id, n);
                let begun: Vec<_> = collecting.begun.in_order.values().cloned().collect();
                prop_assert_eq!(&begun, &searching.begun);
                let places: usize = collecting.begun.places.values().map(VecDeque::len).sum();
                prop_assert_eq!(places, begun.len());
            }
            let items: Vec<_> = collecting.items.in_order.iter().flatten().map(|i| i.get()).collect();
            let expected = searching.items.iter().map(|(id, n)| {
                format!(r#"{{"id":"{id}","type":"assistant_message","n":{n}}}"#)
            });
            prop_assert_eq!(items, expected.collect::<Vec<_>>());
        }
    }

    // With a search for each event this would be forty thousand million steps.
    #[test]
    fn any_number_of_items_is_replaced_and_removed() {
        const ITEMS: usize = 200_000;
        let mut collecting = Collecting::default();
        for kind in ["added", "done", "replaced", "removed"] {
            for n in 0..ITEMS {
                collecting.read(&event(kind, &n.to_string(), n));
            }
            let items = collecting.items.in_order.iter().flatten().count();
            assert_eq!(items, if ["done", "replaced"].contains(&kind) { ITEMS } else { 0 });
        }
        assert!(collecting.begun.is_empty() && collecting.items.places.is_empty());
    }
}
