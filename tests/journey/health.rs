//! `/healthz` and `/readyz`.

use crate::support::{Client, Folder, Gateway, Place, TestRequest, Upstream};

#[tokio::test]
async fn a_gateway_is_up_before_its_upstream_and_ready_with_it() {
    let place = Place::new();
    let address = place.address();
    let gateway = Gateway::at(address, &[]).await;
    let healthy = gateway.send(TestRequest::new("GET", "//healthz")).await;
    assert_eq!((healthy.status, healthy.text()), (200, "{\"status\":\"ok\"}"));
    assert_eq!(healthy.field("cache-control"), Some("no-store"));
    let reply = gateway.send(TestRequest::new("GET", "//readyz")).await;
    let error = reply.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(error["details"]["check"], "upstream");
    let advice = error["details"]["upstream"].as_str().unwrap();
    assert!(advice.starts_with("nobody listens there: is it started"), "{advice}");
    assert!(reply.field("retry-after").is_some());
    assert!(!reply.text().contains(&address.port().to_string()), "{}", reply.text());

    let _upstream = Upstream::at(&place);
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    // An answer is given again for a second.
    crate::support::soon(async {
        loop {
            every.tick().await;
            let reply = gateway.send(TestRequest::new("GET", "//readyz")).await;
            if reply.status == 200 {
                assert_eq!(reply.text(), "{\"status\":\"ready\"}");
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn other_methods_are_none_of_theirs() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for path in ["//healthz", "//readyz"] {
        let reply = gateway.send(TestRequest::new("POST", path).body("{}")).await;
        reply.refusal(405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.field("allow"), Some("GET, HEAD"));
        assert_eq!(gateway.send(TestRequest::new("HEAD", path)).await.status, 200);
    }
}

#[tokio::test]
async fn with_a_listener_of_its_own_health_is_nowhere_else() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("admin.listen", "127.0.0.1:0")]).await;
    let admin = gateway.admin.unwrap();
    assert_ne!(admin, gateway.address);
    for (path, text) in [("//healthz", "ok"), ("//readyz", "ready")] {
        let request = TestRequest::new("GET", path);
        let mut client = Client::connect(admin).await;
        client.send(request.bytes()).await;
        let reply = client.reply().await;
        assert_eq!(reply.json()["status"], text);
        assert!(reply.field("x-request-id").is_some());
        for request in [request.clone(), request.user("ada")] {
            let reply = gateway.send(request).await;
            reply.refusal(404, "NOT_FOUND");
            assert!(reply.text().contains("(admin.listen)"), "{}", reply.text());
            assert!(!reply.text().contains(&admin.port().to_string()), "{}", reply.text());
        }
    }
    // And nothing else is there.
    let mut client = Client::connect(admin).await;
    client.send(TestRequest::new("GET", "/sessions").user("ada").bytes()).await;
    let reply = client.reply().await;
    let error = reply.refusal(404, "NOT_FOUND");
    assert!(error["message"].as_str().unwrap().contains("/healthz"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_whose_file_was_replaced_is_not_ready_and_takes_nothing() {
    let folder = Folder::new();
    let store = folder.store();
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("store.url", &store)]).await;
    let session = gateway.session("ada").await;
    let file = std::path::Path::new(store.strip_prefix("sqlite:").unwrap());
    std::fs::rename(file, file.with_extension("away")).unwrap();
    std::fs::copy(file.with_extension("away"), file).unwrap();
    let ready = gateway.send(TestRequest::new("GET", "//readyz")).await;
    let error = ready.refusal(503, "SERVICE_UNAVAILABLE");
    assert_eq!(error["details"], serde_json::json!({ "check": "store" }));
    for request in [
        TestRequest::run(&session),
        TestRequest::new("POST", "/sessions").json("{}"),
        TestRequest::new("GET", "/sessions"),
        TestRequest::new("GET", &format!("/sessions/{session}")),
    ] {
        gateway.send(request.user("ada")).await.refusal(503, "SERVICE_UNAVAILABLE");
    }
    upstream.expect_no_connection();
}
