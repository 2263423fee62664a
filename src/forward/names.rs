//! Header fields by what they are for, as far as that decides who may say them to whom.
//!
//! Names are in lower case here, as [`http`] has them, and `_` reads as `-`: many servers can't
//! tell the two apart.

use std::borrow::Cow;

/// Gives a name as a server may read it that takes `_` for `-`.
pub(crate) fn dashed(name: &str) -> Cow<'_, str> {
    if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) }
}

/// Knows `Proxy-*`; and `Proxy`, which CGI hands to programs as the proxy they shall use.
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

/// Tells why the operator can't give a field a fixed value: the gateway says something by it itself, or
/// it belongs to the connection. `None`: it is free.
#[cfg(any(feature = "config", feature = "forward"))]
pub(crate) fn never_fixed(name: &str) -> Option<&'static str> {
    match name {
        // Some servers drop such a field, others take `-` and `_` for the same.
        name if name.contains('_') => Some("has a _, which many servers drop"),
        "incremental" | "traceparent" | "tracestate" | "x-request-id" => {
            Some("is the gateway's own to say")
        }
        name if name.starts_with("chatkit-gateway-") => Some("is the gateway's own to say"),
        name if is_replaced(name) => Some("belongs to the connection or the body"),
        name if is_address(name) => Some("tells where clients reach the gateway"),
        _ => None,
    }
}

/// Fields in which proxies tell of a connection's two ends: never a user.
#[cfg(any(feature = "config", feature = "forward", feature = "operation"))]
pub(super) fn is_address(name: &str) -> bool {
    match name.strip_prefix("x-forwarded-") {
        Some(of) => matches!(of, "for" | "host" | "port" | "prefix" | "proto"),
        None => name == "forwarded",
    }
}

/// How names begin under which a user is told, with `x-` or without; and before their `-`, whole ones.
const FAMILIES: [&str; 75] = [
    "access-token",
    "amzn-lattice-",
    "amzn-mtls-",
    "amzn-oidc-",
    "amzn-request-context",
    "apigateway-",
    "appengine-user-",
    "arr-clientcert",
    "auth-",
    "authenticated-",
    "authn-",
    "authentik-",
    "authz-",
    "azure-client",
    "azure-socketip",
    "cas-",
    "cf-access-",
    "cf-client-cert",
    "claim-",
    "claims-",
    "client-cert",
    "client-dn",
    "client-fingerprint",
    "client-i-dn",
    "client-issuer",
    "client-s-dn",
    "client-serial",
    "client-subject",
    "client-to-edge",
    "client-verify",
    "cloudfront-viewer-",
    "consumer-",
    "credential-",
    "dex-",
    "end-user",
    "endpoint-api-userinfo",
    "envoy-",
    "forwarded-",
    "goog-authenticated-user-",
    "goog-iap-",
    "hasura-",
    "idp-",
    "impersonate-",
    "jwt-",
    "keycloak-",
    "l5d-",
    "ldap-",
    "mellon-",
    "ms-client-principal",
    "ms-token-",
    "mtls-",
    "ngrok-auth-",
    "oam-",
    "oidc-",
    "okta-",
    "openid-",
    "osso-",
    "pomerium-",
    "principal-",
    "remote-",
    "saml-",
    "sandstorm-",
    "shib-",
    "spiffe-",
    "ssl-",
    "sso-",
    "tailscale-",
    "teleport-",
    "tls-",
    "token-sub",
    "token-user-",
    "vercel-",
    "vouch-",
    "webauth-",
    "ynh-",
];

/// Fields under which proxies and access gateways tell who was authenticated, with what certificate,
/// or from where: by families, as each has fields that depend on its settings. They are those of
/// oauth2-proxy, Pomerium, Authelia, Authentik, Kong, Vouch, Apache, nginx, `HAProxy`, Traefik, Envoy,
/// Caddy, Linkerd, SPIFFE, Kubernetes, Teleport, ngrok, Pangolin, Cloudflare, Tailscale, Fastly, Fly,
/// Akamai, Vercel, `SiteMinder`, `WebSEAL`, Oracle Access Manager, Shibboleth, Mellon, CAS, and of Google's,
/// Amazon's and Microsoft's; and names that applications commonly take a user from. Complete it can't be:
/// whoever lists `*` relies on the upstream for the rest.
pub(super) fn is_identity(name: &str) -> bool {
    /// As they are: `authorization` has rules of its own, and `x-iv-…` may be anything.
    const PREFIXES: [&str; 7] = [
        "authorization-",
        "chatkit-gateway-",
        "iv-",
        "sm-",
        "x-original-forwarded-",
        "x-proxy-",
        "x-user-",
    ];
    let bare = name.strip_prefix("x-").unwrap_or(name);
    match bare {
        "actor" | "admin" | "cert" | "email" | "emails" | "group" | "groups" | "id-token"
        | "identity" | "login" | "logged-in-as" | "mail" | "on-behalf-of" | "role" | "roles"
        | "scope" | "scopes" | "sub" | "subject" | "subject-token" | "token" | "uid" | "upn" => {
            return true;
        }
        _ => (),
    }
    match name {
        "cf-connecting-ip"
        | "cf-connecting-ipv6"
        | "cf-pseudo-ipv4"
        | "eppn"
        | "fastly-client-ip"
        | "fly-client-ip"
        | "forwarded"
        | "gap-auth"
        | "true-client-ip"
        | "x-anonymous-consumer"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-forwarded"
        | "x-nf-client-connection-ip"
        | "x-originating-ip"
        | "x-proxyuser-ip"
        | "x-real-ip"
        | "x-serverless-authorization" => true,
        _ => {
            FAMILIES
                .iter()
                .any(|family| bare.starts_with(family) || family.strip_suffix('-') == Some(bare))
                || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || has_word_user(bare)
        }
    }
}

