//! A fixture as it is written → what it means, or where it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::error::segment;
use super::fixture::{
    ClientRequest, Destination, Exchange, Expectation, ExpectedBody, ExpectedRequest, Step,
    UpstreamAnswer,
};
use super::format::{
    AnswerEnd, AnswerFile, BodyEnd, ExchangeFile, ExpectFile, ReplyEnd, RequestFile, StepFile,
};
use super::matcher;
use super::variables::Variables;
use crate::rejection::Code;

/// The user of a request that names none.
const DEFAULT_USER: &str = "ada";

/// Where in a fixture something is wrong, and what.
pub(super) type FixtureFlaw = (String, String);

/// What is known while the steps of a fixture are read in order.
pub(super) struct Context {
    /// Where siblings of the file are.
    pub(super) directory: PathBuf,
    /// The variables that are set by then.
    defined: BTreeSet<String>,
}

impl Default for Context {
    fn default() -> Self {
        let defined = ["prefix", "token", "user"].map(str::to_owned).into();
        Self { directory: PathBuf::new(), defined }
    }
}

impl Context {
    fn known(&self, text: &str, pointer: &str) -> Result<(), FixtureFlaw> {
        let mut variables = Variables::default();
        for name in &self.defined {
            variables.set(name, "");
        }
        variables.fill(text).map(drop).map_err(|name| {
            (pointer.to_owned(), format!("{{{name}}} is captured by no step before this one"))
        })
    }

    fn expected(&self, value: &Value, pointer: &str) -> Result<(), FixtureFlaw> {
        let mut texts = Vec::new();
        matcher::check(value, pointer, &mut texts)?;
        texts.into_iter().try_for_each(|text| self.known(text, pointer))
    }
}

pub(super) fn steps(
    context: &mut Context,
    files: Vec<StepFile>,
    pointer: &str,
) -> Result<Vec<Step>, FixtureFlaw> {
    files
        .into_iter()
        .enumerate()
        .map(|(index, file)| step(context, file, &segment(pointer, index)))
        .collect()
}

fn step(context: &mut Context, file: StepFile, pointer: &str) -> Result<Step, FixtureFlaw> {
    let request = request(context, file.request, &segment(pointer, "request"))?;
    let place = segment(pointer, "upstream");
    let mut exchanges = Vec::new();
    for (index, file) in file.upstream.into_iter().enumerate() {
        exchanges.push(Arc::new(exchange(context, file, &request, &segment(&place, index))?));
    }
    let place = segment(pointer, "meanwhile");
    if !file.meanwhile.is_empty() && exchanges.is_empty() {
        return Err((place, "needs a request upstream to wait for".to_owned()));
    }
    let meanwhile = steps(context, file.meanwhile, &place)?;
    for (name, target) in &file.capture {
        if !target.is_empty() && !target.starts_with('/') {
            let place = segment(&segment(pointer, "capture"), name);
            return Err((place, "is not a JSON Pointer".to_owned()));
        }
        context.defined.insert(name.clone());
    }
    let place = segment(pointer, "expect");
    let expect = expectation(context, file.expect, &place)?;
    let refused = exchanges.iter().filter(|exchange| exchange.is_refused()).count();
    if refused != 0 && refused != exchanges.len() {
        let problem = "an upstream refuses connections for a whole step or not at all";
        return Err((segment(pointer, "upstream"), problem.to_owned()));
    }
    if matches!(expect.body, ExpectedBody::Upstream) && exchanges.is_empty() {
        return Err((segment(&place, "body"), "there is no request upstream".to_owned()));
    }
    Ok(Step { request, exchanges, meanwhile, expect, capture: file.capture })
}

