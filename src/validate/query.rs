//! The query of a request → a JSON object that a schema can check.

use std::borrow::Cow;
use std::num::IntErrorKind;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::report::Report;

/// Cursors and ids are texts, whatever they look like.
const TEXTS: [&str; 3] = ["after", "before", "user"];

/// Gives the parameters of a query (`application/x-www-form-urlencoded`) among `names`.
///
/// A value that is an integer or a boolean in JSON becomes one, and everything else is a string:
/// the schema says what was due. Parameters of other names are ignored, as everywhere on the web.
///
/// # Errors
/// The [`Report`] of a parameter that comes twice or isn't UTF-8.
pub(crate) fn parse(query: Option<&str>, names: &[&str]) -> Result<Value, Report> {
    let mut parameters = Map::new();
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name).filter(|name| names.contains(&&**name)) else { continue };
        let pointer = format!("/{name}");
        let Some(value) = decode(value) else {
            return Err(Report::one(&pointer, "must be UTF-8").of_query());
        };
        let value = if TEXTS.contains(&&*name) { Value::from(&*value) } else { typed(&value) };
        if parameters.insert(name.into_owned(), value).is_some() {
            return Err(Report::one(&pointer, "must not come twice").of_query());
        }
    }
    Ok(Value::Object(parameters))
}

fn typed(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match value.parse::<i64>() {
            // As written, or it is a text that looks like one ("007", "+1").
            Ok(integer) if integer.to_string() == value => integer.into(),
            // An integer all the same, and the most or the least is as good as it.
            Err(error) if is_written_as_integer(value) => match error.kind() {
                IntErrorKind::PosOverflow => i64::MAX.into(),
                IntErrorKind::NegOverflow => i64::MIN.into(),
                _ => value.into(),
            },
            _ => value.into(),
        },
    }
}

fn is_written_as_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_become_members() {
        let names = ["limit", "sync", "after", "user"];
        for (query, expected) in [
            (None, json!({})),
            (Some(""), json!({})),
            (
                Some("limit=5&x=1&&after=thr_%C3%B6&user=u+1"),
                json!({"limit":5,"after":"thr_ö","user":"u 1"}),
            ),
            (Some("limit=05&sync=true"), json!({"limit":"05","sync":true})),
            (Some("limit=99999999999999999999"), json!({"limit":i64::MAX})),
            (Some("limit=-99999999999999999999"), json!({"limit":i64::MIN})),
            (Some("limit=%2B99999999999999999999"), json!({"limit":"+99999999999999999999"})),
            (Some("after=99999999999999999999"), json!({"after":"99999999999999999999"})),
            (Some("l%69mit=-1&after"), json!({"limit":-1,"after":""})),
            (Some("after=17&user=true"), json!({"after":"17","user":"true"})),
        ] {
            assert_eq!(parse(query, &names).unwrap(), expected, "{query:?}");
        }
        for query in ["limit=1&limit=1", "after=%ff"] {
            assert!(parse(Some(query), &names).is_err(), "{query}");
        }
    }
}
