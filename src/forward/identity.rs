use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::client_headers::{ClientHeaders, Listed};
use super::headers::listed;
use super::left_out::LeftOut;
use super::names::{dashed, is_address, is_everyday, is_identity, is_replaced};
use crate::error::Error;
use crate::principal::UserId;

/// What the upstream is told of a request's sender: what the client may say for itself, and the
/// verified user id, which it may not.
///
/// Kept are the client's fields that [`ClientHeaders`] lists: by default `accept-language`,
/// `user-agent`, those of traces, `x-request-id`, `chatkit-*` and `openai-*`. What isn't there is
/// left out, and named in the log once unless any browser sends it. Whatever is listed, removed are
///
/// * what belongs to the client's connection (RFC 9110 section 7.6.1), `host` and `expect`;
/// * what describes the client's body or answer, since the gateway sends and asks for others:
///   `content-*`, `accept`, `accept-encoding`, `range`, conditions (`if-*`), digests;
/// * credentials: `cookie`, and `authorization` unless it is to be forwarded, and even then a
///   client session's secret, which is the gateway's own;
/// * the user header and every other name under which proxies commonly hand on a verified
///   identity (`remote-user`, `x-auth-request-*`, …), and what servers take on trust from a
///   proxy about the client (`forwarded`, `x-forwarded-*`, `x-real-ip`);
/// * what makes some frameworks see another method or path (`x-http-method-override`, …).
///
/// A name is compared with `_` read as `-`, because many servers can't tell them apart.
///
/// ```
/// use chatkit_rest::forward::IdentityHeaders;
/// use chatkit_rest::principal::UserId;
/// use http::header::{HeaderMap, HeaderName};
///
/// let identity = IdentityHeaders::new(HeaderName::from_static("x-user-id"))?;
/// let mut incoming = HeaderMap::new();
/// incoming.insert("x_user_id", "mallory".parse()?);
/// incoming.insert("accept-language", "de".parse()?);
/// incoming.insert("x-tenant", "acme".parse()?);
/// let outgoing = identity.outbound(&incoming, &UserId::parse("ada")?);
/// assert_eq!(outgoing.len(), 2);
/// assert_eq!(outgoing["x-user-id"], "ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    user_header: HeaderName,
    forward_authorization: bool,
    client_headers: ClientHeaders,
    /// Of all clones together.
    left_out: Arc<LeftOut>,
}

impl Default for IdentityHeaders {
    /// Sends the user id as `x-user-id`, no `authorization`, and of the client's fields the
    /// [default](ClientHeaders::default) ones.
    fn default() -> Self {
        Self::of(HeaderName::from_static("x-user-id"))
    }
}

impl IdentityHeaders {
    /// Sends the user id as `user_header`, no `authorization`, and of the client's fields the
    /// [default](ClientHeaders::default) ones.
    ///
    /// # Errors
    /// If `user_header` is a field with a use of its own (`host`, `connection`, `authorization`,
    /// `x-forwarded-host`, `chatkit-gateway-proof`, …) or has a `_`.
    pub fn new(user_header: HeaderName) -> Result<Self, Error> {
        let name = user_header.as_str();
        if is_replaced(name)
            || is_address(name)
            || name == "authorization"
            || name.starts_with("chatkit-gateway-")
        {
            return Err(Error::config(format!("the field {name} can't carry the user id")));
        }
        if name.contains('_') {
            // Some servers drop such a field, others take `-` and `_` for the same.
            return Err(Error::config(format!("the user id's field {name} must not have a _")));
        }
        Ok(Self::of(user_header))
    }

    fn of(user_header: HeaderName) -> Self {
        Self {
            user_header,
            forward_authorization: false,
            client_headers: ClientHeaders::default(),
            left_out: Arc::default(),
        }
    }

    /// Sets which of the client's fields the upstream is given, in place of the default ones.
    ///
    /// # Errors
    /// If the user id's field is among them by name.
    pub fn forward_headers(self, client_headers: ClientHeaders) -> Result<Self, Error> {
        if client_headers.names(&self.user_header) {
            let name = &self.user_header;
            return Err(Error::config(format!("{name} carries the user id, so no client's field")));
        }
        Ok(Self { client_headers, ..self })
    }

