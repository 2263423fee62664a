//! [`LookUpLayer`], and [`AimLayer`] further in.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::service::{Either, NotFound, ResponseFuture, Routed};
use super::signpost::Signposts;
use super::table::{Miss, Routable, Router, Target};
use crate::principal::Authenticated;
use crate::rejection::{RefusalStyle, RefusedOr, Rejection, made_of};

/// Finds what each request asks for, before anybody is asked for a token, and hands it on as
/// `Request<LookedUp<O, B>>`. Answers what no token would make anything else, whoever asks: a path that
/// is no operation's, and `OPTIONS`.
///
/// Which paths there are, and with which methods, is no secret: the document has them. Who has the
/// wrong base URL is told so, and not that their token is none.
#[derive(Clone, Debug)]
pub(crate) struct LookUpLayer<O> {
    router: Arc<Router<O>>,
    signposts: Arc<Signposts>,
}

impl<O> LookUpLayer<O> {
    pub(crate) fn new(router: Router<O>, signposts: Signposts) -> Self {
        Self { router: Arc::new(router), signposts: Arc::new(signposts) }
    }
}

/// A request body together with what the request's method and path have found, which may be a path
/// without that method, or with what can be no id.
#[derive(Debug)]
pub(crate) struct LookedUp<O, B> {
    found: Result<Target<O>, Miss>,
    body: B,
}

impl<O, S> Layer<S> for LookUpLayer<O> {
    type Service = LookUp<O, S>;

    fn layer(&self, inner: S) -> LookUp<O, S> {
        let (router, signposts) = (Arc::clone(&self.router), Arc::clone(&self.signposts));
        LookUp { router, signposts, inner }
    }
}

/// The service of [`LookUpLayer`].
#[derive(Clone, Debug)]
pub(crate) struct LookUp<O, S> {
    router: Arc<Router<O>>,
    signposts: Arc<Signposts>,
    inner: S,
}

impl<O: Routable, S> LookUp<O, S> {
    /// Gives what a request asks for, or what it misses whoever asks.
    fn find<B>(&self, request: &Request<B>) -> Result<Result<Target<O>, Miss>, Miss> {
        match self.router.look_up(request.method(), request.uri().path()) {
            None => Err(Miss::Path),
            Some(Err(miss)) if request.method() == Method::OPTIONS => Err(miss),
            Some(found) => Ok(found),
        }
    }

    /// Says what is missed, and where the nearest that is there would be.
    #[cold]
    fn refuse<B>(&self, miss: Miss, request: &Request<B>) -> Response<Full<Bytes>> {
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

impl<O, S, B, R> Service<Request<B>> for LookUp<O, S>
where
    O: Routable,
    S: Service<Request<LookedUp<O, B>>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = LookUpFuture<S::Future, Response<R>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.find(&request) {
            Ok(found) => {
                let request = request.map(|body| LookedUp { found, body });
                LookUpFuture::Passing { future: self.inner.call(request) }
            }
            Err(miss) => {
                LookUpFuture::Refused { refusal: ready(Ok(made_of(self.refuse(miss, &request)))) }
            }
        }
    }
}

pin_project! {
    /// The future of [`LookUp`].
    #[project = LookUpFutureProjection]
    pub(crate) enum LookUpFuture<F, T, E> {
        Refused { #[pin] refusal: Ready<Result<T, E>> },
        Passing { #[pin] future: F },
    }
}

impl<F, T, E> Future for LookUpFuture<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            LookUpFutureProjection::Refused { refusal } => refusal.poll(cx),
            LookUpFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}

/// Goes on with what [`LookUpLayer`] has found, as [`RouteLayer`](super::RouteLayer) does with what it
/// finds itself: the limits between the two are for known callers, and a path is looked up once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AimLayer;

impl<S> Layer<S> for AimLayer {
    type Service = Aim<S>;

    fn layer(&self, inner: S) -> Aim<S> {
        Aim { inner }
    }
}

/// The service of [`AimLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Aim<S> {
    inner: S,
}

impl<O, S, B, R> Service<Request<Authenticated<LookedUp<O, B>>>> for Aim<S>
where
    O: Routable,
    S: Service<Request<Routed<O, Authenticated<B>>>, Response = Response<R>>,
    S::Error: From<Infallible>,
{
    type Response = Response<RefusedOr<Either<R, Full<Bytes>>>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, <NotFound as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Authenticated<LookedUp<O, B>>>) -> Self::Future {
        let (head, body) = request.into_parts();
        let (principal, LookedUp { found, body }) = body.into_parts();
        match found {
            Ok(target) => {
                let body = Routed::new(target, Authenticated::new(principal, body));
                let request = Request::from_parts(head, body);
                ResponseFuture::Ours { future: self.inner.call(request) }
            }
            Err(Miss::Path) => {
                let future = NotFound.call(Request::from_parts(head, body));
                ResponseFuture::Foreign { future }
            }
            Err(miss @ Miss::Method(_)) => {
                let style = RefusalStyle::of(&Request::from_parts(head, body));
                ResponseFuture::Refused { refusal: Some((miss.into(), style)) }
            }
        }
    }
}
