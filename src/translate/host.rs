//! The host application's service, from the two sides that [`ChatKitRest`](super::ChatKitRest)
//! has of it, and the host's word about who is calling.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;
use crate::principal::{Authenticated, Principal};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};
use crate::route::Routed;
use crate::surface::Surfaces;

pin_project! {
    /// The body of a request to the host's service: of one that the layer made, or of one that
    /// it let through.
    #[derive(Debug)]
    #[project = HostBodyProjection]
    #[allow(missing_docs, reason = "named for who made it")]
    pub enum HostBody<B> {
        Ours { #[pin] body: Full<Bytes> },
        Theirs { #[pin] body: B },
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for HostBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            HostBodyProjection::Ours { body } => {
                body.poll_frame(cx).map_err(|never| match never {})
            }
            HostBodyProjection::Theirs { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours { body } => body.is_end_stream(),
            Self::Theirs { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours { body } => body.size_hint(),
            Self::Theirs { body } => body.size_hint(),
        }
    }
}

/// The host's service, as the translation sees it. A part of
/// [`ChatKitRest`](super::ChatKitRest)'s type.
pub struct Ours<S, B> {
    inner: S,
    body: PhantomData<fn(B)>,
}

impl<S, B> Ours<S, B> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, body: PhantomData }
    }
}

impl<S: Clone, B> Clone for Ours<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), body: PhantomData }
    }
}

impl<S, B> fmt::Debug for Ours<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ours").finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<Full<Bytes>>> for Ours<S, B>
where
    S: Service<Request<HostBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> S::Future {
        self.inner.call(request.map(|body| HostBody::Ours { body }))
    }
}

/// The host's service, as requests that are none of ours see it: without its ChatKit endpoint.
/// A part of [`ChatKitRest`](super::ChatKitRest)'s type.
#[derive(Clone, Debug)]
pub struct Theirs<S> {
    inner: S,
    /// The path that is closed to requests from outside.
    closed: Option<Arc<str>>,
}

impl<S> Theirs<S> {
    pub(super) fn new(inner: S, closed: Option<&str>) -> Self {
        Self { inner, closed: closed.map(Arc::from) }
    }
}

impl<S, B, R> Service<Request<B>> for Theirs<S>
where
    S: Service<Request<HostBody<B>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = HostFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.closed.as_deref().is_some_and(|closed| is_same(request.uri().path(), closed)) {
            let rejection =
                Rejection::new(Code::NotFound).because("the endpoint is closed to the outside");
            return HostFuture::refuse(rejection, &request);
        }
        let future = self.inner.call(request.map(|body| HostBody::Theirs { body }));
        HostFuture::Calling { future }
    }
}

/// Whether some router might take `path` for `closed`: percent-encoding, case, and doubled or
/// trailing slashes make no difference.
fn is_same(path: &str, closed: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut expected = closed.split('/').filter(|segment| !segment.is_empty());
    loop {
        match (segments.next(), expected.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
            _ => return false,
        }
    }
}

/// Turns the host's `Principal` extension into the proof that the rooms ask for. A part of
/// [`ChatKitRest`](super::ChatKitRest)'s type.
#[derive(Clone, Debug)]
pub struct RequirePrincipal<S> {
    surfaces: Arc<Surfaces>,
    inner: S,
}

impl<S> RequirePrincipal<S> {
    pub(super) fn new(surfaces: Arc<Surfaces>, inner: S) -> Self {
        Self { surfaces, inner }
    }
}

impl<S, B, R> Service<Request<Routed<B>>> for RequirePrincipal<S>
where
    S: Service<Request<Routed<Authenticated<B>>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = HostFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Routed<B>>) -> Self::Future {
        // Before anything can refuse: a refusal is written as its surface writes it. What the
        // router left to the host is not marked.
        let surface = request.body().target().operation().surface();
        self.surfaces.mark(surface, request.extensions_mut());
        let Some(principal) = request.extensions().get::<Principal>().cloned() else {
            let rejection = Rejection::new(Code::Unauthorized)
                .header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
                .because("the host application put no Principal into the request's extensions");
            return HostFuture::refuse(rejection, &request);
        };
        let request = request.map(|routed| {
            let (target, body) = routed.into_parts();
            Routed::new(target, Authenticated::new(principal, body))
        });
        HostFuture::Calling { future: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`RequirePrincipal`] and [`Theirs`].
    #[derive(Debug)]
    #[project = HostFutureProjection]
    #[allow(missing_docs, reason = "named for its state")]
    pub enum HostFuture<F> {
        Calling { #[pin] future: F },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<F> HostFuture<F> {
    fn refuse<B>(rejection: Rejection, request: &Request<B>) -> Self {
        Self::Refused { refusal: Some((rejection, RefusalStyle::of(request))) }
    }
}

impl<F, R, E> Future for HostFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusedOr<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            HostFutureProjection::Calling { future } => future.poll(cx).map_ok(RefusedOr::pass),
            HostFutureProjection::Refused { refusal } => match refusal.take() {
                Some((rejection, style)) => Poll::Ready(Ok(RefusedOr::refuse(rejection, &style))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_path_is_closed_however_it_is_spelled() {
        for path in ["/chatkit", "/chatkit/", "//chatkit", "/ChatKit", "/%63hatkit", "/chatkit%2F"]
        {
            assert!(is_same(path, "/chatkit"), "{path}");
        }
        for path in ["/", "/chatkit2", "/chatkit/x", "/x/chatkit", "/chat/kit", "/%ff"] {
            assert!(!is_same(path, "/chatkit"), "{path}");
        }
        assert!(is_same("/", "/"));
    }
}
