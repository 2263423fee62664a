//! One contract, every store.
//!
//! `chatkit_rest::session::contract` has a function for each promise of `SessionStore`; here each becomes
//! a test of each store. What only the SQLite store promises is in `sqlite`, what happens to it when its
//! process is killed in `killed`, what when others come while much is written in `alone`, what becomes of it
//! in another store in `copies`, and what is
//! limited across processes in `shared`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod alone;
mod copies;
mod filling;
mod killed;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared;
mod sqlite;
mod support;

mod memory_store {
    use std::sync::Arc;

    use chatkit_rest::session::MemoryStore;
    use chatkit_rest::session::contract::Store;

    fn open() -> std::future::Ready<Store> {
        std::future::ready(Arc::new(MemoryStore::new()))
    }

    chatkit_rest::store_contract_tests!(open);
}

mod sqlite_store {
    use chatkit_rest::session::contract::Store;

    use crate::support::Opened;

    fn open() -> std::future::Ready<Opened<Store>> {
        std::future::ready(Opened::one())
    }

    chatkit_rest::store_contract_tests!(open);
}

/// Two openings of one file, where it has the locks that processes tell one another their runs by.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod sqlite_stores {
    use chatkit_rest::session::contract::Stores;

    use crate::support::Opened;

    fn open() -> std::future::Ready<Opened<Stores>> {
        std::future::ready(Opened::two())
    }

    chatkit_rest::shared_store_contract_tests!(open);
}
