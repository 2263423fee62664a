//! Asking the upstream, one ChatKit request at a time.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::sender::{ReplyPermit, Sender};
#[cfg(test)]
use super::settings::ChatKitSettings;
use super::unknown::KnownTypes;
use crate::error::BoxError;
use crate::forward::{Doubtful, is_event_stream, is_json};
use crate::rejection::{Code, PROXY_STATUS, ProxyError, Rejection};

/// Asks intermediaries to pass on what comes as it comes (draft-ietf-httpbis-incremental).
pub(crate) const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
pub(crate) const YES: HeaderValue = HeaderValue::from_static("?1");

/// What an answer may be.
pub(crate) const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
pub(crate) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The upstream, for the length of one REST request.
#[derive(Clone, Debug)]
pub(crate) struct Upstream<S> {
    pub(crate) service: S,
    pub(crate) sender: Sender,
    /// What it is known to know, which the next request is told, too.
    pub(crate) known: KnownTypes,
}

/// A service that speaks ChatKit, and that a task of its own may ask.
pub(crate) trait ChatKit<R>:
    Service<
        Request<Full<Bytes>>,
        Response = Response<R>,
        Future: Send,
        Error: Into<BoxError> + Send,
    > + Clone
    + Send
    + 'static
{
}

impl<S, R> ChatKit<R> for S where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Future: Send,
            Error: Into<BoxError> + Send,
        > + Clone
        + Send
        + 'static
{
}

/// What it answers with.
pub(crate) trait ChatKitBody:
    Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static
{
}

impl<R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> ChatKitBody for R {}

/// Why an exchange gave no answer of use.
#[derive(Debug)]
pub(crate) enum UpstreamFailure {
    /// The exchange broke before or after the head.
    Broken(BoxError),
    /// A 200 that is not what the protocol promises.
    Protocol(&'static str),
    /// There is no room for a 200: what to say of it.
    Crowded(Rejection),
    /// A 200 that can't be read, and what RFC 9209 calls that.
    Unread(&'static str, ProxyError),
    /// Another status than 200.
    Status {
        status: StatusCode,
        retry_after: Option<HeaderValue>,
        proxy_status: Option<HeaderValue>,
    },
}

impl UpstreamFailure {
    pub(crate) const NOT_JSON: Self =
        Self::Protocol("the upstream's answer is not application/json");

    /// Tells whether it is the status of a server that caught nothing: a missing thread, or any
    /// other fault. A 502 or 503 is somebody else's, and says nothing about a thread.
    pub(crate) fn is_bare_500(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::INTERNAL_SERVER_ERROR, .. })
    }

    /// Tells whether whoever asked is not to ask for anything else: the upstream doesn't answer at
    /// all, or there is no room for what it answers.
    pub(crate) fn is_the_last(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Crowded(_))
    }

    /// Tells whether the upstream said itself that the thing isn't there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND, .. })
    }
}

impl From<UpstreamFailure> for Rejection {
    fn from(failure: UpstreamFailure) -> Self {
        match failure {
            UpstreamFailure::Broken(error) => Self::of_broken_exchange(&*error),
            UpstreamFailure::Crowded(rejection) => rejection,
            UpstreamFailure::Protocol(what) => Self::new(Code::UpstreamError).because(what),
            UpstreamFailure::Unread(what, error) => {
                Self::new(Code::UpstreamError).with_proxy_error(error).because(what)
            }
            UpstreamFailure::Status { status, retry_after, proxy_status } => {
                match status.as_u16() {
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
                    501 => {
                        Self::new(Code::UpstreamUnsupported).because("the upstream answered 501")
                    }
                    _ => Self::new(Code::UpstreamError)
                        .because(format!("the upstream answered {status}")),
                }
                .received(status, proxy_status)
            }
        }
    }
}

impl<S> Upstream<S> {
    /// Gives the largest answer that is read whole.
    pub(crate) fn max_reply_bytes(&self) -> usize {
        self.sender.settings().largest_reply()
    }

    /// Makes one that `service` is, asked by somebody.
    #[cfg(test)]
    pub(crate) fn of(service: S) -> Self {
        Self::with(service, ChatKitSettings::default())
    }

    /// Makes the same, with settings.
    #[cfg(test)]
    pub(crate) fn with(service: S, settings: ChatKitSettings) -> Self {
        let (head, ()) = Request::new(()).into_parts();
        let user = crate::principal::UserId::parse("ada").unwrap();
        let sender = Sender::new(settings.into(), std::sync::Arc::new(head), user, "test");
        Self { service, sender, known: KnownTypes::default() }
    }
}

