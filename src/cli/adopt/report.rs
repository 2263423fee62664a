//! What became of the lines: told as it goes on, and in sum.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _, stderr};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use chatkit_rest::config::IdFormat;
use chatkit_rest::error::Error;
use chatkit_rest::session::{Adoption, AdoptionConflict, ConversationId, KnownBy};
use serde_json::json;
use tokio::time::Instant;

use super::line::Fault;
use crate::cli::Failure;

/// How many refused lines, and how many in conflict, are told of on standard error.
const TOLD: u64 = 20;

/// How often progress is told, on a terminal and elsewhere.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(5);

/// What becomes of things of one kind.
#[derive(Default)]
struct Counts {
    done: u64,
    known: u64,
    conflicts: u64,
}

/// Conversations by the kind of their ids.
#[derive(Default)]
struct Ids {
    conv: u64,
    integer: u64,
    uuid: u64,
}

pub(super) struct Report {
    begun: Instant,
    told: Instant,
    on_terminal: bool,
    dry_run: bool,
    /// Of what is read, in bytes.
    size: Option<u64>,
    read: u64,
    lines: u64,
    threads: Counts,
    attachments: Counts,
    ids: Ids,
    refused: u64,
    file: Option<BufWriter<File>>,
}

impl Report {
    /// Writes all lines that are not adopted to `file`, if there is one.
    pub(super) fn new(
        file: Option<&Path>,
        dry_run: bool,
        size: Option<u64>,
    ) -> Result<Self, Failure> {
        let file = match file.map(|path| (path, File::create(path))) {
            None => None,
            Some((_, Ok(file))) => Some(BufWriter::new(file)),
            Some((path, Err(error))) => {
                let path = path.display();
                return Err(Failure::Usage(format!("--report: {path} can't be written: {error}")));
            }
        };
        let begun = Instant::now();
        Ok(Self {
            begun,
            told: begun,
            on_terminal: stderr().is_terminal(),
            dry_run,
            size,
            read: 0,
            lines: 0,
            threads: Counts::default(),
            attachments: Counts::default(),
            ids: Ids::default(),
            refused: 0,
            file,
        })
    }

    /// A line was read, and so many bytes in all.
    pub(super) fn read(&mut self, number: NonZeroU64, bytes: u64) {
        self.lines = number.get();
        self.read = bytes;
    }

    pub(super) fn done(&mut self, entry: &Adoption) {
        self.counts(entry).done += 1;
        let Adoption::Thread(thread) = entry else { return };
        match thread.known_by {
            None => {}
            Some(KnownBy::Conversation(ConversationId::Conv(_))) => self.ids.conv += 1,
            Some(KnownBy::Conversation(ConversationId::Integer(_))) => self.ids.integer += 1,
            Some(KnownBy::Session(_)) => self.ids.uuid += 1,
        }
    }

    pub(super) fn known(&mut self, entry: &Adoption) {
        self.counts(entry).known += 1;
    }

    pub(super) fn conflict(
        &mut self,
        line: NonZeroU64,
        entry: &Adoption,
        conflict: AdoptionConflict,
    ) -> Result<(), Error> {
        self.counts(entry).conflicts += 1;
        let (field, id) = match entry {
            Adoption::Attachment { attachment_id, .. } => ("attachment_id", &**attachment_id),
            Adoption::Thread(thread) => ("thread_id", &*thread.thread_id),
        };
        if self.threads.conflicts + self.attachments.conflicts <= TOLD {
            self.tell(&format!("line {line}: conflict: {field} {id:?}: {conflict}"));
        }
        let reason = conflict.to_string();
        self.write(&json!({"line": line, "outcome": "conflict", field: id, "reason": reason}))
    }

