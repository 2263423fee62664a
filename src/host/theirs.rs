//! What [`ChatKitRest`](super::ChatKitRest) has from the host: its fallback, and its word about who
//! is calling.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response};
use percent_encoding::percent_decode_str;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;
use crate::principal::{Authenticated, Principal};
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};
use crate::route::{Routable, Routed};
use crate::surface::Surfaces;

/// The host's fallback: without the ChatKit endpoint, and with an answer for whatever it fails with.
/// A part of [`ChatKitRest`](super::ChatKitRest)'s type.
#[derive(Clone, Debug)]
pub struct Theirs<F> {
    fallback: F,
    /// The path that is closed to requests from outside.
    closed: Option<Arc<str>>,
}

impl<F> Theirs<F> {
    pub(super) fn new(fallback: F, closed: Option<&str>) -> Self {
        Self { fallback, closed: closed.map(Arc::from) }
    }
}

impl<F, B, R> Service<Request<B>> for Theirs<F>
where
    F: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>> + Clone,
{
    type Response = Response<RefusedOr<R>>;
    type Error = Infallible;
    type Future = FallbackFuture<F, B>;

    /// Returns ready, always: the fallback is waited for when there is a request for it, so that a busy
    /// one holds up none of ours.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let style = RefusalStyle::of(&request);
        let state = if self.is_closed(request.uri().path()) {
            let rejection =
                Rejection::new(Code::NotFound).because("the endpoint is closed to the outside");
            FallbackState::Refused { rejection: Some(rejection) }
        } else {
            let (fallback, request) = (self.fallback.clone(), Some(request));
            FallbackState::Waiting { fallback, request }
        };
        FallbackFuture { style, state }
    }
}

impl<F> Theirs<F> {
    fn is_closed(&self, path: &str) -> bool {
        self.closed.as_deref().is_some_and(|closed| is_same(path, closed))
    }
}

pin_project! {
    /// The future of [`Theirs`].
    pub struct FallbackFuture<F, B>
    where
        F: Service<Request<B>>,
    {
        style: RefusalStyle,
        #[pin]
        state: FallbackState<F, F::Future, B>,
    }
}

pin_project! {
    #[project = FallbackStateProjection]
    enum FallbackState<F, G, B> {
        Waiting { fallback: F, request: Option<Request<B>> },
        Calling { #[pin] future: G },
        Refused { rejection: Option<Rejection> },
    }
}

impl<F, B, R> Future for FallbackFuture<F, B>
where
    F: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
{
    type Output = Result<Response<RefusedOr<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let failed = |error: F::Error| {
            Rejection::of_broken_exchange(&*error.into())
                .message("What is behind this path failed to answer.")
        };
        let rejection = loop {
            match this.state.as_mut().project() {
                FallbackStateProjection::Waiting { fallback, request } => {
                    match ready!(fallback.poll_ready(cx)) {
                        Ok(()) => {}
                        Err(error) => break failed(error),
                    }
                    let Some(request) = request.take() else { return Poll::Pending };
                    let future = fallback.call(request);
                    this.state.set(FallbackState::Calling { future });
                }
                FallbackStateProjection::Calling { future } => match ready!(future.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(RefusedOr::pass(response))),
                    Err(error) => break failed(error),
                },
                FallbackStateProjection::Refused { rejection } => match rejection.take() {
                    Some(rejection) => break rejection,
                    // A future that is polled after it was ready has no answer to give.
                    None => return Poll::Pending,
                },
            }
        };
        this.state.set(FallbackState::Refused { rejection: None });
        Poll::Ready(Ok(RefusedOr::refuse(rejection, this.style)))
    }
}

impl<F: Service<Request<B>>, B> fmt::Debug for FallbackFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}

/// How often a path is decoded: a server decodes once, and each one in front of it once more.
const DECODINGS: usize = 8;

/// Tells whether some router might take `path` for `closed`. Neither how often it is percent-encoded,
/// nor case, nor doubled or trailing slashes make a difference, and nothing does that servers take
/// away: `.` and `..`, the parameters of a segment, spaces at its end, and all from a NUL on; and
/// some read `\` as `/`.
fn is_same(path: &str, closed: &str) -> bool {
    let (path, closed) = (decoded(path), decoded(closed));
    let (path, closed) = (segments(&path), segments(&closed));
    path.len() == closed.len() && path.iter().zip(&closed).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Gives `path` without its percent-encoding, however often it was encoded.
fn decoded(path: &str) -> Cow<'_, str> {
    let mut path = Cow::Borrowed(path);
    for _ in 0..DECODINGS {
        match percent_decode_str(&path).decode_utf8_lossy() {
            Cow::Borrowed(_) => break,
            Cow::Owned(decoded) => path = Cow::Owned(decoded),
        }
    }
    path
}

/// Gives what is left of a decoded path for a router to compare.
fn segments(path: &str) -> Vec<&str> {
    let path = path.split('\0').next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']) {
        let segment = segment.split(';').next().unwrap_or_default().trim_end();
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments
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

impl<O, S, B, R> Service<Request<Routed<O, B>>> for RequirePrincipal<S>
where
    O: Routable,
    S: Service<Request<Routed<O, Authenticated<B>>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = HostFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Routed<O, B>>) -> Self::Future {
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
    /// The future of [`RequirePrincipal`].
    #[derive(Debug)]
    #[project = HostFutureProjection]
    #[allow(missing_docs, reason = "named for its state")]
    #[non_exhaustive]
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
        assert!(is_same("/my%20kit", "/my%20kit") && is_same("/my%2520kit", "/my%20kit"));
        assert!(!is_same("/my", "/my%20kit") && !is_same("/mykit", "/my%20kit"));
    }

    #[test]
    fn what_a_server_takes_away_from_a_path_opens_no_closed_one() {
        for path in [
            "/./chatkit",
            "/chatkit/.",
            "/x/../chatkit",
            "/../chatkit",
            "/chatkit/x/..",
            "/%2e/chatkit",
            "/x/%2E%2e/chatkit",
            "/%2563hatkit",
            "/%25252563hatkit",
            "/chatkit;a=b",
            "/chatkit%3ba=b/",
            "/;a/chatkit",
            "/chatkit%00",
            "/chatkit%00/x",
            "/chatkit%20",
            "/chatkit%09",
            "/chatkit%20;a",
            "/\\chatkit",
            "/x%5c..%5cchatkit",
        ] {
            assert!(is_same(path, "/chatkit"), "{path}");
        }
        for path in [
            "/chatkits",
            "/chat",
            "/chatkit2/x",
            "/chatkit/..",
            "/chatkit/../x",
            "/chatkit.",
            "/.chatkit",
            "/x;/chatkit",
            "/%00chatkit",
            "/chat%20kit",
        ] {
            assert!(!is_same(path, "/chatkit"), "{path}");
        }
    }
}
