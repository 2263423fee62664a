//! What is no file of lines, told by how it begins.

use serde_json::Value;

/// Gives what the file is, and what to do, if its first line that isn't blank shows that it is
/// nothing to be read: one fault for all of it, in place of one for each line.
pub(super) fn mistaken(line: &[u8]) -> Option<&'static str> {
    match line {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..] => {
            return Some("is UTF-16; expected JSON Lines in UTF-8");
        }
        [0x1f, 0x8b, ..] => {
            return Some("is compressed; gzip -dc FILE | chatkit-rest adopt - reads it");
        }
        _ if line.starts_with(b"SQLite format 3") => {
            return Some(
                "is an SQLite database; expected JSON Lines, which a query of it can write",
            );
        }
        _ => {}
    }
    let line = line.trim_ascii();
    match line {
        [b'[', ..] => {
            Some("is a JSON array; expected one object on a line, as jq -c '.[]' FILE writes them")
        }
        b"{" => Some(
            "has an object on several lines; expected one on each, as jq -c . FILE writes them",
        ),
        [b'{', rest @ ..] if is_export(line, rest) => {
            Some("is export.py's file: load.py makes the one for adopt (load.py --adopt FILE)")
        }
        [b'{', ..] => None,
        _ if line.iter().any(|byte| b",;\t|".contains(byte)) => {
            Some("is CSV or the like; expected JSON Lines: {\"thread_id\": …, \"user_id\": …}")
        }
        _ => None,
    }
}

fn is_export(line: &[u8], behind_brace: &[u8]) -> bool {
    // A long line isn't there as a whole.
    behind_brace.trim_ascii_start().starts_with(b"\"kind\"")
        || serde_json::from_slice::<Value>(line).is_ok_and(|value| value.get("kind").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_another_format_are_told_by_their_beginning() {
        for (line, what) in [
            (&b"\xff\xfe{\0"[..], Some("UTF-16")),
            (b"\xfe\xff\0{", Some("UTF-16")),
            (b"{\0\"\0", Some("UTF-16")),
            (b"\0{\0\"", Some("UTF-16")),
            (b"\x1f\x8b\x08", Some("compressed")),
            (b"SQLite format 3\0\x10\0", Some("SQLite")),
            (b" [{\"thread_id\":", Some("array")),
            (b"[\r", Some("array")),
            (b"{\r", Some("several lines")),
            (b"{\"kind\":\"export\",\"format\":1,", Some("export.py")),
            (b"{\"thread\":{}, \"kind\":\"thread\"}", Some("export.py")),
            (b"thread_id,user_id\r", Some("CSV")),
            (b"thr_1\tada", Some("CSV")),
            (b"{\"thread_id\":\"t\",\"title\":\"\\\"kind\\\"\"}", None),
            (b"{\"thread_id\":\"kind\"}", None),
            (b"{", Some("several lines")),
            (b"nonsense", None),
            (b"{\"thread_id\":\"\xff", None),
        ] {
            let found = mistaken(line);
            let is_right =
                found.map_or(what.is_none(), |found| what.is_some_and(|what| found.contains(what)));
            assert!(is_right, "{:?}: {found:?}", line.escape_ascii().to_string());
        }
    }
}
