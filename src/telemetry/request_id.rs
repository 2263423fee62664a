//! Request ids and `traceparent`.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::rejection::X_REQUEST_ID;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Makes sure that the request has exactly one good id, and gives it.
pub(super) fn ensure(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(X_REQUEST_ID)
        && is_good(id.as_bytes())
        && headers.get_all(X_REQUEST_ID).iter().nth(1).is_none()
    {
        return id.clone();
    }
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    let id = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"));
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

fn is_good(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Removes a `traceparent` that isn't one, and then its `tracestate` too (W3C Trace Context,
/// section 3.4). A good one is passed on as it is: the gateway is no span of its own.
pub(super) fn drop_bad_trace_context(headers: &mut HeaderMap) {
    let Some(parent) = headers.get(&TRACEPARENT) else {
        headers.remove(&TRACESTATE);
        return;
    };
    let good =
        is_traceparent(parent.as_bytes()) && headers.get_all(&TRACEPARENT).iter().nth(1).is_none();
    if !good {
        headers.remove(&TRACEPARENT);
        headers.remove(&TRACESTATE);
    }
}

/// Tells whether it is `version "-" trace-id "-" parent-id "-" flags`, lower-case hex, ids not all
/// zero. Versions above 00 may be longer.
fn is_traceparent(value: &[u8]) -> bool {
    let lower_hex =
        |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let Some((head, rest)) = value.split_at_checked(55) else { return false };
    let mut parts = head.split(|byte| *byte == b'-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let known = version == b"00";
    (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2)
        && [version, trace, parent, flags].into_iter().all(lower_hex)
        && version != b"ff"
        && trace.iter().any(|byte| *byte != b'0')
        && parent.iter().any(|byte| *byte != b'0')
        && (rest.is_empty() || (!known && rest.starts_with(b"-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_id_is_kept_and_any_other_replaced() {
        for (sent, kept) in [
            ("abc-1.2_3", true),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            let id = ensure(&mut headers);
            assert_eq!(id == sent, kept, "{sent}");
            assert_eq!(headers[X_REQUEST_ID], id);
            assert!(is_good(id.as_bytes()));
        }
        let mut twice = HeaderMap::new();
        twice.append(X_REQUEST_ID, HeaderValue::from_static("a"));
        twice.append(X_REQUEST_ID, HeaderValue::from_static("b"));
        assert_eq!(ensure(&mut twice).len(), 36);
        assert_eq!(twice.get_all(X_REQUEST_ID).iter().count(), 1);
    }

    #[test]
    fn trace_context() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (value, kept) in [
            (good, true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("nonsense", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
            drop_bad_trace_context(&mut headers);
            assert_eq!(headers.contains_key(TRACEPARENT), kept, "{value}");
            assert_eq!(headers.contains_key(TRACESTATE), kept, "{value}");
        }
    }
}
