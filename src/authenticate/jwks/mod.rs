//! Keys that an issuer publishes (RFC 7517), and that come and go.
//!
//! What a document says (`document`), which of its keys may verify what (`set`), and when it is time
//! to ask for it again (`schedule`) is decided without a clock or a socket of its own; `remote` asks,
//! and `fetch` is how, `http` the usual way.

mod document;
mod fetch;
#[cfg(feature = "forward")]
mod http;
mod remote;
mod schedule;
mod set;

pub use document::{InvalidKeySet, MAX_KEY_SET_BYTES, MAX_KEYS};
pub use fetch::{FetchError, FetchFuture, FetchKeys, FetchedKeys, fetch_key_set};
#[cfg(feature = "forward")]
pub use http::{HttpKeys, PlainHttp};
pub use remote::KeysUnavailable;
pub use set::{JwkSet, UnusedKey};

pub(super) use remote::{AtHand, FetchEnd, RemoteKeys, Unknown};
pub(super) use set::Match;
