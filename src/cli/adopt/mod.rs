//! `chatkit-rest adopt`.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatkit_rest::config::{StoreSettings, StoreUrl};
use chatkit_rest::error::Error;
use chatkit_rest::session::{Adopted, Adoption};
use clap::Args;
use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::{CommandFailure, output, settings};
use input::{SourceReader, Stop};
use line::{LineContext, LineFault};
use lines::{InputLine, InputLines};
use report::{AdoptionReport, ReportFile};
use target::{Outcomes, Target};

mod format;
mod input;
mod line;
mod lines;
mod progress;
mod report;
mod target;
mod users;

/// Adopt the threads that a ChatKit server has already
///
/// Reads who owns which thread, and which attachment, from a file of JSON Lines, and makes sessions
/// of the threads, so that users find them behind the gateway.
///
/// `title`, `created_at`, `updated_at` and `conversation_id` may be left out. Times are RFC 3339 or
/// Unix seconds; one without a zone is in that of `upstream.utc_offset`. `conversation_id` is the id
/// that clients of one-shot chat hold: a number up to 2^52, conv_ and 8 hexadecimal digits, or a UUID.
/// `created_at` is now if it is left out, and `updated_at` is `created_at`. All ids are strings: a
/// user of the number 17 is "17".
///
/// A line is adopted as a whole or not at all, and one that can't be is no obstacle to others. What is
/// known already stays as it is, and what was adopted and then deleted here stays deleted, so the same
/// file may come again. Ctrl-C stops between two transactions. A gateway may run on the store
/// meanwhile. Adopted sessions don't count for `limits.max_sessions`.
///
/// Exit code: 0 if every line is adopted, known or deleted here, 1 if some are refused or in conflict
/// or there is none, 2 if nothing could be begun, 130 if it was stopped.
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

    /// Write every line that is not adopted to this file, which must not be there yet, as JSON Lines;
    /// standard error has only the first ones
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where sessions are kept: `sqlite:FILE` or `postgres://…` (setting `store.url`)
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// The fewest and the most entries of one transaction while others have the store open, and the most
/// while nobody has. Rows come in no order, so that each touches pages of its own in five indices: in
/// few transactions each page is written a few times, in many again and again.
const MIN_BATCH: usize = 512;
const MAX_BATCH: usize = 8192;
const MAX_BATCH_ALONE: usize = 32_768;

/// What is collected takes no more, in bytes of lines.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How long a transaction may take before the next one has fewer entries, and how long it takes at
/// least before the next one has not more. A gateway beside waits for it.
const LONG: Duration = Duration::from_millis(200);
const SHORT: Duration = Duration::from_millis(100);

/// How long a transaction goes on while nobody else has the store open. It ends early if somebody
/// comes, and this is for who looks at the progress, or stops it.
const LONG_ALONE: Duration = Duration::from_secs(3);

/// How long the store is left to others after each transaction: longer than their writers sleep
/// before they try again.
const PAUSE: Duration = Duration::from_millis(5);

/// The same for who comes: longer than SQLite sleeps at most before it tries again.
const WELCOME: Duration = Duration::from_millis(150);

/// How large the log may become before it is folded into the file, or more so. Above what is folded
/// along the way if nobody else uses the store, and a large transaction.
const FOLD_BYTES: u64 = 768 * 1024 * 1024;

/// How long folding may keep a gateway beside from writing, in between and at the end.
const FOLD_PATIENCE: Duration = Duration::from_millis(200);
const LAST_FOLD_PATIENCE: Duration = Duration::from_secs(2);

impl Adopt {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let settings = settings::store(self.config, self.store)?;
        Target::check(&settings, self.dry_run)?;
        let store_file = Target::file(&settings);
        // First of all, and where there is nothing: what is named by mistake is not lost.
        let others: Vec<_> = std::iter::once(&*self.file).chain(store_file).collect();
        let report = self.report.as_deref().map(|report| ReportFile::new(report, &others));
        let report = report.transpose()?;
        let input = SourceReader::open(&self.file)?;
        let (stop, size) = (input.stop(), input.size);
        let has_report = self.report.is_some();
        let stopped =
            |after| CommandFailure::AdoptStopped { after, dry_run: self.dry_run, has_report };
        let mut lines = InputLines::new(input);
        match first_line(&mut lines, &self.file) {
            Err(_) if stop.is_asked() => return Err(stopped(0)),
            outcome => outcome?,
        }

