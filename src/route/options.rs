//! [`OptionsLayer`].

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::table::{Routable, Router};
use crate::rejection::{RefusalStyle, Rejection, made_of};

/// Answers `OPTIONS` as the router does, with 405 and `Allow` or 404, whoever asks: which methods a
/// path has is no secret, and who wants to know may have no token yet. All else passes.
#[derive(Clone, Debug)]
pub(crate) struct OptionsLayer<O> {
    router: Arc<Router<O>>,
}

impl<O> OptionsLayer<O> {
    pub(super) fn new(router: Arc<Router<O>>) -> Self {
        Self { router }
    }
}

impl<O, S> Layer<S> for OptionsLayer<O> {
    type Service = Options<O, S>;

    fn layer(&self, inner: S) -> Options<O, S> {
        Options { router: Arc::clone(&self.router), inner }
    }
}

/// The service of [`OptionsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Options<O, S> {
    router: Arc<Router<O>>,
    inner: S,
}

impl<O, S, B, R> Service<Request<B>> for Options<O, S>
where
    O: Routable,
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = OptionsFuture<S::Future, Response<R>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() == Method::OPTIONS
            && let Err(miss) = self.router.route(request.method(), request.uri().path())
        {
            let refusal = Rejection::from(miss).into_response(&RefusalStyle::of(&request));
            return OptionsFuture::Refused { refusal: ready(Ok(made_of(refusal))) };
        }
        OptionsFuture::Passing { future: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`Options`].
    #[project = OptionsFutureProjection]
    pub(crate) enum OptionsFuture<F, T, E> {
        Refused { #[pin] refusal: Ready<Result<T, E>> },
        Passing { #[pin] future: F },
    }
}

impl<F, T, E> Future for OptionsFuture<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            OptionsFutureProjection::Refused { refusal } => refusal.poll(cx),
            OptionsFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}
