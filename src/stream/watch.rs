//! The body that looks on.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::event::{Event, EventKind};
use super::failure::{Preamble, RunError};
use super::item::ItemKind;
use super::scan::{Listener, Scanner};
use crate::error::BoxError;

/// The storing of a new thread's id.
pub type Binding = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Looks on while a run's bytes pass. It can't alter, end or, but for the two cases of
/// [`thread_created`](Self::thread_created) and [`thread_named`](Self::thread_named), delay them.
pub trait RunObserver: Send + 'static {
    /// Hears of a `thread.created`, which says what the run's new thread is called. A run has one
    /// such event; whatever else comes is told all the same. Its frame waits for the binding, if
    /// there is one; if that fails, the stream ends with its error.
    fn thread_created(&mut self, thread_id: &str) -> Option<Binding>;

    /// Hears of a `thread.updated`, which says which thread it is about. A run's events are about its own, but
    /// it is the upstream that says so. Its frame waits for the binding, if there is one, as that of
    /// a `thread.created` does. By default there is none.
    fn thread_named(&mut self, _thread_id: &str) -> Option<Binding> {
        None
    }

    /// Hears that an event passed.
    fn event(&mut self, event: Event<'_>);

    /// Hears that the run is over. Called exactly once, from `Drop` at the latest; must not block.
    fn ended(&mut self, end: End);
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The client left, or nobody wanted the rest.
    Cancelled,
    /// A clean end.
    Complete,
    /// A clean end, with an `error` event on the way.
    Failed,
    /// A time-out.
    Idle,
    /// The upstream broke off.
    Truncated,
    /// Its new thread could not be bound, or it named another user's, and nothing was passed on of
    /// that.
    Unbound,
}

impl End {
    /// Gives the name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::Truncated => "truncated",
            Self::Unbound => "unbound",
        }
    }
}

/// Watches without doing anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl RunObserver for NoObserver {
    fn thread_created(&mut self, _: &str) -> Option<Binding> {
        None
    }

    fn event(&mut self, _: Event<'_>) {}

    fn ended(&mut self, _: End) {}
}

/// What has passed so far.
#[derive(Debug, Default)]
pub(super) struct WatchProgress {
    pub(super) preamble: Preamble,
    /// Those that say something, which `[DONE]` doesn't.
    pub(super) events: u64,
    /// All that the upstream does before it asks its model has been done.
    pub(super) prepared: bool,
    /// Something else than the preamble has passed.
    pub(super) output: bool,
    /// The first `error` event.
    pub(super) error: Option<RunError>,
    /// It came before any output.
    pub(super) refused: bool,
}

impl WatchProgress {
    /// Gives the error that nothing but the preamble has come with so far.
    pub(super) fn refusal(&self) -> Option<RunError> {
        if self.refused && !self.output { self.error.clone() } else { None }
    }
}

pin_project! {
    /// A body that tells a [`RunObserver`] what passes. See the [module](super).
    pub struct Watch<B, O: RunObserver> {
        #[pin]
        body: B,
        watcher: Watcher<O>,
    }
}

struct Watcher<O: RunObserver> {
    scanner: Scanner,
    progress: WatchProgress,
    observer: O,
    /// The run makes its thread.
    makes_thread: bool,
    ended: bool,
    parked: Option<Parked>,
}

#[derive(Default)]
struct Parked {
    /// In the order of their events. More than one is an upstream's fault.
    bindings: VecDeque<Binding>,
    frame: Option<Frame<Bytes>>,
    /// Of those that are done, the first that failed.
    failed: Option<BoxError>,
}

impl<B, O: RunObserver> Watch<B, O> {
    /// Watches `body`.
    pub fn new(body: B, observer: O) -> Self {
        Self {
            body,
            watcher: Watcher {
                scanner: Scanner::new(),
                progress: WatchProgress::default(),
                observer,
                makes_thread: false,
                ended: false,
                parked: None,
            },
        }
    }

    /// Says that the run makes its thread. What is about no item is no output before that is
    /// named: it belongs to a server with a preamble of its own.
    #[cfg(feature = "operation")]
    #[must_use]
    pub(crate) fn making_thread(mut self) -> Self {
        self.watcher.makes_thread = true;
        self
    }

