//! A ChatKit server that keeps its threads in memory, and has bad days, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chatkit_rest::bytes::Bytes;
use chatkit_rest::error::BoxError;
use chatkit_rest::http::{Request, Response, StatusCode};
use chatkit_rest::http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::Service;

use crate::faults::REQUEST;
use crate::script::{Dice, Trace, Weather};
use crate::stream::{Step, Stream};

pub(crate) const AT: &str = "2026-11-21T03:00:00";

#[derive(Clone, Debug)]
pub(crate) struct ChatKit {
    pub(crate) kept: Arc<Mutex<Server>>,
    pub(crate) trace: Trace,
    weather: Weather,
    dice: Arc<Mutex<Dice>>,
}

#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) threads: BTreeMap<String, Thread>,
    pub(crate) attachments: BTreeMap<String, String>,
    /// How many ids it has given.
    ids: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Thread {
    pub(crate) owner: String,
    pub(crate) title: Option<String>,
    pub(crate) items: Vec<Item>,
    /// The gateway was told of it.
    pub(crate) shown: bool,
    /// Messages that were kept and not shown.
    pub(crate) unseen: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) is_users: bool,
    pub(crate) text: String,
}

impl Item {
    pub(crate) fn json(&self, thread: &str) -> Value {
        let (kind, part) = if self.is_users {
            ("user_message", json!({ "type": "input_text", "text": self.text }))
        } else {
            let part = json!({ "type": "output_text", "text": self.text, "annotations": [] });
            ("assistant_message", part)
        };
        let mut item = json!({
            "id": self.id, "thread_id": thread, "created_at": AT, "type": kind, "content": [part],
        });
        if self.is_users {
            item["attachments"] = json!([]);
            item["inference_options"] = json!({});
        }
        item
    }
}

impl Server {
    pub(crate) fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}_{}", self.ids)
    }

    /// Keeps an item of a thread, unless that is gone.
    pub(crate) fn keep(&mut self, thread: &str, item: Item) -> bool {
        let thread = self.threads.get_mut(thread);
        thread.map(|thread| thread.items.push(item)).is_some()
    }
}

pub(crate) fn thread_json(id: &str, title: Option<&str>) -> Value {
    json!({
        "id": id, "title": title, "created_at": AT, "status": { "type": "active" },
        "metadata": {}, "items": { "data": [], "has_more": false, "after": null },
    })
}

/// How an exchange goes wrong, other than in the middle of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    /// It is not done.
    Refused,
    /// It is not done, and says so.
    Unavailable,
    /// It is done, and nobody is told.
    Lost,
}

impl ChatKit {
    pub(crate) fn new(trace: Trace, weather: Weather, dice: Dice) -> Self {
        Self { kept: Arc::default(), trace, weather, dice: Arc::new(Mutex::new(dice)) }
    }

    fn mishap(&self) -> (Mishap, Duration) {
        if self.weather.is_over() {
            return (Mishap::None, Duration::ZERO);
        }
        let dice = &mut *self.dice.lock().unwrap();
        let pause = dice.pause(3000);
        if !dice.chance(self.weather.upstream / 2) {
            return (Mishap::None, pause);
        }
        let mishap = match dice.below(3) {
            0 => Mishap::Refused,
            1 => Mishap::Unavailable,
            _ => Mishap::Lost,
        };
        (mishap, pause)
    }

    async fn answer(self, request: Request<Full<Bytes>>) -> Result<Response<Stream>, BoxError> {
        let user = request.headers()["x-user-id"].to_str()?.to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let asked: Value = serde_json::from_slice(&body)?;
        let kind = asked["type"].as_str().unwrap_or_default().to_owned();
        let (mishap, pause) = self.mishap();
        let params = &asked["params"];
        self.trace.note(&format!("  upstream {kind} {} {mishap:?}", params["thread_id"]));
        sleep(pause).await;
        if mishap != Mishap::None {
            let _ = REQUEST.try_with(|request| request.upstream.lock().unwrap().push("mishap"));
        }
        match mishap {
            Mishap::Refused => return Err("nobody is there, on purpose".into()),
            Mishap::Unavailable => {
                return Ok(status(StatusCode::SERVICE_UNAVAILABLE));
            }
            Mishap::None | Mishap::Lost => {}
        }
        let response = match &*kind {
            "threads.create" | "threads.add_user_message" => self.run(&user, params),
            _ => self.kept.lock().unwrap().answer(&self.trace, &kind, &user, params),
        };
        if mishap == Mishap::Lost {
            return Err("the answer is lost, on purpose".into());
        }
        Ok(response)
    }

