//! Reading media types (RFC 9110 section 8.3.1): those of clients, of upstreams and of models.

use http::HeaderValue;

/// Tells whether it is `expected`, whatever its parameters.
pub(crate) fn is(value: &HeaderValue, expected: &str) -> bool {
    essence(value).eq_ignore_ascii_case(expected.as_bytes())
}

/// Tells whether it is JSON: `application/json`, or any type with the suffix `+json` (RFC 6839
/// section 3.1).
#[cfg(any(feature = "openai", feature = "validate"))]
pub(crate) fn is_json(value: &HeaderValue) -> bool {
    const SUFFIX: &[u8] = b"+json";
    // As nearly all write it.
    if value == "application/json" {
        return true;
    }
    let essence = essence(value);
    is(value, "application/json")
        || essence
            .split_at_checked(essence.len().saturating_sub(SUFFIX.len()))
            .is_some_and(|(kind, end)| !kind.is_empty() && end.eq_ignore_ascii_case(SUFFIX))
}

/// Tells whether text of that type can be UTF-8: it names no charset, or UTF-8 by any of its labels
/// (<https://encoding.spec.whatwg.org/#names-and-labels>), or ASCII.
///
/// RFC 8259 gives `charset` no meaning for JSON. A client that names another one is refused all
/// the same: some texts in GBK are UTF-8 too, and would be kept as other words.
#[cfg(feature = "validate")]
pub(crate) fn can_be_utf8(value: &HeaderValue) -> bool {
    const LABELS: [&[u8]; 7] =
        [b"utf8", b"unicode11utf8", b"unicode20utf8", b"xunicode20utf8", b"ascii", b"usascii", b""];
    parameters(value.as_bytes()).all(|(name, charset)| {
        let is_label = |label: &[u8]| {
            let charset = charset.iter().filter(|byte| !b"-_".contains(byte));
            charset.map(u8::to_ascii_lowercase).eq(label.iter().copied())
        };
        !name.eq_ignore_ascii_case(b"charset") || LABELS.into_iter().any(is_label)
    })
}

/// Gives the type without its parameters and the blanks around it.
pub(crate) fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Gives the parameters' names and values, these without the quotation marks around them. Some
/// write single ones.
#[cfg(feature = "validate")]
fn parameters(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b';' && !quoted
    });
    pieces.skip(1).filter_map(|piece| {
        let at = piece.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (piece.get(..at)?.trim_ascii(), piece.get(at + 1..)?.trim_ascii());
        let mut unquoted = value;
        for mark in [b"\"", b"'"] {
            unquoted = unquoted
                .strip_prefix(mark)
                .and_then(|value| value.strip_suffix(mark))
                .unwrap_or(unquoted);
        }
        Some((name, unquoted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_known_by_its_essence() {
        for (value, events) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(
                is(&HeaderValue::from_static(value), "text/event-stream"),
                events,
                "{value}"
            );
        }
    }

    #[cfg(feature = "validate")]
    #[test]
    fn json_is_named_in_full_or_by_its_suffix() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=\"UTF-8\"", true),
            ("application/json; odata=verbose", true),
            ("application/vnd.api+json", true),
            ("application/vnd.x+JSON ;x", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/json-seq", false),
            ("text/plain; x=application/json", false),
            ("+json", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(value)), json, "{value}");
        }
    }

    #[cfg(feature = "validate")]
    #[test]
    fn utf8_has_many_names() {
        for (parameters, utf8) in [
            ("", true),
            ("; charset=utf-8", true),
            (";charset=\"UTF-8\"", true),
            ("; charset=utf8", true),
            ("; Charset = UTF8 ;", true),
            ("; charset=utf_8", true),
            ("; charset='utf8'", true),
            ("; charset=unicode-1-1-utf-8", true),
            ("; charset=us-ascii", true),
            ("; charset=", true),
            ("; odata=verbose", true),
            ("; profile=\"x;charset=latin1\"", true),
            ("; profile=\"\\\";charset=latin1\"", true),
            ("; charset=utf-16", false),
            ("; charset=utf-16le", false),
            ("; charset=latin1", false),
            ("; charset=\"ISO-8859-1\"", false),
            ("; charset=gbk", false),
            ("; charset=utf-80", false),
            ("; profile=\"x\"; charset=latin1", false),
            ("; charset=utf-8; charset=latin1", false),
        ] {
            let value = HeaderValue::try_from(format!("application/json{parameters}")).unwrap();
            assert_eq!(can_be_utf8(&value), utf8, "{parameters}");
        }
    }
}
