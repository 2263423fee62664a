//! `chatkit-rest migrate`.

use std::path::PathBuf;

use chatkit_rest::config::{StoreConfig, StoreUrl};
#[cfg(feature = "postgres")]
use chatkit_rest::session::PostgresStore;
use chatkit_rest::session::SqliteStore;
use clap::Args;

use super::{CommandFailure, output, settings};

/// Bring the session store to this version
///
/// Makes the tables, or changes those of an older version, and says from which version to which.
/// `serve` does the same when it starts; this is for a deployment that does it by itself, or
/// whose gateways may not change tables. Several at once wait for each other.
///
/// With --print, writes the SQL for who may instead, and connects to nothing. Each step is a
/// transaction; `psql --file` takes them.
///
/// Exit code: 0 if the store is of this version, 1 if it is of a newer one or can't be changed, 2 if
/// the settings name none.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest migrate --store postgres://owner@db.example.org/chat
  chatkit-rest migrate --print --config gateway.toml > migrations.sql")]
pub(super) struct Migrate {
    /// Write the SQL, and change nothing (PostgreSQL)
    #[arg(long)]
    print: bool,

    /// With --print, leave out what a schema of that version has already
    #[arg(long, value_name = "VERSION", default_value_t = 0, requires = "print")]
    from: usize,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where sessions are kept: `sqlite:FILE` or `postgres://…` (setting `store.url`)
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

impl Migrate {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let store = settings::store(self.config, self.store)?.config;
        match &store.url {
            StoreUrl::Postgres(_) if self.print => print(&store, self.from),
            _ if self.print => Err(CommandFailure::Usage(
                "--print is for PostgreSQL; an SQLite file is brought to this version by migrate"
                    .into(),
            )),
            StoreUrl::Postgres(url) => migrate(&store, url),
            StoreUrl::Sqlite(path) => {
                let from = SqliteStore::version_of(path)?;
                drop(SqliteStore::open(path)?);
                let to = SqliteStore::version_of(path)?;
                say(&format!("sqlite:{}", path.display()), from, to)
            }
            _ => Err(CommandFailure::Usage(
                "store.url is memory:, which has no version; expected sqlite:FILE or postgres://…"
                    .into(),
            )),
        }
    }
}

fn say(place: &str, from: u32, to: u32) -> Result<(), CommandFailure> {
    let text = match from {
        0 => format!("{place} is made: version {to}.\n"),
        from if from == to => format!("{place} is of version {to} already.\n"),
        from => format!("{place} is brought from version {from} to version {to}.\n"),
    };
    Ok(output::print(&text)?)
}

#[cfg(feature = "postgres")]
fn migrate(
    store: &StoreConfig,
    url: &chatkit_rest::config::DatabaseUrl,
) -> Result<(), CommandFailure> {
    let done = super::wait(PostgresStore::migrate(store.postgres()?))??;
    say(&format!("{url}, schema {}", store.schema), done.from, done.to)
}

#[cfg(feature = "postgres")]
fn print(store: &StoreConfig, from: usize) -> Result<(), CommandFailure> {
    let steps = PostgresStore::migrations(&store.schema);
    let steps = steps.iter().zip(1..).skip(from);
    let text: Vec<_> =
        steps.map(|(step, version)| format!("-- Version {version}\n{step}\n")).collect();
    Ok(output::print(&text.concat())?)
}

// Settings that name a database are refused then.
#[cfg(not(feature = "postgres"))]
fn migrate(_: &StoreConfig, _: &chatkit_rest::config::DatabaseUrl) -> Result<(), CommandFailure> {
    Err(super::no_database())
}

#[cfg(not(feature = "postgres"))]
fn print(_: &StoreConfig, _: usize) -> Result<(), CommandFailure> {
    Err(super::no_database())
}
