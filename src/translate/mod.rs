//! REST ⇄ ChatKit.
//!
//! An [`Admitted`](crate::session::Admitted) request becomes the ChatKit requests that carry it
//! out, and their answers become its reply. The service inside is anything that speaks ChatKit:
//! `forward`'s HTTP upstream, the embedded one, or a host application's own.
//!
//! A run's status is decided before it is sent (see [`stream`](crate::stream)); what was a
//! missing thread is told from a crash on the failure path only, because a ChatKit server
//! answers both alike. Creating a session or a thread asks the upstream nothing.
//!
//! [`ChatKitRestLayer`] is the whole way from *route* to here for a host application that
//! verifies its callers itself; `examples/axum_app.rs` shows it.

mod body;
mod bundle;
mod envelope;
mod layer;
mod messages;
mod observer;
mod passthrough;
mod reply;
mod runs;
mod service;
mod sessions;
mod threads;
mod time;
mod upstream;

pub use body::ReplyBody;
pub use bundle::{
    ChatKitRest, ChatKitRestLayer, HostBody, Ours, RequirePrincipal, RequirePrincipalFuture, Rooms,
    Theirs,
};
pub use layer::{TranslateLayer, TranslateSettings};
pub use observer::SessionObserver;
pub use service::Translate;
