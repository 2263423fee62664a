//! What is wrong with a body, told by place and never by value.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Value, json};

use crate::bounds::MAX_IDS;
use crate::rejection::{Code, Rejection};

/// The most violations that are listed.
const MAX_VIOLATIONS: usize = 32;

/// The most elements that one of our schemas lets an array have.
const MAX_ELEMENTS: usize = MAX_IDS;

/// What a report is about, if nothing else is said.
const BODY: &str = "body";

/// The longest name of a member that is repeated to the client who sent it.
const MAX_NAME_CHARS: usize = 64;

/// The longest pattern that is shown.
const MAX_PATTERN_BYTES: usize = 100;

/// All violations of a body, or of a query, each with the JSON Pointer (RFC 6901) of the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    violations: Vec<Violation>,
    /// The name of what has them.
    of: &'static str,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The JSON Pointer of the member at fault; of a missing member, too.
    pub pointer: String,
    /// What was expected there.
    pub message: String,
}

impl Violation {
    /// Says what was expected at a JSON Pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl Report {
    /// Makes a single violation.
    pub fn one(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { violations: vec![Violation::new(pointer, message)], of: BODY }
    }

    /// Says that it is the query that has them; a pointer is a parameter's name then.
    #[must_use]
    pub fn of_query(self) -> Self {
        Self { of: "query", ..self }
    }

    /// Gives the violations, in the order of the body.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl From<Report> for Rejection {
    fn from(report: Report) -> Self {
        let errors: Vec<Value> = report
            .violations
            .iter()
            .map(|violation| json!({"pointer": violation.pointer, "message": violation.message}))
            .collect();
        let message = match report.violations.first() {
            Some(first) => format!(
                "The {} does not match what is expected: {} {}",
                report.of,
                if first.pointer.is_empty() { "it" } else { &first.pointer },
                first.message
            ),
            None => Code::InvalidInput.message().to_owned(),
        };
        Rejection::new(Code::InvalidInput).message(message).detail("errors", errors)
    }
}

/// Tells what is wrong with a body that doesn't match its schema.
///
/// All of it is found before the first is told, so there must not be too much.
pub(super) fn report(validator: &Validator, body: &Value) -> Report {
    let mut violations = Vec::new();
    for error in validator.iter_errors(body) {
        // Not one more than is told: a body may break its schema in a hundred thousand places.
        if violations.len() >= MAX_VIOLATIONS {
            break;
        }
        let place = error.instance_path().to_string();
        match error.kind() {
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                push(&mut violations, member(&place, name), "is required".to_owned());
            }
            Kind::AdditionalProperties { unexpected } => {
                for name in unexpected.iter().take(MAX_VIOLATIONS) {
                    let message = "is not a member that is known here".to_owned();
                    push(&mut violations, member(&place, name), message);
                }
            }
            Kind::Type { .. } => {
                // "value is not of types …" reads badly after a pointer.
                let masked = error.masked_with("x").to_string();
                let expected = masked.strip_prefix("x is not").unwrap_or(&masked);
                push(&mut violations, place, format!("must be{expected}"));
            }
            Kind::Enum { options } => {
                push(&mut violations, place, format!("must be one of {options}"));
            }
            Kind::Constant { expected_value } => {
                push(&mut violations, place, format!("must be {expected_value}"));
            }
            // The name is the client's.
            Kind::PropertyNames { error } => {
                let masked = error.masked_with("a member's name").to_string();
                push(&mut violations, place, format!("is not valid: {masked}"));
            }
            // Nobody is helped by reading those that are long.
            Kind::Pattern { pattern } if pattern.len() > MAX_PATTERN_BYTES => {
                let message = "is not valid: it is not written as its description says";
                push(&mut violations, place, message.to_owned());
            }
            _ => {
                let masked = error.masked_with("the value").to_string();
                push(&mut violations, place, format!("is not valid: {masked}"));
            }
        }
    }
    violations.truncate(MAX_VIOLATIONS);
    Report { violations, of: BODY }
}

/// Gives the body with no more elements in an array than tell that there are too many.
pub(super) fn shortened(body: &Value) -> Value {
    match body {
        Value::Array(elements) => {
            Value::Array(elements.iter().take(MAX_ELEMENTS + 1).map(shortened).collect())
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), shortened(value))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body.clone(),
    }
}

fn push(violations: &mut Vec<Violation>, pointer: String, message: String) {
    let violation = Violation { pointer, message };
    if !violations.contains(&violation) {
        violations.push(violation);
    }
}

fn member(place: &str, name: &str) -> String {
    let name = if name.chars().count() > MAX_NAME_CHARS { "…" } else { name };
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::super::schemas::Schemas;
    use super::*;
    use crate::protocol::RequestType;

    fn violations(body: &Value) -> Vec<(String, String)> {
        let report = Schemas::compile().unwrap().check("create_run", body).unwrap_err();
        report.violations.into_iter().map(|v| (v.pointer, v.message)).collect()
    }

    #[test]
    fn every_violation_names_its_place_and_no_value() {
        let found = violations(&json!({
            "message": {"role": "planted", "content": [
                {"type": "input_text"}, {"type": "planted"}, {"type": "input_tag", "id": 7, "text": "x"},
            ]},
            "stream": "planted",
            "streem": false,
        }));
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        for expected in [
            "/message/role",
            "/message/content/0/text",
            "/message/content/1/type",
            "/message/content/2/id",
            "/stream",
            "/streem",
        ] {
            assert!(pointers.contains(&expected), "{expected} in {found:?}");
        }
        assert!(!format!("{found:?}").contains("planted"), "{found:?}");
        assert!(
            found.contains(&("/stream".into(), "must be of type \"boolean\"".into())),
            "{found:?}"
        );
        assert_eq!(violations(&json!({})), [("/message".to_owned(), "is required".to_owned())]);
        assert_eq!(
            violations(&json!([])),
            [(String::new(), "must be of type \"object\"".to_owned())]
        );
    }

    #[test]
    fn base64_is_refused_where_the_sdk_fails() {
        let schemas = Schemas::compile().unwrap();
        for (text, good) in [
            ("", true),
            ("T2dnUw==", true),
            ("T2d*g*Uw==", true),
            ("T2d=T2dn", true),
            ("====", true),
            ("T2dnUw==ignored", true),
            ("a", false),
            ("abc", false),
            ("ab=", false),
            ("T2dnUw", false),
            ("\u{f6}", false),
        ] {
            let body = json!({
                "type": "input.transcribe",
                "params": {"audio_base64": text, "mime_type": "audio/ogg"},
            });
            let found = schemas.check_chatkit(RequestType::InputTranscribe, &body);
            assert_eq!(found.is_ok(), good, "{text}");
            if let Err(report) = found {
                assert_eq!(report.violations[0].pointer, "/params/audio_base64");
                assert!(report.violations[0].message.len() < 100);
            }
        }
    }

    #[test]
    fn reports_are_bounded() {
        let members: serde_json::Map<String, Value> =
            (0..50_000).map(|n| (format!("unknown{n}"), Value::Null)).collect();
        assert_eq!(violations(&Value::Object(members)).len(), MAX_VIOLATIONS);
        let parts = vec![json!({"type": "planted"}); 50_000];
        let body = json!({"message": {"role": "user", "content": parts}});
        assert_eq!(violations(&body).len(), MAX_VIOLATIONS);
    }
}
