//! A line of a TOML file whose value was written without quotes.

use super::key::{self, ValueShape};
use super::value::Value;

/// Gives what is wrong with the line at that byte of a file, if it is a known setting whose value is a
/// bare word, and how it is written; or if the name itself lacks its quotes. Such a fault ends with its
/// line.
pub(super) fn told(text: &str, at: usize) -> Option<String> {
    let above = text.get(..at)?;
    let begin = above.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(begin..)?.lines().next()?;
    let (leaf, value) = line.split_once('=')?;
    let (leaf, value) = (leaf.trim(), without_comment(value).trim());
    if leaf == key::SCHEMA {
        return Some(format!("{leaf} is a name that needs quotes: write \"{leaf}\" = \"…\""));
    }
    if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) {
        return None;
    }
    let name = match section(text.get(..begin)?) {
        Some(section) => format!("{section}.{leaf}"),
        None => leaf.to_owned(),
    };
    let key = key::find(&name)?;
    let word = Value::Text(value.into());
    let shown = if key.shape.shows(&word) { word.shown(true) } else { "\"…\"".to_owned() };
    Some(match key.shape {
        ValueShape::Boolean
        | ValueShape::Count(..)
        | ValueShape::Status(_)
        | ValueShape::Switch(_) => {
            format!("{name} is not {}", key.shape.expected())
        }
        ValueShape::ApiKeys | ValueShape::Headers | ValueShape::Issuers => {
            format!("{name} is not a list: write {leaf} = [{{ … }}]")
        }
        ValueShape::List(_) | ValueShape::Words(_) => {
            format!("{name} is not a list: write {leaf} = [{shown}]")
        }
        ValueShape::Choice(_)
        | ValueShape::Duration(..)
        | ValueShape::KeyFile
        | ValueShape::Place(_)
        | ValueShape::Secret
        | ValueShape::Text(_)
        | ValueShape::Url(_) => {
            format!("{name} is a text, and has no quotes: write {leaf} = {shown}")
        }
    })
}

/// Gives the section that the end of `above` is in.
fn section(above: &str) -> Option<&str> {
    above.lines().rev().find_map(|line| {
        let name = without_comment(line).trim().strip_prefix('[')?.strip_suffix(']')?;
        key::sections().find(|section| *section == name.trim())
    })
}

fn without_comment(line: &str) -> &str {
    match line.split_once('#') {
        // `#` is also what a URL's fragment begins with, and a secret may have it.
        Some((before, _)) if before.ends_with([' ', '\t']) => before,
        _ => line,
    }
}
