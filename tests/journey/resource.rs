//! Where clients find out whose tokens are taken (RFC 9728).

use serde_json::json;

use crate::support::{Gateway, Reply, TestRequest, Upstream, token_with};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const OURS: &str = "https://app.example";
const SETTINGS: [(&str, &str); 4] = [
    ("server.public_url", "https://chat.example/ai"),
    ("auth.issuer", "https://login.example"),
    ("auth.require", "scope:chat,scope:read,tenant=t"),
    ("cors.allowed_origins", OURS),
];

async fn gateway(settings: &[(&'static str, &str)]) -> Gateway {
    Gateway::with(&Upstream::bind().await, settings).await
}

fn get(path: &str) -> TestRequest {
    TestRequest::new("GET", &format!("/{path}"))
}

fn all<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let fields = reply.head.fields.iter().filter(|(key, _)| key == name);
    fields.map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn a_page_of_any_origin_reads_the_metadata() {
    let gateway = gateway(&SETTINGS).await;
    for (path, resource) in [
        ("", "https://chat.example/ai"),
        ("/ai", "https://chat.example/ai"),
        ("/ai/api/v1/chatkit", "https://chat.example/ai/api/v1/chatkit"),
        ("/ai/api", "https://chat.example/ai/api"),
    ] {
        let path = format!("{WELL_KNOWN}{path}");
        for origin in [OURS, "https://stranger.example"] {
            let reply = gateway.send(get(&path).field("origin", origin)).await;
            let expected = json!({
                "resource": resource,
                "authorization_servers": ["https://login.example"],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["chat", "read"],
            });
            assert_eq!((reply.status, reply.json()), (200, expected), "{path}");
            assert_eq!(reply.field("content-type"), Some("application/json"));
            assert_eq!(reply.field("cache-control"), Some("public, max-age=3600"));
            assert_eq!(all(&reply, "access-control-allow-origin"), ["*"]);
            assert!(reply.field("x-request-id").is_some());
            let preflight = get(&path)
                .method("OPTIONS")
                .field("origin", origin)
                .field("access-control-request-method", "GET")
                .field("access-control-request-headers", "mcp-protocol-version");
            let reply = gateway.send(preflight).await;
            assert_eq!(reply.status, 204);
            assert_eq!(all(&reply, "access-control-allow-origin"), ["*"]);
            assert_eq!(all(&reply, "access-control-allow-headers"), ["*"]);
        }
        let post = gateway.send(get(&path).method("POST")).await;
        post.refusal(405, "METHOD_NOT_ALLOWED");
        assert_eq!(post.field("allow"), Some("GET, HEAD"));
        let described = gateway.send(get("/openapi.json")).await.json();
        assert!(described["paths"][&path]["get"]["responses"]["200"].is_object(), "{path}");
    }
    for path in ["x", "/", "/ai/", "/ai/v1/chatkit", "/api/v1/chatkit"] {
        gateway.send(get(&format!("{WELL_KNOWN}{path}"))).await.refusal(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn whoever_is_refused_is_told_where_the_metadata_is() {
    let gateway = gateway(&SETTINGS).await;
    let of =
        |path: &str| format!("resource_metadata=\"https://chat.example{WELL_KNOWN}/ai{path}\"");
    let good = |scope: &str| {
        let exp = jiff::Timestamp::now().as_second() + 3600;
        let claims = json!({
            "iss": "https://login.example", "sub": "ada", "exp": exp, "scope": scope, "tenant": "t",
        });
        format!("Bearer {}", token_with(&claims))
    };
    for (path, bearer, begin, end) in [
        ("/sessions", None, "Bearer realm=\"chatkit-rest\", ", of("/api/v1/chatkit")),
        ("//api/conversations", None, "Bearer realm=\"chatkit-rest\", ", of("/api")),
        ("/sessions", Some("Bearer x".to_owned()), "Bearer realm=", of("/api/v1/chatkit")),
        // What takes a look-up.
        (
            "/sessions",
            Some("Bearer ek_e30.AAAA".to_owned()),
            "Bearer realm=",
            of("/api/v1/chatkit"),
        ),
    ] {
        let mut request = TestRequest::new("GET", path);
        if let Some(bearer) = &bearer {
            request = request.field("authorization", bearer);
        }
        let reply = gateway.send(request).await;
        reply.refusal(401, "UNAUTHORIZED");
        let challenge = reply.field("www-authenticate").unwrap();
        assert!(challenge.starts_with(begin) && challenge.ends_with(&end), "{challenge}");
        assert_eq!(challenge.matches("resource_metadata").count(), 1, "{challenge}");
    }
    let lacking = TestRequest::new("GET", "/sessions").field("authorization", &good("chat"));
    let reply = gateway.send(lacking).await;
    reply.refusal(403, "INSUFFICIENT_SCOPE");
    assert_eq!(reply.json()["error"]["details"]["missing"], json!(["scope:read"]));
    let challenge = reply.field("www-authenticate").unwrap();
    let expected = format!("scope=\"chat read\", {}", of("/api/v1/chatkit"));
    assert!(challenge.ends_with(&expected), "{challenge}");
    let enough = TestRequest::new("GET", "/sessions").field("authorization", &good("read chat"));
    assert_eq!(gateway.send(enough).await.status, 200);
    // No token of that issuer counts there.
    let service = gateway.send(get("/v1/chatkit/threads")).await;
    assert_eq!(service.status, 401);
    assert!(!service.field("www-authenticate").unwrap().contains("resource_metadata"));
}

#[tokio::test]
async fn nothing_is_told_where_the_issuer_or_the_address_is_not_known() {
    for settings in [
        &SETTINGS[..1],
        &SETTINGS[1..],
        &[SETTINGS[0], ("auth.issuer", "me")],
        &[SETTINGS[0], SETTINGS[1], ("auth.mode", "none")],
    ] {
        let gateway = gateway(settings).await;
        gateway.send(get(WELL_KNOWN)).await.refusal(404, "NOT_FOUND");
        let reply = gateway.send(TestRequest::new("GET", "/sessions")).await;
        let challenge = reply.field("www-authenticate").unwrap_or_default();
        assert!(!challenge.contains("resource_metadata"), "{challenge}");
    }
}
