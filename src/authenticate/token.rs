//! Where a request keeps its token.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Request, Uri};

use super::challenge::Unauthenticated;
use super::trust::Trust;

/// The places where a token is looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenSource {
    pub(super) cookie: Option<String>,
    pub(super) allowed_origins: Vec<String>,
}

/// A request's token, and where it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundToken<'r> {
    pub(super) token: &'r str,
    pub(super) from_cookie: bool,
}

/// Gives the token of `Authorization`, if that has one.
pub(super) fn authorization<B>(request: &Request<B>) -> Result<Option<&str>, Unauthenticated> {
    match single(request.headers(), &header::AUTHORIZATION) {
        Ok(value) => value.map_or(Ok(None), bearer),
        Err(Twice) => {
            Err(Unauthenticated::InvalidRequest("there is more than one Authorization header"))
        }
    }
}

impl TokenSource {
    /// Gives the one token of a request.
    ///
    /// `Authorization` goes first, and where it has a token, good or bad, no cookie is looked at:
    /// a request with two tokens that disagree must not be two things to two readers. Credentials
    /// of another scheme are for somebody else: a browser adds those of a site in front by itself.
    pub(super) fn find<'r, B>(
        &self,
        request: &'r Request<B>,
    ) -> Result<FoundToken<'r>, Unauthenticated> {
        if let Some(token) = authorization(request)? {
            return Ok(FoundToken { token, from_cookie: false });
        }
        let headers = request.headers();
        let Some(name) = &self.cookie else { return Err(Unauthenticated::NoToken) };
        let token = cookie(headers, name)?.ok_or(Unauthenticated::NoToken)?;
        if !request.method().is_safe() && !self.is_own_page(headers, request.uri()) {
            return Err(Unauthenticated::ForeignOrigin);
        }
        Ok(FoundToken { token, from_cookie: true })
    }

    /// Tells whether the page that made the request may act with a cookie.
    ///
    /// A browser adds the cookie to requests of any page, and `Origin` to all of them that can
    /// change something; without `Origin` it is no browser, or one old enough to need
    /// `SameSite` on the cookie.
    fn is_own_page(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        match origin(headers) {
            Ok(None) => true,
            Ok(Some(origin)) => self.is_allowed(origin) || is_host(origin, headers, uri),
            Err(Twice) => false,
        }
    }

    /// Refuses a request that shows no credentials where none are asked for, unless it was made
    /// on this machine and by no page of elsewhere.
    ///
    /// Whoever can connect is believed, and every page in a browser on this machine can: across
    /// origins, which `Origin` tells, or under a name of its own that it had resolved to a
    /// loopback address (DNS rebinding), which `Host` tells.
    pub(super) fn check_is_local<B>(
        &self,
        request: &Request<B>,
        trust: &Trust,
    ) -> Result<(), Unauthenticated> {
        let headers = request.headers();
        let host = single(headers, &header::HOST).map_err(|Twice| Unauthenticated::ForeignHost)?;
        let host = host.map(|host| host.to_str().unwrap_or_default());
        let authority = request.uri().authority().map(Authority::as_str);
        if !host.into_iter().chain(authority).all(is_loopback) {
            return Err(Unauthenticated::ForeignHost);
        }
        if request.method().is_safe() || trust.believes_any_page() {
            return Ok(());
        }
        let is_local = |origin: &str| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(is_loopback)
        };
        match origin(headers) {
            Ok(None) => Ok(()),
            Ok(Some(origin)) if self.is_allowed(origin) || is_local(origin) => Ok(()),
            _ => Err(Unauthenticated::ForeignPage),
        }
    }

    fn is_allowed(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

fn origin(headers: &HeaderMap) -> Result<Option<&str>, Twice> {
    let origin = single(headers, &header::ORIGIN)?;
    Ok(origin.map(|origin| origin.to_str().unwrap_or_default()))
}

/// Tells whether a host, with a port or without, is this machine whatever a name server says.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(bare) => {
            bare.parse::<Ipv6Addr>().is_ok_and(|it| IpAddr::from(it).to_canonical().is_loopback())
        }
        None => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
        }
    }
}

/// Reads a bearer token (RFC 6750 section 2.1), with the scheme in any case (RFC 9110 section
/// 11.1). Nothing where it is another scheme, which is not an error of this one (RFC 6750 section
/// 3.1).
fn bearer(value: &HeaderValue) -> Result<Option<&str>, Unauthenticated> {
    const MALFORMED: Unauthenticated =
        Unauthenticated::InvalidRequest("the Authorization header is malformed");
    let scheme = value.as_bytes().split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let mut token = value.as_bytes().get(scheme.len()..).unwrap_or_default();
    while let [b' ', rest @ ..] | [rest @ .., b' '] = token {
        token = rest;
    }
    if token.is_empty() {
        return Err(Unauthenticated::EmptyBearer);
    }
    token68(token).map(Some).ok_or(MALFORMED)
}

/// Gives the value of the cookie `name` (RFC 6265 section 4.2.1).
fn cookie<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r str>, Unauthenticated> {
    let mut found = None;
    for pair in
        headers.get_all(header::COOKIE).iter().flat_map(|v| v.as_bytes().split(|b| *b == b';'))
    {
        let Some(value) = pair
            .trim_ascii()
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.trim_ascii_start().strip_prefix(b"="))
        else {
            continue;
        };
        // A page of a sibling domain can set a second cookie of that name, and nothing says
        // which of the two is ours.
        if found.replace(value.trim_ascii()).is_some() {
            return Err(Unauthenticated::InvalidRequest("the token's cookie comes twice"));
        }
    }
    let Some(value) = found else { return Ok(None) };
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    if value.is_empty() {
        return Ok(None);
    }
    token68(value)
        .map(Some)
        .ok_or(Unauthenticated::InvalidRequest("the token's cookie is malformed"))
}

/// Reads a token68 (RFC 9110 section 11.2).
fn token68(token: &[u8]) -> Option<&str> {
    let mut unpadded = token;
    while let [rest @ .., b'='] = unpadded {
        unpadded = rest;
    }
    let is_one = unpadded.iter().fold(!unpadded.is_empty(), |all, byte| all & is_of_token68(*byte));
    std::str::from_utf8(token).ok().filter(|_| is_one)
}

/// Tells whether a byte can be in one. Written, and asked of every byte, without a branch, so that
/// sixteen bytes are tested at once: tokens are long, and every request has one.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy one would be a branch")]
fn is_of_token68(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit = byte.wrapping_sub(b'0') < 10;
    let is_mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
    is_letter | is_digit | is_mark | (byte == b'+') | (byte == b'/')
}

/// Tells whether `origin` has the host and port that the request was sent to. The scheme is not
/// compared: whoever ends TLS in front of us hides it.
fn is_host(origin: &str, headers: &HeaderMap, uri: &Uri) -> bool {
    let Some((scheme, origin_host)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => single(headers, &header::HOST).ok().flatten().and_then(|host| host.to_str().ok()),
    };
    let without_port = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_owned();
    host.is_some_and(|host| without_port(host).eq_ignore_ascii_case(&without_port(origin_host)))
}

struct Twice;

fn single<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<Option<&'r HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Twice) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_letters_digits_and_six_marks() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_of_token68(byte), expected, "{byte}");
        }
    }
}
