//! What became of the lines: told as it goes on, and in sum.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use chatkit_rest::error::Error;
use chatkit_rest::session::{Adoption, AdoptionConflict, ConversationId, ConversationIds, KnownBy};
use serde_json::json;
use tokio::time::Instant;

use super::line::LineFault;
use super::progress::{ProgressMeter, per_second};
use super::users::Users;
use crate::cli::CommandFailure;

/// How many lines of each kind that are not adopted are told of on standard error.
const TOLD: u64 = 20;

/// What can be done about a thread of another user, if the user of the line is the right one.
const ANOTHERS: &str = "; restore the backup of the store, or delete the session as that user, which \
    deletes the thread upstream too";

/// What can be done about a thread in quarantine.
const QUARANTINED: &str = "; chatkit-rest quarantine --help says what to do";

/// What becomes of things of one kind.
#[derive(Default)]
struct Counts {
    done: u64,
    known: u64,
    deleted: u64,
    conflicts: u64,
}

/// Conversations by the kind of their ids.
#[derive(Default)]
struct Ids {
    conv: u64,
    integer: u64,
    uuid: u64,
}

/// A new file for what is not adopted. Until lines are read it goes again if the command fails.
pub(super) struct ReportFile {
    path: PathBuf,
    file: BufWriter<File>,
    is_kept: bool,
}

impl ReportFile {
    /// Makes the file at `path`, which is none of the `others`: they may be made later.
    pub(super) fn new(path: &Path, others: &[&Path]) -> Result<Self, CommandFailure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let shown = path.display();
        let file = options.open(path).map_err(|error| {
            CommandFailure::Usage(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("--report: {shown} is there already; name a file that isn't")
                }
                _ => format!("--report: {shown} can't be written: {error}"),
            })
        })?;
        let report = Self { path: path.to_owned(), file: BufWriter::new(file), is_kept: false };
        let own = path.canonicalize().ok();
        for other in others {
            let is_same = ["", "-wal", "-shm", "-journal", "-runs-shm"].into_iter().any(|suffix| {
                let mut other = other.as_os_str().to_owned();
                other.push(suffix);
                own.is_some() && Path::new(&other).canonicalize().ok() == own
            });
            if is_same {
                let reason = "is the file that is read, or the store's; name another";
                return Err(CommandFailure::Usage(format!("--report: {shown} {reason}")));
            }
        }
        Ok(report)
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It is empty. If it stays the next attempt says so.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

pub(super) struct AdoptionReport {
    begun: Instant,
    progress: ProgressMeter,
    dry_run: bool,
    /// There was no store.
    is_new: bool,
    read: u64,
    lines: u64,
    threads: Counts,
    attachments: Counts,
    users: Users,
    ids: Ids,
    refused: u64,
    file: Option<ReportFile>,
}

impl AdoptionReport {
    /// Writes all lines that are not adopted to `file`, if there is one.
    pub(super) fn new(
        mut file: Option<ReportFile>,
        dry_run: bool,
        is_new: bool,
        size: Option<u64>,
    ) -> Self {
        if let Some(file) = &mut file {
            file.is_kept = true;
        }
        Self {
            begun: Instant::now(),
            progress: ProgressMeter::new(size),
            dry_run,
            is_new,
            read: 0,
            lines: 0,
            threads: Counts::default(),
            attachments: Counts::default(),
            users: Users::default(),
            ids: Ids::default(),
            refused: 0,
            file,
        }
    }

    /// Notes that a line was read, and so many bytes in all.
    pub(super) fn read(&mut self, number: NonZeroU64, bytes: u64) {
        self.lines = number.get();
        self.read = bytes;
    }

