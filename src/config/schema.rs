//! The JSON Schema of the TOML file.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::key::{KEYS, Key, ValueShape, sections, written};
use crate::principal::MAX_USER_ID_CHARS;

/// The schema's own language.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What is in a path as it is, between its slashes.
const SEGMENTS: &str = "^(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+$";

/// A token of HTTP (RFC 9110 section 5.6.2).
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

const ADDRESS: &str = r"^([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}$";

/// What is written of texts and of the entries of lists, by setting. No pattern refuses what is
/// taken; some take what is refused, because there is more to it than its form.
#[rustfmt::skip] // one setting, one line
const PATTERNS: &[(&str, &str)] = &[
    ("listen", ADDRESS),
    ("server.public_url", "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?$"),
    ("rest.prefix", SEGMENTS),
    ("upstream.url", "^(embedded|[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+([/?][^#]*)?)$"),
    ("upstream.user_header", TOKEN),
    ("upstream.forward_headers", TOKEN),
    ("upstream.utc_offset", "^(Z|[+-][0-9]{2}:[0-5][0-9])$"),
    ("embedded.base_url", "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?$"),
    ("embedded.api_key", "^[!-~]+$"),
    ("auth.shared_secret", "^[A-Za-z0-9._~+/-]+=*$"),
    ("auth.token_type", "^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*(/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*)?$"),
    ("auth.user_claim", r"^[\s\S]"),
    ("auth.cookie", TOKEN),
    ("store.url", "^(memory:|sqlite:.+)$"),
    ("chat.path", SEGMENTS),
    ("openai.path", SEGMENTS),
    ("cors.allowed_origins", r"^(\*|[a-z][a-z0-9+.-]*://[^/?#@*A-Z\s]+)$"),
    ("admin.listen", ADDRESS),
];

/// The most characters of texts, by setting.
const LENGTHS: &[(&str, usize)] =
    &[("auth.anonymous_user", MAX_USER_ID_CHARS), ("auth.jwks_url", 0), ("chat.acted", 500)];

/// Gives the JSON Schema (2020-12) of the TOML file: every setting, with what it is for, its default
/// and what it takes.
///
/// It refuses names that are not known, values of another type, numbers out of range, and texts that
/// can't be what they should be. It can't tell what takes more than one setting to see, whether a
/// duration is in its range, or what files say: [`Sources::load`](super::Sources::load) does.
///
/// ```
/// let schema = chatkit_rest::config::schema();
/// let sessions = &schema["properties"]["limits"]["properties"]["max_sessions"];
/// assert_eq!(sessions["default"], 10);
/// ```
pub fn schema() -> Value {
    let mut properties = Map::new();
    for key in KEYS.iter().filter(|key| !key.name.contains('.')) {
        properties.insert(key.name.to_owned(), setting(key));
    }
    for section in sections() {
        let mut keys = Map::new();
        for key in KEYS {
            if let Some((of, leaf)) = key.name.split_once('.')
                && of == section
            {
                keys.insert(leaf.to_owned(), setting(key));
            }
        }
        let table = json!({"type": "object", "additionalProperties": false, "properties": keys});
        properties.insert(section.to_owned(), table);
    }
    json!({
        "$schema": DIALECT,
        "title": "The configuration of chatkit-rest",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn setting(key: &Key) -> Value {
    let mut schema = takes(key);
    let takes = match key.shape {
        ValueShape::Duration(min, max) => format!(" ({} to {})", written(min), written(max)),
        _ => String::new(),
    };
    schema.insert("description".into(), format!("{}{takes}", key.about).into());
    schema.insert("default".into(), default(key));
    Value::Object(schema)
}

fn takes(key: &Key) -> Map<String, Value> {
    let schema = match key.shape {
        ValueShape::ApiKeys => json!({
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name", "sha256"],
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 64},
                    "sha256": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"},
                },
            },
        }),
        ValueShape::Boolean => json!({"type": "boolean"}),
        ValueShape::Choice(words) => json!({"enum": words}),
        ValueShape::Count(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        ValueShape::Duration(min, _) => {
            let number = if min == Duration::ZERO { "[0-9]+" } else { "0*[1-9][0-9]*" };
            json!({"type": "string", "pattern": format!("^{number}(ms|s|m|h)$")})
        }
        ValueShape::List(_) => json!({"type": "array", "items": text(key, false)}),
        ValueShape::Status(_) => json!({"enum": numbers(key)}),
        ValueShape::Words(words) => {
            json!({"type": "array", "minItems": 1, "items": {"enum": words}})
        }
        ValueShape::KeyFile
        | ValueShape::Place(_)
        | ValueShape::Secret
        | ValueShape::Text(_)
        | ValueShape::Url(_) => text(key, key.default.is_empty()),
    };
    if let Value::Object(schema) = schema { schema } else { Map::new() }
}

/// Gives what a text is; with `or_none`, it may be empty.
fn text(key: &Key, or_none: bool) -> Value {
    let mut schema = Map::new();
    schema.insert("type".into(), "string".into());
    if let Some((_, pattern)) = PATTERNS.iter().find(|(name, _)| *name == key.name) {
        let none = if or_none { "^$|" } else { "" };
        schema.insert("pattern".into(), format!("{none}{pattern}").into());
    }
    if let Some((_, chars)) = LENGTHS.iter().find(|(name, _)| *name == key.name) {
        schema.insert("maxLength".into(), (*chars).into());
    }
    Value::Object(schema)
}

fn numbers(key: &Key) -> Vec<u64> {
    let ValueShape::Status(statuses) = key.shape else { return Vec::new() };
    statuses.iter().filter_map(|status| status.parse().ok()).collect()
}

/// Gives a default as it is written in the file.
fn default(key: &Key) -> Value {
    let word = key.default;
    match key.shape {
        ValueShape::Boolean | ValueShape::Count(..) | ValueShape::Status(_) => {
            serde_json::from_str(word).unwrap_or_default()
        }
        ValueShape::ApiKeys | ValueShape::List(_) | ValueShape::Words(_) => {
            word.split(',').filter(|entry| !entry.is_empty()).collect()
        }
        ValueShape::Choice(_)
        | ValueShape::Duration(..)
        | ValueShape::KeyFile
        | ValueShape::Place(_)
        | ValueShape::Secret
        | ValueShape::Text(_)
        | ValueShape::Url(_) => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Algorithm;

    #[test]
    fn patterns_and_lengths_are_of_settings() {
        let names =
            PATTERNS.iter().map(|(name, _)| name).chain(LENGTHS.iter().map(|(name, _)| name));
        for name in names {
            assert!(KEYS.iter().any(|key| key.name == *name), "{name}");
        }
    }

    #[test]
    fn the_words_are_those_that_are_read() {
        let items = &schema()["properties"]["auth"]["properties"]["algorithms"]["items"]["enum"];
        let mut words: Vec<_> =
            items.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut names: Vec<_> =
            Algorithm::ALL.into_iter().flat_map(Algorithm::names).copied().collect();
        words.sort_unstable();
        names.sort_unstable();
        assert_eq!(words, names);
    }
}
