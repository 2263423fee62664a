use std::sync::Arc;

use tower_layer::Layer;

use super::service::{NotFound, Route};
use super::table::Router;

/// Puts the router in front of a service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct RouteLayer<O, F = NotFound> {
    router: Arc<Router<O>>,
    fallback: F,
    tells: bool,
}

impl<O> RouteLayer<O> {
    /// Answers paths that are no operation of ours with 404.
    pub fn new(router: Router<O>) -> Self {
        Self { router: Arc::new(router), fallback: NotFound, tells: true }
    }

    /// The same without a [`Matched`](super::Matched) in the requests' extensions, for the gateway's own
    /// rooms: they go by the body's type, and a request is not to pay for what nobody reads.
    #[cfg(feature = "operation")]
    pub(crate) fn of_rooms(router: Router<O>) -> Self {
        Self { tells: false, ..Self::new(router) }
    }
}

impl<O, F> RouteLayer<O, F> {
    /// Sends paths that are no operation of ours to `fallback`, unchanged and unchecked: whatever
    /// the client says of itself is still in there. It must not be the upstream.
    pub fn with_fallback<G>(self, fallback: G) -> RouteLayer<O, G> {
        RouteLayer { router: self.router, fallback, tells: self.tells }
    }
}

impl<O, S, F: Clone> Layer<S> for RouteLayer<O, F> {
    type Service = Route<O, S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Route::new(Arc::clone(&self.router), inner, self.fallback.clone(), self.tells)
    }
}