        let is_new = store_file.is_some_and(|path| !path.exists());
        let runtime = super::runtime()?;
        let store = Target::open(&settings, &runtime, self.dry_run)?;
        output::print(&which_store(&settings, is_new, self.dry_run))?;
        let report = AdoptionReport::new(report, self.dry_run, is_new, size);
        let mut adopting = Adopting::new(&store, &runtime, &settings, report, stop.clone());
        while !stop.is_asked() {
            match lines.next() {
                Ok(Some(line)) => adopting.line(&line)?,
                Ok(None) => {
                    adopting.finish()?;
                    break;
                }
                Err(_) if stop.is_asked() => {}
                Err(error) => return Err(unreadable(&self.file, error).into()),
            }
        }
        // Before it is told.
        if !self.dry_run {
            store.sync()?;
            store.fold_log(LAST_FOLD_PATIENCE)?;
        }
        runtime.block_on(store.close());
        let after = adopting.decided();
        let mut report = adopting.report;
        if stop.is_asked() {
            report.stop()?;
            return Err(stopped(after));
        }
        let (text, left) = report.finish(settings.id_format)?;
        output::print(&text)?;
        if left > 0 { Err(CommandFailure::Adopt { left }) } else { Ok(()) }
    }
}

/// Looks at the first line that says something, which comes again.
fn first_line(lines: &mut InputLines<SourceReader>, path: &Path) -> Result<(), CommandFailure> {
    let name = || match path.as_os_str().to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    };
    loop {
        let Some(line) = lines.next().map_err(|error| unreadable(path, error))? else {
            return Err(CommandFailure::AdoptNothing { from: name() });
        };
        if line.text.is_some_and(|text| text.trim_ascii().is_empty()) {
            continue;
        }
        if let Some(what) = format::mistaken(line.start) {
            return Err(CommandFailure::Usage(format!("{} {what}", name())));
        }
        lines.hold();
        return Ok(());
    }
}