    /// Sets whether the client's `authorization` goes to the upstream, which then sees the token.
    #[must_use]
    pub fn forward_authorization(mut self, forward: bool) -> Self {
        self.forward_authorization = forward;
        self
    }

    /// Gives the fields for the upstream. Those about the body (`content-type`) and the answer
    /// (`accept`) are left for the caller to add, and so is the gateway's own address, with
    /// [`PublicAddress::tell`](super::PublicAddress::tell).
    ///
    /// The user id is written as [`user_value`] does.
    pub fn outbound(&self, incoming: &HeaderMap, user: &UserId) -> HeaderMap {
        // Room for what the caller and the connection add, so that the map is made once.
        let mut outgoing = HeaderMap::with_capacity(incoming.len() + 7);
        let listed = listed(incoming);
        for (name, value) in incoming {
            if listed.contains(name) || !self.passes(name) {
                continue;
            }
            let mut value = value.clone();
            if name == header::AUTHORIZATION {
                if is_client_secret(&value) {
                    continue;
                }
                value.set_sensitive(true);
            }
            outgoing.append(name.clone(), value);
        }
        outgoing.insert(self.user_header.clone(), user_value(user));
        outgoing
    }

    fn passes(&self, name: &HeaderName) -> bool {
        if name == header::AUTHORIZATION {
            return self.forward_authorization;
        }
        let name = name.as_str();
        match self.client_headers.listed(name) {
            Listed::ByName => true,
            Listed::ByPattern => self.is_for_clients_to_say(name),
            Listed::Not => {
                if !is_everyday(name) && self.is_for_clients_to_say(name) {
                    self.left_out.tell(name);
                }
                false
            }
        }
    }

    /// Tells whether a field may pass, if it is listed.
    fn is_for_clients_to_say(&self, name: &str) -> bool {
        let name = dashed(name);
        !is_replaced(&name) && !self.is_of_user(&name)
    }

    /// Tells whether a field, its `_` read as `-`, tells who the user is.
    pub(crate) fn is_of_user(&self, name: &str) -> bool {
        is_identity(name) || name == self.user_header.as_str()
    }
}

/// What the secrets of client sessions begin with.
const CLIENT_SECRET_PREFIX: &[u8] = b"ek_";

/// Tells whether these are credentials of the gateway's own, with which the upstream could do
/// nothing but act for the user at the gateway. Whatever their scheme (RFC 9110 section 11.4): it
/// is the secret that is not to leave.
fn is_client_secret(authorization: &HeaderValue) -> bool {
    let mut words = authorization.as_bytes().split(u8::is_ascii_whitespace);
    words.any(|word| word.starts_with(CLIENT_SECRET_PREFIX))
}

