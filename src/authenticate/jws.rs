//! The compact form of a signed token (RFC 7515 section 7.1), before anything in it is believed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{Algorithm, InvalidToken};

/// Header parameters that would have us trust a key that came with the token, or fetch one.
const FOREIGN_KEYS: [&str; 4] = ["jku", "jwk", "x5c", "x5u"];

/// A token taken apart. Nothing in it is verified.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    /// The key that it says it was signed with.
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    /// Header and payload as they were signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        let mut dots = token.match_indices('.').map(|(at, _)| at);
        let (first, second) = match (dots.next(), dots.next(), dots.next(), dots.next()) {
            (Some(first), Some(second), None, _) => (first, second),
            // Five parts: RFC 7516 section 9.
            (Some(_), Some(_), Some(_), Some(_)) => return Err(InvalidToken::Encrypted),
            _ => return Err(InvalidToken::Malformed),
        };
        let (header, rest) = token.split_at(first);
        let payload = rest.get(1..second - first).ok_or(InvalidToken::Malformed)?;
        let (signed, signature) = token.split_at(second);
        let signature = signature.get(1..).ok_or(InvalidToken::Malformed)?;
        let (algorithm, header) = checked_header(json(header)?)?;
        let signature = decode(signature)?;
        Ok(Self { algorithm, kid: header.kid, typ: header.typ, signed, signature, payload })
    }

    /// Gives the claims, to be read only after the signature was verified.
    pub(super) fn claims(&self) -> Result<UniqueMembers, InvalidToken> {
        json(self.payload)
    }
}

/// Gives the header as jsonwebtoken reads it, unless it is one that jsonwebtoken lets pass and we
/// don't.
fn checked_header(header: UniqueMembers) -> Result<(Algorithm, Header), InvalidToken> {
    // RFC 7515 section 4.1.11: who doesn't understand an extension that is marked critical must
    // refuse the token, and we understand none.
    if header.get("crit").is_some() {
        return Err(InvalidToken::CriticalExtension);
    }
    if header.get("enc").is_some() {
        return Err(InvalidToken::Encrypted);
    }
    if FOREIGN_KEYS.iter().any(|name| header.get(name).is_some()) {
        return Err(InvalidToken::BringsItsOwnKey);
    }
    if ["kid", "typ"].iter().any(|name| header.get(name).is_some_and(|it| !it.is_string())) {
        return Err(InvalidToken::Malformed);
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(InvalidToken::Malformed)?;
    let algorithm: Algorithm = name.parse().map_err(|_| InvalidToken::AlgorithmNotAllowed)?;
    // The older of two names: jsonwebtoken knows no other.
    let UniqueMembers(mut header) = header;
    header.insert("alg".to_owned(), algorithm.as_str().into());
    let header = serde_json::from_value(Value::Object(header));
    header.map(|header| (algorithm, header)).map_err(|_| InvalidToken::Malformed)
}

fn json(part: &str) -> Result<UniqueMembers, InvalidToken> {
    serde_json::from_slice(&decode(part)?).map_err(|_| InvalidToken::Malformed)
}

/// Decodes strictly: no padding, no other alphabet, no stray bits, so that one token has one
/// spelling.
fn decode(part: &str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Malformed)
}

/// A JSON object in which no name comes twice (RFC 7515 section 4, RFC 7519 section 4).
pub(super) struct UniqueMembers(Map<String, Value>);

impl UniqueMembers {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without duplicate names")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut access: A,
            ) -> Result<UniqueMembers, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name comes twice"));
                    }
                }
                Ok(UniqueMembers(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}
