//! [`KeySetLayer`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Signer;
use crate::rejection::{Code, RefusalStyle, Rejection, made_of};

/// Where the key set is.
pub const KEY_SET_PATH: &str = "/.well-known/jwks.json";

/// For how long whoever reads it may keep it: a key is published long before it is used, and one that
/// isn't known has it read again.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Answers [`KEY_SET_PATH`] with the public keys by which statements are verified, and lets everything
/// else pass. Nobody has to say who they are for that.
#[derive(Clone, Debug)]
pub struct KeySetLayer {
    keys: Option<Bytes>,
}

impl KeySetLayer {
    /// Makes the layer with a signer's keys; without any, everything passes.
    pub fn new(signer: Option<&Signer>) -> Self {
        Self { keys: signer.and_then(Signer::key_set) }
    }
}

impl<S> Layer<S> for KeySetLayer {
    type Service = KeySet<S>;

    fn layer(&self, inner: S) -> KeySet<S> {
        KeySet { keys: self.keys.clone(), inner }
    }
}

/// The service of [`KeySetLayer`].
#[derive(Clone, Debug)]
pub struct KeySet<S> {
    keys: Option<Bytes>,
    inner: S,
}

/// What it answers is a body of the inner service's type: one more around it would cost every
/// frame of every stream something.
impl<S, B, R> Service<Request<B>> for KeySet<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = KeySetFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match &self.keys {
            Some(keys) if request.uri().path() == KEY_SET_PATH => {
                KeySetFuture::Answering { response: Some(answer(keys, &request)) }
            }
            _ => KeySetFuture::Passing { future: self.inner.call(request) },
        }
    }
}

fn answer<B>(keys: &Bytes, request: &Request<B>) -> Response<Full<Bytes>> {
    let method = request.method();
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Rejection::new(Code::MethodNotAllowed)
            .header(ALLOW, HeaderValue::from_static("GET, HEAD"))
            .into_response(&RefusalStyle::of(request));
    }
    let mut response = Response::new(Full::new(keys.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, KEPT);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if *method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, keys.len().into());
        *response.body_mut() = Full::default();
    }
    response
}

pin_project! {
    /// The future of [`KeySet`].
    #[derive(Debug)]
    #[project = KeySetFutureProjection]
    #[allow(missing_docs, reason = "named for its state")]
    #[non_exhaustive]
    pub enum KeySetFuture<F> {
        Answering { response: Option<Response<Full<Bytes>>> },
        Passing { #[pin] future: F },
    }
}

impl<F, R, E> Future for KeySetFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            KeySetFutureProjection::Answering { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(made_of(response))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
            KeySetFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}
