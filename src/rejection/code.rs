//! THE TABLE of refusals: code → wire name, status, and the client's text.

use std::fmt;

use http::StatusCode;

use super::ProxyError;

/// The stable name of a refusal: the `code` member of an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The upstream gave a new attachment the id of somebody else's.
    AttachmentIdReused,
    /// The attachment is unknown.
    AttachmentNotFound,
    /// Something else is being done to the same thing right now.
    Conflict,
    /// The message's text is empty or white space.
    EmptyMessage,
    /// The thing exists and is somebody else's.
    Forbidden,
    /// The token is good, and lacks a scope or a claim that is required.
    InsufficientScope,
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
    /// The upstream gave a new thread the id of another session's.
    ThreadIdReused,
    /// The thread is unknown.
    ThreadNotFound,
    /// The thread's id was given to two users, so it is nobody's to read or to write.
    ThreadQuarantined,
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
    /// The upstream doesn't know the operation.
    UpstreamUnsupported,
    /// An operator has shut the user out.
    UserBlocked,
}

impl Code {
    /// All codes, in the order of the API's table.
    pub const ALL: [Self; 31] = [
        Self::InvalidJson,
        Self::InvalidInput,
        Self::EmptyMessage,
        Self::MessageTooLong,
        Self::Unauthorized,
        Self::Forbidden,
        Self::InsufficientScope,
        Self::UserBlocked,
        Self::SessionNotFound,
        Self::ThreadNotFound,
        Self::ItemNotFound,
        Self::AttachmentNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::ThreadQuarantined,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::SessionLimit,
        Self::MessageLimit,
        Self::RateLimited,
        Self::UpstreamRejected,
        Self::UpstreamError,
        Self::ThreadIdReused,
        Self::AttachmentIdReused,
        Self::UpstreamTimeout,
        Self::UpstreamUnsupported,
        Self::ServiceUnavailable,
        Self::Internal,
    ];

    /// Reads THE TABLE: code → wire name, status, and the client's text where a room has none
    /// better.
    #[expect(clippy::too_many_lines, reason = "it is a table")]
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
            Self::InsufficientScope => (
                "INSUFFICIENT_SCOPE",
                S::FORBIDDEN,
                "The token is good, and lacks what is required here: get one that has what \
                 details.missing names.",
            ),
            Self::UserBlocked => (
                "USER_BLOCKED",
                S::FORBIDDEN,
                "This user is blocked; ask the operator of this service.",
            ),
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
            Self::ThreadQuarantined => (
                "THREAD_QUARANTINED",
                S::CONFLICT,
                "This conversation is locked for safety; ask the operator of this service.",
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
            Self::ThreadIdReused => (
                "THREAD_ID_REUSED",
                S::BAD_GATEWAY,
                "The chat server gave the new conversation an id that is in use; try again.",
            ),
            Self::AttachmentIdReused => (
                "ATTACHMENT_ID_REUSED",
                S::BAD_GATEWAY,
                "The chat server gave the new attachment an id that is in use; try again.",
            ),
            Self::UpstreamTimeout => {
                ("UPSTREAM_TIMEOUT", S::GATEWAY_TIMEOUT, "The chat server took too long to answer.")
            }
            Self::UpstreamUnsupported => (
                "UPSTREAM_UNSUPPORTED",
                S::NOT_IMPLEMENTED,
                "The chat server does not have this operation.",
            ),
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

    /// Gives the name on the wire, such as `SESSION_NOT_FOUND`.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Gives the status that goes with the code where nothing says otherwise.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Gives what `Proxy-Status` calls it where a room knows no better; `None` for what is not
    /// about getting an answer from the upstream.
    ///
    /// What is the client's own fault, its token or its limit has none. `http_request_error` and
    /// `http_request_denied` (RFC 9209 sections 2.3.17 and 2.3.18) tell an intermediary's 4xx from the
    /// origin's; here the gateway is the origin: sessions, users and limits are its own.
    pub const fn proxy_error(self) -> Option<ProxyError> {
        match self {
            Self::AttachmentIdReused | Self::ThreadIdReused | Self::UpstreamError => {
                Some(ProxyError::HttpProtocolError)
            }
            Self::UpstreamTimeout => Some(ProxyError::ConnectionReadTimeout),
            Self::Internal | Self::ServiceUnavailable => Some(ProxyError::ProxyInternalError),
            // The upstream has answered, and its status is told.
            Self::UpstreamRejected | Self::UpstreamUnsupported => None,
            Self::AttachmentNotFound
            | Self::Conflict
            | Self::EmptyMessage
            | Self::Forbidden
            | Self::InsufficientScope
            | Self::InvalidInput
            | Self::InvalidJson
            | Self::ItemNotFound
            | Self::MessageLimit
            | Self::MessageTooLong
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::NotFound
            | Self::PayloadTooLarge
            | Self::RateLimited
            | Self::RequestTimeout
            | Self::SessionLimit
            | Self::SessionNotFound
            | Self::ThreadNotFound
            | Self::ThreadQuarantined
            | Self::Unauthorized
            | Self::UnsupportedMediaType
            | Self::UserBlocked => None,
        }
    }

    /// Gives the client's text where a room has none better.
    pub const fn message(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
