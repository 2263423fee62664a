//! Services and the client sessions that they make, from the socket to the log.

use chatkit_rest::config::ApiKey;
use serde_json::Value;

use crate::support::{
    Folder, Gateway, Reply, TestRequest, Upstream, everything_logged, json_answer, line_of, soon,
};

const KEY: &str = "sk-planted-key";

/// Writes `openai.api_keys` of the one service.
fn keys() -> String {
    format!("support={}", ApiKey::of("support", KEY).unwrap().digest())
}

fn service(method: &str, path: &str) -> TestRequest {
    let request = TestRequest::new(method, &format!("//v1/chatkit{path}"));
    request.field("authorization", &format!("Bearer {KEY}"))
}

async fn client_session(gateway: &Gateway) -> (Reply, String, String) {
    let body = r#"{"user":"hosted-ada","workflow":{"id":"w"}}"#;
    let reply = gateway.send(service("POST", "/sessions").json(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let session: Value = reply.json();
    let text = |name: &str| session[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("id"), text("client_secret"));
    (reply, id, secret)
}

fn with(secret: &str) -> TestRequest {
    TestRequest::new("GET", "/sessions").field("authorization", &format!("Bearer {secret}"))
}

#[tokio::test]
async fn the_log_names_the_service_and_the_user_and_has_no_key_and_no_secret() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("openai.api_keys", &keys())]).await;
    let (reply, _, secret) = client_session(&gateway).await;
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!(line.get("service"), "support");
    assert_eq!(line.get("user"), "hosted-ada");
    assert_eq!(line.get("operation"), "openai_create_session");

    let reply = gateway.send(with(&secret)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!((line.get("user"), line.get("service")), ("hosted-ada", ""));

    let reply = gateway.send(service("GET", "/threads/thr_x?user=planted-query-2")).await;
    assert_eq!(reply.status, 404);
    let line = line_of(reply.field("x-request-id").unwrap()).await;
    assert_eq!((line.get("service"), line.get("code")), ("support", "THREAD_NOT_FOUND"));
    // A key in the wrong place, and a wrong key in the right one.
    gateway.send(with(KEY)).await.refusal(401, "UNAUTHORIZED");
    let wrong = service("GET", "/threads").field("authorization", "Bearer sk-planted-2");
    let reply = gateway.send(wrong).await;
    line_of(reply.field("x-request-id").unwrap()).await;
    let logged = everything_logged();
    for planted in ["sk-planted", &secret, &secret[..24], "planted-query-2"] {
        assert!(!logged.contains(planted), "{planted}");
    }
}

#[tokio::test]
async fn a_thread_is_deleted_with_its_files_though_the_service_left() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("openai.api_keys", &keys())]).await;
    gateway.bound(&upstream, "ada", "thr_1").await;
    let mut client = gateway.connect().await;
    let file = r#"{"name":"plan.txt","size":3,"mime_type":"text/plain"}"#;
    client.send(TestRequest::new("POST", "/attachments").user("ada").json(file).bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(json_answer(r#"{"id":"atc_1"}"#)).await;
    assert_eq!(client.reply().await.status, 200);

    let mut client = gateway.connect().await;
    let delete = service("DELETE", "/threads/thr_1").field("x-request-id", "left-thread");
    client.send(delete.bytes()).await;
    assert_eq!(peer.request().await.kind(), "items.list");
    drop(client);
    assert_eq!(line_of("left-thread").await.get("outcome"), "cancelled");
    let item = r#"{"id":"msg_1","type":"user_message","attachments":[{"id":"atc_1"}]}"#;
    peer.send(json_answer(&format!(r#"{{"data":[{item}],"has_more":false}}"#))).await;
    assert_eq!(peer.request().await.kind(), "threads.delete");
    peer.send(json_answer("{}")).await;
    assert_eq!(peer.request().await.kind(), "attachments.delete");
    peer.send(json_answer("{}")).await;
    let delete =
        async || gateway.send(TestRequest::new("DELETE", "/attachments/atc_1").user("eve")).await;
    soon(async { while delete().await.status == 403 {} }).await;
    delete().await.refusal(404, "ATTACHMENT_NOT_FOUND");
    assert_eq!(gateway.send(service("GET", "/threads/thr_1")).await.status, 404);
}

#[tokio::test]
async fn a_secret_is_refused_for_lack_of_a_store_and_works_again_after_that() {
    let upstream = Upstream::bind().await;
    let folder = Folder::new();
    let url = folder.store();
    let settings = [("openai.api_keys", &*keys()), ("store.url", &*url)];
    let gateway = Gateway::with(&upstream, &settings).await;
    let replica = Gateway::with(&upstream, &settings).await;

    // There is no key yet to tell a secret from something made up, and none can be kept.
    let lock = rusqlite::Connection::open(url.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let reply = replica.send(with("ek_e30.AAAA")).await;
    reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(reply.field("retry-after"), Some("1"));
    lock.execute_batch("ROLLBACK").unwrap();
    replica.send(with("ek_e30.AAAA")).await.refusal(401, "UNAUTHORIZED");

    // Once there is one, a file that is locked keeps nobody out.
    let (_, id, secret) = client_session(&gateway).await;
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(replica.send(with(&secret)).await.status, 200);
    lock.execute_batch("ROLLBACK").unwrap();
    let cancelled = gateway.send(service("POST", &format!("/sessions/{id}/cancel"))).await;
    assert_eq!(cancelled.json()["status"], "cancelled");
    replica.send(with(&secret)).await.refusal(401, "UNAUTHORIZED");
}
