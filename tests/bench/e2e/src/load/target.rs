//! What a request looks like to each kind of server, and the sessions it is made for.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::wire::{Sink, Wire};
use crate::script::Script;

/// Where the gateway's REST begins.
pub const PREFIX: &str = "/api/v1/chatkit";

/// Where one-shot chat is.
const CHAT: &str = "/api/chat";

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// ChatKit requests, passed on as they are.
    ChatKit,
    /// The gateway's REST, with a token.
    Rest,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// One thread; REST: `GET …/threads/{thread_id}`.
    GetThread,
    /// One thread by a ChatKit request; REST: `POST {prefix}`, the pass-through.
    Passthrough,
    /// What the gateway keeps of a session; REST: `GET …/sessions/{session_id}`.
    GetSession,
    /// A new title; REST: `PATCH …/sessions/{session_id}`.
    Rename,
    /// A user message that begins a thread, and its answer; REST: `POST /api/chat`.
    FirstRun(Script),
    /// A user message and its answer; REST: `POST …/runs`.
    Run(Script),
}

/// A session of one user.
#[derive(Debug, Clone)]
pub struct Session {
    token: String,
    id: String,
    thread: String,
    /// The upstream's name of the thread, once it has one.
    upstream_thread: String,
}

/// A server under load.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub dialect: Dialect,
    sessions: Vec<Session>,
}

impl Target {
    pub fn new(address: SocketAddr, dialect: Dialect) -> Self {
        Self { address, dialect, sessions: Vec::new() }
    }

    /// Brings the number of sessions to `count`; with `bound`, each has had its first run.
    ///
    /// # Errors
    ///
    /// An answer other than 200, or one that does not name what it made.
    pub async fn set_up(&mut self, count: usize, bound: bool, secret: &str) -> Result<()> {
        if self.dialect == Dialect::ChatKit {
            self.sessions = (0..count)
                .map(|index| Session {
                    token: String::new(),
                    id: String::new(),
                    thread: String::new(),
                    upstream_thread: format!("thr_{index:08x}"),
                })
                .collect();
            return Ok(());
        }
        let users = USERS.min(count.max(1));
        let tokens = (0..users).map(|user| token(secret, user)).collect::<Result<Vec<_>, _>>()?;
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..SETUP_LANES.min(count) {
            let share = (count - lane).div_ceil(SETUP_LANES);
            let tokens = tokens.clone();
            let address = self.address;
            lanes.spawn_local(async move {
                let mut wire = Wire::connect(address, SETUP_BUFFER).await?;
                let mut made = Vec::with_capacity(share);
                for index in 0..share {
                    let token = &tokens[(lane + index * SETUP_LANES) % tokens.len()];
                    made.push(Session::create(&mut wire, address, token, bound).await?);
                }
                anyhow::Ok(made)
            });
        }
        self.sessions.clear();
        while let Some(made) = lanes.join_next().await {
            self.sessions.extend(made??);
        }
        Ok(())
    }

    /// Sends one request in the first session.
    ///
    /// # Errors
    ///
    /// The socket's, and any status but 200.
    pub async fn try_once(&self, op: Op) -> Result<()> {
        let mut wire = Wire::connect(self.address, SETUP_BUFFER).await?;
        let mut request = Vec::new();
        self.write_request(&mut request, op, 0);
        ask(&mut wire, &request).await.map(drop)
    }

    /// Writes the request for `op` in session `slot` into `out`, in place of what was there.
    pub fn write_request(&self, out: &mut Vec<u8>, op: Op, slot: usize) {
        let session = &self.sessions[slot % self.sessions.len()];
        let host = self.address;
        out.clear();
        match self.dialect {
            Dialect::ChatKit => write_post(out, host, "/chatkit", "", &session.chatkit(op)),
            Dialect::Rest => session.write_rest(out, host, op),
        }
    }
}

impl Session {
    async fn create(wire: &mut Wire, host: SocketAddr, token: &str, bound: bool) -> Result<Self> {
        let mut out = Vec::new();
        write_post(&mut out, host, &format!("{PREFIX}/sessions"), token, "{}");
        let id = made_id(&ask(wire, &out).await.context("create_session")?)?;
        out.clear();
        write_post(&mut out, host, &format!("{PREFIX}/sessions/{id}/threads"), token, "{}");
        let thread = made_id(&ask(wire, &out).await.context("create_thread")?)?;
        let mut session =
            Self { token: token.to_owned(), id, thread, upstream_thread: String::new() };
        if bound {
            out.clear();
            session.write_rest(&mut out, host, Op::Run(Script::burst(1, 8)));
            let stream = ask(wire, &out).await.context("the first create_run")?;
            session.upstream_thread = thread_in(&stream).context("no thread id in the stream")?;
        }
        Ok(session)
    }

