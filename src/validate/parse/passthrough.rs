//! ChatKit requests that come as such.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use super::super::call::{ChatKitCall, Page};
use super::super::json::{self, Shape};
use super::super::layer::{Rules, UnknownRequests};
use super::super::report::Report;
use super::runs::{chars_beside, check_text, texts};
use super::{not_json, string_at};
use crate::protocol::RequestType;
use crate::rejection::Rejection;

/// What no request has a say in is passed on without a look.
static SHAPE: Shape = Shape::Object(&[(
    "params",
    Shape::Object(&[
        ("result", Shape::Raw),
        ("action", Shape::Object(&[("payload", Shape::Raw)])),
        ("input", Shape::Object(&[("content", TAGS)])),
    ]),
)]);

const TAGS: Shape = Shape::List(&Shape::Object(&[("data", Shape::Told)]));

pub(super) fn chatkit(rules: &Rules, body: &Bytes) -> Result<ChatKitCall, Rejection> {
    let parsed = json::read(body, rules.limits.max_json_values, &SHAPE).map_err(not_json)?;
    let Value::Object(envelope) = &parsed.value else {
        return Err(Report::one("", "must be an object").into());
    };
    let kind = match envelope.get("type") {
        None => return Err(Report::one("/type", "is required").into()),
        Some(Value::String(name)) => RequestType::parse(name),
        Some(_) => return Err(Report::one("/type", "must be a string").into()),
    };
    match (kind, rules.unknown) {
        (Some(kind), _) => rules.schemas.check_chatkit(kind, &parsed.value)?,
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
        let beside = chars_beside(input, &parsed);
        check_text(rules.limits.max_message_chars, texts(parts), beside, false)?;
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
