//! Whether what is at the store's path is what it has open.
//!
//! A file that was deleted or replaced can be written to for as long as it is open, and with its last
//! connection all of that is gone. So the writer looks before each of its transactions, which costs
//! it some microseconds, and everybody else goes by what it saw last.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::ffi;

/// How long what was seen last is gone by.
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// The file and what is beside it, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Files {
    opened: Vec<(PathBuf, Option<Identity>)>,
    are_lost: AtomicBool,
    since: Instant,
    /// When somebody was asked to look last, in milliseconds.
    asked: AtomicU64,
}

type Identity = (u64, u64);

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "there is none elsewhere")]
fn identity(metadata: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

/// Files have no identity there that could be had: what is looked at is whether they are there.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<Identity> {
    None
}

impl Files {
    /// Makes those of the store at `path`, which is open.
    #[expect(clippy::disallowed_methods, reason = "no time that a test would have to pause")]
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        // The log and its index are there for as long as anybody has the file open.
        let opened = ["", "-wal", "-shm"].into_iter().map(|suffix| {
            let mut path = path.to_owned().into_os_string();
            path.push(suffix);
            let metadata = std::fs::metadata(&path)?;
            Ok((PathBuf::from(path), identity(&metadata)))
        });
        let opened = opened.collect::<std::io::Result<_>>()?;
        let (are_lost, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { opened, are_lost, since: Instant::now(), asked })
    }

    /// Looks whether they are still at their paths. Blocks, though not for long.
    ///
    /// # Errors
    /// If one of them isn't.
    pub(super) fn look(&self) -> rusqlite::Result<()> {
        let are_lost = !self.opened.iter().all(|(path, opened)| {
            std::fs::metadata(path).is_ok_and(|found| identity(&found) == *opened)
        });
        self.are_lost.store(are_lost, Ordering::Relaxed);
        self.check()
    }

    /// Tells what was seen last.
    ///
    /// # Errors
    /// If one of them was not there.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        if !self.are_lost.load(Ordering::Relaxed) {
            return Ok(());
        }
        let text = "its file, or one beside it, was deleted or replaced while it was open; \
            restart the gateway";
        let problem = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
        Err(rusqlite::Error::SqliteFailure(problem, Some(text.to_owned())))
    }

    /// Tells whether it is time to look again: `true` once each time.
    pub(super) fn are_due(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let asked = self.asked.load(Ordering::Relaxed);
        let is_due = u128::from(now.saturating_sub(asked)) >= LOOK_EVERY.as_millis();
        let swap = || self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed);
        is_due && swap().is_ok()
    }
}
