//! A fast fake ChatKit server: right on the wire, empty inside.
//!
//! Any `POST` is a ChatKit request. JSON operations answer a small object; streaming operations
//! answer the preamble, an assistant message as the [`Script`] in the message text asks, and the
//! terminal chunk: one HTTP chunk per event, as the SDK sends them. `GET /_bench/streams` tells
//! the hash of each stream that was sent since it was last asked, for the load to compare.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;

use serde::Deserialize;
use tokio::net::TcpListener;

use crate::script::Script;

use self::stream::Events;
use self::wire::Connection;

pub use self::stream::find_stamp;

mod stream;
mod text;
mod wire;

/// Where the load asks what was sent.
pub const STREAMS_PATH: &str = "/_bench/streams";

/// What is told of a stream that was sent to its end.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub id: u64,
    /// XXH3 of the SSE bytes, chunk framing left out.
    pub hash: u64,
    pub length: u64,
    pub events: u64,
}

/// Serves until the process is ended.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let state = Rc::new(State::default());
    state.next_id.set(crate::clock_ns() as u32);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Rc::clone(&state);
        // A client that leaves, or speaks badly, ends its own connection only.
        tokio::task::spawn_local(async move {
            let _ = state.connection(Connection::new(stream)).await;
        });
    }
}

#[derive(Default)]
struct State {
    /// Makes thread and item ids; starts at the clock, so that two upstreams in a row differ.
    next_id: Cell<u32>,
    sent: RefCell<Vec<Sent>>,
    texts: RefCell<Vec<(usize, Texts)>>,
}

type Texts = Rc<[String; text::VARIETY]>;

#[derive(Deserialize)]
struct ChatKit<'a> {
    #[serde(borrow, rename = "type")]
    op: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    thread_id: Cow<'a, str>,
    #[serde(borrow, default)]
    title: Cow<'a, str>,
}

impl State {
    async fn connection(&self, mut connection: Connection) -> io::Result<()> {
        let mut out = Vec::with_capacity(1024);
        while let Some(request) = connection.next_request().await? {
            out.clear();
            if !request.is_post {
                let body =
                    if request.path == STREAMS_PATH { self.take_sent() } else { "{}".into() };
                json(&mut out, &body);
                connection.write_all(&out).await?;
                continue;
            }
            let body = connection.body(&request);
            let Ok(ChatKit { op, params }) = serde_json::from_slice(body) else {
                connection.write_all(SERVER_ERROR).await?;
                continue;
            };
            match &*op {
                "threads.get_by_id" => json(&mut out, &thread(&params.thread_id, "A title")),
                "threads.update" => json(&mut out, &thread(&params.thread_id, &params.title)),
                "items.list" | "threads.list" => json(&mut out, r#"{"data":[],"has_more":false}"#),
                "threads.delete" | "items.feedback" => json(&mut out, "{}"),
                "threads.create" | "threads.add_user_message" => {
                    let created = op == "threads.create";
                    let script = Script::find(body).unwrap_or(Script::burst(3, 16));
                    let thread = if created { self.id("thr_") } else { params.thread_id.into() };
                    let texts = self.texts(script.size);
                    let message = (self.id("msg_"), self.id("msg_"));
                    let events = Events::new(script, texts, thread, message, created);
                    events.send(&mut connection, |sent| self.sent.borrow_mut().push(sent)).await?;
                    continue;
                }
                _ => out.extend_from_slice(SERVER_ERROR),
            }
            connection.write_all(&out).await?;
        }
        Ok(())
    }

    fn id(&self, prefix: &str) -> String {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        format!("{prefix}{id:08x}")
    }

    fn texts(&self, size: usize) -> Texts {
        let mut known = self.texts.borrow_mut();
        if let Some((_, texts)) = known.iter().find(|(known, _)| *known == size) {
            return Rc::clone(texts);
        }
        let texts = Rc::new(text::deltas(size));
        known.push((size, Rc::clone(&texts)));
        texts
    }

    fn take_sent(&self) -> String {
        let mut lines = String::new();
        for Sent { id, hash, length, events } in self.sent.take() {
            let _ = writeln!(lines, "{id:x} {hash:x} {length} {events}");
        }
        lines
    }
}

fn thread(id: &str, title: &str) -> String {
    format!(
        r#"{{"title":"{title}","id":"{id}","created_at":"{CREATED_AT}","status":{{"type":"active"}},"metadata":{{}},"items":{{"data":[],"has_more":false}}}}"#
    )
}

fn json(out: &mut Vec<u8>, body: &str) {
    use std::io::Write as _;
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\n{DATE_AND_SERVER}content-length: {}\r\ncontent-type: application/json\r\n\r\n{body}",
        body.len()
    );
}

/// A date that does not tick: nothing measured reads it.
const DATE_AND_SERVER: &str = "date: Sat, 21 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\n";
const CREATED_AT: &str = "2026-11-21T12:00:00.123456";
const SERVER_ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 21\r\n\
    content-type: text/plain; charset=utf-8\r\n\r\nInternal Server Error";
