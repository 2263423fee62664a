//! Several issuers in front of one gateway.

use serde_json::json;

use crate::support::{Gateway, Reply, SECRET, TestRequest, Upstream, token_with};

const OTHER: &str = "another-secret-that-is-long-enough-for-hs256";
const A: &str = "https://a.example";
const B: &str = "https://b.example";

async fn gateway(more: &[(&'static str, &str)]) -> Gateway {
    let upstream = Upstream::bind().await;
    let url = format!("http://{}/chatkit", upstream.address());
    let issuers = format!(
        "[{{ issuer = \"{A}\", secret = \"{SECRET}\", user = \"{{iss}}|{{sub}}\" }}, \
         {{ issuer = \"{B}\", secret = \"{OTHER}\", user = \"{{iss}}|{{sub}}\", \
         require = [\"scope:chat\"] }}]"
    );
    let mut settings =
        vec![("upstream.url", &*url), ("store.url", "memory:"), ("auth.issuers", &*issuers)];
    settings.extend_from_slice(more);
    Gateway::configured(&settings).await
}

fn token(issuer: &str, secret: &str, scope: &str) -> String {
    let exp = jiff::Timestamp::now().as_second() + 3600;
    let claims = json!({ "iss": issuer, "sub": "ada", "exp": exp, "scope": scope });
    if secret == SECRET {
        return token_with(&claims);
    }
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

async fn ask(gateway: &Gateway, method: &str, path: &str, token: &str) -> Reply {
    let request = TestRequest::new(method, path).field("authorization", &format!("Bearer {token}"));
    gateway.send(request).await
}

#[tokio::test]
async fn users_of_two_issuers_are_two_users_though_each_calls_them_the_same() {
    let gateway = gateway(&[]).await;
    let [a, b] = [token(A, SECRET, ""), token(B, OTHER, "chat")];
    let made = ask(&gateway, "POST", "/sessions", &a).await.json();
    let session = format!("/sessions/{}", made["data"]["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(ask(&gateway, "GET", &session, &a).await.status, 200);
        ask(&gateway, "GET", &session, &b).await.refusal(403, "FORBIDDEN");
        assert_eq!(ask(&gateway, "GET", "/sessions", &b).await.json()["data"], json!([]));
    }
    for stranger in [
        token(A, OTHER, "chat"),
        token(B, SECRET, "chat"),
        token("https://c.example", SECRET, "chat"),
        token("https://a.example/", SECRET, "chat"),
    ] {
        ask(&gateway, "GET", "/sessions", &stranger).await.refusal(401, "UNAUTHORIZED");
    }
    let lacking = ask(&gateway, "GET", "/sessions", &token(B, OTHER, "")).await;
    lacking.refusal(403, "INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn all_of_them_are_in_the_metadata() {
    let gateway = gateway(&[("server.public_url", "https://chat.example")]).await;
    let path = "//.well-known/oauth-protected-resource/api/v1/chatkit";
    let metadata = gateway.send(TestRequest::new("GET", path)).await.json();
    assert_eq!(metadata["authorization_servers"], json!([A, B]));
    assert_eq!(metadata["scopes_supported"], json!(["chat"]));
}
