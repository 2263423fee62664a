//! Every refusal: its code, status, public text and headers.
//!
//! This is the file that says which code has which status. Not in its table are only a `custom`
//! error before a run's output (422), and an upstream's own 4xx, which keeps its status. A room
//! that can't serve a request makes a [`Rejection`] and turns it into a response; it never
//! changes the service's error type, because an `Err` would close the connection without an
//! answer.
//!
//! A rejection has two messages. The one in the body is for the client and is either a constant
//! or made of limits and field names; it never holds a value the client sent, a token, or
//! anything the upstream said in a 5xx. The other one, [`Rejection::because`], is for the log.
//!
//! ```
//! use chatkit_rest::rejection::{Code, RefusalStyle, Rejection};
//!
//! let request = http::Request::new(());
//! let style = RefusalStyle::of(&request);
//! let response = Rejection::new(Code::SessionNotFound).into_response(&style);
//! assert_eq!(response.status(), 404);
//! ```

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use serde::Serialize;
use serde_json::{Map, Value};

/// The header that carries a request's id, in and out.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The stable name of a refusal: the `code` member of an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The attachment is unknown.
    AttachmentNotFound,
    /// Something else is being done to the same thing right now.
    Conflict,
    /// The message's text is empty or white space.
    EmptyMessage,
    /// The thing exists and is somebody else's.
    Forbidden,
    /// A defect of the gateway.
    Internal,
    /// The body breaks its schema.
    InvalidInput,
    /// The body is not JSON as it should be.
    InvalidJson,
    /// The item is unknown.
    ItemNotFound,
    /// The session has as many messages as it may have.
    MessageLimit,
    /// The message has too many characters.
    MessageTooLong,
    /// The path exists, the method doesn't.
    MethodNotAllowed,
    /// None of the media types that the client accepts can be had.
    NotAcceptable,
    /// No such path.
    NotFound,
    /// The body is too large.
    PayloadTooLarge,
    /// Too many requests in too short a time.
    RateLimited,
    /// The body did not come in time.
    RequestTimeout,
    /// Whoever is needed to answer is not there for the moment.
    ServiceUnavailable,
    /// The user has as many sessions as they may have.
    SessionLimit,
    /// The session is unknown.
    SessionNotFound,
    /// The thread is unknown.
    ThreadNotFound,
    /// The token is missing or not valid.
    Unauthorized,
    /// The body's media type is not the one that is due.
    UnsupportedMediaType,
    /// The upstream failed, or lied about the protocol.
    UpstreamError,
    /// The upstream refused the request as such.
    UpstreamRejected,
    /// The upstream took too long.
    UpstreamTimeout,
}

impl Code {
    /// All codes, in the order of the API's table.
    pub const ALL: [Self; 25] = [
        Self::InvalidJson,
        Self::InvalidInput,
        Self::EmptyMessage,
        Self::MessageTooLong,
        Self::Unauthorized,
        Self::Forbidden,
        Self::SessionNotFound,
        Self::ThreadNotFound,
        Self::ItemNotFound,
        Self::AttachmentNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::SessionLimit,
        Self::MessageLimit,
        Self::RateLimited,
        Self::UpstreamRejected,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::ServiceUnavailable,
        Self::Internal,
    ];

