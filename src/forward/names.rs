//! Header fields by what they are for, as far as that decides who may say them to whom.
//!
//! Names are in lower case here, as [`http`] has them, and `_` reads as `-`: many servers can't
//! tell the two apart.

use std::borrow::Cow;

/// A name as a server may read it that takes `_` for `-`.
pub(crate) fn dashed(name: &str) -> Cow<'_, str> {
    if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) }
}

/// `Proxy-*`; and `Proxy`, which CGI hands to programs as the proxy they shall use.
pub(super) fn is_proxy(name: &str) -> bool {
    name.strip_prefix("proxy").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Fields the gateway leaves out of a request or writes itself.
pub(super) fn is_replaced(name: &str) -> bool {
    match name {
        "accept"
        | "accept-charset"
        | "accept-encoding"
        | "connection"
        | "cookie"
        | "cookie2"
        | "digest"
        | "expect"
        | "host"
        | "http2-settings"
        | "keep-alive"
        | "range"
        | "repr-digest"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "x-http-method"
        | "x-http-method-override"
        | "x-method-override"
        | "x-original-method"
        | "x-original-uri"
        | "x-original-url"
        | "x-rewrite-url" => true,
        _ => {
            ["content-", "if-", "sec-websocket-"].iter().any(|prefix| name.starts_with(prefix))
                || is_proxy(name)
        }
    }
}

/// Fields in which proxies tell of a connection's two ends: never a user.
#[cfg(any(feature = "forward", feature = "translate"))]
pub(super) fn is_address(name: &str) -> bool {
    match name.strip_prefix("x-forwarded-") {
        Some(of) => matches!(of, "for" | "host" | "port" | "prefix" | "proto"),
        None => name == "forwarded",
    }
}

/// Fields under which proxies and access gateways tell who was authenticated: the defaults of
/// oauth2-proxy, Pomerium, Authelia, Authentik, Kong, Vouch, Apache, nginx, Traefik, Envoy,
/// Cloudflare Access, Tailscale, and of Google's, Amazon's and Microsoft's.
pub(super) fn is_identity(name: &str) -> bool {
    const PREFIXES: [&str; 25] = [
        "cf-access-",
        "remote-",
        "oidc-",
        "ssl-client-",
        "tailscale-user-",
        "x-access-token",
        "x-amzn-oidc-",
        "x-auth-",
        "x-authenticated-",
        "x-authentik-",
        "x-client-cert",
        "x-consumer-",
        "x-credential-",
        "x-end-user",
        "x-forwarded-",
        "x-goog-authenticated-user-",
        "x-goog-iap-",
        "x-hasura-",
        "x-jwt-",
        "x-ms-client-principal",
        "x-pomerium-",
        "x-remote-",
        "x-user-",
        "x-vouch-",
        "x-webauth-",
    ];
    match name {
        "client-cert"
        | "client-cert-chain"
        | "x-anonymous-consumer"
        | "x-email"
        | "forwarded"
        | "x-id-token"
        | "cf-connecting-ip"
        | "true-client-ip"
        | "x-client-ip"
        | "x-principal"
        | "x-real-ip"
        | "x-sub"
        | "x-subject"
        | "x-user"
        | "x-userid"
        | "x-userinfo"
        | "x-username" => true,
        _ => PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// Fields that any client sends without anybody meaning the upstream by them, so that a log
/// that named them would say the same of every gateway: what browsers add to each `fetch`
/// (client hints, `sec-fetch-*`, `origin`, which the gateway's own cross-origin rules are for), what
/// HTTP libraries and proxies on the way do, and the official OpenAI clients' `x-stainless-*`.
/// First are those of nearly every request, as this is asked of each field that doesn't pass.
#[cfg(any(feature = "forward", feature = "translate"))]
pub(super) fn is_everyday(name: &str) -> bool {
    const PREFIXES: [&str; 6] =
        ["content-", "sec-", "if-", "access-control-", "x-stainless-", "x-forwarded-"];
    match name {
        "host"
        | "accept"
        | "content-type"
        | "content-length"
        | "accept-encoding"
        | "connection"
        | "cookie"
        | "origin"
        | "referer"
        | "priority"
        | "dnt"
        | "cache-control"
        | "pragma"
        | "accept-charset"
        | "accept-language"
        | "authorization"
        | "date"
        | "device-memory"
        | "downlink"
        | "dpr"
        | "ect"
        | "from"
        | "keep-alive"
        | "postman-token"
        | "rtt"
        | "save-data"
        | "te"
        | "transfer-encoding"
        | "upgrade"
        | "upgrade-insecure-requests"
        | "user-agent"
        | "via"
        | "viewport-width"
        | "width"
        | "x-real-ip"
        | "x-requested-with" => true,
        _ => PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// Fields of an answer that give orders to a web server in front, which would carry them out in the
/// gateway's name: to send a file or another address's answer in place of this one (nginx, Apache,
/// lighttpd, `LiteSpeed`, Perlbal, H2O, nginx's `mod_zip`), to store it, to go on with another request
/// (Next.js, those that read a method from a field), or to take this gateway for unwell (Envoy).
#[cfg(feature = "translate")]
pub(crate) fn is_order(name: &str) -> bool {
    const PREFIXES: [&str; 12] = [
        "x-accel-",
        "x-archive-",
        "x-envoy-",
        "x-http-method",
        "x-lighttpd-",
        "x-litespeed-",
        "x-lscache",
        "x-method-override",
        "x-middleware-",
        "x-reproxy-",
        "x-send-file",
        "x-sendfile",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
