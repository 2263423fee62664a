//! What every session store promises, as functions of any store: for whoever writes one.
//!
//! Each promise of [`SessionStore`] is a function here, and they are in parts as the contract is: a
//! store that leaves a [`Part`] as it is names those that it has. The promises of
//! [`Sessions`](super::Sessions) and [`Runs`](super::Runs) go by nothing but these two, and those of
//! another part by these and their own.
//!
//! [`store_contract_tests!`](crate::store_contract_tests) makes a test of each, and [`shared_store_contract_tests!`](crate::shared_store_contract_tests) of each
//! that is about several processes on the same data:
//!
//! ```
//! mod store {
//!     use std::sync::Arc;
//!
//!     use chatkit_rest::session::{MemoryStore, contract::Store};
//!
//!     /// Makes one that is new and empty.
//!     async fn open() -> Store {
//!         Arc::new(MemoryStore::new())
//!     }
//!
//!     chatkit_rest::store_contract_tests!(open);
//! }
//! ```
//!
//! What runs tests otherwise goes by [`PROMISES`] and [`SHARED_PROMISES`], or calls the functions:
//!
//! ```
//! # use std::sync::Arc;
//! use chatkit_rest::session::MemoryStore;
//! use chatkit_rest::session::contract::{PROMISES, Part, Store, single};
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 4)]
//! # async fn main() {
//! let store: Store = Arc::new(MemoryStore::new());
//! single::sessions::a_ping_is_answered(&store).await;
//!
//! for promise in PROMISES.iter().filter(|promise| promise.part == Part::Attachments) {
//!     let store: Store = Arc::new(MemoryStore::new());
//!     (promise.check)(&store).await;
//! }
//! # }
//! ```
//!
//! No function can show what happens to what was acknowledged when a process ends without a warning,
//! or that a store which can't be reached says so within a bounded time: these are yours to test.
//!
//! # Panics
//! Every promise panics if the store doesn't keep it. That is all that it tells, so it wants a
//! runtime of its own, as a test has: with more than one thread, or what is to happen at once happens in
//! turn.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a promise that isn't kept is a panic, as the module says"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::SessionStore;

mod checks;
pub mod shared;
pub mod single;
#[doc(hidden)]
pub mod support;
#[cfg(test)]
mod tests;

pub use shared::PROMISES as SHARED_PROMISES;
pub use single::PROMISES;

/// A store as the promises take it: they call it from many tasks at once.
pub type Store = Arc<dyn SessionStore>;

/// Two openings of the same data, as two processes have them. They may be in one process.
pub type Stores = [Store; 2];

/// The future of a promise's check. It panics if the promise isn't kept.
pub type Checked<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A promise of a store's, or of two openings of one.
#[non_exhaustive]
pub struct Promise<S = Store> {
    /// The part of the contract that it is of.
    pub part: Part,
    /// Its name, which says what is promised: that of the function.
    pub name: &'static str,
    /// Checks a store that is new and empty. It wants another one for each promise.
    pub check: for<'a> fn(&'a S) -> Checked<'a>,
}

impl<S> fmt::Debug for Promise<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, name, check: _ } = self;
        f.debug_struct("Promise").field("part", part).field("name", name).finish_non_exhaustive()
    }
}

/// A part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// [`Allowances`](super::Allowances).
    Allowances,
    /// [`AttachmentOwners`](super::AttachmentOwners), and, of a store that adopts, of attachments that
    /// were adopted.
    Attachments,
    /// [`ClientSessions`](super::ClientSessions).
    Clients,
    /// [`Directory`](super::Directory).
    Directory,
    /// [`Runs`](super::Runs).
    Runs,
    /// [`Sessions`](super::Sessions).
    Sessions,
}

