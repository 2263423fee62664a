//! `/openapi.json` and `/docs` as they are served.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chatkit_rest::config::Config;
use chatkit_rest::embedded::Embedded;
use chatkit_rest::health::HealthLayer;
use chatkit_rest::openapi::document;
use chatkit_rest::proxy::Rooms;
use chatkit_rest::server::Server;
use chatkit_rest::session::MemoryStore;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use crate::config;

async fn ask(config: &Config, method: Method, path: &str, header: (&str, &str)) -> Response<Bytes> {
    let store = Arc::new(MemoryStore::new());
    let rooms = Rooms::from_config(config, store, HealthLayer::elsewhere()).unwrap();
    let gateway = rooms.around(Embedded::in_memory().unwrap());
    let request = Request::builder().method(method).uri(path).header(header.0, header.1);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = gateway.oneshot(request).await.map_err(Into::into);
    let response: Result<_, chatkit_rest::error::BoxError> = response;
    let (head, body) = response.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

const NOTHING: (&str, &str) = ("accept", "*/*");

#[tokio::test]
async fn the_document_needs_no_token() {
    let config = config("rest.prefix = \"/x\"");
    let response = ask(&config, Method::GET, "/openapi.json", NOTHING).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert!(response.headers().contains_key("x-request-id"));
    let served: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(served, document(&config.facts()).unwrap());
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    for path in ["/openapi.json", "/docs"] {
        let config = config("");
        let first = ask(&config, Method::GET, path, NOTHING).await;
        let etag = first.headers()["etag"].to_str().unwrap();
        for known in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let again = ask(&config, Method::GET, path, ("if-none-match", &known)).await;
            assert_eq!(again.status(), 304, "{known}");
            assert_eq!(again.headers()["etag"], etag);
            assert!(again.body().is_empty());
        }
        let other = ask(&config, Method::GET, path, ("if-none-match", "\"x\"")).await;
        assert_eq!(other.status(), 200);
    }
    // Another configuration is another document.
    let [one, other] = ["", "limits.max_message_chars = 5"].map(config);
    let etag = async |config| {
        ask(config, Method::GET, "/openapi.json", NOTHING).await.headers()["etag"].clone()
    };
    assert_ne!(etag(&one).await, etag(&other).await);
}

#[tokio::test]
async fn only_get_and_head() {
    for path in ["/openapi.json", "/docs"] {
        let config = config("");
        let get = ask(&config, Method::GET, path, NOTHING).await;
        let head = ask(&config, Method::HEAD, path, NOTHING).await;
        assert_eq!(head.status(), 200);
        assert!(head.body().is_empty());
        assert_eq!(head.headers()["content-length"], get.body().len().to_string().as_str());
        assert_eq!(head.headers()["etag"], get.headers()["etag"]);
        for method in [Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE] {
            let refused = ask(&config, method, path, NOTHING).await;
            assert_eq!(refused.status(), 405);
            assert_eq!(refused.headers()["allow"], "GET, HEAD");
        }
    }
}

#[tokio::test]
async fn the_page_asks_nobody_but_the_gateway() {
    let response = ask(&config(""), Method::GET, "/docs", NOTHING).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    let policy = headers["content-security-policy"].to_str().unwrap();
    let page = std::str::from_utf8(response.body()).unwrap();
    for (directive, element) in [("script-src", "script"), ("style-src", "style")] {
        let (_, rest) = page.split_once(&format!("<{element}>")).unwrap();
        let (text, rest) = rest.split_once(&format!("</{element}>")).unwrap();
        assert!(!rest.contains(&format!("<{element}")), "more than one {element}");
        assert!(text.len() > 500, "{element} is empty");
        let hash = STANDARD.encode(digest(&SHA256, text.as_bytes()));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
    }
    for directive in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for address in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(address), "{address}");
    }
    // The policy would not let them work.
    for inline in [" style=\"", " onclick", "javascript:", ".innerHTML", "eval("] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn find_has_words_for_every_operation_and_for_no_other() {
    let config = config("");
    let response = ask(&config, Method::GET, "/docs", NOTHING).await;
    let page = std::str::from_utf8(response.body()).unwrap();
    let (_, table) = page.split_once("const WORDS = {\n").unwrap();
    let (table, _) = table.split_once("\n};").unwrap();
    let known: BTreeSet<_> =
        table.lines().map(|row| row.trim().split_once(": \"").unwrap().0).collect();
    let document = document(&config.facts()).unwrap();
    let methods = document["paths"].as_object().unwrap().values();
    let operations = methods.flat_map(|methods| methods.as_object().unwrap().values());
    let operations = operations.map(|operation| operation["operationId"].as_str().unwrap());
    assert_eq!(known, operations.collect());
}

#[tokio::test]
async fn they_are_on_the_admin_listener_where_there_is_one() {
    let settings = "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n\
                    upstream.url = \"embedded\"\nstore.url = \"memory:\"";
    let server = Server::bind(config(settings)).await.unwrap();
    let (main, admin) = (server.local_addr(), server.admin_addr().unwrap());
    let serving = tokio::spawn(server.serve(std::future::pending()));
    for path in ["/openapi.json", "/docs"] {
        for (address, status) in [(main, "404"), (admin, "200")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{address}");
        }
    }
    serving.abort();
}
