use std::cell::RefCell;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The longest host with a port that is told: a name of DNS has at most 253 characters.
const MAX_AUTHORITY_BYTES: usize = 253 + ":65535".len();

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

thread_local! {
    /// What the last request on this thread was sent to.
    static LAST: RefCell<Option<PublicUrl>> = const { RefCell::new(None) };
}

/// What the upstream is told of the address at which clients reach the gateway, so that the URLs
/// it makes (of uploads, say) are ones that clients can reach.
///
/// It is told in `forwarded` (RFC 7239), `x-forwarded-host`, `x-forwarded-proto` and, where there
/// is a path, `x-forwarded-prefix`. What clients, and proxies in front, say in those fields is not
/// believed: [`IdentityHeaders`](super::IdentityHeaders) has taken it off. Who the client is
/// (`for=`, `x-forwarded-for`) is not told.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum PublicAddress {
    /// Nothing.
    #[default]
    Untold,
    /// What the request was sent to: its target's scheme and authority, or `http` and its `Host`
    /// field (RFC 9110 section 7.1). Its sender can make that up, for the answers that it gets
    /// itself; one that isn't a plain host, or comes twice, is not passed on.
    OfRequest,
    /// The same, but `https` whatever the request says: it came by TLS.
    OfSecureRequest,
    /// This one, whatever a request says.
    Known(PublicUrl),
}

impl PublicAddress {
    /// Adds the fields to those for the upstream, for a request with this head.
    ///
    /// ```
    /// use chatkit_rest::forward::{PublicAddress, PublicUrl};
    /// use http::{HeaderMap, Request};
    ///
    /// let (head, ()) = Request::post("/x").header("host", "10.0.0.7:8080").body(())?.into_parts();
    /// let mut outgoing = HeaderMap::new();
    /// PublicAddress::Known(PublicUrl::parse("https://example.org/ai")?).tell(&head, &mut outgoing);
    /// assert_eq!(outgoing["forwarded"], "host=\"example.org\";proto=https");
    /// assert_eq!(outgoing["x-forwarded-host"], "example.org");
    /// assert_eq!(outgoing["x-forwarded-proto"], "https");
    /// assert_eq!(outgoing["x-forwarded-prefix"], "/ai");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tell(&self, head: &http::request::Parts, outgoing: &mut HeaderMap) {
        match self {
            Self::Untold => {}
            Self::Known(url) => url.tell(outgoing),
            Self::OfRequest => {
                let scheme = head.uri.scheme();
                let https = scheme.is_some_and(|scheme| *scheme == http::uri::Scheme::HTTPS);
                tell_of_request(https, head, outgoing);
            }
            Self::OfSecureRequest => tell_of_request(true, head, outgoing),
        }
    }
}

fn tell_of_request(https: bool, head: &http::request::Parts, outgoing: &mut HeaderMap) {
    LAST.with_borrow_mut(|last| {
        if let Some(url) = PublicUrl::of_request(https, head, last) {
            url.tell(outgoing);
        }
    });
}

/// The URL at which clients reach the gateway: `http://` or `https://`, a host, maybe a port and a
/// path, which is what something in front takes off.
///
/// ```
/// use chatkit_rest::forward::{InvalidPublicUrl, PublicUrl};
///
/// assert_eq!(PublicUrl::parse("https://Example.org:443/")?.to_string(), "https://example.org");
/// assert_eq!(PublicUrl::parse("example.org"), Err(InvalidPublicUrl::Scheme));
/// # Ok::<(), InvalidPublicUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    https: bool,
    /// Host and, unless it is the scheme's own, port.
    authority: HeaderValue,
    /// The path, if it has a segment; it does not end with `/`.
    prefix: Option<HeaderValue>,
    /// The value of `Forwarded`.
    forwarded: HeaderValue,
}

