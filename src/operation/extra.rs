//! Members that nobody here knows. They are passed on, and text in them is held to no other limit.
//!
//! An id in one of them is nobody's here, since ids are checked where the request's type has them. A
//! server that isn't the SDK may read it there all the same: it must be one that was checked.

use std::fmt::Display;

use serde_json::Value;

use super::fields::Left;
use crate::bounds::MAX_EXTRA_BYTES;
use crate::validate::Report;

/// The members of a part of a request that are known, and so are bounded by its schema, by the
/// limits of messages, or by being passed on without a look, as what is told to the server's own code is:
/// `metadata`, `payload`, `result`, and a part's `data`.
pub(crate) enum Known {
    /// All there is.
    All,
    /// These members of an object.
    Members(&'static [(&'static str, Self)]),
    /// Those of a list of a message's parts.
    Parts,
    /// These of each value of an object whose names are the client's.
    Values(&'static Self),
}

impl Known {
    /// Gives the members that are known of an object; none of anything else.
    pub(crate) fn members(&self) -> &'static [(&'static str, Self)] {
        match *self {
            Self::Members(members) => members,
            Self::All | Self::Parts | Self::Values(_) => &[],
        }
    }

    /// Gives those of a member that is known.
    pub(crate) fn members_of(&self, name: &str) -> &'static [(&'static str, Self)] {
        let member = self.members().iter().find(|(known, _)| *known == name);
        member.map_or(&[], |(_, known)| known.members())
    }
}

/// A message that a user sends. ChatKit's has no `role`: the one of a REST message is little.
pub(crate) const MESSAGE: Known = Known::Members(&[
    ("content", Known::Parts),
    ("attachments", Known::All),
    ("quoted_text", Known::All),
    (
        "inference_options",
        Known::Members(&[
            ("model", Known::All),
            ("tool_choice", Known::Members(&[("id", Known::All)])),
        ]),
    ),
]);

/// An action.
pub(crate) const ACTION: Known = Known::Members(&[
    ("type", Known::All),
    ("payload", Known::All),
    ("handler", Known::All),
    ("loadingBehavior", Known::All),
]);

/// A run's request.
pub(crate) static RUN: Known =
    Known::Members(&[("message", MESSAGE), ("stream", Known::All), ("metadata", Known::All)]);

/// An action's request.
pub(crate) static ACTED: Known =
    Known::Members(&[("action", ACTION), ("item_id", Known::All), ("stream", Known::All)]);

/// A part's data counts as its message's text does, whatever the part is.
static TEXT: Known =
    Known::Members(&[("type", Known::All), ("text", Known::All), ("data", Known::All)]);

static TAG: Known = Known::Members(&[
    ("type", Known::All),
    ("text", Known::All),
    ("data", Known::All),
    ("id", Known::All),
    ("group", Known::All),
    ("interactive", Known::All),
]);

/// The names by which ChatKit requests name what is somebody's.
const ID_NAMES: [&str; 3] = ["thread_id", "attachment_id", "attachments"];

/// Why a member that is not known can't be passed on.
enum Fault {
    TooMuch,
    /// It names something that nobody has checked.
    Unchecked,
}

/// Refuses a request of more than [`MAX_EXTRA_BYTES`] in members that are not known, or which has in
/// one of them the id of a thread or an attachment that is not in `checked`.
pub(crate) fn check_extra(request: &Value, known: &Known, checked: &[&str]) -> Result<(), Report> {
    count(request, known, checked, &mut Left(MAX_EXTRA_BYTES)).map_err(|(pointer, fault)| {
        let message = match fault {
            Fault::TooMuch => format!(
                "must have at most {MAX_EXTRA_BYTES} bytes as JSON, together with the rest of the \
                 request, in members that are not known here"
            ),
            Fault::Unchecked => "must be left out: whose it is is checked only where a request of \
                                 this type has such ids"
                .to_owned(),
        };
        Report::one(pointer, message)
    })
}