    #[cfg(feature = "operation")]
    pub(super) fn is_threadless(&self) -> bool {
        let progress = &self.watcher.progress;
        progress.output && progress.preamble.thread_id.is_none()
    }

    /// Tells whether the run makes its thread, and hasn't named it.
    pub(super) fn awaits_thread(&self) -> bool {
        self.watcher.makes_thread && self.watcher.progress.preamble.thread_id.is_none()
    }

    pub(super) fn progress(self: Pin<&mut Self>) -> &mut WatchProgress {
        &mut self.project().watcher.progress
    }

    pub(super) fn has_output(&self) -> bool {
        self.watcher.progress.output
    }

    pub(super) fn events(&self) -> u64 {
        self.watcher.progress.events
    }

    /// Tells whether what came last is the beginning of an event that, as far as it can be told
    /// yet, is no output.
    pub(super) fn is_within_preamble(&self) -> bool {
        match self.watcher.scanner.unfinished() {
            None => false,
            // What an item is may be the last thing that is said of it.
            Some((None, _) | (Some(EventKind::ItemDone | EventKind::ItemReplaced), None)) => true,
            Some((Some(kind), item_kind)) => !is_output(kind, item_kind, self.awaits_thread()),
        }
    }
}

/// Tells whether an event is something else than the preamble, or an error, where no output has come
/// yet. In a run that still `awaits_thread`, what is about no item belongs to a server with a
/// preamble of its own.
fn is_output(kind: EventKind, item_kind: Option<ItemKind>, awaits_thread: bool) -> bool {
    match (kind, item_kind) {
        // A title that is set while the user's message is stored, or before the answer fails, is
        // no answer; nor is it that something is gone, or what nobody sees.
        (
            EventKind::Error
            | EventKind::ItemRemoved
            | EventKind::StreamOptions
            | EventKind::ThreadCreated
            | EventKind::ThreadUpdated,
            _,
        )
        | (
            EventKind::ItemAdded | EventKind::ItemDone | EventKind::ItemReplaced,
            Some(ItemKind::Unseen | ItemKind::UserMessage),
        )
        // An answered form, or a completed tool call: what was sent in, not what comes back.
        | (
            EventKind::ItemReplaced,
            Some(ItemKind::ClientToolCall | ItemKind::StructuredInput),
        ) => false,
        (EventKind::Aside, _) => !awaits_thread,
        (
            EventKind::ItemAdded
            | EventKind::ItemDone
            | EventKind::ItemReplaced
            | EventKind::Other,
            _,
        ) => true,
    }
}

impl<O: RunObserver> Watcher<O> {
    fn end(&mut self, end: End) {
        if !self.ended {
            self.ended = true;
            self.observer.ended(end);
        }
    }
}

impl<O: RunObserver> Drop for Watcher<O> {
    fn drop(&mut self) {
        let end = if self.progress.error.is_some() { End::Failed } else { End::Cancelled };
        self.end(end);
    }
}

struct Listening<'a, O> {
    progress: &'a mut WatchProgress,
    observer: &'a mut O,
    makes_thread: bool,
    parked: &'a mut Option<Parked>,
}

