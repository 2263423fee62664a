//! Lists: which part of one is asked for, and how it is shown.

use serde::Serialize;
use serde_json::Value;

use crate::operation::Read;
use crate::rejection::Rejection;
use crate::validate::Report;

/// The items of a page unless the query says so.
const DEFAULT_LIMIT: u64 = 20;

/// The most items of a page.
const MAX_LIMIT: u64 = 100;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListPage {
    /// The most that are shown, at most 100.
    pub(super) limit: usize,
    /// The oldest first; else the newest.
    pub(super) ascending: bool,
    /// What comes after this id.
    pub(super) after: Option<String>,
    /// What comes before this id.
    pub(super) before: Option<String>,
}

/// Reads the parameters of a list among `names`: all of them, and which part is asked for.
pub(super) fn page(read: &Read<'_>, names: &[&str]) -> Result<(Value, ListPage), Rejection> {
    let value = read.parameters(names).map_err(fault)?;
    let limit = value.get("limit").and_then(Value::as_u64).unwrap_or(DEFAULT_LIMIT);
    let page = ListPage {
        limit: usize::try_from(limit.min(MAX_LIMIT)).unwrap_or_default(),
        ascending: value.get("order").and_then(Value::as_str) == Some("asc"),
        after: text(&value, "after"),
        before: text(&value, "before"),
    };
    Ok((value, page))
}

/// Gives a parameter that is a text, whatever it looks like.
pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Refuses a parameter, by its name in words too.
pub(super) fn fault(report: Report) -> Rejection {
    let message = report.violations().first().map(|violation| {
        let name = violation.pointer.trim_start_matches('/');
        format!("The parameter {name} is not what is expected: it {}.", violation.message)
    });
    let rejection = Rejection::from(report);
    match message {
        Some(message) => rejection.message(message),
        None => rejection,
    }
}

/// A page of anything, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct ShownPage<T> {
    object: &'static str,
    data: Vec<T>,
    pub(super) first_id: Option<String>,
    pub(super) last_id: Option<String>,
    has_more: bool,
}

impl<T> ShownPage<T> {
    pub(super) fn new(data: Vec<T>, id: impl Fn(&T) -> &str, has_more: bool) -> Self {
        let first_id = data.first().map(|first| id(first).to_owned());
        let last_id = data.last().map(|last| id(last).to_owned());
        Self { object: "list", data, first_id, last_id, has_more }
    }
}
