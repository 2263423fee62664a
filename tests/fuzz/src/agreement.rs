//! Two parsers, one reading.

use std::sync::LazyLock;

use chatkit_rest::operation::Name;
use chatkit_rest::validate::{Schemas, parse_json};

static SCHEMAS: LazyLock<Schemas> =
    LazyLock::new(|| Schemas::compile().expect("the schemas that are part of the crate"));

/// Checks that a body that the gateway's parser takes is one that `serde_json` and the SDK's parser
/// read as the same value, and no object in it has a key twice. Checking it against a schema never
/// panics, and a report stays short whatever it is about.
///
/// The first byte picks the operation, the rest is the body.
pub fn validate(data: &[u8]) {
    let Some((&pick, body)) = data.split_first() else { return };
    let Ok(value) = parse_json(body) else { return };
    let strict: serde_json::Value =
        serde_json::from_slice(body).expect("what was taken is JSON to serde_json too");
    assert_eq!(value, strict, "two readings of one body");
    let theirs = jiter::JsonValue::parse(body, true).expect("what was taken is JSON to the SDK");
    assert!(is_same(&value, &theirs), "the SDK reads {theirs:?}");
    let operation = Name::ALL[usize::from(pick) % Name::ALL.len()];
    if let Err(report) = SCHEMAS.check(operation.as_str(), &value) {
        let said = format!("{:?}", report.violations());
        assert!(said.len() <= 32 * 1024, "a report of {} bytes", said.len());
    }
}

/// Tells whether both are the same document, and the second has no key twice. Numbers are compared
/// as far as both keep them.
pub(crate) fn is_same(ours: &serde_json::Value, theirs: &jiter::JsonValue<'_>) -> bool {
    use jiter::JsonValue as Theirs;
    use serde_json::Value as Ours;
    match (ours, theirs) {
        (Ours::Null, Theirs::Null) => true,
        (Ours::Bool(a), Theirs::Bool(b)) => a == b,
        // -0 is a double to one of them.
        (Ours::Number(a), Theirs::Int(b)) => {
            a.as_i64() == Some(*b) || (*b == 0 && a.as_f64() == Some(0.0))
        }
        // Beyond 64 bits one keeps all digits and the other the nearest double.
        (Ours::Number(_), Theirs::BigInt(_) | Theirs::Float(_)) => true,
        (Ours::String(a), Theirs::Str(b)) => a == b,
        (Ours::Array(a), Theirs::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| is_same(a, b))
        }
        (Ours::Object(a), Theirs::Object(b)) => {
            a.len() == b.len()
                && b.iter().all(|(key, b)| a.get(&**key).is_some_and(|a| is_same(a, b)))
        }
        _ => false,
    }
}
