//! `axum_app`: the host's own routes, REST in front of its endpoint, and the endpoint closed.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// One application, and requests to it.
struct App<S>(S);

impl<S> App<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error: std::fmt::Debug> + Clone,
{
    async fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("x-api-key", key);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn session(&self) -> String {
        let (status, body) = self.ask("POST", "/api/v1/chatkit/sessions", "ada-key", "").await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["data"]["user_id"], "ada");
        body["data"]["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn rest_in_front_of_the_hosts_own_endpoint() {
    let app = App(crate::axum_app::app().unwrap());
    let session = app.session().await;
    let path = format!("/api/v1/chatkit/sessions/{session}");
    let runs = format!("{path}/threads/{session}/runs");
    let (status, events) = app.ask("POST", &runs, "ada-key", r#"{"message":"Hello there"}"#).await;
    assert_eq!(status, 200, "{events}");
    assert!(events.starts_with("data: {\"type\":\"thread.created\""), "{events}");
    assert!(events.contains("You said: Hello there"), "{events}");

    let (status, body) = app.ask("GET", &path, "ada-key", "").await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"]["messages"][1]["content"][0]["text"], "You said: Hello there");

    let (status, body) = app.ask("GET", &path, "bob-key", "").await;
    assert_eq!(status, 403, "{body}");
}

#[tokio::test]
async fn who_is_nobody_is_refused_where_it_matters() {
    let app = App(crate::axum_app::app().unwrap());
    let (status, body) = app.ask("POST", "/api/v1/chatkit/sessions", "", "").await;
    assert_eq!(status, 401, "{body}");
    assert_eq!(app.ask("GET", "/whoami", "", "").await.0, 401);
    let (status, body) = app.ask("GET", "/whoami", "bob-key", "").await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "bob\n"));
    assert_eq!(app.ask("GET", "/elsewhere", "bob-key", "").await.0, 404);
}

#[tokio::test]
async fn nobody_reaches_the_endpoint_from_outside() {
    let app = App(crate::axum_app::app().unwrap());
    let list = r#"{"type":"threads.list","params":{}}"#;
    for path in ["/chatkit", "/chatkit/", "/%63hatkit", "/CHATKIT"] {
        let (status, body) = app.ask("POST", path, "ada-key", list).await;
        assert_eq!(status, 404, "{path}: {body}");
        assert!(body.contains("NOT_FOUND"), "{path} was answered by the router: {body}");
    }
    // The pass-through takes the same request, and checks it.
    let (status, body) = app.ask("POST", "/api/v1/chatkit", "ada-key", list).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, r#"{"data":[],"has_more":false}"#));
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let app = App(crate::axum_app::app().unwrap());
    let list = r#"{"type":"threads.list","params":{}}"#;
    for (method, path, status, body) in [
        ("POST", "/anything", 404, ""),
        ("GET", "/", 404, ""),
        ("POST", "/chatkit", 404, "NOT_FOUND"),
        ("POST", "/chatkit/anything", 404, ""),
        ("POST", "/api/v1/chatkit", 401, "UNAUTHORIZED"),
        ("POST", "/api/v1/chatkit/anything", 404, ""),
        ("OPTIONS", "/api/v1/chatkit/sessions", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/chat", 401, "UNAUTHORIZED"),
    ] {
        let (is, answer) = app.ask(method, path, "", list).await;
        assert_eq!(is, status, "{method} {path}: {answer}");
        assert_eq!(answer.is_empty(), body.is_empty(), "{method} {path}: {answer}");
        assert!(answer.contains(body), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn one_shot_chat_beside_it() {
    let app = App(crate::axum_app::app().unwrap());
    let ask = |path, key, body| app.ask("POST", path, key, body);
    let hi = r#"{"message":"Hi"}"#;
    let (status, _) = ask("/api/chat", "", hi).await;
    assert_eq!(status, 401);
    let (status, body) = ask("/api/chat", "ada-key", hi).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"], "You said: Hi");
    let next = format!(r#"{{"message":"Hi","conversation_id":{}}}"#, answer["conversation_id"]);
    for (path, key, body, status) in [
        ("/api/chat", "ada-key", next.as_str(), 200),
        ("/api/ada/chat", "ada-key", &next, 200),
        ("/api/ada/chat", "bob-key", hi, 403),
        ("/api/bob/chat", "bob-key", &next, 403),
        // Its statuses are those of one-shot chat, where REST has 400 and 502.
        ("/api/chat", "ada-key", r#"{"message":1}"#, 422),
        ("/api/chat", "ada-key", r#"{"message":"/error"}"#, 503),
    ] {
        let (is, body) = ask(path, key, body).await;
        assert_eq!(is, status, "{path} {body}");
    }
    let path = format!("/api/v1/chatkit/sessions/{}", app.session().await);
    let (status, _) = app.ask("PATCH", &path, "ada-key", r#"{"title":1}"#).await;
    assert_eq!(status, 400);
    // What is nobody's is the application's.
    let (status, body) = app.ask("GET", "/api/other", "ada-key", "").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, ""));
}
