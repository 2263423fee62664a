//! [`Authenticate`].

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::{Request, Response};
use tower_service::Service;

use super::ResponseFuture;
use super::challenge::Fault;
use super::layer::Check;
use super::token::TokenSource;
use crate::principal::{Authenticated, Principal};
use crate::rejection::{RefusalStyle, RefusedOr};

/// Verifies a request's token, and either hands the request on as `Request<Authenticated<B>>` or
/// answers it with 401.
///
/// Made by [`AuthenticateLayer`](super::AuthenticateLayer).
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    inner: S,
    check: Check,
    source: Arc<TokenSource>,
}

impl<S> Authenticate<S> {
    pub(super) fn new(inner: S, check: Check, source: Arc<TokenSource>) -> Self {
        Self { inner, check, source }
    }

    fn identify<B>(&self, request: &Request<B>) -> Result<Principal, Fault> {
        match &self.check {
            Check::Trust(trust) => {
                trust.identify(request.uri().path(), || self.source.find(request))
            }
            Check::Token(verifier) => {
                let token = self.source.find(request)?;
                verifier.verify(token).map_err(Fault::InvalidToken)
            }
        }
    }
}

impl<S, B, R> Service<Request<B>> for Authenticate<S>
where
    S: Service<Request<Authenticated<B>>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        hide_credentials(request.headers_mut());
        match self.identify(&request) {
            Ok(principal) => {
                // For services that aren't ours. Whatever was there before was not verified.
                request.extensions_mut().insert(principal.clone());
                let request = request.map(|body| Authenticated::new(principal, body));
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(fault) => ResponseFuture::refused(fault.into(), RefusalStyle::of(&request)),
        }
    }
}

/// Keeps credentials out of `Debug` output and out of HPACK's dynamic table, from here on inwards.
fn hide_credentials(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name == AUTHORIZATION || name == COOKIE {
            value.set_sensitive(true);
        }
    }
}
