//! How a store is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::alone::OpenFile;
use super::files::Files;
use super::locks;
use super::places::Places;
use super::readers::Readers;
use super::schema;
use super::store::SqliteStore;
use super::writer::Writer;
use crate::error::Error;

/// How long a file that is locked is waited for, unless it is said.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How to open a [`SqliteStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    busy_timeout: Duration,
    bulk: bool,
    /// Its file is to have no name.
    pub(super) nameless: bool,
}

impl SqliteOptions {
    /// Takes the defaults of [`SqliteStore::open`].
    pub fn new() -> Self {
        Self { busy_timeout: BUSY_TIMEOUT, bulk: false, nameless: false }
    }

    /// Sets how long a write waits for a file that another process has locked, 2 s unless set.
    /// Whole milliseconds.
    pub fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }

    /// Sets whether many writes in a row are to take less time; not unless set. It takes 256 MiB
    /// more of memory and of the disk, and a write outlives its process at once, but the machine
    /// only when [`SqliteStore::sync`] has come back.
    pub fn bulk(mut self, bulk: bool) -> Self {
        self.bulk = bulk;
        self
    }

    /// Opens the file at `path`, and creates or updates it if need be.
    ///
    /// A new file is readable by its owner only. A relative path is one from the current
    /// directory.
    ///
    /// # Errors
    /// If the file can't be created, opened or written, isn't an SQLite database, or belongs to
    /// another program or to a newer version of this one. Such a file is not changed.
    pub fn open(&self, path: &Path) -> Result<SqliteStore, Error> {
        // Absolute, because SQLite would read a name that begins with "file:" as a URI.
        let path = std::path::absolute(path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let connection = schema::open_for_writing(&path, self.busy_timeout)?;
        // What SQLite has beside the file is beside where a link leads to.
        #[cfg(unix)]
        let path = std::fs::canonicalize(&path)
            .map_err(|error| Error::io(format!("could not find {}", path.display()), error))?;
        let file = if self.bulk {
            schema::prepare_for_bulk(&connection)
                .map_err(|error| Error::store("could not prepare the session store", error))?;
            let file = OpenFile::open(&path)
                .map_err(|error| Error::io("could not open the session store", error))?;
            Some(Arc::new(file))
        } else {
            None
        };
        let places = if self.nameless { Ok(Places::default()) } else { Places::open(&path) };
        let places = places.map_err(|error| {
            let path = path.display();
            Error::io(format!("could not lock {path}{}, beside the store", locks::SUFFIX), error)
        })?;
        // Said, because two gateways are started on one file by mistake, too.
        if places.has_others().unwrap_or_default() {
            tracing::info!(
                "session store: another process has it open as well, as during a rolling restart: the \
                 limits of sessions and messages hold for all of them together, open streams for each \
                 by itself; requests a minute too, unless limits.shared"
            );
        }
        let files = if self.nameless { None } else { Some(Files::of(&path)) };
        let files = files.transpose().map_err(|error| {
            Error::io(format!("could not find the session store {}", path.display()), error)
        })?;
        let files = files.map(Arc::new);
        let writer = Writer::start(connection, self.busy_timeout, files.clone(), places)
            .map_err(|error| Error::io("could not start the session store's thread", error))?;
        let readers = Readers::new(path, files.clone());
        Ok(SqliteStore::new(readers, writer, file, files, self.busy_timeout))
    }

    /// Opens a copy of the file at `from`, made at `to`, where there must be nothing; an empty store
    /// if there is nothing at `from` either. Others may use that file meanwhile.
    ///
    /// On Unix the copy has no name from then on, so that it is gone with the store, however that
    /// ends. It is for [`adopt`](crate::session::Directory::adopt) only: point reads would look for it
    /// by its name.
    ///
    /// # Errors
    /// As [`open`](Self::open) of `from`, and if the copy can't be made.
    pub fn open_copy(&self, from: &Path, to: &Path) -> Result<SqliteStore, Error> {
        let absolute = std::path::absolute(from)
            .map_err(|error| Error::io(format!("could not find {}", from.display()), error))?;
        schema::check_usable(&absolute, self.busy_timeout)?;
        if absolute.exists() {
            schema::copy(&absolute, to, self.busy_timeout)?;
        }
        let store = Self { nameless: true, ..self.clone() }.open(to)?;
        if cfg!(unix) {
            schema::remove(to);
        }
        Ok(store)
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self::new()
    }
}
