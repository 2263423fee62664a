//! What can go wrong between the gateway and its upstream.

use std::fmt;
use std::time::Duration;

use crate::error::BoxError;
use crate::rejection::ProxyError;

/// The exchange with the upstream failed.
///
/// It is the error of the service and, once the head has come, of the response body. Whoever
/// maps it to a status finds it by type along [`source`](std::error::Error::source).
#[derive(Debug)]
pub struct ForwardError {
    kind: ForwardErrorKind,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

/// At which point it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardErrorKind {
    /// The answer's body ended before its end: cut, reset, or badly framed.
    BodyCut,
    /// Nothing was sent: the upstream failed too often, and is left in peace.
    BreakerOpen,
    /// No connection could be made: refused, unreachable, name not found, TLS failed.
    Connect,
    /// No connection within `upstream.connect_timeout`.
    ConnectTimeout,
    /// Nothing was sent: as much is under way as may be, and there is no room to wait, or it took too
    /// long.
    Crowded,
    /// Nothing of the answer's body within `upstream.first_byte_timeout`.
    FirstByteTimeout,
    /// The connection broke or spoke nonsense before an answer's head.
    Head,
    /// Silence in the middle of a stream for longer than `upstream.idle_timeout`.
    IdleTimeout,
    /// The answer did not end within `upstream.json_timeout`.
    JsonTimeout,
    /// The request could not be written as HTTP/1.1.
    Request,
}

impl ForwardError {
    /// Makes a failure of that kind.
    pub fn new(kind: ForwardErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }

    /// Makes the same, with its cause.
    #[must_use]
    pub fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Makes the same, with how long not to come back; told where nothing was sent.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Tells at which point it failed.
    pub fn kind(&self) -> ForwardErrorKind {
        self.kind
    }

    /// Tells whether a time-out ended it.
    pub fn is_timeout(&self) -> bool {
        use ForwardErrorKind as K;
        matches!(
            self.kind,
            K::ConnectTimeout | K::FirstByteTimeout | K::IdleTimeout | K::JsonTimeout
        )
    }

    /// Tells for how many seconds not to come back, if nothing was sent because of what else there is.
    pub fn shed_for(&self) -> Option<u64> {
        use ForwardErrorKind as K;
        let wait = self.retry_after.unwrap_or_default();
        // Not a moment too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        matches!(self.kind, K::BreakerOpen | K::Crowded).then_some(seconds.max(1))
    }

    /// Gives what `Proxy-Status` calls it (RFC 9209 section 2.3).
    pub fn proxy_error(&self) -> ProxyError {
        use ForwardErrorKind as K;
        match self.kind {
            K::BodyCut => ProxyError::HttpResponseIncomplete,
            K::BreakerOpen => ProxyError::DestinationUnavailable,
            K::Connect => {
                self.find_source(why_unconnected).unwrap_or(ProxyError::ConnectionRefused)
            }
            K::ConnectTimeout => ProxyError::ConnectionTimeout,
            K::Crowded => ProxyError::ConnectionLimitReached,
            K::FirstByteTimeout | K::IdleTimeout => ProxyError::ConnectionReadTimeout,
            K::Head => self
                .find_source(why_headless)
                .or_else(|| self.find_source(why_alerted))
                .unwrap_or(ProxyError::ConnectionTerminated),
            K::JsonTimeout => ProxyError::HttpResponseTimeout,
            K::Request => ProxyError::ProxyInternalError,
        }
    }

    /// Tells whether the next connection may be a better one, and nothing was written to this one: TLS
    /// is no other thing in a moment.
    #[cfg(feature = "forward")]
    pub(super) fn may_pass(&self) -> bool {
        use ProxyError as P;
        matches!(self.kind, ForwardErrorKind::Connect | ForwardErrorKind::Head)
            && !matches!(
                self.proxy_error(),
                P::TlsAlertReceived | P::TlsCertificateError | P::TlsProtocolError
            )
    }

    /// Tells whether TLS was answered with something else.
    #[cfg(feature = "server")]
    pub(crate) fn is_for_want_of_tls(&self) -> bool {
        self.find_source(|error: &std::io::Error| is_no_tls(error).then_some(())).is_some()
    }

    /// Gives what is wrong with the certificate of who was to be connected to, if that is what is.
    #[cfg(feature = "server")]
    pub(crate) fn certificate_fault(&self) -> CertificateFault {
        self.find_source(certificate_fault).unwrap_or(CertificateFault::Untrusted)
    }

    fn find_source<T, R>(&self, read: impl Fn(&T) -> Option<R>) -> Option<R>
    where
        T: std::error::Error + 'static,
    {
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref().and_then(&read) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// Finds the forward error among an error and its causes.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ForwardErrorKind as K;
        f.write_str(match self.kind {
            K::BodyCut => "the upstream's answer was cut",
            K::BreakerOpen => "the upstream fails too often and is left in peace",
            K::Connect => "could not connect to the upstream",
            K::ConnectTimeout => "connecting to the upstream took too long",
            K::Crowded => "too much is under way to the upstream",
            K::FirstByteTimeout => "the upstream's first byte took too long",
            K::Head => "the upstream gave no valid answer",
            K::IdleTimeout => "the upstream's stream stood still for too long",
            K::JsonTimeout => "the upstream's answer took too long",
            K::Request => "the request could not be sent to the upstream",
        })
    }
}

