//! `/healthz`: the process is up. `/readyz`: it can serve a request now.
//!
//! Needs the feature `server`.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::authenticate::AuthenticateLayer;
use crate::limit::InFlightLayer;
use crate::rejection::{Code, RefusalStyle, Rejection, made_of};
use crate::session::{MemoryStore, SessionStore};

/// How long an answer about readiness is given again: probes must not become load.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Whether the upstream can be reached.
pub(crate) type Probe =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), NotReached>> + Send>> + Send + Sync>;

/// Whether the upstream fails so often that it is left in peace.
pub(crate) type IsLeftInPeace = Arc<dyn Fn() -> bool + Send + Sync>;

/// What is said of an upstream that is left in peace. No gateway is taken off for it: whoever asks is
/// told at once, and by somebody's request it is seen that the upstream answers again.
const LEFT_IN_PEACE: &str = "it fails too often, and is left in peace until it answers a request by which it is tried: see its log";

/// Why the upstream can't be reached.
#[derive(Debug)]
pub(crate) struct NotReached {
    /// For the log.
    pub(crate) why: String,
    /// What anybody may know of it, with what to do.
    pub(crate) advice: Option<&'static str>,
}

/// Answers `/healthz` and `/readyz`, and lets everything else pass.
#[derive(Clone)]
pub struct HealthLayer {
    readiness: Option<Arc<Readiness>>,
}

struct Readiness {
    store: Arc<dyn SessionStore>,
    probe: Probe,
    draining: watch::Receiver<bool>,
    places: InFlightLayer,
    /// Whom there may be no keys to know by.
    callers: OnceLock<AuthenticateLayer>,
    /// What is to be done about an upstream that can be reached and isn't what it should be.
    advice: Option<watch::Receiver<Option<&'static str>>>,
    is_left_in_peace: Option<IsLeftInPeace>,
    last: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

/// What keeps a gateway from being ready.
#[derive(Clone, Debug)]
struct NotReady {
    /// What was looked at.
    check: &'static str,
    why: Cow<'static, str>,
    advice: Option<&'static str>,
}

impl NotReady {
    fn new(check: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { check, why: why.into(), advice: None }
    }
}

impl HealthLayer {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        probe: Probe,
        draining: watch::Receiver<bool>,
        places: InFlightLayer,
    ) -> Self {
        let (callers, advice, is_left_in_peace) = (OnceLock::new(), None, None);
        let readiness = Readiness {
            store,
            probe,
            draining,
            places,
            callers,
            advice,
            is_left_in_peace,
            last: Mutex::new(None),
        };
        Self { readiness: Some(Arc::new(readiness)) }
    }

    /// Tells as well what is found to be wrong with the upstream, for which no gateway is taken off:
    /// the next one would find the same.
    pub(crate) fn with_advice(self, advice: watch::Receiver<Option<&'static str>>) -> Self {
        let readiness = self.readiness.and_then(Arc::into_inner);
        Self { readiness: readiness.map(|it| Arc::new(Readiness { advice: Some(advice), ..it })) }
    }

    /// Looks as well whether these callers can be known, by keys that may have to be fetched.
    pub(crate) fn look_at_callers(&self, callers: AuthenticateLayer) {
        if let Some(readiness) = &self.readiness {
            // Once, before anything is served.
            let _ = readiness.callers.set(callers);
        }
    }

    /// Tells as well that the upstream is left in peace.
    pub(crate) fn with_breaker(self, is_left_in_peace: IsLeftInPeace) -> Self {
        let is_left_in_peace = Some(is_left_in_peace);
        let readiness = self.readiness.and_then(Arc::into_inner);
        Self { readiness: readiness.map(|it| Arc::new(Readiness { is_left_in_peace, ..it })) }
    }

    /// Answers as a gateway that serves, with an upstream that can be reached.
    pub(crate) fn ready() -> Self {
        let (_, draining) = watch::channel(false);
        let probe: Probe = Arc::new(|| Box::pin(async { Ok(()) }));
        Self::new(Arc::new(MemoryStore::new()), probe, draining, InFlightLayer::new(1))
    }