    pub(super) fn refused(&mut self, line: NonZeroU64, fault: &Fault) -> Result<(), Error> {
        self.refused += 1;
        if self.refused <= TOLD {
            self.tell(&format!("line {line}: refused: {fault}"));
        }
        let Fault { field, reason } = fault;
        self.write(&json!({"line": line, "outcome": "refused", "field": field, "reason": reason}))
    }

    fn counts(&mut self, entry: &Adoption) -> &mut Counts {
        match entry {
            Adoption::Attachment { .. } => &mut self.attachments,
            Adoption::Thread(_) => &mut self.threads,
        }
    }

    fn write(&mut self, row: &serde_json::Value) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{row}").map_err(|error| Error::io("could not write the report", error))
    }

    /// Says how far it is, if that was not said a moment ago.
    pub(super) fn progress(&mut self) {
        let pause = if self.on_terminal { OFTEN } else { SELDOM };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        let (lines, rate) = (self.lines, self.rate());
        let part = match self.size {
            Some(size) if size > 0 => format!(" ({} %)", self.read.saturating_mul(100) / size),
            _ => String::new(),
        };
        let text = format!("{lines} lines{part}, {rate} a second");
        if self.on_terminal {
            // Over what stands there; if nobody reads it there is nobody to tell.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        } else {
            self.tell(&text);
        }
    }

    fn rate(&self) -> u128 {
        u128::from(self.lines) * 1000 / self.begun.elapsed().as_millis().max(1)
    }

    fn tell(&self, text: &str) {
        let clear = if self.on_terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(stderr(), "{clear}{text}");
    }

    /// The sum of it all, and how many lines were not adopted.
    pub(super) fn finish(mut self, id_format: IdFormat) -> Result<(String, u64), Error> {
        if let Some(file) = &mut self.file {
            file.flush().map_err(|error| Error::io("could not write the report", error))?;
        }
        if self.on_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
        let conflicts = self.threads.conflicts + self.attachments.conflicts;
        for (what, count) in [("refused", self.refused), ("in conflict", conflicts)] {
            if count > TOLD {
                let more = count - TOLD;
                let hint = if self.file.is_some() { "" } else { "; --report FILE has them all" };
                self.tell(&format!("{more} more lines were {what}{hint}"));
            }
        }
        Ok((self.sum(id_format), self.refused + conflicts))
    }

    fn sum(&self, id_format: IdFormat) -> String {
        // Writing to a `String` does not fail.
        let mut text = String::new();
        let seconds = self.begun.elapsed().as_secs_f64();
        let (lines, rate) = (self.lines, self.rate());
        let _ = writeln!(text, "{lines} lines in {seconds:.1} s, {rate} a second");
        let adopted = if self.dry_run { "to be adopted" } else { "adopted" };
        for (what, counts) in [("threads", &self.threads), ("attachments", &self.attachments)] {
            let Counts { done, known, conflicts } = counts;
            let _ = writeln!(
                text,
                "{what}: {done} {adopted}, {known} known already, {conflicts} in conflict"
            );
        }
        let _ = writeln!(text, "refused lines: {}", self.refused);
        let Ids { conv, integer, uuid } = self.ids;
        for (kind, count, is_reached) in [
            ("conv", conv, id_format == IdFormat::Conv),
            ("integer", integer, id_format == IdFormat::Integer),
            ("uuid", uuid, id_format == IdFormat::Uuid),
        ] {
            if count > 0 && !is_reached {
                let _ = writeln!(
                    text,
                    "note: {count} conversation ids are found only with chat.id_format = \"{kind}\""
                );
            }
        }
        let left = self.refused + self.threads.conflicts + self.attachments.conflicts;
        text.push_str(match (self.dry_run, left) {
            (true, _) => "Nothing was written. Without --dry-run it is done.\n",
            (false, 0) => {
                "Done. Users find these threads among their sessions at once, also where a gateway \
                 runs already.\n"
            }
            (false, _) => {
                "Mend the lines that were left out and give the file again: what is known stays as \
                 it is.\n"
            }
        });
        text
    }
}