/// Tells whether a name has the word "user" (`x-verified-user`, `current-user-id`, `username`),
/// unless it is one of this API's own, a browser's (`sec-fetch-user`), or a `user-agent`.
fn has_word_user(bare: &str) -> bool {
    if !bare.contains("user")
        || ["chatkit-", "openai-", "sec-"].iter().any(|it| bare.starts_with(it))
    {
        return false;
    }
    let mut words = bare.split('-').peekable();
    while let Some(word) = words.next() {
        match word {
            "user" if words.peek() == Some(&"agent") => (),
            "user" | "useremail" | "usergroups" | "userid" | "userinfo" | "username"
            | "userrole" | "userroles" | "remoteuser" => return true,
            _ => (),
        }
    }
    false
}

/// Fields that any client sends without anybody meaning the upstream by them, so that a log
/// that named them would say the same of every gateway: what browsers add to each `fetch`
/// (client hints, `sec-fetch-*`, `origin`, which the gateway's own cross-origin rules are for), what
/// HTTP libraries and proxies on the way do, and the official OpenAI clients' `x-stainless-*`.
/// First are those of nearly every request, as this is asked of each field that doesn't pass.
#[cfg(any(feature = "forward", feature = "operation"))]
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
#[cfg(feature = "operation")]
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

#[cfg(test)]
mod tests {
    use super::*;

    // Each as its own server's documentation has it, or as CGI would spell it.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_proxies_tell_of_a_user_is_known_by_its_family() {
        for name in [
            "cf-access-authenticated-user-email",
            "cf_access_jwt_assertion",
            "cf-client-cert-sha256",
            "client-cert-chain",
            "client-to-edge",
            "cloudfront-viewer-cert-subject",
            "gap-auth",
            "impersonate-user",
            "iv-user",
            "l5d-client-id",
            "mellon-name-id",
            "ngrok-auth-user-email",
            "oidc_claim_sub",
            "oam_remote_user",
            "remote_groups",
            "remote-user",
            "sm_universalid",
            "ssl_client_s_dn",
            "ssl-client-cert",
            "tailscale-user-login",
            "teleport-jwt-assertion",
            "x-amzn-lattice-identity",
            "x-amzn-mtls-clientcert-leaf",
            "x-amzn-oidc-data",
            "x-amzn-request-context",
            "x-apigateway-api-userinfo",
            "x-appengine-user-email",
            "x-arr-clientcert",
            "x-auth-request-user",
            "x_authentik_username",
            "x-client-cert-subject-dn",
            "x-client-dn",
            "x-client-verify",
            "x-consumer-username",
            "x-endpoint-api-userinfo",
            "x-envoy-external-address",
            "x-forwarded-client-cert",
            "x-goog-authenticated-user-email",
            "x-goog-iap-jwt-assertion",
            "x-ms-client-principal",
            "x-ms-client-principal-name",
            "x-ms-token-aad-access-token",
            "x-original-forwarded-for",
            "x-remote-group",
            "x_remote_user",
            "x-spiffe-id",
            "x-ssl-cert",
            "x-ssl-client-cert",
            "x_ssl_client_verify",
            "x-tls-client-subject",
            "x-token-user-email",
            "x-webauth-user",
            "authenticated",
            "authorization-user",
            "email",
            "http-x-user-id",
            "preferred-username",
            "remote",
            "user",
            "user-email",
            "user-groups",
            "user-id",
            "user_name",
            "userid",
            "username",
            "x-auth",
            "x-authenticated",
            "x-authn-user",
            "x-claims",
            "x-claims-sub",
            "x-current-user",
            "x-email",
            "x-groups",
            "x-identity",
            "x-impersonate",
            "x-jwt",
            "x-login",
            "x_on_behalf_of",
            "x-remoteuser",
            "x-role",
            "x-roles",
            "x-saml-user",
            "x-scopes",
            "x-sso-session",
            "x-token",
            "x-uid",
            "x-userinfo",
            "x-verified-user",
        ] {
            assert!(is_identity(&dashed(name)), "{name}");
        }
        for name in [
            "accept-language",
            "authorization",
            "baggage",
            "chatkit-user",
            "openai-beta",
            "openai-user-id",
            "origin",
            "sec-ch-ua",
            "sec-fetch-user",
            "traceparent",
            "user-agent",
            "x-amz-user-agent",
            "x-api-key",
            "x-client-name",
            "x-client-version",
            "x-iv",
            "x-request-id",
            "x-stainless-os",
            "x-tenant",
        ] {
            assert!(!is_identity(name) && !is_replaced(name), "{name}");
        }
    }
}
