#[cfg(any(feature = "forward", feature = "operation"))]
use http::header::HeaderName;
use http::header::{self, HeaderMap};

#[cfg(feature = "forward")]
use super::names::is_proxy;
use crate::media_type;

/// Removes what belongs to the connection a message came by and is never passed on (RFC 9110
/// section 7.6.1): the fields known for it, those that `Connection` names, and `Proxy-*`.
#[cfg(feature = "forward")]
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in listed(headers) {
        headers.remove(name);
    }
    remove_named(headers, |name| match name {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade"
        | "http2-settings" => true,
        _ => is_proxy(name),
    });
}

/// Removes the fields that `unwanted` picks by their names. Looking at the few fields that there
/// are costs less than looking up every one that there might be.
#[cfg(feature = "forward")]
pub(super) fn remove_named(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let found: Vec<_> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Gives the fields named by `Connection`.
#[cfg(any(feature = "forward", feature = "operation"))]
pub(crate) fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok()).collect()
}

/// Tells whether a body is a stream of events (`text/event-stream`, whatever its parameters).
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    value.is_some_and(|value| media_type::is(value, "text/event-stream"))
}

/// Tells whether a body is JSON, whatever its parameters.
#[cfg(any(feature = "openai", feature = "operation"))]
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(media_type::is_json)
}

/// Tells whether nothing but JSON is asked for.
#[cfg(feature = "forward")]
pub(super) fn asks_for_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::ACCEPT);
    value.is_some_and(|value| media_type::is(value, "application/json"))
}

/// Tells whether nothing but events are asked for.
#[cfg(feature = "forward")]
pub(super) fn asks_for_events(headers: &HeaderMap) -> bool {
    let value = headers.get(header::ACCEPT);
    value.is_some_and(|value| media_type::is(value, "text/event-stream"))
}

#[cfg(feature = "forward")]
#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter();
        fields.map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_fields_are_removed_and_those_that_connection_names() {
        let mut headers = map(&[
            ("connection", "close, X-Hop ,"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy", "http://evil"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("proxying", "1"),
            ("x-kept", "1"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["proxying", "x-kept"]);
    }

    #[cfg(feature = "operation")]
    #[test]
    fn an_upstream_may_name_json_in_another_way() {
        for value in ["application/json;charset=utf8", "application/vnd.x+json", "Application/Json"]
        {
            assert!(is_json(&map(&[("content-type", value)])), "{value}");
        }
        for value in ["text/html", "text/event-stream"] {
            assert!(!is_json(&map(&[("content-type", value)])), "{value}");
        }
    }

    #[test]
    fn what_is_asked_for_is_told_by_accept() {
        assert!(!is_event_stream(&HeaderMap::new()));
        assert!(asks_for_json(&map(&[("accept", "application/json")])));
        assert!(!asks_for_json(&map(&[("accept", "application/json, text/event-stream")])));
    }
}
