//! JSON in which one value is replaced: all other bytes are as they came.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::rejection::{Code, Rejection};
use crate::stream::Object;

/// Gives the same request with another value, which is JSON, for this member of its params.
///
/// # Errors
/// 500 if it has none: what was validated has.
pub(super) fn param(request: &[u8], name: &str, value: &str) -> Result<Bytes, Rejection> {
    let lost =
        || Rejection::new(Code::Internal).because(format!("the {name} of a request is lost"));
    let json = std::str::from_utf8(request).map_err(|_| lost())?;
    let at = Object::read(json)
        .and_then(|request| place(json, request.object("params")?.get(name)?))
        .ok_or_else(lost)?;
    Ok(replaced(json, at, value).into())
}

/// Tells where a part of a text is in it.
pub(super) fn place(json: &str, part: &RawValue) -> Option<Range<usize>> {
    let start = (part.get().as_ptr() as usize).checked_sub(json.as_ptr() as usize)?;
    let at = start..start.checked_add(part.get().len())?;
    json.get(at.clone()).map(|_| at)
}

/// Gives the same text with another value at this place.
pub(super) fn replaced(json: &str, at: Range<usize>, value: &str) -> String {
    let mut new = String::with_capacity(json.len() - at.len() + value.len());
    new.extend([json.get(..at.start), Some(value), json.get(at.end..)].into_iter().flatten());
    new
}
