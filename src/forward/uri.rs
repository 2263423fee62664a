use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::header::HeaderValue;
use http::uri::PathAndQuery;

/// The address of a ChatKit server: `http://` or `https://`, a host, maybe a port, path and query.
///
/// All requests go to this one address: ChatKit has a single endpoint. A missing path is `/`.
/// It never holds credentials, so it may be logged; its query is still left out of [`Display`]
/// and [`Debug`], since keys do get put there.
///
/// ```
/// use chatkit_rest::forward::{InvalidUpstreamUrl, UpstreamUrl};
///
/// let url = UpstreamUrl::parse("http://127.0.0.1:8000/chatkit")?;
/// assert_eq!(url.port(), 8000);
/// assert_eq!(UpstreamUrl::parse("ftp://example.org"), Err(InvalidUpstreamUrl::Scheme));
/// # Ok::<(), InvalidUpstreamUrl>(())
/// ```
///
/// [`Display`]: fmt::Display
/// [`Debug`]: fmt::Debug
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    https: bool,
    /// Without the brackets of an IPv6 address.
    host: Box<str>,
    port: u16,
    /// What the `Host` field says: host and, unless it is the scheme's own, port.
    authority: HeaderValue,
    target: PathAndQuery,
}

impl UpstreamUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`InvalidUpstreamUrl`] names the part that is wrong.
    pub fn parse(url: &str) -> Result<Self, InvalidUpstreamUrl> {
        use InvalidUpstreamUrl as Invalid;

        // `http::Uri` would drop a fragment in silence and read `localhost:80` as an authority.
        if url.contains('#') {
            return Err(Invalid::Fragment);
        }
        let (scheme, rest) = url.split_once("://").ok_or(Invalid::Scheme)?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(Invalid::Scheme),
        };
        if https && cfg!(not(feature = "tls")) {
            return Err(Invalid::TlsNotBuiltIn);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Invalid::UserInfo);
        }

        let uri = Uri::from_str(url)
            .map_err(|_| if authority.is_empty() { Invalid::Host } else { Invalid::Syntax })?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(Invalid::Host)?;
        let port = match authority.strip_prefix(host).unwrap_or_default() {
            "" => None,
            port => Some(
                port.strip_prefix(':')
                    .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0)
                    .ok_or(Invalid::Port)?,
            ),
        };
        let default_port = if https { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let authority =
            if port == default_port { host.to_owned() } else { format!("{host}:{port}") };

        Ok(Self {
            https,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            authority: HeaderValue::from_str(&authority).map_err(|_| Invalid::Host)?,
            target: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        })
    }

    /// Tells whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Gives the host: a name or an address, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Gives the port, given or the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives the path that every request is sent to.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// Gives the value of the `Host` field.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Gives the request target in origin form (RFC 9112 section 3.2.1), with `query` after our
    /// own.
    pub(super) fn target(&self, query: Option<&str>) -> Uri {
        let target = match query.filter(|query| !query.is_empty()) {
            None => self.target.clone(),
            Some(query) => {
                let joint = if self.target.query().is_some() { '&' } else { '?' };
                // Both halves were parsed as the query of a URI, so together they are one.
                PathAndQuery::try_from(format!("{}{joint}{query}", self.target))
                    .unwrap_or_else(|_| self.target.clone())
            }
        };
        Uri::from(target)
    }
}

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstreamUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUpstreamUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let authority = self.authority.to_str().unwrap_or_default();
        write!(f, "{scheme}://{authority}{}", self.path())
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

/// What is wrong with an upstream's URL.
///
/// The text never repeats the URL: the part that is wrong may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUpstreamUrl {
    /// It has a fragment (`#…`), which is never sent.
    Fragment,
    /// It has no host.
    Host,
    /// The port is not a number between 1 and 65535.
    Port,
    /// It doesn't begin with `http://` or `https://`.
    Scheme,
    /// It has a character or form that no URL has.
    Syntax,
    /// It is `https://`, and this build can't do TLS (feature `tls`).
    TlsNotBuiltIn,
    /// It has a user name or password (`user:password@`).
    UserInfo,
}

