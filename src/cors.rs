//! Cross-origin calls: what `tower-http` does, for what is one.
//!
//! `tower-http` takes every `OPTIONS` for a preflight and answers it with 200, whatever is at the
//! path. By the Fetch standard a preflight names its `Origin` and the method that is to follow in
//! `Access-Control-Request-Method`; any other `OPTIONS` is a request like others, and refused like
//! others where the path doesn't have that method.

use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{Method, Request, Response};
use tower::{Layer, Service};
use tower_http::cors;

/// Answers preflights, and tells pages what they may read of other answers.
#[derive(Clone, Debug)]
pub(crate) struct CorsLayer(pub(crate) cors::CorsLayer);

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors { cors: self.0.layer(Unmasked { inner }) }
    }
}

/// The service of [`CorsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Cors<S> {
    cors: cors::Cors<Unmasked<S>>,
}

/// Marks a request whose method is `OPTIONS` and hidden from `tower-http`.
#[derive(Clone, Copy, Debug)]
struct Masked;

/// What is behind `tower-http`: the request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Unmasked<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = <cors::Cors<Unmasked<S>> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.cors.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.method() == Method::OPTIONS && !is_preflight(&request) {
            // Any other method will do: what else it decides by are headers.
            *request.method_mut() = Method::GET;
            request.extensions_mut().insert(Masked);
        }
        self.cors.call(request)
    }
}

impl<S, B> Service<Request<B>> for Unmasked<S>
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
        if request.extensions_mut().remove::<Masked>().is_some() {
            *request.method_mut() = Method::OPTIONS;
        }
        self.inner.call(request)
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
