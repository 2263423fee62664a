//! JSON as the gateway accepts it: no duplicate keys, at most 64 levels.
//!
//! A parser that takes the last of two equal keys (the upstream's does) and one that takes the
//! first disagree on what a request says. A body with duplicate keys is therefore refused, so
//! that what was checked is what is obeyed.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not JSON as it is accepted. Its text never holds any of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// It begins with a byte order mark, which JSON that is sent must not have (RFC 8259).
    ByteOrderMark,
    /// An object has a key twice; where the second one ends.
    DuplicateKey {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It isn't JSON; where that shows.
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It isn't UTF-8; the offset of the first bad byte.
    Utf8 {
        /// In bytes, from 0.
        offset: usize,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => {
                f.write_str("The body begins with a byte order mark; send UTF-8 without one.")
            }
            Self::DuplicateKey { line, column } => {
                write!(f, "An object has the same key twice (line {line}, column {column}).")
            }
            Self::TooDeep => write!(f, "The body is nested deeper than {MAX_DEPTH} levels."),
            Self::Syntax { line, column } => {
                write!(f, "The body is not valid JSON (line {line}, column {column}).")
            }
            Self::Utf8 { offset } => write!(f, "The body is not valid UTF-8 (byte {offset})."),
        }
    }
}

impl std::error::Error for JsonError {}

/// The byte order mark in UTF-8, and in UTF-16 of either order (and in UTF-32's little endian, which
/// begins like UTF-16's). No JSON begins with one.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// The text of a body.
///
/// # Errors
/// [`JsonError`] if it is not UTF-8, or begins with a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    if BYTE_ORDER_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(JsonError::ByteOrderMark);
    }
    std::str::from_utf8(bytes).map_err(|error| JsonError::Utf8 { offset: error.valid_up_to() })
}

/// Parses a whole body.
///
/// # Errors
/// [`JsonError`] if it is not one JSON value, not UTF-8, begins with a byte order mark, is too
/// deep, or has duplicate keys.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = text(bytes)?;
    let mut flaw = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, flaw: &mut flaw }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match flaw {
            Some(Flaw::DuplicateKey) => JsonError::DuplicateKey { line, column },
            Some(Flaw::TooDeep) => JsonError::TooDeep,
            None => JsonError::Syntax { line, column },
        }
    })
}

#[derive(Clone, Copy)]
enum Flaw {
    DuplicateKey,
    TooDeep,
}

struct Strict<'a> {
    depth: usize,
    flaw: &'a mut Option<Flaw>,
}

impl Strict<'_> {
    fn deeper<E: de::Error>(&mut self) -> Result<Strict<'_>, E> {
        if self.depth == MAX_DEPTH {
            *self.flaw = Some(Flaw::TooDeep);
            return Err(E::custom("too deep"));
        }
        Ok(Strict { depth: self.depth + 1, flaw: self.flaw })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let seed = self.deeper()?;
            match array.next_element_seed(seed)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        // Checked for an empty object too, so that depth means the same everywhere.
        self.deeper::<A::Error>()?;
        while let Some(key) = object.next_key::<String>()? {
            if members.contains_key(&key) {
                *self.flaw = Some(Flaw::DuplicateKey);
                return Err(de::Error::custom("duplicate key"));
            }
            let value = object.next_value_seed(self.deeper()?)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_is() {
        let text = r#" {"a":[1,-2,3.5,null,true,"\u00f6\ud83d\ude00"],"b":{"c":{}}} "#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn duplicate_keys_are_refused_at_any_depth_and_however_they_are_written() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"params":{"thread_id":"a","thread_id":"b"}}]}"#,
            r#"{"type":1,"\u0074ype":2}"#,
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::DuplicateKey { .. }), "{text}");
        }
        assert!(parse(br#"{"a":1,"A":1}"#).is_ok());
    }

    #[test]
    fn depth_is_counted_in_levels() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(parse("[".repeat(200_000).as_bytes()), Err(JsonError::TooDeep));
        let objects = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        assert!(parse(objects(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(objects(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn what_is_not_json_is_told_by_place_only() {
        assert_eq!(parse(b"{\n \"a\": secret}"), Err(JsonError::Syntax { line: 2, column: 7 }));
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::Utf8 { offset: 1 }));
        for bytes in [&b"\xef\xbb\xbf{}"[..], b"\xef\xbb\xbf", b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"]
        {
            assert_eq!(parse(bytes), Err(JsonError::ByteOrderMark), "{bytes:?}");
        }
        for text in ["", " ", " \u{feff}{}", "{} {}", "NaN", "[1,]", r#""\ud800""#, "'a'", "1e999"]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Syntax { .. }), "{text:?}: {error:?}");
        }
    }
}
