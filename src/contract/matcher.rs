//! Expected JSON against what came.
//!
//! Everything must be equal, members that are not named included, with these exceptions for
//! expected texts: `$any` is any value, `$string` any text but the empty one, `$number` a
//! number, `$58..60` the digits of a whole number from 58 to 60, `$uuid` an id in canonical form,
//! `$time` a moment in RFC 3339 with `Z`. A member `"$rest": "$any"` lets an object have others. `$$`
//! at the start is a literal `$`.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::segment;
use super::variables::Variables;

/// The member that lets an object have more members.
const REST: &str = "$rest";

/// One place at which two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) pointer: String,
    pub(super) expected: String,
    pub(super) got: String,
}

/// Compares `got` with what is expected.
pub(super) fn compare(expected: &Value, got: &Value, variables: &Variables) -> Vec<Mismatch> {
    let mut comparison = Comparison { variables, mismatches: Vec::new() };
    comparison.value("", expected, got);
    comparison.mismatches
}

/// Tells whether `got` is the text that is expected.
pub(super) fn text_matches(expected: &str, got: &str, variables: &Variables) -> bool {
    let (expected, got) = (Value::from(expected), Value::from(got));
    compare(&expected, &got, variables).is_empty()
}

/// Checks that all matchers of an expected value are known, and gives its texts.
///
/// # Errors
/// The pointer and the name of a matcher that isn't.
pub(super) fn check<'v>(
    expected: &'v Value,
    pointer: &str,
    texts: &mut Vec<&'v str>,
) -> Result<(), (String, String)> {
    match expected {
        Value::String(text) => {
            if text.starts_with('$') && !text.starts_with("$$") && Matcher::of(text).is_none() {
                return Err((pointer.to_owned(), format!("{text} is not a matcher")));
            }
            texts.push(text);
            Ok(())
        }
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| check(value, &segment(pointer, index), texts)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| check(value, &segment(pointer, name), texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Matcher {
    Any,
    /// The digits of a whole number: header fields have no numbers.
    Digits {
        least: u64,
        most: u64,
    },
    Number,
    String,
    Time,
    Uuid,
}

impl Matcher {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "$any" => Self::Any,
            "$number" => Self::Number,
            "$string" => Self::String,
            "$time" => Self::Time,
            "$uuid" => Self::Uuid,
            _ => {
                let (least, most) = text.strip_prefix('$')?.split_once("..")?;
                let (least, most) = (whole(least)?, whole(most)?);
                return (least <= most).then_some(Self::Digits { least, most });
            }
        })
    }

    fn accepts(self, got: &Value) -> bool {
        match (self, got) {
            (Self::Any, _) | (Self::Number, Value::Number(_)) => true,
            (Self::Digits { least, most }, Value::String(text)) => {
                whole(text).is_some_and(|number| (least..=most).contains(&number))
            }
            (Self::String, Value::String(text)) => !text.is_empty(),
            (Self::Time, Value::String(text)) => {
                text.ends_with('Z') && text.parse::<Timestamp>().is_ok()
            }
            (Self::Uuid, Value::String(text)) => {
                text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
            }
            _ => false,
        }
    }
}

/// Reads a number that is written as it would be: no sign, and no zeros before it.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

struct Comparison<'a> {
    variables: &'a Variables,
    mismatches: Vec<Mismatch>,
}

