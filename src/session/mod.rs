//! Who owns which conversation, and how much of it they may have.
//!
//! Needs the feature `session`; the `Desk` and what it gives out are with `operation`.
//!
//! Every session, thread and attachment that a request names is looked up in the
//! [`SessionStore`] before anything is forwarded: at a `Desk`, which gives out only what is the
//! caller's. It holds in front of an upstream that knows no users.
//!
//! A run gets a `RunClaim`: its place among the session's messages, and, for a session's
//! first message, the right to bind the thread that it makes. The claim settles itself when it
//! is dropped, so a run that fails, is cut or is cancelled leaves a session that can go on.
//!
//! Three stores come with the crate: [`MemoryStore`] for tests and embedding, `SqliteStore` (feature
//! `sqlite`), and `PostgresStore` for several machines (feature `postgres`). The contract for others is [`SessionStore`]'s documentation, and its promises are
//! tests of any store (feature `store-contract`); an example is `examples/own_store.rs`.
//!
//! A service that holds a key is no user. It is admitted to the OpenAI-compatible API, where it
//! sees every user's threads and makes [`ClientSession`]s for users, and to nothing else.
//!
//! A thread whose id the upstream gave to two users is in quarantine from the moment in which that
//! is found: the store finds it when it is to bind the second, and everybody who asks for the first
//! from then on gets neither a [`SessionRecord`] nor an [`Ownership`] of it, and so nothing that could
//! be done to it.
//!
//! A user can be [shut out](Directory::block) before the token expires: whatever is asked for is
//! refused then, by every gateway on the store.
//!
//! What this room does not do: it keeps no conversation content and never asks the upstream.

#[cfg(feature = "operation")]
mod admitted;
mod adoption;
mod blocks;
#[cfg(feature = "operation")]
mod claim;
mod client_session;
#[cfg(feature = "store-contract")]
pub mod contract;
#[cfg(feature = "operation")]
mod cursors;
#[cfg(feature = "operation")]
mod desk;
#[cfg(feature = "operation")]
mod grant;
#[cfg(feature = "operation")]
mod items;
mod memory;
#[cfg(feature = "operation")]
mod needs;
mod pages;
#[cfg(feature = "postgres")]
mod postgres;
mod quarantine;
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
#[cfg(feature = "sqlite")]
mod transfer;

#[cfg(feature = "operation")]
pub(crate) use admitted::store_down;
#[cfg(feature = "operation")]
pub use admitted::{
    Attachments, Conversation, ItemBounds, ItemCursor, OwnThreads, OwnedSession, SessionPage,
    ThreadDirectory,
};
pub use adoption::{Adopted, AdoptedThread, Adoption, AdoptionConflict, KnownBy};
pub use blocks::{
    BLOCK_SEEN_WITHIN, Blocked, BlockedUser, BlockedUsers, BlocksVersion, MAX_BLOCK_REASON_CHARS,
    MAX_BLOCKED_USERS,
};
#[cfg(feature = "operation")]
pub use claim::{BindError, RunClaim};
#[cfg(feature = "operation")]
pub(crate) use client_session::NewClientSession;
pub use client_session::{
    ClientSecret, ClientSession, ClientSessionStatus, SecretSigner, SignedSession,
};
#[cfg(feature = "operation")]
pub use desk::{ChatSettings, Desk, SessionLimits, UnknownAttachments};
#[cfg(feature = "operation")]
pub(crate) use desk::{ConversationName, Order, ThreadPath};
#[cfg(feature = "operation")]
pub(crate) use grant::Granted;
#[cfg(feature = "operation")]
pub use grant::OwnedThread;
#[cfg(feature = "operation")]
pub use items::ItemCursors;
#[cfg(feature = "operation")]
pub(crate) use items::ItemsFrom;
pub use memory::MemoryStore;
#[cfg(feature = "operation")]
pub(crate) use needs::Needs;
pub use pages::{
    PlacedSession, SessionPlace, SessionSummary, SessionsPage, ThreadPlace, ThreadsPage,
};
#[cfg(feature = "postgres")]
pub use postgres::{Migrated, PostgresOptions, PostgresStore};
pub use quarantine::{Found, Newcomer, QuarantinedThread, Released, Reuse};
pub use record::{
    ConversationId, ConversationIds, MessageCount, Ownership, SessionId, SessionRecord, ThreadId,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{
    AttachmentOwners, BeginRun, Bound, ClientSessionCreated, ClientSessions, Created, Deletion,
    Directory, NewConversation, NewSession, OnThread, Owned, RunId, RunStart, Runs, SessionKey,
    SessionStore, Sessions, Settlement, StoreFuture, Uncounted,
};
#[cfg(feature = "sqlite")]
pub use transfer::{CopiedTable, CopyEnd, CopyProgress, CopyStep, copy_store};

#[doc(no_inline)]
pub use crate::allowance::Allowances;
