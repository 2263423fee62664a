//! Asking the upstream, one ChatKit request at a time.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

#[cfg(test)]
use super::layer::TranslateSettings;
use super::sender::Sender;
use super::unknown::Known;
use crate::error::BoxError;
use crate::forward::{is_event_stream, is_json};
use crate::rejection::{Code, PROXY_STATUS, ProxyError, Rejection};

/// Asks intermediaries to pass on what comes as it comes (draft-ietf-httpbis-incremental).
pub(super) const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
pub(super) const YES: HeaderValue = HeaderValue::from_static("?1");

/// What an answer may be.
pub(super) const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The upstream, for the length of one REST request.
#[derive(Clone, Debug)]
pub(super) struct Upstream<S> {
    pub(super) service: S,
    pub(super) sender: Sender,
    /// What it is known to know, which the next request is told, too.
    pub(super) known: Known,
}

/// A service that speaks ChatKit, and that a task of its own may ask.
pub(super) trait Detachable<R>:
    Service<
        Request<Full<Bytes>>,
        Response = Response<R>,
        Future: Send,
        Error: Into<BoxError> + Send,
    > + Send
    + 'static
{
}

impl<S, R> Detachable<R> for S where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Send
        + 'static
{
}

/// Why an exchange gave no answer of use.
#[derive(Debug)]
pub(super) enum Failure {
    /// The exchange broke before or after the head.
    Broken(BoxError),
    /// A 200 that is not what the protocol promises.
    Protocol(&'static str),
    /// A 200 that can't be read, and what RFC 9209 calls that.
    Unread(&'static str, ProxyError),
    /// Another status than 200.
    Status {
        status: StatusCode,
        retry_after: Option<HeaderValue>,
        proxy_status: Option<HeaderValue>,
    },
}

impl Failure {
    pub(super) const NOT_JSON: Self =
        Self::Protocol("the upstream's answer is not application/json");

    /// The status of a server that caught nothing: a missing thread, or any other fault. A 502
    /// or 503 is somebody else's, and says nothing about a thread.
    pub(super) fn is_bare_500(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::INTERNAL_SERVER_ERROR, .. })
    }

    /// The upstream said itself that the thing isn't there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND, .. })
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Broken(error) => Self::of_broken_exchange(&*error),
            Failure::Protocol(what) => Self::new(Code::UpstreamError).because(what),
            Failure::Unread(what, error) => {
                Self::new(Code::UpstreamError).with_proxy_error(error).because(what)
            }
            Failure::Status { status, retry_after, proxy_status } => match status.as_u16() {
                // Its 401 and 403 concern us, not the client.
                400 | 404 | 409 | 413 | 422 | 429 => {
                    let rejection = Self::new(Code::UpstreamRejected)
                        .with_status(status)
                        .because(format!("the upstream answered {status}"));
                    match retry_after {
                        Some(value) if status == StatusCode::TOO_MANY_REQUESTS => {
                            rejection.header(RETRY_AFTER, value)
                        }
                        _ => rejection,
                    }
                }
                501 => Self::new(Code::UpstreamUnsupported).because("the upstream answered 501"),
                _ => Self::new(Code::UpstreamError)
                    .because(format!("the upstream answered {status}")),
            }
            .received(status, proxy_status),
        }
    }
}

impl<S> Upstream<S> {
    /// The largest answer that is read whole.
    pub(super) fn max_reply_bytes(&self) -> usize {
        self.sender.settings().max_reply_bytes
    }

    /// One that `service` is, asked by somebody.
    #[cfg(test)]
    pub(super) fn of(service: S) -> Self {
        Self::with(service, TranslateSettings::default())
    }

    /// The same, with settings.
    #[cfg(test)]
    pub(super) fn with(service: S, settings: TranslateSettings) -> Self {
        let (head, ()) = Request::new(()).into_parts();
        let user = crate::principal::UserId::parse("ada").unwrap();
        let sender = Sender::new(settings.into(), std::sync::Arc::new(head), user);
        Self { service, sender, known: Known::default() }
    }
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Sends one request; gives any answer.
    pub(super) async fn exchange(
        &mut self,
        accept: HeaderValue,
        body: Bytes,
    ) -> Result<Response<R>, Failure> {
        let broken = |error: S::Error| Failure::Broken(error.into());
        poll_fn(|cx| self.service.poll_ready(cx)).await.map_err(broken)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.sender.settings().endpoint.clone();
        *request.headers_mut() = self.sender.headers(accept);
        self.service.call(request).await.map_err(broken)
    }

    /// Sends one request; gives any answer with status 200.
    pub(super) async fn send(
        &mut self,
        accept: HeaderValue,
        body: Bytes,
    ) -> Result<Response<R>, Failure> {
        let response = self.exchange(accept, body).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .filter(|value| value.as_bytes().iter().all(u8::is_ascii_digit))
                .cloned();
            let proxy_status = response.headers().get(PROXY_STATUS).cloned();
            return Err(Failure::Status { status, retry_after, proxy_status });
        }
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Failure::Unread(
                "the upstream's answer has a content coding",
                ProxyError::HttpResponseContentCoding,
            ));
        }
        Ok(response)
    }

    /// Sends a request whose answer is a run.
    pub(super) async fn run(&mut self, body: Bytes) -> Result<Response<R>, Failure> {
        let response = self.send(EVENT_STREAM, body).await?;
        if is_event_stream(response.headers()) {
            return Ok(response);
        }
        Err(Failure::Protocol("the upstream's answer to a run is not text/event-stream"))
    }

    /// Sends a request whose answer is one JSON value, and reads that.
    pub(super) async fn json(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let response = self.send(JSON, body).await?;
        if !is_json(response.headers()) {
            return Err(Failure::NOT_JSON);
        }
        read(response.into_body(), self.max_reply_bytes()).await
    }
}

/// Reads a whole answer of at most `max_bytes`.
async fn read<R>(body: R, max_bytes: usize) -> Result<Bytes, Failure>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(Failure::Broken(error.into())),
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len).max(rest.len()) + data.len() > max_bytes {
            return Err(Failure::Unread(
                "the upstream's answer is too large",
                ProxyError::HttpResponseBodySize,
            ));
        }
        match &first {
            None => first = Some(data),
            Some(first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}
