//! [`OptionalAuthenticateLayer`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::challenge::Unauthenticated;
use super::service::hide_credentials;
use super::{Authenticate, AuthenticateLayer, ResponseFuture};
use crate::principal::{Authenticated, Principal};
use crate::rejection::RefusedOr;

/// Lets verified callers through to the services it wraps, and those who say nothing of who they
/// are.
///
/// Made by [`AuthenticateLayer::optional`].
#[derive(Clone, Debug)]
pub struct OptionalAuthenticateLayer(AuthenticateLayer);

impl OptionalAuthenticateLayer {
    pub(super) fn new(layer: AuthenticateLayer) -> Self {
        Self(layer)
    }
}

impl<S> Layer<S> for OptionalAuthenticateLayer {
    type Service = OptionalAuthenticate<S>;

    fn layer(&self, inner: S) -> OptionalAuthenticate<S> {
        OptionalAuthenticate { authenticate: self.0.layer(Unproved { inner }) }
    }
}

/// Verifies a request's token, if it has one, and hands the request on or answers it with 401.
///
/// Made by [`AuthenticateLayer::optional`].
#[derive(Clone, Debug)]
pub struct OptionalAuthenticate<S> {
    authenticate: Authenticate<Unproved<S>>,
}

impl<S, B, R> Service<Request<B>> for OptionalAuthenticate<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = OptionalFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.authenticate.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        hide_credentials(request.headers_mut());
        let future = match self.authenticate.identify(&request) {
            Err(Unauthenticated::NoToken) => {
                // Whatever was there before was not verified.
                request.extensions_mut().remove::<Principal>();
                ResponseFuture::inner(self.authenticate.inner.inner.call(request))
            }
            identified => self.authenticate.answer(identified, request),
        };
        OptionalFuture { future }
    }
}

/// A service that is told who is calling by the request's extensions alone, because there is no
/// proof for those who are nobody.
#[derive(Clone, Debug)]
struct Unproved<S> {
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<Authenticated<B>>> for Unproved<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Authenticated<B>>) -> S::Future {
        self.inner.call(request.map(|body| body.into_parts().1))
    }
}

pin_project! {
    /// The inner service's response, or the refusal.
    pub struct OptionalFuture<S: Service<Request<B>>, B> {
        #[pin]
        future: ResponseFuture<Unproved<S>, B>,
    }
}

impl<S, B, R> Future for OptionalFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<RefusedOr<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx)
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for OptionalFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionalFuture").finish_non_exhaustive()
    }
}
