//! `chatkit-rest store`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chatkit_rest::config::{StoreConfig, StoreUrl};
use chatkit_rest::session::{CopiedTable, CopyEnd, copy_store};
use clap::{Args, Subcommand};

use super::status_line::StatusLine;
use super::{CommandFailure, output, settings};

/// Copy a session store to another place
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest store copy sqlite:/var/lib/chatkit-rest/sessions.db store.url --config gateway.toml")]
pub(super) struct Store {
    #[command(subcommand)]
    step: StoreStep,
}

#[derive(Debug, Subcommand)]
enum StoreStep {
    Copy(Copy),
}

/// Copy everything that one store has to another: an SQLite file to PostgreSQL, or back
///
/// Sessions with their counts, attachments, client sessions, the key that cursors and client secrets
/// are signed with, the number of the last conversation, what is known of deleted threads, the
/// quarantine, and who is blocked. Not runs in flight: stop the gateways of both stores first.
///
/// `store.url` in place of a URL is the store that the settings name, so that no password is on the
/// command line; the other settings of `[store]` are those of any PostgreSQL here.
///
/// A copy that was stopped goes on when it is made again. What the store to copy to has already must
/// be the same; if it has anything else, nothing is written. At the end both are read again and
/// compared, table by table.
///
/// Exit code: 0 if both stores have the same, 1 if not, 2 if a URL names no store.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest store copy sqlite:/var/lib/chatkit-rest/sessions.db store.url --config gateway.toml
  chatkit-rest store copy store.url sqlite:copy.db --config gateway.toml")]
struct Copy {
    /// Store to copy from: `sqlite:FILE`, `postgres://…`, or `store.url`
    #[arg(value_name = "FROM")]
    from: String,

    /// Store to copy to, which is made if it is not there
    #[arg(value_name = "TO")]
    to: String,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What stands for the store that the settings name.
const OF_SETTINGS: &str = "store.url";

impl Store {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        match self.step {
            StoreStep::Copy(copy) => copy.run(),
        }
    }
}

impl Copy {
    fn run(self) -> Result<(), CommandFailure> {
        let config = self.config;
        let named = |place: String| {
            let place = Some(place).filter(|place| place != OF_SETTINGS);
            Ok::<_, CommandFailure>(settings::store(config.clone(), place)?.config)
        };
        let (from, to) = (named(self.from)?, named(self.to)?);
        if is_same(&from, &to) {
            return Err(CommandFailure::Usage("FROM and TO are the same store".into()));
        }
        if let StoreUrl::Sqlite(path) = &from.url
            && !path.exists()
        {
            return Err(super::no_store(path));
        }
        let mut line = StatusLine::new();
        let copy = copy_store(end(&from)?, end(&to)?, |progress| {
            if line.is_due().is_some() {
                let text = format!(
                    "{} {}: {} of {}",
                    progress.step, progress.table, progress.rows, progress.of
                );
                line.tell(&text);
            }
        });
        let copied = super::wait(copy)?;
        line.clear();
        Ok(output::print(&report(&copied?))?)
    }
}

/// Gives what [`copy_store`] takes.
fn end(store: &StoreConfig) -> Result<CopyEnd, CommandFailure> {
    match &store.url {
        StoreUrl::Sqlite(path) => Ok(CopyEnd::Sqlite(path.clone())),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(_) => Ok(CopyEnd::Postgres(Box::new(store.postgres()?))),
        _ => Err(CommandFailure::Usage(
            "memory: is its gateway's alone; expected sqlite:FILE or postgres://…".into(),
        )),
    }
}

fn is_same(from: &StoreConfig, to: &StoreConfig) -> bool {
    let whole = |path: &Path| {
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into())
    };
    match (&from.url, &to.url) {
        (StoreUrl::Sqlite(from), StoreUrl::Sqlite(to)) => whole(from) == whole(to),
        (from, to) => from == to,
    }
}

fn report(copied: &[CopiedTable]) -> String {
    let mut text = String::from("TABLE  ROWS  WRITTEN  SHA-256\n");
    let (mut rows, mut written) = (0, 0);
    for table in copied {
        (rows, written) = (rows + table.rows, written + table.written);
        let _ = write!(text, "{}  {}  {}  ", table.name, table.rows, table.written);
        // Writing to a `String` does not fail. The beginning tells them apart.
        for byte in table.sha256.iter().take(8) {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Both stores have the same {rows} rows, by their counts and hashes; {written} of them were written now."
    );
    text
}