impl PublicUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`] names the part that is wrong.
    pub fn parse(url: &str) -> Result<Self, InvalidPublicUrl> {
        use InvalidPublicUrl as Invalid;

        let (scheme, rest) = url.split_once("://").ok_or(Invalid::Scheme)?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err(Invalid::Scheme),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Invalid::UserInfo);
        }
        if rest.contains('#') {
            return Err(Invalid::Fragment);
        }
        if rest.contains('?') {
            return Err(Invalid::Query);
        }
        let path = rest.strip_suffix('/').unwrap_or(rest);
        if !is_plain_path(path) {
            return Err(Invalid::Path);
        }
        if !is_authority(authority) {
            return Err(Invalid::Host);
        }
        let default_port = if https { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        let authority = HeaderValue::try_from(authority.to_ascii_lowercase());
        let prefix = (!path.is_empty()).then(|| HeaderValue::from_str(path)).transpose();
        let url = Self::new(https, authority.map_err(|_| Invalid::Host)?);
        Ok(Self { prefix: prefix.map_err(|_| Invalid::Path)?, ..url.ok_or(Invalid::Host)? })
    }

    /// Finds what a request was sent to, as far as it says so. Nearly every one is sent to where
    /// the `last` was.
    fn of_request<'a>(
        https: bool,
        head: &http::request::Parts,
        last: &'a mut Option<Self>,
    ) -> Option<&'a Self> {
        let authority = if let Some(authority) = head.uri.authority() {
            authority.as_str().as_bytes()
        } else {
            let mut hosts = head.headers.get_all(header::HOST).iter();
            let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
            host.as_bytes()
        };
        if last.as_ref().is_none_or(|last| last.https != https || last.authority != *authority) {
            let authority =
                std::str::from_utf8(authority).ok().filter(|text| is_authority(text))?;
            *last = Self::new(https, HeaderValue::from_str(authority).ok()?);
        }
        last.as_ref()
    }

    fn tell(&self, outgoing: &mut HeaderMap) {
        outgoing.insert(header::FORWARDED, self.forwarded.clone());
        outgoing.insert(X_FORWARDED_HOST, self.authority.clone());
        outgoing.insert(X_FORWARDED_PROTO, if self.https { HTTPS } else { HTTP });
        if let Some(prefix) = &self.prefix {
            outgoing.insert(X_FORWARDED_PREFIX, prefix.clone());
        }
    }

    /// Makes it of its parts; `authority` is one by [`is_authority`], so that it needs no escape
    /// within quotation marks.
    fn new(https: bool, authority: HeaderValue) -> Option<Self> {
        let (open, close) = ("host=\"", if https { "\";proto=https" } else { "\";proto=http" });
        // Quoted, because a `:` or a bracket may not stand there otherwise (RFC 7239 section 4).
        let forwarded = [open.as_bytes(), authority.as_bytes(), close.as_bytes()].concat();
        let forwarded = HeaderValue::from_maybe_shared(Bytes::from(forwarded)).ok()?;
        Some(Self { https, authority, prefix: None, forwarded })
    }

    /// Gives the path, empty or without `/` at its end.
    #[cfg(feature = "config")]
    pub(crate) fn path(&self) -> &str {
        self.prefix.as_ref().and_then(|prefix| prefix.to_str().ok()).unwrap_or_default()
    }

    /// Tells whether an `Origin` is that of its pages.
    #[cfg(feature = "server")]
    pub(crate) fn has_origin(&self, origin: &str) -> bool {
        let own = origin.split_once("://");
        own.is_some_and(|(scheme, authority)| {
            scheme == self.scheme() && self.authority.as_bytes() == authority.as_bytes()
        })
    }

    /// Gives the host: a name, or an address without its brackets.
    #[cfg(all(feature = "config", feature = "tls"))]
    pub(crate) fn host(&self) -> &str {
        let authority = self.authority.to_str().unwrap_or_default();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split(':').next().unwrap_or_default(),
        }
    }

    /// Tells whether it is one with TLS.
    #[cfg(all(feature = "config", feature = "tls"))]
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Tells whether it is a host, with a port or without: a name, an IPv4 address, or an IPv6 address
/// in brackets. Anything else that a URI may have there, such as `,` or `%`, is not worth its risk.
fn is_authority(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (is_host, port) = if let Some((address, port)) = bracketed {
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!name.is_empty() && name.bytes().all(plain), port)
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    is_host
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        && text.len() <= MAX_AUTHORITY_BYTES
}

/// Tells whether it is nothing, or segments each after a `/` that stand for themselves. A `,` would
/// make a list of the field.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:@%".contains(&byte);
    let mut segments = path.split('/');
    segments.next() == Some("")
        && segments.all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(url: &str) -> Result<Self, InvalidPublicUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.to_str().unwrap_or_default();
        let prefix = self.prefix.as_ref().and_then(|prefix| prefix.to_str().ok());
        write!(f, "{}://{authority}{}", self.scheme(), prefix.unwrap_or_default())
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicUrl({self})")
    }
}

/// What is wrong with a public URL. The text never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPublicUrl {
    /// It has a fragment (`#…`).
    Fragment,
    /// It has no host, or one that is not plain, or a port that is none.
    Host,
    /// Its path has an empty segment, a dot segment, or a character that it can't have as it is.
    Path,
    /// It has a query (`?…`).
    Query,
    /// It doesn't begin with `http://` or `https://`.
    Scheme,
    /// It has a user name or password (`user:password@`).
    UserInfo,
}

