//! Threads and pages as nearly every server writes them, read in one walk.
//!
//! Whatever is odd about one, a member that comes twice or a number in the place of a text, is left
//! to who reads member by member: [`threads`](super::threads). What is read here is what is read
//! there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct PlainPage<'a> {
    #[serde(borrow)]
    pub(crate) data: Vec<&'a RawValue>,
    pub(crate) has_more: bool,
    #[serde(default)]
    pub(crate) after: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PlainThread<'a> {
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(borrow, default)]
    pub(crate) status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) allowed_image_domains: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) items: Option<Plain<PlainPage<'a>>>,
}

/// An object. What is derived would take a list of its members for one too.
pub(crate) struct Plain<T>(pub(super) T);

impl<T> Plain<T> {
    pub(crate) fn read<'a>(json: &'a [u8]) -> Option<T>
    where
        T: Deserialize<'a>,
    {
        // All of it at once, or what is left out would not be looked at.
        let json = std::str::from_utf8(json).ok()?;
        serde_json::from_str(json).ok().map(|Self(plain)| plain)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Plain<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}
