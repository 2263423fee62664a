//! [`JsonSchema`].

use std::fmt;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use super::report::{Report, report, shortened};
use crate::error::Error;

/// A compiled JSON Schema.
///
/// It is of the draft that its `$schema` names, or of 2020-12. `format` is checked. Nothing is
/// ever fetched: a `$ref` leads to somewhere in the same document. Cloning is a reference count.
///
/// ```
/// use chatkit_rest::validate::JsonSchema;
/// use serde_json::json;
///
/// let schema = JsonSchema::compile("note", r#"{"required": ["text"]}"#)?;
/// let report = schema.check(&json!({})).unwrap_err();
/// assert_eq!(report.violations()[0].pointer, "/text");
/// assert_eq!(report.violations()[0].message, "is required");
/// # Ok::<(), chatkit_rest::error::Error>(())
/// ```
#[derive(Clone)]
pub struct JsonSchema(Arc<Compiled>);

struct Compiled {
    name: String,
    validator: Validator,
    /// Every list that it allows has a bound, which is below that of a report.
    bounds_lists: bool,
}

impl JsonSchema {
    /// Compiles the schema in `text`, which errors call `name`.
    ///
    /// # Errors
    /// If `text` is not JSON or not a schema, or refers to another document.
    pub fn compile(name: &str, text: &str) -> Result<Self, Error> {
        Self::compiled(name, text, false)
    }

    /// Compiles a schema in which every list has a `maxItems` of no more than a report looks at.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub(super) fn compile_with_bounded_lists(name: &str, text: &str) -> Result<Self, Error> {
        Self::compiled(name, text, true)
    }

    fn compiled(name: &str, text: &str, bounds_lists: bool) -> Result<Self, Error> {
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| Error::config(format!("schema {name} is not JSON")).with(error))?;
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| Error::config(format!("schema {name}: {error}")))?;
        Ok(Self(Arc::new(Compiled { name: name.to_owned(), validator, bounds_lists })))
    }

    /// Gives the name that it was compiled under.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Tells whether `value` matches. That is quicker than to say what is wrong with it.
    pub fn is_valid(&self, value: &Value) -> bool {
        self.0.validator.is_valid(value)
    }

    /// Checks `value`.
    ///
    /// # Errors
    /// The [`Report`] of what is wrong: at most 32 violations, each with its place. All that there
    /// are have been found by then, so `value` itself must have a bound.
    pub fn check(&self, value: &Value) -> Result<(), Report> {
        if self.is_valid(value) {
            return Ok(());
        }
        // What comes after a list's bound changes nothing. Where there is none, it is all there is.
        Err(if self.0.bounds_lists {
            report(&self.0.validator, &shortened(value))
        } else {
            report(&self.0.validator, value)
        })
    }
}

impl fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonSchema").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_schema_says_which_one_it_is() {
        for text in [
            "{",
            "7",
            r#"{"type": "planet"}"#,
            r##"{"$ref": "#/$defs/missing"}"##,
            r#"{"$ref": "http://localhost/other.json"}"#,
            r#"{"$ref": "other.json"}"#,
            r#"{"$ref": "file:///etc/hostname"}"#,
            r#"{"pattern": "("}"#,
        ] {
            let error = JsonSchema::compile("the note's", text).unwrap_err();
            assert!(error.is_config(), "{text}");
            assert!(error.to_string().contains("schema the note's"), "{error}");
        }
        let schema = JsonSchema::compile("note", "true").unwrap();
        assert_eq!(format!("{schema:?}"), r#"JsonSchema("note")"#);
    }

    #[test]
    fn the_draft_is_the_schemas_own() {
        // Before 2020-12, `items` may be a list of schemas.
        let of = |draft: &str| {
            let head =
                if draft.is_empty() { String::new() } else { format!(r#""$schema": "{draft}","#) };
            let text = format!(r#"{{{head} "items": [{{"type": "string"}}]}}"#);
            JsonSchema::compile("list", &text)
        };
        let old = of("http://json-schema.org/draft-07/schema#").unwrap();
        assert!(old.is_valid(&json!(["a", 1])) && !old.is_valid(&json!([1])));
        assert!(of("").is_err());
        assert!(of("https://json-schema.org/draft/2020-12/schema").is_err());
    }

    #[test]
    fn a_list_without_a_bound_is_looked_at_whole() {
        let text = r#"{"items": {"type": "integer"}, "minItems": 6000}"#;
        let schema = JsonSchema::compile("list", text).unwrap();
        let mut list = vec![json!(1); 7000];
        list.push(json!("x"));
        let report = schema.check(&list.into()).unwrap_err();
        let [violation] = report.violations() else { panic!("{report:?}") };
        assert_eq!(violation.pointer, "/7000");
        assert_eq!(violation.message, "must be of type \"integer\"");
    }
}
