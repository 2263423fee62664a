//! What of a setting's value may be shown in errors, and in lists of settings.
//!
//! A value that is shown says what is wrong with it. A secret is easily put into the place of
//! another setting, or is a part of it, so what is shown has to look like what it should be.

use std::net::Ipv4Addr;

/// The longest part of a path that may be a word of somebody's; keys and tokens are longer.
const MAX_WORD: usize = 24;

/// How many letters and digits without anything between them are no name, if there are both.
const MIN_KEY: usize = 20;

/// Schemes of what is kept somewhere, here or elsewhere.
const SCHEMES: [&str; 12] = [
    "file",
    "ftp",
    "http",
    "https",
    "mariadb",
    "memory",
    "mongodb",
    "mysql",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
];

/// Tells whether a text is a path, an address with a port, or one of them after a scheme that is
/// known: without a user, a query or parameters, which may have a password.
pub(super) fn is_place(place: &str) -> bool {
    if has_secret(place) {
        return false;
    }
    if ["", "memory", ":memory:"].contains(&place) {
        return true;
    }
    let of_file = place.split_once(':').filter(|(scheme, _)| {
        *scheme == "file" || scheme.starts_with("sqlite") && is_plain(scheme)
    });
    if let Some((_, rest)) = of_file {
        return rest.chars().all(|c| is_of_path(c) || ": ".contains(c));
    }
    if !is_plain_url(place) {
        return false;
    }
    match place.split_once("://") {
        Some((scheme, _)) => SCHEMES.contains(&scheme),
        None => place.contains(':') || is_path(place),
    }
}

/// Tells whether a text is a URL without a user, a query or parameters, or was meant as one:
/// `localhost:8000/chatkit`.
pub(super) fn is_url(url: &str) -> bool {
    if has_secret(url) || !is_plain_url(url) {
        return false;
    }
    let host = url.split('/').next().unwrap_or_default();
    let is_word = host.len() <= MAX_WORD && host.bytes().all(|byte| byte.is_ascii_alphabetic());
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = host.contains('.')
        && !host.contains(|c: char| c.is_uppercase() || c == '_')
        && last.bytes().all(|byte| byte.is_ascii_lowercase());
    url.contains("://")
        || host.contains(':')
        || is_word
        || is_name
        || host.parse::<Ipv4Addr>().is_ok()
}

/// Tells whether a text is a path: one that begins at a root, that ends with an extension, or that
/// has words between its slashes. Base64 has slashes, too, even as its first letter, and the parts of
/// a token have dots between them.
pub(super) fn is_path(path: &str) -> bool {
    let is_drive = |path: &str| {
        path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && path.get(1..3).is_some_and(|rest| [":\\", ":/"].contains(&rest))
    };
    let (root, rest) = if is_drive(path) {
        path.split_at(3)
    } else {
        let root = ["/", "./", "../", "~/"].into_iter().find(|root| path.starts_with(root));
        path.split_at(root.map_or(0, str::len))
    };
    if has_secret(path) || !rest.chars().all(|c| is_of_path(c) || "\\ ".contains(c)) {
        return false;
    }
    let mut segments = rest.split(['/', '\\']);
    let is_word =
        |segment: &str| segment.len() <= MAX_WORD && !segment.contains(|c: char| c.is_uppercase());
    let extension = rest.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_extension = (1..=10).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphabetic());
    let has_slash = rest.contains(['/', '\\']);
    let is_rooted = if root == "/" { has_slash } else { !root.is_empty() };
    is_rooted && segments.clone().all(|segment| segment.len() <= 255)
        || is_extension
        || has_slash && segments.all(is_word)
}

/// Tells whether a text that may be prose, or a list with commas, has nothing in it that looks like a
/// user, a password or a key.
pub(super) fn is_text(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',');
    !has_secret(text) && !words.any(|word| word.contains("://") && word.contains(['?', '#']))
}

/// Gives an entry of a list for a sentence that says what is wrong with it.
pub(super) fn entry(entry: &str) -> String {
    if is_text(entry) { format!("{entry:?}") } else { "an entry that is not shown here".into() }
}

/// Tells whether a user is in a text, or what nobody calls anything: a key or a token.
fn has_secret(text: &str) -> bool {
    let is_mixed = |part: &str| {
        let has = |is: fn(&u8) -> bool| part.as_bytes().iter().any(is);
        part.len() > MAX_WORD
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_lowercase)
            && has(u8::is_ascii_digit)
    };
    let is_key = |part: &str| {
        let has = |is: fn(&u8) -> bool| part.as_bytes().iter().any(is);
        part.len() >= MIN_KEY && has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit)
    };
    let is_of_segment = |c: char| c.is_ascii_alphanumeric() || "-_.+=".contains(c);
    text.contains('@')
        || text
            .split(|c| !is_of_segment(c))
            .any(|part| is_mixed(part) || part.starts_with("sk-") || part.starts_with("eyJ"))
        || text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_key)
}

