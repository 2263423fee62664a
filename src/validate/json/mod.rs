//! JSON as the gateway accepts it: no duplicate keys, at most 64 levels, not too many values.
//!
//! A parser that takes the last of two equal keys (the upstream's does) and one that takes the
//! first disagree on what a request says. A body with duplicate keys is therefore refused, so
//! that what was checked is what is obeyed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed as _};
use serde_json::Value;

use crate::rejection::{Code, Rejection};

pub(crate) mod outline;
mod skim;
mod tree;

use tree::Tree;

/// The deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// The most values of a body where nothing says otherwise: every object, array, text, number,
/// `true`, `false`, `null`, and every key.
pub const MAX_VALUES: usize = 10_000;

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
    /// There is nothing, or nothing but blanks.
    Empty,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It has more values than are allowed. What comes after them was not looked at.
    TooMany {
        /// How many are allowed.
        max: usize,
    },
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
            Self::Empty => f.write_str("The body is empty; JSON is expected."),
            Self::TooDeep => write!(f, "The body is nested deeper than {MAX_DEPTH} levels."),
            Self::TooMany { max } => {
                write!(f, "The body has more than {max} JSON values, keys counted; send fewer.")
            }
            Self::Syntax { line, column } => {
                write!(f, "The body is not valid JSON (line {line}, column {column}).")
            }
            Self::Utf8 { offset } => write!(f, "The body is not valid UTF-8 (byte {offset})."),
        }
    }
}

impl std::error::Error for JsonError {}

/// 413 for too many values, 400 for all else.
impl From<JsonError> for Rejection {
    fn from(error: JsonError) -> Self {
        let text = error.to_string();
        match error {
            JsonError::TooMany { max } => Self::new(Code::PayloadTooLarge)
                .message(text)
                .detail("max_json_values", max)
                .because("the body has more values than limits.max_json_values"),
            JsonError::ByteOrderMark
            | JsonError::DuplicateKey { .. }
            | JsonError::Empty
            | JsonError::TooDeep
            | JsonError::Syntax { .. }
            | JsonError::Utf8 { .. } => Self::new(Code::InvalidJson).message(text),
        }
    }
}

/// The byte order mark in UTF-8, and in UTF-16 of either order (and in UTF-32's little endian, which
/// begins like UTF-16's). No JSON begins with one.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// Gives the text of a body.
///
/// # Errors
/// [`JsonError`] if it is not UTF-8, or begins with a byte order mark.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    if BYTE_ORDER_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(JsonError::ByteOrderMark);
    }
    std::str::from_utf8(bytes).map_err(|error| JsonError::Utf8 { offset: error.valid_up_to() })
}

/// What a body says, as far as it was made a tree.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The tree. What stays as it was written is an empty value of its type in it.
    pub(crate) value: Value,
    /// The characters of the parts that are [`Shape::Measured`], as they were written.
    pub(crate) measured_chars: usize,
}

/// What becomes of a part of a body.
///
/// A tree is many times the size of what it was made of: twenty-four bytes and more for each `0,`.
/// So there is one of no more values than are allowed, and what is passed on without a look has none.
#[derive(Debug)]
pub(crate) enum Shape {
    /// All of it becomes a tree.
    Tree,
    /// It stays as it was written. It is JSON as it is accepted all the same.
    Raw,
    /// It stays as it was written, and its characters are counted.
    Measured,
    /// The members of these names have shapes of their own, if it is an object.
    Object(&'static [(&'static str, Shape)]),
    /// So have all elements, if it is an array.
    List(&'static Shape),
}

impl Shape {
    fn of_member(&self, name: &str) -> &'static Self {
        let Self::Object(members) = *self else { return &Self::Tree };
        members.iter().find(|(known, _)| *known == name).map_or(&Self::Tree, |(_, shape)| shape)
    }

    fn of_element(&self) -> &'static Self {
        if let Self::List(shape) = *self { shape } else { &Self::Tree }
    }
}

/// Parses a whole body of at most [`MAX_VALUES`] values.
///
/// # Errors
/// [`JsonError`] if it is not one JSON value, not UTF-8, begins with a byte order mark, is too
/// deep, has too many values, or has duplicate keys.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    read(bytes, MAX_VALUES, &Shape::Tree).map(|parsed| parsed.value)
}

/// Parses a whole body of that shape. What becomes a tree may have `max_values`, keys included.
///
/// # Errors
/// As [`parse`]; parts that stay as they were written are held to the same rules but for the
/// number of values.
pub(crate) fn read(
    bytes: &[u8],
    max_values: usize,
    shape: &'static Shape,
) -> Result<Parsed, JsonError> {
    let text = text(bytes)?;
    let mut state = tree::State::new(text, max_values);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Tree { depth: 0, shape, state: &mut state }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => Ok(Parsed { value, measured_chars: state.measured_chars }),
        Err(_) if is_blank(text) => Err(JsonError::Empty),
        Err(error) => Err(JsonFlaw::told(state.flaw, error.line(), error.column())),
    }
}

