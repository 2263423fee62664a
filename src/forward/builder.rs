use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use hyper::client::conn::http1;

use super::connect::Connector;
use super::guard::{Guard, SharedBreaker};
use super::names::never_fixed;
use super::places::Places;
use super::pool::Pool;
use super::service::Shared;
use super::timeouts::Timeouts;
use super::{HttpUpstream, UpstreamUrl};
use crate::error::Error;

/// The settings of an [`HttpUpstream`], from [`HttpUpstream::builder`].
#[derive(Clone)]
#[must_use = "an upstream is made by `build`"]
pub struct HttpUpstreamBuilder {
    url: UpstreamUrl,
    forward_query: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeouts: Timeouts,
    pool_idle_timeout: Duration,
    max_idle_connections: usize,
    max_response_head_bytes: usize,
    max_response_headers: usize,
    places: Option<(usize, usize, Duration)>,
    breaker: bool,
    user_header: Option<HeaderName>,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl HttpUpstreamBuilder {
    pub(super) fn new(url: UpstreamUrl) -> Self {
        Self {
            url,
            forward_query: false,
            headers: Vec::new(),
            timeouts: Timeouts::default(),
            pool_idle_timeout: Duration::from_secs(4),
            max_idle_connections: 256,
            max_response_head_bytes: 65_536,
            max_response_headers: HYPER_MAX_HEADERS,
            places: None,
            breaker: false,
            user_header: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sets how long name look-up, TCP and TLS may take together; 2 s if not set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets how long the first byte of an answer's *body* may take from the moment a connection is
    /// there to send the request by; 30 s if not set. Interim answers (1xx) and a head don't extend
    /// it.
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.first_byte = timeout;
        self
    }

    /// Sets how long a stream (`text/event-stream`) may be silent once it has begun; 120 s if not
    /// set. A stream has no total timeout. Time during which nobody asks for more doesn't count.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
        self
    }

    /// Sets how long any other answer may take to its last byte, counted like
    /// [`first_byte_timeout`](Self::first_byte_timeout); 30 s if not set.
    ///
    /// It applies before the head only if the request's `accept` is `application/json`, since
    /// else the answer may be a stream.
    pub fn json_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.json = timeout;
        self
    }

