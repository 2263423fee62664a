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

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

mod body;
mod code;
mod proxy;
mod style;

pub use body::RefusedOr;
#[cfg(any(feature = "authenticate", feature = "validate"))]
pub(crate) use body::made_of;
pub use code::Code;
pub use proxy::ProxyError;
pub use style::RefusalStyle;

/// The header that carries a request's id, in and out.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// RFC 9209; the registry of the `http` crate doesn't have it.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

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
    proxy_error: Option<ProxyError>,
    received: Option<proxy::Received>,
    /// The same may succeed soon, whatever the code says.
    passing: bool,
}

impl Rejection {
    /// Makes a refusal with the code's own status and text.
    pub fn new(code: Code) -> Self {
        let mut rejection = Self(Box::new(Inner {
            code,
            status: code.status(),
            message: Cow::Borrowed(code.message()),
            details: Map::new(),
            headers: Vec::new(),
            cause: None,
            proxy_error: code.proxy_error(),
            received: None,
            passing: false,
        }));
        // RFC 9110 section 10.2.3: whoever is asked to come back is told when.
        if matches!(code, Code::Conflict | Code::ServiceUnavailable) {
            rejection = rejection.retry_after(1);
        }
        rejection
    }

    /// Makes the refusal of a method that a path doesn't have; `allow` are those that it has.
    #[cfg(any(feature = "route", feature = "server"))]
    pub(crate) fn of_method(allow: HeaderValue) -> Self {
        let rejection = Self::new(Code::MethodNotAllowed);
        let rejection = match allow.to_str() {
            Ok(methods) => {
                rejection.message(format!("This path does not have that method; it has {methods}."))
            }
            Err(_) => rejection,
        };
        rejection.header(header::ALLOW, allow)
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

    /// Tells whether it has a member of that name in `details`.
    #[cfg(feature = "operation")]
    pub(crate) fn has_detail(&self, name: &str) -> bool {
        self.0.details.contains_key(name)
    }

    /// Adds a response header, in place of an earlier one of that name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.retain(|(known, _)| *known != name);
        self.0.headers.push((name, value));
        self
    }

    /// Adds to the value of a response header that it has.
    #[cfg(feature = "authenticate")]
    #[must_use]
    pub(crate) fn with_more(mut self, name: &HeaderName, more: &str) -> Self {
        for (_, value) in self.0.headers.iter_mut().filter(|(known, _)| known == name) {
            let longer = value.to_str().ok().map(|text| format!("{text}{more}"));
            if let Some(longer) = longer.and_then(|text| HeaderValue::try_from(text).ok()) {
                *value = longer;
            }
        }
        self
    }

    /// Tells the client when to come back, in seconds (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Asks the client for no second try: the same again would change nothing.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        self.0.headers.retain(|(name, _)| *name != header::RETRY_AFTER);
        self
    }

    /// Says that the same may succeed in a moment, where the code alone doesn't: an upstream that
    /// can't be reached is often one that is being started again.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.0.passing = true;
        self
    }

    /// Says in `Proxy-Status` more closely than the code does why there was no answer.
    #[must_use]
    pub fn with_proxy_error(mut self, error: ProxyError) -> Self {
        self.0.proxy_error = Some(error);
        self
    }

    /// Says in `Proxy-Status` what the upstream answered with, behind `earlier`, which came with
    /// that answer (RFC 9209 section 2).
    #[must_use]
    pub fn received(mut self, status: StatusCode, earlier: Option<HeaderValue>) -> Self {
        self.0.received = Some(proxy::Received { status, earlier });
        self
    }

    /// Says for the log, and only for it, what happened.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Gives the refusal's code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Gives the status it will have.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Gives what the log is told.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Writes the refusal the way the client asked for.
    ///
    /// The response's extensions hold a [`Refused`], for whoever logs requests.
    pub fn into_response(self, style: &RefusalStyle) -> Response<Full<Bytes>> {
        let proxy_status = proxy::status(self.0.proxy_error, self.0.received.as_ref());
        let Inner { code, status, message, details, headers, cause, passing, .. } = *self.0;
        let written = style.write(code, status, &message, &details, passing);
        let mut response = Response::new(Full::from(written.body));
        *response.status_mut() = written.status;
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(written.media_type));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = written.header {
            fields.insert(name, value);
        }
        if let Some(value) = proxy_status {
            fields.insert(PROXY_STATUS, value);
        }
        for (name, value) in headers {
            fields.insert(name, value);
        }
        response.extensions_mut().insert(Refused { code, cause });
        response
    }
}
/// What a refusal leaves in its response's extensions, for the log line of the request.
#[derive(Clone, Debug)]
pub struct Refused {
    code: Code,
    cause: Option<Cow<'static, str>>,
}

