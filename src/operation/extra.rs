//! Members that nobody here knows. They are passed on, and text in them is held to no other limit.

use serde_json::Value;

use super::fields::Left;
use crate::bounds::MAX_EXTRA_BYTES;
use crate::validate::Report;

/// The members of a part of a request that are known, and so are bounded by its schema, by the
/// limits of messages, or by being passed on without a look.
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

/// A message that a user sends.
pub(crate) const MESSAGE: Known = Known::Members(&[
    ("role", Known::All),
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

/// Refuses a request of more than [`MAX_EXTRA_BYTES`] in members that are not known.
pub(crate) fn check_extra(request: &Value, known: &Known) -> Result<(), Report> {
    count(request, known, &mut Left(MAX_EXTRA_BYTES)).map_err(|pointer| {
        let message = format!(
            "must have at most {MAX_EXTRA_BYTES} bytes as JSON, together with the rest of the \
             request, in members that are not known here"
        );
        Report::one(pointer, message)
    })
}

/// Takes what is not known of `value` from what is `left`; where it is too little, gives the pointer
/// to the object that it was too little for.
fn count(value: &Value, known: &Known, left: &mut Left) -> Result<(), String> {
    match (value, known) {
        (Value::Object(object), Known::Members(members)) => {
            for (name, value) in object {
                match members.iter().find(|(known, _)| known == name) {
                    Some((_, known)) => {
                        count(value, known, left).map_err(|pointer| format!("/{name}{pointer}"))?;
                    }
                    None => serde_json::to_writer(&mut *left, &(name, value))
                        .map_err(|_| String::new())?,
                }
            }
            Ok(())
        }
        (Value::Array(parts), Known::Parts) => {
            for (index, part) in parts.iter().enumerate() {
                let is_tag = part.get("type").and_then(Value::as_str) == Some("input_tag");
                count(part, if is_tag { &TAG } else { &TEXT }, left)
                    .map_err(|pointer| format!("/{index}{pointer}"))?;
            }
            Ok(())
        }
        (Value::Object(object), Known::Values(known)) => {
            object.iter().try_for_each(|(name, value)| {
                count(value, known, left).map_err(|pointer| format!("/{name}{pointer}"))
            })
        }
        // What is of another type was refused, or is null.
        (_, Known::All | Known::Members(_) | Known::Parts | Known::Values(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(request: &Value, known: &Known) -> Option<String> {
        check_extra(request, known).err().map(|report| format!("{report:?}"))
    }

    #[test]
    fn names_and_values_count_together() {
        // `["x","…"]` for each of the two.
        let half = "x".repeat(MAX_EXTRA_BYTES / 2 - 8);
        assert_eq!(refused(&json!({"x": half, "y": half}), &RUN), None);
        assert!(refused(&json!({"x": half, "yy": half}), &RUN).is_some());
        assert!(refused(&json!({"x".repeat(MAX_EXTRA_BYTES): 1}), &RUN).is_some());
    }
}