impl Comparison<'_> {
    fn value(&mut self, pointer: &str, expected: &Value, got: &Value) {
        match (expected, got) {
            (Value::String(text), _) => self.text(pointer, text, got),
            (Value::Object(expected), Value::Object(got)) => self.object(pointer, expected, got),
            (Value::Array(expected), Value::Array(got)) => {
                for (index, pair) in expected.iter().zip(got).enumerate() {
                    self.value(&segment(pointer, index), pair.0, pair.1);
                }
                for (index, value) in expected.iter().enumerate().skip(got.len()) {
                    self.differ(&segment(pointer, index), value.to_string(), "nothing");
                }
                for (index, value) in got.iter().enumerate().skip(expected.len()) {
                    self.differ(&segment(pointer, index), "nothing", value.to_string());
                }
            }
            _ if expected == got => {}
            _ => self.differ(pointer, expected.to_string(), got.to_string()),
        }
    }

    fn object(&mut self, pointer: &str, expected: &Map<String, Value>, got: &Map<String, Value>) {
        for (name, value) in expected.iter().filter(|(name, _)| *name != REST) {
            let place = segment(pointer, name);
            match got.get(name) {
                Some(got) => self.value(&place, value, got),
                None => self.differ(&place, value.to_string(), "nothing"),
            }
        }
        if !expected.contains_key(REST) {
            for (name, value) in got.iter().filter(|(name, _)| !expected.contains_key(*name)) {
                self.differ(&segment(pointer, name), "nothing", value.to_string());
            }
        }
    }

    fn text(&mut self, pointer: &str, expected: &str, got: &Value) {
        if let Some(matcher) = Matcher::of(expected) {
            if !matcher.accepts(got) {
                self.differ(pointer, expected, got.to_string());
            }
            return;
        }
        let escaped = expected.strip_prefix('$').filter(|rest| rest.starts_with('$'));
        let literal = escaped.unwrap_or(expected);
        match self.variables.fill(literal) {
            Ok(filled) if got.as_str() == Some(&*filled) => {}
            Ok(filled) => self.differ(pointer, Value::from(filled).to_string(), got.to_string()),
            Err(name) => {
                self.differ(
                    pointer,
                    format!("{{{name}}}, which was not captured"),
                    got.to_string(),
                );
            }
        }
    }

    fn differ(&mut self, pointer: &str, expected: impl Into<String>, got: impl Into<String>) {
        self.mismatches.push(Mismatch {
            pointer: pointer.to_owned(),
            expected: expected.into(),
            got: got.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(expected: &Value, got: &Value) -> Vec<String> {
        let mut variables = Variables::default();
        variables.set("user", "ada");
        compare(expected, got, &variables).into_iter().map(|found| found.pointer).collect()
    }

    #[test]
    fn equal_values_and_matchers_match() {
        let expected = json!({
            "a": [1, 1.5, null, true, "x"], "user": "{user}", "id": "$uuid", "at": "$time",
            "n": "$number", "least": "$58..60", "most": "$58..60", "s": "$string", "z": "$any", "dollar": "$$any",
            "open": {"k": 1, "$rest": "$any"},
        });
        let got = json!({
            "a": [1, 1.5, null, true, "x"], "user": "ada",
            "id": "9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c", "at": "2026-11-21T03:00:00.000001Z",
            "n": -1, "least": "58", "most": "60", "s": " ", "z": null, "dollar": "$any", "open": {"k": 1, "more": 2},
        });
        assert_eq!(pointers(&expected, &got), [""; 0]);
    }

    #[test]
    fn every_difference_is_named_by_its_place() {
        for (expected, got, pointer) in [
            (json!({"a": 1}), json!({"a": 2}), "/a"),
            (json!({"a": 1}), json!({}), "/a"),
            (json!({}), json!({"a/b": 1}), "/a~1b"),
            (json!([1, 2]), json!([1]), "/1"),
            (json!([1]), json!([1, 2]), "/1"),
            (json!({"a": {"b": "x"}}), json!({"a": {"b": 7}}), "/a/b"),
            (json!("$uuid"), json!("9f0d1f7e6ff74f0c8d2c0d9f2f1a2b3c"), ""),
            (json!("$time"), json!("2026-11-21T03:00:00+00:00"), ""),
            (json!("$time"), json!("2026-11-21T03:00:00"), ""),
            (json!("$string"), json!(""), ""),
            (json!("$number"), json!("1"), ""),
            (json!("$58..60"), json!("57"), ""),
            (json!("$58..60"), json!("61"), ""),
            (json!("$58..60"), json!("abc"), ""),
            (json!("$58..60"), json!("058"), ""),
            (json!("$58..60"), json!("+58"), ""),
            (json!("$58..60"), json!("58, 58"), ""),
            (json!("$58..60"), json!(58), ""),
            (json!("{user}"), json!("bob"), ""),
            (json!("{nobody}"), json!("{nobody}"), ""),
            (json!(null), json!(false), ""),
            (json!({"$rest": "$any", "k": 1}), json!({"k": 2}), "/k"),
        ] {
            assert_eq!(pointers(&expected, &got), [pointer], "{expected} {got}");
        }
    }

    #[test]
    fn a_matcher_that_is_not_known_is_found() {
        let mut texts = Vec::new();
        let bad = json!({"a": [{"b": "$uuidd"}]});
        assert_eq!(check(&bad, "/x", &mut texts).unwrap_err().0, "/x/a/0/b");
        assert!(check(&json!(["$uuid", "$$x", "$0..0"]), "", &mut texts).is_ok());
        for bad in ["$2..1", "$1..", "$..1", "$1..2..3", "$01..2", "$-1..2"] {
            let is_matcher = Matcher::of(bad).is_some();
            assert!(!is_matcher, "{bad}");
        }
    }
}