/// Gives the store that was opened, for who meant another.
fn which_store(settings: &StoreSettings, is_new: bool, dry_run: bool) -> String {
    let place = match &settings.config.url {
        StoreUrl::Sqlite(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        StoreUrl::Postgres(url) => format!("{url}, schema {}", settings.config.schema),
        other => format!("{other:?}"),
    };
    let mut text = format!("store: {place} ({})\n", settings.origin);
    text.push_str(match (is_new, dry_run) {
        (false, _) => "",
        (true, false) => "note: it was made just now\n",
        (true, true) => "note: it isn't there; without --dry-run it is made\n",
    });
    text
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
            // It may never have been made, or be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Lines on their way into the store.
struct Adopting<'a> {
    store: &'a Target,
    runtime: &'a Runtime,
    reading: LineContext,
    report: AdoptionReport,
    stop: Stop,
    /// What was collected, and from which lines.
    batch: Vec<Adoption>,
    lines: VecDeque<CollectedLine>,
    bytes: usize,
    /// How many entries the next transaction has.
    size: usize,
    /// Nobody else had the store open when the last one began.
    is_alone: bool,
    /// How large the log is to be when it is folded.
    fold_at: u64,
}

/// A line that was collected.
struct CollectedLine {
    number: NonZeroU64,
    bytes: usize,
}

impl<'a> Adopting<'a> {
    fn new(
        store: &'a Target,
        runtime: &'a Runtime,
        settings: &StoreSettings,
        report: AdoptionReport,
        stop: Stop,
    ) -> Self {
        Self {
            store,
            runtime,
            reading: LineContext { now: Timestamp::now(), utc_offset: settings.utc_offset },
            report,
            stop,
            batch: Vec::new(),
            lines: VecDeque::new(),
            bytes: 0,
            size: MIN_BATCH,
            is_alone: store.is_alone(),
            fold_at: FOLD_BYTES,
        }
    }

    fn line(&mut self, line: &InputLine<'_>) -> Result<(), CommandFailure> {
        self.report.read(line.number, line.end);
        let entry = match line.text {
            Some(text) => match self.reading.entry(text) {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => Ok((entry, text.len())),
                Err(fault) => Err(fault),
            },
            None => Err(LineFault::too_long()),
        };
        match entry {
            Ok((entry, bytes)) => {
                self.batch.push(entry);
                self.lines.push_back(CollectedLine { number: line.number, bytes });
                self.bytes += bytes;
            }
            Err(fault) => self.report.refused(line.number, &fault)?,
        }
        while self.batch.len() >= self.size || self.bytes >= MAX_BATCH_BYTES {
            if self.stop.is_asked() {
                break;
            }
            self.transact()?;
        }
        Ok(())
    }

    /// Adopts what is left.
    fn finish(&mut self) -> Result<(), CommandFailure> {
        while !self.batch.is_empty() && !self.stop.is_asked() {
            self.transact()?;
        }
        Ok(())
    }

    /// Gives the last line before which all are decided, itself included.
    fn decided(&self) -> u64 {
        self.lines.front().map_or(self.report.lines(), |line| line.number.get() - 1)
    }

    /// Folds the log if it has become large. A copy's has no name, and so no size.
    fn fold(&mut self) -> Result<(), Error> {
        if self.store.log_bytes() < self.fold_at {
            return Ok(());
        }
        let is_folded = self.store.fold_log(FOLD_PATIENCE)?;
        // Who is in the way is so for longer: not after each transaction.
        self.fold_at = FOLD_BYTES + if is_folded { 0 } else { self.store.log_bytes() };
        Ok(())
    }

    /// Adopts the first ones of what was collected, in one transaction.
    fn transact(&mut self) -> Result<(), CommandFailure> {
        self.look_around();
        let rest = self.batch.split_off(self.size.min(self.batch.len()));
        let entries = std::mem::replace(&mut self.batch, rest);
        let (mut entries, outcomes) =
            if self.is_alone { self.adopt_alone(entries)? } else { self.adopt_beside(entries)? };
        let mut rest = entries.split_off(outcomes.len());
        rest.append(&mut self.batch);
        self.batch = rest;
        for (entry, outcome) in entries.iter().zip(outcomes) {
            let Some(CollectedLine { number, bytes }) = self.lines.pop_front() else { break };
            self.bytes -= bytes;
            match outcome {
                Adopted::Done => self.report.done(entry),
                Adopted::Known => self.report.known(entry),
                Adopted::Deleted => self.report.deleted(number, entry)?,
                Adopted::Conflict(conflict) => self.report.conflict(number, entry, conflict)?,
            }
        }
        self.fold()?;
        self.report.progress(self.decided(), self.bytes as u64);
        self.pause(PAUSE);
        Ok(())
    }

    /// Sees whether others have the store open now, and lets who has come in before anything else.
    fn look_around(&mut self) {
        let was_alone = std::mem::replace(&mut self.is_alone, self.store.is_alone());
        if was_alone && !self.is_alone {
            self.size = MIN_BATCH;
            self.pause(WELCOME);
        }
    }

    /// Adopts as many as nobody has to wait for.
    fn adopt_alone(&mut self, entries: Vec<Adoption>) -> Result<Outcomes, CommandFailure> {
        let (all, adopt) = (entries.len(), self.store.adopt_alone(entries, LONG_ALONE));
        let (entries, outcomes) = self.runtime.block_on(adopt)?;
        if outcomes.len() == all {
            self.size = (self.size * 2).min(MAX_BATCH_ALONE);
        }
        Ok((entries, outcomes))
    }

    /// Adopts all of them, and learns how many the next ones may be.
    fn adopt_beside(&mut self, entries: Vec<Adoption>) -> Result<Outcomes, CommandFailure> {
        let begun = Instant::now();
        let outcomes = self.runtime.block_on(self.store.adopt(entries.clone()))?;
        let took = begun.elapsed();
        if took > LONG {
            self.size = (self.size / 2).max(MIN_BATCH);
        } else if took < SHORT {
            self.size = (self.size * 2).min(MAX_BATCH);
        }
        Ok((entries, outcomes))
    }

    fn pause(&self, pause: Duration) {
        self.runtime.block_on(async { sleep(pause).await });
    }
}
