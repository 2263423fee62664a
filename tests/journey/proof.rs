//! What the upstream knows the gateway by: a statement with each request, and headers of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatkit_rest::config::ApiKey;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::{Client, Folder, Gateway, Received, TestRequest, Upstream, stream_answer};

const HEADER: &str = "chatkit-gateway-proof";
const SECRET: &str = "another-planted-secret-of-the-two-of-them";
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys");

/// Gives what the statement of a request says, which must be good and for this body.
#[track_caller]
fn said(received: &Received, audience: &str, key: &DecodingKey, algorithm: Algorithm) -> Value {
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[audience]);
    rules.set_issuer(&["chatkit-rest"]);
    rules.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
    rules.leeway = 0;
    let token = received.field(HEADER).expect("a statement");
    let claims = jsonwebtoken::decode::<Value>(token, key, &rules).unwrap().claims;
    assert_eq!(received.head.matches(HEADER).count(), 1, "{}", received.head);
    let sum = URL_SAFE_NO_PAD.encode(digest(&SHA256, &received.body));
    assert_eq!(claims["body_sha256"], sum);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now - claims["iat"].as_u64().unwrap() < 20, "{claims}");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 30);
    claims
}

#[tokio::test]
async fn every_request_says_in_whose_name_it_is_sent() {
    let upstream = Upstream::bind().await;
    let service = ApiKey::of("support", "sk-planted-key").unwrap();
    let keys = format!("support={}", service.digest());
    let settings = [("upstream.proof_secret", SECRET), ("openai.api_keys", &keys)];
    let gateway = Gateway::with(&upstream, &settings).await;
    let audience = format!("http://{}", upstream.address());
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let said = |received: &Received| said(received, &audience, &key, Algorithm::HS256);
    let mut seen = Vec::new();

    let session = gateway.session("Ada Löv%").await;
    let run = TestRequest::run(&session).user("Ada Löv%").field("x-request-id", "r-1");
    let mut client = gateway.connect().await;
    client.send(run.bytes()).await;
    let (mut peer, received) = upstream.request().await;
    let claims = said(&received);
    assert_eq!((&claims["sub"], &claims["op"]), (&json!("Ada Löv%"), &json!("create_run")));
    assert_eq!(claims["request_id"], "r-1");
    assert_eq!(received.field("x-user-id"), Some("Ada%20L%C3%B6v%25"));
    seen.push(claims["jti"].clone());
    // A run that says nothing has the thread looked for: that is the same user's.
    peer.send(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n").await;
    drop(client);

    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let mut client = gateway.connect().await;
    let run = TestRequest::run(&session).user("ada");
    client.send(run.bytes()).await;
    let (mut peer, received) = upstream.request().await;
    seen.push(said(&received)["jti"].clone());
    peer.send(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let (_peer, follow_up) = upstream.request().await;
    let claims = said(&follow_up);
    assert_eq!((&claims["sub"], &claims["op"]), (&json!("ada"), &json!("create_run")));
    assert_ne!(follow_up.body, received.body);
    seen.push(claims["jti"].clone());

    // A service asks on behalf of whose the thread is.
    let mut client = gateway.connect().await;
    let list = TestRequest::new("GET", "//v1/chatkit/threads/thr_1")
        .field("authorization", "Bearer sk-planted-key");
    client.send(list.bytes()).await;
    let (_peer, received) = upstream.request().await;
    let claims = said(&received);
    assert_eq!((&claims["sub"], &claims["op"]), (&json!("ada"), &json!("openai_get_thread")));
    seen.push(claims["jti"].clone());
    let all = seen.len();
    seen.sort_by_key(ToString::to_string);
    seen.dedup();
    assert_eq!(seen.len(), all, "no statement is made twice");
}

#[tokio::test]
async fn a_client_has_no_proof_of_its_own() {
    let forged =
        [HEADER, "Chatkit-Gateway-Proof", "chatkit_gateway_proof", "chatkit-gateway_proof"];
    for settings in [
        &[][..],
        &[("upstream.proof_secret", SECRET)],
        &[("upstream.forward_headers", "*"), ("upstream.proof_secret", SECRET)],
        &[("upstream.forward_headers", "*")],
        &[("upstream.forward_headers", "chatkit*")],
    ] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::with(&upstream, settings).await;
        let mut request = TestRequest::run(&gateway.session("ada").await).user("ada");
        for name in forged {
            request = request.field(name, "planted");
        }
        let mut client = gateway.connect().await;
        client.send(request.field("chatkit-device", "kept").bytes()).await;
        let (_peer, received) = upstream.request().await;
        assert!(!received.head.contains("planted"), "{settings:?}: {}", received.head);
        let is_set = settings.iter().any(|(name, _)| name.ends_with("secret"));
        assert_eq!(received.field(HEADER).is_some(), is_set);
        assert_eq!(received.field("chatkit-device"), Some("kept"));
    }
}

#[tokio::test]
async fn the_start_up_check_is_the_gateways_own() {
    let upstream = Upstream::bind().await;
    let url = format!("http://{}/chatkit", upstream.address());
    let sources = chatkit_rest::config::Sources::new()
        .set("test", "listen", "127.0.0.1:0")
        .set("test", "store.url", "memory:")
        .set("test", "auth.secret", SECRET)
        .set("test", "upstream.url", &*url)
        .set("test", "upstream.proof_secret", SECRET)
        .set("test", "upstream.headers", "x-api-key=planted-key");
    let server = chatkit_rest::server::Server::bind(sources.load().unwrap().config).await.unwrap();
    let look = tokio::spawn(server.look_at_upstream());
    let (_peer, received) = upstream.request().await;
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let audience = format!("http://{}", upstream.address());
    let claims = said(&received, &audience, &key, Algorithm::HS256);
    assert_eq!(claims["op"], "start_up_check");
    assert_eq!(claims["sub"], received.field("x-user-id").unwrap());
    assert_eq!(received.field("x-api-key"), Some("planted-key"));
    look.abort();
}

/// Gives the keys that a gateway publishes.
async fn published(gateway: &Gateway) -> JwkSet {
    let reply = gateway.send(TestRequest::new("GET", "//.well-known/jwks.json")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert_eq!(reply.field("cache-control"), Some("public, max-age=300"));
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn a_published_key_verifies_what_is_sent() {
    let upstream = Upstream::bind().await;
    let key = format!("{KEYS}/ed25519.private.pem");
    let settings = [("upstream.proof_key_file", &*key), ("upstream.proof_audience", "urn:chat")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let set = published(&gateway).await;
    assert_eq!(set.keys.len(), 1);

    let _client = gateway.say("ada", &gateway.session("ada").await).await;
    let (mut peer, received) = upstream.request().await;
    let header = jsonwebtoken::decode_header(received.field(HEADER).unwrap()).unwrap();
    let jwk = set.find(&header.kid.unwrap()).expect("the key that is named");
    let key = DecodingKey::from_jwk(jwk).unwrap();
    let claims = said(&received, "urn:chat", &key, Algorithm::EdDSA);
    assert_eq!(claims["sub"], "ada");
    peer.send(stream_answer("")).await;

    let head = gateway.send(TestRequest::new("HEAD", "//.well-known/jwks.json")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let post = gateway.send(TestRequest::new("POST", "//.well-known/jwks.json")).await;
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
    let document = gateway.send(TestRequest::new("GET", "//openapi.json")).await.json();
    let described = &document["paths"]["/.well-known/jwks.json"]["get"];
    assert_eq!(described["operationId"], "jwks");
    assert_eq!(described["security"], json!([]));
}

#[tokio::test]
async fn two_keys_are_published_while_they_are_exchanged() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let next = std::path::Path::new(&folder.store()["sqlite:".len()..]).with_extension("pem");
    let pem = "-----BEGIN PRIVATE KEY-----\n\
               MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
               -----END PRIVATE KEY-----\n";
    std::fs::write(&next, pem).unwrap();
    let (old, next) = (format!("{KEYS}/ed25519.private.pem"), next.display().to_string());
    let mut kids = Vec::new();
    for (signs, other) in [(&old, &next), (&next, &old)] {
        let settings =
            [("upstream.proof_key_file", &**signs), ("upstream.proof_published_key_file", other)];
        // It is on the listener that the upstream reaches, wherever health is.
        let admin = [("admin.listen", "127.0.0.1:0")];
        let gateway = Gateway::with(&upstream, &[&settings[..], &admin].concat()).await;
        let set = published(&gateway).await;
        kids.push(set.keys.iter().map(|key| key.common.key_id.clone()).collect::<Vec<_>>());
        let mut client = Client::connect(gateway.admin.unwrap()).await;
        client.send("GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(client.reply().await.status, 404);
    }
    kids[1].reverse();
    assert_eq!((kids[0].len(), &kids[0]), (2, &kids[1]));
}

#[tokio::test]
async fn without_a_key_there_is_no_key_set() {
    let upstream = Upstream::bind().await;
    for settings in [&[][..], &[("upstream.proof_secret", SECRET)]] {
        let gateway = Gateway::with(&upstream, settings).await;
        let reply = gateway.send(TestRequest::new("GET", "//.well-known/jwks.json")).await;
        assert_eq!(reply.status, 404);
        let document = gateway.send(TestRequest::new("GET", "//openapi.json")).await.json();
        assert!(document["paths"].get("/.well-known/jwks.json").is_none());
    }
}

#[tokio::test]
async fn a_header_of_the_operators_is_in_every_request_and_nobody_elses() {
    let upstream = Upstream::bind().await;
    let settings = [
        ("upstream.headers", "x-api-key=planted-key,Authorization=Bearer planted key"),
        ("upstream.forward_headers", "*"),
    ];
    let gateway = Gateway::with(&upstream, &settings).await;
    let mut request = TestRequest::run(&gateway.session("ada").await).user("ada");
    for name in ["x-api-key", "X-API-KEY", "x_api_key", "x-api_key"] {
        request = request.field(name, "mallory");
    }
    let mut client = gateway.connect().await;
    client.send(request.field("connection", "x-api-key").bytes()).await;
    let (_peer, received) = upstream.request().await;
    assert!(!received.head.contains("mallory"), "{}", received.head);
    assert_eq!(received.field("x-api-key"), Some("planted-key"));
    assert_eq!(received.field("authorization"), Some("Bearer planted key"));
    assert_eq!(received.head.matches("planted").count(), 2, "{}", received.head);
}
