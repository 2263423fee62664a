//! JSON as the gateway accepts it: no duplicate keys, at most 64 levels, not too many values.
//!
//! A parser that takes the last of two equal keys (the upstream's does) and one that takes the
//! first disagree on what a request says. A body with duplicate keys is therefore refused, so
//! that what was checked is what is obeyed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

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

/// The byte order mark in UTF-8, and in UTF-16 of either order (and in UTF-32's little endian, which
/// begins like UTF-16's). No JSON begins with one.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// The text of a body.
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
    /// The characters of the parts that are [`Shape::Told`], as they were written.
    pub(crate) told_chars: usize,
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
    /// It stays as it was written, and its length is told.
    Told,
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
    let mut state = State { text, flaw: None, values_left: max_values, told_chars: 0 };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, shape, state: &mut state }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => Ok(Parsed { value, told_chars: state.told_chars }),
        Err(error) => Err(match state.flaw {
            Some(Flaw::TooMany) => JsonError::TooMany { max: max_values },
            Some(Flaw::InRaw(error)) => error,
            Some(Flaw::Strict(flaw)) => flaw.at(error.line(), error.column()),
            None => JsonError::Syntax { line: error.line(), column: error.column() },
        }),
    }
}

#[derive(Clone, Copy)]
enum Flaw {
    TooMany,
    Strict(StrictFlaw),
    /// In a part that stays as it was written; it is known where.
    InRaw(JsonError),
}

#[derive(Clone, Copy)]
enum StrictFlaw {
    DuplicateKey,
    TooDeep,
}

impl StrictFlaw {
    fn at(self, line: usize, column: usize) -> JsonError {
        match self {
            Self::DuplicateKey => JsonError::DuplicateKey { line, column },
            Self::TooDeep => JsonError::TooDeep,
        }
    }
}

struct State<'t> {
    text: &'t str,
    flaw: Option<Flaw>,
    values_left: usize,
    told_chars: usize,
}

impl State<'_> {
    fn fail<E: de::Error>(&mut self, flaw: Flaw) -> E {
        self.flaw = Some(flaw);
        E::custom("not as it is accepted")
    }

    /// Counts one value, or one key.
    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        match self.values_left.checked_sub(1) {
            Some(left) => {
                self.values_left = left;
                Ok(())
            }
            None => Err(self.fail(Flaw::TooMany)),
        }
    }

    /// Looks through a part that stays as it was written.
    fn raw<E: de::Error>(&mut self, raw: &str, depth: usize, told: bool) -> Result<Value, E> {
        if told {
            self.told_chars += raw.chars().count();
        }
        let mut state = SkimState::default();
        let mut deserializer = serde_json::Deserializer::from_str(raw);
        let skimmed = Skim { depth, state: &mut state }.deserialize(&mut deserializer);
        skimmed.map_err(|error| {
            // It was told from where the part begins.
            let begin = raw.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
            let before = self.text.get(..begin).unwrap_or_default();
            let (line, column) = match before.rfind('\n') {
                Some(end) => (before.matches('\n').count(), begin - end - 1),
                None => (0, begin),
            };
            let column = if error.line() <= 1 { column } else { 0 };
            let (line, column) = (line + error.line().max(1), column + error.column());
            self.fail(Flaw::InRaw(match state.flaw {
                Some(flaw) => flaw.at(line, column),
                None => JsonError::Syntax { line, column },
            }))
        })
    }
}

struct Strict<'s, 't> {
    depth: usize,
    shape: &'static Shape,
    state: &'s mut State<'t>,
}

impl<'t> Strict<'_, 't> {
    fn deeper<E: de::Error>(&mut self, shape: &'static Shape) -> Result<Strict<'_, 't>, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.state.fail(Flaw::Strict(StrictFlaw::TooDeep)));
        }
        Ok(Strict { depth: self.depth + 1, shape, state: self.state })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.shape {
            Shape::Raw | Shape::Told => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                let told = matches!(self.shape, Shape::Told);
                self.state.raw(raw.get(), self.depth, told)
            }
            Shape::Tree | Shape::Object(_) | Shape::List(_) => {
                self.state.count::<D::Error>()?;
                deserializer.deserialize_any(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Strict<'_, '_> {
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
        let shape = self.shape.of_element();
        loop {
            let seed = self.deeper(shape)?;
            match array.next_element_seed(seed)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        // Checked for an empty object too, so that depth means the same everywhere.
        self.deeper::<A::Error>(&Shape::Tree)?;
        while let Some(key) = object.next_key::<String>()? {
            self.state.count::<A::Error>()?;
            if members.contains_key(&key) {
                return Err(self.state.fail(Flaw::Strict(StrictFlaw::DuplicateKey)));
            }
            let shape = self.shape.of_member(&key);
            let value = object.next_value_seed(self.deeper(shape)?)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

/// A text, borrowed where it can be.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Any value, of which nothing is kept but its type.
struct Skim<'s, 't> {
    depth: usize,
    state: &'s mut SkimState<'t>,
}

#[derive(Default)]
struct SkimState<'t> {
    flaw: Option<StrictFlaw>,
    /// The first keys of the objects that are open. In one place, so that an object of few members
    /// allocates nothing.
    keys: Vec<Cow<'t, str>>,
}

/// How many of an object's keys are compared one by one.
const FEW_KEYS: usize = 8;

impl<'t> Skim<'_, 't> {
    fn fail<E: de::Error>(&mut self, flaw: StrictFlaw) -> E {
        self.state.flaw = Some(flaw);
        E::custom("not as it is accepted")
    }

    fn deeper<E: de::Error>(&mut self) -> Result<Skim<'_, 't>, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(StrictFlaw::TooDeep));
        }
        Ok(Skim { depth: self.depth + 1, state: self.state })
    }
}

impl<'de> DeserializeSeed<'de> for Skim<'_, 'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skim<'_, 'de> {
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

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number(0.into()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::String(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Value, A::Error> {
        while array.next_element_seed(self.deeper::<A::Error>()?)?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let begin = self.state.keys.len();
        let mut many = BTreeSet::new();
        self.deeper::<A::Error>()?;
        while let Some(Text(key)) = object.next_key::<Text<'de>>()? {
            let few = self.state.keys.get(begin..).unwrap_or_default();
            let is_new = !few.contains(&key);
            if is_new && few.len() < FEW_KEYS {
                self.state.keys.push(key);
            } else if !is_new || !many.insert(key) {
                return Err(self.fail(StrictFlaw::DuplicateKey));
            }
            object.next_value_seed(self.deeper::<A::Error>()?)?;
        }
        self.state.keys.truncate(begin);
        Ok(Value::Object(Map::new()))
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
    fn values_are_counted_and_what_stays_raw_is_not() {
        static SHAPE: Shape = Shape::Object(&[
            ("raw", Shape::Raw),
            ("list", Shape::List(&Shape::Object(&[("data", Shape::Told)]))),
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
        assert_eq!(parsed.told_chars, zeros.len() + r#"{"e":}"#.len() + 1);
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
        for text in ["", " ", " \u{feff}{}", "{} {}", "NaN", "[1,]", r#""\ud800""#, "'a'", "1e999"]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Syntax { .. }), "{text:?}: {error:?}");
        }
    }
}
