//! Requests and open streams of everyone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use super::Permitted;
use crate::rejection::{Code, ProxyError, RefusalStyle, Refused, RefusedOr, Rejection};

/// At most so many requests and open streams at once, over all services made by this layer.
///
/// A request counts from its call until its response's body has ended or was dropped. A refusal
/// counts no longer than until it is made: nothing is left to be done for it, however slowly it is
/// taken. What is over is answered with 503 at once: a queue in front of a full gateway only makes
/// everybody slow.
#[derive(Clone, Debug)]
pub struct InFlightLayer {
    places: Arc<Semaphore>,
}

impl InFlightLayer {
    /// Allows at most `max` at once; 0 is no limit.
    pub fn new(max: usize) -> Self {
        let max = if max == 0 { Semaphore::MAX_PERMITS } else { max.min(Semaphore::MAX_PERMITS) };
        Self { places: Arc::new(Semaphore::new(max)) }
    }

    /// Tells how many more would be let in now.
    pub fn available(&self) -> usize {
        self.places.available_permits()
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, places: Arc::clone(&self.places) }
    }
}

/// Answers 503 instead of calling the inner service too often at once.
///
/// Made by [`InFlightLayer`].
#[derive(Clone, Debug)]
pub struct InFlight<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S, B, R> Service<Request<B>> for InFlight<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<RefusedOr<Permitted<R, InFlightPermit>>>;
    type Error = S::Error;
    type Future = InFlightFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => State::Inner {
                future: self.inner.call(request),
                permit: Some(InFlightPermit { _place: place }),
            },
            Err(_) => State::Refused { style: Some(RefusalStyle::of(&request)) },
        };
        InFlightFuture { state }
    }
}

/// One of the places of an [`InFlightLayer`], given back on drop.
#[derive(Debug)]
pub struct InFlightPermit {
    _place: OwnedSemaphorePermit,
}

pin_project! {
    /// The inner service's response with its place in its body, or the refusal.
    ///
    /// Dropped before there is a response, it gives the place back.
    #[derive(Debug)]
    pub struct InFlightFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F> {
        Inner { #[pin] future: F, permit: Option<InFlightPermit> },
        Refused { style: Option<RefusalStyle> },
    }
}

impl<F, R, E> Future for InFlightFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<RefusedOr<Permitted<R, InFlightPermit>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future, permit } => {
                let result = ready!(future.poll(cx));
                let permit = permit.take();
                Poll::Ready(result.map(|response| {
                    let refused = response.extensions().get::<Refused>().is_some();
                    let permit = permit.filter(|_| !refused);
                    RefusedOr::pass(response.map(|body| Permitted::with_option(body, permit)))
                }))
            }
            StateProjection::Refused { style } => match style.take() {
                Some(style) => Poll::Ready(Ok(RefusedOr::refuse(
                    Rejection::new(Code::ServiceUnavailable)
                        .with_proxy_error(ProxyError::ConnectionLimitReached)
                        .because("as many requests are in flight as may be"),
                    &style,
                ))),
                // Polled again after the end: there is nothing more to come.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn hello(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::from("hello")))
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_body_ends_or_is_dropped() {
        let layer = InFlightLayer::new(2);
        let send = || layer.layer(service_fn(hello)).oneshot(Request::new(()));

        let first = send().await.unwrap();
        let second = send().await.unwrap();
        assert_eq!(layer.available(), 0);
        let refused = send().await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let body = refused.into_body().collect().await.unwrap().to_bytes();
        assert!(body.windows(19).any(|part| part == b"SERVICE_UNAVAILABLE"));

        drop(first);
        assert_eq!(layer.available(), 1);
        assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(layer.available(), 2);
        assert_eq!(send().await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_caller_who_leaves_before_the_head_gives_the_place_back() {
        let layer = InFlightLayer::new(1);
        let never = layer.layer(service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<String>, Infallible>>().await
        }));
        let mut waiting = Box::pin(never.oneshot(Request::new(())));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(layer.available(), 0);
        drop(waiting);
        assert_eq!(layer.available(), 1);
    }

    #[tokio::test]
    async fn a_refusal_holds_no_place() {
        let layer = InFlightLayer::new(1);
        let refusing = layer.layer(service_fn(async |request: Request<()>| {
            let refusal = Rejection::new(Code::NotFound);
            Ok::<_, Infallible>(refusal.into_response(&RefusalStyle::of(&request)))
        }));
        let response = refusing.oneshot(Request::new(())).await.unwrap();
        assert_eq!(layer.available(), 1);
        assert_eq!(response.status(), 404);
    }

    #[tokio::test]
    async fn an_inner_error_gives_the_place_back_and_zero_is_no_limit() {
        let layer = InFlightLayer::new(1);
        let broken = service_fn(async |_: Request<()>| Err::<Response<String>, _>("broken"));
        assert_eq!(layer.layer(broken).oneshot(Request::new(())).await.err(), Some("broken"));
        assert_eq!(layer.available(), 1);
        assert!(InFlightLayer::new(0).available() > 1_000_000);
        assert!(InFlightLayer::new(usize::MAX).available() > 1_000_000);
    }
}
