//! What `Proxy-Status` (RFC 9209) says of a refusal.

use http::{HeaderValue, StatusCode};

/// Who says it: this gateway.
const NAME: &str = "chatkit-rest";

/// The most that is passed on of what proxies behind the gateway have said, in bytes.
const MAX_EARLIER_BYTES: usize = 1024;

/// Why there was no answer to pass on: a type of RFC 9209 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyError {
    /// As much is under way to the upstream as may be.
    ConnectionLimitReached,
    /// Nothing came by the connection for too long.
    ConnectionReadTimeout,
    /// The upstream refused the connection.
    ConnectionRefused,
    /// The connection ended before the answer began.
    ConnectionTerminated,
    /// Connecting took too long.
    ConnectionTimeout,
    /// The upstream's address can't be reached.
    DestinationIpUnroutable,
    /// The upstream is taken to be down, and isn't asked.
    DestinationUnavailable,
    /// The upstream's name has no address.
    DnsError,
    /// What was said is not what the protocol has.
    HttpProtocolError,
    /// The answer is larger than may be read.
    HttpResponseBodySize,
    /// The answer has a content coding.
    HttpResponseContentCoding,
    /// The answer ended too soon.
    HttpResponseIncomplete,
    /// The answer took too long to its end.
    HttpResponseTimeout,
    /// The gateway is at fault, or its store.
    ProxyInternalError,
    /// The upstream broke TLS off, and said so.
    TlsAlertReceived,
    /// The upstream's certificate is not one to trust.
    TlsCertificateError,
    /// TLS failed otherwise.
    TlsProtocolError,
}

impl ProxyError {
    /// Gives the registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DnsError => "dns_error",
            Self::HttpProtocolError => "http_protocol_error",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseContentCoding => "http_response_content_coding",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsProtocolError => "tls_protocol_error",
        }
    }
}

/// The status that the upstream answered with, where it did, and what it, or a proxy on the way to
/// it, said of that.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) earlier: Option<HeaderValue>,
}

/// Gives the field's value; `None` where there is nothing to say.
pub(super) fn status(
    error: Option<ProxyError>,
    received: Option<&Received>,
) -> Option<HeaderValue> {
    if error.is_none() && received.is_none() {
        return None;
    }
    let earlier = received.and_then(|received| received.earlier.as_ref()?.to_str().ok());
    let mut value = String::new();
    // Section 2: the member nearest to the origin is the first.
    if let Some(earlier) = earlier.filter(|earlier| earlier.len() <= MAX_EARLIER_BYTES) {
        value.push_str(earlier);
        value.push_str(", ");
    }
    value.push_str(NAME);
    if let Some(error) = error {
        value.push_str("; error=");
        value.push_str(error.as_str());
    }
    if let Some(received) = received {
        value.push_str("; received-status=");
        value.push_str(received.status.as_str());
    }
    HeaderValue::try_from(value).ok()
}
