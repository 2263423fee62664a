use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(feature = "openai")]
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Extensions, Request, Response, Version};
use http_body::Body;
use http_body_util::BodyExt;
#[cfg(any(feature = "openai", feature = "server"))]
use http_body_util::Full;
use hyper::client::conn::http1;
use tokio::time::Instant;
use tower_service::Service;

use super::body::UpstreamBody;
use super::builder::HttpUpstreamBuilder;
use super::connect::Connector;
use super::connection::{Connection, OutgoingBody};
use super::doubtful::Doubtful;
use super::future::ResponseFuture;
use super::guard::Guard;
use super::headers::{asks_for_events, asks_for_json, remove_hop_by_hop, remove_named};
use super::names::dashed;
use super::pool::Pool;
use super::timeouts::Timeouts;
use super::{ForwardError, UpstreamUrl};
use crate::error::BoxError;

/// A ChatKit server reached over HTTP/1.1.
///
/// A service: each request goes to the one configured URL, and its answer comes back with
/// the body as it arrives. See the [module docs](super).
///
/// Cloning is a reference count; clones share their idle connections. It must be used within a
/// tokio runtime whose I/O and time drivers are on.
#[derive(Clone)]
pub struct HttpUpstream {
    shared: Arc<Shared>,
}

/// What all requests to one upstream have in common.
pub(super) struct Shared {
    pub(super) url: UpstreamUrl,
    pub(super) forward_query: bool,
    /// What is sent with every request.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeouts: Timeouts,
    pub(super) connector: Connector,
    pub(super) http: http1::Builder,
    pub(super) pool: Arc<Pool>,
    pub(super) guard: Arc<Guard>,
}

/// What is known of a request once it is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// A hash of whoever sent it; `None`: the gateway itself, whom nothing keeps out.
    pub(super) user: Option<u64>,
    /// Whether it is tried again to make a connection.
    pub(super) may_retry: bool,
    /// Whether nothing but JSON is wanted.
    pub(super) wants_json: bool,
    /// Whether a 500 means that the upstream fails: one in good health answers a run with events, and
    /// says 500 to much else that it doesn't like.
    pub(super) is_run: bool,
}

impl Shared {
    /// Puts in what is sent with every request, and leaves out what a server could take for it.
    fn put_in_fixed(&self, headers: &mut HeaderMap) {
        if self.headers.is_empty() {
            return;
        }
        let fixed =
            |name: &str| self.headers.iter().any(|(known, _)| dashed(name) == known.as_str());
        remove_named(headers, fixed);
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Gives a new connection, which must be there by `deadline`.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Box<Connection>, ForwardError> {
        let stream = self.connector.connect(deadline).await?;
        Connection::open(stream, &self.http).await
    }
}

impl HttpUpstream {
    /// Makes an upstream with the default timeouts and limits, each of which can be changed.
    pub fn builder(url: UpstreamUrl) -> HttpUpstreamBuilder {
        HttpUpstreamBuilder::new(url)
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Gives the address it sends to.
    pub fn url(&self) -> &UpstreamUrl {
        &self.shared.url
    }

    /// Tells how long an answer may take to begin.
    #[cfg(feature = "openai")]
    pub(crate) fn first_byte_timeout(&self) -> Duration {
        self.shared.timeouts.first_byte
    }

    /// Tells how long an answer may be silent.
    #[cfg(feature = "openai")]
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.shared.timeouts.idle
    }

    /// Tells how many connections are idle at the moment.
    pub fn idle_connections(&self) -> usize {
        self.shared.pool.len()
    }

    /// Makes a connection and closes it again, to see whether the upstream is there.
    ///
    /// It sends no request: a ChatKit server has none that is free of effect.
    ///
    /// # Errors
    /// [`Connect`](super::ForwardErrorKind::Connect) or
    /// [`ConnectTimeout`](super::ForwardErrorKind::ConnectTimeout).
    pub async fn check_reachable(&self) -> Result<(), ForwardError> {
        let connector = &self.shared.connector;
        connector.connect(connector.deadline()).await.map(drop)
    }

    /// Tells whether it failed so often that it is left in peace, or only tried.
    pub fn is_left_in_peace(&self) -> bool {
        self.shared.guard.is_open()
    }

    /// Sends a request of the gateway's own, which nothing keeps out and which counts for nothing.
    #[cfg(feature = "server")]
    pub(crate) fn call_unguarded(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        let asked = Asked { user: None, may_retry: false, ..self.asked(&request) };
        ResponseFuture::new(Arc::clone(&self.shared), asked, self.readdress(request))
    }

    /// Sends a request of whoever `user` is a hash of. If no connection can be made that is not tried
    /// again: whoever calls does so, as far as [`may_retry`](Self::may_retry) lets them.
    #[cfg(feature = "openai")]
    pub(crate) fn call_for(&self, user: u64, request: Request<Full<Bytes>>) -> ResponseFuture {
        let asked = Asked { user: Some(user), may_retry: false, ..self.asked(&request) };
        ResponseFuture::new(Arc::clone(&self.shared), asked, self.readdress(request))
    }

    /// Tells whether a request of whoever `user` is a hash of would be refused now, and why.
    #[cfg(feature = "openai")]
    pub(crate) fn check_admission(&self, user: u64) -> Result<(), ForwardError> {
        self.shared.guard.check(user)
    }

    /// Takes one of the retries that all requests have together.
    #[cfg(feature = "openai")]
    pub(crate) fn may_retry(&self) -> bool {
        self.shared.guard.may_retry()
    }

    fn asked<B>(&self, request: &Request<B>) -> Asked {
        let headers = request.headers();
        let wants_json = asks_for_json(headers);
        Asked {
            user: Some(self.shared.guard.user(headers)),
            may_retry: true,
            wants_json,
            is_run: !wants_json
                && asks_for_events(headers)
                && request.extensions().get::<Doubtful>().is_none(),
        }
    }

    /// Readdresses `request` and leaves out what belongs to the way it came.
    fn readdress<B>(&self, request: Request<B>) -> Request<OutgoingBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let query = parts.uri.query().filter(|_| self.shared.forward_query);
        parts.uri = self.shared.url.target(query);
        parts.version = Version::HTTP_11;
        parts.extensions = Extensions::new();

        let headers = &mut parts.headers;
        remove_hop_by_hop(headers);
        self.shared.put_in_fixed(headers);
        headers.remove(header::EXPECT);
        // Written anew from what the body says of itself, so the two can't differ.
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::HOST, self.shared.url.authority().clone());
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Request::from_parts(parts, body.map_err(Into::into).boxed_unsync())
    }
}

impl<B> Service<Request<B>> for HttpUpstream
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UpstreamBody>;
    type Error = ForwardError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let asked = self.asked(&request);
        ResponseFuture::new(Arc::clone(&self.shared), asked, self.readdress(request))
    }
}

impl fmt::Debug for HttpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUpstream")
            .field("url", &self.shared.url)
            .field("timeouts", &self.shared.timeouts)
            .finish_non_exhaustive()
    }
}
