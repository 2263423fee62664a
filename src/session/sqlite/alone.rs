//! The file itself, beside SQLite's own view of it.

use std::fs::File;
use std::path::Path;

/// The file, open for as long as there is a connection to it: when a process closes a file, whichever
/// way it was opened, its locks are gone, and SQLite's are among them.
#[derive(Debug)]
pub(super) struct OpenFile(File);

impl OpenFile {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        File::options().write(true).open(path).map(Self)
    }

    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.0.sync_all()
    }

    /// Tells whether another process has the file open. If that can't be told, one has.
    ///
    /// Whoever has read a file with a log once keeps it locked, shared, until it is closed. The locks
    /// of this process don't count, for the kernel either.
    #[cfg(unix)]
    pub(super) fn is_shared(&self) -> bool {
        use rustix::process::{Flock, FlockType, fcntl_getlk};

        let mut lock = Flock::from(FlockType::WriteLock);
        (lock.start, lock.length) = (SHARED_FIRST, SHARED_SIZE);
        !matches!(fcntl_getlk(&self.0, &lock), Ok(None))
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "there is a way to tell on Unix")]
    pub(super) fn is_shared(&self) -> bool {
        true
    }
}

/// The bytes that SQLite locks for readers, a part of its file format.
#[cfg(unix)]
const SHARED_FIRST: u64 = 0x4000_0002;
#[cfg(unix)]
const SHARED_SIZE: u64 = 510;
