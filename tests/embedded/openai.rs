//! A model that answers, played by the test: every step of both sides is in one function.

use std::future::Future;
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

impl Api {
    async fn bind() -> Self {
        Self::with(|api| api, |responder| responder).await
    }

    async fn with(
        api: impl FnOnce(HttpUpstreamBuilder) -> HttpUpstreamBuilder,
        responder: impl FnOnce(OpenAiResponder) -> OpenAiResponder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let url = completions_url(&base).unwrap();
        let api = api(HttpUpstream::builder(url)).build().unwrap();
        let server = Embedded::in_memory().unwrap();
        let server = server.with_responder(responder(OpenAiResponder::new(api, "a-model")));
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

#[tokio::test]
async fn each_piece_of_text_is_there_before_the_next_is_sent() {
    let api = Api::bind().await;
    let mut body = send(&api.server, &create_body("hello")).await.into_body();
    for expected in ["thread.created", "thread.item.done", "stream_options"] {
        assert_eq!(kind(&next(&mut body).await), expected);
    }
    let reading = tokio::spawn(async move {
        let added = next(&mut body).await;
        (added, body)
    });
    let mut peer = api.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    peer.send(chunk("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n")).await;
    peer.send(chunk(delta("Good "))).await;
    let (added, mut body) = soon(reading).await.unwrap();
    assert_eq!(kind(&added), "thread.item.added");
    assert!(kind(&next(&mut body).await).ends_with("content_part.added"));
    let event = soon(next(&mut body)).await;
    assert_eq!(string(event.get("update").unwrap(), "delta"), "Good ");

    peer.send(chunk(delta("day"))).await;
    let event = soon(next(&mut body)).await;
    assert_eq!(string(event.get("update").unwrap(), "delta"), "day");

    peer.send(chunk(DONE)).await;
    assert!(kind(&soon(next(&mut body)).await).ends_with("content_part.done"));
    let done = soon(next(&mut body)).await;
    assert_eq!(text_of(done.get("item").unwrap()), "Good day");
    assert!(soon(body.frame()).await.is_none());
}

#[tokio::test]
async fn the_model_is_told_the_prompt_and_the_conversation() {
    let api = Api::with(
        |api| api,
        |responder| responder.with_api_key(KEY).unwrap().with_system_prompt("Be brief."),
    )
    .await;
    let answer = api.say("Who?");
    let mut peer = api.accept().await;
    let (head, body) = peer.request().await;
    assert!(head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{head}");
    for field in [
        "authorization: bearer planted-key",
        "content-type: application/json",
        "accept: text/event-stream",
        "accept-encoding: identity",
    ] {
        assert!(head.lines().any(|line| line == field), "{field} in {head}");
    }
    assert_eq!(
        body,
        r#"{"model":"a-model","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Who?"}],"stream":true}"#
    );
    peer.answer("Me.").await;
    let thread_id = soon(answer).await.unwrap().thread_id();

    // With a model and a quotation that the user chose; on the same connection.
    let (server, id) = (api.server.clone(), thread_id.clone());
    let second = tokio::spawn(async move {
        let input = r#"{"content":[{"type":"input_text","text":"Why?"}],"quoted_text":"Me.","attachments":[],"inference_options":{"model":"another"}}"#;
        let id = quoted(&id);
        post(&server, &format!(r#"{{"type":"threads.add_user_message","params":{{"input":{input},"thread_id":{id}}}}}"#)).await
    });
    let (_, body) = peer.request().await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["model"], "a-model");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Me."},
            {"role": "user", "content": "> Me.\n\nWhy?"},
        ])
    );
    peer.answer("Because.").await;
    assert_eq!(text_of(&soon(second).await.unwrap().last_item()), "Because.");
}

/// Says something, and leaves as many items that nobody is told.
#[derive(Debug)]
struct Noisy(usize);

impl Responder for Noisy {
    fn respond(&self, mut turn: Turn) -> embedded::TurnFuture {
        assert!(turn.items().len() <= 100);
        let items = self.0;
        Box::pin(async move {
            for _ in 0..items {
                turn.emit_item(Content::EndOfTurn(EndOfTurn::default())).await;
            }
            let mut message = turn.begin_message().await;
            message.say("noted").await;
            message.end().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn messages_are_told_beyond_a_hundred_items_and_not_beyond_a_thousand() {
    for (noise, questions, told) in [(40, 5, 11), (10, 30, 49), (500, 3, 3)] {
        let api = Api::bind().await;
        let noisy = api.server.clone().with_responder(Noisy(noise));
        let thread_id = create(&noisy, "q0").await.thread_id();
        for n in 1..questions {
            add(&noisy, &thread_id, &format!("q{n}")).await;
        }
        let server = api.server.clone();
        let answer = tokio::spawn(async move { add(&server, &thread_id, "now").await });
        let mut peer = api.accept().await;
        let (_, body) = peer.request().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let messages = body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), told, "{noise}");
        assert_eq!(messages.last().unwrap()["content"], "now");
        peer.answer("Yes.").await;
        soon(answer).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_key_there_is_no_authorization() {
    let api = Api::bind().await;
    let answer = api.say("hello");
    let mut peer = api.accept().await;
    let (head, body) = peer.request().await;
    assert!(!head.contains("authorization"), "{head}");
    assert!(!body.contains("system"), "{body}");
    peer.answer("Hi.").await;
    assert_eq!(said(&soon(answer).await.unwrap()), ["Hi."]);
}

#[tokio::test]
async fn a_stream_of_single_bytes_is_the_same_answer() {
    let api = Api::bind().await;
    let events =
        format!(": hm\r\n\r\n{}\r\n{}{DONE}", delta("Gr\u{fc}\u{df}e \u{1f600}"), delta("!"));
    let mut bytes = STREAM.as_bytes().to_vec();
    events.bytes().for_each(|byte| bytes.extend(chunk([byte])));
    let answer = api.answered(bytes).await;
    assert_eq!(said(&answer), ["Gr\u{fc}\u{df}e \u{1f600}", "!"]);
    assert_eq!(text_of(&answer.last_item()), "Gr\u{fc}\u{df}e \u{1f600}!");
}

#[tokio::test]
async fn a_finished_answer_needs_no_end_of_the_stream() {
    let alive = ": hm\n\ndata:\n\n".to_owned();
    let (idle, empty) = (120, delta(""));
    for (events, sign, last_sign, patience) in [
        // Whatever comes then is no answer.
        (delta("here") + &end("", "stop"), &alive, 1, 2),
        (delta("here") + &end("", "length"), &empty, 1, 2),
        // The reason may stand in every chunk, and there may be more of them.
        (delta("it ends ") + &end("here", "stop"), &empty, 0, 10),
        (end("here", "length"), &empty, 0, 10),
        (end("it ends ", "in_progress") + &end("here", "in_progress"), &alive, 0, 10),
        // The server is there.
        (end("here", "stop"), &alive, 9, 19),
        (end("here", "stop"), &empty, idle - 1, idle),
    ] {
        let api = Api::bind().await;
        let (mut body, mut peer) = begun(&api, &events).await;
        let mut last = tokio::spawn(async move { (next(&mut body).await, body) });
        settle().await;
        let mut passed = 0;
        while passed < last_sign {
            let step = (last_sign - passed).min(9);
            pass(step).await;
            passed += step;
            peer.send(chunk(sign)).await;
            settle().await;
        }
        if passed + 1 < patience {
            pass(patience - passed - 1).await;
            passed = patience - 1;
            settle().await;
        }
        assert!(!last.is_finished(), "{events}");
        pass(patience - passed).await;
        let (done, mut body) = soon(&mut last).await.unwrap();
        assert!(kind(&done).ends_with("content_part.done"), "{done}");
        assert_eq!(kind(&next(&mut body).await), "thread.item.done");
        assert!(soon(body.frame()).await.is_none());
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn a_pause_in_an_answer_with_a_reason_in_every_chunk_is_none() {
    let alive = ": hm\n\n".to_owned();
    for (events, word, signs, pause) in [
        (end("One ", "stop"), "stop", 6, 2),
        (delta("One ") + &end("two ", "stop"), "stop", 3, 1),
        (delta("One ") + &end("two ", "stop"), "stop", 1, 5),
        (end("One ", "length"), "length", 1, 3),
        (end("One ", "in_progress") + &end("two ", "in_progress"), "in_progress", 1, 3),
        (end("One ", "unknown") + &end("two ", "unknown"), "unknown", 1, 3),
    ] {
        let api = Api::bind().await;
        let (mut body, mut peer) = begun(&api, &events).await;
        let rest = tokio::spawn(async move {
            let mut event = next(&mut body).await;
            let text = string(event.get("update").unwrap(), "delta");
            while kind(&event) != "thread.item.done" {
                event = next(&mut body).await;
            }
            (text, text_of(event.get("item").unwrap()))
        });
        settle().await;
        for _ in 0..signs {
            pass(pause).await;
            peer.send(chunk(&alive)).await;
            settle().await;
        }
        peer.send(chunk(end("three", word) + DONE)).await;
        let (text, all) = soon(rest).await.unwrap();
        assert_eq!(text, "three", "{events}");
        assert!(all.starts_with("One ") && all.ends_with("three"), "{all}");
    }
}

#[tokio::test]
async fn an_answer_is_read_as_servers_write_it() {
    let api = Api::bind().await;
    let stop = |delta: Value| {
        let choice = json!({"delta": delta, "finish_reason": "stop"});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let parts =
        |parts: Value| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": parts}}]}));
    let thinking =
        parts(json!([{"type": "thinking", "thinking": [{"type": "text", "text": "planted"}]}]));
    let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n";
    let stream =
        |events: String| [STREAM.as_bytes(), &chunk(events), LAST_CHUNK.as_bytes()].concat();
    let whole = json!({"choices": [{"message": {"content": "Good day"}, "finish_reason": "stop"}]});
    let whole = whole.to_string();
    let length = whole.len();
    let document = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{whole}"
    );
    for (what, bytes) in [
        (
            "a reason in every chunk",
            stream(stop(json!({"content": "Good "})) + &stop(json!({"content": "day"})) + DONE),
        ),
        (
            "and no [DONE]",
            stream(stop(json!({"content": "Good "})) + &stop(json!({"content": "day"}))),
        ),
        (
            "a reason in a thought",
            stream(stop(json!({"reasoning": "planted"})) + &delta("Good day") + DONE),
        ),
        ("text after it", stream(stop(json!({"content": "Good "})) + &delta("day") + DONE)),
        ("tokens after it", stream(delta("Good ") + &stop(json!({"content": "day"})) + usage)),
        (
            "empty data",
            stream("data:\n\n".to_owned() + &delta("Good ") + "data: \n\n" + &delta("day") + DONE),
        ),
        (
            "parts",
            stream(
                thinking
                    + &parts(json!([{"type": "text", "text": "Good "}]))
                    + &delta("day")
                    + DONE,
            ),
        ),
        ("no last blank line", stream(delta("Good day") + "data: [DONE]")),
        ("no stream", document.into_bytes()),
        ("no stream by another name", stream(whole + "\n\n" + DONE)),
    ] {
        let answer = api.answered(bytes).await;
        assert_eq!(failed(&answer), None, "{what}");
        assert_eq!(text_of(&answer.last_item()), "Good day", "{what}");
    }
}

#[tokio::test]
async fn an_error_in_the_stream_keeps_its_meaning() {
    let api = Api::bind().await;
    let too_long = "data: {\"object\":\"error\",\"message\":\"planted\",\"code\":400}\n\n";
    for (error, may_retry) in [
        ("data: {\"error\":{\"code\":401}}\n\n", false),
        (
            "data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n",
            false,
        ),
        (too_long, false),
        ("error: {\"code\":400,\"message\":\"planted\"}\n\n", false),
        ("event: error\ndata: {\"detail\":\"planted\"}\n\n", true),
        ("data: {\"error\":\"planted\"}\n\n", true),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"SAFETY\"}]}\n\n", false),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n", true),
    ] {
        for text in ["", "half"] {
            let events = if text.is_empty() { String::new() } else { delta(text) };
            let events = chunk(events + error + DONE);
            let answer =
                api.answered([STREAM.as_bytes(), &events, LAST_CHUNK.as_bytes()].concat()).await;
            assert_eq!(failed(&answer), Some(may_retry), "{error}");
            assert!(!format!("{:?}", answer.frames).contains("planted"));
            assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{error}");
        }
    }
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

#[tokio::test]
async fn a_question_is_asked_again_where_that_helps() {
    let api = Api::bind().await;
    let good =
        [STREAM.as_bytes(), &chunk(delta("Good day") + DONE), LAST_CHUNK.as_bytes()].concat();
    let busy = chunk("data: {\"error\":{\"code\":503}}\n\n");
    let busy = [STREAM.as_bytes(), &busy, LAST_CHUNK.as_bytes()].concat();
    let (limited, unavailable) = (refused(429), refused(503));
    for answers in [
        &[&*limited, &*good][..],
        &[&*unavailable, &*limited, &*good],
        &[&*busy, &*good],
        &[b"", &*good],
    ] {
        let answer = api.answered_each(answers).await;
        assert_eq!((failed(&answer), said(&answer)), (None, vec!["Good day".to_owned()]));
    }
    // Somebody has seen something, it is not worth the while, or it would be too late.
    let begun = chunk(delta("half") + "data: {\"error\":{\"code\":503}}\n\n");
    let begun = [STREAM.as_bytes(), &begun, LAST_CHUNK.as_bytes()].concat();
    let but = |field: &str| {
        let refused = String::from_utf8(refused(429)).unwrap();
        refused.replace("retry-after-ms: 0", field).into_bytes()
    };
    for once in [begun, but("x-should-retry: false"), but("retry-after: 30")] {
        assert_eq!(failed(&api.answered(once).await), Some(true));
    }
}

#[tokio::test]
async fn an_answer_that_was_asked_for_again_has_the_rest_of_the_time() {
    let seconds = Duration::from_secs;
    for begun in ["", STREAM] {
        let api = Api::with(|api| api.first_byte_timeout(seconds(30)), |responder| responder).await;
        let answer = api.say("hello");
        let mut peer = api.accept().await;
        peer.request().await;
        pass(20).await;
        peer.send(refused(503)).await;
        drop(peer);
        let mut peer = api.accept().await;
        peer.request().await;
        peer.send(begun).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        pass(11).await;
        assert_eq!(failed(&soon(answer).await.unwrap()), Some(true));
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn a_refused_request_ends_the_turn_before_any_output() {
    let api = Api::bind().await;
    for (status, may_retry) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (429, true),
        (500, true),
        (503, true),
        (307, false),
    ] {
        let refusal = refused(status);
        let asked = if may_retry { 3 } else { 1 };
        let answer = api.answered_each(&vec![&*refusal; asked]).await;
        assert_eq!(failed(&answer), Some(may_retry), "{status}");
        let types = answer.types();
        assert_eq!(types, ["thread.created", "thread.item.done", "stream_options", "error"]);
        assert!(!format!("{:?}", answer.frames).contains("planted"));
        // The question is stored, so it can be answered later.
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_ends_the_turn_before_any_output() {
    let api = Api::bind().await;
    let stream = |events: &str| {
        let events = chunk(events);
        [STREAM.as_bytes(), &events, LAST_CHUNK.as_bytes()].concat()
    };
    // What would be an answer, by another name.
    let text = stream(&(delta("planted") + DONE));
    let text = String::from_utf8(text).unwrap().replace("text/event-stream", "text/plain");
    let filtered = r#"data: {"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;
    for (what, bytes, may_retry, asked) in [
        ("nothing", Vec::new(), true, 3),
        ("nonsense", b"SSH-2.0-x\r\n".to_vec(), true, 3),
        ("no stream", text.into_bytes(), true, 1),
        ("a head", STREAM.as_bytes().to_vec(), true, 1),
        ("no chunk", stream("data: planted\n\n"), true, 1),
        ("an error", stream("data: {\"error\":{\"code\":\"overloaded\"}}\n\n"), true, 3),
        ("an early end", stream(": nothing\n\n"), true, 1),
        ("no text", stream(DONE), true, 1),
        ("a filter", stream(&format!("{filtered}\n\n")), false, 1),
        ("too much", stream(&format!("data: {}", "x".repeat(300 << 10))), false, 1),
    ] {
        let answer = api.answered_each(&vec![&*bytes; asked]).await;
        assert_eq!(failed(&answer), Some(may_retry), "{what}");
        assert_eq!(answer.types().len(), 4, "{what}");
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{what}");
    }
    let Api { listener, server } = api;
    drop(listener);
    assert_eq!(failed(&soon(create(&server, "hello")).await), Some(true));
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_in_an_error_and_is_not_stored() {
    let api = Api::bind().await;
    let begun = [STREAM.as_bytes(), &chunk(delta("half"))].concat();
    let unfinished = [&*begun, LAST_CHUNK.as_bytes()].concat();
    let reported = [&*begun, &chunk("data: {\"error\":\"planted\"}\n\n")].concat();
    for (what, bytes) in [("cut", begun), ("unfinished", unfinished), ("reported", reported)] {
        let answer = api.answered(bytes).await;
        assert_eq!(
            (said(&answer), failed(&answer)),
            (vec!["half".to_owned()], Some(true)),
            "{what}"
        );
        assert!(!answer.cut, "{what}");
        assert_eq!(items(&api.server, &answer.thread_id()).await.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn silence_ends_the_turn_after_a_while() {
    let seconds = Duration::from_secs;
    let api = Api::with(
        |api| api.first_byte_timeout(seconds(30)).idle_timeout(seconds(60)),
        |responder| responder,
    )
    .await;
    let answer = api.say("hello");
    let mut peer = api.accept().await;
    peer.request().await;
    pass(31).await;
    assert_eq!(failed(&soon(answer).await.unwrap()), Some(true));
    peer.expect_closed().await;

    let mut body = send(&api.server, &create_body("hello")).await.into_body();
    let reading = tokio::spawn(async move {
        while !kind(&next(&mut body).await).ends_with("text_delta") {}
        body
    });
    let mut peer = api.accept().await;
    peer.request().await;
    peer.send(STREAM).await;
    peer.send(chunk(delta("half"))).await;
    let mut body = soon(reading).await.unwrap();
    let last = tokio::spawn(async move { next(&mut body).await });
    // It begins to wait.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    pass(61).await;
    assert_eq!(kind(&soon(last).await.unwrap()), "error");
    peer.expect_closed().await;
}

#[tokio::test]
async fn when_the_client_leaves_the_connection_is_closed() {
    let api = Api::bind().await;
    // Before the answer's head, and in the middle of it.
    for begun in [false, true] {
        let mut body = send(&api.server, &create_body("hello")).await.into_body();
        let thread = next(&mut body).await;
        let thread_id = string(thread.get("thread").unwrap(), "id");
        next(&mut body).await;
        next(&mut body).await;
        let mut reading = Box::pin(async move {
            while !kind(&next(&mut body).await).ends_with("text_delta") {}
            body
        });
        let mut peer = tokio::select! {
            peer = api.accept() => peer,
            _ = &mut reading => unreachable!("nothing was said yet"),
        };
        tokio::select! {
            _ = peer.request() => {}
            _ = &mut reading => unreachable!("nothing was said yet"),
        }
        if begun {
            peer.send(STREAM).await;
            peer.send(chunk(delta("half"))).await;
            drop(soon(reading).await);
        } else {
            drop(reading);
        }
        peer.expect_closed().await;
        // As the SDK does: what was said so far is kept.
        let stored = items(&api.server, &thread_id).await;
        assert_eq!(stored.len(), if begun { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_conversation_goes_on_after_a_failure() {
    let api = Api::bind().await;
    let failed_at = api.answered(refused(401)).await;
    let thread_id = failed_at.thread_id();
    let (server, id) = (api.server.clone(), thread_id.clone());
    let second = tokio::spawn(async move { add(&server, &id, "again").await });
    let mut peer = api.accept().await;
    let (_, body) = peer.request().await;
    // Some APIs want the roles to alternate.
    let messages = r#""messages":[{"role":"user","content":"hello\n\nagain"}]"#;
    assert!(body.contains(messages), "{body}");
    peer.answer("Here.").await;
    assert_eq!(said(&soon(second).await.unwrap()), ["Here."]);
    // Actions are not for models.
    let act = format!(
        r#"{{"type":"threads.custom_action","params":{{"thread_id":"{thread_id}","action":{{"type":"a"}}}}}}"#
    );
    assert_eq!(post(&api.server, &act).await.types(), ["stream_options", "error"]);
}

/// Makes a refusal that lasts, with the API's word for it.
fn refused_for(status: u16, code: &str) -> Vec<u8> {
    let refused = String::from_utf8(refused(status)).unwrap();
    let length = format!("content-length: {}", refused.rsplit("\r\n").next().unwrap().len());
    let body = format!(r#"{{"error":{{"message":"planted","code":"{code}"}}}}"#);
    let head = refused.split(&length).next().unwrap();
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Api {
    /// Says something more. Gives what the model was told each time, and the answer to it.
    async fn add(&self, thread_id: &str, text: &str, answers: &[&[u8]]) -> (Vec<Value>, Answer) {
        let (server, id, text) = (self.server.clone(), thread_id.to_owned(), text.to_owned());
        let answer = tokio::spawn(async move { add(&server, &id, &text).await });
        let mut told = Vec::new();
        for bytes in answers {
            let mut peer = self.accept().await;
            let (_, body) = peer.request().await;
            let body: Value = serde_json::from_str(&body).unwrap();
            let messages = body["messages"].as_array().unwrap().iter();
            told.push(messages.map(|message| message["content"].clone()).collect());
            peer.send(bytes).await;
        }
        let answer = soon(answer).await.unwrap();
        let again = self.listener.accept();
        assert!(tokio::time::timeout(Duration::ZERO, again).await.is_err(), "asked once more");
        (told, answer)
    }
}

#[tokio::test]
async fn a_question_that_was_refused_is_not_in_the_way_of_the_next() {
    let stream = |events: String| {
        let head = STREAM.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), &chunk(events), LAST_CHUNK.as_bytes()].concat()
    };
    let good = stream(delta("ok") + DONE);
    let filter = refused_for(400, "content_filter");
    for refusal in [
        filter.clone(),
        refused_for(400, "context_length_exceeded"),
        stream("data: {\"error\":{\"code\":\"content_policy_violation\"}}\n\n".to_owned()),
        stream(end("", "content_filter")),
        // Nor is one whose answer was.
        stream(delta("half") + &end("", "content_filter")),
        stream(delta("half") + "data: {\"error\":{\"code\":400}}\n\n"),
    ] {
        let api = Api::bind().await;
        let bad = api.answered(&refusal).await;
        assert_eq!(failed(&bad), Some(false));
        let id = bad.thread_id();
        assert_eq!(items(&api.server, &id).await.len(), 1);
        let (told, answer) = api.add(&id, "innocent", &[&good]).await;
        assert_eq!((json!(told), said(&answer)), (json!([["innocent"]]), vec!["ok".to_owned()]));
    }
    // What may have been refused for another reason is told again; and less if that is refused, once.
    for refusal in [refused(401), refused(403), refused(404), refused(400), refused(422)] {
        let api = Api::bind().await;
        let id = api.answered(&refusal).await.thread_id();
        let (told, answer) = api.add(&id, "again", &[&filter, &good]).await;
        assert_eq!(json!(told), json!([["hello\n\nagain"], ["again"]]));
        assert_eq!(said(&answer), ["ok"]);
        let (told, answer) = api.add(&id, "bad", &[&filter, &filter]).await;
        assert_eq!(json!(told[1]), json!(["again", "ok", "bad"]));
        assert_eq!(failed(&answer), Some(false));
        let (told, _) = api.add(&id, "and", &[&good]).await;
        assert_eq!(json!(told), json!([["hello\n\nagain", "ok", "and"]]));
    }
}

#[tokio::test]
async fn of_a_conversation_that_is_too_long_the_newer_half_is_told() {
    let api = Api::bind().await;
    let good = chunk(delta("ok") + DONE);
    let head = STREAM.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let good = [head.as_bytes(), &good, LAST_CHUNK.as_bytes()].concat();
    let long = refused_for(400, "context_length_exceeded");
    let id = api.answered(&good).await.thread_id();
    for text in ["b", "c"] {
        api.add(&id, text, &[&good]).await;
    }
    let (told, answer) = api.add(&id, "now, at length", &[&long, &good]).await;
    assert_eq!(
        json!(told),
        json!([
            ["hello", "ok", "b", "ok", "c", "ok", "now, at length"],
            ["b", "ok", "c", "ok", "now, at length"]
        ])
    );
    assert_eq!(said(&answer), ["ok"]);
    // Not more than once, and not beyond the time that there is.
    let (_, answer) = api.add(&id, "more", &[&long, &long]).await;
    assert_eq!(failed(&answer), Some(false));
}
