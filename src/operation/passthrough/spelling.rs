//! Names that differ by case only.
//!
//! There are decoders that take `Thread_id` for `thread_id`, and of both the last (those of Go and of
//! .NET): then what was checked is not what is obeyed.

use serde_json::Value;

use super::known;
use crate::operation::extra::Known;
use crate::protocol::RequestType;
use crate::validate::Report;

type Names = &'static [(&'static str, Known)];

/// What is read of every request, whatever its type makes of it.
const ENVELOPE: Names = &[("type", Known::All), ("params", Known::All), ("metadata", Known::All)];
const PARAMS: Names =
    &[("thread_id", Known::All), ("attachment_id", Known::All), ("input", Known::All)];
const INPUT: Names = &[("attachments", Known::All)];

/// Refuses a name that is a known one but for its case, in a request, its params and its input.
pub(super) fn check(kind: Option<RequestType>, request: &Value) -> Result<(), Report> {
    check_names("", request, [ENVELOPE, &[]])?;
    let Some(params) = request.get("params") else { return Ok(()) };
    let of_params = kind.map_or(&[][..], |kind| known::of(kind).members_of("params"));
    check_names("/params", params, [PARAMS, of_params])?;
    let Some(input) = params.get("input") else { return Ok(()) };
    let of_input = of_params.iter().find(|(name, _)| *name == "input");
    let of_input = of_input.map_or(&[][..], |(_, known)| known.members());
    check_names("/params/input", input, [INPUT, of_input])
}

fn check_names(pointer: &str, place: &Value, known: [Names; 2]) -> Result<(), Report> {
    let Value::Object(members) = place else { return Ok(()) };
    for name in members.keys() {
        let known = || known.into_iter().flatten().map(|(known, _)| *known);
        if known().any(|known| known == name) {
            continue;
        }
        if let Some(known) = known().find(|known| is_same(name, known)) {
            let message = format!("must be written {known}");
            return Err(Report::one(format!("{pointer}/{name}"), message));
        }
    }
    Ok(())
}

/// Tells whether a name is this one, which is ASCII in lower case, but for the case of its letters.
/// Some that are not ASCII are others' upper or lower case: `\u{17f}` is an `s`, `\u{212a}` a `k`.
fn is_same(name: &str, known: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(known);
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).eq(known.chars())
}
