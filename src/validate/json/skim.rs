//! JSON that is looked through, and of which little is kept.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{JsonFlaw, MAX_DEPTH, TextVisitor};

/// Any value. What is kept is its type, and the beginning of a text.
pub(super) struct Skim<'s, 'de> {
    pub(super) depth: usize,
    /// How much of it is kept if it is a text. Of those in it nothing is.
    pub(super) kept_chars: usize,
    /// Where to put it whole if it is a text.
    pub(super) text: Option<&'s mut Option<Cow<'de, str>>>,
    pub(super) state: &'s mut State<'de>,
}

pub(super) struct State<'de> {
    pub(super) flaw: Option<JsonFlaw>,
    values_left: usize,
    max_values: usize,
    keys: Keys<'de>,
}

enum Keys<'de> {
    /// An object may have one twice.
    Any,
    /// None comes twice. These are the first ones of the objects that are open: in one place, so
    /// that an object of few members allocates nothing.
    Different(Vec<Cow<'de, str>>),
}

/// How many of an object's keys are compared one by one.
const FEW_KEYS: usize = 8;

impl State<'_> {
    /// Holds what is looked through to the rules for all JSON, but for the number of values.
    pub(super) fn strict() -> Self {
        let keys = Keys::Different(Vec::new());
        Self { flaw: None, values_left: usize::MAX, max_values: usize::MAX, keys }
    }

    /// Ends after so many values, and takes objects with a key twice.
    pub(super) fn short(max_values: usize) -> Self {
        Self { flaw: None, values_left: max_values, max_values, keys: Keys::Any }
    }

    pub(super) fn fail<E: de::Error>(&mut self, flaw: JsonFlaw) -> E {
        flaw.raise(&mut self.flaw)
    }
}

impl<'de> Keys<'de> {
    fn open(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Different(keys) => keys.len(),
        }
    }

    /// Takes a key of the object that was opened at `begin`, whose further ones are `many`; `false`
    /// if it has that already.
    fn take(
        &mut self,
        begin: usize,
        many: &mut BTreeSet<Cow<'de, str>>,
        key: Cow<'de, str>,
    ) -> bool {
        let Self::Different(keys) = self else { return true };
        let few = keys.get(begin..).unwrap_or_default();
        if few.contains(&key) {
            return false;
        }
        if few.len() < FEW_KEYS {
            keys.push(key);
            return true;
        }
        many.insert(key)
    }

    fn close(&mut self, begin: usize) {
        if let Self::Different(keys) = self {
            keys.truncate(begin);
        }
    }
}

impl<'de> Skim<'_, 'de> {
    fn deeper<E: de::Error>(&mut self) -> Result<Skim<'_, 'de>, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.state.fail(JsonFlaw::TooDeep));
        }
        Ok(Skim { depth: self.depth + 1, kept_chars: 0, text: None, state: &mut *self.state })
    }
}

/// Gives the first characters of a text.
pub(super) fn beginning(text: &str, chars: usize) -> &str {
    let end = text.char_indices().nth(chars).map(|(end, _)| end);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

impl<'de> DeserializeSeed<'de> for Skim<'_, 'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.state.values_left.checked_sub(1) {
            Some(left) => self.state.values_left = left,
            None => return Err(self.state.fail(JsonFlaw::TooMany { max: self.state.max_values })),
        }
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

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value, E> {
        if let Some(text) = self.text {
            *text = Some(Cow::Borrowed(value));
        }
        Ok(Value::String(beginning(value, self.kept_chars).to_owned()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        if let Some(text) = self.text {
            *text = Some(Cow::Owned(value.to_owned()));
        }
        Ok(Value::String(beginning(value, self.kept_chars).to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<Value, A::Error> {
        while array.next_element_seed(self.deeper::<A::Error>()?)?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let begin = self.state.keys.open();
        let mut many = BTreeSet::new();
        // Checked for an empty object too, so that depth means the same everywhere.
        self.deeper::<A::Error>()?;
        while let Some(TextVisitor(key)) = object.next_key()? {
            if !self.state.keys.take(begin, &mut many, key) {
                return Err(self.state.fail(JsonFlaw::DuplicateKey));
            }
            object.next_value_seed(self.deeper::<A::Error>()?)?;
        }
        self.state.keys.close(begin);
        Ok(Value::Object(Map::new()))
    }
}
