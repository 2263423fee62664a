//! REST for a host application that verifies its callers itself.
//!
//! Needs the feature `operation`.
//!
//! [`ChatKitRestLayer`] is the whole way from [`route`](crate::route) inwards, around a service that
//! speaks ChatKit; `examples/axum_app.rs` shows it.
//!
//! What this room does not do: it looks at no token. The host puts in who is calling.

mod layer;
mod limits;
mod theirs;

pub use layer::{ChatKitRest, ChatKitRestLayer, Rooms};
pub use limits::HostLimits;
pub use theirs::{FallbackFuture, HostFuture, RequirePrincipal, Theirs};
