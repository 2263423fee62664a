//! Who owns which conversation. (being written)

mod record;
mod store;

pub use record::{SessionId, SessionRecord, ThreadId};
pub use store::{
    BeginRun, Bound, Created, Lease, NewSession, Owned, RunStart, SessionStore, Settlement,
    StoreFuture,
};