/// Makes a table of promises, the modules that they are published in, and for each part a macro that
/// makes tests of them. One that isn't in a table is published nowhere, so the compiler tells of it.
macro_rules! promises {
    (
        ($d:tt)
        $(#[$table_doc:meta])*
        $table:ident: $home:ident, $stores:ty;
        $(
            $(#[$doc:meta])*
            $part:ident $variant:ident $tests:ident {
                $($file:ident: $($name:ident),+;)+
            }
        )+
    ) => {
        $(#[$table_doc])*
        pub static $table: &[Promise<$stores>] = &[$($($(
            Promise {
                part: Part::$variant,
                name: stringify!($name),
                check: |stores| Box::pin($part::$name(stores)),
            },
        )+)+)+];

        $(
            $(#[$doc])*
            pub mod $part {
                $(pub use crate::session::contract::checks::$file::{$($name),+};)+
            }

            #[doc(hidden)]
            #[macro_export]
            macro_rules! $tests {
                ($d open:expr) => {$($(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $name() {
                        let opened = ($d open)().await;
                        $crate::session::contract::$home::$part::$name(&opened).await;
                    }
                )+)+};
            }
        )+
    };
}
use promises;

/// Makes a test of each promise of a store.
///
/// It takes an async function, or a closure, that gives a new and empty [`Store`], or something that
/// derefs to one and takes with it what the store was kept in. After it come the parts that the store
/// has, if not all: `sessions`, `runs`, `attachments`, `clients`, `directory`, `allowances`. Each becomes a module.
///
/// The tests are [`tokio::test`]s, so tokio is to be a dependency, with `macros` and `rt-multi-thread`.
///
/// ```
/// # use chatkit_rest::session::{MemoryStore, contract::Store};
/// # async fn open() -> Store { std::sync::Arc::new(MemoryStore::new()) }
/// chatkit_rest::store_contract_tests!(open; sessions, runs, attachments);
/// ```
///
/// [`Store`]: crate::session::contract::Store
/// [`tokio::test`]: https://docs.rs/tokio/latest/tokio/attr.test.html
#[macro_export]
macro_rules! store_contract_tests {
    (@ sessions $open:expr) => { $crate::__store_contract_sessions! { $open } };
    (@ runs $open:expr) => { $crate::__store_contract_runs! { $open } };
    (@ attachments $open:expr) => { $crate::__store_contract_attachments! { $open } };
    (@ clients $open:expr) => { $crate::__store_contract_clients! { $open } };
    (@ directory $open:expr) => { $crate::__store_contract_directory! { $open } };
    (@ allowances $open:expr) => { $crate::__store_contract_allowances! { $open } };
    ($open:expr) => {
        $crate::store_contract_tests!(
            $open; sessions, runs, attachments, clients, directory, allowances
        );
    };
    ($open:expr; $($part:ident),+ $(,)?) => {$(
        mod $part {
            #[allow(unused_imports, reason = "what opens the store may be named by a whole path")]
            use super::*;

            $crate::store_contract_tests! { @ $part $open }
        }
    )+};
}

/// Makes a test of each promise of a store that several processes share.
///
/// As [`store_contract_tests!`], which is to be used too, but it takes what gives two openings of the
/// same new and empty data: [`Stores`], or something that derefs to them.
///
/// [`Stores`]: crate::session::contract::Stores
#[macro_export]
macro_rules! shared_store_contract_tests {
    (@ sessions $open:expr) => { $crate::__shared_store_contract_sessions! { $open } };
    (@ runs $open:expr) => { $crate::__shared_store_contract_runs! { $open } };
    (@ attachments $open:expr) => { $crate::__shared_store_contract_attachments! { $open } };
    (@ clients $open:expr) => { $crate::__shared_store_contract_clients! { $open } };
    (@ directory $open:expr) => { $crate::__shared_store_contract_directory! { $open } };
    (@ allowances $open:expr) => { $crate::__shared_store_contract_allowances! { $open } };
    ($open:expr) => {
        $crate::shared_store_contract_tests!(
            $open; sessions, runs, attachments, clients, directory, allowances
        );
    };
    ($open:expr; $($part:ident),+ $(,)?) => {$(
        mod $part {
            #[allow(unused_imports, reason = "what opens the stores may be named by a whole path")]
            use super::*;

            $crate::shared_store_contract_tests! { @ $part $open }
        }
    )+};
}
