//! A model that answers, played by the test: every step of both sides is in one function.

mod answers;
mod conversation;
mod failures;
mod ollama;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use chatkit_rest::embedded::openai::{OpenAiResponder, completions_url};
use chatkit_rest::embedded::{
    self, Content, Embedded, EmbeddedBody, EndOfTurn, Json, Responder, Turn,
};
use chatkit_rest::forward::{HttpUpstream, HttpUpstreamBuilder};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::client::{
    Answer, add, create, create_body, items, kind, next, post, quoted, send, string, text_of,
};

const KEY: &str = "planted-key";
const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const DONE: &str = "data: [DONE]\n\n";
const LAST_CHUNK: &str = "0\r\n\r\n";

/// Waits for what must come soon, or not at all.
async fn soon<F: Future>(future: F) -> F::Output {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.unwrap()
}

/// Lets the clock jump.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

fn delta(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// Gives a text with a finish reason beside it, or a reason alone.
fn end(text: &str, reason: &str) -> String {
    let choice = json!({"delta": {"content": text}, "finish_reason": reason});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}

/// Lets what has arrived be read.
async fn settle() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Says something, to which the API begins to answer; each text of that is out.
async fn begun(api: &Api, events: &str) -> (EmbeddedBody, Peer) {
    let mut body = send(&api.server, &create_body("hello")).await.into_body();
    let deltas = events.matches("content").count() - events.matches("\"content\":\"\"").count();
    let reading = tokio::spawn(async move {
        for _ in 0..deltas {
            while !kind(&next(&mut body).await).ends_with("text_delta") {}
        }
        body
    });
    let mut peer = api.accept().await;
    peer.request().await;
    peer.send([STREAM.as_bytes(), &chunk(events)].concat()).await;
    (soon(reading).await.unwrap(), peer)
}

/// An API, and the server that it answers for.
struct Api {
    listener: TcpListener,
    server: Embedded,
}

/// Makes a server that asks the API at `address`.
fn asking(
    address: SocketAddr,
    api: impl FnOnce(HttpUpstreamBuilder) -> HttpUpstreamBuilder,
    responder: impl FnOnce(OpenAiResponder) -> OpenAiResponder,
) -> Embedded {
    let url = completions_url(&format!("http://{address}/v1")).unwrap();
    let api = api(HttpUpstream::builder(url)).build().unwrap();
    let server = Embedded::in_memory().unwrap();
    server.with_responder(responder(OpenAiResponder::new(api, "a-model")))
}

impl Api {
    async fn bind() -> Self {
        Self::with(|api| api, |responder| responder).await
    }

    async fn with(
        api: impl FnOnce(HttpUpstreamBuilder) -> HttpUpstreamBuilder,
        responder: impl FnOnce(OpenAiResponder) -> OpenAiResponder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = asking(listener.local_addr().unwrap(), api, responder);
        Self { listener, server }
    }

    async fn accept(&self) -> Peer {
        let (tcp, _) = soon(self.listener.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Peer { tcp }
    }

    /// Says something.
    fn say(&self, text: &str) -> JoinHandle<Answer> {
        let (server, text) = (self.server.clone(), text.to_owned());
        tokio::spawn(async move { create(&server, &text).await })
    }

    /// Says something, which the API answers with these bytes and closes.
    async fn answered(&self, bytes: impl AsRef<[u8]>) -> Answer {
        self.answered_each(&[bytes.as_ref()]).await
    }

    /// Gives the same, where the question is asked as often as there are answers.
    async fn answered_each(&self, answers: &[&[u8]]) -> Answer {
        let answer = self.say("hello");
        let mut asked = Vec::new();
        for bytes in answers {
            let mut peer = self.accept().await;
            asked.push(peer.request().await);
            peer.send(bytes).await;
        }
        assert!(asked.iter().all(|request| *request == asked[0]), "{asked:?}");
        let answer = soon(answer).await.unwrap();
        let again = self.listener.accept();
        assert!(tokio::time::timeout(Duration::ZERO, again).await.is_err(), "asked once more");
        answer
    }
}

struct Peer {
    tcp: TcpStream,
}

impl Peer {
    /// Gives the next request: its head and its body.
    async fn request(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.tcp.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split_once('\r').unwrap().0.parse().unwrap();
        let mut body = vec![0; length];
        soon(self.tcp.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.tcp.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends all of an answer, in one write.
    async fn answer(&mut self, text: &str) {
        let events = chunk(delta(text) + DONE);
        self.send([STREAM.as_bytes(), &events, LAST_CHUNK.as_bytes()].concat()).await;
    }

    async fn expect_closed(&mut self) {
        match soon(self.tcp.read(&mut [0; 64])).await {
            Ok(0) | Err(_) => {}
            Ok(n) => panic!("{n} bytes instead of an end"),
        }
    }
}

/// Gives the texts of the deltas.
fn said(answer: &Answer) -> Vec<String> {
    let deltas = answer.events().into_iter().filter(|event| kind(event).ends_with("text_delta"));
    deltas.map(|event| string(event.get("update").unwrap(), "delta")).collect()
}

/// Tells whether the turn ended with an error that may be tried again, or that may not.
fn failed(answer: &Answer) -> Option<bool> {
    let events = answer.events();
    let error = events.last().filter(|event| kind(event) == "error")?;
    assert_eq!(string(error, "code"), "stream.error");
    Some(error.get("allow_retry") == Some(&Json::Bool(true)))
}

/// Makes a refusal that may be followed by another question at once.
fn refused(status: u16) -> Vec<u8> {
    let body = r#"{"error":{"message":"planted","code":"some_code"}}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nretry-after-ms: 0\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Makes a refusal that lasts, with the API's word for it.
fn refused_for(status: u16, code: &str) -> Vec<u8> {
    let refused = String::from_utf8(refused(status)).unwrap();
    let length = format!("content-length: {}", refused.rsplit("\r\n").next().unwrap().len());
    let body = format!(r#"{{"error":{{"message":"planted","code":"{code}"}}}}"#);
    let head = refused.split(&length).next().unwrap();
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
