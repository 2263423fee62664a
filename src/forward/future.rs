use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header;
use http::{Extensions, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tracing::debug;

use super::body::UpstreamBody;
use super::connection::{Connection, OutgoingBody, SendError};
use super::headers::{asks_for_json, is_event_stream, remove_hop_by_hop};
use super::service::Shared;
use super::timeouts::DeadlineWatch;
use super::{ForwardError, ForwardErrorKind};
use crate::rejection::PROXY_STATUS;

/// The future of [`HttpUpstream`](super::HttpUpstream): ready with the head of the answer.
///
/// Dropping it closes the connection it has taken. It is one box; nothing of it is left once the
/// answer's body flows.
pub struct ResponseFuture {
    exchange: Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, ForwardError>> + Send>>,
}

impl ResponseFuture {
    pub(super) fn new(upstream: Arc<Shared>, request: Request<OutgoingBody>) -> Self {
        Self { exchange: Box::pin(exchange(upstream, request)) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<UpstreamBody>, ForwardError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.exchange.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Sends `request` on an idle connection, or on a new one.
///
/// A request is sent twice only if the first connection gave it back unwritten, and the second
/// time it is a new connection's.
async fn exchange(
    upstream: Arc<Shared>,
    mut request: Request<OutgoingBody>,
) -> Result<Response<UpstreamBody>, ForwardError> {
    let json = asks_for_json(request.headers());

    if let Some(mut connection) = upstream.pool.checkout() {
        let mut watch = DeadlineWatch::new(&upstream.timeouts, json);
        match connection.send(request, &mut watch, &upstream.timeouts).await {
            Ok(response) => return answer(upstream, connection, watch, response),
            Err(SendError::Failed(error)) => return Err(error),
            Err(SendError::Unsent(unsent, _)) => {
                debug!("an idle upstream connection had been closed; taking a new one");
                request = *unsent;
            }
        }
    }

    let mut connection = Box::pin(upstream.open()).await?;
    let mut watch = DeadlineWatch::new(&upstream.timeouts, json);
    match connection.send(request, &mut watch, &upstream.timeouts).await {
        Ok(response) => answer(upstream, connection, watch, response),
        Err(SendError::Failed(error) | SendError::Unsent(_, error)) => Err(error),
    }
}

fn answer(
    upstream: Arc<Shared>,
    connection: Box<Connection>,
    mut watch: DeadlineWatch,
    response: Response<Incoming>,
) -> Result<Response<UpstreamBody>, ForwardError> {
    let (mut parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it.
        return Err(ForwardError::new(ForwardErrorKind::Head));
    }
    // Two lengths: the chunks are right (RFC 9112 section 6.3), but what follows is not to be
    // trusted.
    let ambiguous = parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.remove(header::CONTENT_LENGTH).is_some();
    let proxy_status = parts.headers.remove(PROXY_STATUS);
    remove_hop_by_hop(&mut parts.headers);
    if let Some(value) = proxy_status {
        // Among `Proxy-*` the one that is passed on (RFC 9209 section 2).
        parts.headers.insert(PROXY_STATUS, value);
    }
    // The next hop has its own version; the extensions hold the upstream's reason phrase.
    parts.version = Version::HTTP_11;
    parts.extensions = Extensions::new();

    watch.head(is_event_stream(&parts.headers));
    // After an unhandled exception uvicorn closes the connection without announcing it.
    let reusable = !parts.status.is_server_error() && !ambiguous;
    let body = UpstreamBody::new(incoming, connection, upstream, watch, reusable);
    Ok(Response::from_parts(parts, body))
}
