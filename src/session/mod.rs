//! Who owns which conversation, and how much of it they may have.
//!
//! Every session, thread and attachment that a request names is looked up in the
//! [`SessionStore`] before anything is forwarded; what comes out is an [`Admitted`], in which
//! only the caller's own things are left. It holds in front of an upstream that knows no users.
//!
//! A run gets a [`RunClaim`]: its place among the session's messages, and, for a session's
//! first message, the right to bind the thread that it makes. The claim settles itself when it
//! is dropped, so a run that fails, is cut or is cancelled leaves a session that can go on.
//!
//! Two stores come with the crate: [`MemoryStore`] for tests and embedding, and `SqliteStore`
//! (feature `sqlite`). The contract for others is [`SessionStore`]'s documentation; an example
//! is `examples/own_store.rs`.
//!
//! What this room does not do: it keeps no conversation content and never asks the upstream.

mod admitted;
mod claim;
mod layer;
mod memory;
mod owners;
mod record;
mod rules;
mod service;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;

pub(crate) use admitted::store_down;
pub use admitted::{Action, Admitted, Attachments, Effect, OwnedSession};
pub use claim::{BindError, RunClaim};
pub use layer::SessionLayer;
pub use memory::MemoryStore;
pub use record::{SessionId, SessionRecord, ThreadId};
pub use rules::SessionLimits;
pub use service::Session;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{
    BeginRun, Bound, Created, Lease, NewSession, Owned, RunStart, SessionStore, Settlement,
    StoreFuture,
};
