//! Keys that an issuer publishes, changes and withholds: over sockets, through a whole gateway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::support::{Gateway, Place, Reply, TestRequest, Upstream, log_of, soon};

macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/", $name, ".pem"))
    };
}

fn key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(key!("p256.private")).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(key!("p384.private")).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn public(algorithm: Algorithm, kid: &str) -> Value {
    let mut key = Jwk::from_encoding_key(&key(algorithm), algorithm).unwrap();
    key.common.key_id = Some(kid.to_owned());
    serde_json::to_value(key).unwrap()
}

fn token_of(algorithm: Algorithm, kid: &str) -> String {
    token_by("https://issuer.example", algorithm, kid)
}

fn token_by(issuer: &str, algorithm: Algorithm, kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    let exp = jiff::Timestamp::now().as_second() + 3600;
    let claims = json!({ "iss": issuer, "sub": "ada", "exp": exp });
    jsonwebtoken::encode(&header, &claims, &key(algorithm)).unwrap()
}

fn asking(token: &str) -> TestRequest {
    TestRequest::new("GET", "/sessions").field("authorization", &format!("Bearer {token}"))
}

/// An issuer that answers whatever it is asked with its set, and where that is if it is asked so, once
/// for each permit.
struct Issuer {
    address: SocketAddr,
    set: Mutex<Vec<u8>>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Issuer {
    async fn start(keys: &[Value]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, keys)
    }

    fn on(listener: TcpListener, keys: &[Value]) -> Arc<Self> {
        let issuer = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            set: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
        });
        issuer.publish(keys);
        let answering = Arc::clone(&issuer);
        tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(peer.read_u8().await.unwrap());
                }
                answering.asked.fetch_add(1, Ordering::Relaxed);
                answering.gate.acquire().await.unwrap().forget();
                let answer = if request.starts_with(b"GET /.well-known/openid-configuration ") {
                    let (issuer, jwks_uri) = (answering.name(), answering.url());
                    answer(&json!({ "issuer": issuer, "jwks_uri": jwks_uri }))
                } else {
                    answering.set.lock().unwrap().clone()
                };
                let _ = peer.write_all(&answer).await;
            }
        });
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        *self.set.lock().unwrap() = answer(&json!({ "keys": keys }));
    }

    fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(document: &Value) -> Vec<u8> {
    let body = document.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

async fn gateway(upstream: &Upstream, url: &str) -> Gateway {
    let settings = [("auth.secret", ""), ("auth.jwks_url", url), ("auth.cookie", "session")];
    Gateway::with(upstream, &settings).await
}

async fn all(gateway: &Gateway, requests: Vec<TestRequest>) -> Vec<Reply> {
    let mut clients = Vec::new();
    for request in requests {
        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        clients.push(client);
    }
    let mut replies = Vec::new();
    for mut client in clients {
        replies.push(client.reply().await);
    }
    replies
}

#[tokio::test]
async fn a_key_is_changed_without_a_request_that_fails() {
    let upstream = Upstream::bind().await;
    let issuer = Issuer::start(&[public(Algorithm::ES256, "a")]).await;
    let gateway = gateway(&upstream, &issuer.url()).await;
    let (old, new) = (token_of(Algorithm::ES256, "a"), token_of(Algorithm::ES384, "b"));
    // By header and by cookie, all at once and before there is any key.
    let mut requests: Vec<_> = (0..10).map(|_| asking(&old)).collect();
    requests.push(TestRequest::new("GET", "/sessions").field("cookie", &format!("session={old}")));
    for reply in all(&gateway, requests).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[public(Algorithm::ES256, "a"), public(Algorithm::ES384, "b")]);
    for reply in all(&gateway, (0..10).map(|_| asking(&new)).collect()).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(gateway.send(asking(&old)).await.status, 200);
    assert_eq!(issuer.asked(), 2);
    let lines = log_of("source", &issuer.url()).await;
    assert_eq!(lines.len(), 2, "one line for what is there, and one for the change");
    assert_eq!((lines[1].get("new"), lines[1].get("gone")), ("b", ""));
}

#[tokio::test]
async fn without_any_key_it_is_the_gateways_fault_until_there_is_one() {
    let upstream = Upstream::bind().await;
    let place = Place::new();
    let address = place.address();
    let gateway = gateway(&upstream, &format!("http://{address}/keys")).await;
    let token = token_of(Algorithm::ES256, "a");
    let reply = gateway.send(asking(&token)).await;
    reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert!(reply.field("retry-after").is_some());
    assert!(!reply.text().contains(&address.port().to_string()), "{}", reply.text());
    gateway.send(asking("x.y.z")).await.refusal(401, "UNAUTHORIZED");
    let reply = gateway.send(TestRequest::new("GET", "//readyz")).await;
    assert_eq!(reply.refusal(503, "SERVICE_UNAVAILABLE")["details"]["check"], "keys");
    assert!(!reply.text().contains(&address.port().to_string()), "{}", reply.text());
    assert_eq!(gateway.send(TestRequest::new("GET", "//healthz")).await.status, 200);

    let _issuer = Issuer::on(place.listen(), &[public(Algorithm::ES256, "a")]);
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    soon(async {
        while gateway.send(TestRequest::new("GET", "//readyz")).await.status != 200 {
            every.tick().await;
        }
    })
    .await;
    assert_eq!(gateway.send(asking(&token)).await.status, 200);
}

