//! How a refusal is written: as the envelope, as problem details, or as OpenAI writes errors.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Extensions, Request, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Code, X_REQUEST_ID};
use crate::surface::{InvalidStatus, Surface};

/// Whether the official `openai` clients are to try a refused request again by themselves. They do
/// for 408, 409, 429 and every 5xx where nothing tells them not to.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
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

#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiMember<'a>,
}

#[derive(Serialize)]
struct OpenAiMember<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

/// How a request wants its refusals written.
///
/// On the REST and chat surfaces that is the envelope, or RFC 9457 problem details where `Accept`
/// asks for those; on the OpenAI-compatible one it is that API's error.
///
/// Taken from the request before it is consumed; cloning two header values, no more.
#[derive(Clone, Debug, Default)]
pub struct RefusalStyle {
    pub(super) accept: Option<HeaderValue>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) surface: Surface,
    pub(super) invalid: InvalidStatus,
}

/// A refusal as it goes out.
pub(super) struct Written {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl RefusalStyle {
    /// Reads `Accept`, `X-Request-Id`, and the surface that the request came to.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::of_head(request.headers(), request.extensions())
    }

    /// Does as [`of`](Self::of) does, for a request that was taken apart.
    pub fn of_parts(head: &http::request::Parts) -> Self {
        Self::of_head(&head.headers, &head.extensions)
    }

    /// Writes as `surface` does, where the path alone doesn't tell it.
    #[cfg(feature = "server")]
    pub(crate) fn on(self, surface: Surface) -> Self {
        Self { surface, ..self }
    }

    fn of_head(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            accept: headers.get(header::ACCEPT).cloned(),
            request_id: headers.get(X_REQUEST_ID).cloned(),
            surface: Surface::of_extensions(extensions),
            invalid: InvalidStatus::of_extensions(extensions),
        }
    }

    pub(super) fn write(
        &self,
        code: Code,
        status: StatusCode,
        message: &str,
        details: &Map<String, Value>,
        passing: bool,
    ) -> Written {
        let status = self.surface.status(code, status, self.invalid);
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let details = (!details.is_empty()).then_some(details);
        let json = |body: Result<Vec<u8>, serde_json::Error>| body.unwrap_or_default();
        if self.surface == Surface::OpenAi {
            let (kind, name, again) = openai(code, status);
            let param = details.and_then(first_field);
            let error = OpenAiMember { message, r#type: kind, param, code: name };
            return Written {
                status,
                media_type: "application/json",
                body: json(serde_json::to_vec(&OpenAiError { error })),
                header: Some((
                    X_SHOULD_RETRY,
                    HeaderValue::from_static(if again || passing { "true" } else { "false" }),
                )),
            };
        }
        if self.wants_problem() {
            // RFC 9457 section 3.1: without a page of its own a problem's type is about:blank,
            // whose title is the status phrase.
            let body = serde_json::to_vec(&Problem {
                r#type: "about:blank",
                title: status.canonical_reason().unwrap_or("Error"),
                status: status.as_u16(),
                detail: message,
                code: code.as_str(),
                details,
                request_id,
            });
            let media_type = "application/problem+json";
            return Written { status, media_type, body: json(body), header: None };
        }
        let error = Member { code: code.as_str(), message, details, request_id };
        let body = json(serde_json::to_vec(&ErrorEnvelope { success: false, error }));
        Written { status, media_type: "application/json", body, header: None }
    }

    pub(super) fn wants_problem(&self) -> bool {
        let Some(accept) = self.accept.as_ref().and_then(|accept| accept.to_str().ok()) else {
            return false;
        };
        let problem = crate::accept::named_quality(accept, "application/problem+json");
        let json = crate::accept::named_quality(accept, "application/json");
        problem > 0 && problem >= json
    }
}

impl Surface {
    /// Gives the status of a refusal here, where REST has `status` for it, and one-shot chat
    /// `invalid` for what is well written and says the wrong thing.
    ///
    /// One-shot chat calls everything that goes wrong behind it 503: there, a 404 of the upstream's would
    /// mean a conversation that is unknown. What the upstream says to the user (422), and that
    /// there is too much (429), stay what they are.
    pub fn status(self, code: Code, status: StatusCode, invalid: InvalidStatus) -> StatusCode {
        match (self, code) {
            (Self::Chat, Code::InvalidInput | Code::EmptyMessage | Code::MessageTooLong) => {
                invalid.status()
            }
            (
                Self::Chat,
                Code::ThreadIdReused
                | Code::UpstreamError
                | Code::UpstreamTimeout
                | Code::UpstreamUnsupported,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            (Self::Chat, Code::UpstreamRejected)
                if matches!(status.as_u16(), 400 | 404 | 409 | 413) =>
            {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => status,
        }
    }
}

/// Gives the `type` and `code` of OpenAI's errors, and whether to try again: only what may be
/// different next time is worth it.
fn openai(code: Code, status: StatusCode) -> (&'static str, Option<&'static str>, bool) {
    const INVALID: &str = "invalid_request_error";
    match code {
        Code::Unauthorized => (INVALID, Some("invalid_api_key"), false),
        Code::RateLimited => ("requests", Some("rate_limit_exceeded"), true),
        Code::Conflict | Code::RequestTimeout => (INVALID, None, true),
        Code::ServiceUnavailable | Code::UpstreamTimeout => ("server_error", None, true),
        _ if status.is_server_error() => ("server_error", None, false),
        _ => (INVALID, None, status == StatusCode::TOO_MANY_REQUESTS),
    }
}

/// Gives the first field that a report of a body's faults names, as OpenAI names one:
/// `rate_limits.x`.
fn first_field(details: &Map<String, Value>) -> Option<String> {
    let pointer = details.get("errors")?.get(0)?.get("pointer")?.as_str()?;
    // RFC 6901 section 4: `~1` is a slash, and `~0` a tilde.
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let field = field.replace("~1", "/").replace("~0", "~");
    (!field.is_empty()).then_some(field)
}