    fn chatkit(&self, op: Op) -> String {
        let thread = &self.upstream_thread;
        match op {
            Op::GetSession | Op::GetThread | Op::Passthrough => {
                format!(r#"{{"type":"threads.get_by_id","params":{{"thread_id":"{thread}"}}}}"#)
            }
            Op::Rename => format!(
                r#"{{"type":"threads.update","params":{{"thread_id":"{thread}","title":"{TITLE}"}}}}"#
            ),
            Op::FirstRun(script) => format!(
                r#"{{"type":"threads.create","params":{{"input":{{"content":[{{"type":"input_text","text":"{script}"}}],"attachments":[],"inference_options":{{}}}}}}}}"#
            ),
            Op::Run(script) => format!(
                r#"{{"type":"threads.add_user_message","params":{{"thread_id":"{thread}","input":{{"content":[{{"type":"input_text","text":"{script}"}}],"attachments":[],"inference_options":{{}}}}}}}}"#
            ),
        }
    }

    fn write_rest(&self, out: &mut Vec<u8>, host: SocketAddr, op: Op) {
        let Self { token, id, thread, .. } = self;
        match op {
            Op::GetSession => {
                write_head(out, host, "GET", &format!("{PREFIX}/sessions/{id}"), token);
                out.extend_from_slice(b"\r\n");
            }
            Op::FirstRun(script) => {
                let body = format!(r#"{{"message":"{script}","stream":true}}"#);
                write_post(out, host, CHAT, token, &body);
            }
            Op::GetThread => {
                let path = format!("{PREFIX}/sessions/{id}/threads/{thread}");
                write_head(out, host, "GET", &path, token);
                out.extend_from_slice(b"\r\n");
            }
            Op::Passthrough => write_post(out, host, PREFIX, token, &self.chatkit(op)),
            Op::Rename => {
                let path = format!("{PREFIX}/sessions/{id}");
                let body = format!(r#"{{"title":"{TITLE}"}}"#);
                write_head(out, host, "PATCH", &path, token);
                write_body(out, &body);
            }
            Op::Run(script) => {
                let path = format!("{PREFIX}/sessions/{id}/threads/{thread}/runs");
                let body = format!(
                    r#"{{"message":{{"role":"user","content":[{{"type":"input_text","text":"{script}"}}]}}}}"#
                );
                write_post(out, host, &path, token, &body);
            }
        }
    }
}

fn write_post(out: &mut Vec<u8>, host: SocketAddr, path: &str, token: &str, body: &str) {
    write_head(out, host, "POST", path, token);
    write_body(out, body);
}

fn write_head(out: &mut Vec<u8>, host: SocketAddr, method: &str, path: &str, token: &str) {
    use std::io::Write as _;
    let _ = write!(
        out,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench\r\naccept: */*\r\n"
    );
    if !token.is_empty() {
        let _ = write!(out, "authorization: Bearer {token}\r\n");
    }
}

fn write_body(out: &mut Vec<u8>, body: &str) {
    use std::io::Write as _;
    let length = body.len();
    let _ = write!(out, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
}

/// Sends one request and keeps the whole answer.
///
/// # Errors
///
/// The socket's, and any status but 200.
pub async fn ask(wire: &mut Wire, request: &[u8]) -> Result<Vec<u8>> {
    struct Keep(Vec<u8>);
    impl Sink for Keep {
        fn data(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut body = Keep(Vec::new());
    let answer = wire.exchange(request, &mut body).await?;
    if answer.status != 200 {
        bail!("status {}: {}", answer.status, String::from_utf8_lossy(&body.0));
    }
    Ok(body.0)
}

fn made_id(body: &[u8]) -> Result<String> {
    let body: Value = serde_json::from_slice(body)?;
    let id = body.pointer("/data/id").and_then(Value::as_str);
    id.map(str::to_owned).with_context(|| format!("no data.id in {body}"))
}

fn thread_in(stream: &[u8]) -> Option<String> {
    const KEY: &[u8] = br#""thread_id":""#;
    let at = memchr::memmem::find(stream, KEY)? + KEY.len();
    let rest = stream.get(at..)?;
    let end = memchr::memchr(b'"', rest)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

fn token(secret: &str, user: usize) -> jsonwebtoken::errors::Result<String> {
    let now = crate::clock_ns() / 1_000_000_000;
    let claims = json!({ "sub": format!("bench-{user}"), "iat": now, "exp": now + 24 * 3600 });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)
}

const TITLE: &str = "Grüße from the bench";
/// Sessions are spread over so many users, each with one token.
const USERS: usize = 16;
const SETUP_LANES: usize = 16;
const SETUP_BUFFER: usize = 64 * 1024;
