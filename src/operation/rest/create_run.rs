//! Sends a message on a session's thread, and answers with what comes of it.

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chatkit::envelope::{self, NewMessage};
use crate::chatkit::{ChatKit, ChatKitBody};
use crate::operation::extra::{self, check_extra};
use crate::operation::fields::{check_ids, check_metadata, defect};
use crate::operation::message::{chars_beside, check_text, texts};
use crate::operation::{Exchange, Gives, Operation, Read, Reply, Row, Takes, run};
use crate::principal::Principal;
use crate::rejection::{Code, Rejection};
use crate::session::ThreadPath;
use crate::session::{Desk, RunClaim};
use crate::surface::Surface;
use crate::validate::json::{Parsed, Shape};
use crate::validate::negotiate::{self, RunFormat};

pub(crate) struct CreateRun;

pub(crate) struct Call {
    path: ThreadPath,
    message: NewMessage,
    format: RunFormat,
}

impl Operation for CreateRun {
    const ROW: Row = Row {
        name: "create_run",
        surface: Surface::Rest,
        method: Method::POST,
        path: "/sessions/{session_id}/threads/{thread_id}/runs",
        takes: Takes::Json,
        gives: Gives::Run,
        asks_upstream: true,
        may_be_foreign: true,
        refuses: &[
            Code::SessionNotFound,
            Code::AttachmentNotFound,
            Code::EmptyMessage,
            Code::MessageTooLong,
            Code::MessageLimit,
        ],
        tag: "Runs",
        summary: "Send a message",
        description: "The answer is ChatKit's events as they come, or one JSON object at the end: with \
             `\"stream\": false`, or with an `Accept` that prefers `application/json` to \
             `text/event-stream`. The text is passed on exactly as it was sent.\n\nA run that \
             fails before its first output is refused with a status, and `details` has what was \
             known by then. After that the status is out, and the stream ends with ChatKit's \
             `error` event, or is cut.",
        links: &[],
    };

    type Call = Call;
    type Grant = RunClaim;

    fn parse(read: &Read<'_>) -> Result<Call, Rejection> {
        let parsed = read.parts(&SHAPE)?;
        check_metadata(&parsed.value)?;
        check_extra(&parsed.value, &extra::RUN, &[])?;
        let (message, format) = read_message(read, &parsed)?;
        Ok(Call { path: read.thread_path(), message, format })
    }

    async fn admit(desk: &Desk, principal: &Principal, call: &Call) -> Result<RunClaim, Rejection> {
        desk.begin_with_message(principal, &call.path, &call.message.attachments).await
    }

    async fn answer<S: ChatKit<R>, R: ChatKitBody>(
        exchange: Exchange<S>,
        claim: RunClaim,
        call: Call,
    ) -> Reply<R> {
        let request = envelope::user_message(claim.thread_id(), &call.message);
        let format = call.format;
        drop(call);
        run::answer(exchange, claim, request, format).await
    }
}

/// What a tag knows of the thing that it stands for is passed on without a look.
static SHAPE: Shape = Shape::Object(&[(
    "message",
    Shape::Object(&[("content", Shape::List(&Shape::Object(&[("data", Shape::Measured)])))]),
)]);

#[derive(Deserialize)]
struct CreateRunBody<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageBody<'a> {
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
    #[serde(default)]
    attachments: Vec<String>,
    #[serde(borrow, default)]
    quoted_text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inference_options: Option<&'a RawValue>,
}

/// Takes apart what the schema let pass: the raw text, so that the parts are forwarded as they were
/// written.
fn read_message(read: &Read<'_>, parsed: &Parsed) -> Result<(NewMessage, RunFormat), Rejection> {
    let max_chars = read.limits().max_message_chars;
    let raw: CreateRunBody<'_> = read.typed()?;
    let format = negotiate::run_format(raw.stream, read.headers());
    let metadata = raw.metadata.map(RawValue::to_owned);
    let message = parsed.value.get("message");
    if let Some(text) = message.and_then(Value::as_str) {
        check_text(max_chars, std::iter::once(text), 0, true)?;
        let message = NewMessage::of_text(raw.message).map_err(|error| defect(&error))?;
        return Ok((NewMessage { metadata, ..message }, format));
    }
    let message = message.unwrap_or(&Value::Null);
    let parts = message.get("content").and_then(Value::as_array);
    let beside = chars_beside(message, parsed);
    check_text(max_chars, texts(parts), beside, true)?;
    let message: MessageBody<'_> =
        serde_json::from_str(raw.message.get()).map_err(|error| defect(&error))?;
    check_ids("/message/attachments", &message.attachments)?;
    let message = NewMessage {
        content: message.content.into_iter().map(RawValue::to_owned).collect(),
        attachments: message.attachments,
        quoted_text: message.quoted_text.map(RawValue::to_owned),
        inference_options: message.inference_options.map(RawValue::to_owned),
        metadata,
    };
    Ok((message, format))
}
