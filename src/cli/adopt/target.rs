//! The store that things are adopted into.

use std::path::Path;
use std::time::Duration;

use chatkit_rest::config::{StoreSettings, StoreUrl};
use chatkit_rest::error::Error;
#[cfg(feature = "postgres")]
use chatkit_rest::session::PostgresStore;
use chatkit_rest::session::{Adopted, Adoption, Directory as _, SqliteOptions, SqliteStore};
use tokio::runtime::Runtime;

use super::Scratch;
use crate::cli::CommandFailure;

/// How long a transaction waits for others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A store that is open.
pub(super) enum Target {
    Sqlite {
        store: SqliteStore,
        /// The copy that it is, if nothing is to be written.
        _scratch: Option<Scratch>,
    },
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

/// Entries, and what became of the first ones.
pub(super) type Outcomes = (Vec<Adoption>, Vec<Adopted>);

impl Target {
    /// Opens a store, or a copy of it.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file needs none"))]
    pub(super) fn open(
        settings: &StoreSettings,
        runtime: &Runtime,
        dry_run: bool,
    ) -> Result<Self, CommandFailure> {
        let options = SqliteOptions::new().busy_timeout(BUSY_TIMEOUT).bulk(true);
        match &settings.config.url {
            StoreUrl::Sqlite(path) if dry_run => {
                let scratch = Scratch::new();
                let store = options.open_copy(path, &scratch.0)?;
                Ok(Self::Sqlite { store, _scratch: Some(scratch) })
            }
            StoreUrl::Sqlite(path) => {
                Ok(Self::Sqlite { store: options.open(path)?, _scratch: None })
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(_) => {
                let options = settings.config.postgres()?;
                Ok(Self::Postgres(runtime.block_on(PostgresStore::open(options))?))
            }
            _ => Err(Self::check(settings, dry_run).err().unwrap_or_else(no_store)),
        }
    }

    /// Refuses a store that nothing can be adopted into.
    pub(super) fn check(settings: &StoreSettings, dry_run: bool) -> Result<(), CommandFailure> {
        match &settings.config.url {
            StoreUrl::Sqlite(_) => Ok(()),
            StoreUrl::Postgres(_) if dry_run => Err(CommandFailure::Usage(
                "--dry-run works on a copy, which there is none of a database; expected sqlite:FILE, \
                 such as chatkit-rest store copy makes of it"
                    .into(),
            )),
            StoreUrl::Postgres(_) => Ok(()),
            _ => Err(no_store()),
        }
    }

    /// Gives the file, if the store is one.
    pub(super) fn file(settings: &StoreSettings) -> Option<&Path> {
        match &settings.config.url {
            StoreUrl::Sqlite(path) => Some(path),
            _ => None,
        }
    }

    /// Tells whether nobody else has it open; of a database nobody knows.
    pub(super) fn is_alone(&self) -> bool {
        match self {
            Self::Sqlite { store, .. } => store.is_alone(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
        }
    }

    /// Adopts all of them.
    pub(super) async fn adopt(&self, entries: Vec<Adoption>) -> Result<Vec<Adopted>, Error> {
        match self {
            Self::Sqlite { store, .. } => store.adopt(entries).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.adopt(entries).await,
        }
    }

    /// Adopts for so long at most, and for as long as nobody else comes.
    pub(super) async fn adopt_alone(
        &self,
        entries: Vec<Adoption>,
        at_most: Duration,
    ) -> Result<Outcomes, Error> {
        match self {
            Self::Sqlite { store, .. } => store.adopt_alone(entries, at_most).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => {
                let outcomes = store.adopt(entries.clone()).await?;
                Ok((entries, outcomes))
            }
        }
    }

    /// Makes what was adopted durable; in a database it is.
    pub(super) fn sync(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite { store, .. } => store.sync(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Ends what the store does beside.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(clippy::unused_async, reason = "a file does nothing")
    )]
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { .. } => {}
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.close().await,
        }
    }

    /// Moves what is in the log of a file to it: whether that could be done.
    pub(super) fn fold_log(&self, patience: Duration) -> Result<bool, Error> {
        match self {
            Self::Sqlite { store, .. } => store.fold_log(patience),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Ok(true),
        }
    }

    /// Gives the size of that log, in bytes.
    pub(super) fn log_bytes(&self) -> u64 {
        match self {
            Self::Sqlite { store, .. } => store.log_bytes(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => 0,
        }
    }
}

fn no_store() -> CommandFailure {
    CommandFailure::Usage(
        "store.url is memory:, which no gateway would find again; expected sqlite:FILE or \
         postgres://…"
            .into(),
    )
}