/// Gives a user id as a field value.
///
/// Visible ASCII characters but `%` stand for themselves; every other byte of the UTF-8 text, a
/// blank and `%` too, is written `%XX`. So no two users look the same to the upstream, and an id
/// can be had back by percent-decoding.
///
/// ```
/// use chatkit_rest::{forward::user_value, principal::UserId};
///
/// assert_eq!(user_value(&UserId::parse("ada@example.org")?), "ada@example.org");
/// assert_eq!(user_value(&UserId::parse("Ada Löv")?), "Ada%20L%C3%B6v");
/// # Ok::<(), chatkit_rest::principal::InvalidUserId>(())
/// ```
pub fn user_value(user: &UserId) -> HeaderValue {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    let id = user.as_str();
    let encoded = if id.bytes().all(plain) {
        HeaderValue::from_str(id)
    } else {
        let mut text = String::with_capacity(id.len() * 3);
        for byte in id.bytes() {
            if plain(byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string can't fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
        HeaderValue::try_from(text)
    };
    // All of it is visible ASCII by now.
    encoded.unwrap_or_else(|_| HeaderValue::from_static("%"))
}

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
    fn a_client_cannot_say_who_it_is() {
        let identity = IdentityHeaders::new(HeaderName::from_static("x-login")).unwrap();
        let incoming = map(&[
            ("x-login", "mallory"),
            ("x_login", "mallory"),
            ("x-user-id", "mallory"),
            ("x_user-id", "mallory"),
            ("x-forwarded-user", "mallory"),
            ("x_forwarded_user", "mallory"),
            ("remote-user", "mallory"),
            ("remote_user", "mallory"),
            ("x-auth-request-email", "mallory"),
            ("x-remote-user", "mallory"),
            ("authorization", "Bearer x"),
            ("cookie", "session=x"),
        ]);
        let outgoing = identity.outbound(&incoming, &UserId::parse("ada").unwrap());
        assert_eq!(names(&outgoing), ["x-login"]);
        assert_eq!(outgoing["x-login"], "ada");
        assert_eq!(outgoing.get_all("x-login").iter().count(), 1);
    }

    #[test]
    fn connection_cannot_take_the_identity_away() {
        let identity = IdentityHeaders::new(HeaderName::from_static("x-user-id")).unwrap();
        let incoming = map(&[("connection", "x-user-id, x-mine"), ("x-mine", "1")]);
        let outgoing = identity.outbound(&incoming, &UserId::parse("ada").unwrap());
        assert_eq!(names(&outgoing), ["x-user-id"]);
    }

    /// Fields that never pass, whatever is listed.
    const NEVER: [&str; 15] = [
        "accept",
        "accept-encoding",
        "content-encoding",
        "content-length",
        "content-type",
        "content_length",
        "transfer_encoding",
        "expect",
        "host",
        "if-none-match",
        "range",
        "x-auth-request-user",
        "x-http-method-override",
        "x-original-url",
        "x_user_id",
    ];

    fn outbound(headers: &[&str], incoming: &HeaderMap) -> HeaderMap {
        let identity = IdentityHeaders::default();
        let identity = identity.forward_headers(ClientHeaders::parse(headers).unwrap()).unwrap();
        let mut outgoing = identity.outbound(incoming, &UserId::parse("ada").unwrap());
        assert_eq!(outgoing.remove("x-user-id").unwrap(), "ada");
        outgoing
    }

    #[test]
    fn what_a_client_may_say_is_kept_in_order() {
        let kept = [
            ("accept-language", "de"),
            ("traceparent", "00-1-2-01"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "a=1"),
            ("x-request-id", "r1"),
            ("chatkit-frame-instance-id", "f"),
            ("openai-beta", "chatkit=v1"),
            ("user-agent", "test"),
        ];
        let mut incoming = map(&kept);
        for dropped in NEVER.into_iter().chain(["x-tenant", "origin", "x-api-key", "chatkit"]) {
            incoming.insert(dropped, HeaderValue::from_static("x"));
        }
        let identity = IdentityHeaders::default();
        let mut outgoing = identity.outbound(&incoming, &UserId::parse("ada").unwrap());
        assert!(outgoing.remove("x-user-id").is_some());
        assert_eq!(outgoing, map(&kept));
    }

    #[test]
    fn what_is_listed_is_kept_in_place_of_the_default() {
        let incoming = map(&[
            ("x-tenant", "t"),
            ("x-tenants", "t"),
            ("x-acme-a", "a"),
            ("x-acme_user", "a"),
            ("accept-language", "de"),
        ]);
        let outgoing = outbound(&["X-Tenant", "x-acme-*"], &incoming);
        assert_eq!(names(&outgoing), ["x-acme-a", "x-tenant"]);
        assert_eq!(names(&outbound(&[], &incoming)), [""; 0]);
        let hop = map(&[("connection", "x-tenant"), ("x-tenant", "t")]);
        assert_eq!(names(&outbound(&["x-tenant"], &hop)), [""; 0]);
    }

    #[test]
    fn a_pattern_takes_in_nothing_that_never_passes() {
        let never = NEVER.into_iter().chain(["authorization", "cookie", "x-user-id", "te"]);
        let mut incoming: HeaderMap =
            never.map(|name| (HeaderName::from_static(name), "x".parse().unwrap())).collect();
        let kept =
            [("x-tenant", "t"), ("origin", "https://example.org"), ("accept-language", "de")];
        incoming.extend(map(&kept));
        assert_eq!(outbound(&["*"], &incoming), map(&kept));
        assert_eq!(outbound(&["x-tenant", "*"], &incoming), map(&kept));
        assert_eq!(
            names(&outbound(&["x*", "a*", "c*"], &incoming)),
            ["accept-language", "x-tenant"]
        );

        let identity = IdentityHeaders::new(HeaderName::from_static("x-acme-user-id")).unwrap();
        let identity =
            identity.forward_headers(ClientHeaders::parse(["x-acme*"]).unwrap()).unwrap();
        let forged = map(&[("x-acme-user_id", "mallory"), ("x-acme_user_id", "mallory")]);
        let outgoing = identity.outbound(&forged, &UserId::parse("ada").unwrap());
        assert_eq!(names(&outgoing), ["x-acme-user-id"]);
        assert_eq!(outgoing["x-acme-user-id"], "ada");
    }

    #[test]
    fn the_users_field_is_not_listed() {
        let person = IdentityHeaders::new(HeaderName::from_static("x-acme-person")).unwrap();
        for name in ["x-acme-person", "X_Acme_Person"] {
            let listed = ClientHeaders::parse([name]).unwrap();
            assert!(person.clone().forward_headers(listed).is_err(), "{name}");
        }
    }

    #[test]
    fn only_what_could_be_listed_and_is_not_of_every_day_is_told() {
        let identity = IdentityHeaders::default();
        let of_every_day = ["origin", "sec-fetch-mode", "sec-ch-ua", "dnt", "cookie", "referer"];
        let mut incoming = map(&[("connection", "x-hop"), ("x-hop", "1"), ("x-tenant", "t")]);
        for name in NEVER.into_iter().chain(of_every_day).chain(["authorization", "x-stainless-os"])
        {
            incoming.insert(name, HeaderValue::from_static("x"));
        }
        identity.outbound(&incoming, &UserId::parse("ada").unwrap());
        assert_eq!(identity.left_out.told(), ["x-tenant"]);
    }

    #[test]
    fn a_token_is_forwarded_only_on_request_and_then_marked() {
        let identity = IdentityHeaders::new(HeaderName::from_static("x-user-id")).unwrap();
        let incoming = map(&[("authorization", "Bearer secret")]);
        let ada = UserId::parse("ada").unwrap();
        assert!(!identity.outbound(&incoming, &ada).contains_key("authorization"));
        let outgoing = identity.forward_authorization(true).outbound(&incoming, &ada);
        assert_eq!(outgoing["authorization"], "Bearer secret");
        assert!(!format!("{outgoing:?}").contains("secret"));
    }

    #[test]
    fn a_client_secret_is_never_forwarded() {
        let identity = IdentityHeaders::default().forward_authorization(true);
        let ada = UserId::parse("ada").unwrap();
        for value in ["Bearer ek_e30.c2ln", "bearer  ek_e30.c2ln ", "BEARER\tek_x"] {
            let outgoing = identity.outbound(&map(&[("authorization", value)]), &ada);
            assert_eq!(names(&outgoing), ["x-user-id"], "{value}");
        }
        #[cfg(feature = "authenticate")]
        assert_eq!(CLIENT_SECRET_PREFIX, crate::authenticate::CLIENT_SECRET_PREFIX.as_bytes());
        for value in ["Bearer eyek_.x", "Bearer EK_x", "Basic xek_"] {
            let outgoing = identity.outbound(&map(&[("authorization", value)]), &ada);
            assert_eq!(outgoing["authorization"], value);
        }
    }

    #[test]
    fn no_two_users_look_the_same() {
        let value = |id: &str| user_value(&UserId::parse(id).unwrap());
        let ids = ["ada", " ada", "ada ", "a b", "a%20b", "a%2520b", "ö", "%C3%B6", "a,b"];
        let mut values: Vec<_> = ids.map(value).to_vec();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), ids.len());
        assert_eq!(value("a%b"), "a%25b");
        assert_eq!(value("auth0|507f;x=\"1\""), "auth0|507f;x=\"1\"");
    }

    #[test]
    fn the_user_header_must_be_free() {
        for name in [
            "host",
            "connection",
            "content-length",
            "cookie",
            "authorization",
            "proxy-user",
            "a_b",
            "forwarded",
            "x-forwarded-for",
            "chatkit-gateway-proof",
        ] {
            assert!(IdentityHeaders::new(HeaderName::from_static(name)).is_err(), "{name}");
        }
        assert!(IdentityHeaders::new(HeaderName::from_static("remote-user")).is_ok());
        assert!(IdentityHeaders::new(HeaderName::from_static("x-forwarded-user")).is_ok());
    }
}
