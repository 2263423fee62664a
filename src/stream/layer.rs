//! The hold as a layer of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::RunBody;
use super::failure::{RunFailure, RunFailureCause};
use super::hold::{HoldPolicy, hold};
use super::watch::{NoObserver, Watch};
use crate::error::BoxError;
use crate::forward::{ForwardError, is_event_stream};
use crate::rejection::{Code, ProxyError, RefusalStyle, RefusedOr, Rejection};

/// Gives runs of a ChatKit service honest statuses.
///
/// Answers that are not `text/event-stream` pass untouched, and so does every stream once it
/// has shown any output. A run that fails before that becomes a refusal with the envelope:
/// `custom` errors 422 with the message their author wrote for the user, anything else 502.
///
/// ```
/// use chatkit_rest::stream::{HoldLayer, HoldPolicy};
/// use tower::ServiceBuilder;
/// # let chatkit = tower::service_fn(|_: http::Request<String>| async {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// # });
///
/// let service = ServiceBuilder::new().layer(HoldLayer::new(HoldPolicy::default())).service(chatkit);
/// # let _ = service;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldLayer {
    policy: HoldPolicy,
}

impl HoldLayer {
    /// Holds by `policy`.
    pub fn new(policy: HoldPolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for HoldLayer {
    type Service = Hold<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Hold { policy: self.policy, inner }
    }
}

/// The service of [`HoldLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Hold<S> {
    policy: HoldPolicy,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Hold<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    S::Error: 'static,
{
    type Response = Response<RefusedOr<RunBody<R, NoObserver>>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let style = RefusalStyle::of(&request);
        let policy = self.policy;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            let watch = Watch::new(body, NoObserver);
            if !is_event_stream(&head.headers) {
                return Ok(RefusedOr::pass(Response::from_parts(head, RunBody::unheld(watch))));
            }
            match hold(watch, policy).await {
                Ok(body) => Ok(RefusedOr::pass(Response::from_parts(head, body))),
                Err(failure) => Ok(RefusedOr::refuse(Rejection::of_run_failure(failure), &style)),
            }
        })
    }
}

impl Rejection {
    /// Makes what a run that failed before the commit becomes, as far as the stream alone tells.
    pub fn of_run_failure(failure: RunFailure) -> Self {
        let RunFailure { cause, preamble, events } = failure;
        let mut rejection = match cause {
            RunFailureCause::ErrorEvent(error) => {
                let allow_retry = error.allow_retry;
                let rejection = match (error.code.as_str(), error.message) {
                    ("custom", message) => {
                        let rejection = Self::new(Code::UpstreamRejected)
                            .with_status(http::StatusCode::UNPROCESSABLE_ENTITY)
                            .because("a custom error event");
                        match message {
                            Some(message) if !message.is_empty() => rejection.message(message),
                            _ => rejection,
                        }
                    }
                    (code, _) => {
                        Self::new(Code::UpstreamError).because(format!("an error event: {code}"))
                    }
                };
                rejection.detail("allow_retry", allow_retry)
            }
            RunFailureCause::Ended => Self::new(Code::UpstreamError)
                .with_proxy_error(ProxyError::HttpResponseIncomplete)
                .because(format!("the stream ended without output after {events} events")),
            RunFailureCause::TooLarge => Self::new(Code::UpstreamError)
                .with_proxy_error(ProxyError::HttpResponseBodySize)
                .because("the answer is longer than may be collected"),
            RunFailureCause::Crowded(rejection) => rejection,
            RunFailureCause::Unreadable => Self::new(Code::UpstreamError)
                .because("the answer lacks an item that can't be read"),
            RunFailureCause::Broken(error) => Self::of_broken_exchange(&*error),
        };
        if let Some(thread_id) = preamble.thread_id {
            rejection = rejection.detail("thread_id", thread_id);
        }
        if let Some(user_message_id) = preamble.user_message_id {
            rejection = rejection.detail("user_message_id", user_message_id);
        }
        rejection
    }

    /// Makes what a failed exchange with the upstream becomes: 504 for a time-out, 503 for one that
    /// wasn't begun, else 502.
    pub fn of_broken_exchange(error: &(dyn std::error::Error + 'static)) -> Self {
        let found = ForwardError::find(error);
        if let Some(error) = found
            && let Some(seconds) = error.shed_for()
        {
            return Self::new(Code::ServiceUnavailable)
                .with_proxy_error(error.proxy_error())
                .because(crate::error::chain(error))
                .retry_after(seconds);
        }
        let (code, proxy_error) = match found {
            Some(error) if error.is_timeout() => (Code::UpstreamTimeout, Some(error.proxy_error())),
            Some(error) => (Code::UpstreamError, Some(error.proxy_error())),
            None => (Code::UpstreamError, None),
        };
        let mut rejection = Self::new(code).because(crate::error::chain(error));
        if let Some(error) = proxy_error {
            rejection = rejection.with_proxy_error(error);
        }
        if code == Code::UpstreamTimeout { rejection } else { rejection.passing() }
    }
}
