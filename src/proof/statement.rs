//! What is said, and how it is written.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use uuid::Uuid;

use super::LIFE;
use super::key::Key;
use crate::principal::UserId;

/// What is said of one request.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    user: &'a str,
    operation: &'a str,
    request_id: Option<&'a str>,
    body: &'a [u8],
}

impl<'a> Statement<'a> {
    /// Says that this body is sent in the user's name, for that operation.
    pub fn new(user: &'a UserId, operation: &'a str, body: &'a [u8]) -> Self {
        Self { user: user.as_str(), operation, request_id: None, body }
    }

    /// Says the same of what the gateway asks in a name of its own.
    #[cfg(feature = "server")]
    pub(crate) const fn of_gateway(name: &'a str, operation: &'a str, body: &'a [u8]) -> Self {
        Self { user: name, operation, request_id: None, body }
    }

    /// Says which request it came of.
    #[must_use]
    pub const fn with_request_id(self, request_id: Option<&'a str>) -> Self {
        Self { request_id, ..self }
    }
}

/// What is the same in all statements of a signer.
pub(super) struct Signed {
    /// The first part of the token and its dot.
    header: String,
    /// The first claims.
    claims: String,
}

/// About how long what differs is: the other claims with their names, without the user's id.
const CLAIMS_BYTES: usize = 320;

impl Signed {
    pub(super) fn new(key: &Key, issuer: &str, audience: &str) -> Self {
        let mut header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"", key.algorithm());
        if let Some(public) = key.public() {
            // A thumbprint is letters, digits, `-` and `_`.
            let _ = write!(header, ",\"kid\":\"{}\"", public.thumbprint());
        }
        header.push('}');
        let mut header = URL_SAFE_NO_PAD.encode(header);
        header.push('.');
        let mut claims = String::from("{\"iss\":");
        quoted(issuer, &mut claims);
        if !audience.is_empty() {
            claims.push_str(",\"aud\":");
            quoted(audience, &mut claims);
        }
        Self { header, claims }
    }

    pub(super) fn sign(
        &self,
        key: &Key,
        statement: &Statement<'_>,
        now: SystemTime,
    ) -> HeaderValue {
        let Statement { user, operation, request_id, body } = *statement;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = String::with_capacity(self.claims.len() + CLAIMS_BYTES + user.len());
        claims.push_str(&self.claims);
        claims.push_str(",\"sub\":");
        quoted(user, &mut claims);
        // Writing to a `String` does not fail.
        let _ = write!(
            claims,
            ",\"iat\":{now},\"exp\":{},\"jti\":\"{}\",\"op\":",
            now.saturating_add(LIFE.as_secs()),
            Uuid::new_v4().as_simple()
        );
        quoted(operation, &mut claims);
        if let Some(request_id) = request_id {
            claims.push_str(",\"request_id\":");
            quoted(request_id, &mut claims);
        }
        claims.push_str(",\"body_sha256\":\"");
        URL_SAFE_NO_PAD.encode_string(digest(&SHA256, body), &mut claims);
        claims.push_str("\"}");

        // As base64, and with a dot and a signature of up to 64 bytes.
        let room = self.header.len() + claims.len().div_ceil(3) * 4 + 1 + 88;
        let mut token = String::with_capacity(room);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
        let mut signature = String::with_capacity(88);
        key.sign(&token, &mut signature);
        token.push('.');
        token.push_str(&signature);
        // All of it is base64 and dots.
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(token))
            .unwrap_or_else(|_| HeaderValue::from_static("none"));
        value.set_sensitive(true);
        value
    }
}

/// Writes a text in JSON (RFC 8259 section 7).
fn quoted(text: &str, to: &mut String) {
    to.push('"');
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(plain) {
        to.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => to.extend(['\\', c]),
                c if c < ' ' => {
                    // Writing to a `String` does not fail.
                    let _ = write!(to, "\\u{:04x}", u32::from(c));
                }
                c => to.push(c),
            }
        }
    }
    to.push('"');
}
