//! The future of [`Validate`](super::Validate).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::json::{self, Shape};
use super::layer::BodyRules;
use super::read::{ReadBody, SizeLimit};
use super::validated::Validated;
use crate::rejection::{RefusalStyle, Rejection, made_of};

pin_project! {
    /// The inner service's response, or the refusal.
    ///
    /// Dropped while the body is read, it drops the body.
    pub struct ValidateFuture<S: Service<Request<Validated>>, B> {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S: Service<Request<Validated>>, B> {
        Reading { #[pin] body: ReadBody<B>, pending: Option<Pending<S>> },
        Inner { #[pin] future: S::Future },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

/// A request whose body is read, and the service to be asked then.
struct Pending<S> {
    head: Parts,
    rules: Arc<BodyRules>,
    inner: S,
}

impl<S: Service<Request<Validated>>, B> ValidateFuture<S, B> {
    pub(super) fn refused(rejection: Rejection, head: &Parts) -> Self {
        Self { state: State::refused(rejection, head) }
    }
}

impl<S: Service<Request<Validated>>, B: Body<Data = Bytes>> ValidateFuture<S, B> {
    /// Reads the body, and then asks the inner service.
    pub(super) fn reading(head: Parts, body: B, rules: Arc<BodyRules>, inner: S) -> Self {
        let limits = &rules.limits;
        let max = SizeLimit::Body(limits.max_body_bytes);
        let body = ReadBody::new(body, max, limits.body_timeout);
        Self { state: State::Reading { body, pending: Some(Pending { head, rules, inner }) } }
    }
}

impl<S: Service<Request<Validated>>, B> State<S, B> {
    fn refused(rejection: Rejection, head: &Parts) -> Self {
        Self::Refused { refusal: Some((rejection, RefusalStyle::of_parts(head))) }
    }
}

impl BodyRules {
    fn check(&self, bytes: Bytes) -> Result<Validated, Rejection> {
        let json = json::read(&bytes, self.limits.max_json_values, &Shape::Tree)?.value;
        self.schema.check(&json)?;
        Ok(Validated::new(bytes, json))
    }
}

impl<S, B, R> Future for ValidateFuture<S, B>
where
    S: Service<Request<Validated>, Response = Response<R>>,
    B: Body<Data = Bytes>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Reading { body, pending } => {
                    let read = ready!(body.poll(cx));
                    // Polled again after the end: there is nothing more to come.
                    let Some(pending) = pending.take() else { return Poll::Pending };
                    let Pending { head, rules, mut inner } = pending;
                    match read.and_then(|bytes| rules.check(bytes)) {
                        Ok(body) => {
                            State::Inner { future: inner.call(Request::from_parts(head, body)) }
                        }
                        Err(rejection) => State::refused(rejection, &head),
                    }
                }
                StateProjection::Inner { future } => return future.poll(cx),
                StateProjection::Refused { refusal } => {
                    let Some((rejection, style)) = refusal.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(made_of(rejection.into_response(&style))));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Request<Validated>>, B> fmt::Debug for ValidateFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateFuture").finish_non_exhaustive()
    }
}
