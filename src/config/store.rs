//! `[store]`: where sessions are kept.

use std::num::NonZeroU32;
use std::path::PathBuf;
#[cfg(feature = "postgres")]
use std::time::Duration;

use super::database::{self, DatabaseUrl};
use super::hint;
use super::reader::SettingsReader;
use super::secret;
use super::settings::StoreConfig;
use super::tls;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// In memory: gone with the process.
    Memory,
    /// In an SQLite file, made when it is not there. A relative path is relative to the
    /// working directory.
    Sqlite(PathBuf),
    /// In a PostgreSQL database, which several gateways may share.
    Postgres(DatabaseUrl),
}

impl StoreUrl {
    /// Reads `memory:`, `sqlite:FILE`, or a URL of PostgreSQL.
    ///
    /// Other tools write SQLite URLs too. What means another place there than it would here is
    /// refused: a file that is made in the wrong place is a store that seems to be empty.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if database::is_database(text) {
            return DatabaseUrl::parse(text).map(Self::Postgres);
        }
        if text.contains("host=") || text.contains("dbname=") {
            return Err("is in libpq's notation of words (write it as a URL)".into());
        }
        let Some(rest) = text.strip_prefix("sqlite:") else {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            let near = hint::nearest(scheme, ["memory", "postgres", "postgresql", "sqlite"]);
            return Err(match near {
                Some(scheme) => {
                    format!("names no store, but nearly one (write {scheme:?} before the colon)")
                }
                None => "names no store".into(),
            });
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

    /// Says where the store is instead, if it is no database.
    pub(super) fn without_database(&self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("in memory"),
            Self::Sqlite(_) => Some("in an SQLite file"),
            Self::Postgres(_) => None,
        }
    }

    /// Gives what is allowed but probably not what was meant.
    pub(super) fn note(&self) -> Option<String> {
        let path = match self {
            Self::Sqlite(path) => path,
            Self::Memory | Self::Postgres(_) => return None,
        };
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

/// Reads `[store]`.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<StoreConfig> {
    let url = url(read);
    let schema = read.text("store.schema", schema);
    let pool_size = read.limit("store.pool_size");
    let connect_timeout = read.duration("store.connect_timeout");
    let wait_timeout = read.duration("store.wait_timeout");
    let statement_timeout = read.duration("store.statement_timeout");
    let pooler = read.boolean("store.pooler");
    let ca = tls::authorities(read, "store.ca");
    #[cfg(feature = "postgres")]
    let (connect_timeout, ca) = of_url(read, url.as_ref(), connect_timeout, ca);
    Some(StoreConfig {
        url: url?,
        schema: schema?,
        // Its least is 1.
        pool_size: NonZeroU32::new(pool_size?).unwrap_or(NonZeroU32::MIN),
        connect_timeout: connect_timeout?,
        wait_timeout: wait_timeout?,
        statement_timeout: statement_timeout?,
        pooler: pooler?,
        ca: ca?.into_iter().next(),
    })
}

/// Gives what the URL says in its own way where no setting says it.
#[cfg(feature = "postgres")]
fn of_url(
    read: &SettingsReader<'_>,
    url: Option<&StoreUrl>,
    connect_timeout: Option<Duration>,
    ca: Option<Vec<PathBuf>>,
) -> (Option<Duration>, Option<Vec<PathBuf>>) {
    let Some(StoreUrl::Postgres(url)) = url else { return (connect_timeout, ca) };
    let Ok(options) = url.options() else { return (connect_timeout, ca) };
    let is_set = read.set_by("store.connect_timeout").is_some();
    let timeout = connect_timeout.map(|set| if is_set { set } else { options.connect_timeout });
    let ca = ca.map(|set| if set.is_empty() { Vec::from_iter(options.ca) } else { set });
    (timeout, ca)
}

/// The settings that only a database has a use for.
pub(super) const OF_DATABASES: [&str; 7] = [
    "store.schema",
    "store.pool_size",
    "store.connect_timeout",
    "store.wait_timeout",
    "store.statement_timeout",
    "store.pooler",
    "store.ca",
];

/// Gives the URL, from the setting or the file, whichever is of the later layer.
fn url(read: &mut SettingsReader<'_>) -> Option<StoreUrl> {
    let inline = read.meant("store.url", StoreUrl::parse, StoreUrl::meant);
    let is_set = read.set_by("store.url").is_some();
    let file = secret::in_file(read, "store.url", "store.url_file", is_set)?;
    let Some(text) = file.first() else { return inline };
    match StoreUrl::parse(text) {
        Ok(url) => Some(url),
        Err(why) => {
            let problem = format!("the text of the file {why}; expected {EXPECTED}");
            read.refuse("store.url_file", problem);
            None
        }
    }
}

/// Gives the setting that the URL is from.
pub(super) fn setting_of_url(read: &SettingsReader<'_>) -> &'static str {
    let in_file = read.layers.rank("store.url_file") > read.layers.rank("store.url");
    if in_file { "store.url_file" } else { "store.url" }
}

/// What `store.url` takes.
pub(super) const EXPECTED: &str =
    "\"sqlite:FILE\", \"postgres://USER@HOST/DATABASE\" or \"memory:\"";

/// The longest name of a schema: PostgreSQL cuts longer ones than 63, and there is more in some.
const MAX_NAME: usize = 48;

fn schema(name: &str) -> Result<String, String> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    if !name.starts_with(is_letter) || !name.chars().all(|c| is_letter(c) || c.is_ascii_digit()) {
        return Err("is no such name".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("is longer than {MAX_NAME} characters"));
    }
    if name.starts_with("pg_") || name == "information_schema" {
        return Err("is PostgreSQL's own".into());
    }
    Ok(name.to_owned())
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
            let note =
                path.contains('%').then_some("is taken as it is: %XX in it stands for itself");
            assert_eq!(url.note().as_deref(), note, "{text}");
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
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_database_is_named_by_its_url_alone() {
        for text in ["postgres://h/d", "postgresql://u:p@h:5432/d?sslmode=require"] {
            let url = StoreUrl::parse(text).unwrap();
            assert!(matches!(&url, StoreUrl::Postgres(url) if url.expose() == text), "{text}");
        }
        for (text, why) in [
            ("postgres:d", "has no \"//\""),
            ("postgres:", "has no \"//\""),
            ("postgresql+asyncpg://u:planted@h/d", "write \"postgres://\""),
            ("postgres://u:plan ted@h/d", "percent-encoded"),
            ("postgres://", "names no host"),
            ("postgres://u:planted@h/d?sslmode=planted", "is not understood"),
            ("host=h user=u password=planted", "write it as a URL"),
            ("postgrest://h/d", "names no store"),
        ] {
            let refused = StoreUrl::parse(text).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("planted"), "{text}: {refused}");
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_build_without_databases_says_so() {
        let refused = StoreUrl::parse("postgres://u:planted@h/d").unwrap_err();
        assert!(refused.contains("feature `postgres`") && !refused.contains("planted"));
    }

    #[test]
    fn a_schema_is_a_name_that_needs_no_quotes() {
        for name in ["chatkit_rest", "_a", "a1"] {
            assert_eq!(schema(name).as_deref(), Ok(name));
        }
        let long = "a".repeat(49);
        for name in ["", "1a", "A", "a-b", "a.b", "a\"b", "é", "pg_a", "information_schema", &long]
        {
            assert!(schema(name).is_err(), "{name}");
        }
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