impl Refused {
    /// Gives the refusal's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Gives the message for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
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
            ..RefusalStyle::default()
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
    fn proxy_status_is_for_what_is_not_the_clients_fault() {
        for code in Code::ALL {
            let response = Rejection::new(code).into_response(&RefusalStyle::default());
            let status = response.headers().get(PROXY_STATUS).map(|value| value.to_str().unwrap());
            let expected = match code.status().as_u16() {
                500 | 503 => Some("chatkit-rest; error=proxy_internal_error"),
                502 => Some("chatkit-rest; error=http_protocol_error"),
                504 => Some("chatkit-rest; error=connection_read_timeout"),
                _ => None,
            };
            assert_eq!(status, expected, "{code}");
        }
    }

    #[test]
    fn proxy_status_goes_behind_what_is_there() {
        let told = |earlier: &str| {
            let rejection = Rejection::new(Code::UpstreamError);
            let earlier = HeaderValue::from_str(earlier).unwrap();
            let response = rejection
                .received(StatusCode::BAD_GATEWAY, Some(earlier))
                .into_response(&RefusalStyle::default());
            response.headers()[PROXY_STATUS].to_str().unwrap().to_owned()
        };
        let own = "chatkit-rest; error=http_protocol_error; received-status=502";
        assert_eq!(told("lb; error=dns_error"), format!("lb; error=dns_error, {own}"));
        assert_eq!(told(&"x".repeat(1025)), own);
        let finer = Rejection::new(Code::UpstreamTimeout)
            .with_proxy_error(ProxyError::ConnectionTimeout)
            .into_response(&RefusalStyle::default());
        assert_eq!(finer.headers()[PROXY_STATUS], "chatkit-rest; error=connection_timeout");
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

    #[tokio::test]
    async fn openai_has_its_own_shape_and_is_told_whether_to_try_again() {
        let style = RefusalStyle { surface: crate::surface::Surface::OpenAi, ..style("*/*") };
        for code in Code::ALL {
            let response = Rejection::new(code).into_response(&style);
            assert_eq!(response.status(), code.status());
            assert_eq!(response.headers()["content-type"], "application/json");
            let again = response.headers()["x-should-retry"] == "true";
            let transient = matches!(
                code,
                Code::Conflict
                    | Code::MessageLimit
                    | Code::RateLimited
                    | Code::RequestTimeout
                    | Code::ServiceUnavailable
                    | Code::SessionLimit
                    | Code::UpstreamTimeout
            );
            assert_eq!(again, transient, "{code}");
            let error = &body(response).await["error"];
            assert_eq!(error["message"], code.message());
            assert_eq!(error["param"], Value::Null);
            let kind = match code.status().as_u16() {
                500.. => "server_error",
                _ if code == Code::RateLimited => "requests",
                _ => "invalid_request_error",
            };
            assert_eq!(error["type"], kind, "{code}");
        }
        let broken = Rejection::new(Code::UpstreamError).passing().into_response(&style);
        assert_eq!(broken.status(), 502);
        assert_eq!(broken.headers()["x-should-retry"], "true");
        let faults =
            serde_json::json!([{"pointer": "/rate_limits/a~1b", "message": "is required"}]);
        let rejection = Rejection::new(Code::InvalidInput).detail("errors", faults);
        let error = &body(rejection.into_response(&style)).await["error"];
        assert_eq!(error["param"], "rate_limits.a/b");
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
