//! Settings that are parts of HTTP: paths, URLs, origins, headers, cookies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderName, HeaderValue, Uri};

use super::shown;
use crate::forward::{ClientHeaders, PublicUrl};

/// The path below which a surface's routes are: starts with `/`, has at least one segment, and
/// does not end with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BasePath(String);

impl BasePath {
    /// Gives the path, such as `/api/v1/chatkit`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("does not start with \"/\"".into());
        };
        if rest.is_empty() {
            return Err("has no segment".into());
        }
        if text.ends_with('/') {
            return Err("ends with \"/\"".into());
        }
        for segment in rest.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err("has a segment that is empty, \".\" or \"..\"".into());
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c);
            if !segment.chars().all(plain) {
                return Err("has a character that a path can't have as it is".into());
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who answers ChatKit requests. `Debug` leaves a URL's query out, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upstream {
    /// The server that is built in.
    Embedded,
    /// The ChatKit endpoint of a backing server: an `http` or `https` URL with a host, without a
    /// user or password.
    Url(Uri),
}

impl Upstream {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            if cfg!(not(feature = "embedded")) {
                return Err("is not in this build (feature `embedded`)".into());
            }
            return Ok(Self::Embedded);
        }
        upstream_url(text).map(Self::Url)
    }
}

/// Gives the URL of a server that this build can send to.
pub(super) fn upstream_url(text: &str) -> Result<Uri, String> {
    let uri = web_url(text)?;
    if uri.scheme_str() == Some("https") && cfg!(not(feature = "tls")) {
        return Err("needs TLS, which is not in this build (feature `tls`)".into());
    }
    Ok(uri)
}

/// Tells whether a URL is of this machine, as far as its host tells.
pub(super) fn is_local(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::Url(uri) => {
                let scheme = uri.scheme_str().unwrap_or_default();
                let host = uri.authority().map_or("", |authority| authority.as_str());
                write!(f, "Url({scheme}://{host}{})", uri.path())
            }
        }
    }
}

/// Gives an absolute `http` or `https` URL without user information. Says nothing of `text` in
/// errors.
fn web_url(text: &str) -> Result<Uri, String> {
    if text.contains('#') {
        return Err("has a fragment".into());
    }
    if !text.contains("://") {
        return Err("does not begin with http:// or https://".into());
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("is not an absolute URL".into());
    };
    if scheme != "http" && scheme != "https" {
        return Err("has a scheme that is neither http nor https".into());
    }
    if authority.as_str().contains('@') {
        return Err("has a user or password, which is not supported".into());
    }
    check_host(authority.as_str())?;
    Ok(uri)
}

/// Checks what stands in a URL before its path: a host, an IPv6 address in brackets, a port or none.
fn check_host(authority: &str) -> Result<(), String> {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (is_host, rest) = if let Some((address, rest)) = bracketed {
        (address.parse::<Ipv6Addr>().is_ok(), rest)
    } else {
        let (name, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if name.is_empty() {
            return Err("has no host".into());
        }
        (!name.contains(['[', ']']), rest)
    };
    if !is_host {
        return Err("has brackets around what is no IPv6 address".into());
    }
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    match rest.strip_prefix(':') {
        Some(port) if is_port(port) => Ok(()),
        None if rest.is_empty() => Ok(()),
        _ => Err("has a port that is not one".into()),
    }
}

/// Gives the URL at which clients reach the gateway; none if it is empty.
pub(super) fn public_url(text: &str) -> Result<Option<PublicUrl>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    PublicUrl::parse(text).map(Some).map_err(|invalid| invalid.reason().to_owned())
}

/// The pages that may call the gateway from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowedOrigins {
    /// All (`*`).
    Any,
    /// These, as browsers write them in `origin`. Empty: none.
    List(Vec<HeaderValue>),
}

impl AllowedOrigins {
    pub(super) fn parse(entries: &[&str]) -> Result<Self, String> {
        if entries == ["*"] {
            return Ok(Self::Any);
        }
        let origins: Result<_, _> = entries.iter().map(|entry| origin(entry)).collect();
        origins.map(Self::List)
    }
}

/// Gives an origin as browsers write it (RFC 6454 section 6.1): scheme, host, and a port other than
/// the scheme's own.
fn origin(text: &str) -> Result<HeaderValue, String> {
    if text == "*" {
        return Err("has \"*\" beside other origins".into());
    }
    let shown = shown::entry(text);
    let Some((scheme, host)) = text.split_once("://") else {
        return Err(format!("has {shown}, which is no origin"));
    };
    if host.contains('*') {
        return Err(format!("has {shown}, but there are no patterns"));
    }
    if host.contains(['/', '?', '#', '@']) {
        return Err(format!("has {shown}, which goes on after the host"));
    }
    if text.chars().any(char::is_uppercase) {
        return Err(format!("has {shown}, which browsers write in lower case"));
    }
    if (scheme == "http" && host.ends_with(":80")) || (scheme == "https" && host.ends_with(":443"))
    {
        return Err(format!("has {shown}, which browsers write without the port"));
    }
    // A URL parser knows what a host is; the scheme may be a browser extension's.
    let known = format!("http://{host}").parse::<Uri>().is_ok_and(|uri| uri.host().is_some());
    let scheme_known = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if let Err(why) = check_host(host) {
        return Err(format!("has {shown}, which {why}"));
    }
    if host.rsplit_once(':').is_some_and(|(_, port)| port.starts_with('0')) && !host.ends_with(']')
    {
        return Err(format!("has {shown}, whose port browsers write without zeros in front"));
    }
    match HeaderValue::from_str(text) {
        Ok(value) if known && scheme_known => Ok(value),
        _ => Err(format!("has {shown}, which is no origin")),
    }
}

