//! Names that differ by case only.
//!
//! There are decoders that take `Thread_id` for `thread_id`, and of both the last (those of Go and of
//! .NET): then what was checked is not what is obeyed.

use serde_json::Value;

use super::known;
use crate::operation::extra::{Known, is_but_for_case};
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
        if let Some(known) = known().find(|known| is_but_for_case(name, known)) {
            let message = format!("must be written {known}");
            return Err(Report::one(format!("{pointer}/{name}"), message));
        }
    }
    Ok(())
}
