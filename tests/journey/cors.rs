//! Calls from web pages.

use std::net::SocketAddr;

use crate::support::{Gateway, Place, Reply, TestRequest, Upstream, everything_logged};

const OURS: &str = "https://app.example";

async fn gateway(upstream: SocketAddr) -> Gateway {
    let origins = "https://app.example,https://other.example:8443";
    let settings = [("cors.allowed_origins", origins), ("limits.requests_per_minute", "30")];
    Gateway::at(upstream, &settings).await
}

fn allowed(reply: &Reply) -> Option<&str> {
    reply.field("access-control-allow-origin")
}

fn preflight(origin: &str) -> TestRequest {
    TestRequest::new("OPTIONS", "/sessions")
        .field("origin", origin)
        .field("access-control-request-method", "PATCH")
        .field("access-control-request-headers", "authorization,content-type,x-tenant")
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token() {
    let upstream = Upstream::bind().await;
    let gateway = gateway(upstream.address()).await;
    for origin in [OURS, "https://other.example:8443"] {
        let reply = gateway.send(preflight(origin)).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        assert_eq!(allowed(&reply), Some(origin));
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            assert!(reply.field("access-control-allow-methods").unwrap().contains(method));
        }
        let headers = reply.field("access-control-allow-headers").unwrap();
        for header in ["authorization", "content-type", "x-tenant"] {
            assert!(headers.contains(header), "{header} in {headers}");
        }
        assert!(reply.field("access-control-max-age").unwrap().parse::<u32>().unwrap() > 0);
        assert!(reply.field("vary").unwrap().to_lowercase().contains("origin"));
        assert!(reply.field("x-request-id").is_some());
        assert_eq!(reply.field("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_page_that_may_not_call_is_named_once_with_the_setting() {
    let upstream = Upstream::bind().await;
    for (settings, strange) in [
        (&[][..], "https://stranger-1.example"),
        (&[("cors.allowed_origins", OURS)][..], "https://stranger-2.example"),
    ] {
        let gateway = Gateway::with(&upstream, settings).await;
        for _ in 0..3 {
            gateway.send(preflight(strange)).await;
            let request = TestRequest::new("GET", "/sessions").user("ada");
            assert_eq!(allowed(&gateway.send(request.field("origin", strange)).await), None);
        }
        let logged = everything_logged();
        assert_eq!(logged.matches(strange).count(), 1, "{logged}");
        assert!(logged.contains("cors.allowed_origins is to have the origin"), "{logged}");
    }
}

// A page asks what it may do with its origin and the method that is to follow. Without one of them
// it is a question that nothing here answers, whoever may call from where.
#[tokio::test]
async fn what_is_no_preflight_is_refused_as_it_is_without_other_origins() {
    let upstream = Upstream::bind().await;
    for origins in ["", "https://app.example", "*"] {
        let settings = [("cors.allowed_origins", origins)];
        let settings = if origins.is_empty() { &[][..] } else { &settings[..] };
        let gateway = Gateway::with(&upstream, settings).await;
        let page = (!origins.is_empty()).then_some(if origins == "*" { "*" } else { OURS });
        for (path, methods) in [
            ("/sessions", "POST, GET, HEAD"),
            ("", "POST"),
            ("//api/chat", "POST"),
            ("//healthz", "GET, HEAD"),
            ("//readyz", "GET, HEAD"),
            ("//openapi.json", "GET, HEAD"),
            ("//docs", "GET, HEAD"),
        ] {
            // Who has no token yet is told the same.
            let stranger = TestRequest::new("OPTIONS", path);
            let plain = stranger.clone().user("ada");
            let nameless = plain.clone().field("access-control-request-method", "POST");
            let methodless = plain.clone().field("origin", OURS);
            let alike = [stranger, plain, nameless].map(|request| (request, None));
            for (request, told) in alike.into_iter().chain([(methodless, page)]) {
                let reply = gateway.send(request).await;
                reply.refusal(405, "METHOD_NOT_ALLOWED");
                assert_eq!(reply.field("allow"), Some(methods), "{path}");
                assert_eq!(reply.field("access-control-allow-methods"), None, "{path}");
                // Of the origin that it names it is told what any other request is.
                let told = if origins == "*" { Some("*") } else { told };
                assert_eq!(allowed(&reply), told, "{path}");
            }
        }
        for method in ["OPTIONS", "GET"] {
            let nothing = TestRequest::new(method, "/nothing");
            for nothing in [nothing.clone(), nothing.user("ada")] {
                gateway.send(nothing).await.refusal(404, "NOT_FOUND");
            }
        }
        let answered = if origins.is_empty() { 405 } else { 200 };
        assert_eq!(gateway.send(preflight(OURS)).await.status, answered);
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn other_origins_are_told_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = gateway(upstream.address()).await;
    for origin in ["https://evil.example", "https://app.example.evil", "null", "http://app.example"]
    {
        assert_eq!(allowed(&gateway.send(preflight(origin)).await), None, "{origin}");
        let get = TestRequest::new("GET", "/sessions").user("ada").field("origin", origin);
        let reply = gateway.send(get).await;
        assert_eq!((reply.status, allowed(&reply)), (200, None), "{origin}");
        assert!(reply.field("vary").unwrap().to_lowercase().contains("origin"));
    }
}

#[tokio::test]
async fn refusals_of_every_room_can_be_read_by_the_page() {
    // Nobody listens there.
    let down = Place::new();
    let gateway = gateway(down.address()).await;
    let session = gateway.session("ada").await;
    let origin = |request: TestRequest| request.field("origin", OURS);
    for (request, status) in [
        (TestRequest::new("GET", "/sessions"), 401),
        (TestRequest::new("GET", "/nothing").user("ada"), 404),
        (TestRequest::new("PUT", "/sessions").user("ada"), 405),
        (TestRequest::new("POST", "/sessions").user("ada").json("{"), 400),
        (TestRequest::run(&session).user("ada"), 502),
        (TestRequest::new("GET", "//readyz"), 503),
    ] {
        let reply = gateway.send(origin(request)).await;
        assert_eq!((reply.status, allowed(&reply)), (status, Some(OURS)));
        let exposed = reply.field("access-control-expose-headers").unwrap();
        for header in [
            "x-request-id",
            "retry-after",
            "ratelimit",
            "www-authenticate",
            "location",
            "x-conversation-id",
        ] {
            assert!(exposed.contains(header), "{header} in {exposed}");
        }
    }
    for _ in 0..40 {
        let get = origin(TestRequest::new("GET", "/sessions").user("eve"));
        let reply = gateway.send(get).await;
        assert_eq!(allowed(&reply), Some(OURS), "{}", reply.status);
    }
}

#[tokio::test]
async fn without_a_setting_there_is_none_of_it() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let reply = gateway.send(preflight(OURS)).await;
    reply.refusal(405, "METHOD_NOT_ALLOWED");
    assert!(!format!("{:?}", reply.head).contains("access-control"), "{:?}", reply.head);
}

#[tokio::test]
async fn any_origin_may_be_allowed_and_then_never_with_credentials() {
    let upstream = Upstream::bind().await;
    let settings = [("cors.allowed_origins", "*"), ("auth.cookie", "")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let reply = gateway.send(preflight("https://anything.example")).await;
    assert_eq!(allowed(&reply), Some("*"));
    assert_eq!(reply.field("access-control-allow-credentials"), None);
}