    /// Tells how many lines were read.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn done(&mut self, entry: &Adoption) {
        self.counts(entry).done += 1;
        self.user(entry);
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
        self.user(entry);
    }

    pub(super) fn deleted(&mut self, line: NonZeroU64, entry: &Adoption) -> Result<(), Error> {
        self.counts(entry).deleted += 1;
        let (field, id) = named(entry);
        if self.threads.deleted + self.attachments.deleted <= TOLD {
            self.progress.line(&format!("line {line}: deleted here: {field} {id:?}"));
        }
        self.write(&json!({"line": line, "outcome": "deleted", field: id}))
    }

    pub(super) fn conflict(
        &mut self,
        line: NonZeroU64,
        entry: &Adoption,
        conflict: AdoptionConflict,
    ) -> Result<(), Error> {
        self.counts(entry).conflicts += 1;
        let (field, id) = named(entry);
        let next = match (conflict, entry) {
            (AdoptionConflict::AnotherUser, Adoption::Thread(_)) => ANOTHERS,
            (AdoptionConflict::Quarantined, _) => QUARANTINED,
            (AdoptionConflict::AnotherUser, Adoption::Attachment { .. })
            | (
                AdoptionConflict::ConversationTaken
                | AdoptionConflict::OtherConversation
                | AdoptionConflict::SessionTaken,
                _,
            ) => "",
        };
        let reason = format!("{conflict}{next}");
        if self.threads.conflicts + self.attachments.conflicts <= TOLD {
            self.progress.line(&format!("line {line}: conflict: {field} {id:?}: {reason}"));
        }
        self.write(&json!({"line": line, "outcome": "conflict", field: id, "reason": reason}))
    }

    pub(super) fn refused(&mut self, line: NonZeroU64, fault: &LineFault) -> Result<(), Error> {
        self.refused += 1;
        if self.refused <= TOLD {
            self.progress.line(&format!("line {line}: refused: {fault}"));
        }
        let LineFault { field, reason } = fault;
        self.write(&json!({"line": line, "outcome": "refused", "field": field, "reason": reason}))
    }

    fn counts(&mut self, entry: &Adoption) -> &mut Counts {
        match entry {
            Adoption::Attachment { .. } => &mut self.attachments,
            Adoption::Thread(_) => &mut self.threads,
        }
    }

    fn user(&mut self, entry: &Adoption) {
        self.users.add(match entry {
            Adoption::Attachment { user_id, .. } => user_id,
            Adoption::Thread(thread) => &thread.user_id,
        });
    }

    fn write(&mut self, row: &serde_json::Value) -> Result<(), Error> {
        let Some(ReportFile { file, .. }) = &mut self.file else { return Ok(()) };
        writeln!(file, "{row}").map_err(|error| Error::io("could not write the report", error))
    }

    /// Says how far it is, if that was not said a moment ago: so many lines are decided, and so many
    /// bytes of those that were read are not.
    pub(super) fn progress(&mut self, decided: u64, waiting: u64) {
        self.progress.tell(decided, self.read.saturating_sub(waiting));
    }

    /// Ends it before its end: what it has to say is written.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.progress.clear();
        let Some(ReportFile { file, .. }) = &mut self.file else { return Ok(()) };
        file.flush().map_err(|error| Error::io("could not write the report", error))
    }

    /// Gives the sum of it all, and how many lines were not adopted.
    pub(super) fn finish(mut self, id_format: ConversationIds) -> Result<(String, u64), Error> {
        self.stop()?;
        let conflicts = self.threads.conflicts + self.attachments.conflicts;
        let deleted = self.threads.deleted + self.attachments.deleted;
        for (what, count) in
            [("refused", self.refused), ("in conflict", conflicts), ("deleted here", deleted)]
        {
            if count > TOLD {
                let more = count - TOLD;
                let (lines, were) = if more == 1 { ("line", "was") } else { ("lines", "were") };
                let hint = match &self.file {
                    Some(ReportFile { path, .. }) => format!("; {} has all", path.display()),
                    None => "; --report FILE has them all".into(),
                };
                self.progress.line(&format!("{more} more {lines} {were} {what}{hint}"));
            }
        }
        Ok((self.sum(id_format), self.refused + conflicts))
    }

    fn sum(&self, id_format: ConversationIds) -> String {
        // Writing to a `String` does not fail.
        let mut text = String::new();
        let elapsed = self.begun.elapsed();
        let (seconds, rate) = (elapsed.as_secs_f64(), per_second(self.lines, elapsed));
        let _ = writeln!(text, "{} in {seconds:.1} s, {rate} a second", lines(self.lines));
        let adopted = if self.dry_run { "to be adopted" } else { "adopted" };
        for (what, counts) in [("threads", &self.threads), ("attachments", &self.attachments)] {
            let Counts { done, known, deleted, conflicts } = counts;
            let _ = write!(
                text,
                "{what}: {done} {adopted}, {known} known already, {conflicts} in conflict"
            );
            if *deleted > 0 {
                let _ = write!(text, ", {deleted} deleted here");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "refused lines: {}", self.refused);
        let _ = writeln!(text, "users: {}", self.users);
        let Ids { conv, integer, uuid } = self.ids;
        for (kind, count, is_reached) in [
            ("conv", conv, id_format == ConversationIds::Conv),
            ("integer", integer, id_format == ConversationIds::Integer),
            ("uuid", uuid, id_format == ConversationIds::Uuid),
        ] {
            if count > 0 && !is_reached {
                let ids = if count == 1 { "id is" } else { "ids are" };
                let _ = writeln!(
                    text,
                    "note: {count} conversation {ids} found only with chat.id_format = \"{kind}\""
                );
            }
        }
        let left = self.refused + self.threads.conflicts + self.attachments.conflicts;
        let done = self.threads.done + self.attachments.done;
        match (self.dry_run, left) {
            (true, 0) => {
                let _ = writeln!(text, "Nothing was written. Without --dry-run, {done} would be adopted.");
            }
            (true, _) => {
                let _ = writeln!(
                    text,
                    "Nothing was written. Without --dry-run, {done} would be adopted and {} left out.",
                    lines(left)
                );
            }
            (false, 0) if self.is_new => {
                text.push_str("Done. A gateway that is started on this store shows them.\n");
            }
            (false, 0) => text.push_str("Done. A gateway on this store shows them at once.\n"),
            (false, _) => text.push_str(
                "Mend the lines that were left out and give the file again: what is known stays as it \
                 is.\n",
            ),
        }
        text
    }
}

fn named(entry: &Adoption) -> (&'static str, &str) {
    match entry {
        Adoption::Attachment { attachment_id, .. } => ("attachment_id", attachment_id),
        Adoption::Thread(thread) => ("thread_id", &thread.thread_id),
    }
}

fn lines(count: u64) -> String {
    match count {
        1 => "1 line".into(),
        count => format!("{count} lines"),
    }
}
