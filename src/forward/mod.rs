//! The way to the upstream. (being written)

mod error;
mod headers;

pub(crate) use headers::remove_hop_by_hop;
pub use headers::IdentityHeaders;
pub use error::{ForwardError, ForwardErrorKind};
