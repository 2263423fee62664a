//! What of an answer's head comes from the upstream. Every response that passes one of its bodies
//! on has its head from here.

use http::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use crate::chatkit::upstream::{INCREMENTAL, YES};
use crate::forward::{IdentityHeaders, dashed, is_order, listed};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Gives the upstream's headers that are passed on: what its body is, and the integrator's own
/// (`x-…`). Nothing about its connection, length, place, cookies or policies, which are the
/// gateway's to tell as its origin is the gateway's; nothing that a server in front would obey or
/// believe.
pub(crate) fn passed_on(headers: &HeaderMap, identity: &IdentityHeaders) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(6);
    for (name, value) in headers {
        let keep = match name.as_str() {
            "content-type" | "content-language" | "proxy-status" => true,
            own if own.starts_with("x-") => {
                let own = dashed(own);
                !is_the_gateways(&own) && !is_order(&own) && !identity.is_of_user(&own)
            }
            _ => false,
        };
        if keep {
            kept.append(name.clone(), value.clone());
        }
    }
    for name in listed(headers) {
        kept.remove(name);
    }
    kept.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    kept
}

/// Gives the same for an answer that is no stream, which nobody is to store.
pub(crate) fn of_answer(headers: &HeaderMap, identity: &IdentityHeaders) -> HeaderMap {
    let mut headers = passed_on(headers, identity);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// Gives the same for a stream, and what keeps it from being stored, buffered or changed on its
/// way: a ChatKit server says none of it itself.
pub(crate) fn of_stream(headers: &HeaderMap, identity: &IdentityHeaders) -> HeaderMap {
    let mut headers = passed_on(headers, identity);
    let no_store = HeaderValue::from_static("no-cache, no-store, no-transform");
    headers.insert(CACHE_CONTROL, no_store);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(INCREMENTAL, YES);
    headers
}

/// Fields that begin like an integrator's own and are about the server, what browsers may do with
/// its pages, or the exchange with the gateway.
fn is_the_gateways(name: &str) -> bool {
    matches!(
        name,
        "x-aspnet-version"
            | "x-aspnetmvc-version"
            | "x-content-security-policy"
            | "x-conversation-id"
            | "x-dns-prefetch-control"
            | "x-download-options"
            | "x-frame-options"
            | "x-permitted-cross-domain-policies"
            | "x-powered-by"
            | "x-request-id"
            | "x-robots-tag"
            | "x-ua-compatible"
            | "x-webkit-csp"
            | "x-xss-protection"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(identity: &IdentityHeaders, sent: &[&'static str]) -> Vec<String> {
        let sent = sent
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("planted")));
        let kept = passed_on(&sent.collect(), identity);
        assert_eq!(kept[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let mut kept: Vec<_> = kept.keys().map(|name| name.as_str().to_owned()).collect();
        kept.retain(|name| name != "x-content-type-options");
        kept.sort_unstable();
        kept
    }

    #[test]
    fn no_server_in_front_gets_orders_from_the_upstream() {
        let orders = [
            "x-accel-redirect",
            "x-accel-buffering",
            "x-accel-expires",
            "x-accel_redirect",
            "x-sendfile",
            "x-sendfile2",
            "x-sendfile-type",
            "x-lighttpd-send-file",
            "x-lighttpd-send-tempfile",
            "x-litespeed-location",
            "x-litespeed-cache-control",
            "x-reproxy-url",
            "x-reproxy-file",
            "x-archive-files",
            "x-envoy-immediate-health-check-fail",
        ];
        assert_eq!(kept(&IdentityHeaders::default(), &orders), [""; 0]);
    }

    #[test]
    fn nobody_learns_from_the_upstream_who_is_calling() {
        let identity = IdentityHeaders::new(HeaderName::from_static("x-login")).unwrap();
        let users = [
            "x-login",
            "x-user-id",
            "x-user_id",
            "x-auth-request-user",
            "x-auth-request-email",
            "x-forwarded-user",
            "x-remote-user",
            "remote-user",
            "x-real-ip",
        ];
        assert_eq!(kept(&identity, &users), [""; 0]);
    }

    #[test]
    fn policies_cookies_and_the_connection_stay_and_what_an_integrator_adds_passes() {
        let sent = [
            "access-control-allow-credentials",
            "access-control-allow-origin",
            "alt-svc",
            "clear-site-data",
            "content-security-policy",
            "keep-alive",
            "link",
            "proxy-authenticate",
            "refresh",
            "server",
            "service-worker-allowed",
            "set-cookie",
            "strict-transport-security",
            "via",
            "www-authenticate",
            "x-frame-options",
            "x-powered-by",
            "x-request-id",
            "content-type",
            "content-language",
            "x-chatkit-run-id",
            "x-accelerator",
        ];
        let expected = ["content-language", "content-type", "x-accelerator", "x-chatkit-run-id"];
        assert_eq!(kept(&IdentityHeaders::default(), &sent), expected);
    }
}
