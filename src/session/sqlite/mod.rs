//! Sessions in one SQLite file.
//!
//! - `store`: [`SqliteStore`] and how each call travels: point reads on the caller's thread, lists on
//!   one that may block, everything else through the writer.
//! - `begin`: how a run begins, which takes either way.
//! - `schema`: the file: whether it is ours, its version, its tables.
//! - `files`: whether what is at its path is what was opened.
//! - `rows`: the statements.
//! - `alone`: whether other processes have it open.
//! - `lists`: the statements of lists.
//! - `readers`: connections for point reads and lists.
//! - `writer`: the thread with the one connection that writes, and the queue before it.
//! - `tally`: what is known of a session beyond its row: runs in flight, and what runs that
//!   ended have left to be written.
//! - `places`: what processes tell one another of that, by `locks` on bytes of a file.
//! - `watch`: the thread that looks for other processes.
//!
//! Order rests on two rules. The writer takes the whole queue *and* everything that has been
//! settled in one step, and writes the settled first: a call made after
//! [`settle`](super::SessionStore::settle) is never executed before it. And reads ask the tally
//! *before* they read the row: what the tally no longer has is in the row by then.

mod alone;
mod begin;
mod clients;
mod files;
mod lists;
mod locks;
mod places;
mod quarantine;
mod readers;
mod rows;
mod schema;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use store::{SqliteOptions, SqliteStore};
