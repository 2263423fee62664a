//! ChatKit requests that come as such.

use std::borrow::Cow;
use std::num::IntErrorKind;

use bytes::Bytes;
use serde_json::Value;

use super::super::call::{ChatKitCall, Page};
use super::super::json::{self, Shape};
use super::super::reader::{Reader, UnknownRequests};
use super::super::report::Report;
use super::extra::{self, check_extra};
use super::{check_ids, check_metadata, defect, not_json, string_at, texts_at};
use crate::operation::message::{chars_beside, check_text, texts};
use crate::protocol::RequestType;
use crate::rejection::Rejection;

/// The most rows that a list is asked for. `ChatKit.js` asks for 9999.
const MAX_LIMIT: i64 = 10_000;

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

pub(crate) fn chatkit(rules: &Reader, body: &Bytes) -> Result<ChatKitCall, Rejection> {
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
    check_metadata(&parsed.value)?;
    if let Some(kind) = kind {
        check_extra(&parsed.value, extra::of_chatkit(kind))?;
    }
    let null = Value::Null;
    let params = envelope.get("params").unwrap_or(&null);
    let input = params.get("input").unwrap_or(&null);
    let mut attachments = texts_at(input, "attachments");
    check_ids("/params/input/attachments", &attachments)?;
    if kind == Some(RequestType::ItemsFeedback) {
        check_ids("/params/item_ids", &texts_at(params, "item_ids"))?;
    }
    attachments.extend(string_at(params, "attachment_id"));
    if matches!(kind, Some(RequestType::ThreadsCreate | RequestType::ThreadsAddUserMessage)) {
        let parts = input.get("content").and_then(Value::as_array);
        let beside = chars_beside(input, &parsed);
        check_text(rules.limits.max_message_chars, texts(parts), beside, false)?;
    }
    let limit = params.get("limit").and_then(integer);
    let page = Page {
        limit: limit.map(|limit| limit.min(MAX_LIMIT)),
        ascending: params.get("order").and_then(Value::as_str) == Some("asc"),
        after: string_at(params, "after"),
    };
    let is_too_much = limit.is_some_and(|limit| limit > MAX_LIMIT);
    let body = match kind {
        Some(RequestType::ItemsList) if is_too_much => with_limit(&parsed.value, MAX_LIMIT)?,
        _ => body.clone(),
    };
    Ok(ChatKitCall {
        kind,
        body,
        thread_id: string_at(params, "thread_id"),
        attachments,
        title: string_at(params, "title"),
        page,
    })
}

/// The same request with another limit: the upstream gives as much as it is asked for.
fn with_limit(request: &Value, limit: i64) -> Result<Bytes, Rejection> {
    let mut request = request.clone();
    if let Some(asked) = request.pointer_mut("/params/limit") {
        *asked = limit.into();
    }
    serde_json::to_vec(&request).map(Bytes::from).map_err(|error| defect(&error))
}

/// An integer as the upstream reads it: `"2"` and `true` are integers there. One that is too large
/// is the largest.
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
    match text.parse() {
        Ok(integer) => Some(integer),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::reader::BodyLimits;
    use super::super::super::schemas::Schemas;
    use super::*;

    #[test]
    fn a_limit_has_a_limit() {
        let rules = Reader {
            schemas: Schemas::compile().unwrap().into(),
            limits: BodyLimits::default(),
            unknown: UnknownRequests::Refuse,
            buffered: None,
        };
        let call = |kind: &str, limit: &str| {
            let params = format!(r#"{{"thread_id": "t", "limit": {limit}, "after": "a"}}"#);
            let body = Bytes::from(format!(r#"{{"type": "{kind}", "params": {params}}}"#));
            chatkit(&rules, &body).map(|call| (call, body))
        };
        let huge = "1".repeat(30);
        let text = format!("\"{huge}\"");
        let negative = format!("-{huge}");
        for (limit, expected) in [
            ("9999", Some(9999)),
            ("10000", Some(10_000)),
            ("10001", Some(10_000)),
            ("1e9", Some(10_000)),
            ("1e30", Some(10_000)),
            (&*huge, Some(10_000)),
            (&text, Some(10_000)),
            ("\" 2 \"", Some(2)),
            ("true", Some(1)),
            ("2.0", Some(2)),
            ("0", Some(0)),
            ("null", None),
            ("-1", Some(-1)),
            (&negative, Some(i64::MIN)),
        ] {
            let (call, _) = call("threads.list", limit).unwrap();
            assert_eq!(call.page.limit, expected, "{limit}");
        }
        for limit in ["2.5", "\"x\"", "[]", &format!("\"{}\"", "1".repeat(33))] {
            assert!(call("threads.list", limit).is_err(), "{limit}");
            assert!(call("items.list", limit).is_err(), "{limit}");
        }
        // What the upstream is asked for is what it gives.
        for limit in ["9999", "10000", "\"2\"", "-1"] {
            let (call, body) = call("items.list", limit).unwrap();
            assert_eq!(call.body, body, "{limit}");
        }
        for limit in ["10001", "1000000000", "1e30", &huge, &text] {
            let (call, _) = call("items.list", limit).unwrap();
            let sent: Value = serde_json::from_slice(&call.body).unwrap();
            let params = json!({"thread_id": "t", "limit": 10_000, "after": "a"});
            assert_eq!(sent, json!({"type": "items.list", "params": params}), "{limit}");
        }
    }
}
