//! A ChatKit server that remembers what it was asked, and by whom.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

/// A server in this process. Each message that it gets is its session's id, or begins with it; one
/// that ends with [`SLOW`](Upstream::SLOW) is answered when it is told to.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    slow: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Seen {
    threads: HashMap<String, Thread>,
    /// What a gateway must never do.
    wrong: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) user: String,
    pub(crate) session: String,
    pub(crate) messages: usize,
}

impl Upstream {
    pub(crate) const SLOW: &str = " slow";

    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let (slow, is_over) = watch::channel(false);
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), is_over.clone()));
            }
        });
        Self { address, seen, slow }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/chatkit", self.address)
    }

    /// Gives all threads by their ids.
    pub(crate) fn threads(&self) -> HashMap<String, Thread> {
        self.seen().threads.clone()
    }

    /// Gives how many messages of a session it got, in all threads that were made for it.
    pub(crate) fn messages(&self, session: &str) -> usize {
        let seen = self.seen();
        let of_it = seen.threads.values().filter(|thread| thread.session == session);
        of_it.map(|thread| thread.messages).sum()
    }

    /// Gives what no gateway may do and one did.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.seen().wrong.clone()
    }

    /// Answers the slow ones, from now on at once.
    pub(crate) fn answer_slow_ones(&self) {
        self.slow.send_replace(true);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Notes a message, and gives the id of its thread.
    fn message(&mut self, user: &str, session: &str, thread_id: Option<&str>) -> String {
        let Some(thread_id) = thread_id else {
            let thread_id = format!("thr_{}", Uuid::new_v4().simple());
            let (user, session) = (user.to_owned(), session.to_owned());
            self.threads.insert(thread_id.clone(), Thread { user, session, messages: 1 });
            return thread_id;
        };
        match self.threads.get_mut(thread_id) {
            Some(thread) if thread.user == user && thread.session == session => {
                thread.messages += 1;
            }
            other => self.wrong.push(format!("{user}'s {session} on {thread_id}: {other:?}")),
        }
        thread_id.to_owned()
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>, mut slow: watch::Receiver<bool>) {
    while let Some((head, body)) = request(&mut stream).await {
        let user = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-user-id").then(|| value.to_owned())
        });
        let params = &body["params"];
        let thread_id = params["thread_id"].as_str();
        let answer = match body["type"].as_str().unwrap() {
            "threads.create" | "threads.add_user_message" => {
                let text = params["input"]["content"][0]["text"].as_str().unwrap();
                let (session, is_slow) = match text.strip_suffix(Upstream::SLOW) {
                    Some(session) => (session, true),
                    None => (text, false),
                };
                let made = {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.message(user.as_deref().unwrap_or_default(), session, thread_id)
                };
                if is_slow {
                    let _ended = slow.wait_for(|is_over| *is_over).await;
                }
                run(&made, thread_id.is_none())
            }
            "items.list" => json_answer(&json!({ "data": [], "has_more": false })),
            _ => json_answer(&json!({ "id": thread_id, "title": null, "metadata": {},
                "created_at": "2026-11-21T03:00:00", "status": { "type": "active" },
                "items": { "data": [], "has_more": false } })),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Gives the answer of a run, of which one message counts: the user's.
fn run(thread_id: &str, is_first: bool) -> String {
    let at = "2026-11-21T03:00:00";
    let created = json!({ "type": "thread.created", "thread": { "id": thread_id, "created_at": at,
        "status": { "type": "active" }, "metadata": {},
        "items": { "data": [], "has_more": false } } });
    let user = json!({ "type": "thread.item.done", "item": { "id": "msg_u", "thread_id": thread_id,
        "created_at": at, "type": "user_message", "attachments": [], "inference_options": {},
        "content": [{ "type": "input_text", "text": "hi" }] } });
    let options = json!({ "type": "stream_options", "stream_options": { "allow_cancel": true } });
    let widget = json!({ "type": "thread.item.done", "item": { "id": "wdg_a",
        "thread_id": thread_id, "created_at": at, "type": "widget",
        "widget": { "type": "Card", "children": [] } } });
    let created = is_first.then_some(created);
    let events = created.into_iter().chain([user, options, widget]);
    let body: Vec<_> = events.map(|event| format!("data: {event}\n\n")).collect();
    let body = body.concat();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
        transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

fn json_answer(body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
