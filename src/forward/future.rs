use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header;
use http::response::Parts;
use http::{Extensions, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::body::UpstreamBody;
use super::breaker::Outcome;
use super::connection::{Connection, OutgoingBody, SendError};
use super::guard::Admission;
use super::headers::{is_event_stream, remove_hop_by_hop};
use super::retry::Pauses;
use super::service::{Asked, Shared};
use super::timeouts::{DeadlineWatch, after};
use super::{ForwardError, ForwardErrorKind};
use crate::error::chain;
use crate::rejection::PROXY_STATUS;
use crate::shown::shown;

/// The future of [`HttpUpstream`](super::HttpUpstream): ready with the head of the answer.
///
/// Dropping it closes the connection it has taken. It is one box; nothing of it is left once the
/// answer's body flows.
pub struct ResponseFuture {
    exchange: Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, ForwardError>> + Send>>,
}

impl ResponseFuture {
    pub(super) fn new(upstream: Arc<Shared>, asked: Asked, request: Request<OutgoingBody>) -> Self {
        Self { exchange: Box::pin(exchange(upstream, asked, request)) }
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

/// Lets `request` in, sends it, and has what becomes of it judged.
async fn exchange(
    upstream: Arc<Shared>,
    asked: Asked,
    request: Request<OutgoingBody>,
) -> Result<Response<UpstreamBody>, ForwardError> {
    let mut admission = match asked.user {
        Some(user) => Some(upstream.guard.enter(user).await?),
        None => None,
    };
    let answered = match send(&upstream, asked, request).await {
        Ok(sent) => answer(sent),
        Err(error) => Err(error),
    };
    match answered {
        Ok(Answer { parts, incoming, connection, watch, reusable }) => {
            judge_head(&mut admission, asked, parts.status);
            let body =
                UpstreamBody::new(incoming, connection, upstream, watch, reusable, admission);
            Ok(Response::from_parts(parts, body))
        }
        Err(error) => {
            if let Some(admission) = &mut admission
                && error.kind() != ForwardErrorKind::Request
            {
                admission.judge(Outcome::Failed);
            }
            Err(error)
        }
    }
}

/// Judges what the status tells by itself. What a success is worth is seen in its body.
fn judge_head(admission: &mut Option<Admission>, asked: Asked, status: StatusCode) {
    let Some(admission) = admission else { return };
    match status {
        // ChatKit servers say 500 to whatever they don't like, and some say it to all that asks for
        // one thread.
        StatusCode::INTERNAL_SERVER_ERROR if !asked.is_run => admission.judge(Outcome::Unclear),
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            admission.judge(Outcome::Answered);
        }
        status if status.is_server_error() => admission.judge(Outcome::Failed),
        status if status.is_success() => {}
        _ => admission.judge(Outcome::Answered),
    }
}

/// A request that was sent, and the head of its answer.
struct Sent {
    connection: Box<Connection>,
    watch: DeadlineWatch,
    response: Response<Incoming>,
}

/// Sends `request` on an idle connection, or on a new one.
///
/// A request is sent again only if a connection gave it back unwritten, and then it is a new
/// connection's.
async fn send(
    upstream: &Shared,
    asked: Asked,
    mut request: Request<OutgoingBody>,
) -> Result<Sent, ForwardError> {
    if let Some(mut connection) = upstream.pool.checkout() {
        let mut watch = DeadlineWatch::new(&upstream.timeouts, asked.wants_json);
        match connection.send(request, &mut watch, &upstream.timeouts).await {
            Ok(response) => return Ok(Sent { connection, watch, response }),
            Err(SendError::Failed(error)) => return Err(error),
            Err(SendError::Unsent(unsent, _)) => {
                debug!("an idle upstream connection had been closed; taking a new one");
                request = *unsent;
            }
        }
    }
    Box::pin(send_anew(upstream, asked, request)).await
}

/// Sends `request` on a new connection. One that can't be made, or is closed before a byte was
/// written, is tried again after a pause, all within the time for one.
async fn send_anew(
    upstream: &Shared,
    asked: Asked,
    mut request: Request<OutgoingBody>,
) -> Result<Sent, ForwardError> {
    let mut pauses = Pauses::new();
    let deadline = upstream.connector.deadline();
    loop {
        let error = match upstream.open(deadline).await {
            Ok(mut connection) => {
                let mut watch = DeadlineWatch::new(&upstream.timeouts, asked.wants_json);
                match connection.send(request, &mut watch, &upstream.timeouts).await {
                    Ok(response) => return Ok(Sent { connection, watch, response }),
                    Err(SendError::Failed(error)) => return Err(error),
                    Err(SendError::Unsent(unsent, error)) => {
                        request = *unsent;
                        error
                    }
                }
            }
            Err(error) => error,
        };
        let pause = pauses.next().filter(|pause| {
            asked.may_retry
                && error.may_pass()
                && after(Instant::now(), *pause) < deadline
                && upstream.guard.may_retry()
        });
        let Some(pause) = pause else { return Err(error) };
        debug!(error = &*shown(&chain(&error)), "no upstream connection; trying again");
        sleep(pause).await;
    }
}

/// An answer's head as it is passed on, and what its body is made of.
struct Answer {
    parts: Parts,
    incoming: Incoming,
    connection: Box<Connection>,
    watch: DeadlineWatch,
    reusable: bool,
}

fn answer(sent: Sent) -> Result<Answer, ForwardError> {
    let Sent { connection, mut watch, response } = sent;
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
    Ok(Answer { parts, incoming, connection, watch, reusable })
}