impl<O: RunObserver> Listener for Listening<'_, O> {
    fn thread_created(&mut self, thread_id: &str) {
        self.progress.preamble.thread_id.get_or_insert_with(|| thread_id.to_owned());
        if let Some(binding) = self.observer.thread_created(thread_id) {
            self.parked.get_or_insert_default().bindings.push_back(binding);
        }
    }

    fn thread_named(&mut self, thread_id: &str) {
        if let Some(binding) = self.observer.thread_named(thread_id) {
            self.parked.get_or_insert_default().bindings.push_back(binding);
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let progress = &mut *self.progress;
        // Each delta is one.
        if progress.output && event.kind == EventKind::Other {
            progress.events += 1;
            return self.observer.event(event);
        }
        let awaits_thread = self.makes_thread && progress.preamble.thread_id.is_none();
        if !event.says_nothing {
            progress.events += 1;
            progress.output |= is_output(event.kind, event.item_kind, awaits_thread);
        }
        match (event.kind, event.item_kind) {
            (EventKind::ItemDone, Some(ItemKind::UserMessage)) => {
                progress.prepared = true;
                if progress.preamble.user_message_id.is_none() {
                    progress.preamble.user_message_id = event.id.map(str::to_owned);
                }
            }
            (EventKind::ThreadUpdated, _) if awaits_thread => {}
            // Nobody changes a thread before it is known that there is something to do.
            (EventKind::StreamOptions | EventKind::ThreadUpdated | EventKind::ItemRemoved, _)
            | (
                EventKind::ItemReplaced,
                Some(ItemKind::ClientToolCall | ItemKind::StructuredInput),
            )
            | (
                EventKind::ItemAdded | EventKind::ItemDone | EventKind::ItemReplaced,
                Some(ItemKind::Unseen),
            ) => progress.prepared = true,
            (EventKind::Error, _) => {
                progress.refused |= !progress.output;
                if let (None, Some(error)) = (&progress.error, event.error) {
                    progress.error = Some(RunError {
                        code: error.code.to_owned(),
                        message: error.message.map(str::to_owned),
                        allow_retry: error.allow_retry,
                    });
                }
            }
            (
                EventKind::Aside
                | EventKind::ItemAdded
                | EventKind::ItemDone
                | EventKind::ItemReplaced
                | EventKind::Other
                | EventKind::ThreadCreated,
                _,
            ) => {}
        }
        // Observers aren't told what is told apart while nothing but the preamble has passed.
        self.observer.event(match event.kind {
            EventKind::Aside
            | EventKind::ItemAdded
            | EventKind::ItemRemoved
            | EventKind::ItemReplaced => Event { kind: EventKind::Other, item_kind: None, ..event },
            EventKind::Error
            | EventKind::ItemDone
            | EventKind::Other
            | EventKind::StreamOptions
            | EventKind::ThreadCreated
            | EventKind::ThreadUpdated => event,
        });
    }

    fn after_output(&self) -> bool {
        self.progress.output
    }
}

impl<B, O> Body for Watch<B, O>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let watcher = this.watcher;
        if watcher.ended {
            return Poll::Ready(None);
        }
        if watcher.parked.is_none() {
            let frame = match ready!(this.body.poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let error = error.into();
                    watcher.end(end_of(&*error));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let failed = watcher.progress.error.is_some();
                    watcher.end(if failed { End::Failed } else { End::Complete });
                    return Poll::Ready(None);
                }
            };
            let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
            let mut listening = Listening {
                progress: &mut watcher.progress,
                observer: &mut watcher.observer,
                makes_thread: watcher.makes_thread,
                parked: &mut watcher.parked,
            };
            watcher.scanner.feed(data, &mut listening);
            match &mut watcher.parked {
                None => return Poll::Ready(Some(Ok(frame))),
                Some(parked) => parked.frame = Some(frame),
            }
        }
        if let Some(parked) = &mut watcher.parked {
            while let Some(binding) = parked.bindings.front_mut() {
                let bound = ready!(binding.as_mut().poll(cx));
                parked.bindings.pop_front();
                // What the others are to notice they notice whatever became of this one.
                if let Err(error) = bound {
                    parked.failed.get_or_insert(error);
                }
            }
            let (frame, failed) = (parked.frame.take(), parked.failed.take());
            watcher.parked = None;
            return match failed {
                None => Poll::Ready(frame.map(Ok)),
                Some(error) => {
                    watcher.end(End::Unbound);
                    Poll::Ready(Some(Err(error)))
                }
            };
        }
        Poll::Pending
    }

    /// Tells so never before the end was polled, so that the observer learns of it.
    fn is_end_stream(&self) -> bool {
        self.watcher.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B, O: RunObserver> std::fmt::Debug for Watch<B, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("progress", &self.watcher.progress).finish_non_exhaustive()
    }
}

#[cfg(any(feature = "forward", feature = "embedded"))]
fn end_of(error: &(dyn std::error::Error + 'static)) -> End {
    match crate::forward::ForwardError::find(error) {
        Some(found) if found.is_timeout() => End::Idle,
        Some(_) | None => End::Truncated,
    }
}

#[cfg(not(any(feature = "forward", feature = "embedded")))]
fn end_of(_: &(dyn std::error::Error + 'static)) -> End {
    End::Truncated
}
