//! The table of all settings.

use std::fmt::Write as _;

use super::key::{KEYS, Shape, written};

/// The table of all settings, in Markdown: name, default, what it takes, what it is for.
///
/// It is the one in the [module's documentation](super#reference).
pub fn reference() -> String {
    let mut table = String::from("| setting | default | takes | what for |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match (key.shape, key.default) {
            (Shape::List(_) | Shape::ApiKeys, "") => "`[]`".to_owned(),
            (Shape::List(_), list) => format!("`[\"{}\"]`", list.replace(',', "\", \"")),
            (Shape::Boolean | Shape::Count(..) | Shape::Status(_), bare) => format!("`{bare}`"),
            (_, text) => format!("`\"{text}\"`"),
        };
        let takes = match key.shape {
            Shape::ApiKeys => "`[{ name = \"…\", sha256 = \"…\" }]`".to_owned(),
            Shape::Boolean => "`true`, `false`".into(),
            Shape::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
            Shape::Count(min, max) => format!("{min} to {max}"),
            Shape::Duration(min, max) => format!("{} to {}", written(min), written(max)),
            Shape::KeyFile => "a path".into(),
            Shape::List(what) => format!("list of {}", what.replace('"', "`")),
            Shape::Secret => "a secret".into(),
            Shape::Status(statuses) => statuses.join(", "),
            Shape::Place(what) | Shape::Text(what) | Shape::Url(what) => what.replace('"', "`"),
        };
        // Writing to a `String` does not fail.
        let _ = writeln!(table, "| `{}` | {default} | {takes} | {} |", key.name, key.about);
    }
    table
}
