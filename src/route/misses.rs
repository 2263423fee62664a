//! [`MissLayer`].

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::signpost::Signposts;
use super::table::{Miss, Routable, Router};
use crate::rejection::{RefusalStyle, Rejection, made_of};

/// Answers what no token would make anything else, whoever asks: a path that is no operation's, and
/// `OPTIONS`. All else passes.
///
/// Which paths there are, and with which methods, is no secret: the document has them. Who has the
/// wrong base URL is told so, and not that their token is none.
#[derive(Clone, Debug)]
pub(crate) struct MissLayer<O> {
    router: Arc<Router<O>>,
    signposts: Arc<Signposts>,
}

impl<O> MissLayer<O> {
    pub(super) fn new(router: Arc<Router<O>>, signposts: Signposts) -> Self {
        Self { router, signposts: Arc::new(signposts) }
    }
}

impl<O, S> Layer<S> for MissLayer<O> {
    type Service = Misses<O, S>;

    fn layer(&self, inner: S) -> Misses<O, S> {
        let (router, signposts) = (Arc::clone(&self.router), Arc::clone(&self.signposts));
        Misses { router, signposts, inner }
    }
}

/// The service of [`MissLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Misses<O, S> {
    router: Arc<Router<O>>,
    signposts: Arc<Signposts>,
    inner: S,
}

impl<O: Routable, S> Misses<O, S> {
    /// Gives what a request misses, if anything.
    fn miss<B>(&self, request: &Request<B>) -> Option<Miss> {
        let path = request.uri().path();
        if request.method() == Method::OPTIONS {
            return self.router.route(request.method(), path).err();
        }
        (!self.router.has(path)).then_some(Miss::Path)
    }

    /// Says so, and where the nearest that is there would be.
    #[cold]
    fn refuse<B>(&self, miss: Miss, request: &Request<B>) -> Response<http_body_util::Full<Bytes>> {
        let style = RefusalStyle::of(request);
        if let Miss::Method(_) = miss {
            return Rejection::from(miss).into_response(&style);
        }
        let path = request.uri().path();
        let message = self.signposts.message(path, |path| self.router.has(path));
        let style = style.on(self.signposts.surface(path));
        Rejection::from(miss).message(message).into_response(&style)
    }
}

impl<O, S, B, R> Service<Request<B>> for Misses<O, S>
where
    O: Routable,
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = MissFuture<S::Future, Response<R>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.miss(&request) {
            None => MissFuture::Passing { future: self.inner.call(request) },
            Some(miss) => {
                MissFuture::Refused { refusal: ready(Ok(made_of(self.refuse(miss, &request)))) }
            }
        }
    }
}

pin_project! {
    /// The future of [`Misses`].
    #[project = MissFutureProjection]
    pub(crate) enum MissFuture<F, T, E> {
        Refused { #[pin] refusal: Ready<Result<T, E>> },
        Passing { #[pin] future: F },
    }
}

impl<F, T, E> Future for MissFuture<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            MissFutureProjection::Refused { refusal } => refusal.poll(cx),
            MissFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}
