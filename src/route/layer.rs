use std::sync::Arc;

use tower_layer::Layer;

use super::service::{NotFound, Route};
use super::table::Router;

/// Puts the router in front of a service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct RouteLayer<O, F = NotFound> {
    router: Arc<Router<O>>,
    fallback: F,
}

impl<O> RouteLayer<O> {
    /// Answers paths that are no operation of ours with 404.
    pub fn new(router: Router<O>) -> Self {
        Self { router: Arc::new(router), fallback: NotFound }
    }
}

impl<O, F> RouteLayer<O, F> {
    /// Gives the layer that answers `OPTIONS` by the same router.
    #[cfg(feature = "server")]
    pub(crate) fn options(&self) -> super::OptionsLayer<O> {
        super::OptionsLayer::new(Arc::clone(&self.router))
    }

    /// Sends paths that are no operation of ours to `fallback`, unchanged and unchecked: whatever
    /// the client says of itself is still in there. It must not be the upstream.
    pub fn with_fallback<G>(self, fallback: G) -> RouteLayer<O, G> {
        RouteLayer { router: self.router, fallback }
    }
}

impl<O, S, F: Clone> Layer<S> for RouteLayer<O, F> {
    type Service = Route<O, S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Route::new(Arc::clone(&self.router), inner, self.fallback.clone())
    }
}