impl fmt::Display for InvalidUpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fragment => "the upstream URL must not have a fragment (#)",
            Self::Host => "the upstream URL has no host",
            Self::Port => "the upstream URL's port must be a number from 1 to 65535",
            Self::Scheme => "the upstream URL must begin with http:// or https://",
            Self::Syntax => "the upstream URL is not a valid URL",
            Self::TlsNotBuiltIn => "the upstream URL is https, but this build has no TLS",
            Self::UserInfo => "the upstream URL must not have a user name or password",
        })
    }
}

impl std::error::Error for InvalidUpstreamUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, u16, String, String) {
        let url = UpstreamUrl::parse(url).unwrap();
        let authority = url.authority().to_str().unwrap().to_owned();
        (url.host().to_owned(), url.port(), authority, url.target(None).to_string())
    }

    #[test]
    fn a_url_is_taken_apart() {
        let expect = |host: &str, port, authority: &str, target: &str| {
            (host.to_owned(), port, authority.to_owned(), target.to_owned())
        };
        assert_eq!(
            parts("http://127.0.0.1:8000/chatkit"),
            expect("127.0.0.1", 8000, "127.0.0.1:8000", "/chatkit")
        );
        assert_eq!(parts("HTTP://host"), expect("host", 80, "host", "/"));
        assert_eq!(parts("http://host:80/a?b=c"), expect("host", 80, "host", "/a?b=c"));
        assert_eq!(parts("http://host:443?x"), expect("host", 443, "host:443", "/?x"));
        assert_eq!(parts("http://[::1]:9/"), expect("::1", 9, "[::1]:9", "/"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn https_has_its_own_port() {
        let url = UpstreamUrl::parse("https://host/x").unwrap();
        assert!(url.is_https());
        assert_eq!((url.port(), url.authority().as_bytes()), (443, &b"host"[..]));
        assert_eq!(UpstreamUrl::parse("https://host:443/x").unwrap(), url);
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn https_needs_the_feature() {
        let refused = UpstreamUrl::parse("https://host");
        assert_eq!(refused, Err(InvalidUpstreamUrl::TlsNotBuiltIn));
    }

    #[test]
    fn a_wrong_url_is_told_by_its_part() {
        use InvalidUpstreamUrl as Invalid;
        for (url, wrong) in [
            ("", Invalid::Scheme),
            ("localhost:8000", Invalid::Scheme),
            ("127.0.0.1:8000/chatkit", Invalid::Scheme),
            ("unix:///run/x.sock", Invalid::Scheme),
            ("http://", Invalid::Host),
            ("http:///path", Invalid::Host),
            ("http://:80/", Invalid::Host),
            ("http://host:/", Invalid::Port),
            ("http://host:0/", Invalid::Port),
            ("http://host:+80/", Invalid::Port),
            ("http://host:65536/", Invalid::Port),
            ("http://host/#top", Invalid::Fragment),
            ("http://ada@host/", Invalid::UserInfo),
            ("http://ada:secret@host/", Invalid::UserInfo),
            ("http://ho st/", Invalid::Syntax),
            ("http://host/a b", Invalid::Syntax),
            ("http://host/\r\nx: y", Invalid::Syntax),
        ] {
            assert_eq!(UpstreamUrl::parse(url), Err(wrong), "{url}");
        }
    }

    #[test]
    fn a_query_is_joined_to_ours_and_not_shown() {
        let url = UpstreamUrl::parse("http://host/a?key=secret").unwrap();
        assert_eq!(url.target(Some("x=1")).to_string(), "/a?key=secret&x=1");
        assert_eq!(url.target(Some("")).to_string(), "/a?key=secret");
        assert_eq!(format!("{url} {url:?}"), "http://host/a UpstreamUrl(http://host/a)");
        let url = UpstreamUrl::parse("http://host/a").unwrap();
        assert_eq!(url.target(Some("x=1")).to_string(), "/a?x=1");
    }
}
