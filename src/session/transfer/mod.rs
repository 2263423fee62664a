//! Everything that one store has, in another.
//!
//! - `table`: what a store has, in a form that is the same whichever store it is, and the sum of it.
//! - `merge`: two stores side by side, in the order of their keys.
//!
//! How rows are read and written is the stores' own: `sqlite::transfer`, `postgres::transfer`.

use std::fmt;
use std::path::PathBuf;

use self::merge::Merge;
use self::table::{Row, Sum, TABLES, Table};
#[cfg(feature = "postgres")]
use super::postgres::{PostgresEnd, PostgresOptions};
use super::sqlite::SqliteEnd;
use crate::error::Error;

mod merge;
pub(in crate::session) mod table;

/// How many rows are in memory of each store at once, and are written in one transaction.
pub(in crate::session) const BATCH: usize = 500;

/// A store that is copied from or to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CopyEnd {
    /// An SQLite file; one to copy to is made if it is not there.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database; one to copy to is made if it is not there.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresOptions>),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// What is done.
    pub step: CopyStep,
    /// Which table's turn it is.
    pub table: &'static str,
    /// How many of its rows are done.
    pub rows: u64,
    /// How many it has.
    pub of: u64,
}

/// What a copy does; each step goes over all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyStep {
    /// Looks whether what is there already is the same.
    Comparing,
    /// Writes what is not there yet.
    Copying,
    /// Reads both stores again.
    Verifying,
}

impl fmt::Display for CopyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comparing => "comparing",
            Self::Copying => "copying",
            Self::Verifying => "verifying",
        })
    }
}

/// What [`copy_store`] did with one table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// The rows that both stores have.
    pub rows: u64,
    /// Those of them that were not there yet.
    pub written: u64,
    /// The SHA-256 of all of them, in the order of their keys; the same for the same rows, whichever
    /// store they are in.
    pub sha256: [u8; 32],
}

/// Copies everything that `from` has to `to`: sessions with their counts, attachments, client
/// sessions, the signing key, the number of the last conversation, what is known of deleted threads, and
/// the quarantine and the blocked users. Not runs in flight, which is why no gateway may have either store open.
///
/// Rows go over in batches, each in one transaction, in the order of their keys. A copy that was
/// stopped goes on when it is made again. At the end both stores are read again, and every table's
/// count and hash is compared. An SQLite file blocks the thread while it is read or written.
///
/// # Errors
/// If another process has an SQLite file of the two open; if `from` is not of this version; if `to` has what `from`
/// has not: then nothing is written; and if either fails.
pub async fn copy_store(
    from: CopyEnd,
    to: CopyEnd,
    mut progress: impl FnMut(CopyProgress),
) -> Result<Vec<CopiedTable>, Error> {
    let mut from = End::source(from).await?;
    let mut to = End::target(to).await?;
    check_alone(&from, &to).await?;
    let mut is_empty = true;
    for table in TABLES.iter().filter(|table| !table.is_single) {
        is_empty &= to.count(table).await? == 0;
    }
    let mut steps = vec![CopyStep::Copying];
    if !is_empty {
        steps.insert(0, CopyStep::Comparing);
    }
    let mut copied = Vec::new();
    for step in steps {
        copied.clear();
        for table in TABLES {
            let of = from.count(table).await?;
            let merge = Merge::new(table, is_empty, step == CopyStep::Copying);
            let tell = |rows| progress(CopyProgress { step, table: table.name, rows, of });
            copied.push((table, merge.run(&mut from, &mut to, tell).await?));
        }
    }
    to.finish().await?;
    let mut done = Vec::new();
    for (table, written) in copied {
        let of = from.count(table).await?;
        let mut tell = |rows| {
            let step = CopyStep::Verifying;
            progress(CopyProgress { step, table: table.name, rows, of });
        };
        let (rows, sha256) = from.sum(table, &mut tell).await?;
        // A store without a key has given nothing away by one: any will do.
        let needs_none = table.is_single && rows == 0;
        if !needs_none && to.sum(table, &mut tell).await? != (rows, sha256) {
            return Err(refused(format!("{} is not the same in both stores", table.name)));
        }
        done.push(CopiedTable { name: table.name, rows, written, sha256 });
    }
    check_alone(&from, &to).await?;
    Ok(done)
}

fn refused(why: String) -> Error {
    Error::store("could not copy the session store", why)
}

/// Fails if another process has a store open: what it does meanwhile would be lost, or stay.
async fn check_alone(from: &End, to: &End) -> Result<(), Error> {
    for (end, what) in [(from, "from"), (to, "to")] {
        if end.is_shared().await? {
            let why = format!(
                "another process has the store to copy {what} open: stop its gateways first"
            );
            return Err(refused(why));
        }
    }
    Ok(())
}

/// A store that is open for a copy.
enum End {
    Sqlite(SqliteEnd),
    #[cfg(feature = "postgres")]
    Postgres(PostgresEnd),
}

impl End {
    async fn source(end: CopyEnd) -> Result<Self, Error> {
        match end {
            CopyEnd::Sqlite(path) => SqliteEnd::source(&path).map(Self::Sqlite),
            #[cfg(feature = "postgres")]
            CopyEnd::Postgres(options) => PostgresEnd::source(&options).await.map(Self::Postgres),
        }
    }

    async fn target(end: CopyEnd) -> Result<Self, Error> {
        match end {
            CopyEnd::Sqlite(path) => SqliteEnd::target(&path).map(Self::Sqlite),
            #[cfg(feature = "postgres")]
            CopyEnd::Postgres(options) => PostgresEnd::target(&options).await.map(Self::Postgres),
        }
    }

    async fn is_shared(&self) -> Result<bool, Error> {
        match self {
            Self::Sqlite(end) => Ok(end.is_shared()),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.is_shared().await,
        }
    }

    async fn count(&mut self, table: &Table) -> Result<u64, Error> {
        match self {
            Self::Sqlite(end) => end.count(table),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.count(table).await,
        }
    }

    /// Begins to read a table: as it was when the store was opened to copy from it, or as it is now.
    async fn start(&mut self, table: &'static Table) -> Result<(), Error> {
        match self {
            Self::Sqlite(end) => end.start(table),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.start(table).await,
        }
    }

    /// Gives the next rows in the order of their keys, [`BATCH`] at most; none if that was all.
    async fn more(&mut self) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(end) => end.more(),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.more().await,
        }
    }

    /// Adds all rows or none; that of a table with one is put in its place.
    async fn write(&mut self, table: &Table, rows: &[Row]) -> Result<(), Error> {
        match self {
            Self::Sqlite(end) => end.write(table, rows),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.write(table, rows).await,
        }
    }

    /// Makes all that was written durable.
    async fn finish(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(end) => end.finish(),
            #[cfg(feature = "postgres")]
            Self::Postgres(end) => end.finish().await,
        }
    }

    async fn sum(
        &mut self,
        table: &'static Table,
        tell: &mut impl FnMut(u64),
    ) -> Result<(u64, [u8; 32]), Error> {
        let mut sum = Sum::new();
        let mut rows = 0;
        self.start(table).await?;
        loop {
            let batch = self.more().await?;
            if batch.is_empty() {
                return Ok(sum.finish());
            }
            for row in &batch {
                sum.add(row);
            }
            rows += u64::try_from(batch.len()).unwrap_or(u64::MAX);
            tell(rows);
        }
    }
}
