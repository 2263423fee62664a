//! Addresses and URLs: what is wrong with one, and what was meant by it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::hint;

/// The port that is proposed where none was given.
const PORT: u16 = 8080;

/// Gives an address to listen on.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let why = match Written::of(text) {
            Written::Port(_) => {
                "has a port but no address: 127.0.0.1 is for this machine alone, 0.0.0.0 for others"
            }
            Written::Address(_) => "has no port",
            Written::All(_) => "has no address: 0.0.0.0 is all of them",
            Written::Url(_) => "is a URL, not an IP address with a port",
            Written::Name(_) => "has a name in place of an IP address",
            Written::Unknown => "is not an IP address with a port",
        };
        why.to_owned()
    })
}

/// Gives what was meant by an address to listen on. Where others could reach it only if it says so.
pub(super) fn meant_listener(text: &str) -> Option<String> {
    match Written::of(text) {
        Written::Port(port) => Some(format!("127.0.0.1:{port}")),
        Written::Address(ip) => Some(SocketAddr::new(ip, PORT).to_string()),
        Written::All(port) => Some(format!("0.0.0.0:{port}")),
        Written::Name(port) => Some(format!("127.0.0.1:{port}")),
        Written::Url(rest) => {
            let authority = rest.split('/').next().unwrap_or_default();
            // Once only: what is in front of the address is gone.
            if listener(authority).is_ok() {
                Some(authority.to_owned())
            } else {
                meant_listener(authority)
            }
        }
        Written::Unknown => None,
    }
}

/// How people write an address that isn't one.
enum Written<'t> {
    /// `:8080`, `8080`.
    Port(u16),
    /// `127.0.0.1`, `::1`, `[::1]`.
    Address(IpAddr),
    /// `*:8080`
    All(u16),
    /// `localhost:8080`, and without the port.
    Name(u16),
    /// What comes after `http://`.
    Url(&'t str),
    Unknown,
}

impl<'t> Written<'t> {
    fn of(text: &'t str) -> Self {
        if let Some((_, rest)) = text.split_once("://") {
            return Self::Url(rest);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(ip) = text.parse() {
            return Self::Address(ip);
        }
        if let Some(Ok(ip)) = bare.map(str::parse::<Ipv6Addr>) {
            return Self::Address(ip.into());
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if let Ok(port) = port.parse() {
            return match host {
                "" => Self::Port(port),
                "*" => Self::All(port),
                "localhost" => Self::Name(port),
                _ => Self::Unknown,
            };
        }
        if text == "localhost" { Self::Name(PORT) } else { Self::Unknown }
    }
}

/// Gives the URL that was meant by one of a server to send to: with its scheme, and the path that such
/// servers mostly have.
pub(super) fn meant_upstream(text: &str) -> Option<String> {
    if let Some(word) = hint::nearest(text, ["embedded"]) {
        return Some(word.to_owned());
    }
    let url = meant_url(text)?;
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']));
    Some(if has_path { url } else { format!("{url}/chatkit") })
}

/// Gives the URL that was meant by one of a server to send to.
pub(super) fn meant_url(text: &str) -> Option<String> {
    // A name without a port is a server of somebody's, elsewhere.
    with_scheme(text, |host| {
        let is_near = host.contains(':') || host == "localhost" || host.parse::<IpAddr>().is_ok();
        if is_near || !host.contains('.') { "http" } else { "https" }
    })
}

/// Gives the URL that was meant by that of the gateway itself.
pub(super) fn meant_public_url(text: &str) -> Option<String> {
    with_scheme(text, |_| "https")
}

fn with_scheme(text: &str, scheme_of: fn(&str) -> &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let scheme = match scheme {
        "" => scheme_of(rest.split('/').next().unwrap_or_default()),
        "ws" => "http",
        "wss" => "https",
        known if known.eq_ignore_ascii_case("http") => "http",
        known if known.eq_ignore_ascii_case("https") => "https",
        scheme => hint::nearest(scheme, ["http", "https"])?,
    };
    let rest = ["http:", "https:"].iter().find_map(|slip| rest.strip_prefix(slip)).unwrap_or(rest);
    let rest = rest.trim_start_matches('/');
    (!rest.is_empty()).then(|| format!("{scheme}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_says_why_and_what_was_meant() {
        for (text, why, meant) in [
            (":8080", "has a port but no address", Some("127.0.0.1:8080")),
            ("9090", "has a port but no address", Some("127.0.0.1:9090")),
            ("127.0.0.2", "has no port", Some("127.0.0.2:8080")),
            ("::1", "has no port", Some("[::1]:8080")),
            ("[::1]", "has no port", Some("[::1]:8080")),
            ("*:80", "0.0.0.0 is all of them", Some("0.0.0.0:80")),
            ("localhost:80", "has a name", Some("127.0.0.1:80")),
            ("localhost", "has a name", Some("127.0.0.1:8080")),
            ("http://127.0.0.1:80/", "is a URL", Some("127.0.0.1:80")),
            ("https://localhost:80", "is a URL", Some("127.0.0.1:80")),
            ("http://a://b", "is a URL", None),
            ("chat.example.org:80", "is not an IP address", None),
            ("127.0.0.1:99999", "is not an IP address", None),
            ("", "is not an IP address", None),
        ] {
            let said = listener(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
            assert_eq!(meant_listener(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn a_url_without_its_scheme_is_known() {
        for (text, meant) in [
            ("localhost:8000", Some("http://localhost:8000/chatkit")),
            ("localhost:8000/", Some("http://localhost:8000/")),
            ("127.0.0.1/x", Some("http://127.0.0.1/x")),
            ("chat", Some("http://chat/chatkit")),
            ("chat.example.org/x", Some("https://chat.example.org/x")),
            ("//chat:1/x", Some("http://chat:1/x")),
            ("http:/chat:1/x", Some("http://chat:1/x")),
            ("htp://chat:1/x", Some("http://chat:1/x")),
            ("ws://chat:1/x", Some("http://chat:1/x")),
            ("wss://chat:1/x", Some("https://chat:1/x")),
            ("ftp://chat:1/x", None),
            ("redis://chat:1/x", None),
            ("Embedded", Some("embedded")),
            ("http://", None),
        ] {
            assert_eq!(meant_upstream(text).as_deref(), meant, "{text}");
        }
        assert_eq!(meant_url("localhost:1").as_deref(), Some("http://localhost:1"));
        assert_eq!(meant_public_url("a.b:1").as_deref(), Some("https://a.b:1"));
    }
}
