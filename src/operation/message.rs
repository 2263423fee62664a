//! What a user says: a message, how long it may be, and how its answer is wanted.

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rejection::{Code, Rejection};
use crate::validate::json::{Parsed, Shape};
use crate::validate::parse::{check_ids, defect};
use crate::validate::{Answer, Reader, negotiate};

/// One user message, in raw JSON so that not a byte of it changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunCall {
    /// The parts of `content`.
    pub content: Vec<Box<RawValue>>,
    /// The ids of the attachments.
    pub attachments: Vec<String>,
    /// `quoted_text`, a string or null.
    pub quoted_text: Option<Box<RawValue>>,
    /// `inference_options`, an object.
    pub inference_options: Option<Box<RawValue>>,
    /// `metadata`, an object.
    pub metadata: Option<Box<RawValue>>,
    /// How the client wants its answer.
    pub answer: Answer,
}

impl RunCall {
    /// A message of these parts and nothing else.
    pub(crate) fn new(content: Vec<Box<RawValue>>, answer: Answer) -> Self {
        Self {
            content,
            attachments: Vec::new(),
            quoted_text: None,
            inference_options: None,
            metadata: None,
            answer,
        }
    }
}

/// What a tag knows of the thing that it stands for is passed on without a look.
pub(crate) static SHAPE: Shape = Shape::Object(&[(
    "message",
    Shape::Object(&[("content", Shape::List(&Shape::Object(&[("data", Shape::Told)])))]),
)]);

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
pub(crate) fn run(
    rules: &Reader,
    headers: &HeaderMap,
    body: &Bytes,
    parsed: &Parsed,
) -> Result<RunCall, Rejection> {
    let raw: RunBody<'_> = serde_json::from_slice(body).map_err(|error| defect(&error))?;
    let answer = negotiate::answer(raw.stream, headers);
    let metadata = raw.metadata.map(RawValue::to_owned);
    let message = parsed.value.get("message");
    if let Some(text) = message.and_then(Value::as_str) {
        check_text(rules.limits.max_message_chars, std::iter::once(text), 0, true)?;
        let part = format!(r#"{{"type":"input_text","text":{}}}"#, raw.message.get());
        let part = RawValue::from_string(part).map_err(|error| defect(&error))?;
        return Ok(RunCall { metadata, ..RunCall::new(vec![part], answer) });
    }
    let message = message.unwrap_or(&Value::Null);
    let parts = message.get("content").and_then(Value::as_array);
    let beside = chars_beside(message, parsed);
    check_text(rules.limits.max_message_chars, texts(parts), beside, true)?;
    let message: MessageBody<'_> =
        serde_json::from_str(raw.message.get()).map_err(|error| defect(&error))?;
    check_ids("/message/attachments", &message.attachments)?;
    Ok(RunCall {
        content: message.content.into_iter().map(RawValue::to_owned).collect(),
        attachments: message.attachments,
        quoted_text: message.quoted_text.map(RawValue::to_owned),
        inference_options: message.inference_options.map(RawValue::to_owned),
        metadata,
        answer,
    })
}

pub(crate) fn texts(parts: Option<&Vec<Value>>) -> impl Iterator<Item = &str> {
    parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str))
}

/// The characters of a message that are not in its text: those of what it quotes, and of what its
/// tags know, as that is written.
pub(crate) fn chars_beside(message: &Value, parsed: &Parsed) -> usize {
    let quoted = message.get("quoted_text").and_then(Value::as_str).unwrap_or_default();
    quoted.chars().count() + parsed.told_chars
}

/// Refuses text that is blank, or has more than `max` characters together with those `beside` it.
pub(crate) fn check_text<'a>(
    max: usize,
    texts: impl Iterator<Item = &'a str>,
    beside: usize,
    refuse_blank: bool,
) -> Result<(), Rejection> {
    let mut blank = true;
    let mut chars = beside;
    for text in texts {
        blank = blank && text.chars().all(char::is_whitespace);
        chars += text.chars().count();
    }
    if blank && refuse_blank {
        return Err(Rejection::new(Code::EmptyMessage));
    }
    if chars > max {
        let what = if beside == 0 { "text has" } else { "text, quoted_text and data have" };
        let text = format!("The message's {what} {chars} characters; at most {max} are allowed.");
        return Err(Rejection::new(Code::MessageTooLong)
            .message(text)
            .detail("max_message_chars", max)
            .detail("message_chars", chars));
    }
    Ok(())
}