impl<S, R> Upstream<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Sends one request; gives any answer.
    pub(crate) async fn exchange(
        &mut self,
        accept: HeaderValue,
        body: Bytes,
        doubtful: Option<Doubtful>,
    ) -> Result<Response<R>, UpstreamFailure> {
        let broken = |error: S::Error| UpstreamFailure::Broken(error.into());
        poll_fn(|cx| self.service.poll_ready(cx)).await.map_err(broken)?;
        let headers = self.sender.headers(accept, &body);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.sender.settings().endpoint.clone();
        *request.headers_mut() = headers;
        if let Some(doubtful) = doubtful {
            request.extensions_mut().insert(doubtful);
        }
        self.service.call(request).await.map_err(broken)
    }

    /// Sends one request; gives any answer with status 200.
    pub(crate) async fn send(
        &mut self,
        accept: HeaderValue,
        body: Bytes,
    ) -> Result<Response<R>, UpstreamFailure> {
        let response = self.exchange(accept, body, None).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .filter(|value| value.as_bytes().iter().all(u8::is_ascii_digit))
                .cloned();
            let proxy_status = response.headers().get(PROXY_STATUS).cloned();
            return Err(UpstreamFailure::Status { status, retry_after, proxy_status });
        }
        if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(UpstreamFailure::Unread(
                "the upstream's answer has a content coding",
                ProxyError::HttpResponseContentCoding,
            ));
        }
        Ok(response)
    }

    /// Sends a request whose answer is a run.
    pub(crate) async fn run(&mut self, body: Bytes) -> Result<Response<R>, UpstreamFailure> {
        let response = self.send(EVENT_STREAM, body).await?;
        if is_event_stream(response.headers()) {
            return Ok(response);
        }
        Err(UpstreamFailure::Protocol("the upstream's answer to a run is not text/event-stream"))
    }

    /// Sends a request whose answer is one JSON value, and reads that.
    pub(crate) async fn json(&mut self, body: Bytes) -> Result<Bytes, UpstreamFailure> {
        let response = self.send_for_json(body).await?;
        self.whole(response.into_body()).await
    }

    /// Sends a request whose answer is one JSON value.
    pub(crate) async fn send_for_json(
        &mut self,
        body: Bytes,
    ) -> Result<Response<R>, UpstreamFailure> {
        let response = self.send(JSON, body).await?;
        if is_json(response.headers()) { Ok(response) } else { Err(UpstreamFailure::NOT_JSON) }
    }

    /// Reads an answer's body.
    pub(crate) async fn whole(&mut self, body: R) -> Result<Bytes, UpstreamFailure> {
        read(body, self.max_reply_bytes(), self.sender.permit()).await
    }
}

/// Reads a whole answer of at most `max_bytes`, for which there is room as long as it is kept.
async fn read<R>(body: R, max_bytes: usize, mut kept: ReplyPermit) -> Result<Bytes, UpstreamFailure>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    const TOO_LARGE: UpstreamFailure = UpstreamFailure::Unread(
        "the upstream's answer is too large",
        ProxyError::HttpResponseBodySize,
    );
    let mut body = pin!(body);
    // Room is made for what comes: what is only announced is in nobody's memory.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(TOO_LARGE);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(UpstreamFailure::Broken(error.into())),
        };
        let Ok(data) = frame.into_data() else { continue };
        let bytes = first.as_ref().map_or(0, Bytes::len).max(rest.len()) + data.len();
        if bytes > max_bytes {
            return Err(TOO_LARGE);
        }
        kept.grow_to(bytes).map_err(UpstreamFailure::Crowded)?;
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
    let whole = if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() };
    Ok(kept.held_by(whole))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::limit::BufferedBytes;
    use crate::principal::UserId;

    /// Gives a body in pieces, and how many of them were taken.
    fn pieces(sizes: &[usize]) -> impl Body<Data = Bytes, Error = Infallible> {
        struct Pieces(Vec<usize>);
        impl futures_core::Stream for Pieces {
            type Item = Result<Frame<Bytes>, Infallible>;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                let piece = self.0.pop().map(|size| Ok(Frame::data(vec![b'a'; size].into())));
                std::task::Poll::Ready(piece)
            }
        }
        StreamBody::new(Pieces(sizes.iter().rev().copied().collect()))
    }

    #[tokio::test]
    async fn an_answer_counts_as_it_comes_and_until_it_is_dropped() {
        let buffered = BufferedBytes::new(300_000, 200_000);
        let settings =
            ChatKitSettings { buffered: Some(buffered.clone()), ..ChatKitSettings::default() };
        let upstream = Upstream::with((), settings);
        assert_eq!(upstream.max_reply_bytes(), 200_000);
        let kept = || upstream.sender.permit();

        // What is small is free, and what is not is counted in steps.
        let small = read(pieces(&[4000, 96]), 200_000, kept()).await.unwrap();
        assert_eq!((small.len(), buffered.kept()), (4096, 0));
        let first = read(pieces(&[5000, 1, 70_000]), 200_000, kept()).await.unwrap();
        assert_eq!((first.len(), buffered.kept()), (75_001, 5000 + 65_536 + 65_536));
        let refusal = read(pieces(&[50_000; 4]), 200_000, kept()).await.unwrap_err();
        assert!(matches!(&refusal, UpstreamFailure::Crowded(_)) && refusal.is_the_last());
        assert_eq!(Rejection::from(refusal).status(), 429);
        // However its length is told.
        let announced = Full::new(Bytes::from(vec![b'a'; 63_929]));
        assert!(read(announced, 200_000, kept()).await.is_err());
        drop(first);
        assert_eq!(buffered.kept(), 0);

        // Others are refused for what is everybody's, and nobody for what never would do.
        let eve = UserId::parse("eve").unwrap();
        let mut hers = buffered.permit(&eve);
        hers.grow_to(200_000).unwrap();
        let refusal = read(pieces(&[100_001]), 200_000, kept()).await.unwrap_err();
        assert_eq!(Rejection::from(refusal).code(), Code::ServiceUnavailable);
        let announced = Full::new(Bytes::from(vec![b'a'; 200_001]));
        let refusal = read(announced, 200_000, kept()).await.unwrap_err();
        assert_eq!(Rejection::from(refusal).code(), Code::UpstreamError);
    }
}
