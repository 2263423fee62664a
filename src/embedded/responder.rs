//! Who answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::event::{Event, Update};
use super::id::new_id;
use super::item::{AssistantMessage, Content, Item, OutputText, UserMessage};
use super::rendezvous::Rendezvous;
use super::request::Action;
use super::thread::{Status, Thread};
use super::timestamp::NaiveTimestamp;
use crate::bounds;
use crate::forward::ForwardError;

/// What a [`Responder`]'s methods return: a future that emits events through its [`Turn`] and
/// ends with the turn.
///
/// It is polled by the response body and dropped with it, when the client leaves.
pub type TurnFuture = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The part of a ChatKit server that thinks.
pub trait Responder: fmt::Debug + Send + Sync + 'static {
    /// Answers the user's message, or goes on after a client's tool output or structured input
    /// ([`Turn::message`] is `None` then, and the newest item is what was answered).
    fn respond(&self, turn: Turn) -> TurnFuture;

    /// Tells how many of a thread's messages, the user's and its own, it needs to see.
    /// [`Turn::items`] reaches further back for them, up to 1,000 items.
    fn messages(&self) -> usize {
        0
    }

    /// Tells whether a turn of whoever `asker` is a hash of could begin now. If not, nothing of the request is stored, and the exchange
    /// fails with what this says.
    ///
    /// # Errors
    /// Whatever keeps it from answering them.
    fn check_ready(&self, asker: u64) -> Result<(), ForwardError> {
        let _ = asker;
        Ok(())
    }

    /// Reacts to an action, of a widget in the thread if there is a `sender`.
    ///
    /// Refused if not implemented, as by the SDK.
    fn act(&self, turn: Turn, action: Action, sender: Option<Item>) -> TurnFuture {
        let _ = (turn, action, sender);
        Box::pin(async { Err(Failure::Error { allow_retry: true }) })
    }

    /// Reacts to an action at once: the item as it is now, if it changed.
    ///
    /// `None` if it is not implemented: the caller gets a bare 500, as from the SDK.
    fn act_at_once(&self, action: &Action, sender: Option<Item>) -> Option<Option<Item>> {
        let _ = (action, sender);
        None
    }
}

/// How a turn ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The stream ends with a `custom` error event: a refusal in the responder's own words.
    Custom {
        /// Shown to the user.
        message: String,
        /// Whether the client offers to try again.
        allow_retry: bool,
    },
    /// The connection is cut, as when the server dies: the body ends in an error and nothing of
    /// an unfinished message is stored. For tests.
    Cut,
    /// The stream ends with a `stream.error` event, which says nothing more.
    Error {
        /// Whether the client offers to try again.
        allow_retry: bool,
    },
}

/// One turn of the assistant: what there is to answer, and where the answer goes.
#[derive(Debug)]
pub struct Turn {
    items: Vec<Item>,
    message: Option<Item>,
    token_delay: Duration,
    asker: u64,
    thread: SharedThread,
    out: Rendezvous<Event>,
}

/// The thread of a running turn: the responder may change it between two events.
#[derive(Clone, Debug)]
pub(super) struct SharedThread(Arc<Mutex<Thread>>);

impl SharedThread {
    pub(super) fn new(thread: Thread) -> Self {
        Self(Arc::new(Mutex::new(thread)))
    }

    /// Gives the thread as it is now.
    pub(super) fn now(&self) -> Thread {
        self.with(|thread| thread.clone())
    }