    /// THE TABLE: code → wire name, status, and the client's text where a room has none better.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidJson => ("INVALID_JSON", S::BAD_REQUEST, "The body is not valid JSON."),
            Self::InvalidInput => {
                ("INVALID_INPUT", S::BAD_REQUEST, "The body does not match what is expected.")
            }
            Self::EmptyMessage => {
                ("EMPTY_MESSAGE", S::BAD_REQUEST, "The message's text must not be empty.")
            }
            Self::MessageTooLong => {
                ("MESSAGE_TOO_LONG", S::BAD_REQUEST, "The message's text is too long.")
            }
            Self::Unauthorized => {
                ("UNAUTHORIZED", S::UNAUTHORIZED, "A valid bearer token is required.")
            }
            Self::Forbidden => ("FORBIDDEN", S::FORBIDDEN, "This belongs to another user."),
            Self::SessionNotFound => {
                ("SESSION_NOT_FOUND", S::NOT_FOUND, "There is no such session.")
            }
            Self::ThreadNotFound => ("THREAD_NOT_FOUND", S::NOT_FOUND, "There is no such thread."),
            Self::ItemNotFound => ("ITEM_NOT_FOUND", S::NOT_FOUND, "There is no such item."),
            Self::AttachmentNotFound => {
                ("ATTACHMENT_NOT_FOUND", S::NOT_FOUND, "There is no such attachment.")
            }
            Self::NotFound => ("NOT_FOUND", S::NOT_FOUND, "There is nothing at this path."),
            Self::MethodNotAllowed => (
                "METHOD_NOT_ALLOWED",
                S::METHOD_NOT_ALLOWED,
                "This path does not have that method; see the Allow header.",
            ),
            Self::NotAcceptable => (
                "NOT_ACCEPTABLE",
                S::NOT_ACCEPTABLE,
                "None of the media types in Accept can be given here.",
            ),
            Self::RequestTimeout => {
                ("REQUEST_TIMEOUT", S::REQUEST_TIMEOUT, "The body did not arrive in time.")
            }
            Self::Conflict => (
                "CONFLICT",
                S::CONFLICT,
                "Another request is being carried out on this session; try again.",
            ),
            Self::PayloadTooLarge => {
                ("PAYLOAD_TOO_LARGE", S::PAYLOAD_TOO_LARGE, "The body is too large.")
            }
            Self::UnsupportedMediaType => (
                "UNSUPPORTED_MEDIA_TYPE",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json.",
            ),
            Self::SessionLimit => (
                "SESSION_LIMIT",
                S::TOO_MANY_REQUESTS,
                "You have as many sessions as you may have; delete one first.",
            ),
            Self::MessageLimit => (
                "MESSAGE_LIMIT",
                S::TOO_MANY_REQUESTS,
                "This session has as many messages as it may have; start another one.",
            ),
            Self::RateLimited => (
                "RATE_LIMITED",
                S::TOO_MANY_REQUESTS,
                "Too many requests; see the Retry-After header.",
            ),
            Self::UpstreamRejected => {
                ("UPSTREAM_REJECTED", S::BAD_REQUEST, "The chat server refused this request.")
            }
            Self::UpstreamError => {
                ("UPSTREAM_ERROR", S::BAD_GATEWAY, "The chat server failed to answer this request.")
            }
            Self::UpstreamTimeout => {
                ("UPSTREAM_TIMEOUT", S::GATEWAY_TIMEOUT, "The chat server took too long to answer.")
            }
            Self::ServiceUnavailable => (
                "SERVICE_UNAVAILABLE",
                S::SERVICE_UNAVAILABLE,
                "The service is not available at the moment; try again.",
            ),
            Self::Internal => {
                ("INTERNAL", S::INTERNAL_SERVER_ERROR, "Something went wrong on our side.")
            }
        }
    }

    /// The name on the wire, such as `SESSION_NOT_FOUND`.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status that goes with the code where nothing says otherwise.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// The client's text where a room has none better.
    pub const fn message(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Rejection(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    status: StatusCode,
    message: Cow<'static, str>,
    details: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Cow<'static, str>>,
}

impl Rejection {
    /// A refusal with the code's own status and text.
    pub fn new(code: Code) -> Self {
        let mut rejection = Self(Box::new(Inner {
            code,
            status: code.status(),
            message: Cow::Borrowed(code.message()),
            details: Map::new(),
            headers: Vec::new(),
            cause: None,
        }));
        // RFC 9110 section 10.2.3: whoever is asked to come back is told when.
        if matches!(code, Code::Conflict | Code::ServiceUnavailable) {
            rejection = rejection.retry_after(1);
        }
        rejection
    }

    /// Replaces the client's text. It must not hold what a client or an upstream sent, except
    /// for the message of a ChatKit `custom` error, which its author wrote for the user.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Replaces the status, for a surface whose statuses differ and for an upstream's own 4xx.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Adds a member to `details`.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a response header, in place of an earlier one of that name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.retain(|(known, _)| *known != name);
        self.0.headers.push((name, value));
        self
    }

    /// Tells the client when to come back, in seconds (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Says for the log, and only for it, what happened.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The refusal's code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The status it will have.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What the log is told.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Writes the refusal the way the client asked for.
    ///
    /// The response's extensions hold a [`Refused`], for whoever logs requests.
    pub fn into_response(self, style: &RefusalStyle) -> Response<Full<Bytes>> {
        let Inner { code, status, message, details, headers, cause } = *self.0;
        let request_id = style.request_id.as_ref().and_then(|id| id.to_str().ok());
        let problem = style.wants_problem();
        let details = (!details.is_empty()).then_some(&details);
        let body = if problem {
            // RFC 9457 section 3.1: without a page of its own a problem's type is about:blank,
            // whose title is the status phrase.
            serde_json::to_vec(&Problem {
                r#type: "about:blank",
                title: status.canonical_reason().unwrap_or("Error"),
                status: status.as_u16(),
                detail: &message,
                code: code.as_str(),
                details,
                request_id,
            })
        } else {
            let error = Member { code: code.as_str(), message: &message, details, request_id };
            serde_json::to_vec(&Envelope { success: false, error })
        };

        let mut response = Response::new(Full::from(body.unwrap_or_default()));
        *response.status_mut() = status;
        let media_type = if problem { "application/problem+json" } else { "application/json" };
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in headers {
            fields.insert(name, value);
        }
        response.extensions_mut().insert(Refused { code, cause });
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    error: Member<'a>,
}

#[derive(Serialize)]
struct Member<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// What a refusal leaves in its response's extensions, for the log line of the request.
#[derive(Clone, Debug)]
pub struct Refused {
    code: Code,
    cause: Option<Cow<'static, str>>,
}

impl Refused {
    /// The refusal's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

/// How a request wants its refusals written: as the envelope, or as RFC 9457 problem details.
///
/// Taken from the request before it is consumed; cloning two header values, no more.
#[derive(Clone, Debug, Default)]
pub struct RefusalStyle {
    accept: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
}

impl RefusalStyle {
    /// Reads `Accept` and `X-Request-Id`.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::of_headers(request.headers())
    }

    /// Reads `Accept` and `X-Request-Id`.
    pub fn of_headers(headers: &http::HeaderMap) -> Self {
        Self {
            accept: headers.get(header::ACCEPT).cloned(),
            request_id: headers.get(X_REQUEST_ID).cloned(),
        }
    }

    fn wants_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().and_then(|accept| accept.to_str().ok()) else {
            return false;
        };
        let problem = crate::accept::named_quality(accept, "application/problem+json");
        let json = crate::accept::named_quality(accept, "application/json");
        problem > 0 && problem >= json
    }
}