    /// Sets how long a connection is kept for another request; 4 s if not set, 0 for not at all.
    ///
    /// It must be less than the upstream's own keep-alive (uvicorn: 5 s), or a request may be
    /// sent just as the connection is closed.
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.pool_idle_timeout = timeout;
        self
    }

    /// Sets how many connections are kept; 256 if not set. The oldest gives way.
    pub fn max_idle_connections(mut self, limit: usize) -> Self {
        self.max_idle_connections = limit;
        self
    }

    /// Sets the size a response head, or the trailers, may have, in bytes; 64 KiB if not set.
    pub fn max_response_head_bytes(mut self, limit: usize) -> Self {
        self.max_response_head_bytes = limit;
        self
    }

    /// Sets the number of fields a response head may have; 100 if not set.
    pub fn max_response_headers(mut self, limit: usize) -> Self {
        self.max_response_headers = limit;
        self
    }

    /// Allows `max` exchanges at once, from the request to the end of the answer; no limit if not set.
    /// Of those who ask for more, `max_queued` wait for up to `queue_timeout`, first come, first
    /// served, and no more than a quarter of them are one user's if
    /// [users are told apart](Self::user_header). Others are refused at once
    /// ([`Crowded`](super::ForwardErrorKind::Crowded)).
    pub fn max_concurrent(
        mut self,
        max: usize,
        max_queued: usize,
        queue_timeout: Duration,
    ) -> Self {
        self.places = Some((max, max_queued, queue_timeout));
        self
    }

    /// Leaves the upstream in peace when it fails: no connection, a status of 502 or the like, 500 to
    /// who asks for events, or no answer in time, or none before it is cut or whoever asked leaves after five seconds or
    /// more. Not unless set.
    ///
    /// That is so when more than half of at least 20 requests of half a minute fail, of at least three
    /// users, and no single user's make them so many, ten of them being others'; so never where
    /// [users aren't told apart](Self::user_header). Requests are refused then
    /// ([`BreakerOpen`](super::ForwardErrorKind::BreakerOpen)), for about a second at first and for about
    /// ten at most, before it is tried with one at a time, or two if one takes long. Whoever's try
    /// wasn't answered is refused for up to ten seconds more, so that others come first.
    pub fn breaker(mut self, breaker: bool) -> Self {
        self.breaker = breaker;
        self
    }

    /// Sets the field of requests that says whose they are; not set, they are all one user's.
    pub fn user_header(mut self, name: HeaderName) -> Self {
        self.user_header = Some(name);
        self
    }

    /// Sets whether a request's query is sent on, behind that of the URL; not unless set.
    pub fn forward_query(mut self, forward: bool) -> Self {
        self.forward_query = forward;
        self
    }

    /// Sends a field with every request, such as a key that the server asks its callers for, in the place
    /// of one of that name that a request has. Its value is marked as sensitive.
    ///
    /// # Errors
    /// If the gateway says something by the field itself, if it belongs to the connection or the body
    /// (`host`, `content-*`, `te`, …), or if it has a `_`.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Result<Self, Error> {
        if let Some(why) = never_fixed(name.as_str()) {
            return Err(Error::config(format!("the field {name} {why}")));
        }
        value.set_sensitive(true);
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Sets the TLS settings for an `https` URL: what is trusted, client certificates. Without, the
    /// operating system's certificates are trusted.
    ///
    /// Protocols for ALPN are taken from it too; it should offer none but `http/1.1`.
    #[cfg(feature = "tls")]
    pub fn tls_config(
        mut self,
        config: std::sync::Arc<tokio_rustls::rustls::ClientConfig>,
    ) -> Self {
        self.tls = Some(config);
        self
    }

    /// Gives the upstream. It connects to nothing yet.
    ///
    /// # Errors
    /// For an `https` URL, if its host is no server name or the system's certificates can't be
    /// read.
    pub fn build(self) -> Result<HttpUpstream, Error> {
        #[cfg(feature = "tls")]
        let tls = if self.url.is_https() {
            Some(super::tls::Tls::new(&self.url, self.tls)?)
        } else {
            None
        };
        let connector = Connector::new(
            &self.url,
            self.timeouts.connect,
            #[cfg(feature = "tls")]
            tls,
        );
        let mut http = http1::Builder::new();
        http.max_buf_size(READ_BUFFER_BYTES.max(self.max_response_head_bytes))
            .max_header_size(self.max_response_head_bytes);
        if self.max_response_headers != HYPER_MAX_HEADERS {
            // hyper allocates for each head once this is set, even to its default.
            http.max_headers(self.max_response_headers);
        }
        let places = self.places.map(|(max, max_queued, queue_timeout)| {
            // Who isn't told apart can't be given a part.
            let shares = if self.user_header.is_some() { QUEUE_SHARES } else { 1 };
            Places::new(max, max_queued, max_queued.div_ceil(shares), queue_timeout)
        });
        let breaker = self.breaker.then(|| SharedBreaker::new(self.url.clone()));
        Ok(HttpUpstream::new(Shared {
            guard: Guard::new(self.user_header, places, breaker),
            forward_query: self.forward_query,
            headers: self.headers,
            timeouts: self.timeouts,
            connector,
            http,
            pool: Pool::new(self.max_idle_connections, self.pool_idle_timeout),
            url: self.url,
        }))
    }
}

impl fmt::Debug for HttpUpstreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUpstreamBuilder")
            .field("url", &self.url)
            .field("timeouts", &self.timeouts)
            .field("pool_idle_timeout", &self.pool_idle_timeout)
            .finish_non_exhaustive()
    }
}

/// One user has no more of the queue than a part of so many.
const QUEUE_SHARES: usize = 4;

/// hyper's own limit, which it keeps on the stack.
const HYPER_MAX_HEADERS: usize = 100;

/// The most that is read at once. hyper begins with 8 KiB and doubles while reads fill it, so a
/// slow stream stays there and, since what it reads is handed on before the next read, touches
/// only the first page. hyper's own limit of 408 KiB would let each fast stream hold as much; a
/// fixed smaller size (`read_buf_exact_size`) would save 4 KiB of address space a stream, but
/// limit heads to it and cost a system call for every few events of a burst.
const READ_BUFFER_BYTES: usize = 65_536;
