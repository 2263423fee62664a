//! What of a setting's value may be shown in errors, and in lists of settings.
//!
//! A value that is shown says what is wrong with it. A secret is easily put into the place of
//! another setting, or is a part of it, so what is shown has to look like what it should be.

/// The longest part of a path that may be a word of somebody's; keys and tokens are longer.
const MAX_WORD: usize = 24;

/// Tells whether a text is a bare name or path, or one after a scheme: without a user, a query or
/// parameters, which may have a password.
pub(super) fn is_place(place: &str) -> bool {
    let place = place.strip_prefix(':').unwrap_or(place);
    if let Some((scheme, rest)) = place.split_once(':')
        && (scheme.starts_with("sqlite") || scheme == "file")
    {
        return is_plain(scheme) && rest.chars().all(|c| is_of_path(c) || ": ".contains(c));
    }
    is_plain_url(place)
}

/// Tells whether a text is a URL without a user, a query or parameters, or was meant as one:
/// `localhost:8000/chatkit`.
pub(super) fn is_url(url: &str) -> bool {
    if !is_plain_url(url) {
        return false;
    }
    let host = url.split('/').next().unwrap_or_default();
    let is_word = host.len() <= MAX_WORD && host.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_name = host.contains('.') && !host.contains(|c: char| c.is_uppercase() || c == '_');
    url.contains("://") || host.contains(':') || is_word || is_name
}

/// Tells whether a text is a path: one that begins at a root, that ends with an extension, or that
/// has words between its slashes. Base64 has slashes, too, and the parts of a token have dots between
/// them.
pub(super) fn is_path(path: &str) -> bool {
    let is_drive = |path: &str| {
        path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && path.get(1..3).is_some_and(|rest| [":\\", ":/"].contains(&rest))
    };
    let rooted = ["/", "./", "../", "~/"].iter().any(|root| path.starts_with(root));
    let (rooted, rest) =
        if is_drive(path) { (true, path.get(3..).unwrap_or_default()) } else { (rooted, path) };
    if !rest.chars().all(|c| is_of_path(c) || "\\ ".contains(c)) {
        return false;
    }
    let mut segments = rest.split(['/', '\\']);
    let is_word =
        |segment: &str| segment.len() <= MAX_WORD && !segment.contains(|c: char| c.is_uppercase());
    let extension = rest.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_extension = (1..=5).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let has_slash = rest.contains(['/', '\\']);
    rooted && segments.clone().all(|segment| segment.len() <= 255)
        || is_extension
        || has_slash && segments.all(is_word)
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
}