/// Tells whether a text has a scheme or none, a port or none, and else only what is in names and
/// paths.
fn is_plain_url(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (host, ""),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => is_plain(host),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit()) && is_plain(path)
}

fn is_plain(text: &str) -> bool {
    text.chars().all(is_of_path)
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || "/-._~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.Zm9vYmFyYmF6cXV4";

    #[test]
    fn a_url_is_shown_unless_a_secret_may_be_in_it() {
        for url in [
            "localhost:8000",
            "localhost",
            "Embedded",
            "chat.example.org/chatkit",
            "ws://a:8000/x",
            "http://[::1]:80/",
            "[::1]:8000",
            "http://a:x/".trim_end_matches("x/"),
            "",
        ] {
            assert!(is_url(url), "{url}");
        }
        for url in [
            "http://user:planted@host/",
            "http://user@host/",
            "user:planted",
            "http://host/?token=planted",
            "http://host/#planted",
            "sk-planted-planted",
            "0123456789abcdef0123456789abcdef",
            TOKEN,
        ] {
            assert!(!is_url(url), "{url}");
        }
    }

    #[test]
    fn a_place_is_shown_unless_a_password_may_be_in_it() {
        for place in [
            "a.db",
            "redis://h:6379/0",
            "sqlite3:a.db",
            "file:a b.db",
            "sqlite:///:memory:",
            ":memory:",
        ] {
            assert!(is_place(place), "{place}");
        }
        for place in ["postgres://u:planted@h/d", "sqlite:a?key=planted", "h:planted"] {
            assert!(!is_place(place), "{place}");
        }
    }

    #[test]
    fn a_path_is_shown_unless_it_may_be_a_secret() {
        for path in [
            "issuer.pem",
            "keys/Issuer.PEM.txt",
            "/run/secrets/jwt",
            "./jwt",
            "../Keys/Jwt",
            "run/secrets/jwt-key",
            "C:\\keys\\jwt.txt",
            "C:/keys/jwt",
        ] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "planted",
            "hunter2",
            "0123456789abcdef0123456789abcdef",
            "kJ3/xYz0aB+cD4eF5gH6iJ7kL8mN9oP0qR1sT2uV3w=",
            "kJ3/xYz0aBccD4eF5gH6iJ7kL8mN9oP0qR1sT2uV3w",
            TOKEN,
            "-----BEGIN PRIVATE KEY-----\nplanted",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }

    /// Base64 in two alphabets, one beginning like a path; hexadecimal; a provider's; a token.
    const SECRETS: [&str; 7] = [
        "kJ3xYz0aBccD4eF5gH6iJ7kL8mN9oP0qR1sT2uV3w",
        "/bXkgdmVyeSBzZWNyZXQga2V5IG9mIG1pbmU",
        "/bXkg/c2VjcmV0IGtleSBvZiBtaW5lMTIzNDU2Nzg5",
        "0123456789abcdef0123456789abcdef",
        "sk-planted-planted",
        "plantedsecret0123456789.abcd",
        TOKEN,
    ];

    #[test]
    fn a_secret_is_shown_in_place_of_nothing() {
        for secret in SECRETS {
            assert!(!is_place(secret), "{secret}");
            assert!(!is_path(secret), "{secret}");
            assert!(!is_url(secret), "{secret}");
            assert!(!is_text(secret), "{secret}");
            for scheme in ["sqlite:", "file:", "https://", "redis://"] {
                assert!(!is_place(&format!("{scheme}{secret}")), "{scheme}{secret}");
            }
        }
        for place in ["planted", "/planted", "sk.planted.0123456789", "planted://x", "eyJh.planted"]
        {
            assert!(!is_place(place), "{place}");
        }
        for url in ["sk.planted.0123456789", "u:planted@h", "eyJh.planted"] {
            assert!(!is_url(url), "{url}");
        }
        for text in ["https://u:planted@h", "user:planted@h", "a, https://h/?k=planted"] {
            assert!(!is_text(text), "{text}");
        }
        for text in [
            "",
            "info,hyper=debug",
            "https://login.example.org/realms/Main",
            "0.0.0.0:80",
            "You are the help of a shop. Be brief.",
            "d2f9a3c4-5b6e-4f70-8192-a3b4c5d6e7f8",
        ] {
            assert!(is_text(text), "{text}");
        }
        for url in ["10.0.0.7/x", "https://api.a1b2.example/v1"] {
            assert!(is_url(url), "{url}");
        }
    }
}