pin_project! {
    /// A response body that is either a refusal or the inner service's own, passed on untouched.
    #[derive(Debug)]
    #[project = RefusedOrProjection]
    #[allow(missing_docs, reason = "named for what they hold")]
    pub enum RefusedOr<B> {
        Refused { #[pin] body: Full<Bytes> },
        Passthru { #[pin] body: B },
    }
}

impl<B> RefusedOr<B> {
    /// The inner service's response.
    pub fn pass(response: Response<B>) -> Response<Self> {
        response.map(|body| Self::Passthru { body })
    }

    /// A refusal.
    pub fn refuse(rejection: Rejection, style: &RefusalStyle) -> Response<Self> {
        rejection.into_response(style).map(|body| Self::Refused { body })
    }
}

/// An empty body, which is what a layer that answers by itself (CORS) asks for.
impl<B> Default for RefusedOr<B> {
    fn default() -> Self {
        Self::Refused { body: Full::default() }
    }
}

impl<B: Body<Data = Bytes>> Body for RefusedOr<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            RefusedOrProjection::Passthru { body } => body.poll_frame(cx),
            RefusedOrProjection::Refused { body } => {
                body.poll_frame(cx).map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passthru { body } => body.is_end_stream(),
            Self::Refused { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passthru { body } => body.size_hint(),
            Self::Refused { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn style(accept: &'static str) -> RefusalStyle {
        RefusalStyle {
            accept: Some(HeaderValue::from_static(accept)),
            request_id: Some(HeaderValue::from_static("r-1")),
        }
    }

    async fn body(response: Response<Full<Bytes>>) -> Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn every_code_has_one_row_and_both_renderings_agree() {
        let mut names = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(names.insert(code.as_str()), "{code} twice");
            let envelope = Rejection::new(code).into_response(&style("*/*"));
            let problem = Rejection::new(code).into_response(&style("application/problem+json"));
            assert_eq!(envelope.status(), code.status());
            assert_eq!(problem.status(), code.status());
            assert_eq!(envelope.headers()["content-type"], "application/json");
            assert_eq!(problem.headers()["content-type"], "application/problem+json");
            let (envelope, problem) = (body(envelope).await, body(problem).await);
            assert_eq!(envelope["success"], false);
            assert_eq!(envelope["error"]["code"], code.as_str());
            assert_eq!(envelope["error"]["message"], problem["detail"]);
            assert_eq!(envelope["error"]["request_id"], "r-1");
            assert_eq!(problem["request_id"], "r-1");
            assert_eq!(problem["code"], code.as_str());
            assert_eq!(problem["status"], code.status().as_u16());
        }
    }

    #[test]
    fn accept_decides_between_the_envelope_and_problem_details() {
        for (accept, problem) in [
            ("application/problem+json", true),
            ("application/json, application/problem+json", true),
            ("application/json, application/problem+json;q=0.5", false),
            ("application/problem+json;q=0", false),
            ("*/*", false),
            ("text/event-stream", false),
        ] {
            assert_eq!(style(accept).wants_problem(), problem, "{accept}");
        }
    }

    #[test]
    fn the_cause_is_for_the_log_only() {
        let rejection = Rejection::new(Code::UpstreamError).because("connection refused");
        let response = rejection.into_response(&RefusalStyle::default());
        assert_eq!(
            response.extensions().get::<Refused>().unwrap().cause(),
            Some("connection refused")
        );
    }

    #[test]
    fn a_rejection_is_one_pointer() {
        assert_eq!(size_of::<Rejection>(), size_of::<usize>());
    }
}
