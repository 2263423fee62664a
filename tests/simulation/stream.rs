//! The events of a run, one by one, as they are polled.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use chatkit_rest::bytes::Bytes;
use chatkit_rest::error::BoxError;
use chatkit_rest::http_body::{Body, Frame};
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::faults::Request;
use crate::upstream::{Item, Server, thread_json};

/// What a run does next.
#[derive(Debug)]
pub(crate) enum Step {
    Created,
    Said(Item),
    Options,
    Added(Item),
    Delta(Item),
    /// Is kept as it is shown.
    Answered(Item),
    /// An event that says that it has failed, which is its last.
    Error,
    Cut,
    Sleep(Pin<Box<Sleep>>),
    Whole(String),
}

/// An answer's body.
#[derive(Debug)]
pub(crate) struct Stream {
    server: Option<Arc<Mutex<Server>>>,
    request: Option<Arc<Request>>,
    thread: String,
    steps: VecDeque<Step>,
}

impl Stream {
    pub(crate) fn new(
        server: Arc<Mutex<Server>>,
        request: Option<Arc<Request>>,
        thread: String,
        steps: Vec<Step>,
    ) -> Self {
        Self { server: Some(server), request, thread, steps: steps.into() }
    }

    pub(crate) fn whole(text: String) -> Self {
        let steps = VecDeque::from([Step::Whole(text)]);
        Self { server: None, request: None, thread: String::new(), steps }
    }

    fn event(&self, step: Step) -> Option<Value> {
        let server = self.server.as_ref()?;
        let server = &mut *server.lock().unwrap();
        Some(match step {
            Step::Created => {
                if let Some(thread) = server.threads.get_mut(&self.thread) {
                    thread.shown = true;
                }
                let thread = thread_json(&self.thread, None);
                json!({ "type": "thread.created", "thread": thread })
            }
            Step::Said(item) => {
                if let Some(thread) = server.threads.get_mut(&self.thread) {
                    thread.unseen -= 1;
                }
                json!({ "type": "thread.item.done", "item": item.json(&self.thread) })
            }
            Step::Options => {
                let options = json!({ "allow_cancel": true });
                json!({ "type": "stream_options", "stream_options": options })
            }
            Step::Added(item) => {
                let mut item = item.json(&self.thread);
                item["content"] = json!([]);
                json!({ "type": "thread.item.added", "item": item })
            }
            Step::Delta(item) => {
                let kind = "assistant_message.content_part.text_delta";
                let update = json!({ "type": kind, "content_index": 0, "delta": item.text });
                json!({ "type": "thread.item.updated", "item_id": item.id, "update": update })
            }
            Step::Answered(item) => {
                let event = json!({ "type": "thread.item.done", "item": item.json(&self.thread) });
                server.keep(&self.thread, item);
                event
            }
            Step::Error => json!({ "type": "error", "code": "stream.error", "allow_retry": true }),
            Step::Cut | Step::Sleep(_) | Step::Whole(_) => return None,
        })
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while let Some(Step::Sleep(asleep)) = this.steps.front_mut() {
            ready!(asleep.as_mut().poll(cx));
            this.steps.pop_front();
        }
        let bytes = match this.steps.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Cut) => {
                return Poll::Ready(Some(Err("the answer is cut, on purpose".into())));
            }
            Some(Step::Whole(text)) => text.into_bytes(),
            Some(step) => match this.event(step) {
                Some(event) => format!("data: {event}\n\n").into_bytes(),
                None => return Poll::Ready(None),
            },
        };
        if let Some(request) = &this.request {
            request.sent.lock().unwrap().extend_from_slice(&bytes);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }
}
