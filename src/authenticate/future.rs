//! The future of [`Authenticate`](super::Authenticate).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::ProtectedResource;
use super::challenge::Unauthenticated;
use super::secret::{CallerFuture, SecretError};
use super::service::vouched_for;
use super::waiting::CallerPlaces;
use crate::principal::Authenticated;
use crate::rejection::{Code, RefusalStyle, RefusedOr, Rejection};

pin_project! {
    /// The inner service's response, or the refusal.
    pub struct ResponseFuture<S: Service<Request<Authenticated<B>>>, B> {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S: Service<Request<Authenticated<B>>>, B> {
        // Boxed, so that those who bring a token of their own don't carry it.
        Asked { caller: CallerFuture, pending: Option<Box<Pending<S, B>>> },
        Inner { #[pin] future: S::Future },
        Refused { refusal: Option<(Rejection, RefusalStyle)> },
    }
}

/// A request whose caller is looked up, and the service to be asked then.
pub(super) struct Pending<S, B> {
    pub(super) request: Request<B>,
    pub(super) inner: S,
    pub(super) places: Option<CallerPlaces>,
    pub(super) resource: Option<ProtectedResource>,
}

impl<S: Service<Request<Authenticated<B>>>, B> ResponseFuture<S, B> {
    /// Waits for what there is to know about the caller, and then asks the inner service.
    pub(super) fn asked(caller: CallerFuture, pending: Pending<S, B>) -> Self {
        Self { state: State::Asked { caller, pending: Some(Box::new(pending)) } }
    }

    pub(super) fn inner(future: S::Future) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn refused(rejection: Rejection, style: RefusalStyle) -> Self {
        Self { state: State::Refused { refusal: Some((rejection, style)) } }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<Authenticated<B>>, Response = Response<R>>,
{
    type Output = Result<Response<RefusedOr<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Asked { caller, pending } => {
                    let known = ready!(caller.as_mut().poll(cx));
                    // Polled again after the end: there is nothing more to come.
                    let Some(pending) = pending.take() else { return Poll::Pending };
                    let Pending { request, mut inner, places, resource } = *pending;
                    match known {
                        Ok(principal) => {
                            let future = inner.call(vouched_for(principal, request));
                            // Only now: the inner service has taken a place of its own.
                            drop(places);
                            State::Inner { future }
                        }
                        Err(error) => {
                            let mut rejection = refusal(error);
                            if let Some(resource) = resource {
                                rejection = resource.tell(rejection, request.extensions());
                            }
                            let refusal = Some((rejection, RefusalStyle::of(&request)));
                            State::Refused { refusal }
                        }
                    }
                }
                StateProjection::Inner { future } => {
                    return Poll::Ready(ready!(future.poll(cx)).map(RefusedOr::pass));
                }
                StateProjection::Refused { refusal } => {
                    let Some((rejection, style)) = refusal.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(RefusedOr::refuse(rejection, &style)));
                }
            };
            this.state.set(next);
        }
    }
}

fn refusal(error: SecretError) -> Rejection {
    match error {
        SecretError::Invalid(invalid) => Unauthenticated::InvalidToken(invalid).into(),
        SecretError::NoKeys(unavailable) => {
            let refusal = Rejection::new(Code::ServiceUnavailable).because(unavailable.to_string());
            match unavailable.retry_after() {
                Some(left) => refusal.retry_after(left.as_secs() + 1),
                None => refusal,
            }
        }
        SecretError::Unavailable(error) => {
            Rejection::new(Code::ServiceUnavailable).because(error.chain())
        }
    }
}

impl<S: Service<Request<Authenticated<B>>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
