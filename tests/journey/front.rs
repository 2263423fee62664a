//! `/` and `/favicon.ico`: what somebody sees who knows the address and nothing else.

use crate::support::{Client, Gateway, Reply, TestRequest, Upstream};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// What the admin listener has, and what of the API is where.
const ADMINS: [&str; 4] = ["/docs", "/healthz", "/openapi.json", "/readyz"];
const SURFACES: [&str; 3] = ["/api/v1/chatkit", "/api", "/v1/chatkit"];

async fn ask(address: std::net::SocketAddr, request: TestRequest) -> Reply {
    let mut client = Client::connect(address).await;
    client.send(request.bytes()).await;
    client.reply().await
}

fn paths(reply: &Reply) -> Vec<String> {
    let members = reply.json();
    let members = members.as_object().unwrap();
    let paths = members.iter().filter(|(name, _)| *name != "name");
    let mut paths: Vec<_> = paths.map(|(_, path)| path.as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn who_asks_for_nothing_is_told_where_things_are() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let json = gateway.send(TestRequest::new("GET", "//")).await;
    assert_eq!((json.status, json.field("content-type")), (200, Some("application/json")));
    let mut expected = [&ADMINS[..], &SURFACES].concat();
    expected.sort_unstable();
    assert_eq!(paths(&json), expected);
    // What is said to be a page is one.
    for page in ADMINS {
        let reply = gateway.send(TestRequest::new("GET", &format!("/{page}"))).await;
        assert_eq!(reply.status, 200, "{page}");
    }

    let page = gateway.send(TestRequest::new("GET", "//").field("accept", BROWSER)).await;
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    for path in ADMINS {
        let link = format!("<a href=\"{}\">{path}</a>", path.trim_start_matches('/'));
        assert!(page.text().contains(&link), "{}", page.text());
    }
    for path in SURFACES {
        assert!(page.text().contains(&format!("<code>{path}/…</code>")), "{}", page.text());
    }
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("script"), "{policy}");
    for reply in [&json, &page] {
        assert_eq!(reply.field("vary"), Some("accept"));
        assert_eq!(reply.field("cache-control"), Some("no-cache"));
        assert!(reply.field("x-request-id").is_some());
    }

    for accept in ["*/*", BROWSER] {
        let get = TestRequest::new("GET", "//").field("accept", accept);
        let head = gateway.send(get.clone().method("HEAD")).await;
        let get = gateway.send(get).await;
        assert_eq!((head.status, head.text()), (200, ""));
        for name in ["content-length", "content-type", "etag"] {
            assert_eq!(head.field(name), get.field(name), "{name}");
        }
        let known = TestRequest::new("GET", "//").field("accept", accept);
        let known = known.field("if-none-match", get.field("etag").unwrap());
        assert_eq!(gateway.send(known).await.status, 304);
    }
    let reply = gateway.send(TestRequest::new("POST", "//").json("{}")).await;
    reply.refusal(405, "METHOD_NOT_ALLOWED");
    assert_eq!(reply.field("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn the_icon_is_kept_and_no_401() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let reply = gateway.send(TestRequest::new("GET", "//favicon.ico")).await;
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("image/svg+xml")));
    assert_eq!(reply.field("cache-control"), Some("public, max-age=86400"));
    assert!(reply.text().starts_with("<svg "));
    let head = gateway.send(TestRequest::new("HEAD", "//favicon.ico")).await;
    assert_eq!((head.status, head.text()), (200, ""));
    // And beside both there is nothing.
    for path in ["//favicon", "//index.html", "//favicon.ico/x"] {
        gateway.send(TestRequest::new("GET", path)).await.refusal(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn only_what_is_served_is_named_and_where_it_is() {
    let upstream = Upstream::bind().await;
    let settings = [("openai.enabled", "false"), ("chat.path", "/it's&more")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let reply = gateway.send(TestRequest::new("GET", "//")).await;
    let json = reply.json();
    assert_eq!((json.get("openai"), &json["chat"]), (None, &"/it's&more".into()));
    let page = gateway.send(TestRequest::new("GET", "//").field("accept", BROWSER)).await;
    assert!(page.text().contains("<code>/it's&amp;more/…</code>"), "{}", page.text());
    assert!(!page.text().contains("/v1/chatkit/…</code></dt><dd>What clients"), "{}", page.text());
}

#[tokio::test]
async fn beside_an_admin_listener_it_tells_nothing_that_is_there() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("admin.listen", "127.0.0.1:0")]).await;
    let admin = gateway.admin.unwrap();
    for accept in ["*/*", BROWSER] {
        let request = TestRequest::new("GET", "//").field("accept", accept);
        let main = gateway.send(request.clone()).await;
        assert_eq!(main.status, 200);
        for path in ADMINS.iter().chain(&SURFACES) {
            assert!(!main.text().contains(path), "{path} in {}", main.text());
        }
        let reply = ask(admin, request).await;
        assert_eq!(reply.status, 200);
        for path in ADMINS {
            assert!(reply.text().contains(path), "{path} not in {}", reply.text());
        }
    }
    assert_eq!(paths(&ask(admin, TestRequest::new("GET", "//")).await), ADMINS);
    for address in [gateway.address, admin] {
        assert_eq!(ask(address, TestRequest::new("GET", "//favicon.ico")).await.status, 200);
    }
}
