#[cfg(feature = "server")]
use std::sync::Arc;
#[cfg(feature = "server")]
use std::sync::atomic::{AtomicBool, Ordering};

use tower_layer::Layer;

use super::service::{Trace, User};

/// Whether the server has come to its end, and cuts what is still open: then it isn't the client who
/// has left.
#[cfg(feature = "server")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

#[cfg(feature = "server")]
impl Ending {
    /// Notes that from here on everything is cut.
    pub(crate) fn begins(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives the [`TraceLayer`] of the server whose end this is.
    pub(crate) fn trace(&self) -> ServerTraceLayer {
        ServerTraceLayer(self.clone())
    }
}

/// A [`TraceLayer`] that knows when its server ends.
#[cfg(feature = "server")]
#[derive(Clone, Debug)]
pub(crate) struct ServerTraceLayer(Ending);

#[cfg(feature = "server")]
impl<S> Layer<S> for ServerTraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace::of_server(inner, self.0.clone())
    }
}

/// Gives requests their ids and logs them. See the [module's documentation](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer;

impl TraceLayer {
    /// Makes the layer.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace::new(inner)
    }
}

/// Tells the log who is calling. Goes right behind whatever verifies that.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserLayer;

impl<S> Layer<S> for UserLayer {
    type Service = User<S>;

    fn layer(&self, inner: S) -> Self::Service {
        User::new(inner)
    }
}
