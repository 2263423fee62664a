//! An upstream that writes down what it is sent, and does nothing.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::Service;

/// What the gateway sends, in order. Threads are there and have no items, so that what is done after a
/// look at one is seen, too, and a run says something, so that it is seen how that is answered; every
/// other exchange fails, and nothing more follows from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<(Parts, Bytes)>>>);

impl Recorder {
    /// Gives what was sent.
    pub(super) fn recorded(&self) -> Vec<(Parts, Bytes)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Service<Request<Full<Bytes>>> for Recorder {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let recorded = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let body = body.to_bytes();
            let events = head.headers.get(ACCEPT).is_some_and(|accept| accept == EVENT_STREAM);
            let answer = if events { run(&body) } else { answer(&body) };
            recorded.lock().unwrap_or_else(PoisonError::into_inner).push((head, body));
            let answer = answer.ok_or_else(|| io::Error::other("it was only written down"))?;
            let mut response = Response::new(Full::from(answer));
            let kind = if events { EVENT_STREAM } else { "application/json" };
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            Ok(response)
        })
    }
}

const EVENT_STREAM: &str = "text/event-stream";

/// When everything in the examples was made.
const MADE_AT: &str = "2026-01-01T00:00:00";

/// Gives the events of a run in which the assistant says one word.
fn run(body: &[u8]) -> Option<String> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let thread_id = asked.pointer("/params/thread_id").and_then(Value::as_str);
    let mut events = Vec::new();
    if thread_id.is_none() {
        let thread = thread(&json!("thr_example"));
        events.push(json!({ "type": "thread.created", "thread": thread }));
    }
    events.push(json!({ "type": "thread.item.done", "item": {
        "id": "msg_example",
        "thread_id": thread_id.unwrap_or("thr_example"),
        "created_at": MADE_AT,
        "type": "assistant_message",
        "content": [{ "annotations": [], "text": "Hello", "type": "output_text" }],
    } }));
    let mut text = String::new();
    for event in events {
        // Writing to a `String` does not fail.
        let _ = write!(text, "data: {event}\n\n");
    }
    Some(text)
}

/// Gives what a server would say of a thread without items.
fn answer(body: &[u8]) -> Option<String> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let answer = match asked.get("type")?.as_str()? {
        "items.list" => no_items(),
        "threads.get_by_id" => thread(asked.pointer("/params/thread_id")?),
        _ => return None,
    };
    Some(answer.to_string())
}

fn thread(id: &Value) -> Value {
    json!({
        "id": id,
        "created_at": MADE_AT,
        "status": { "type": "active" },
        "metadata": {},
        "items": no_items(),
    })
}

fn no_items() -> Value {
    json!({ "data": [], "has_more": false })
}
