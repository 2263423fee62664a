//! What the tests of the SQLite store share, beside what the contract's promises do.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chatkit_rest::session::contract::support::{at, begin, first};
use chatkit_rest::session::contract::{Store, Stores};
use chatkit_rest::session::{RunId, RunStart, SessionId, SqliteStore};

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let name = format!("chatkit-rest-stores-{}", SessionId::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    pub(crate) fn store(&self) -> Store {
        open(&self.file())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(path: &Path) -> Store {
    Arc::new(SqliteStore::open(path).unwrap())
}

/// What was opened, and the directory that it is in, which goes after it.
pub(crate) struct Opened<T> {
    opened: T,
    _directory: Directory,
}

impl Opened<Store> {
    pub(crate) fn one() -> Self {
        let directory = Directory::new();
        Self { opened: directory.store(), _directory: directory }
    }
}

impl Opened<Stores> {
    #[cfg_attr(
        not(all(target_os = "linux", target_pointer_width = "64")),
        expect(dead_code, reason = "what is shared is tested where it has locks")
    )]
    pub(crate) fn two() -> Self {
        let directory = Directory::new();
        Self { opened: [directory.store(), directory.store()], _directory: directory }
    }
}

impl<T> Deref for Opened<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.opened
    }
}

/// Whether processes tell one another their runs, and so a store finds those of one that is gone.
pub(crate) const HAS_LOCKS: bool = cfg!(all(target_os = "linux", target_pointer_width = "64"));

/// Begins a first run in the place of one that began at second 0 and whose store is gone.
pub(crate) async fn first_after(store: &Store, id: SessionId) -> RunId {
    if HAS_LOCKS {
        return first(store, id, at(0)).await;
    }
    assert!(matches!(begin(store, id, at(29)).await, RunStart::Busy));
    first(store, id, at(30)).await
}