    /// Lets everything pass: health is answered on another listener.
    pub fn elsewhere() -> Self {
        Self { readiness: None }
    }
}

impl fmt::Debug for HealthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = Health<S>;

    fn layer(&self, inner: S) -> Health<S> {
        Health { readiness: self.readiness.clone(), inner }
    }
}

/// The service of [`HealthLayer`].
#[derive(Clone)]
pub struct Health<S> {
    readiness: Option<Arc<Readiness>>,
    inner: S,
}

impl<S> fmt::Debug for Health<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Readiness {
    fn advice(&self) -> Option<&'static str> {
        if self.is_left_in_peace.as_ref().is_some_and(|it| it()) {
            return Some(LEFT_IN_PEACE);
        }
        self.advice.as_ref().and_then(|advice| *advice.borrow())
    }

    async fn check(&self) -> Result<(), NotReady> {
        if *self.draining.borrow() {
            return Err(NotReady::new("draining", "the gateway is draining"));
        }
        // Those of callers who are looked up aren't asked for: were they all taken, who shows a
        // token of their own would still be served, and anybody could have a gateway taken off.
        if self.places.available() == 0 {
            return Err(NotReady::new("places", "as many requests are in flight as may be"));
        }
        // Held while checking, so that those who ask at once get the answer of one check.
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < REMEMBERED_FOR
        {
            return result.clone();
        }
        let result = self.look().await;
        *last = Some((Instant::now(), result.clone()));
        result
    }

    async fn look(&self) -> Result<(), NotReady> {
        self.store.ping().await.map_err(|error| NotReady::new("store", error.chain()))?;
        if let Some(callers) = self.callers.get() {
            let ready = callers.keys_ready().await;
            ready.map_err(|unavailable| NotReady::new("keys", unavailable.to_string()))?;
        }
        (self.probe)().await.map_err(|NotReached { why, advice }| NotReady {
            advice,
            ..NotReady::new("upstream", why)
        })
    }
}

/// What it answers is a body of the inner service's type: one more around it would cost every
/// frame of every stream something.
impl<S, B, R> Service<Request<B>> for Health<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = HealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (ready, readiness) = match (request.uri().path(), &self.readiness) {
            ("/healthz", Some(readiness)) => (false, Arc::clone(readiness)),
            ("/readyz", Some(readiness)) => (true, Arc::clone(readiness)),
            _ => return HealthFuture::Passing { future: self.inner.call(request) },
        };
        let style = RefusalStyle::of(&request);
        let known = matches!(*request.method(), Method::GET | Method::HEAD);
        let answer = Box::pin(async move {
            if !known {
                return Rejection::of_method(HeaderValue::from_static("GET, HEAD"))
                    .into_response(&style);
            }
            if !ready {
                return status("{\"status\":\"ok\"}");
            }
            match readiness.check().await {
                Ok(()) => match readiness.advice() {
                    None => status("{\"status\":\"ready\"}"),
                    Some(advice) => {
                        let told = serde_json::json!({ "status": "ready", "upstream": advice });
                        status(told.to_string())
                    }
                },
                Err(NotReady { check, why, advice }) => {
                    let mut rejection = Rejection::new(Code::ServiceUnavailable)
                        .message("The gateway is not ready.")
                        .detail("check", check)
                        .because(why);
                    if let Some(advice) = advice {
                        rejection = rejection.detail("upstream", advice);
                    }
                    rejection.into_response(&style)
                }
            }
        });
        HealthFuture::Answering { answer }
    }
}

fn status(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

type AnswerFuture = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

pin_project! {
    /// The future of [`Health`].
    #[project = HealthFutureProjection]
    #[allow(missing_docs, reason = "named for its state")]
    #[non_exhaustive]
    pub enum HealthFuture<F> {
        Answering { answer: AnswerFuture },
        Passing { #[pin] future: F },
    }
}

impl<F> fmt::Debug for HealthFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for HealthFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            HealthFutureProjection::Answering { answer } => {
                answer.as_mut().poll(cx).map(|response| Ok(made_of(response)))
            }
            HealthFutureProjection::Passing { future } => future.poll(cx),
        }
    }
}
