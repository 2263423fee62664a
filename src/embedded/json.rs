//! JSON as the ChatKit SDK's parser reads it: objects keep their order, the last of duplicate
//! keys wins, integers have any size, `NaN` and `Infinity` are let in (and written as `null`).

use std::collections::HashMap;
use std::fmt;
use std::num::{IntErrorKind, ParseIntError};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// How deep arrays and objects may be nested. The SDK's parser stops at about the same depth.
const MAX_DEPTH: usize = 200;

/// A JSON value whose objects keep the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as JSON text.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; its keys are different from each other.
    Object(Vec<(String, Json)>),
}

/// The text of a JSON number: any integer, or a finite float in its shortest form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(String);

/// The text is not JSON, or nested more than 200 deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidJson;

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not JSON, or nested too deep")
    }
}

impl std::error::Error for InvalidJson {}

impl Json {
    /// Reads one JSON value.
    ///
    /// # Errors
    /// [`InvalidJson`] if `text` isn't exactly one value, has half of a surrogate pair, or is
    /// nested more than 200 deep.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        let mut reader = JsonReader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at == text.len() { Ok(value) } else { Err(InvalidJson) }
    }

    /// Gives the value of an object's key; `None` if this is no object or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Gives the string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Gives the integer, read as leniently as the SDK does: `2`, `2.0`, `"2"` and `true` are
    /// integers. Its integers have no bounds; here the most and the least stand for what is beyond
    /// them.
    pub(super) fn as_lax_integer(&self) -> Option<i64> {
        match self {
            Self::Bool(yes) => Some(i64::from(*yes)),
            Self::Number(Number(text)) => saturating(text).or_else(|| {
                let number: f64 = text.parse().ok()?;
                // Saturates.
                #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
                (number.fract() == 0.0).then_some(number as i64)
            }),
            Self::String(text) => saturating(text.trim()),
            _ => None,
        }
    }
}

fn saturating(text: &str) -> Option<i64> {
    text.parse().map_or_else(
        |error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
        Some,
    )
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Json {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Number(Number(number.to_string()))
    }
}

impl From<Vec<Json>> for Json {
    fn from(values: Vec<Json>) -> Self {
        Self::Array(values)
    }
}

impl<const N: usize> From<[(&str, Json); N]> for Json {
    /// Makes an object. The keys must be different from each other.
    fn from(entries: [(&str, Json); N]) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// Compact JSON.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(yes) => serializer.serialize_bool(*yes),
            Self::Number(Number(text)) => {
                RawValue::from_string(text.clone()).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(text.get()).map_err(D::Error::custom)
    }
}

