use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

#[cfg(feature = "server")]
use super::layer::Ending;
use super::record::Record;
use super::request_id;
use crate::principal::Identified;
use crate::rejection::{Code, Refused, X_REQUEST_ID};
use crate::shown::shown;

/// The service that gives requests their ids and logs them.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    #[cfg(feature = "server")]
    ending: Option<Ending>,
}

impl<S> Trace<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            #[cfg(feature = "server")]
            ending: None,
        }
    }

    #[cfg(feature = "server")]
    pub(super) fn of_server(inner: S, ending: Ending) -> Self {
        Self { inner, ending: Some(ending) }
    }
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let request_id = request_id::ensure(request.headers_mut());
        request_id::drop_bad_trace_context(request.headers_mut());
        let record = Record::default();
        request.extensions_mut().insert(record.clone());
        let line = LogLine {
            begun: Instant::now(),
            method: request.method().clone(),
            path: shown(request.uri().path()).into(),
            // A copy of its own: a slice of the head would keep the whole read buffer for as
            // long as the stream is open.
            request_id: HeaderValue::from_bytes(request_id.as_bytes()).unwrap_or(request_id),
            record,
            status: None,
            refused: None,
            bytes: 0,
            outcome: None,
            #[cfg(feature = "server")]
            ending: self.ending.clone(),
        };
        ResponseFuture { future: self.inner.call(request), line: Some(line) }
    }
}

pin_project! {
    /// The future of [`Trace`].
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        line: Option<LogLine>,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<TracedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match ready!(this.future.poll(cx)) {
            Ok(response) => response,
            Err(error) => {
                this.line.take();
                return Poll::Ready(Err(error));
            }
        };
        let mut line = this.line.take();
        if let Some(line) = &mut line {
            response.headers_mut().insert(X_REQUEST_ID, line.request_id.clone());
            line.status = Some(response.status());
            line.refused = response.extensions_mut().remove::<Refused>();
            // Such a body need not be asked for its end: HTTP/1 knows that of a HEAD, and `Server`
            // sees to it on HTTP/2.
            if line.method == Method::HEAD || response.body().is_end_stream() {
                line.outcome = Some("complete");
            } else if is_long(response.body()) {
                response.extensions_mut().insert(line.record.clone());
            }
        }
        Poll::Ready(Ok(response.map(|body| TracedBody { body, line })))
    }
}

/// What a server takes of a body may be in its memory for long after the body is over. Of one that
/// may be longer than this, [`Server`](crate::server::Server) finds the [`Record`] in the response's
/// extensions, to tell if the client didn't take it.
const SHORT_BODY_BYTES: u64 = 16 * 1024;

/// Tells whether a body is longer than [`SHORT_BODY_BYTES`], as far as is known.
pub(crate) fn is_long(body: &impl Body) -> bool {
    body.size_hint().exact().is_none_or(|bytes| bytes > SHORT_BODY_BYTES)
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A response body whose end is logged. It passes its frames on untouched.
    pub struct TracedBody<R> {
        #[pin]
        body: R,
        line: Option<LogLine>,
    }
}

impl<R: Body<Data = Bytes>> Body for TracedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(line) = this.line {
            match &frame {
                Some(Ok(frame)) => {
                    line.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                    // A server that knows the end doesn't ask for it.
                    if this.body.is_end_stream() {
                        line.outcome.get_or_insert("complete");
                    }
                }
                Some(Err(_)) => line.outcome = Some("truncated"),
                None => {
                    line.outcome.get_or_insert("complete");
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<R> fmt::Debug for TracedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracedBody").finish_non_exhaustive()
    }
}

/// The log line of a request; written when it is dropped, which is when all is over.
struct LogLine {
    begun: Instant,
    method: Method,
    path: Box<str>,
    request_id: HeaderValue,
    record: Record,
    status: Option<StatusCode>,
    refused: Option<Refused>,
    bytes: u64,
    outcome: Option<&'static str>,
    #[cfg(feature = "server")]
    ending: Option<Ending>,
}

impl LogLine {
    /// Names what came of it: `complete`, `refused`, `failed`, `truncated`, `idle`, `unbound`,
    /// `cancelled` or `drained`.
    fn outcome(&self) -> &'static str {
        if self.refused.is_some() {
            return "refused";
        }
        let outcome = self.record.end().or(self.outcome).unwrap_or("cancelled");
        #[cfg(feature = "server")]
        if outcome == "cancelled" && self.ending.as_ref().is_some_and(Ending::has_begun) {
            return "drained";
        }
        if outcome == "complete" && self.record.is_untaken() { "cancelled" } else { outcome }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let duration_ms = milliseconds(self.begun.elapsed());
        let code = self.refused.as_ref().map(Refused::code);
        let cause = self.refused.as_ref().and_then(Refused::cause).map(shown);
        let cause = cause.as_deref();
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    target: "chatkit_rest::request",
                    request_id = self.request_id.to_str().unwrap_or_default(),
                    method = &*shown(self.method.as_str()),
                    path = &*self.path,
                    operation = self.record.operation_name(),
                    chatkit = self.record.chatkit_type(),
                    user = self.record.user_id().map(|user| user.as_str()),
                    service = self.record.service_name(),
                    session = self.record.session_id().map(tracing::field::display),
                    status = self.status.map(|status| status.as_u16()),
                    code = code.map(Code::as_str),
                    cause,
                    outcome = self.outcome(),
                    bytes = self.bytes,
                    duration_ms,
                    "request"
                )
            };
        }
        match code {
            Some(Code::Internal) => log!(error),
            Some(
                Code::UpstreamError
                | Code::ThreadIdReused
                | Code::AttachmentIdReused
                | Code::UpstreamTimeout
                | Code::ServiceUnavailable,
            ) => {
                log!(warn);
            }
            // The upstream broke off, fell silent or used an id again after the status was sent.
            None if matches!(self.outcome(), "truncated" | "idle" | "unbound") => log!(warn),
            _ => log!(info),
        }
    }
}

/// Gives a duration in milliseconds, to two places: what comes after them is noise.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The service of [`UserLayer`](super::UserLayer).
#[derive(Clone, Debug)]
pub struct User<S> {
    inner: S,
}

impl<S> User<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B> Service<Request<B>> for User<S>
where
    S: Service<Request<B>>,
    B: Identified,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(record) = request.extensions().get::<Record>() {
            record.caller(request.body().principal());
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_places() {
        for (nanos, ms) in
            [(0, "0.0"), (1_234_567, "1.23"), (1_235_000, "1.24"), (99_999_999, "100.0")]
        {
            assert_eq!(format!("{:?}", milliseconds(Duration::from_nanos(nanos))), ms);
        }
    }
}