    fn with<R>(&self, change: impl FnOnce(&mut Thread) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Turn {
    pub(super) fn new(
        thread: SharedThread,
        items: Vec<Item>,
        message: Option<Item>,
        token_delay: Duration,
        out: Rendezvous<Event>,
    ) -> Self {
        Self { items, message, token_delay, asker: 0, thread, out }
    }

    /// Makes it a turn that this user asked for.
    pub(super) fn of(self, asker: u64) -> Self {
        Self { asker, ..self }
    }

    /// Gives a hash of whoever asked for it; 0 if users aren't told apart.
    pub fn asker(&self) -> u64 {
        self.asker
    }

    /// Gives the thread's newest items, oldest first. The message is the last of them.
    ///
    /// They are at most 100, or, where fewer than [`Responder::messages`] messages are among
    /// those, as many as it takes to have that many, and at most 1,000.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Gives the message to answer.
    pub fn message(&self) -> Option<&UserMessage> {
        match self.message.as_ref()?.content() {
            Content::UserMessage(message) => Some(message),
            _ => None,
        }
    }

    /// Tells how long to wait between two tokens, for a responder that has them all at once.
    pub fn token_delay(&self) -> Duration {
        self.token_delay
    }

    /// Gives the thread's title.
    pub fn title(&self) -> Option<String> {
        self.thread.with(|thread| thread.title.clone())
    }

    /// Gives the thread a title, of which 255 characters are kept. Clients are told after the next event, or at the end.
    pub fn set_title(&mut self, title: impl Into<String>) {
        let mut title = title.into();
        title.truncate(bounds::cut(&title, bounds::MAX_NAME_CHARS).len());
        self.thread.with(|thread| thread.title = Some(title));
    }

    /// Opens, locks or closes the thread. Clients are told after the next event, or at the end.
    pub fn set_status(&mut self, status: Status) {
        self.thread.with(|thread| thread.status = status);
    }

    /// Makes a new item of this thread, created now.
    pub fn new_item(&self, content: Content) -> Item {
        let prefix = match content {
            Content::ClientToolCall(_) => "tc",
            Content::Task(_) => "tsk",
            Content::Workflow(_) => "wf",
            _ => "msg",
        };
        Item {
            id: new_id(prefix),
            thread_id: self.thread.with(|thread| thread.id.clone()),
            created_at: NaiveTimestamp::now(),
            content,
        }
    }

    /// Sends an event; goes on when it is on its way to the client.
    pub async fn emit(&mut self, event: Event) {
        self.out.put(event).await;
    }

    /// Sends a new item that is complete.
    pub async fn emit_item(&mut self, content: Content) {
        let item = self.new_item(content);
        self.emit(Event::ItemDone { item }).await;
    }

    /// Begins an assistant message of one part.
    pub async fn begin_message(&mut self) -> Message<'_> {
        let item = self.new_item(Content::AssistantMessage(AssistantMessage::default()));
        let mut message = Message { turn: self, item, part: OutputText::default() };
        message.turn.emit(Event::ItemAdded { item: message.item.clone() }).await;
        let content = message.part.clone();
        message.update(Update::PartAdded { content_index: 0, content }).await;
        message
    }
}

/// An assistant message that is being written. It is stored by [`end`](Self::end).
#[derive(Debug)]
pub struct Message<'a> {
    turn: &'a mut Turn,
    item: Item,
    part: OutputText,
}

impl Message<'_> {
    /// Appends text.
    pub async fn say(&mut self, delta: impl Into<String>) {
        let delta = delta.into();
        self.part.text.push_str(&delta);
        self.update(Update::TextDelta { content_index: 0, delta }).await;
    }

    /// Adds an annotation, a ChatKit `Annotation` object.
    pub async fn annotate(&mut self, annotation: super::Json) {
        let annotation_index = self.part.annotations.len();
        self.part.annotations.push(annotation.clone());
        self.update(Update::AnnotationAdded { content_index: 0, annotation_index, annotation })
            .await;
    }

    /// Completes the message.
    pub async fn end(mut self) {
        let content = self.part.clone();
        self.update(Update::PartDone { content_index: 0, content }).await;
        let message = AssistantMessage { content: vec![self.part] };
        let item = self.item.with_content(Content::AssistantMessage(message));
        self.turn.emit(Event::ItemDone { item }).await;
    }

    async fn update(&mut self, update: Update) {
        let item_id = self.item.id.clone();
        self.turn.emit(Event::ItemUpdated { item_id, update }).await;
    }
}
