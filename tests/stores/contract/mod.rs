//! The promises of a session store, as functions of any store.

pub(crate) mod adoption;
pub(crate) mod clients;
pub(crate) mod conversations;
pub(crate) mod quarantine;
pub(crate) mod runs;
pub(crate) mod sessions;
