//! Key sets in every good and bad shape, and issuers that change, lose and withhold them.

mod remote;
mod set;
#[cfg(feature = "forward")]
mod sockets;

use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};

use super::*;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Gives what a PEM file of a public key holds, without what says of which kind it is.
fn bare(key: &DecodingKey) -> Vec<u8> {
    key.try_get_as_bytes().unwrap().to_vec()
}

fn p256(kid: &str) -> Value {
    let point = bare(&DecodingKey::from_ec_pem(key!("p256.public")).unwrap());
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) })
}

fn p384(kid: &str) -> Value {
    let point = bare(&DecodingKey::from_ec_pem(key!("p384.public")).unwrap());
    json!({ "kty": "EC", "crv": "P-384", "kid": kid, "x": b64(&point[1..49]), "y": b64(&point[49..]) })
}

fn ed25519(kid: &str) -> Value {
    let key = bare(&DecodingKey::from_ed_pem(key!("ed25519.public")).unwrap());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(&key) })
}

fn rsa_of(pem: &[u8], kid: &str) -> Value {
    // A sequence of two numbers, of which the other is 65537. The heads before the first have four bytes
    // each, or three if it is a short one.
    let der = bare(&DecodingKey::from_rsa_pem(pem).unwrap());
    let heads = if der[1] == 0x82 { 8 } else { 6 };
    let (n, e) = (&der[heads..der.len() - 5], &der[der.len() - 3..]);
    let zeros = usize::from(n[0] == 0);
    json!({ "kty": "RSA", "kid": kid, "n": b64(&n[zeros..]), "e": b64(e) })
}

fn rsa(kid: &str) -> Value {
    rsa_of(key!("rsa.public"), kid)
}

fn set_of(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn changed(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
    key[name] = value.into();
    key
}

fn without(mut key: Value, name: &str) -> Value {
    key.as_object_mut().unwrap().remove(name);
    key
}

fn private(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::EdDsa => EncodingKey::from_ed_pem(key!("ed25519.private")).unwrap(),
        Algorithm::Es256 => EncodingKey::from_ec_pem(key!("p256.private")).unwrap(),
        Algorithm::Es384 => EncodingKey::from_ec_pem(key!("p384.private")).unwrap(),
        _ => EncodingKey::from_rsa_pem(key!("rsa.private")).unwrap(),
    }
}

/// Signs claims with the key of that algorithm in fixtures/keys, as the one of that `kid`.
fn token_of(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    token_by(&private(algorithm), algorithm, kid, claims)
}

fn token_by(key: &EncodingKey, alg: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({ "alg": alg.as_str() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let signed = format!("{}.{}", part(&header.to_string()), part(&claims.to_string()));
    let algorithm = alg.as_str().parse().unwrap();
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

fn at_now(builder: VerifierBuilder) -> VerifierBuilder {
    let clock = TestClock::new();
    builder.leeway(Duration::ZERO).clock(move || clock.now())
}
