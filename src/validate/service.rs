use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::call::Validated;
use super::layer::Rules;
use super::read::ReadBody;
use super::{chat, negotiate, parse};
use crate::limit::BufferPermit;
use crate::principal::{Identified, Principal};
use crate::rejection::{RefusalStyle, Rejection};
use crate::route::{Routed, Target};

/// The validating service. See the [module's documentation](super).
#[derive(Clone, Debug)]
pub struct Validate<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Validate<S> {
    pub(super) fn new(rules: Arc<Rules>, inner: S) -> Self {
        Self { rules, inner }
    }
}

impl<S, B, R> Service<Request<Routed<B>>> for Validate<S>
where
    S: Service<Request<Validated>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes> + Identified,
    R: From<Full<Bytes>>,
{
    /// A refusal is a body of the inner service's type: one more around it would cost every
    /// frame of every stream something.
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Routed<B>>) -> Self::Future {
        let (head, body) = request.into_parts();
        let (target, body) = body.into_parts();
        let operation = target.operation();
        #[cfg(feature = "session")]
        if let Some(record) = head.extensions.get::<crate::telemetry::Record>() {
            record.operation(operation);
        }
        let limits = &self.rules.limits;
        let allowed = chat::check_user(&target, body.principal());
        let allowed = allowed.and_then(|()| negotiate::acceptable(operation, &head.headers));
        let checked = allowed.and_then(|()| {
            if !operation.has_body() || body.is_end_stream() {
                return Ok(None);
            }
            negotiate::body(operation, &head.headers, limits).map(Some)
        });
        let limit = match checked {
            Ok(limit) => limit,
            Err(rejection) => {
                let refusal = Some((rejection, RefusalStyle::of_parts(&head)));
                return ResponseFuture { state: State::Refused { refusal } };
            }
        };
        // The service that was found ready is the one that is called (tower#547).
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let principal = body.principal().clone();
        let read = limit.map(|max| {
            let buffered = self.rules.buffered.as_ref();
            // What there never is room for is too large, however often it is tried.
            let max = buffered.map_or(max, |buffered| max.at_most(buffered.largest()));
            let permit = buffered.map(|buffered| buffered.permit(principal.user_id()));
            ReadBody::new(body, max, limits.body_timeout).with_permit(permit)
        });
        let pending =
            Some(Pending { head, target, principal, rules: Arc::clone(&self.rules), inner });
        ResponseFuture { state: State::Reading { read, pending } }
    }
}

struct Pending<S> {
    head: http::request::Parts,
    target: Target,
    principal: Principal,
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Pending<S> {
    fn call<R>(
        mut self,
        body: Result<Bytes, Rejection>,
    ) -> Result<S::Future, (Rejection, RefusalStyle)>
    where
        S: Service<Request<Validated>, Response = Response<R>>,
    {
        let parsed = body.and_then(|body| {
            let query = self.head.uri.query();
            parse::parse(&self.rules, &self.target, query, &self.head.headers, &body)
        });
        match parsed {
            Ok(call) => {
                let validated = Validated::new(self.principal, call);
                Ok(self.inner.call(Request::from_parts(self.head, validated)))
            }
            Err(rejection) => Err((rejection, RefusalStyle::of_parts(&self.head))),
        }
    }
}

pin_project! {
    /// The future of [`Validate`].
    pub struct ResponseFuture<S: Service<Request<Validated>>, B> {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S: Service<Request<Validated>>, B> {
        Reading { #[pin] read: Option<ReadBody<B>>, pending: Option<Pending<S>> },
        // The body is kept until there is a head of the answer, and so is the permit.
        Calling { #[pin] future: S::Future, permit: Option<BufferPermit> },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<Validated>, Response = Response<R>>,
    B: Body<Data = Bytes>,
    R: From<Full<Bytes>>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Reading { read, pending } => {
                    let (body, permit) = match read.as_pin_mut() {
                        Some(mut read) => {
                            let body = ready!(read.as_mut().poll(cx));
                            (body, read.take_permit())
                        }
                        None => (Ok(Bytes::new()), None),
                    };
                    // A future that is polled after it was ready has no answer to give.
                    let Some(pending) = pending.take() else { return Poll::Pending };
                    let next = match pending.call(body) {
                        Ok(future) => State::Calling { future, permit },
                        Err(refusal) => State::Refused { refusal: Some(refusal) },
                    };
                    this.state.set(next);
                }
                StateProjection::Calling { future, .. } => {
                    return future.poll(cx);
                }
                StateProjection::Refused { refusal } => {
                    let Some((rejection, style)) = refusal.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(rejection.into_response(&style).map(R::from)));
                }
            }
        }
    }
}

impl<S: Service<Request<Validated>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
