//! Where sessions are kept.

use std::path::PathBuf;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// In memory: gone with the process.
    Memory,
    /// In an SQLite file, made when it is not there. A relative path is relative to the
    /// working directory.
    Sqlite(PathBuf),
}

impl StoreUrl {
    /// Reads `memory:` or `sqlite:FILE`.
    ///
    /// Other tools write SQLite URLs too. What means another place there than it would here is
    /// refused: a file that is made in the wrong place is a store that seems to be empty.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err("names PostgreSQL, which is not in this version".into());
        }
        let Some(rest) = text.strip_prefix("sqlite:") else {
            return Err("names no store".into());
        };
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() {
            return Err("names no file".into());
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if [":memory:", "memory:"].contains(&name) {
            return Err("is not how a store in memory is named (write \"memory:\")".into());
        }
        if path.contains('?') {
            return Err("has parameters, which there are none of".into());
        }
        if path.trim_start_matches('/').starts_with("file:") {
            return Err("has a path in SQLite's own notation (leave out its \"file:\")".into());
        }
        if path.trim() != path || path.contains(char::is_control) {
            return Err("has a blank at an end of its path, or a control character".into());
        }
        if matches!(name, "" | "." | "..") {
            return Err("names a directory".into());
        }
        if path.len() < rest.len() {
            is_one_place(path)?;
        }
        if cfg!(not(windows)) && has_drive(path) {
            return Err("names a file of Windows, which this is not".into());
        }
        Ok(Self::Sqlite(path.into()))
    }

    /// Gives what was probably meant by a text without a scheme.
    pub(super) fn meant(text: &str) -> Option<String> {
        match text {
            "memory" | ":memory:" | "sqlite::memory:" | "sqlite://:memory:" => {
                Some("memory:".into())
            }
            text if text.contains(':') => None,
            text => Some(format!("sqlite:{text}")),
        }
    }

    /// Gives what is allowed but probably not what was meant.
    pub(super) fn note(&self) -> Option<String> {
        let Self::Sqlite(path) = self else { return None };
        let mut pieces = path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'%').skip(1);
        let is_escape = |piece: &[u8]| matches!(piece, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        pieces.any(is_escape).then(|| "is taken as it is: %XX in it stands for itself".to_owned())
    }
}

/// Refuses what stands after `sqlite://` if tools don't agree on the file that it is.
fn is_one_place(path: &str) -> Result<(), String> {
    if path.starts_with("localhost/") {
        return Err("names a host (write \"sqlite:\" and the path)".into());
    }
    // After three slashes, SQLAlchemy and Django have a relative path. Below other directories than
    // the root, the one that was meant is mostly the only one that is there.
    if let Some(name) = path.strip_prefix('/')
        && !name.contains('/')
    {
        return Err("names a file in the root directory to some tools, and one in the working \
                    directory to others (write \"sqlite:/FILE\" or \"sqlite:FILE\")"
            .into());
    }
    Ok(())
}

/// Tells whether a path begins with a drive of Windows: `C:\` or `C:/`.
fn has_drive(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path).as_bytes();
    matches!(path, [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_by_url() {
        assert_eq!(StoreUrl::parse("memory:"), Ok(StoreUrl::Memory));
        for (text, path) in [
            ("sqlite:a.db", "a.db"),
            ("sqlite://a.db", "a.db"),
            ("sqlite:./a.db", "./a.db"),
            ("sqlite:../v/a.db", "../v/a.db"),
            ("sqlite:/a.db", "/a.db"),
            ("sqlite:/v/a.db", "/v/a.db"),
            ("sqlite:///v/a", "/v/a"),
            ("sqlite:////v/a", "//v/a"),
            ("sqlite:my files/a.db", "my files/a.db"),
            ("sqlite:a%20b.db", "a%20b.db"),
        ] {
            let url = StoreUrl::parse(text).unwrap();
            assert_eq!(url, StoreUrl::Sqlite(path.into()), "{text}");
            assert_eq!(url.note().is_some(), path.contains('%'), "{text}");
        }
        assert_eq!(StoreUrl::parse("sqlite:100%.db").unwrap().note(), None);
    }

    #[test]
    fn what_other_tools_mean_by_a_url_is_no_other_place_here() {
        for (text, why) in [
            ("", "names no store"),
            ("memory", "names no store"),
            ("a.db", "names no store"),
            ("file:a.db", "names no store"),
            ("sqlite3:a.db", "names no store"),
            ("sqlite+aiosqlite:///a.db", "names no store"),
            ("sqlite:", "names no file"),
            ("sqlite://", "names no file"),
            ("sqlite::memory:", "\"memory:\""),
            ("sqlite:memory:", "\"memory:\""),
            ("sqlite://:memory:", "\"memory:\""),
            ("sqlite:///:memory:", "\"memory:\""),
            ("sqlite:a?mode=ro", "has parameters"),
            ("sqlite:file:a?mode=memory", "has parameters"),
            ("sqlite:file:a.db", "leave out its \"file:\""),
            ("sqlite:file:///v/a.db", "leave out its \"file:\""),
            ("sqlite://file:a.db", "leave out its \"file:\""),
            ("sqlite:///file:a.db", "leave out its \"file:\""),
            ("sqlite:///a.db", "\"sqlite:/FILE\" or \"sqlite:FILE\""),
            ("sqlite://localhost/a.db", "names a host"),
            ("sqlite:v/", "names a directory"),
            ("sqlite:/", "names a directory"),
            ("sqlite:v/..", "names a directory"),
            ("sqlite:.", "names a directory"),
            ("sqlite: a.db", "has a blank"),
            ("sqlite:a.db\n", "has a blank"),
            ("sqlite:a\0.db", "control character"),
        ] {
            let refused = StoreUrl::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let postgres = StoreUrl::parse("postgres://u:planted@h/d").unwrap_err();
        assert!(postgres.contains("not in this version") && !postgres.contains("planted"));
    }

    #[cfg(not(windows))]
    #[test]
    fn a_drive_is_not_made_part_of_a_files_name() {
        for text in ["sqlite:C:\\v\\a.db", "sqlite:c:/v/a.db", "sqlite:///C:/v/a.db"] {
            assert!(StoreUrl::parse(text).unwrap_err().contains("Windows"), "{text}");
        }
        assert!(StoreUrl::parse("sqlite:c:a.db").is_ok());
    }
}