struct JsonReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonReader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the next byte that is not blank.
    fn next(&mut self) -> Result<u8, InvalidJson> {
        self.blanks();
        let byte = self.peek().ok_or(InvalidJson)?;
        self.at += 1;
        Ok(byte)
    }

    fn value(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        if depth > MAX_DEPTH {
            return Err(InvalidJson);
        }
        self.blanks();
        match self.peek().ok_or(InvalidJson)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b'0'..=b'9' => self.number(),
            b'-' if !self.rest().starts_with("-I") => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json, InvalidJson> {
        let words = [
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("null", Json::Null),
            ("NaN", Json::Null),
            ("Infinity", Json::Null),
            ("-Infinity", Json::Null),
        ];
        for (word, value) in words {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(InvalidJson)
    }

    fn number(&mut self) -> Result<Json, InvalidJson> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let token = rest.get(..end).ok_or(InvalidJson)?;
        serde_json::from_str::<&RawValue>(token).map_err(|_| InvalidJson)?;
        self.at += end;
        if !token.contains(['.', 'e', 'E']) {
            return Ok(Json::Number(Number(token.to_owned())));
        }
        let float: f64 = token.parse().map_err(|_| InvalidJson)?;
        if float.is_finite() {
            let text = serde_json::to_string(&float).map_err(|_| InvalidJson)?;
            Ok(Json::Number(Number(text)))
        } else {
            Ok(Json::Null)
        }
    }

    fn string(&mut self) -> Result<String, InvalidJson> {
        let rest = self.rest();
        let mut escaped = false;
        for (index, byte) in rest.bytes().enumerate().skip(1) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at += index + 1;
                    let token = rest.get(..=index).ok_or(InvalidJson)?;
                    return serde_json::from_str(token).map_err(|_| InvalidJson);
                }
                _ => {}
            }
        }
        Err(InvalidJson)
    }

    fn array(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        self.at += 1;
        let mut values = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            match self.next()? {
                b',' => {}
                b']' => return Ok(Json::Array(values)),
                _ => return Err(InvalidJson),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, InvalidJson> {
        self.at += 1;
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(entries));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(InvalidJson);
            }
            let key = self.string()?;
            if self.next()? != b':' {
                return Err(InvalidJson);
            }
            let value = self.value(depth + 1)?;
            if let Some(entry) = places.get(&key).and_then(|place| entries.get_mut(*place)) {
                entry.1 = value;
            } else {
                places.insert(key.clone(), entries.len());
                entries.push((key, value));
            }
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Json::Object(entries)),
                _ => return Err(InvalidJson),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> Result<String, InvalidJson> {
        Json::parse(text).map(|json| json.to_string())
    }

    #[test]
    fn it_reads_what_the_sdk_reads() {
        for (text, written) in [
            (r#" { "b" : 1 , "a" : [ ] , "b" : {"c":null} } "#, r#"{"b":{"c":null},"a":[]}"#),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[1.50,1e2,-0.0,1.0,-7]", "[1.5,100.0,-0.0,1.0,-7]"),
            (r#"{"a":NaN,"b":-Infinity,"c":1e400}"#, r#"{"a":null,"b":null,"c":null}"#),
            (r#""\u2028\n\/\ud83d\ude00\\""#, "\"\u{2028}\\n/\u{1f600}\\\\\""),
        ] {
            assert_eq!(again(text).as_deref(), Ok(written), "{text}");
        }
    }

    #[test]
    fn integers_are_read_as_the_sdk_reads_them() {
        for (text, integer) in [
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("2e3", Some(2000)),
            ("true", Some(1)),
            ("\" -2 \"", Some(-2)),
            ("123456789012345678901234567890", Some(i64::MAX)),
            ("-123456789012345678901234567890", Some(i64::MIN)),
            ("\"123456789012345678901234567890\"", Some(i64::MAX)),
            ("2.5", None),
            ("NaN", None),
            ("\"2.5\"", None),
            ("\"\"", None),
            ("null", None),
        ] {
            assert_eq!(Json::parse(text).unwrap().as_lax_integer(), integer, "{text}");
        }
    }

    #[test]
    fn it_refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "\u{feff}{}",
            "{} x",
            "{\"a\":1,}",
            "[1,]",
            "[,1]",
            "{1:2}",
            "{\"a\" 1}",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "--1",
            "nul",
            "'a'",
            "\"a",
            "\"\\ud800\"",
            "\"\n\"",
            "\"\\x\"",
            "[",
            "{",
            "]",
            "{\"a\":}",
            "tru e",
        ] {
            assert_eq!(again(text), Err(InvalidJson), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Json::parse(&nested(MAX_DEPTH + 2)), Err(InvalidJson));
        assert_eq!(Json::parse(&"[".repeat(1_000_000)), Err(InvalidJson));
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(text in r#"[\[\]{}:,"a0-9eE.\\u \-+tfn]{0,24}"#) {
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            if let Ok(value) = theirs {
                let ours = again(&text).unwrap();
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), value);
            } else if let Ok(ours) = again(&text) {
                // serde_json refuses floats that are too large; the SDK reads them as infinity.
                prop_assert!(theirs.unwrap_err().to_string().contains("out of range"), "{}", ours);
            }
        }
    }
}
