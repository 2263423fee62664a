//! A body of one long text, read where it lies.
//!
//! A [`Value`] of such a body would be a copy of it, and many times its size where it isn't what
//! it should be. What the schema checks is an outline instead: every text and every list is short
//! in it, and of the right type.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed as _, Deserializer as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::skim::{Skim, State, beginning};
use super::{JsonError, JsonFlaw, TextVisitor, is_blank};

/// The most values that are looked at. No body of texts has as many.
const MAX_VALUES: usize = 10_000;

/// How much of a text, or of a name, the outline has: more than any schema lets pass.
const MAX_TEXT_CHARS: usize = 300;

/// What a body says.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    /// The body, with no more than the beginning of each text, and nothing in what is in its
    /// members.
    pub(crate) value: Value,
    /// The texts that were asked for, whole.
    pub(crate) texts: [Option<Cow<'a, str>>; 2],
    /// There is so much in it that the rest wasn't read.
    pub(crate) is_cut: bool,
}

/// Reads a body, and in it the texts of these names.
///
/// # Errors
/// As [`parse`](super::parse), but that an object in a member may have a key twice.
pub(crate) fn outline<'a>(bytes: &'a [u8], names: [&str; 2]) -> Result<Outline<'a>, JsonError> {
    let text = super::text(bytes)?;
    let mut state = State::short(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut outline = Outline { value: Value::Null, texts: [None, None], is_cut: false };
    let read = if text.trim_ascii_start().starts_with('{') {
        outline.value = Value::Object(Map::new());
        let Outline { value, texts, .. } = &mut outline;
        (&mut deserializer).deserialize_map(OutlineMembers {
            state: &mut state,
            value,
            names,
            texts,
        })
    } else {
        let skim = Skim { depth: 0, kept_chars: MAX_TEXT_CHARS, text: None, state: &mut state };
        skim.deserialize(&mut deserializer).map(|value| outline.value = value)
    };
    match (read.and_then(|()| deserializer.end()), state.flaw) {
        (Ok(()), _) => Ok(outline),
        (Err(_), Some(JsonFlaw::TooMany { .. })) => Ok(Outline { is_cut: true, ..outline }),
        (Err(_), _) if is_blank(text) => Err(JsonError::Empty),
        (Err(error), flaw) => Err(JsonFlaw::told(flaw, error.line(), error.column())),
    }
}

/// The members of the body itself.
struct OutlineMembers<'s, 'a> {
    state: &'s mut State<'a>,
    value: &'s mut Value,
    names: [&'s str; 2],
    texts: &'s mut [Option<Cow<'a, str>>; 2],
}

impl<'a> Visitor<'a> for OutlineMembers<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { state, value, names, texts } = self;
        let Value::Object(members) = value else { return Ok(()) };
        while let Some(TextVisitor(key)) = object.next_key()? {
            let name = beginning(&key, MAX_TEXT_CHARS);
            if name.len() == key.len() && members.contains_key(name) {
                return Err(state.fail(JsonFlaw::DuplicateKey));
            }
            members.insert(name.to_owned(), Value::Null);
            let wanted = names.iter().zip(texts.iter_mut()).find(|(known, _)| ***known == *key);
            let text = wanted.map(|(_, text)| text);
            let skim = Skim { depth: 1, kept_chars: MAX_TEXT_CHARS, text, state: &mut *state };
            members.insert(name.to_owned(), object.next_value_seed(skim)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::validate::json::{MAX_DEPTH, parse};

    fn read(text: &str) -> Result<Outline<'_>, JsonError> {
        outline(text.as_bytes(), ["long", "short"])
    }

    #[test]
    fn texts_are_whole_and_the_outline_is_short() {
        let long = "A".repeat(100_000);
        let body = format!(r#" {{"long":"{long}","short":"a\/b","x":{{"y":[1,{{"z":2}}]}}}} "#);
        let found = read(&body).unwrap();
        assert!(matches!(&found.texts[0], Some(Cow::Borrowed(text)) if *text == long));
        assert_eq!(found.texts[1].as_deref(), Some("a/b"));
        let expected = json!({"long": &long[..MAX_TEXT_CHARS], "short": "a/b", "x": {}});
        assert_eq!(found.value, expected);
        assert!(!found.is_cut);

        for (body, value) in [
            (r#"{"long":7,"short":[1,2]}"#, json!({"long": 7, "short": []})),
            ("[1,[2]]", json!([])),
            ("\"x\"", json!("x")),
            ("null", json!(null)),
        ] {
            let found = read(body).unwrap();
            assert_eq!((found.value, found.texts), (value, [None, None]), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_as_everywhere() {
        let deep = |levels: usize| {
            format!(r#"{{"x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert!(read(&deep(MAX_DEPTH)).is_ok());
        let too_deep = deep(MAX_DEPTH + 1);
        for body in [
            r#"{"long":"a","long":"a"}"#,
            r#"{"long":"a","\u006cong":"b"}"#,
            r#"{"x":1,"x":1}"#,
            "",
            "{",
            "{} {}",
            r#"{"long":"\ud800"}"#,
            "{\"long\":\"a\nb\"}",
            "{\n\"x\": secret}",
            "[1,]",
            "\u{feff}{}",
            &too_deep,
        ] {
            let expected = parse(body.as_bytes()).unwrap_err();
            assert_eq!(read(body).unwrap_err(), expected, "{body}");
        }
        for body in ["", " ", "\n"] {
            assert_eq!(read(body).unwrap_err(), JsonError::Empty, "{body:?}");
        }
        let utf8 = outline(b"{\"long\":\"\xff\"}", ["long", "short"]).unwrap_err();
        assert_eq!(utf8, JsonError::Utf8 { offset: 9 });
    }

    #[test]
    fn what_is_much_is_not_read_to_its_end() {
        let list = format!(r#"{{"short":"s","x":[{}"#, "0,".repeat(MAX_VALUES));
        let members: Vec<String> = (0..=MAX_VALUES).map(|n| format!("\"m{n}\":0,")).collect();
        let members = members.concat();
        for body in [&list, &format!("{{{members}"), &format!("[{}", "[],".repeat(MAX_VALUES))] {
            let found = read(body).unwrap();
            assert!(found.is_cut);
            assert!(found.value.as_object().is_none_or(|members| members.len() <= MAX_VALUES + 1));
        }
        assert_eq!(read(&list).unwrap().value, json!({"short": "s", "x": null}));
    }
}
