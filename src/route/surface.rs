//! [`SurfaceLayer`].

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::surface::Surfaces;

/// Says which [`Surface`](crate::surface::Surface) a request came to, for whoever refuses it further in.
///
/// It is known before the request is routed, because a refusal may come earlier than that.
#[derive(Clone, Debug)]
pub struct SurfaceLayer {
    surfaces: Arc<Surfaces>,
}

impl SurfaceLayer {
    /// Tells surfaces apart by these paths.
    pub fn new(surfaces: Surfaces) -> Self {
        Self { surfaces: Arc::new(surfaces) }
    }
}

impl<S> Layer<S> for SurfaceLayer {
    type Service = SurfaceService<S>;

    fn layer(&self, inner: S) -> SurfaceService<S> {
        SurfaceService { surfaces: Arc::clone(&self.surfaces), inner }
    }
}

/// The service of [`SurfaceLayer`].
#[derive(Clone, Debug)]
pub struct SurfaceService<S> {
    surfaces: Arc<Surfaces>,
    inner: S,
}

impl<S, B> Service<Request<B>> for SurfaceService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let surface = self.surfaces.of_path(request.uri().path());
        self.surfaces.mark(surface, request.extensions_mut());
        self.inner.call(request)
    }
}
