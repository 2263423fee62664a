//! The promises themselves. What is not in the table of `contract` is dead code.

pub(super) mod adoption;
pub(super) mod allowances;
pub(super) mod attachments;
pub(super) mod beginning;
pub(super) mod blocks;
pub(super) mod clients;
pub(super) mod conversations;
pub(super) mod counts;
pub(super) mod created_runs;
pub(super) mod deletions;
pub(super) mod first_runs;
pub(super) mod lists;
pub(super) mod quarantine;
pub(super) mod sessions;
pub(super) mod shared;
pub(super) mod threads;
pub(super) mod uncounted;