#[tokio::test]
async fn a_flood_of_made_up_keys_keeps_nobody_with_a_known_one_waiting() {
    let upstream = Upstream::bind().await;
    let issuer = Issuer::start(&[public(Algorithm::ES256, "a")]).await;
    let gateway = gateway(&upstream, &issuer.url()).await;
    let token = token_of(Algorithm::ES256, "a");
    assert_eq!(gateway.send(asking(&token)).await.status, 200);
    issuer.gate.forget_permits(usize::MAX);
    let mut flood = Vec::new();
    for kid in 0..50 {
        let mut client = gateway.connect().await;
        client.send(asking(&token_of(Algorithm::ES384, &kid.to_string())).bytes()).await;
        flood.push(client);
    }
    soon(async {
        while issuer.asked() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It is being fetched, and that is nothing to those whose key is known.
    for _ in 0..10 {
        assert_eq!(gateway.send(asking(&token)).await.status, 200);
    }
    issuer.gate.add_permits(1000);
    // The one that had it fetched is known to be nobody's; of the others' keys that says nothing yet.
    let mut unauthorized = 0;
    for mut client in flood {
        let reply = client.reply().await;
        if reply.status == 401 {
            unauthorized += 1;
        } else {
            reply.refusal(503, "SERVICE_UNAVAILABLE");
            let left: u64 = reply.field("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&left), "{left}");
        }
    }
    assert_eq!(unauthorized, 1);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuers_outage_is_not_that_of_the_others() {
    const A: &str = "https://a.example";
    const B: &str = "https://b.example";
    let upstream = Upstream::bind().await;
    let issuer = Issuer::start(&[public(Algorithm::ES256, "a")]).await;
    let place = Place::new();
    let (there, away) = (issuer.url(), format!("http://{}/keys", place.address()));
    let several = format!(
        "[{{ issuer = \"{A}\", jwks_url = \"{away}\", user = \"{{iss}}|{{sub}}\" }}, \
         {{ issuer = \"{B}\", jwks_url = \"{there}\", user = \"{{iss}}|{{sub}}\" }}]"
    );
    let settings = [("auth.secret", ""), ("auth.issuers", &*several)];
    let gateway = Gateway::with(&upstream, &settings).await;
    let [of_a, of_b, foreign] = [
        token_by(A, Algorithm::ES256, "a"),
        token_by(B, Algorithm::ES256, "a"),
        token_by(B, Algorithm::ES384, "b"),
    ];
    for (status, code) in [(401, "UNAUTHORIZED"), (503, "SERVICE_UNAVAILABLE")] {
        assert_eq!(gateway.send(asking(&of_b)).await.status, 200);
        // Its key is the other's, too: nobody looks there.
        gateway.send(asking(&of_a)).await.refusal(503, "SERVICE_UNAVAILABLE");
        // The set was fetched for it, and isn't again within a minute.
        gateway.send(asking(&foreign)).await.refusal(status, code);
    }
    assert_eq!(gateway.send(TestRequest::new("GET", "//readyz")).await.status, 200);

    let _other = Issuer::on(place.listen(), &[public(Algorithm::ES256, "a")]);
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    soon(async {
        while gateway.send(asking(&of_a)).await.status != 200 {
            every.tick().await;
        }
    })
    .await;
    let elsewhere = token_by(A, Algorithm::ES384, "b");
    gateway.send(asking(&elsewhere)).await.refusal(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn each_of_two_issuers_changes_and_withdraws_its_own_keys() {
    const B: &str = "https://b.example";
    let upstream = Upstream::bind().await;
    let old = || [public(Algorithm::ES256, "old")];
    let (found, named) = (Issuer::start(&old()).await, Issuer::start(&old()).await);
    let (a, there) = (found.name(), named.url());
    let several = format!(
        "[{{ issuer = \"{a}\", discovery = true, user = \"{{iss}}|{{sub}}\" }}, \
         {{ issuer = \"{B}\", jwks_url = \"{there}\", user = \"{{iss}}|{{sub}}\" }}]"
    );
    let settings = [("auth.secret", ""), ("auth.issuers", &*several)];
    let gateway = Gateway::with(&upstream, &settings).await;
    let issuers = [(&*a, &found), (B, &named)];
    let before = issuers.map(|(name, _)| token_by(name, Algorithm::ES256, "old"));
    // The second time they are remembered.
    for token in before.iter().chain(&before) {
        let reply = gateway.send(asking(token)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // Where the set is is asked first of one of them.
    assert_eq!((found.asked(), named.asked()), (2, 1));

    let [of_a, of_b] = &before;
    for ((name, issuer), (gone, stays)) in
        issuers.into_iter().zip([(of_a, Some(of_b)), (of_b, None)])
    {
        issuer.publish(&[public(Algorithm::ES384, "new")]);
        let after = token_by(name, Algorithm::ES384, "new");
        for _ in 0..2 {
            assert_eq!(gateway.send(asking(&after)).await.status, 200);
            gateway.send(asking(gone)).await.refusal(401, "UNAUTHORIZED");
            if let Some(stays) = stays {
                assert_eq!(gateway.send(asking(stays)).await.status, 200);
            }
        }
    }
    assert_eq!((found.asked(), named.asked()), (4, 2));
}
