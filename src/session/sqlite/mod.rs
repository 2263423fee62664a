//! Sessions in one SQLite file.
//!
//! - `store`: [`SqliteStore`], and the ways that a call can travel: point reads on the caller's thread,
//!   lists on one that may block, everything else through the writer. `options`: how it is opened.
//! - `sessions`, `runs`, `attachments`, `clients`, `directory`, `allowances`: the parts of the contract, which way
//!   each of their calls takes, and their statements. `begin`: how a run begins, which takes either way.
//! - `schema`: the file: whether it is ours, how it is opened, copied and removed. `migrations`: its
//!   tables, and those of the versions before.
//! - `files`: whether what is at its path is what was opened.
//! - `rows`, `quarantine`, `adoption`, `lists`: the statements about sessions. `blocks`: those about users.
//! - `alone`: whether other processes have it open.
//! - `readers`: connections for point reads and lists.
//! - `writer`: the thread with the one connection that writes, and the queue before it.
//! - `tally`: what is known of a session beyond its row: runs in flight, and what runs that
//!   ended have left to be written.
//! - `places`: what processes tell one another of that, by `locks` on bytes of a file.
//! - `transfer`: what is read and written when a store is copied.
//! - `watch`: the thread that looks for other processes.
//!
//! Order rests on two rules. The writer takes the whole queue *and* everything that has been
//! settled in one step, and writes the settled first: a call made after
//! [`settle`](super::Runs::settle) is never executed before it. And reads ask the tally
//! *before* they read the row: what the tally no longer has is in the row by then.

mod adoption;
mod allowances;
mod alone;
mod attachments;
mod begin;
mod blocks;
mod clients;
mod directory;
mod files;
mod lists;
mod locks;
mod migrations;
mod options;
mod places;
mod quarantine;
mod readers;
mod rows;
mod runs;
mod schema;
mod sessions;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod transfer;
mod watch;
mod writer;

pub use options::SqliteOptions;
pub use store::SqliteStore;
pub(in crate::session) use transfer::SqliteEnd;
