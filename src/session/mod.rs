//! Who owns which conversation. (being written)

mod memory;
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub use memory::MemoryStore;
pub use record::{SessionId, SessionRecord, ThreadId};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{
    BeginRun, Bound, Created, Lease, NewSession, Owned, RunStart, SessionStore, Settlement,
    StoreFuture,
};
