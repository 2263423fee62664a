//! [`DocsLayer`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::facts::Facts;
use super::front::Listener;
use super::page::Pages;
use crate::error::Error;
use crate::rejection::made_of;

/// Answers `/openapi.json` and `/docs`, and lets everything else pass. Nobody has to say who
/// they are for that.
#[derive(Clone, Debug)]
pub struct DocsLayer {
    pages: Option<Arc<Pages>>,
}

impl DocsLayer {
    /// Makes the document of a gateway of which this is so.
    ///
    /// # Errors
    /// If an embedded schema is not what it should be; a test rules that out.
    pub fn new(facts: &Facts) -> Result<Self, Error> {
        Ok(Self { pages: Some(Arc::new(Pages::new(facts)?)) })
    }

    /// Answers `/` and `/favicon.ico`, too: for a listener of the gateway's own. Below an application
    /// both are the application's.
    pub(crate) fn of_listener(listener: Listener<'_>) -> Result<Self, Error> {
        Ok(Self { pages: Some(Arc::new(Pages::of_listener(listener)?)) })
    }

    /// Lets everything pass: the document is on another listener.
    pub fn elsewhere() -> Self {
        Self { pages: None }
    }
}

impl<S> Layer<S> for DocsLayer {
    type Service = Docs<S>;

    fn layer(&self, inner: S) -> Docs<S> {
        Docs { pages: self.pages.clone(), inner }
    }
}

/// The service of [`DocsLayer`].
#[derive(Clone, Debug)]
pub struct Docs<S> {
    pages: Option<Arc<Pages>>,
    inner: S,
}

/// What it answers is a body of the inner service's type: one more around it would cost every
/// frame of every stream something.
impl<S, B, R> Service<Request<B>> for Docs<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = DocsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.pages.as_ref().and_then(|pages| pages.asked(&request)) {
            Some(page) => DocsFuture::Answering { response: Some(page.answer(&request)) },
            None => DocsFuture::Passing { future: self.inner.call(request) },
        }
    }
}

pin_project! {
    /// The future of [`Docs`].
    #[derive(Debug)]
    #[project = DocsFutureProjection]
    #[allow(missing_docs, reason = "named for its state")]
    #[non_exhaustive]
    pub enum DocsFuture<F> {
        Answering { response: Option<Response<Full<Bytes>>> },
        Passing { #[pin] future: F },
    }
}

impl<F, R, E> Future for DocsFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            DocsFutureProjection::Answering { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(made_of(response))),
                // A future that is polled after it was ready has no answer to give.
                None => Poll::Pending,
            },
            DocsFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}