/// Headers that already mean something on the way of a request; those that begin with `content-` or
/// `chatkit-gateway-` do, too.
pub(super) const TAKEN_HEADERS: [&str; 21] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "te",
    "trailer",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-request-id",
];

/// Gives a header that may carry the user's id: not one that already has a meaning on this way.
pub(super) fn user_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "is not a header's name".to_owned())?;
    let is_of_family =
        ["content-", "chatkit-gateway-"].iter().any(|family| name.as_str().starts_with(family));
    if TAKEN_HEADERS.contains(&name.as_str()) || is_of_family {
        return Err("already means something else".into());
    }
    Ok(name)
}

/// Gives the headers of clients that are passed on. `authorization` may be named where it is passed
/// on.
pub(super) fn forward_headers(
    names: &[&str],
    authorization: bool,
) -> Result<ClientHeaders, String> {
    let names = names.iter().filter(|name| {
        let is_authorization = name.eq_ignore_ascii_case("authorization");
        !(authorization && is_authorization)
    });
    ClientHeaders::parse(names).map_err(|invalid| {
        format!("has {}, which {}", shown::entry(invalid.entry()), invalid.reason())
    })
}

/// Gives a cookie's name (RFC 6265 section 4.1.1: a token).
pub(super) fn cookie_name(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.chars().all(token) { Ok(text.into()) } else { Err("is not a cookie's name".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_are_plain() {
        for text in ["/a", "/api/v1/chatkit", "/~x/a.b"] {
            assert_eq!(BasePath::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "/", "a", "/a/", "/a//b", "/a/../b", "/a?b", "/a b", "/{id}", "/%41"] {
            assert!(BasePath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    #[cfg(all(feature = "embedded", feature = "tls"))]
    fn upstreams_are_embedded_or_web_urls() {
        assert_eq!(Upstream::parse("embedded"), Ok(Upstream::Embedded));
        for text in ["http://a/chatkit", "https://a:8443/x?y=z", "http://[::1]:80/", "http://a"] {
            assert!(Upstream::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "/chatkit",
            "localhost:8000",
            "ftp://a/",
            "http://",
            "http://a/#b",
            "http://u@a/",
            "http://u:p@a/",
            "http://a:99999/",
            "http://a:/",
            "http://a:0/",
            "Embedded",
        ] {
            assert!(Upstream::parse(text).is_err(), "{text}");
        }
        let debug = format!("{:?}", Upstream::parse("https://a:8443/x?token=planted").unwrap());
        assert_eq!(debug, "Url(https://a:8443/x)");
    }

    #[test]
    fn origins_are_as_browsers_write_them() {
        assert_eq!(AllowedOrigins::parse(&["*"]), Ok(AllowedOrigins::Any));
        assert_eq!(AllowedOrigins::parse(&[]), Ok(AllowedOrigins::List(Vec::new())));
        let two = ["https://app.example.com", "http://localhost:3000"];
        let AllowedOrigins::List(list) = AllowedOrigins::parse(&two).unwrap() else { panic!() };
        assert_eq!(list, two);
        assert!(AllowedOrigins::parse(&["chrome-extension://abc"]).is_ok());
        for text in [
            "",
            "null",
            "example.com",
            "https://a/",
            "https://a/b",
            "https://A.example",
            "https://a:443",
            "https://u@a",
            "https://",
            "https://*.a",
            "h ttp://a",
        ] {
            assert!(AllowedOrigins::parse(&[text]).is_err(), "{text}");
        }
        assert!(AllowedOrigins::parse(&["*", "https://a"]).is_err());
    }

    #[test]
    fn headers_and_cookies_are_tokens_with_no_other_meaning() {
        assert_eq!(user_header("X-User-Id").unwrap(), "x-user-id");
        assert_eq!(user_header("X-Forwarded-User").unwrap(), "x-forwarded-user");
        assert_eq!(user_header("chatkit-user").unwrap(), "chatkit-user");
        for text in [
            "",
            "x user",
            "Host",
            "authorization",
            "content-type",
            "cookie",
            "Forwarded",
            "X-Forwarded-Host",
            "chatkit-gateway-proof",
            "ChatKit-Gateway-User",
        ] {
            assert!(user_header(text).is_err(), "{text}");
        }
        assert_eq!(cookie_name("__Host-session").unwrap(), "__Host-session");
        for text in ["a b", "a=b", "a;b", "é"] {
            assert!(cookie_name(text).is_err(), "{text}");
        }
    }
}
