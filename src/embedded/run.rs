//! The six requests that are answered with events.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use serde::Serialize;

use super::event::{Event, ServerEvent, StreamOptions, frame};
use super::id::new_id;
use super::item::{
    Answers, Content, Item, QuestionKind, StructuredInput, StructuredInputStatus, ToolCallStatus,
    UserMessage,
};
use super::json::Json;
use super::pending::PendingMessage;
use super::rendezvous::Rendezvous;
use super::request::{Action, MessageInput, StreamRequest, Submission};
use super::responder::{Failure, SharedThread, Turn, TurnFuture};
use super::rows;
use super::service::EmbeddedServer;
use super::thread::{Attachment, Thread};
use super::timestamp::NaiveTimestamp;
use crate::error::{BoxError, Error, chain};
use crate::shown::shown;

/// Why a run was cut: what would be an unhandled exception in the SDK.
#[derive(Debug)]
pub(super) enum CutReason {
    /// A thread, item or attachment is not there, or not in the state that the request needs.
    Impossible(&'static str),
    /// The responder wanted it.
    Wanted,
    /// Something below failed.
    Broken(BoxError),
}

impl From<Error> for CutReason {
    fn from(error: Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl From<serde_json::Error> for CutReason {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// One run: emits SSE frames, and ends with the stream.
pub(super) struct EmbeddedRun {
    server: Arc<EmbeddedServer>,
    asker: u64,
    frames: Rendezvous<Bytes>,
}

/// What the responder is asked to do.
enum ResponderTask {
    Act { action: Action, sender: Option<Item> },
    Respond { message: Option<Item> },
}

impl EmbeddedRun {
    pub(super) fn new(server: Arc<EmbeddedServer>, asker: u64, frames: Rendezvous<Bytes>) -> Self {
        Self { server, asker, frames }
    }

    pub(super) async fn go(mut self, request: StreamRequest) -> Result<(), CutReason> {
        match request {
            StreamRequest::Create { input } => {
                let thread = Thread::new();
                let row = thread.clone();
                self.server.store.write(move |db| rows::add_thread(db, &row)).await?;
                let view = thread.clone().without_items();
                self.send(&ServerEvent::ThreadCreated { thread: view }).await?;
                self.message(thread, input).await
            }
            StreamRequest::AddUserMessage { thread_id, input } => {
                let thread = self.thread(thread_id).await?;
                self.message(thread, input).await
            }
            StreamRequest::AddClientToolOutput { thread_id, result } => {
                let thread = self.thread(thread_id).await?;
                self.complete_tool_call(&thread, result).await?;
                self.events(thread, None, ResponderTask::Respond { message: None }).await
            }
            StreamRequest::AddStructuredInput { thread_id, item_id, submission } => {
                let thread = self.thread(thread_id).await?;
                let item = self.item(&thread, item_id).await?;
                let item = item.ok_or(CutReason::Impossible("no such item"))?;
                let answered = Event::ItemReplaced { item: answer(item, &submission)? };
                self.events(thread, Some(answered), ResponderTask::Respond { message: None }).await
            }
            StreamRequest::CustomAction { thread_id, item_id, action } => {
                let thread = self.thread(thread_id).await?;
                let sender = match item_id {
                    None => None,
                    Some(id) => {
                        let item = self.item(&thread, id).await?;
                        Some(item.ok_or(CutReason::Impossible("no such item"))?)
                    }
                };
                if sender.as_ref().is_some_and(|item| !matches!(item.content, Content::Widget(_))) {
                    return self.fail("stream.error", None, false).await;
                }
                self.events(thread, None, ResponderTask::Act { action, sender }).await
            }
            StreamRequest::RetryAfterItem { thread_id, item_id } => {
                let thread = self.thread(thread_id).await?;
                let Some(message) = self.item(&thread, item_id).await? else { return Ok(()) };
                if !matches!(message.content, Content::UserMessage(_)) {
                    return Err(CutReason::Impossible("not a user message"));
                }
                let (thread_id, item_id) = (thread.id.clone(), message.id.clone());
                self.server
                    .store
                    .write(move |db| rows::delete_items_after(db, &thread_id, &item_id))
                    .await?;
                self.events(thread, None, ResponderTask::Respond { message: Some(message) }).await
            }
        }
    }

    async fn thread(&self, id: String) -> Result<Thread, CutReason> {
        let thread = self.server.store.read(move |db| rows::thread(db, &id)).await?;
        thread.ok_or(CutReason::Impossible("no such thread"))
    }

    async fn item(&self, thread: &Thread, id: String) -> Result<Option<Item>, CutReason> {
        let thread_id = thread.id.clone();
        Ok(self.server.store.read(move |db| rows::item(db, &thread_id, &id)).await?)
    }

    /// Stores the user's message, and has it answered.
    async fn message(mut self, thread: Thread, input: MessageInput) -> Result<(), CutReason> {
        let thread_id = thread.id.clone();
        let item = self
            .server
            .store
            .write(move |db| {
                let Some(mut attachments) = rows::attachments(db, &input.attachments)? else {
                    return Ok(None);
                };
                for attachment in &mut attachments {
                    attachment.thread_id = Some(thread_id.clone());
                    rows::save_attachment(db, attachment)?;
                }
                let item = Item {
                    id: new_id("msg"),
                    thread_id,
                    created_at: NaiveTimestamp::now(),
                    content: Content::UserMessage(UserMessage {
                        content: input.content,
                        attachments: attachments.iter().map(Attachment::to_json).collect(),
                        quoted_text: input.quoted_text,
                        inference_options: input.inference_options,
                    }),
                };
                rows::save_item(db, &item)?;
                Ok(Some(item))
            })
            .await?
            .ok_or(CutReason::Impossible("no such attachment"))?;
        self.send(&Event::ItemDone { item: item.clone() }).await?;
        self.events(thread, None, ResponderTask::Respond { message: Some(item) }).await
    }

    /// Completes the newest item, which must be a call that is pending. Older ones that are, are
    /// dropped.
    async fn complete_tool_call(&self, thread: &Thread, result: Json) -> Result<(), CutReason> {
        let thread_id = thread.id.clone();
        let completed = self
            .server
            .store
            .write(move |db| {
                let mut items = rows::newest_items(db, &thread_id, 0)?.into_iter();
                let Some(mut item) = items.next() else { return Ok(false) };
                match &mut item.content {
                    Content::ClientToolCall(call) if call.status == ToolCallStatus::Pending => {
                        call.status = ToolCallStatus::Completed;
                        call.output = Some(result).filter(|output| *output != Json::Null);
                    }
                    _ => return Ok(false),
                }
                rows::save_item(db, &item)?;
                for older in items {
                    if let Content::ClientToolCall(call) = &older.content
                        && call.status == ToolCallStatus::Pending
                    {
                        rows::delete_item(db, &thread_id, &older.id)?;
                    }
                }
                Ok(true)
            })
            .await?;
        if completed { Ok(()) } else { Err(CutReason::Impossible("no call is pending")) }
    }

    /// Sends everything from `stream_options` on.
    async fn events(
        mut self,
        thread: Thread,
        first: Option<Event>,
        task: ResponderTask,
    ) -> Result<(), CutReason> {
        let options = StreamOptions { allow_cancel: true };
        self.send(&ServerEvent::StreamOptions { stream_options: options }).await?;

        let mut pending = PendingMessage::new(self.server.store.clone(), thread.id.clone());
        let ended = self.respond(thread, first, task, &mut pending).await;
        pending.end();
        ended
    }

    async fn respond(
        &mut self,
        thread: Thread,
        first: Option<Event>,
        task: ResponderTask,
        pending: &mut PendingMessage,
    ) -> Result<(), CutReason> {
        let shared = SharedThread::new(thread.clone());
        let mut known = thread;
        let ended = match self.pass_on(&shared, &mut known, first, task, pending).await {
            Ok(()) => Ok(()),
            Err(StopReason::Turn(Failure::Custom { message, allow_retry })) => {
                self.fail("custom", Some(message), allow_retry).await
            }
            Err(StopReason::Turn(Failure::Cut)) => return Err(CutReason::Wanted),
            Err(StopReason::Turn(Failure::Error { allow_retry })) => {
                self.fail("stream.error", None, allow_retry).await
            }
            Err(StopReason::Server(error)) => {
                tracing::warn!(error = &*shown(&chain(&*error)), "an event was not stored");
                self.fail("stream.error", None, true).await
            }
        };
        ended?;
        self.tell_changes(&shared, &mut known).await
    }

    /// Stores and sends the responder's events until it ends.
    async fn pass_on(
        &mut self,
        shared: &SharedThread,
        known: &mut Thread,
        first: Option<Event>,
        task: ResponderTask,
        pending: &mut PendingMessage,
    ) -> Result<(), StopReason> {
        if let Some(event) = first {
            self.store_and_send(event, pending).await?;
        }
        let mut events = Rendezvous::new();
        let mut answer = self.begin(shared, task, events.other_end()).await?;
        let mut ended = None;
        loop {
            let event = poll_fn(|cx| {
                if ended.is_none()
                    && let Poll::Ready(end) = answer.as_mut().poll(cx)
                {
                    ended = Some(end);
                }
                match events.take() {
                    None if ended.is_none() => Poll::Pending,
                    event => Poll::Ready(event),
                }
            });
            let Some(event) = event.await else {
                return ended.unwrap_or(Ok(())).map_err(StopReason::Turn);
            };
            self.store_and_send(event, pending).await?;
            self.tell_changes(shared, known).await.map_err(StopReason::from)?;
        }
    }

    async fn begin(
        &self,
        shared: &SharedThread,
        task: ResponderTask,
        out: Rendezvous<Event>,
    ) -> Result<TurnFuture, StopReason> {
        let thread_id = shared.now().id;
        let messages = self.server.responder.messages();
        let mut items =
            self.server.store.read(move |db| rows::newest_items(db, &thread_id, messages)).await?;
        items.reverse();
        let (asker, token_delay) = (self.asker, self.server.token_delay);
        let turn = |message| Turn::new(shared.clone(), items, message, token_delay, out).of(asker);
        let responder = &self.server.responder;
        Ok(match task {
            ResponderTask::Act { action, sender } => responder.act(turn(None), action, sender),
            ResponderTask::Respond { message } => responder.respond(turn(message)),
        })
    }

    async fn store_and_send(
        &mut self,
        event: Event,
        pending: &mut PendingMessage,
    ) -> Result<(), StopReason> {
        let store = &self.server.store;
        match &event {
            Event::ItemDone { item } | Event::ItemReplaced { item } => {
                let item = item.clone();
                store.write(move |db| rows::save_item(db, &item)).await?;
            }
            Event::ItemRemoved { item_id } => {
                let (thread_id, item_id) = (pending.thread_id().to_owned(), item_id.clone());
                store.write(move |db| rows::delete_item(db, &thread_id, &item_id)).await?;
            }
            _ => {}
        }
        pending.note(&event);
        match event {
            Event::ItemDone { item } if item.content.is_hidden() => Ok(()),
            event => self.send(&event).await.map_err(StopReason::from),
        }
    }

    async fn tell_changes(
        &mut self,
        shared: &SharedThread,
        known: &mut Thread,
    ) -> Result<(), CutReason> {
        let now = shared.now();
        if now == *known {
            return Ok(());
        }
        *known = now.clone();
        let row = now.clone();
        self.server.store.write(move |db| rows::save_thread(db, &row)).await?;
        self.send(&ServerEvent::ThreadUpdated { thread: now.without_items() }).await
    }

    async fn fail(
        &mut self,
        code: &'static str,
        message: Option<String>,
        allow_retry: bool,
    ) -> Result<(), CutReason> {
        self.send(&ServerEvent::Error { code, message, allow_retry }).await
    }

    async fn send(&mut self, event: &impl Serialize) -> Result<(), CutReason> {
        let bytes = frame(event)?;
        self.frames.put(bytes).await;
        Ok(())
    }
}

/// Why the responder's events end early.
enum StopReason {
    /// The responder gave up.
    Turn(Failure),
    /// The server could not do its part.
    Server(BoxError),
}

impl From<Error> for StopReason {
    fn from(error: Error) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<CutReason> for StopReason {
    fn from(cut: CutReason) -> Self {
        match cut {
            CutReason::Broken(error) => Self::Server(error),
            CutReason::Impossible(reason) => Self::Server(reason.into()),
            CutReason::Wanted => Self::Turn(Failure::Cut),
        }
    }
}

/// Gives the structured input with the user's answers: none where there is none or it is empty, one
/// where one may be chosen.
fn answer(item: Item, submission: &Submission) -> Result<Item, CutReason> {
    let Content::StructuredInput(input) = &item.content else {
        return Err(CutReason::Impossible("not a structured input"));
    };
    if input.status != StructuredInputStatus::Pending {
        return Err(CutReason::Impossible("answered already"));
    }
    let mut inputs = input.inputs.clone();
    for question in &mut inputs {
        let given = submission.answers.iter().find(|(id, _)| *id == question.id);
        let answer = given
            .map(|(_, answer)| answer)
            .filter(|answer| !submission.skipped && !answer.skipped && !answer.values.is_empty());
        question.answer = Some(match answer {
            None => Answers { values: Vec::new(), skipped: true },
            Some(answer) => {
                let mut values = answer.values.clone();
                if question.kind == QuestionKind::MultipleChoice && question.multiple != Some(true)
                {
                    values.truncate(1);
                }
                Answers { values, skipped: false }
            }
        });
    }
    let status = if submission.skipped {
        StructuredInputStatus::Skipped
    } else {
        StructuredInputStatus::Answered
    };
    Ok(item.with_content(Content::StructuredInput(StructuredInput { status, inputs })))
}
