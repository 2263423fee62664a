//! The server itself.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tower_service::Service;

use super::body::EmbeddedBody;
use super::echo::Echo;
use super::rendezvous::Rendezvous;
use super::reply::reply;
use super::request;
use super::responder::Responder;
use super::run::{CutReason, EmbeddedRun};
use super::store::Store;
use crate::error::{BoxError, Error, chain};
use crate::forward::{ForwardError, ForwardErrorKind};
use crate::shown::shown;

/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 64 << 20;

/// A ChatKit server in this process. See the [module's documentation](super).
///
/// Clones share their threads.
#[derive(Clone, Debug)]
pub struct Embedded {
    server: Arc<EmbeddedServer>,
}

#[derive(Clone, Debug)]
pub(super) struct EmbeddedServer {
    pub(super) store: Store,
    pub(super) responder: Arc<dyn Responder>,
    pub(super) token_delay: Duration,
    /// The field that says who asks, for responders that tell users apart.
    user_header: Option<HeaderName>,
    hasher: RandomState,
}

impl Embedded {
    /// Makes a server that keeps its threads in the SQLite database at `path`, in tables of its own
    /// (`embedded_…`). The file is made if it is not there; it may have other tables and other
    /// users.
    ///
    /// # Errors
    /// A [store error](Error::is_store) if the database can't be opened or written to, an
    /// [I/O error](Error::is_io) if the thread that serves it can't be started.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::over(Store::open(path)?))
    }

    /// Makes a server whose threads end with the last clone of it.
    ///
    /// # Errors
    /// A [store error](Error::is_store) if SQLite can't make a database in memory.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self::over(Store::in_memory()?))
    }

    fn over(store: Store) -> Self {
        let responder = Arc::new(Echo::new());
        let (token_delay, user_header) = (Duration::ZERO, None);
        let hasher = RandomState::new();
        let server = EmbeddedServer { store, responder, token_delay, user_header, hasher };
        Self { server: Arc::new(server) }
    }

    /// Has users told apart by that field of their requests where their number matters: a model's API
    /// that fails for one user alone is not taken to be down.
    #[must_use]
    pub fn with_user_header(self, name: HeaderName) -> Self {
        let user_header = Some(name);
        Self {
            server: Arc::new(EmbeddedServer { user_header, ..EmbeddedServer::clone(&self.server) }),
        }
    }

    /// Has `responder` answer, in place of [`Echo`].
    #[must_use]
    pub fn with_responder(self, responder: impl Responder) -> Self {
        let responder = Arc::new(responder);
        Self {
            server: Arc::new(EmbeddedServer { responder, ..EmbeddedServer::clone(&self.server) }),
        }
    }

    /// Waits so long between two tokens of [`Echo`], so that one can see it stream. Zero by
    /// default.
    #[must_use]
    pub fn with_token_delay(self, token_delay: Duration) -> Self {
        Self {
            server: Arc::new(EmbeddedServer { token_delay, ..EmbeddedServer::clone(&self.server) }),
        }
    }
}

impl EmbeddedServer {
    /// Gives a hash of whoever asks.
    fn asker(&self, headers: &HeaderMap) -> u64 {
        let user = self.user_header.as_ref().and_then(|name| headers.get(name));
        user.map_or(0, |user| self.hasher.hash_one(user.as_bytes()))
    }
}

impl<B> Service<Request<B>> for Embedded
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<EmbeddedBody>;
    /// If the request's body fails, or the responder [can't begin](Responder::check_ready).
    type Error = ForwardError;
    type Future = EmbeddedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EmbeddedFuture {
        let server = Arc::clone(&self.server);
        EmbeddedFuture(Box::pin(answer(server, request)))
    }
}

/// The future of [`Embedded`]'s answers.
pub struct EmbeddedFuture(
    Pin<Box<dyn Future<Output = Result<Response<EmbeddedBody>, ForwardError>> + Send>>,
);

impl Future for EmbeddedFuture {
    type Output = Result<Response<EmbeddedBody>, ForwardError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for EmbeddedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedFuture").finish_non_exhaustive()
    }
}

async fn answer<B>(
    server: Arc<EmbeddedServer>,
    request: Request<B>,
) -> Result<Response<EmbeddedBody>, ForwardError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if *request.method() != Method::POST {
        let detail = r#"{"detail":"Method Not Allowed"}"#;
        let mut response = full(StatusCode::METHOD_NOT_ALLOWED, JSON, detail.into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(response);
    }
    let asker = server.asker(request.headers());
    let body = match Limited::new(request.into_body(), MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(crash()),
        Err(error) => return Err(ForwardError::new(ForwardErrorKind::Request).with(error)),
    };
    Ok(match request::Request::parse(&body) {
        Err(request::Malformed) => crash(),
        Ok(request::Request::Reply(request)) => match reply(&server, request).await {
            Ok(body) => full(StatusCode::OK, JSON, body),
            Err(cut) => {
                log(&cut);
                crash()
            }
        },
        // The head leaves before anything is looked up, as it does from the SDK.
        Ok(request::Request::Stream(request)) => {
            // Nothing is stored that wouldn't be answered.
            server.responder.check_ready(asker)?;
            let frames = Rendezvous::new();
            let run = EmbeddedRun::new(server, asker, frames.other_end()).go(request);
            let mut response = Response::new(EmbeddedBody::stream(frames, run));
            response.headers_mut().insert(CONTENT_TYPE, EVENTS);
            response
        }
    })
}

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Gives what a web framework makes of an exception that nobody caught.
fn crash() -> Response<EmbeddedBody> {
    let text = Bytes::from_static(b"Internal Server Error");
    full(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn full(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<EmbeddedBody> {
    let length = body.len();
    let mut response = Response::new(EmbeddedBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn log(cut: &CutReason) {
    match cut {
        CutReason::Broken(error) => {
            tracing::warn!(error = &*shown(&chain(&**error)), "a request failed");
        }
        CutReason::Impossible(reason) => tracing::debug!(reason, "a request failed"),
        CutReason::Wanted => {}
    }
}
