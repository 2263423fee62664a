//! Sessions in PostgreSQL, for several gateways.
//!
//! - [`sql`](schema): the tables, and a function for each call that decides something. A call is one
//!   statement, so it is one round trip and one transaction, and done when it is answered. Migrations are
//!   numbered and never change once they are released. A function's name ends in a number: one that does
//!   something else, or takes other parameters, gets the next and stays beside the old one for a release,
//!   because in a rolling upgrade gateways that call the old one go on beside those that migrated.
//! - [`connection`]: connections, each with what is prepared in it.
//! - [`link`]: the flights that calls make on them, and what a call may take of time.
//! - [`ledger`]: what this opening of the store knows of its own runs. What they leave is applied in
//!   memory at once, and written a moment later by [`background`], or along with a call that is to see it.
//! - [`transfer`]: what is read and written when a store is copied.
//! - The rest is the store's contract, a file for each part.
//!
//! A run counts while its gateway is alive: one that has runs says so every five seconds, and is gone when
//! nothing was heard of it for twenty. If the database was away for longer, its runs count again from its
//! next beat on, unless somebody has buried them, ten minutes after. What is exact then: a lease that was
//! taken over meanwhile is lost, and a run that is settled late is counted once. What isn't: in between,
//! others may have begun as many runs more as were not counted.

mod adoption;
mod allowances;
mod attachments;
mod background;
mod clients;
mod clock;
mod connection;
mod directory;
mod failure;
mod grants;
mod ledger;
mod link;
mod options;
mod pending;
mod presence;
mod rows;
mod runs;
mod schema;
mod sessions;
mod statements;
mod store;
mod tasks;
mod tls;
#[cfg(feature = "sqlite")]
mod transfer;

pub use options::PostgresOptions;
pub use schema::Migrated;
pub use store::PostgresStore;
#[cfg(feature = "sqlite")]
pub(in crate::session) use transfer::PostgresEnd;