fn request(
    context: &Context,
    file: RequestFile,
    pointer: &str,
) -> Result<ClientRequest, FixtureFlaw> {
    let method = Method::from_str(&file.method)
        .map_err(|_| (segment(pointer, "method"), "is not a method".to_owned()))?;
    let place = match (file.path, file.url) {
        (Some(path), None) => Destination::Rest(path),
        (None, Some(url)) => Destination::Absolute(url),
        _ => return Err((pointer.to_owned(), "needs either `path` or `url`".to_owned())),
    };
    let text = place.text();
    let from_root = matches!(place, Destination::Absolute(_));
    if !(text.starts_with('/') || (text.is_empty() || text.starts_with('?')) && !from_root) {
        return Err((pointer.to_owned(), "a path must start with \"/\"".to_owned()));
    }
    context.known(text, pointer)?;
    let mut headers = Vec::new();
    for (name, value) in file.headers {
        let place = segment(&segment(pointer, "headers"), &name);
        context.known(&value, &place)?;
        headers.push((header_name(&name, &place)?, value));
    }
    let is_json = file.json.is_some();
    let body = match (file.json, file.text, file.base64) {
        (None, None, None) => None,
        (Some(json), None, None) => Some(Bytes::from(json.get().to_owned())),
        (None, Some(text), None) => Some(Bytes::from(text)),
        (None, None, Some(text)) => Some(decode(&text, &segment(pointer, "base64"))?),
        _ => return Err((pointer.to_owned(), "has more than one body".to_owned())),
    };
    if is_json && !headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
        headers.push((CONTENT_TYPE, "application/json".to_owned()));
    }
    if body.is_none() && file.end != BodyEnd::Clean {
        return Err((segment(pointer, "end"), "there is no body".to_owned()));
    }
    let user = file.user.unwrap_or_else(|| DEFAULT_USER.to_owned());
    Ok(ClientRequest { method, place, user, token: file.token, headers, body, end: file.end })
}

fn exchange(
    context: &Context,
    file: ExchangeFile,
    client: &ClientRequest,
    pointer: &str,
) -> Result<Exchange, FixtureFlaw> {
    let place = segment(pointer, "request");
    let sent: Option<Value> =
        client.body.as_deref().and_then(|body| serde_json::from_slice(body).ok());
    let chatkit = if file.request == "$sent" { sent } else { Some(file.request.clone()) };
    let kind =
        chatkit.as_ref().and_then(|chatkit| chatkit.get("type")?.as_str().map(str::to_owned));
    let request = match file.request {
        Value::String(text) if text == "$sent" => ExpectedRequest::Sent,
        value @ Value::Object(_) => {
            context.expected(&value, &place)?;
            ExpectedRequest::Json(value)
        }
        _ => return Err((place, "must be a ChatKit request or \"$sent\"".to_owned())),
    };
    let headers = expected_headers(context, file.headers, &segment(pointer, "headers"))?;
    let answer = answer(context, file.answer, &segment(pointer, "answer"))?;
    Ok(Exchange { request, kind, headers, answer })
}

fn answer(
    context: &Context,
    file: AnswerFile,
    pointer: &str,
) -> Result<UpstreamAnswer, FixtureFlaw> {
    let event_stream = "text/event-stream; charset=utf-8";
    let mut bodies = Vec::new();
    if let Some(json) = file.json {
        bodies.push(("application/json", vec![Bytes::from(json.get().to_owned())], false));
    }
    if let Some(events) = file.events {
        let place = segment(pointer, "events");
        let mut chunks = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if event.get().contains(['\n', '\r']) {
                return Err((segment(&place, index), "an event is one line".to_owned()));
            }
            chunks.push(Bytes::from(format!("data: {}\n\n", event.get())));
        }
        bodies.push((event_stream, chunks, true));
    }
    if let Some(chunks) = file.chunks {
        bodies.push((event_stream, chunks.into_iter().map(Bytes::from).collect(), true));
    }
    if let Some(name) = file.sse {
        let place = segment(pointer, "sse");
        bodies.push((event_stream, recorded(&context.directory, &name, &place)?, true));
    }
    if let Some(text) = file.text {
        bodies.push(("text/plain; charset=utf-8", vec![Bytes::from(text)], false));
    }
    if let Some(text) = file.base64 {
        bodies.push((event_stream, vec![decode(&text, &segment(pointer, "base64"))?], true));
    }
    let has_body = !bodies.is_empty();
    let (content_type, chunks, chunked) = match (bodies.pop(), bodies.pop()) {
        (Some(body), None) => body,
        (None, _) => ("", Vec::new(), false),
        _ => return Err((pointer.to_owned(), "has more than one body".to_owned())),
    };
    if has_body == file.fail.is_some() {
        return Err((pointer.to_owned(), "needs either a body or `fail`".to_owned()));
    }
    if !chunked && file.end == AnswerEnd::BadFraming {
        return Err((segment(pointer, "end"), "only a stream has framing".to_owned()));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in file.headers {
        let place = segment(&segment(pointer, "headers"), &name);
        let name = header_name(&name, &place)?;
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            return Err((place, "is made from the body and `end`".to_owned()));
        }
        match value {
            Some(value) => {
                let value = HeaderValue::from_str(&value)
                    .map_err(|_| (place, "is not a header's value".to_owned()))?;
                headers.insert(name, value);
            }
            None => {
                headers.remove(name);
            }
        }
    }
    let status = status(file.status.unwrap_or(200), &segment(pointer, "status"))?;
    Ok(UpstreamAnswer { fail: file.fail, status, headers, chunks, chunked, end: file.end })
}

