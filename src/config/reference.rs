//! The table of all settings.

use std::fmt::Write as _;

use super::key::{KEYS, ValueShape, written};

/// Gives the table of all settings, in Markdown: name, default, what it takes, what it is for.
///
/// It is the one in the [module's documentation](super#reference).
pub fn reference() -> String {
    // In a table also what is code may have no bare one.
    let cell = |text: &str| text.replace('|', r"\|");
    let mut table = String::from("| setting | default | takes | what for |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match (key.shape, key.default) {
            (
                ValueShape::List(_)
                | ValueShape::ApiKeys
                | ValueShape::Headers
                | ValueShape::Issuers,
                "",
            ) => "`[]`".to_owned(),
            (ValueShape::List(_) | ValueShape::Words(_), list) => {
                format!("`[\"{}\"]`", list.replace(',', "\", \""))
            }
            (ValueShape::Boolean | ValueShape::Count(..) | ValueShape::Status(_), bare) => {
                format!("`{bare}`")
            }
            (_, text) => format!("`\"{text}\"`"),
        };
        let takes = match key.shape {
            ValueShape::ApiKeys => "`[{ name = \"…\", sha256 = \"…\" }]`".to_owned(),
            ValueShape::Headers => {
                "`[{ name = \"…\", value_file = \"…\" }]`, or `value`".to_owned()
            }
            ValueShape::Boolean => "`true`, `false`".into(),
            ValueShape::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
            ValueShape::Count(min, max) => format!("{min} to {max}"),
            ValueShape::Duration(min, max) => format!("{} to {}", written(min), written(max)),
            ValueShape::Issuers => "`[{ issuer = \"…\", … }]`".into(),
            ValueShape::KeyFile => "a path".into(),
            ValueShape::List(what) => format!("list of {}", what.replace('"', "`")),
            ValueShape::Secret => "a secret".into(),
            ValueShape::Status(statuses) => statuses.join(", "),
            ValueShape::Switch(word) => format!("`true`, `false`, `\"{word}\"`"),
            ValueShape::Words(words) => format!("list of {}", words.join(", ")),
            ValueShape::Place(what) | ValueShape::Text(what) | ValueShape::Url(what) => {
                what.replace('"', "`")
            }
        };
        // Writing to a `String` does not fail.
        let (takes, about) = (cell(&takes), cell(key.about));
        let _ = writeln!(table, "| `{}` | {default} | {takes} | {about} |", key.name);
    }
    table
}
