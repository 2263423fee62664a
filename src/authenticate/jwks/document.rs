//! What documents about keys say, as far as their form goes.

use std::fmt;

use serde_json::{Map, Value};

/// The longest key set, or provider's document, that is read, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 512 * 1024;

/// The most keys that a set may have, of whatever kind. Providers have two to twenty.
pub const MAX_KEYS: usize = 256;

/// What is not the document that it should be.
///
/// Its text is the end of a sentence that begins with the document, and repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKeySet {
    /// It is a page, or another text.
    NotJson,
    /// It is JSON, and has no list `keys` of objects (RFC 7517 section 5).
    NotASet,
    /// It is one key and no set.
    OneKey,
    /// It is a provider's document, which names the set.
    Discovery,
    /// It has more than [`MAX_KEY_SET_BYTES`].
    TooLong,
    /// It has more than [`MAX_KEYS`].
    TooManyKeys(usize),
}

impl fmt::Display for InvalidKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXPECTED: &str = "expected a key set, {\"keys\": […]}";
        match self {
            Self::NotJson => write!(f, "is not JSON; {EXPECTED}"),
            Self::NotASet => write!(f, "is JSON without a list of keys; {EXPECTED}"),
            Self::OneKey => write!(f, "is one key; {EXPECTED}, with it in the list"),
            Self::Discovery => write!(
                f,
                "is a provider's document and names the key set in jwks_uri; {EXPECTED}, or \
                 `discovery = true` beside the `issuer`, in place of its URL"
            ),
            Self::TooLong => write!(f, "has more than {MAX_KEY_SET_BYTES} bytes; {EXPECTED}"),
            Self::TooManyKeys(count) => {
                write!(f, "has {count} keys; expected at most {MAX_KEYS}")
            }
        }
    }
}

impl std::error::Error for InvalidKeySet {}

/// Gives the keys of a set, none of which has been looked at.
pub(super) fn keys(json: &[u8]) -> Result<Vec<Map<String, Value>>, InvalidKeySet> {
    let Value::Object(mut document) = parse(json)? else { return Err(InvalidKeySet::NotASet) };
    let Some(Value::Array(keys)) = document.remove("keys") else {
        return Err(match () {
            () if document.contains_key("kty") => InvalidKeySet::OneKey,
            () if document.contains_key("jwks_uri") => InvalidKeySet::Discovery,
            () => InvalidKeySet::NotASet,
        });
    };
    if keys.len() > MAX_KEYS {
        return Err(InvalidKeySet::TooManyKeys(keys.len()));
    }
    let object = |key| match key {
        Value::Object(key) => Ok(key),
        _ => Err(InvalidKeySet::NotASet),
    };
    keys.into_iter().map(object).collect()
}

/// Gives where the provider's document says that its key set is; what is wrong with the document, for
/// the log.
#[cfg(feature = "forward")]
pub(super) fn jwks_uri(json: &[u8], issuer: &str) -> Result<String, String> {
    const DOCUMENT: &str = "the provider's document (openid-configuration)";
    let document = parse(json).map_err(|invalid| match invalid {
        InvalidKeySet::TooLong => format!("{DOCUMENT} has more than {MAX_KEY_SET_BYTES} bytes"),
        _ => format!("{DOCUMENT} is not JSON"),
    })?;
    // OpenID Connect Discovery 1.0 section 4.3: else one issuer could speak for another.
    match document.get("issuer").and_then(Value::as_str) {
        Some(named) if named == issuer => {}
        Some(named) => {
            let (named, issuer) = (shown(named), shown(issuer));
            return Err(format!(
                "{DOCUMENT} is of the issuer {named:?}, and the `issuer` that is set is {issuer:?}; expected \
                 the same to the letter"
            ));
        }
        None => return Err(format!("{DOCUMENT} names no issuer")),
    }
    match document.get("jwks_uri").and_then(Value::as_str) {
        Some(uri) => Ok(uri.to_owned()),
        None => Err(format!("{DOCUMENT} names no key set (jwks_uri)")),
    }
}

/// Gives a text of somebody else's to be shown: its beginning, without what terminals act on.
pub(super) fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 128;
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(MAX_CHARS).map(plain).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Of names that come twice the last counts, which RFC 7517 section 4 allows.
fn parse(json: &[u8]) -> Result<Value, InvalidKeySet> {
    if json.len() > MAX_KEY_SET_BYTES {
        return Err(InvalidKeySet::TooLong);
    }
    // Some editors, and what is made with them, begin a file so.
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
    serde_json::from_slice(json).map_err(|_| InvalidKeySet::NotJson)
}
