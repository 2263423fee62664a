//! The way to the upstream. (being written)

mod error;

#[cfg(feature = "embedded")]
pub mod embedded;

pub use error::{ForwardError, ForwardErrorKind};
