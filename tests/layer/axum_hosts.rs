//! In axum: as the fallback of a router, below a path of it, and where it doesn't belong.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::support::{Answer, LIST, PREFIX, ada, ask, embedded, layer, over_http};

/// Gives the host's authentication.
async fn who_is_it(mut request: Request, next: Next) -> Response {
    if request.headers().contains_key("x-api-key") {
        request.extensions_mut().insert(ada());
    }
    next.run(request).await
}

fn request(method: &str, path: &str, known: bool, body: &str) -> Request {
    let mut request = axum::http::Request::builder().method(method).uri(path);
    if known {
        request = request.header("x-api-key", "k");
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    request.header("x-user-id", "eve").body(Body::from(body.to_owned())).unwrap()
}

async fn go(app: &Router, method: &str, path: &str, known: bool, body: &str) -> Answer {
    ask(app, request(method, path, known, body)).await
}

/// Gives a session and its first run; the answer to that.
async fn run(app: &Router) -> Answer {
    let session = go(app, "POST", "/api/v1/chatkit/sessions", true, "").await;
    assert!(session.status.is_success(), "{session:?}");
    let id = session.json()["data"]["id"].as_str().unwrap().to_owned();
    let runs = format!("{PREFIX}/sessions/{id}/threads/{id}/runs");
    go(app, "POST", &runs, true, r#"{"message":"Hello"}"#).await
}

async fn is_a_good_host(app: &Router, other_404: &str) {
    assert_eq!(go(app, "GET", "/about", false, "").await.body, "about us");
    let answer = run(app).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with(b"data: {\"type\":\"thread.created\""), "{answer:?}");
    for path in ["/anything", "/", "/chatkit"] {
        let answer = go(app, "POST", path, false, LIST).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body.is_empty(), other_404.is_empty(), "{path}: {answer:?}");
    }
    let answer = go(app, "POST", PREFIX, false, LIST).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (401, "UNAUTHORIZED"));
    let answer = go(app, "POST", &format!("{PREFIX}/anything"), true, LIST).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (404, "NOT_FOUND"));
    let answer = go(app, "OPTIONS", &format!("{PREFIX}/sessions"), false, "").await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn as_the_fallback_of_a_router() {
    let upstream = over_http().await;
    let app = Router::new()
        .route("/about", get(|| async { "about us" }))
        .fallback_service(layer(PREFIX).service(upstream.clone()))
        .layer(from_fn(who_is_it));
    is_a_good_host(&app, "the layer's").await;
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn below_a_path_of_a_router() {
    let upstream = embedded();
    let app = Router::new()
        .route("/about", get(|| async { "about us" }))
        .nest_service(PREFIX, layer("").service(upstream.clone()))
        .layer(from_fn(who_is_it));
    is_a_good_host(&app, "").await;
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn a_router_as_its_fallback() {
    let upstream = embedded();
    let about = Router::new().route("/about", get(|| async { "about us" }));
    let rest = layer(PREFIX).with_fallback(about).service(upstream.clone());
    let app = Router::new().fallback_service(rest).layer(from_fn(who_is_it));
    assert_eq!(go(&app, "GET", "/about", false, "").await.body, "about us");
    assert_eq!(run(&app).await.status, 200);
    let answer = go(&app, "POST", "/anything", false, LIST).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (404, &b""[..]));
    assert_eq!(upstream.calls(), 1);
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// `Router::layer` puts a layer around each route and around the router's fallback: what is none of
// ours was the wrapped route's, so everything but runs worked. Now nothing does, and the log says
// why runs don't.
#[tokio::test]
async fn as_a_layer_of_a_router_it_is_seen_to_be_wrong() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let app = Router::new()
        .route("/about", get(|| async { "about us" }))
        .layer(layer(PREFIX))
        .layer(from_fn(who_is_it));
    let answer = go(&app, "GET", "/about", true, "").await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (404, "NOT_FOUND"));
    let answer = run(&app).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (404, "UPSTREAM_REJECTED"));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("WARN") && log.contains("Router::layer"), "{log}");
}
