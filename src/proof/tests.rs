use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::principal::UserId;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The key of RFC 8037, appendix A, as OpenSSL writes it.
fn rfc_8037() -> String {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let start = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pem("PRIVATE KEY", &[&start, &seed[..]].concat())
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn made(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys");
    std::fs::read_to_string(format!("{folder}/{name}.pem")).unwrap()
}

/// Gives what a signer says of a body, as header, claims, what is signed and the signature.
fn said(signer: &Signer, statement: &Statement<'_>, at: u64) -> (Value, Value, String, Vec<u8>) {
    let value = signer.sign(statement, SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    assert!(value.is_sensitive());
    let token = value.to_str().unwrap();
    let (text, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = text.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    (json(header), json(claims), text.to_owned(), signature)
}

#[test]
fn a_statement_says_who_asks_for_what() {
    let signer = Signer::hs256(SECRET).unwrap().with_audience("http://127.0.0.1:8000");
    let ada = UserId::parse("ada \"ö\" \\ %2F").unwrap();
    let statement = Statement::new(&ada, "create_run", b"{\"a\":1}").with_request_id(Some("r-1"));
    let (header, mut claims, text, signature) = said(&signer, &statement, 1_700_000_000);
    assert_eq!(header, json!({"alg": "HS256", "typ": "JWT"}));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, text.as_bytes(), &signature).unwrap();
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 32);
    let sum = URL_SAFE_NO_PAD.encode(digest(&SHA256, b"{\"a\":1}"));
    let expected = json!({
        "iss": "chatkit-rest",
        "aud": "http://127.0.0.1:8000",
        "sub": ada.as_str(),
        "iat": 1_700_000_000,
        "exp": 1_700_000_030,
        "op": "create_run",
        "request_id": "r-1",
        "body_sha256": sum,
    });
    assert_eq!(claims, expected);

    let again = said(&signer, &statement, 1_700_000_000).1;
    assert_ne!(again["jti"], id);
    let plain = Signer::hs256(SECRET).unwrap().with_issuer("\u{1}us");
    let claims = said(&plain, &Statement::new(&ada, "x", b""), 0).1;
    assert_eq!(claims["iss"], "\u{1}us");
    assert!(claims.get("aud").is_none() && claims.get("request_id").is_none());
}

#[test]
fn a_private_key_signs_what_its_published_half_verifies() {
    let signer = Signer::ed25519_pem(rfc_8037()).unwrap();
    let ada = UserId::parse("ada").unwrap();
    let (header, _, text, signature) = said(&signer, &Statement::new(&ada, "x", b""), 0);
    let set: Value = serde_json::from_slice(&signer.key_set().unwrap()).unwrap();
    // RFC 8037, appendices A.2 and A.3.
    let own = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "alg": "EdDSA",
        "use": "sig",
    });
    assert_eq!(set, json!({ "keys": [own] }));
    assert_eq!(header, json!({"alg": "EdDSA", "typ": "JWT", "kid": own["kid"]}));
    let key = URL_SAFE_NO_PAD.decode(own["x"].as_str().unwrap()).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).unwrap();
}

#[test]
fn two_keys_are_published_while_they_are_exchanged() {
    let keys = |signer: &Signer| {
        let set: Value = serde_json::from_slice(&signer.key_set().unwrap()).unwrap();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (public, private) = (made("ed25519.public"), made("ed25519.private"));
    let old = Signer::ed25519_pem(rfc_8037()).unwrap();
    let before = keys(&old.clone().publishing_pem(&public).unwrap());
    let new = Signer::ed25519_pem(&private).unwrap();
    let after = keys(&new.publishing_pem(rfc_8037()).unwrap());
    assert_eq!(before.iter().rev().collect::<Vec<_>>(), after.iter().collect::<Vec<_>>());
    assert_eq!(before.len(), 2);
    // The same one is there once.
    assert_eq!(keys(&old.publishing_pem(rfc_8037()).unwrap()).len(), 1);
}

#[test]
fn what_is_no_key_is_told_by_what_it_is() {
    use InvalidKey as I;
    let private = |pem: &str| Signer::ed25519_pem(pem).unwrap_err();
    assert_eq!(private(""), I::NoPrivate);
    assert_eq!(private(SECRET), I::NoPrivate);
    assert_eq!(private(&made("ed25519.public")), I::Public);
    for (label, told) in [
        ("ENCRYPTED PRIVATE KEY", I::Encrypted),
        ("EC PRIVATE KEY", I::NotEd25519),
        ("RSA PRIVATE KEY", I::NotEd25519),
        ("OPENSSH PRIVATE KEY", I::OfSsh),
        ("CERTIFICATE", I::Certificate),
        ("CERTIFICATE REQUEST", I::Certificate),
        ("X25519", I::NoPrivate),
    ] {
        assert_eq!(private(&pem(label, b"planted")), told, "{label}");
        assert!(!told.to_string().contains("planted"));
    }
    assert_eq!(private(rfc_8037().split("-----END").next().unwrap()), I::Cut);
    assert_eq!(private(&made("rsa.private")), I::NotEd25519);
    assert_eq!(private(&made("p256.private")), I::NotEd25519);
    assert_eq!(private(&pem("PRIVATE KEY", b"")), I::NotEd25519);
    assert_eq!(private("-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----"), I::NoPrivate);
    assert_eq!(private("-----END PRIVATE KEY----------BEGIN PRIVATE KEY-----"), I::Cut);
    assert_eq!(private(&rfc_8037().repeat(2)), I::Several);
    assert!(Signer::ed25519_pem(rfc_8037().replace('\n', "\r\n")).is_ok());

    let signer = Signer::ed25519_pem(rfc_8037()).unwrap();
    let public = |pem: &str| signer.clone().publishing_pem(pem).unwrap_err();
    assert_eq!(public("x"), I::NoPublic);
    assert_eq!(public(&pem("ENCRYPTED PRIVATE KEY", b"")), I::Encrypted);
    assert_eq!(public(&pem("EC PRIVATE KEY", b"")), I::NotEd25519);
    assert_eq!(public(&pem("RSA PUBLIC KEY", b"")), I::NotEd25519);
    assert_eq!(public(&made("rsa.public")), I::NotEd25519);
    assert_eq!(public(&made("p256.private")), I::NotEd25519);

    assert_eq!(Signer::hs256(&SECRET[1..]).unwrap_err(), I::ShortSecret);
    let signer = Signer::hs256(SECRET).unwrap();
    assert!(signer.key_set().is_none());
    assert_eq!(signer.publishing_pem(rfc_8037()).unwrap_err(), I::NothingPublished);
}

#[test]
fn a_key_is_not_shown() {
    let signer = Signer::hs256(SECRET).unwrap();
    assert!(!format!("{signer:?}").contains(&SECRET[..8]));
    assert!(format!("{signer:?}").contains("HS256"));
}
