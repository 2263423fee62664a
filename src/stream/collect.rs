//! A run read to its end, for an answer in JSON.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http_body::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::{RunFailure, RunFailureCause};
use super::hold::Silence;
use super::lines::{Lines, Sink};
use super::watch::{RunObserver, Watch};
use crate::error::BoxError;

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Every finished item as the upstream sent it, in order; hidden ones left out, replaced
    /// ones replaced, removed ones removed.
    pub items: Vec<Box<RawValue>>,
    /// The id of the thread that the run created.
    pub thread_id: Option<String>,
    /// Whether the client was told to do something that is no item (`client_effect`).
    pub has_effects: bool,
}

#[derive(Deserialize)]
struct EventRef<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item_id: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ItemRef<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
}

/// Item types that no client is meant to see. The SDK swallows their `done` events itself, but
/// not every event about them.
pub(crate) const HIDDEN_ITEM_TYPES: [&str; 2] = ["hidden_context_item", "sdk_hidden_context"];

#[derive(Default)]
struct Collecting {
    event: Vec<u8>,
    items: Vec<(String, Box<RawValue>)>,
    has_effects: bool,
}

impl Sink for Collecting {
    fn data(&mut self, bytes: &[u8]) -> bool {
        self.event.extend_from_slice(bytes);
        true
    }

    fn dispatch(&mut self) {
        let event = std::mem::take(&mut self.event);
        // An event that isn't JSON is one that this version doesn't know.
        let Ok(event) = serde_json::from_slice::<EventRef<'_>>(&event) else { return };
        match &*event.kind {
            "thread.item.done" => {
                if let Some((id, item)) = event.item.and_then(visible) {
                    self.items.push((id, item));
                }
            }
            "thread.item.replaced" => {
                if let Some((id, item)) = event.item.and_then(visible) {
                    match self.items.iter_mut().rfind(|(known, _)| *known == id) {
                        Some(place) => place.1 = item,
                        None => self.items.push((id, item)),
                    }
                }
            }
            "thread.item.removed" => {
                let position = self.items.iter().rposition(|(known, _)| {
                    event.item_id.as_deref().is_some_and(|removed| removed == known)
                });
                if let Some(position) = position {
                    self.items.remove(position);
                }
            }
            "client_effect" => self.has_effects = true,
            _ => {}
        }
    }
}

fn visible(item: &RawValue) -> Option<(String, Box<RawValue>)> {
    let fields: ItemRef<'_> = serde_json::from_str(item.get()).ok()?;
    (!HIDDEN_ITEM_TYPES.contains(&&*fields.kind)).then(|| (fields.id.into_owned(), item.to_owned()))
}

/// Reads a run to its end.
///
/// # Errors
/// [`RunFailure`] if it was cut, ended without any output, had an `error` event, or is longer
/// than `max_bytes`.
pub async fn collect<B, O>(watch: Watch<B, O>, max_bytes: usize) -> Result<Transcript, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    collect_run(watch, max_bytes, Silence::Fails).await
}

/// [`collect`], where a run may be silent.
pub(crate) async fn collect_run<B, O>(
    watch: Watch<B, O>,
    max_bytes: usize,
    silence: Silence,
) -> Result<Transcript, RunFailure>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    let mut watch = pin!(watch);
    let mut lines = Lines::new();
    let mut collecting = Collecting::default();
    let mut bytes = 0_usize;
    let failed = loop {
        match poll_fn(|cx| watch.as_mut().poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                bytes += data.len();
                if bytes > max_bytes {
                    break Some(RunFailureCause::TooLarge);
                }
                lines.feed(data, &mut collecting);
            }
            Some(Err(error)) => break Some(RunFailureCause::Broken(error)),
            None => break None,
        }
    };
    let progress = watch.as_mut().progress();
    let answered = progress.output || (silence == Silence::Passes && progress.prepared);
    let cause = match (failed, progress.error.clone()) {
        (Some(cause), _) => Some(cause),
        (None, Some(error)) => Some(RunFailureCause::ErrorEvent(error)),
        (None, None) if !answered => Some(RunFailureCause::Ended),
        (None, None) => None,
    };
    let preamble = std::mem::take(&mut progress.preamble);
    match cause {
        Some(cause) => Err(RunFailure { cause, preamble, events: progress.events }),
        None => Ok(Transcript {
            items: collecting.items.into_iter().map(|(_, item)| item).collect(),
            thread_id: preamble.thread_id,
            has_effects: collecting.has_effects,
        }),
    }
}
