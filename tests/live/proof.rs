//! Servers that ask for the gateway's proof: `examples/openai_chatkit_server` with `gateway_proof.py`, and
//! one on the Node SDK with `examples/gateway_proof/gateway_proof.mjs`.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{End, Gateway, Place, Server, Upstream, project, python};

const SECRET: &str = "a-secret-of-the-live-tests-that-two-of-them-have";
const PROOF: &str = "chatkit-gateway-proof";
const BODY: &str = r#"{"type":"threads.list","params":{}}"#;
const BOTH: [Server; 2] = [Server::Python, Server::Node];

#[test]
fn the_module_in_python_passes_its_tests() {
    let ran = Command::new(python())
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(project().join("tests/live/gateway_proof"))
        .env("PYTHONPATH", project().join("examples/openai_chatkit_server"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{said}");
    let count = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next());
    assert!(count.unwrap().parse::<u32>().unwrap() >= 14, "{said}");
}

/// Gives a good statement for [`BODY`], with some claims in other words; null: without them.
fn claims(upstream: &Upstream, id: &str, others: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": "chatkit-rest",
        "aud": upstream.origin(),
        "sub": "ada",
        "iat": now,
        "exp": now + 30,
        "jti": id,
        "op": "list_threads",
        "body_sha256": URL_SAFE_NO_PAD.encode(digest(&SHA256, BODY.as_bytes())),
    });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn by_secret(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// Sends a request past the gateway, and gives its status.
fn status(upstream: &Upstream, token: Option<&str>, user: &str, body: &str) -> u16 {
    let mut client =
        upstream.client().with("x-user-id", user).with("content-type", "application/json");
    if let Some(token) = token {
        client = client.with(PROOF, token);
    }
    client.send("POST", "/chatkit", Some(body.as_bytes())).finish().status
}

#[test]
fn by_a_secret_the_gateway_is_known_and_nobody_else() {
    for server in BOTH {
        let upstream = Upstream::asking_for_proof(server, ("GATEWAY_PROOF_SECRET", SECRET));
        let gateway = Gateway::start_with(&upstream, &[("UPSTREAM__PROOF_SECRET", SECRET)]);
        for user in ["ada", "Ada Löv 50%"] {
            let caller = gateway.caller(user);
            let conversation = caller.conversation();
            let said = caller.say(&conversation, "hello").finish();
            assert_eq!((said.status, said.end), (200, End::Clean), "{server:?}: {}", said.text());
            let whole = caller.get(&format!("/sessions/{}", conversation.session)).data();
            assert_eq!(whole["messages"][0]["content"][0]["text"], "hello");
        }

        let without = Gateway::start(&upstream);
        let ada = without.caller("ada");
        ada.say(&ada.conversation(), "hello").finish().refusal(502, "UPSTREAM_ERROR");

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let status = |token: &str| status(&upstream, Some(token), "ada", BODY);
        let good = by_secret(&claims(&upstream, "good", &json!({})));
        for (name, token) in [
            ("none", String::new()),
            ("no token", "a.b.c".to_owned()),
            ("a signature cut", good[..good.len() - 2].to_owned()),
            (
                "expired",
                by_secret(&claims(&upstream, "1", &json!({"iat": now - 60, "exp": now - 30}))),
            ),
            (
                "early",
                by_secret(&claims(&upstream, "2", &json!({"iat": now + 60, "exp": now + 90}))),
            ),
            (
                "for another",
                by_secret(&claims(&upstream, "3", &json!({"aud": "http://127.0.0.1:1"}))),
            ),
            ("for nobody", by_secret(&claims(&upstream, "4", &json!({"aud": null})))),
            ("by another", by_secret(&claims(&upstream, "5", &json!({"iss": "me"})))),
            ("without an end", by_secret(&claims(&upstream, "6", &json!({"exp": null})))),
            ("without a user", by_secret(&claims(&upstream, "7", &json!({"sub": null})))),
            ("without an id", by_secret(&claims(&upstream, "8", &json!({"jti": null})))),
            ("without a body", by_secret(&claims(&upstream, "9", &json!({"body_sha256": null})))),
            ("another user's", by_secret(&claims(&upstream, "10", &json!({"sub": "eve"})))),
        ] {
            assert_eq!(status(&token), 401, "{server:?}: {name}");
        }
        let secret = EncodingKey::from_secret(b"another-secret-that-one-of-them-does-not-have");
        let forged = claims(&upstream, "11", &json!({}));
        let forged =
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &forged, &secret).unwrap();
        assert_eq!(status(&forged), 401);
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let unsigned = part(&claims(&upstream, "12", &json!({})));
        let unsigned = format!("{}.{unsigned}.", part(&json!({"alg": "none"})));
        assert_eq!(status(&unsigned), 401);

        let with = |user: &str, body: &str| self::status(&upstream, Some(&good), user, body);
        assert_eq!(self::status(&upstream, None, "ada", BODY), 401, "without any");
        assert_eq!(with("eve", BODY), 401, "another user's header");
        assert_eq!(with("ada", &BODY.replace("{}", "{ }")), 401, "another body");
        assert_eq!(with("ada", BODY), 200, "{server:?}: it was not used up by those");
        assert_eq!(with("ada", BODY), 401, "the same again");
    }
}

#[test]
fn by_a_key_the_gateway_is_known_and_nobody_else() {
    for server in BOTH {
        let place = Place::new();
        let url = format!("http://{}/.well-known/jwks.json", place.address());
        let upstream = Upstream::asking_for_proof(server, ("GATEWAY_PROOF_JWKS_URL", &url));
        let file = project().join("fixtures/keys/ed25519.private.pem");
        let (listen, file) = (place.address().to_string(), file.display().to_string());
        let settings = [("LISTEN", &*listen), ("UPSTREAM__PROOF_KEY_FILE", &file)];
        let gateway = Gateway::start_with(&upstream, &settings);
        let ada = gateway.caller("ada");
        ada.said(&ada.conversation(), "hello");

        let set = gateway.stranger().call("GET", "/.well-known/jwks.json").value();
        let kid = set["keys"][0]["kid"].as_str().unwrap();
        let signed = |key: &EncodingKey, algorithm: Algorithm, kid: &str, id: &str| {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
            jsonwebtoken::encode(&header, &claims(&upstream, id, &json!({})), key).unwrap()
        };
        let status = |token: &str| status(&upstream, Some(token), "ada", BODY);
        let own = EncodingKey::from_ed_pem(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(status(&signed(&own, Algorithm::EdDSA, kid, "1")), 200);
        assert_eq!(status(&signed(&own, Algorithm::EdDSA, kid, "1")), 401, "the same again");
        assert_eq!(status(&signed(&own, Algorithm::EdDSA, "nobody's", "2")), 401);
        let other = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let other = EncodingKey::from_ed_der(other.as_ref());
        assert_eq!(status(&signed(&other, Algorithm::EdDSA, kid, "3")), 401);
        // What is public is no secret to sign by.
        let public = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().unwrap()).unwrap();
        let public = EncodingKey::from_secret(&public);
        assert_eq!(status(&signed(&public, Algorithm::HS256, kid, "4")), 401);
    }
}
