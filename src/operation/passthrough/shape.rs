//! What of a request is passed on without a look.
//!
//! A request says its type only when it has been read, in whatever order its members come. So it is
//! read once as if it might have any of these parts, and again if it has one that its type doesn't:
//! for that type the part is a member like any other that is not known.

use serde_json::Value;

use crate::protocol::RequestType;
use crate::validate::json::Shape;

/// Members of a request's params, with those of them that no request has a say in.
type MemberShapes = &'static [(&'static str, Shape)];

const RESULT: (&str, Shape) = ("result", Shape::Raw);
const ACTION: (&str, Shape) = ("action", Shape::Object(&[("payload", Shape::Raw)]));
const MESSAGE: (&str, Shape) = ("input", Shape::Object(&[("content", TAGS)]));
const TAGS: Shape = Shape::List(&Shape::Object(&[("data", Shape::Measured)]));

const ANY: MemberShapes = &[RESULT, ACTION, MESSAGE];

const fn of_params(parts: MemberShapes) -> [(&'static str, Shape); 1] {
    [("params", Shape::Object(parts))]
}

/// That of a request whose type isn't known yet.
pub(super) static OF_ANY: Shape = Shape::Object(&of_params(ANY));

/// Gives that of a request of this type, which was read as one of any, if it has a part that
/// requests of this type don't have.
pub(super) fn other(kind: RequestType, params: &Value) -> Option<&'static Shape> {
    static RESULT_ONLY: Shape = Shape::Object(&of_params(&[RESULT]));
    static ACTION_ONLY: Shape = Shape::Object(&of_params(&[ACTION]));
    static MESSAGE_ONLY: Shape = Shape::Object(&of_params(&[MESSAGE]));
    let (own, shape) = match kind {
        RequestType::ThreadsAddClientToolOutput => ("result", &RESULT_ONLY),
        RequestType::ThreadsCustomAction | RequestType::ThreadsSyncCustomAction => {
            ("action", &ACTION_ONLY)
        }
        RequestType::ThreadsAddUserMessage | RequestType::ThreadsCreate => ("input", &MESSAGE_ONLY),
        RequestType::AttachmentsCreate
        | RequestType::AttachmentsDelete
        | RequestType::InputTranscribe
        | RequestType::ItemsFeedback
        | RequestType::ItemsList
        | RequestType::ThreadsAddStructuredInput
        | RequestType::ThreadsDelete
        | RequestType::ThreadsGetById
        | RequestType::ThreadsList
        | RequestType::ThreadsRetryAfterItem
        | RequestType::ThreadsUpdate => ("", &Shape::Tree),
    };
    let mut foreign = ANY.iter().filter(|(name, _)| *name != own);
    foreign
        .any(|(name, part)| params.get(*name).is_some_and(|value| stayed_out(value, part)))
        .then_some(shape)
}

/// Tells whether a part of this shape has anything that did not become a tree.
fn stayed_out(value: &Value, shape: &Shape) -> bool {
    match (shape, value) {
        (Shape::Raw | Shape::Measured, _) => true,
        (Shape::Object(members), Value::Object(object)) => members
            .iter()
            .any(|(name, shape)| object.get(*name).is_some_and(|value| stayed_out(value, shape))),
        (Shape::List(shape), Value::Array(values)) => {
            values.iter().any(|value| stayed_out(value, shape))
        }
        (Shape::Tree | Shape::Object(_) | Shape::List(_), _) => false,
    }
}
