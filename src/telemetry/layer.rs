use tower_layer::Layer;

use super::service::{Trace, User};

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
