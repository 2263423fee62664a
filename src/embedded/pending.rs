//! Messages that are being written, and what becomes of them when the client leaves.

use std::collections::HashMap;

use super::event::{Event, Update};
use super::id::new_id;
use super::item::{AssistantMessage, Content, Item, OutputText, SdkHiddenContext};
use super::rows;
use super::store::Store;
use super::timestamp::NaiveTimestamp;

/// Stores what was said so far if it is dropped before [`end`](Self::end).
///
/// As the SDK does over a store in memory: assistant messages that are not blank, and a hidden
/// item that tells the model that it was interrupted.
#[derive(Debug)]
pub(super) struct PendingMessage {
    store: Store,
    thread_id: String,
    /// None where one is finished.
    messages: Vec<Option<Item>>,
    /// Where those are that aren't. A delta's message is not searched for among any number of them.
    places: HashMap<String, usize>,
    ended: bool,
}

impl PendingMessage {
    pub(super) fn new(store: Store, thread_id: String) -> Self {
        Self { store, thread_id, messages: Vec::new(), places: HashMap::new(), ended: false }
    }

    pub(super) fn thread_id(&self) -> &str {
        &self.thread_id
    }

    /// Notes that the run is over, one way or another.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Notes an event before it is sent.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::ItemAdded { item } => {
                if matches!(item.content, Content::AssistantMessage(_)) {
                    self.forget(&item.id);
                    self.places.insert(item.id.clone(), self.messages.len());
                    self.messages.push(Some(item.clone()));
                }
            }
            Event::ItemDone { item } | Event::ItemReplaced { item } => self.forget(&item.id),
            Event::ItemRemoved { item_id } => self.forget(item_id),
            Event::ItemUpdated { item_id, update } => {
                let place = self.places.get(item_id).copied();
                let message = place.and_then(|place| self.messages.get_mut(place)?.as_mut());
                if let Some(Content::AssistantMessage(message)) =
                    message.map(|item| &mut item.content)
                {
                    apply(message, update);
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self, id: &str) {
        let place = self.places.remove(id);
        if let Some(message) = place.and_then(|place| self.messages.get_mut(place)) {
            *message = None;
        }
        if self.places.is_empty() {
            self.messages.clear();
        }
    }
}

fn apply(message: &mut AssistantMessage, update: &Update) {
    let (Update::AnnotationAdded { content_index, .. }
    | Update::PartAdded { content_index, .. }
    | Update::PartDone { content_index, .. }
    | Update::TextDelta { content_index, .. }) = update
    else {
        return;
    };
    // A part is begun by the one before it; a responder that skips some is not followed.
    if *content_index == message.content.len() {
        message.content.push(OutputText::default());
    }
    let Some(part) = message.content.get_mut(*content_index) else { return };
    match update {
        Update::AnnotationAdded { annotation_index, annotation, .. } => {
            let place = (*annotation_index).min(part.annotations.len());
            part.annotations.insert(place, annotation.clone());
        }
        Update::PartAdded { content, .. } | Update::PartDone { content, .. } => {
            *part = content.clone();
        }
        Update::TextDelta { delta, .. } => part.text.push_str(delta),
        _ => {}
    }
}

impl Drop for PendingMessage {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let messages = std::mem::take(&mut self.messages);
        let mut items: Vec<Item> = messages.into_iter().flatten().collect();
        items.retain(|item| match &item.content {
            Content::AssistantMessage(message) => {
                message.content.iter().any(|part| !part.text.trim().is_empty())
            }
            _ => false,
        });
        items.push(Item {
            id: new_id("shcx"),
            thread_id: std::mem::take(&mut self.thread_id),
            created_at: NaiveTimestamp::now(),
            content: Content::SdkHiddenContext(SdkHiddenContext {
                content: "The user cancelled the stream. Stop responding to the prior request."
                    .into(),
            }),
        });
        self.store.write_last_words(move |db| {
            items.iter().try_for_each(|item| rows::save_item(db, item))
        });
    }
}