impl InvalidPublicUrl {
    /// Gives what is wrong, as the end of a sentence that begins with the URL.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Fragment => "has a fragment",
            Self::Host => "has no host that is a plain name or an address, or a port that is none",
            Self::Path => "has a path that is not plain segments",
            Self::Query => "has a query",
            Self::Scheme => "does not begin with http:// or https://",
            Self::UserInfo => "has a user or password",
        }
    }
}

impl fmt::Display for InvalidPublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the public URL {}", self.reason())
    }
}

impl std::error::Error for InvalidPublicUrl {}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const FIELDS: [&str; 4] =
        ["forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"];

    /// Gives what is told of a request to `uri` with these `Host` fields.
    fn told(address: &PublicAddress, uri: &str, hosts: &[&str]) -> [Option<String>; 4] {
        let mut request = Request::post(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut outgoing = HeaderMap::new();
        address.tell(&head, &mut outgoing);
        assert!(outgoing.keys().all(|name| FIELDS.contains(&name.as_str())));
        FIELDS.map(|name| outgoing.get(name).map(|value| value.to_str().unwrap().to_owned()))
    }

    fn expected(forwarded: &str, host: &str, proto: &str, prefix: &str) -> [Option<String>; 4] {
        [forwarded, host, proto, prefix].map(|it| Some(it.to_owned()).filter(|it| !it.is_empty()))
    }

    #[test]
    fn a_public_url_is_told_whatever_the_request_says() {
        for (url, forwarded, host, proto, prefix) in [
            ("https://a.example", "host=\"a.example\";proto=https", "a.example", "https", ""),
            ("HTTPS://A.Example:443/", "host=\"a.example\";proto=https", "a.example", "https", ""),
            ("http://a:80/x", "host=\"a\";proto=http", "a", "http", "/x"),
            ("https://a:80/x/y%20z/", "host=\"a:80\";proto=https", "a:80", "https", "/x/y%20z"),
            ("http://127.0.0.1:9", "host=\"127.0.0.1:9\";proto=http", "127.0.0.1:9", "http", ""),
            ("https://[::1]:9/", "host=\"[::1]:9\";proto=https", "[::1]:9", "https", ""),
            ("http://my_box/", "host=\"my_box\";proto=http", "my_box", "http", ""),
        ] {
            let known = PublicAddress::Known(PublicUrl::parse(url).unwrap());
            for (uri, hosts) in [("/x", &["b.example"][..]), ("/x", &[]), ("http://c/x", &["d"])] {
                assert_eq!(told(&known, uri, hosts), expected(forwarded, host, proto, prefix));
            }
            assert_eq!(told(&PublicAddress::Untold, "http://c/x", &["d"]), [const { None }; 4]);
        }
    }

    #[test]
    fn a_wrong_url_is_told_by_its_part() {
        use InvalidPublicUrl as Invalid;
        for (url, wrong) in [
            ("", Invalid::Scheme),
            ("example.org", Invalid::Scheme),
            ("example.org:443/ai", Invalid::Scheme),
            ("//example.org", Invalid::Scheme),
            ("ftp://example.org", Invalid::Scheme),
            ("https://", Invalid::Host),
            ("https:///ai", Invalid::Host),
            ("https://:443", Invalid::Host),
            ("https://a:", Invalid::Host),
            ("https://a:0", Invalid::Host),
            ("https://a:65536", Invalid::Host),
            ("https://a:+1", Invalid::Host),
            ("https://::1/", Invalid::Host),
            ("https://[::1/", Invalid::Host),
            ("https://[x]/", Invalid::Host),
            ("https://[::1]x/", Invalid::Host),
            ("https://a b/", Invalid::Host),
            ("https://a,b/", Invalid::Host),
            ("https://bücher.example/", Invalid::Host),
            ("https://a\"/", Invalid::Host),
            ("https://*.example.org/", Invalid::Host),
            ("https://ada@a/", Invalid::UserInfo),
            ("https://ada:secret@a/", Invalid::UserInfo),
            ("https://a/?b", Invalid::Query),
            ("https://a?b", Invalid::Query),
            ("https://a/#b", Invalid::Fragment),
            ("https://a//", Invalid::Path),
            ("https://a/b//c", Invalid::Path),
            ("https://a/../b", Invalid::Path),
            ("https://a/b c", Invalid::Path),
            ("https://a/b,c", Invalid::Path),
            ("https://a/\r\nx: y", Invalid::Path),
            ("https://a/ü", Invalid::Path),
        ] {
            assert_eq!(PublicUrl::parse(url), Err(wrong), "{url}");
        }
        assert_eq!(PublicUrl::parse(&format!("http://{}", "a".repeat(260))), Err(Invalid::Host));
    }

    #[test]
    fn a_request_says_what_it_was_sent_to() {
        let told = |uri, hosts: &[&str]| told(&PublicAddress::OfRequest, uri, hosts);
        for (uri, hosts, host, proto) in [
            ("/x", &["a.example:8080"][..], "a.example:8080", "http"),
            ("/x", &["[::1]:80"], "[::1]:80", "http"),
            ("/x", &["A.Example"], "A.Example", "http"),
            // HTTP/2, and a target in absolute form.
            ("https://a.example/x", &[], "a.example", "https"),
            ("http://a.example/x", &["b.example"], "a.example", "http"),
        ] {
            let forwarded = format!("host=\"{host}\";proto={proto}");
            assert_eq!(told(uri, hosts), expected(&forwarded, host, proto, ""));
        }
        let long = "a".repeat(260);
        for (uri, hosts) in [
            ("/x", &[][..]),
            ("/x", &[""]),
            ("/x", &["a", "a"]),
            ("/x", &["a, b"]),
            ("/x", &["a\";for=\"b"]),
            ("/x", &["a/b"]),
            ("/x", &["ada@a"]),
            ("/x", &["a:b"]),
            ("/x", &["a b"]),
            ("/x", &["\u{fc}"]),
            ("/x", &[&long]),
            ("http://ada@a/x", &["b"]),
        ] {
            assert_eq!(told(uri, hosts), [const { None }; 4], "{uri} {hosts:?}");
        }
    }
}