    /// Keeps the message, and the thread if it is the first, and begins to answer it.
    fn run(&self, user: &str, params: &Value) -> Response<Stream> {
        let server = &mut *self.kept.lock().unwrap();
        let input = &params["input"];
        for id in input["attachments"].as_array().into_iter().flatten() {
            server.check_attachment(&self.trace, id, user);
        }
        let mut steps = Vec::new();
        let thread_id = if let Some(id) = params["thread_id"].as_str() {
            server.check_thread(&self.trace, id, user);
            id.to_owned()
        } else {
            let id = server.id("thr");
            let thread = Thread { owner: user.to_owned(), ..Thread::default() };
            server.threads.insert(id.clone(), thread);
            steps.push(Step::Created);
            id
        };
        let Some(thread) = server.threads.get_mut(&thread_id) else {
            // What the SDK does: the head is sent by then.
            let _ = REQUEST.try_with(|request| request.upstream.lock().unwrap().push("no thread"));
            return self.stream(thread_id, vec![Step::Cut]);
        };
        thread.unseen += 1;
        let text = input["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        let said = Item { id: server.id("msg"), is_users: true, text };
        let answered =
            Item { id: server.id("msg"), is_users: false, text: format!("You said {}", said.text) };
        server.keep(&thread_id, said.clone());
        steps.extend([
            Step::Said(said),
            Step::Options,
            Step::Added(answered.clone()),
            Step::Delta(answered.clone()),
            Step::Answered(answered),
        ]);
        self.trouble(&mut steps);
        self.stream(thread_id, steps)
    }

    /// Slows a run down, and has it fail at some place.
    fn trouble(&self, steps: &mut Vec<Step>) {
        if self.weather.is_over() {
            return;
        }
        let dice = &mut *self.dice.lock().unwrap();
        if dice.chance(self.weather.upstream) {
            steps.truncate(dice.below(steps.len() + 1));
            steps.push(if dice.chance(50) { Step::Cut } else { Step::Error });
            let _ = REQUEST.try_with(|request| request.upstream.lock().unwrap().push("run"));
        }
        for _ in 0..2 {
            if dice.chance(40) {
                let pause = dice.pause(9000);
                steps.insert(dice.below(steps.len()), Step::Sleep(Box::pin(sleep(pause))));
            }
        }
    }

    fn stream(&self, thread: String, steps: Vec<Step>) -> Response<Stream> {
        let request = REQUEST.try_with(Arc::clone).ok();
        let stream = Stream::new(Arc::clone(&self.kept), request, thread, steps);
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(stream).unwrap()
    }
}

impl Server {
    fn check_attachment(&self, trace: &Trace, id: &Value, user: &str) {
        let owner = id.as_str().and_then(|id| self.attachments.get(id));
        if owner.is_some_and(|owner| owner != user) {
            trace.broken(&format!("the upstream was asked by {user} for {id} of {owner:?}"));
        }
    }

    fn check_thread(&self, trace: &Trace, id: &str, user: &str) {
        let owner = self.threads.get(id).map(|thread| &thread.owner);
        if owner.is_some_and(|owner| owner != user) {
            trace.broken(&format!("the upstream was asked by {user} for {id} of {owner:?}"));
        }
    }

    fn answer(
        &mut self,
        trace: &Trace,
        kind: &str,
        user: &str,
        params: &Value,
    ) -> Response<Stream> {
        let id = params["thread_id"].as_str().unwrap_or_default();
        self.check_thread(trace, id, user);
        self.check_attachment(trace, &params["attachment_id"], user);
        let title = params["title"].as_str().map(str::to_owned);
        match kind {
            "attachments.create" => {
                let id = self.id("atc");
                self.attachments.insert(id.clone(), user.to_owned());
                let (name, mime) = (&params["name"], &params["mime_type"]);
                json_of(&json!({ "id": id, "type": "file", "name": name, "mime_type": mime }))
            }
            "attachments.delete" => {
                self.attachments.remove(params["attachment_id"].as_str().unwrap_or_default());
                json_of(&json!({}))
            }
            "threads.delete" => {
                self.threads.remove(id);
                json_of(&json!({}))
            }
            "threads.list" => {
                let own = self.threads.iter().filter(|(_, thread)| thread.owner == user);
                let data: Vec<_> =
                    own.map(|(id, thread)| thread_json(id, thread.title.as_deref())).collect();
                json_of(&json!({ "data": data, "has_more": false, "after": null }))
            }
            "items.list" => {
                let items = self.threads.get(id).into_iter().flat_map(|thread| &thread.items);
                let mut data: Vec<_> = items.map(|item| item.json(id)).collect();
                if params["order"] == "desc" {
                    data.reverse();
                }
                json_of(&json!({ "data": data, "has_more": false, "after": null }))
            }
            _ => match self.threads.get_mut(id) {
                Some(thread) => {
                    if kind == "threads.update" {
                        thread.title = title;
                    }
                    json_of(&thread_json(id, thread.title.as_deref()))
                }
                None => status(StatusCode::INTERNAL_SERVER_ERROR),
            },
        }
    }
}

fn json_of(value: &Value) -> Response<Stream> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(Stream::whole(value.to_string())).unwrap()
}

fn status(status: StatusCode) -> Response<Stream> {
    Response::builder().status(status).body(Stream::whole(String::new())).unwrap()
}

impl Service<Request<Full<Bytes>>> for ChatKit {
    type Response = Response<Stream>;
    type Error = BoxError;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Stream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
