//! Bytes and target → [`Call`]. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::call::{Call, ChatKitCall, Page, RunCall};
use super::json;
use super::layer::{Rules, UnknownRequests};
use super::report::Report;
use super::{chat, negotiate, openai};
use crate::protocol::RequestType;
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};
use crate::surface::Surface;

/// Whether the operation has a body at all.
pub(super) fn has_body(operation: Operation) -> bool {
    match operation {
        Operation::CreateSession
        | Operation::UpdateSession
        | Operation::CreateThread
        | Operation::CreateRun
        | Operation::CreateFeedback
        | Operation::RetryItem
        | Operation::SubmitToolOutput
        | Operation::SubmitStructuredInput
        | Operation::RunAction
        | Operation::CreateAttachment
        | Operation::CreateTranscription
        | Operation::Passthrough
        | Operation::Chat
        | Operation::ChatForUser
        | Operation::OpenAiCreateSession
        | Operation::OpenAiCancelSession => true,
        Operation::ListSessions
        | Operation::GetSession
        | Operation::DeleteSession
        | Operation::GetThread
        | Operation::ListThreads
        | Operation::ListItems
        | Operation::DeleteAttachment
        | Operation::OpenAiListThreads
        | Operation::OpenAiGetThread
        | Operation::OpenAiDeleteThread
        | Operation::OpenAiListItems => false,
    }
}

/// Parses the body of a request for `target`.
pub(super) fn parse(
    rules: &Rules,
    target: &Target,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Call, Rejection> {
    match target.operation().surface() {
        Surface::Rest => {}
        Surface::Chat => return chat::parse(rules, target, headers, body).map(Call::Chat),
        Surface::OpenAi => return openai::parse(rules, target, query, body).map(Call::OpenAi),
    }
    let session = || Box::from(target.session().unwrap_or_default());
    let checked = |operation| -> Result<Value, Rejection> {
        let value = json::parse(body).map_err(not_json)?;
        rules.schemas.check(operation, &value)?;
        Ok(value)
    };
    match target.operation() {
        Operation::CreateSession if body.is_empty() => Ok(Call::CreateSession { title: None }),
        Operation::CreateSession => {
            let value = checked(Operation::CreateSession)?;
            Ok(Call::CreateSession { title: string_at(&value, "title") })
        }
        Operation::ListSessions => Ok(Call::ListSessions),
        Operation::GetSession => Ok(Call::GetSession { session: session() }),
        Operation::UpdateSession => {
            let value = checked(Operation::UpdateSession)?;
            let title = string_at(&value, "title").unwrap_or_default();
            Ok(Call::UpdateSession { session: session(), title })
        }
        Operation::DeleteSession => Ok(Call::DeleteSession { session: session() }),
        Operation::CreateThread => {
            if !body.is_empty() {
                checked(Operation::CreateThread)?;
            }
            Ok(Call::CreateThread { session: session() })
        }
        Operation::ListThreads => Ok(Call::ListThreads { session: session() }),
        Operation::CreateRun => {
            let value = checked(Operation::CreateRun)?;
            let run = run(rules, headers, body, &value)?;
            let thread = Box::from(target.thread().unwrap_or_default());
            Ok(Call::CreateRun { session: session(), thread, run })
        }
        Operation::Passthrough => chatkit(rules, body).map(Call::Passthrough),
        _ => Err(Rejection::new(Code::Internal)),
    }
}

pub(super) fn not_json(error: json::JsonError) -> Rejection {
    Rejection::new(Code::InvalidJson).message(error.to_string())
}

fn string_at(value: &Value, member: &str) -> Option<String> {
    value.get(member).and_then(Value::as_str).map(str::to_owned)
}

#[derive(Deserialize)]
struct RunBody<'a> {
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

/// The schema has been checked: what is taken apart here is the raw text, so that the parts are
/// forwarded as they were written.
fn run(
    rules: &Rules,
    headers: &HeaderMap,
    body: &Bytes,
    value: &Value,
) -> Result<RunCall, Rejection> {
    let raw: RunBody<'_> = serde_json::from_slice(body).map_err(|error| defect(&error))?;
    let answer = negotiate::answer(raw.stream, headers);
    let metadata = raw.metadata.map(RawValue::to_owned);
    let message = value.get("message");
    if let Some(text) = message.and_then(Value::as_str) {
        check_text(rules.limits.max_message_chars, std::iter::once(text), true)?;
        let part = format!(r#"{{"type":"input_text","text":{}}}"#, raw.message.get());
        let part = RawValue::from_string(part).map_err(|error| defect(&error))?;
        return Ok(RunCall { metadata, ..RunCall::new(vec![part], answer) });
    }
    let parts = message.and_then(|message| message.get("content")).and_then(Value::as_array);
    check_text(rules.limits.max_message_chars, texts(parts), true)?;
    let message: MessageBody<'_> =
        serde_json::from_str(raw.message.get()).map_err(|error| defect(&error))?;
    Ok(RunCall {
        content: message.content.into_iter().map(RawValue::to_owned).collect(),
        attachments: message.attachments,
        quoted_text: message.quoted_text.map(RawValue::to_owned),
        inference_options: message.inference_options.map(RawValue::to_owned),
        metadata,
        answer,
    })
}

pub(super) fn defect(error: &serde_json::Error) -> Rejection {
    // The schema let pass what the types don't take.
    let category = error.classify();
    Rejection::new(Code::Internal).because(format!("schema and types disagree: {category:?}"))
}

fn texts(parts: Option<&Vec<Value>>) -> impl Iterator<Item = &str> {
    parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str))
}

