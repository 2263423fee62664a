use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::matched::Matched;
use super::table::{Miss, Routable, Router, Target};
use crate::error::BoxError;
use crate::principal::{Identified, Principal};
use crate::rejection::{RefusalStyle, RefusedOr, Rejection};

/// The router's service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct Route<O, S, F = NotFound> {
    router: Arc<Router<O>>,
    inner: S,
    fallback: F,
    /// Whether a request's extensions say where it goes.
    tells: bool,
}

impl<O, S, F> Route<O, S, F> {
    pub(super) fn new(router: Arc<Router<O>>, inner: S, fallback: F, tells: bool) -> Self {
        Self { router, inner, fallback, tells }
    }
}

pin_project! {
    /// A request body together with what the request is aimed at.
    #[derive(Clone, Debug)]
    pub struct Routed<O, B> {
        target: Target<O>,
        #[pin]
        body: B,
    }
}

impl<O, B> Routed<O, B> {
    /// Aims `body` at `target`.
    pub fn new(target: Target<O>, body: B) -> Self {
        Self { target, body }
    }

    /// Gives what the request is aimed at.
    pub fn target(&self) -> &Target<O> {
        &self.target
    }

    /// Takes the two apart.
    pub fn into_parts(self) -> (Target<O>, B) {
        (self.target, self.body)
    }
}

impl<O, B: Identified> Identified for Routed<O, B> {
    fn principal(&self) -> &Principal {
        self.body.principal()
    }
}

impl<O, B: Body> Body for Routed<O, B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<O, S, F, B, R, Q> Service<Request<B>> for Route<O, S, F>
where
    O: Routable,
    S: Service<Request<Routed<O, B>>, Response = Response<R>>,
    F: Service<Request<B>, Response = Response<Q>>,
    S::Error: From<F::Error>,
{
    type Response = Response<RefusedOr<Either<R, Q>>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, F::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        self.fallback.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.router.route(request.method(), request.uri().path()) {
            Ok(target) => {
                if self.tells {
                    request.extensions_mut().insert(Matched::new(target.clone()));
                }
                let request = request.map(|body| Routed::new(target, body));
                ResponseFuture::Ours { future: self.inner.call(request) }
            }
            Err(Miss::Path) => ResponseFuture::Foreign { future: self.fallback.call(request) },
            Err(miss @ Miss::Method(_)) => {
                let style = RefusalStyle::of(&request);
                ResponseFuture::Refused { refusal: Some((miss.into(), style)) }
            }
        }
    }
}

pin_project! {
    /// The future of [`Route`].
    #[derive(Debug)]
    #[project = ResponseFutureProjection]
    #[allow(missing_docs, reason = "named for where the request went")]
    #[non_exhaustive]
    pub enum ResponseFuture<F, G> {
        Ours { #[pin] future: F },
        Foreign { #[pin] future: G },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<F, G, R, Q, E, E2> Future for ResponseFuture<F, G>
where
    F: Future<Output = Result<Response<R>, E>>,
    G: Future<Output = Result<Response<Q>, E2>>,
    E: From<E2>,
{
    type Output = Result<Response<RefusedOr<Either<R, Q>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProjection::Ours { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(RefusedOr::pass(response.map(|body| Either::Ours { body }))))
            }
            ResponseFutureProjection::Foreign { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(RefusedOr::pass(response.map(|body| Either::Foreign { body }))))
            }
            ResponseFutureProjection::Refused { refusal } => match refusal.take() {
                Some((rejection, style)) => Poll::Ready(Ok(RefusedOr::refuse(rejection, &style))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
        }
    }
}

pin_project! {
    /// A response body of one of two services.
    #[derive(Debug)]
    #[project = EitherProjection]
    #[allow(missing_docs, reason = "named for where the request went")]
    #[non_exhaustive]
    pub enum Either<R, Q> {
        Ours { #[pin] body: R },
        Foreign { #[pin] body: Q },
    }
}

impl<R, Q> Body for Either<R, Q>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
    Q: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            EitherProjection::Ours { body } => body.poll_frame(cx).map_err(Into::into),
            EitherProjection::Foreign { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours { body } => body.is_end_stream(),
            Self::Foreign { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours { body } => body.size_hint(),
            Self::Foreign { body } => body.size_hint(),
        }
    }
}

/// Answers everything with 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let style = RefusalStyle::of(&request);
        ready(Ok(Rejection::from(Miss::Path).into_response(&style)))
    }
}
