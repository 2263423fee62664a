//! `chatkit-rest adopt`.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatkit_rest::config::{StoreSettings, StoreUrl};
use chatkit_rest::error::Error;
use chatkit_rest::session::{Adopted, Adoption, SessionStore, SqliteOptions, SqliteStore};
use clap::Args;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::settings::file_and_environment;
use super::{Failure, output};
use line::{Fault, Reading};
use lines::{Line, Lines};
use report::Report;

mod line;
mod lines;
mod report;

/// Adopt the threads that a ChatKit server has already
///
/// Reads who owns which thread, and which attachment, from a file of JSON Lines, and makes sessions
/// of the threads, so that users find them behind the gateway.
///
/// `title`, `created_at`, `updated_at` and `conversation_id` may be left out. Times are RFC 3339 or
/// Unix seconds; one without a zone is in that of `upstream.utc_offset`. `conversation_id` is the id
/// that clients of one-shot chat hold: a number, conv_ and 8 hexadecimal digits, or a UUID.
///
/// A line is adopted as a whole or not at all, and one that can't be is no obstacle to others. What is
/// known already stays as it is, so the same file may come again. A gateway may run on the store
/// meanwhile. Adopted sessions don't count for `limits.max_sessions`.
///
/// Exit code: 0 if every line is adopted or known, 1 if some are refused or in conflict, 2 if nothing
/// could be begun.
#[derive(Args, Debug)]
#[command(after_help = "\
A line for a thread, and one for an attachment:
  {\"thread_id\": \"thr_1\", \"user_id\": \"ada\", \"title\": \"Turin\", \"created_at\": \"2026-11-21T09:30:00Z\"}
  {\"attachment_id\": \"atc_1\", \"user_id\": \"ada\"}

Example:
  chatkit-rest adopt threads.jsonl --config gateway.toml --dry-run
  chatkit-rest adopt threads.jsonl --config gateway.toml")]
pub(super) struct Adopt {
    /// JSON Lines; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Say what would become of each line, on a copy of the store that is deleted again
    #[arg(long)]
    dry_run: bool,

    /// Write every line that is not adopted to this file, as JSON Lines; standard error has only the
    /// first ones
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where sessions are kept: `sqlite:FILE` (setting `store.url`)
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// The fewest and the most entries of one transaction, and what they may take in memory.
const MIN_BATCH: usize = 512;
const MAX_BATCH: usize = 4096;
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long a transaction may take before the next one has fewer entries, and how long it takes at
/// least before the next one has not more. A gateway beside waits for it.
const LONG: Duration = Duration::from_millis(200);
const SHORT: Duration = Duration::from_millis(100);

/// How long the store is left to others after each transaction: longer than their writers sleep
/// before they try again.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a transaction waits for others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

impl Adopt {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut sources = file_and_environment(self.config);
        if let Some(store) = self.store {
            sources = sources.flag("--store", "store.url", store);
        }
        let settings = sources.load_store()?;
        let StoreUrl::Sqlite(path) = &settings.url else {
            return Err(Failure::Usage(
                "store.url is memory:, which no gateway would find again; expected sqlite:FILE"
                    .into(),
            ));
        };
        let (file, size) = open(&self.file)?;
        let report = Report::new(self.report.as_deref(), self.dry_run, size)?;
        let options = SqliteOptions::new().busy_timeout(BUSY_TIMEOUT).bulk(true);
        let (store, _scratch) = if self.dry_run {
            let scratch = Scratch::new();
            (options.open_copy(path, &scratch.0)?, Some(scratch))
        } else {
            (options.open(path)?, None)
        };
        let mut adopting = Adopting::new(&store, &settings, report)?;
        let mut lines = Lines::new(file);
        while let Some(line) = lines.next().map_err(|error| unreadable(&self.file, error))? {
            adopting.line(&line)?;
        }
        adopting.flush()?;
        let report = adopting.report;
        // Before it is told.
        store.sync()?;
        let (text, left) = report.finish(settings.id_format)?;
        output::print(&text)?;
        if left > 0 { Err(Failure::Adopt { left }) } else { Ok(()) }
    }
}

/// What is read, and its size if that is known.
fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((_, metadata)) if metadata.is_dir() => {
            Err(Failure::Usage(format!("{} is a directory", path.display())))
        }
        Ok((file, metadata)) => {
            let size = metadata.is_file().then_some(metadata.len());
            Ok((Box::new(file), size))
        }
        Err(error) => Err(Failure::Usage(format!("{} can't be read: {error}", path.display()))),
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::io(format!("could not read {}", path.display()), error)
}

/// A file that is gone when the command is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("chatkit-rest-dry-run-{}.db", uuid::Uuid::new_v4())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            // It may never have been made.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Lines on their way into the store.
struct Adopting<'a> {
    store: &'a SqliteStore,
    runtime: tokio::runtime::Runtime,
    reading: Reading,
    report: Report,
    batch: Vec<Adoption>,
    /// The numbers of the batch's lines.
    numbers: Vec<NonZeroU64>,
    bytes: usize,
    /// How many entries the next transaction has.
    size: usize,
}

impl<'a> Adopting<'a> {
    fn new(
        store: &'a SqliteStore,
        settings: &StoreSettings,
        report: Report,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("could not start the runtime", error))?;
        Ok(Self {
            store,
            runtime,
            reading: Reading { now: Timestamp::now(), utc_offset: settings.utc_offset },
            report,
            batch: Vec::with_capacity(MAX_BATCH),
            numbers: Vec::with_capacity(MAX_BATCH),
            bytes: 0,
            size: MIN_BATCH,
        })
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        self.report.read(line.number, line.end);
        let entry = match line.text {
            Some(text) => match self.reading.entry(text) {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => Ok((entry, text.len())),
                Err(fault) => Err(fault),
            },
            None => Err(Fault::too_long()),
        };
        match entry {
            Ok((entry, bytes)) => {
                self.batch.push(entry);
                self.numbers.push(line.number);
                self.bytes += bytes;
            }
            Err(fault) => self.report.refused(line.number, &fault)?,
        }
        if self.batch.len() >= self.size || self.bytes >= MAX_BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Adopts what was collected.
    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let entries = self.batch.clone();
        let begun = Instant::now();
        let outcomes = self.runtime.block_on(self.store.adopt(entries))?;
        let took = begun.elapsed();
        if took > LONG {
            self.size = (self.size / 2).max(MIN_BATCH);
        } else if took < SHORT {
            self.size = (self.size * 2).min(MAX_BATCH);
        }
        for ((entry, number), outcome) in self.batch.iter().zip(&self.numbers).zip(outcomes) {
            match outcome {
                Adopted::Done => self.report.done(entry),
                Adopted::Known | Adopted::Deleted => self.report.known(entry),
                Adopted::Conflict(conflict) => self.report.conflict(*number, entry, conflict)?,
            }
        }
        self.batch.clear();
        self.numbers.clear();
        self.bytes = 0;
        self.report.progress();
        self.runtime.block_on(async { sleep(PAUSE).await });
        Ok(())
    }
}
