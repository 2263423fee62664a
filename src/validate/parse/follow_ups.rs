//! What makes a thread go on without a message: another try, a tool's output, answers, an action.

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::call::{ActionCall, FollowUp, Step};
use super::super::json::Shape;
use super::super::reader::Reader;
use super::super::report::Report;
use super::super::{negotiate, query};
use super::extra::{self, check_extra};
use super::{checked_parts, defect, is_absent};
use crate::rejection::{Code, Rejection};
use crate::route::{Operation, Target};

/// What is any JSON is passed on without a look.
static OUTPUT: Shape = Shape::Object(&[("result", Shape::Raw)]);
static ACTION: Shape = Shape::Object(&[("action", Shape::Object(&[("payload", Shape::Raw)]))]);

/// What was asked for.
pub(crate) enum Asked {
    /// A run.
    Run(FollowUp),
    /// An action that is answered with its item.
    Sync(ActionCall),
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    stream: Option<bool>,
    /// Not an `Option`, in which a null would be lost.
    #[serde(borrow, default = "null")]
    result: &'a RawValue,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    answers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    action: Option<&'a RawValue>,
    #[serde(default)]
    item_id: Option<String>,
}

fn null() -> &'static RawValue {
    RawValue::NULL
}

/// The schema has said which of the members are there.
pub(crate) fn parse(
    rules: &Reader,
    target: &Target,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Asked, Rejection> {
    let operation = target.operation();
    // Only another try says everything in its path.
    let empty: &[u8] = b"{}";
    let body = match operation {
        Operation::RetryItem if is_absent(body) => empty,
        _ => body,
    };
    let shape = match operation {
        Operation::SubmitToolOutput => &OUTPUT,
        Operation::RunAction => &ACTION,
        _ => &Shape::Tree,
    };
    let parsed = checked_parts(rules, operation, body, shape)?;
    if operation == Operation::RunAction {
        check_extra(&parsed.value, &extra::ACTED)?;
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| defect(&error))?;
    let item = || Box::from(target.other().unwrap_or_default());
    let step = match operation {
        Operation::RetryItem => Step::Retry { item: item() },
        Operation::SubmitToolOutput => Step::ToolOutput { result: body.result.to_owned() },
        Operation::SubmitStructuredInput => {
            let input = structured(body.status, body.answers)?;
            Step::StructuredInput { item: item(), input }
        }
        _ => {
            let action = body.action.ok_or_else(|| Rejection::new(Code::Internal))?.to_owned();
            let action = ActionCall { action, item_id: body.item_id };
            let value = query::parse(query, &["sync"])?;
            rules.schemas.check_query(operation, &value)?;
            if value.get("sync").and_then(Value::as_bool) == Some(true) {
                if body.stream == Some(true) {
                    let message = "must not be true with ?sync=true, which is answered in JSON";
                    return Err(Report::one("/stream", message).into());
                }
                negotiate::json_only(headers)?;
                return Ok(Asked::Sync(action));
            }
            Step::Action(action)
        }
    };
    Ok(Asked::Run(FollowUp { step, answer: negotiate::answer(body.stream, headers) }))
}

/// ChatKit has the two in an object of their own.
fn structured(
    status: Option<&RawValue>,
    answers: Option<&RawValue>,
) -> Result<Box<RawValue>, Rejection> {
    let members = [("status", status), ("answers", answers)];
    let members: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| value.map(|value| format!("\"{name}\":{}", value.get())))
        .collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).map_err(|error| defect(&error))
}
