//! The way to the upstream. (being written)

mod error;

pub use error::{ForwardError, ForwardErrorKind};