/// Tells whether a text has nothing but what may stand between JSON's values (RFC 8259 section 2).
pub(crate) fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| b" \t\n\r".contains(&byte))
}

/// What makes JSON other than it is accepted.
#[derive(Clone, Copy)]
enum JsonFlaw {
    DuplicateKey,
    TooDeep,
    TooMany {
        max: usize,
    },
    /// In a part that was read by itself; it is known where.
    InPart(JsonError),
}

impl JsonFlaw {
    /// Tells why reading ended there; without a flaw it isn't JSON at all.
    fn told(flaw: Option<Self>, line: usize, column: usize) -> JsonError {
        match flaw {
            Some(Self::DuplicateKey) => JsonError::DuplicateKey { line, column },
            Some(Self::TooDeep) => JsonError::TooDeep,
            Some(Self::TooMany { max }) => JsonError::TooMany { max },
            Some(Self::InPart(error)) => error,
            None => JsonError::Syntax { line, column },
        }
    }

    /// Ends the reading, and leaves word of why.
    fn raise<E: de::Error>(self, word: &mut Option<Self>) -> E {
        *word = Some(self);
        E::custom("not as it is accepted")
    }
}

/// A text, borrowed where it can be.
#[derive(Deserialize)]
struct TextVisitor<'a>(#[serde(borrow)] Cow<'a, str>);

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
    fn values_are_counted_and_what_stays_raw_is_not() {
        static SHAPE: Shape = Shape::Object(&[
            ("raw", Shape::Raw),
            ("list", Shape::List(&Shape::Object(&[("data", Shape::Measured)]))),
        ]);
        // The object, two keys, a number, an array, and its two elements.
        let seven = br#"{"a":1,"b":[true,"x"]}"#;
        assert!(read(seven, 7, &Shape::Tree).is_ok());
        assert_eq!(read(seven, 6, &Shape::Tree).unwrap_err(), JsonError::TooMany { max: 6 });
        let zeros = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(zeros.as_bytes()), Err(JsonError::TooMany { max: MAX_VALUES }));
        let body = format!(r#"{{"raw":{zeros},"list":[{{"data":{{"é":{zeros}}}}},{{"data":7}}]}}"#);
        let parsed = read(body.as_bytes(), 8, &SHAPE).unwrap();
        let expected = serde_json::json!({"raw": [], "list": [{"data": {}}, {"data": 7}]});
        assert_eq!(parsed.value, expected);
        assert_eq!(parsed.measured_chars, zeros.len() + r#"{"e":}"#.len() + 1);
        // Elsewhere the same names are nothing special.
        let body = format!(r#"{{"data":{zeros}}}"#);
        assert!(read(body.as_bytes(), MAX_VALUES, &SHAPE).is_err());
    }

    #[test]
    fn what_stays_raw_is_json_as_everywhere() {
        static SHAPE: Shape = Shape::Object(&[("raw", Shape::Raw)]);
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let twenty = |last| {
            let members: Vec<_> = (0..20).map(|n| format!("\"m{n}\":0")).collect();
            format!("{{{},\"{last}\":0}}", members.join(","))
        };
        for raw in [
            "{\"a\":1,\n\"a\":2}",
            "[\n{\"a\":{\"b\":1, \"\\u0062\":2}}]",
            r#""\ud800""#,
            "1e999",
            "[1,]",
            "{\"a\"}",
            "[{\"a\":{},\"b\":[{\"a\":0}],\"c\":{\"a\":{}}},{\"b\":0}]",
            "[{\"a\":{\"b\":{}},\"b\":0,\"a\":1}]",
            &twenty("m0"),
            &twenty("m15"),
            &twenty("m20"),
            "nul",
            "",
            &deep(MAX_DEPTH - 1),
            &deep(MAX_DEPTH),
            &deep(200_000),
        ] {
            for before in ["", " \n \n\t", "\"é\":1,"] {
                let body = format!("{{{before}\"raw\": {raw}\n,\"x\":1}}");
                let expected = parse(body.as_bytes());
                let found = read(body.as_bytes(), MAX_VALUES, &SHAPE);
                assert_eq!(found.map(drop), expected.map(drop), "{}", &body[..body.len().min(80)]);
            }
        }
    }

    #[test]
    fn what_is_not_json_is_told_by_place_only() {
        assert_eq!(parse(b"{\n \"a\": secret}"), Err(JsonError::Syntax { line: 2, column: 7 }));
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::Utf8 { offset: 1 }));
        for bytes in [&b"\xef\xbb\xbf{}"[..], b"\xef\xbb\xbf", b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"]
        {
            assert_eq!(parse(bytes), Err(JsonError::ByteOrderMark), "{bytes:?}");
        }
        for text in ["", " ", "\r\n\t"] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::Empty), "{text:?}");
        }
        for text in [" \u{feff}{}", "{} {}", "NaN", "[1,]", r#""\ud800""#, "'a'", "1e999"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Syntax { .. }), "{text:?}: {error:?}");
        }
    }
}
