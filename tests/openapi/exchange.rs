//! One request and its response against the document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use jsonschema::{Draft, Validator};
use serde_json::Value;

/// What was sent.
pub(crate) struct Sent<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// What came of it.
pub(crate) struct Got<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// `None` for a body that isn't JSON and wasn't read.
    pub(crate) body: Option<&'a [u8]>,
}

/// A document, and the schemas in it that were used so far.
pub(crate) struct Document {
    document: Value,
    schemas: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    pub(crate) fn new(document: Value) -> Self {
        Self { document, schemas: Mutex::default() }
    }

    /// Gives the operation of an exchange, and what of the exchange the document doesn't allow.
    /// `None` where it says nothing of that path and method.
    pub(crate) fn check(&self, sent: &Sent<'_>, got: &Got<'_>) -> Option<(String, Vec<String>)> {
        let method = if sent.method == Method::HEAD { &Method::GET } else { sent.method };
        let method = method.as_str().to_ascii_lowercase();
        let paths = self.document["paths"].as_object().unwrap();
        let (template, path) = paths.iter().find(|(path, _)| matches(path, sent.path))?;
        let operation = path.get(&method)?;
        let name = operation["operationId"].as_str().unwrap().to_owned();
        let place = format!("/paths/{}/{method}", escape(template));
        let mut faults = Vec::new();
        if got.status.is_success() {
            self.request(&place, operation, sent, &mut faults);
        }
        self.response(&place, operation, got, &mut faults);
        Some((name, faults))
    }

    fn request(&self, place: &str, operation: &Value, sent: &Sent<'_>, faults: &mut Vec<String>) {
        let Some(declared) = operation.get("requestBody") else { return };
        if sent.body.is_empty() {
            if declared["required"] == true {
                faults.push("was carried out without the body that is required".to_owned());
            }
            return;
        }
        let essence = essence(sent.headers);
        // A body without a type is taken at its word, and so is any kind of JSON.
        let is_json = essence.is_empty() || essence.ends_with("+json");
        let media_type = if is_json { "application/json" } else { &essence };
        let content = declared["content"].as_object().unwrap();
        let is_declared = content.keys().any(|range| match range.strip_suffix('*') {
            Some(prefix) => media_type.starts_with(prefix),
            None => range == media_type,
        });
        if !is_declared {
            faults.push(format!("was carried out with a body of type {essence}"));
        } else if media_type == "application/json" {
            let schema = format!("{place}/requestBody/content/{}/schema", escape(media_type));
            self.value(&schema, sent.body, "request", faults);
        }
    }

    fn response(&self, place: &str, operation: &Value, got: &Got<'_>, faults: &mut Vec<String>) {
        let status = got.status.as_str();
        let Some(declared) = operation["responses"].get(status) else {
            let body = String::from_utf8_lossy(got.body.unwrap_or_default());
            return faults.push(format!("was answered with {status}: {body}"));
        };
        let (place, declared) = match declared.get("$ref").and_then(Value::as_str) {
            None => (format!("{place}/responses/{status}"), declared),
            Some(reference) => {
                let place = reference.strip_prefix('#').unwrap();
                (place.to_owned(), self.document.pointer(place).unwrap())
            }
        };
        let no_headers = serde_json::Map::new();
        for (name, header) in declared["headers"].as_object().unwrap_or(&no_headers) {
            if header["required"] == true && !got.headers.contains_key(name) {
                faults.push(format!("{status} has no {name}"));
            }
        }
        let essence = essence(got.headers);
        match declared.get("content").map(|content| content.get(&essence)) {
            Some(None) => faults.push(format!("{status} is of type {essence:?}")),
            Some(Some(_)) => {
                if let Some(body) = got.body {
                    let schema = format!("{place}/content/{}/schema", escape(&essence));
                    self.value(&schema, body, status, faults);
                }
            }
            None => {}
        }
    }

    fn value(&self, pointer: &str, body: &[u8], what: &str, faults: &mut Vec<String>) {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return faults.push(format!("{what} is not JSON"));
        };
        for error in self.schema(pointer).iter_errors(&value) {
            faults.push(format!("{what} at {:?}: {error}", error.instance_path().to_string()));
        }
    }

    /// Gives the schema at a place in the document, whose references are into the document.
    fn schema(&self, pointer: &str) -> Arc<Validator> {
        let mut schemas = self.schemas.lock().unwrap();
        let compile = || {
            let mut schema = self.document.pointer(pointer).expect(pointer).clone();
            schema["components"] = self.document["components"].clone();
            let options =
                jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&schema).unwrap())
        };
        Arc::clone(schemas.entry(pointer.to_owned()).or_insert_with(compile))
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(name), Some(segment)) => {
                let fits =
                    if name.starts_with('{') { !segment.is_empty() } else { name == segment };
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Writes it as a JSON Pointer has it.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
