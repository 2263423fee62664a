//! Whoever isn't known, and whatever is no operation, ends here.

use bytes::Bytes;
use chatkit_rest::error::BoxError;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;

use crate::support::{Counted, PREFIX, ask, embedded, layer, of_ada, over_http, stranger};

/// Checks that nobody gets through. The layer took every path that is no operation for the host's
/// own, and handed it to its one inner service; an upstream that sends whatever it gets to one URL
/// made `POST /anything` the raw endpoint.
async fn nobody_gets_through<S, R>(upstream: Counted<S>)
where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<R>,
            Error: Into<BoxError> + Send,
            Future: Send,
        > + Clone
        + Send
        + 'static,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    for service in [
        layer(PREFIX).service(upstream.clone()),
        layer(PREFIX).with_chat("/api").unwrap().service(upstream.clone()),
        layer(PREFIX).danger_open_endpoint().service(upstream.clone()),
    ] {
        for (method, path) in [
            ("POST", "/anything"),
            ("POST", "/"),
            ("GET", "/"),
            ("HEAD", "/"),
            ("POST", "/chatkit"),
            ("POST", "/chatkit/"),
            ("POST", "/%63hatkit"),
            ("POST", "/api/v1/chatkit/"),
            ("POST", "//api/v1/chatkit"),
            ("POST", "/API/v1/chatkit"),
            ("POST", "/api/v1/chatkit/anything"),
            ("OPTIONS", "/anything"),
            ("OPTIONS", "*"),
            ("CONNECT", "/anything"),
            ("QUERY", "/anything"),
            // The OpenAI-compatible API is not in the layer.
            ("POST", "/v1/chatkit/sessions"),
            ("GET", "/v1/chatkit/threads"),
        ] {
            for request in [stranger(method, path), of_ada(stranger(method, path))] {
                let answer = ask(&service, request).await;
                assert_eq!(answer.status, 404, "{method} {path}");
                assert_eq!(answer.code(), "NOT_FOUND", "{method} {path}");
            }
        }
        for (method, path, allow) in [
            ("GET", "", "POST"),
            ("OPTIONS", "", "POST"),
            ("PUT", "/sessions", "POST, GET, HEAD"),
            ("OPTIONS", "/sessions", "POST, GET, HEAD"),
            ("OPTIONS", "/sessions/s_1", "GET, HEAD, PATCH, DELETE"),
        ] {
            let path = format!("{PREFIX}{path}");
            let answer = ask(&service, stranger(method, &path)).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.code(), "METHOD_NOT_ALLOWED", "{method} {path}");
            assert_eq!(answer.headers["allow"], allow, "{method} {path}");
        }
        for (method, path) in [
            ("POST", ""),
            ("POST", "/sessions"),
            ("GET", "/sessions"),
            ("GET", "/sessions/s_1"),
            ("POST", "/sessions/s_1/threads/s_1/runs"),
        ] {
            let path = format!("{PREFIX}{path}");
            let answer = ask(&service, stranger(method, &path)).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.code(), "UNAUTHORIZED", "{method} {path}");
            assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
        }
    }
    let chat = layer(PREFIX).with_chat("/api").unwrap().service(upstream.clone());
    for (method, path, status) in [
        ("POST", "/api/chat", 401),
        ("POST", "/api/ada/chat", 401),
        ("GET", "/api/conversations", 401),
        ("OPTIONS", "/api/chat", 405),
        ("POST", "/api/anything", 404),
    ] {
        assert_eq!(ask(&chat, stranger(method, path)).await.status, status, "{method} {path}");
    }
    assert_eq!(upstream.calls(), 0);

    // The upstream is there for who may ask it.
    let service = layer(PREFIX).service(upstream.clone());
    let answer = ask(&service, of_ada(stranger("POST", PREFIX))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"], serde_json::json!([]));
}

#[tokio::test]
async fn nobody_gets_through_to_the_embedded_server() {
    let upstream = embedded();
    nobody_gets_through(upstream.clone()).await;
}

#[tokio::test]
async fn nobody_gets_through_to_an_upstream_behind_a_socket() {
    let upstream = over_http().await;
    nobody_gets_through(upstream.clone()).await;
}
