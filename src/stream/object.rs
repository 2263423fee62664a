//! Objects as an upstream wrote them, read one member at a time.
//!
//! There are servers that are not the Python SDK, and items that an integrator made. One member
//! that is not what the protocol promises must not cost the others: what can't be read is absent,
//! and whoever needs it says what that means. So is `null`. Of members with the same name the last
//! one counts, as it does for Python and in browsers.

use std::borrow::Cow;
use std::fmt;

#[cfg(feature = "operation")]
use serde::de::IgnoredAny;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::item::{self, ItemKind, Signs};

/// An object's members in their order, with their values as they were written.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object; `None` for any other JSON, and for what is none.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Makes the same of a part of something that was read before.
    pub(crate) fn of(json: &'a RawValue) -> Option<Self> {
        Self::read(json.get())
    }

    /// Gives a member, even if it is `null`.
    pub(crate) fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Gives a member that is not `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.member(name).filter(|value| value.get() != "null")
    }

    /// Gives a member that is a [`text`].
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text).map(Cow::into_owned)
    }

    /// Gives the id of what this is: a text, or a number as some servers count with, and never an
    /// empty one.
    pub(crate) fn id(&self) -> Option<String> {
        self.text("id").filter(|id| !id.is_empty())
    }

    /// Gives a member that is an object itself.
    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// Gives the values of a member that is a list; none of any other.
    #[cfg(feature = "operation")]
    pub(crate) fn list(&self, name: &str) -> Vec<&'a RawValue> {
        self.get(name).and_then(list).unwrap_or_default()
    }

    /// Gives all members, in their order.
    #[cfg(any(feature = "openai", feature = "operation"))]
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// Tells whether this is an item that no client is meant to see. Any of its types says so:
    /// whatever else is odd about it must not show it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.types().any(|name| item::is_hidden(name.as_bytes()))
    }

    /// Gives what this is, if it is an item. `None` if nothing says that.
    pub(crate) fn item_kind(&self) -> Option<ItemKind> {
        if self.is_hidden() {
            return Some(ItemKind::Unseen);
        }
        let name = self.name("type").unwrap_or_default();
        ItemKind::of_type(name.as_bytes()).or_else(|| self.signs(name.as_bytes()).kind())
    }

    /// Gives what tells it in place of a type that isn't known.
    fn signs(&self, name: &[u8]) -> Signs {
        let mut signs = Signs::default();
        signs.saw_type(name);
        // The last that is one, as the bytes are read that pass.
        let mut roles = self.0.iter().rev().filter(|(name, _)| name == "role");
        if let Some(role) = roles.find_map(|(_, value)| string(value)) {
            signs.saw_role(role.as_bytes());
        }
        if let Some(content) = self.get("content") {
            signs.has_content = true;
            // One part alone may stand for a list.
            for part in list(content).unwrap_or_else(|| vec![content]) {
                if let Some(name) = Self::of(part).as_ref().and_then(|part| part.name("type")) {
                    signs.saw_part(name.as_bytes());
                }
            }
        }
        signs
    }

    /// Gives a member that is a string: a number is no name.
    fn name(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// Gives every type that this says it has; as it is written, where it is no string.
    fn types(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let types = self.0.iter().filter(|(name, _)| name == "type");
        types.map(|(_, value)| string(value).unwrap_or(Cow::Borrowed(value.get())))
    }
}

/// Gives a string, or a number's digits; `None` for any other value.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first()? {
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value.get())),
        _ => string(value),
    }
}

/// Reads a string. Half a surrogate pair, which JSON can spell and a string can't hold, becomes
/// U+FFFD.
fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    if !json.starts_with('"') {
        return None;
    }
    serde_json::from_str::<LossyText<'_>>(json).ok().map(|text| text.0)
}

/// Gives the values of a list; `None` if it is none.
pub(crate) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // As many as most items have.
                let mut members = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<LossyText<'de>, _>()? {
                    members.push((name.0, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

/// What an object says of one name. Nothing is kept of its other members, however many there are.
#[cfg(feature = "operation")]
#[derive(Default)]
pub(crate) struct Named<'a> {
    /// The last value, even if it is `null`.
    pub(crate) value: Option<&'a RawValue>,
    /// There are several.
    pub(crate) is_repeated: bool,
}

#[cfg(feature = "operation")]
impl<'a> Named<'a> {
    /// Reads an object; `None` for any other JSON, and for what is none.
    pub(crate) fn read(json: &'a str, name: &str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let named = deserializer.deserialize_map(Naming(name)).ok()?;
        deserializer.end().ok().map(|()| named)
    }
}

#[cfg(feature = "operation")]
struct Naming<'n>(&'n str);

#[cfg(feature = "operation")]
impl<'de> Visitor<'de> for Naming<'_> {
    type Value = Named<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut named = Named::default();
        while let Some(name) = map.next_key::<LossyText<'de>>()? {
            if name.0 == self.0 {
                named.is_repeated |= named.value.is_some();
                named.value = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(named)
    }
}

/// A string with whatever is no text in it replaced.
struct LossyText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for LossyText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                // Nearly always it is text, which is quicker to see at once than piece by piece.
                Ok(std::str::from_utf8(bytes)
                    .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        // As bytes, because serde_json refuses half a surrogate pair in a string.
        deserializer.deserialize_bytes(Bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Object<'_> {
        Object::read(json).unwrap()
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_costs_nothing_else() {
        let object = read(
            r#"{"a":null,"b":[1],"c":{"d":true},"e":"x","f":-1.50,"id":"","\u0067":"\ud83dx","e":"y"}"#,
        );
        assert_eq!(object.text("a"), None);
        assert!(object.member("a").is_some());
        assert_eq!(object.text("b"), None);
        assert_eq!(object.text("c"), None);
        assert!(object.object("c").is_some_and(|c| c.text("d").is_none()));
        assert_eq!(object.text("e").as_deref(), Some("y"));
        assert_eq!(object.text("f").as_deref(), Some("-1.50"));
        assert_eq!(object.id(), None);
        assert!(object.text("g").is_some_and(|text| text.ends_with("\u{fffd}x")));
        assert_eq!(object.text("h"), None);
        for none in ["[]", "null", "7", "", "{", r#"{"a":1"#, r#"{"a":1}x"#] {
            assert!(Object::read(none).is_none(), "{none}");
        }
    }

    #[test]
    fn nesting_costs_nothing() {
        let deep = format!(r#"{{"w":{}{},"id":7}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(read(&deep).id().as_deref(), Some("7"));
    }

    #[test]
    fn what_is_hidden_stays_hidden_whatever_is_odd_about_it() {
        for hidden in [
            r#"{"type":"hidden_context_item"}"#,
            r#"{"id":null,"type":"sdk_hidden_context","type":"assistant_message"}"#,
            r#"{"type":"assistant_message","id":7,"id":[],"t\u0079pe":"sdk_hidden_\u0063ontext"}"#,
            r#"{"type":null,"x":"\ud83d","type":"hidden_context_item","type":7}"#,
            r#"{"type":"hidden_context_item ","content":"planted"}"#,
            r#"{"type":["hidden_context_item"],"role":"assistant"}"#,
        ] {
            assert!(read(hidden).is_hidden(), "{hidden}");
        }
        for shown in [r#"{"type":"widget"}"#, "{}", r#"{"x":{"type":"sdk_hidden_context"}}"#] {
            assert!(!read(shown).is_hidden(), "{shown}");
        }
    }

    proptest! {
        // Whatever JSON the values are, each member is what serde_json finds.
        #[test]
        fn members_are_those_that_serde_json_finds(
            members in prop::collection::vec(
                (
                    prop::sample::select(vec!["id", "type", "x", "\u{f6}\"", ""]),
                    prop::sample::select(vec![
                        "null", "true", "7", "-1.5e3", "\"\"", r#""a\n\u00f6""#, "[]", r#"[{"id":1}]"#,
                        "{}", r#"{"type":"x"}"#,
                    ]),
                ),
                0..8,
            ),
        ) {
            let written: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {value} ", serde_json::json!(name)))
                .collect();
            let json = format!("{{{}}}", written.join(","));
            let theirs: serde_json::Value = serde_json::from_str(&json).unwrap();
            let object = read(&json);
            for name in ["id", "type", "x", "\u{f6}\"", "", "absent"] {
                let ours = object.member(name).map(RawValue::get);
                let ours = ours.map(|json| serde_json::from_str::<serde_json::Value>(json).unwrap());
                prop_assert_eq!(ours.as_ref(), theirs.get(name));
                if let Some(serde_json::Value::String(text)) = theirs.get(name) {
                    let ours = object.text(name);
                    prop_assert_eq!(ours.as_ref(), Some(text));
                }
            }
        }
    }
}
