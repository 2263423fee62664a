//! The JSON Schema of the TOML file.

use serde_json::{Map, Value, json};

use super::algorithm;
use super::forms::{self, Form};
use super::headers::{MAX_HEADERS, MAX_VALUE_BYTES};
use super::issuers::{MAX_ISSUERS, OF_ISSUER};
use super::key::{self, KEYS, Key, SCHEMA, ValueShape, sections, written};
use crate::authenticate::MAX_REQUIREMENTS;

/// The schema's own language.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Gives the JSON Schema (2020-12) of the TOML file: every setting, with what it is for, its default
/// and what it takes.
///
/// It refuses names that are not known, values of another type, numbers and durations out of range, and
/// texts that can't be what they should be. It can't tell what takes more than one setting to see, or
/// what files say: [`Sources::load`](super::Sources::load) does.
///
/// ```
/// let schema = chatkit_rest::config::schema();
/// let sessions = &schema["properties"]["limits"]["properties"]["max_sessions"];
/// assert_eq!(sessions["default"], 10);
/// ```
pub fn schema() -> Value {
    let mut properties = Map::new();
    let about = "the schema of this file, for editors; the gateway doesn't look at it";
    properties.insert(SCHEMA.to_owned(), json!({"type": "string", "description": about}));
    for key in KEYS.iter().filter(|key| !key.name.contains('.')) {
        properties.insert(key.name.to_owned(), setting(key));
    }
    for section in sections() {
        let mut keys = Map::new();
        for key in KEYS {
            let Some((of, leaf)) = key.name.split_once('.') else { continue };
            if of != section {
                continue;
            }
            // A section within it is a table of its own, and no section has more within.
            let Some((below, leaf)) = leaf.split_once('.') else {
                keys.insert(leaf.to_owned(), setting(key));
                continue;
            };
            let table = keys.entry(below).or_insert_with(|| table(&Map::new()));
            if let Some(Value::Object(keys)) = table.get_mut("properties") {
                keys.insert(leaf.to_owned(), setting(key));
            }
        }
        properties.insert(section.to_owned(), table(&keys));
    }
    json!({
        "$schema": DIALECT,
        "title": "The configuration of chatkit-rest",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn table(keys: &Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": keys})
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
                    "name": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 64,
                        "pattern": forms::NO_CONTROL,
                    },
                    "sha256": {
                        "type": "string",
                        "pattern": forms::SHA256.0,
                        "not": {"pattern": forms::SHA256.1},
                    },
                },
            },
        }),
        ValueShape::Headers => json!({
            "type": "array",
            "maxItems": MAX_HEADERS,
            "items": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "oneOf": [{"required": ["value"]}, {"required": ["value_file"]}],
                "properties": {
                    "name": text(key, false),
                    "value": {
                        "type": "string",
                        "maxLength": MAX_VALUE_BYTES,
                        "pattern": forms::HEADER_VALUE,
                    },
                    "value_file": {"type": "string", "minLength": 1},
                },
            },
        }),
        ValueShape::Boolean => json!({"type": "boolean"}),
        ValueShape::Choice(words) => json!({"enum": words}),
        ValueShape::Count(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        ValueShape::Duration(min, max) => {
            json!({"type": "string", "pattern": forms::duration(min, max)})
        }
        ValueShape::List(_) if key.name == "cors.allowed_origins" => json!({
            "type": "array",
            "anyOf": [{"const": ["*"]}, {"items": text(key, false)}],
        }),
        ValueShape::List(_) if key.name == "auth.require" => {
            json!({"type": "array", "maxItems": MAX_REQUIREMENTS, "items": text(key, false)})
        }
        ValueShape::List(_) => json!({"type": "array", "items": text(key, false)}),
        ValueShape::Status(_) => json!({"enum": numbers(key)}),
        ValueShape::Words(words) if key.name == "auth.algorithms" => {
            let kinds: Vec<_> =
                algorithm::kinds().map(|names| json!({"items": {"enum": names}})).collect();
            json!({"type": "array", "minItems": 1, "items": {"enum": words}, "anyOf": kinds})
        }
        ValueShape::Switch(word) => json!({"enum": [true, false, word]}),
        ValueShape::Words(words) => {
            json!({"type": "array", "minItems": 1, "items": {"enum": words}})
        }
        ValueShape::Issuers => {
            let of = |leaf: &&str| {
                let key = key::find(&format!("auth.{leaf}"))?;
                Some(((*leaf).to_owned(), setting(key)))
            };
            let properties: Map<String, Value> = OF_ISSUER.iter().filter_map(of).collect();
            json!({
                "type": "array",
                "maxItems": MAX_ISSUERS,
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["issuer"],
                    "properties": properties,
                },
            })
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
    let Form { pattern, never, max_chars } = forms::of(key.name);
    if let Some(pattern) = pattern {
        let none = if or_none { "^$|" } else { "" };
        schema.insert("pattern".into(), format!("{none}{pattern}").into());
    }
    if let Some(pattern) = never {
        schema.insert("not".into(), json!({"pattern": pattern}));
    }
    if let Some(chars) = max_chars {
        schema.insert("maxLength".into(), chars.into());
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
        ValueShape::ApiKeys
        | ValueShape::Headers
        | ValueShape::Issuers
        | ValueShape::List(_)
        | ValueShape::Words(_) => word.split(',').filter(|entry| !entry.is_empty()).collect(),
        ValueShape::Choice(_)
        | ValueShape::Duration(..)
        | ValueShape::KeyFile
        | ValueShape::Place(_)
        | ValueShape::Secret
        | ValueShape::Switch(_)
        | ValueShape::Text(_)
        | ValueShape::Url(_) => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Algorithm;

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