/// Gives a recorded stream: one chunk for each event, as the server sends them.
fn recorded(directory: &Path, name: &str, pointer: &str) -> Result<Vec<Bytes>, FixtureFlaw> {
    let flaw = |problem: String| (pointer.to_owned(), problem);
    if name.contains(['/', '\\']) || Path::new(name).extension() != Some("sse".as_ref()) {
        return Err(flaw("must be the name of an .sse file in the same folder".to_owned()));
    }
    let bytes = std::fs::read(directory.join(name))
        .map_err(|error| flaw(format!("{name} can't be read: {error}")))?;
    let mut rest = Bytes::from(bytes);
    let mut chunks = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        chunks.push(rest.split_to(end + 2));
    }
    if !rest.is_empty() {
        chunks.push(rest);
    }
    Ok(chunks)
}

fn expectation(
    context: &Context,
    file: ExpectFile,
    pointer: &str,
) -> Result<Expectation, FixtureFlaw> {
    let body = match (file.json, file.error, file.body) {
        (Some(json), None, None) => {
            context.expected(&json, &segment(pointer, "json"))?;
            ExpectedBody::Json(json)
        }
        (None, Some(error), None) => {
            let place = segment(pointer, "error");
            if !Code::ALL.iter().any(|code| code.as_str() == error.code) {
                return Err((segment(&place, "code"), "is not a code".to_owned()));
            }
            if let Some(details) = &error.details {
                context.expected(details, &segment(&place, "details"))?;
            }
            ExpectedBody::Error(error)
        }
        (None, None, Some(body)) if body == "$upstream" => ExpectedBody::Upstream,
        (None, None, Some(body)) => ExpectedBody::Text(body),
        _ => {
            let problem = "needs one of `json`, `error` and `body`";
            return Err((pointer.to_owned(), problem.to_owned()));
        }
    };
    let end = match file.leave_after_events {
        Some(_) if file.end != ReplyEnd::Clean => {
            let problem = "who leaves doesn't see the end";
            return Err((segment(pointer, "end"), problem.to_owned()));
        }
        Some(_) => ReplyEnd::Left,
        None => file.end,
    };
    Ok(Expectation {
        status: status(file.status, &segment(pointer, "status"))?,
        headers: expected_headers(context, file.headers, &segment(pointer, "headers"))?,
        body,
        end,
        leave_after_events: file.leave_after_events,
    })
}

fn expected_headers(
    context: &Context,
    file: BTreeMap<String, Option<String>>,
    pointer: &str,
) -> Result<Vec<(HeaderName, Option<String>)>, FixtureFlaw> {
    let mut headers = Vec::new();
    for (name, value) in file {
        let place = segment(pointer, &name);
        if let Some(value) = &value {
            context.expected(&Value::from(value.as_str()), &place)?;
        }
        headers.push((header_name(&name, &place)?, value));
    }
    Ok(headers)
}

fn header_name(name: &str, pointer: &str) -> Result<HeaderName, FixtureFlaw> {
    name.parse().map_err(|_| (pointer.to_owned(), "is not a header's name".to_owned()))
}

fn status(code: u16, pointer: &str) -> Result<StatusCode, FixtureFlaw> {
    StatusCode::from_u16(code).map_err(|_| (pointer.to_owned(), "is not a status".to_owned()))
}

fn decode(text: &str, pointer: &str) -> Result<Bytes, FixtureFlaw> {
    let decoded = STANDARD.decode(text);
    decoded.map(Bytes::from).map_err(|_| (pointer.to_owned(), "is not base64".to_owned()))
}
