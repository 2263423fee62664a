//! JSON that becomes a tree.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::skim::{self, Skim};
use super::{JsonFlaw, MAX_DEPTH, Shape};

pub(super) struct State<'t> {
    text: &'t str,
    pub(super) flaw: Option<JsonFlaw>,
    values_left: usize,
    max_values: usize,
    pub(super) measured_chars: usize,
}

impl<'t> State<'t> {
    pub(super) fn new(text: &'t str, max_values: usize) -> Self {
        Self { text, flaw: None, values_left: max_values, max_values, measured_chars: 0 }
    }

    fn fail<E: de::Error>(&mut self, flaw: JsonFlaw) -> E {
        flaw.raise(&mut self.flaw)
    }

    /// Counts one value, or one key.
    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        match self.values_left.checked_sub(1) {
            Some(left) => {
                self.values_left = left;
                Ok(())
            }
            None => Err(self.fail(JsonFlaw::TooMany { max: self.max_values })),
        }
    }

    /// Looks through a part that stays as it was written.
    fn raw<E: de::Error>(&mut self, raw: &str, depth: usize, told: bool) -> Result<Value, E> {
        if told {
            self.measured_chars += raw.chars().count();
        }
        let mut state = skim::State::strict();
        let mut deserializer = serde_json::Deserializer::from_str(raw);
        let skim = Skim { depth, kept_chars: 0, text: None, state: &mut state };
        skim.deserialize(&mut deserializer).map_err(|error| {
            // It was told from where the part begins.
            let begin = raw.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
            let before = self.text.get(..begin).unwrap_or_default();
            let (line, column) = match before.rfind('\n') {
                Some(end) => (before.matches('\n').count(), begin - end - 1),
                None => (0, begin),
            };
            let column = if error.line() <= 1 { column } else { 0 };
            let (line, column) = (line + error.line().max(1), column + error.column());
            self.fail(JsonFlaw::InPart(JsonFlaw::told(state.flaw, line, column)))
        })
    }
}

/// Any value, of which as much becomes a tree as its shape says.
pub(super) struct Tree<'s, 't> {
    pub(super) depth: usize,
    pub(super) shape: &'static Shape,
    pub(super) state: &'s mut State<'t>,
}

impl<'t> Tree<'_, 't> {
    fn deeper<E: de::Error>(&mut self, shape: &'static Shape) -> Result<Tree<'_, 't>, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.state.fail(JsonFlaw::TooDeep));
        }
        Ok(Tree { depth: self.depth + 1, shape, state: self.state })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.shape {
            Shape::Raw | Shape::Measured => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                let told = matches!(self.shape, Shape::Measured);
                self.state.raw(raw.get(), self.depth, told)
            }
            Shape::Tree | Shape::Object(_) | Shape::List(_) => {
                self.state.count::<D::Error>()?;
                deserializer.deserialize_any(self)
            }
        }
    }
}

impl<'de> Visitor<'de> for Tree<'_, '_> {
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
                return Err(self.state.fail(JsonFlaw::DuplicateKey));
            }
            let shape = self.shape.of_member(&key);
            let value = object.next_value_seed(self.deeper(shape)?)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}