impl std::error::Error for ForwardError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The upstream's name has no address, or couldn't be looked up.
#[cfg(feature = "forward")]
#[derive(Debug)]
pub(super) struct NameError(pub(super) std::io::Error);

#[cfg(feature = "forward")]
impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "forward")]
impl std::error::Error for NameError {}

/// The upstream answered with something that isn't HTTP.
#[cfg(feature = "forward")]
#[derive(Debug)]
pub(super) struct NoHttp(pub(super) hyper::Error);

#[cfg(feature = "forward")]
impl fmt::Display for NoHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it does not answer in HTTP/1.1; if it speaks TLS, its URL begins with https://",
        )
    }
}

#[cfg(feature = "forward")]
impl std::error::Error for NoHttp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn why_unconnected(error: &std::io::Error) -> Option<ProxyError> {
    use std::io::ErrorKind as K;
    #[cfg(feature = "forward")]
    let inner = error.get_ref();
    #[cfg(feature = "forward")]
    if inner.and_then(|inner| inner.downcast_ref::<NameError>()).is_some() {
        return Some(ProxyError::DnsError);
    }
    if is_no_tls(error) {
        return Some(ProxyError::TlsProtocolError);
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref()) {
        return Some(match tls {
            tokio_rustls::rustls::Error::AlertReceived(_) => ProxyError::TlsAlertReceived,
            tokio_rustls::rustls::Error::InvalidCertificate(_) => ProxyError::TlsCertificateError,
            _ => ProxyError::TlsProtocolError,
        });
    }
    match error.kind() {
        K::AddrNotAvailable | K::HostUnreachable | K::NetworkUnreachable => {
            Some(ProxyError::DestinationIpUnroutable)
        }
        K::ConnectionAborted | K::ConnectionReset | K::BrokenPipe | K::UnexpectedEof => {
            Some(ProxyError::ConnectionTerminated)
        }
        _ => None,
    }
}

#[cfg(feature = "tls")]
fn is_no_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<super::tls::NoTls>)
}

#[cfg(not(feature = "tls"))]
fn is_no_tls(_: &std::io::Error) -> bool {
    false
}

/// Why a certificate is not to be trusted, as far as what is to be done differs.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "there are no certificates"))]
pub(crate) enum CertificateFault {
    /// Its authority is not known, or it is in a form that is not taken.
    Untrusted,
    /// It is for another name.
    OtherName,
    /// It is no longer good, or not yet.
    OutOfDate,
    /// It is one to sign others with.
    OfAuthority,
}

#[cfg(all(feature = "server", feature = "tls"))]
fn certificate_fault(error: &std::io::Error) -> Option<CertificateFault> {
    use tokio_rustls::rustls::{CertificateError as E, Error as TlsError};
    let TlsError::InvalidCertificate(why) = error.get_ref()?.downcast_ref()? else { return None };
    Some(match why {
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateFault::OtherName,
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
            CertificateFault::OutOfDate
        }
        // The verifier's own error, whose type would be a dependency of its own.
        E::Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
            CertificateFault::OfAuthority
        }
        _ => CertificateFault::Untrusted,
    })
}

#[cfg(all(feature = "server", not(feature = "tls")))]
fn certificate_fault(_: &std::io::Error) -> Option<CertificateFault> {
    None
}

/// Finds what a server says that breaks TLS off when the handshake is over for us, as TLS 1.3 has it.
fn why_alerted(error: &std::io::Error) -> Option<ProxyError> {
    why_unconnected(error).filter(|why| *why == ProxyError::TlsAlertReceived)
}

#[cfg(feature = "forward")]
fn why_headless(error: &hyper::Error) -> Option<ProxyError> {
    error.is_parse().then_some(ProxyError::HttpProtocolError)
}

#[cfg(not(feature = "forward"))]
fn why_headless(_: &std::io::Error) -> Option<ProxyError> {
    None
}

/// So that a service that can't fail may stand beside one that can.
impl From<std::convert::Infallible> for ForwardError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::ForwardErrorKind as K;
    use super::*;

    /// Gives the one after it: a new one is to be put in here.
    fn after(kind: K) -> Option<K> {
        Some(match kind {
            K::BodyCut => K::BreakerOpen,
            K::BreakerOpen => K::Connect,
            K::Connect => K::ConnectTimeout,
            K::ConnectTimeout => K::Crowded,
            K::Crowded => K::FirstByteTimeout,
            K::FirstByteTimeout => K::Head,
            K::Head => K::IdleTimeout,
            K::IdleTimeout => K::JsonTimeout,
            K::JsonTimeout => K::Request,
            K::Request => return None,
        })
    }

    /// Whoever has a cause from the log finds it in the manual, beside the code that clients have.
    #[test]
    fn every_kind_has_its_row_in_the_manual() {
        let chapter = include_str!("../manual/troubleshooting.md");
        for kind in std::iter::successors(Some(K::BodyCut), |kind| after(*kind)) {
            let error = ForwardError::new(kind);
            let code = match error.shed_for() {
                Some(_) => "SERVICE_UNAVAILABLE",
                None if error.is_timeout() => "UPSTREAM_TIMEOUT",
                None => "UPSTREAM_ERROR",
            };
            let row = format!("\n| `{code}`, `{error}` | ");
            assert_eq!(chapter.matches(&row).count(), 1, "{row}");
        }
    }
}