/// Takes what is not known of `value` from what is `left`; where it is too little, gives the pointer
/// to the object that it was too little for, and where an id is not one of those `checked`, to the id.
fn count(
    value: &Value,
    known: &Known,
    checked: &[&str],
    left: &mut Left,
) -> Result<(), (String, Fault)> {
    match (value, known) {
        (Value::Object(object), Known::Members(members)) => {
            for (name, value) in object {
                if let Some((_, known)) = members.iter().find(|(known, _)| known == name) {
                    count(value, known, checked, left).map_err(|fault| below(name, fault))?;
                    continue;
                }
                serde_json::to_writer(&mut *left, &(name, value))
                    .map_err(|_| (String::new(), Fault::TooMuch))?;
                if let Some(pointer) = unchecked(name, value, checked) {
                    return Err((pointer, Fault::Unchecked));
                }
            }
            Ok(())
        }
        (Value::Array(parts), Known::Parts) => {
            for (index, part) in parts.iter().enumerate() {
                let is_tag = part.get("type").and_then(Value::as_str) == Some("input_tag");
                count(part, if is_tag { &TAG } else { &TEXT }, checked, left)
                    .map_err(|fault| below(index, fault))?;
            }
            Ok(())
        }
        (Value::Object(object), Known::Values(known)) => {
            object.iter().try_for_each(|(name, value)| {
                count(value, known, checked, left).map_err(|fault| below(name, fault))
            })
        }
        // What is of another type was refused, or is null.
        (_, Known::All | Known::Members(_) | Known::Parts | Known::Values(_)) => Ok(()),
    }
}

fn below(place: impl Display, (pointer, fault): (String, Fault)) -> (String, Fault) {
    (format!("/{place}{pointer}"), fault)
}

/// Gives the pointer to the first id in a member that is not one of those `checked`.
fn unchecked(name: &str, value: &Value, checked: &[&str]) -> Option<String> {
    if ID_NAMES.iter().any(|id| is_but_for_case(name, id)) && !are_all(value, checked) {
        return Some(format!("/{name}"));
    }
    let pointer = unchecked_within(value, checked)?;
    Some(format!("/{name}{pointer}"))
}

fn unchecked_within(value: &Value, checked: &[&str]) -> Option<String> {
    match value {
        Value::Object(members) => {
            members.iter().find_map(|(name, value)| unchecked(name, value, checked))
        }
        Value::Array(values) => values.iter().enumerate().find_map(|(index, value)| {
            Some(format!("/{index}{}", unchecked_within(value, checked)?))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Tells whether a value names nothing but what was checked.
fn are_all(value: &Value, checked: &[&str]) -> bool {
    match value {
        Value::Null => true,
        Value::String(id) => checked.contains(&&**id),
        Value::Array(ids) => ids.iter().all(|id| are_all(id, checked)),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Tells whether a name is this one, which is ASCII in lower case, but for the case of its letters.
/// Some that are not ASCII are others' upper or lower case: `\u{17f}` is an `s`, `\u{212a}` a `k`.
pub(crate) fn is_but_for_case(name: &str, known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known);
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).eq(known.chars())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(request: &Value, known: &Known) -> Option<String> {
        check_extra(request, known, &[]).err().map(|report| format!("{report:?}"))
    }

    #[test]
    fn names_and_values_count_together() {
        // `["x","…"]` for each of the two.
        let half = "x".repeat(MAX_EXTRA_BYTES / 2 - 8);
        assert_eq!(refused(&json!({"x": half, "y": half}), &RUN), None);
        assert!(refused(&json!({"x": half, "yy": half}), &RUN).is_some());
        assert!(refused(&json!({"x".repeat(MAX_EXTRA_BYTES): 1}), &RUN).is_some());
    }
    #[test]
    fn an_id_where_none_is_known_is_one_that_was_checked() {
        let fault = |extra: Value| {
            let request = json!({"message": {"content": [{"type": "input_text", "x": extra}]}});
            check_extra(&request, &RUN, &["thr_ada", "atc_ada"]).err().map(|it| format!("{it:?}"))
        };
        for (extra, pointer) in [
            (json!({"thread_id": "thr_bob"}), "/thread_id\""),
            (json!({"thread_id": 5}), "/thread_id\""),
            (json!({"Thread_Id": "thr_bob"}), "/Thread_Id\""),
            (json!({"a": [1, {"attachment_id": "atc_bob"}]}), "/a/1/attachment_id\""),
            (json!({"attachments": ["atc_ada", "atc_bob"]}), "/attachments\""),
            (json!({"attachment\u{17f}": [{"id": "atc_bob"}]}), "/attachment\u{17f}\""),
        ] {
            let refused = fault(extra.clone()).unwrap_or_default();
            let pointer = format!("/message/content/0/x{pointer}");
            assert!(refused.contains(&pointer), "{extra}: {refused}");
        }
        for extra in [
            json!({"thread_id": "thr_ada", "attachments": ["atc_ada"], "attachment_id": null}),
            json!({"threads": ["thr_bob"], "id": "thr_bob", "thread": "thr_bob"}),
            json!("thr_bob"),
        ] {
            assert_eq!(fault(extra.clone()), None, "{extra}");
        }
    }
}
