//! What several operations read alike.

use std::io;

use serde_json::Value;

use crate::bounds::{MAX_ENTRIES, MAX_METADATA_BYTES, names_too_many};
use crate::rejection::{Code, Rejection};
use crate::validate::Report;

/// Tells whether there is no body, where none is asked for: `null` is how clients write a value
/// that they don't have.
pub(crate) fn is_absent(body: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let begin = body.iter().position(|byte| !is_space(byte)).unwrap_or_default();
    let rest = body.get(begin..).and_then(|body| body.strip_prefix(b"null"));
    body.is_empty() || rest.is_some_and(|rest| rest.iter().all(is_space))
}

/// Refuses a request's metadata that is too much.
pub(crate) fn check_metadata(request: &Value) -> Result<(), Rejection> {
    let Some(metadata) = request.get("metadata") else { return Ok(()) };
    let mut left = Left(MAX_METADATA_BYTES);
    serde_json::to_writer(&mut left, metadata).map_err(|_| {
        let message = format!("must have at most {MAX_METADATA_BYTES} bytes as JSON");
        Report::one("/metadata", message).into()
    })
}

/// How many bytes may still be written. They go nowhere.
pub(super) struct Left(pub(super) usize);

impl io::Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the texts in a list.
pub(crate) fn texts_at(value: &Value, name: &str) -> Vec<String> {
    let texts = value.get(name).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Refuses a list of ids at `pointer` that names too many.
pub(crate) fn check_ids(pointer: &str, ids: &[impl AsRef<str>]) -> Result<(), Report> {
    if names_too_many(ids) {
        let message = format!("must name at most {MAX_ENTRIES} different ones");
        return Err(Report::one(pointer, message));
    }
    Ok(())
}

pub(crate) fn string_at(value: &Value, member: &str) -> Option<String> {
    value.get(member).and_then(Value::as_str).map(str::to_owned)
}

pub(crate) fn defect(error: &serde_json::Error) -> Rejection {
    // The schema let pass what the types don't take.
    let category = error.classify();
    Rejection::new(Code::Internal).because(format!("schema and types disagree: {category:?}"))
}