/// Refuses text that is blank, or has more than `max` characters.
pub(super) fn check_text<'a>(
    max: usize,
    texts: impl Iterator<Item = &'a str>,
    refuse_blank: bool,
) -> Result<(), Rejection> {
    let mut blank = true;
    let mut chars = 0;
    for text in texts {
        blank = blank && text.chars().all(char::is_whitespace);
        chars += text.chars().count();
    }
    if blank && refuse_blank {
        return Err(Rejection::new(Code::EmptyMessage));
    }
    if chars > max {
        let text = format!("The message's text has {chars} characters; at most {max} are allowed.");
        return Err(Rejection::new(Code::MessageTooLong)
            .message(text)
            .detail("max_message_chars", max)
            .detail("message_chars", chars));
    }
    Ok(())
}

fn chatkit(rules: &Rules, body: &Bytes) -> Result<ChatKitCall, Rejection> {
    let value = json::parse(body).map_err(not_json)?;
    let Value::Object(envelope) = &value else {
        return Err(Report::one("", "must be an object").into());
    };
    let kind = match envelope.get("type") {
        None => return Err(Report::one("/type", "is required").into()),
        Some(Value::String(name)) => RequestType::parse(name),
        Some(_) => return Err(Report::one("/type", "must be a string").into()),
    };
    match (kind, rules.unknown) {
        (Some(kind), _) => rules.schemas.check_chatkit(kind, &value)?,
        (None, UnknownRequests::Forward) => {}
        (None, UnknownRequests::Refuse) => {
            let message = "is not a ChatKit request type that is known here";
            return Err(Report::one("/type", message).into());
        }
    }
    let null = Value::Null;
    let params = envelope.get("params").unwrap_or(&null);
    let input = params.get("input").unwrap_or(&null);
    let mut attachments: Vec<String> = input
        .get("attachments")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    attachments.extend(string_at(params, "attachment_id"));
    if matches!(kind, Some(RequestType::ThreadsCreate | RequestType::ThreadsAddUserMessage)) {
        let parts = input.get("content").and_then(Value::as_array);
        check_text(rules.limits.max_message_chars, texts(parts), false)?;
    }
    let page = Page {
        limit: params.get("limit").and_then(integer),
        ascending: params.get("order").and_then(Value::as_str) == Some("asc"),
        after: string_at(params, "after"),
    };
    Ok(ChatKitCall {
        kind,
        body: body.clone(),
        thread_id: string_at(params, "thread_id"),
        attachments,
        title: string_at(params, "title"),
        page,
    })
}

/// An integer as the upstream reads it: `"2"` and `true` are integers there.
fn integer(value: &Value) -> Option<i64> {
    let text: Cow<'_, str> = match value {
        Value::Bool(flag) => return Some(i64::from(*flag)),
        Value::String(text) => text.trim().into(),
        // 1.0 is the integer 1, in JSON Schema and for the upstream.
        Value::Number(number) => match number.as_i64() {
            Some(integer) => return Some(integer),
            None => format!("{:.0}", number.as_f64()?).into(),
        },
        _ => return None,
    };
    text.parse().ok()
}
