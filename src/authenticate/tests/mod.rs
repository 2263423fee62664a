//! Tokens made in every good and bad way.

mod decode;
mod issuers;
mod jwks;
mod service;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::{Algorithm, Verifier, VerifierBuilder};

const SECRET: &[u8] = b"a secret for tests, 64 bytes or more, for the longest of the hashes";

/// When the tests take place.
const NOW: i64 = 1_800_000_000;

macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/", $name, ".pem"))
    };
}
use key;

/// A clock that is set by hand.
#[derive(Clone)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        let seconds = u64::try_from(self.0.load(Ordering::Relaxed)).unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

fn hs256() -> VerifierBuilder {
    let clock = TestClock::new();
    Verifier::builder()
        .algorithms([Algorithm::Hs256])
        .secret(SECRET)
        .leeway(Duration::ZERO)
        .clock(move || clock.now())
}

fn claims() -> Value {
    json!({ "sub": "ada", "exp": NOW + 60 })
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// Signs `header` and `payload`, whatever they are, with HMAC SHA-256.
fn sign_raw(header: &str, payload: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", part(header), part(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn sign(claims: &Value) -> String {
    sign_raw(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// Signs `claims` with any algorithm.
fn sign_with(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    let header = json!({ "alg": algorithm.as_str() });
    let signed = format!("{}.{}", part(&header.to_string()), part(&claims.to_string()));
    let algorithm = algorithm.as_str().parse().unwrap();
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}
