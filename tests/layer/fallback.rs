//! What is none of ours is the fallback's, as it came.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chatkit_rest::forward::{ForwardError, ForwardErrorKind};
use chatkit_rest::principal::Principal;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::service_fn;

use crate::support::{Counted, LIST, PREFIX, ask, embedded, layer, of_ada, over_http, stranger};

type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// Gives an application that keeps what it gets.
async fn keep(seen: Seen, request: Request<Full<Bytes>>) -> Result<Response<String>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    seen.lock().unwrap().push(Request::from_parts(head, body));
    Ok(Response::new("the application's".into()))
}

#[tokio::test]
async fn the_fallback_sees_a_request_as_it_came_and_the_upstream_none_of_it() {
    let seen = Seen::default();
    let app = {
        let seen = Arc::clone(&seen);
        service_fn(move |request| keep(Arc::clone(&seen), request))
    };
    let (embedded, over_http) = (embedded(), over_http().await);
    let with_app = || layer(PREFIX).with_fallback(app.clone());
    let (inside, outside) =
        (with_app().service(embedded.clone()), with_app().service(over_http.clone()));
    for (method, path) in [
        ("POST", "/anything?of=the%20app"),
        ("GET", "/"),
        ("OPTIONS", "/%61nything/"),
        ("POST", "/api/v1/chatkit/"),
        ("POST", "//api/v1//chatkit"),
    ] {
        for request in [stranger(method, path), of_ada(stranger(method, path))] {
            for answer in
                [ask(&inside, request.clone()).await, ask(&outside, request.clone()).await]
            {
                assert_eq!(
                    (answer.status.as_u16(), &*answer.body),
                    (200, &b"the application's"[..])
                );
                let kept = seen.lock().unwrap().pop().unwrap();
                assert_eq!((kept.method(), kept.uri()), (request.method(), request.uri()));
                assert_eq!(kept.headers(), request.headers());
                assert_eq!(kept.body(), LIST);
                let known = request.extensions().get::<Principal>().is_some();
                assert_eq!(kept.extensions().get::<Principal>().is_some(), known);
            }
        }
    }
    // What is ours stays ours.
    for (method, path, status) in [
        ("PUT", "/api/v1/chatkit/sessions", 405),
        ("OPTIONS", "/api/v1/chatkit", 405),
        ("POST", "/api/v1/chatkit", 401),
    ] {
        assert_eq!(ask(&inside, stranger(method, path)).await.status, status, "{method} {path}");
    }
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!((embedded.calls(), over_http.calls()), (0, 0));
}

#[tokio::test]
async fn an_application_that_is_its_own_upstream_has_its_endpoint_closed() {
    let app = embedded();
    let closed = layer(PREFIX).with_fallback(app.clone()).service(app.clone());
    for path in ["/chatkit", "/chatkit/", "/CHATKIT", "/%63hatkit", "//chatkit"] {
        for request in [stranger("POST", path), of_ada(stranger("POST", path))] {
            let answer = ask(&closed, request).await;
            assert_eq!((answer.status.as_u16(), &*answer.code()), (404, "NOT_FOUND"), "{path}");
        }
    }
    assert_eq!(app.calls(), 0);
    let open = layer(PREFIX).with_fallback(app.clone()).danger_open_endpoint().service(app.clone());
    assert_eq!(ask(&open, stranger("POST", "/chatkit")).await.status, 200);
    assert_eq!(app.calls(), 1);
}

#[tokio::test]
async fn a_fallback_that_fails_is_answered_for() {
    for (kind, status) in
        [(ForwardErrorKind::Connect, 502), (ForwardErrorKind::FirstByteTimeout, 504)]
    {
        let broken = Counted::new(service_fn(move |_: Request<Full<Bytes>>| async move {
            Err::<Response<String>, _>(ForwardError::new(kind))
        }));
        let service = layer(PREFIX).with_fallback(broken.clone()).service(embedded());
        assert_eq!(ask(&service, stranger("GET", "/about")).await.status, status);
        assert_eq!(broken.calls(), 1);
    }
}

// `/` and `/favicon.ico` are a page and an icon where a gateway has a listener of its own, and nowhere else.
#[tokio::test]
async fn what_is_at_the_root_is_the_applications() {
    let app = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new("the application's".to_owned()))
    });
    let below = layer(PREFIX).with_fallback(app).service(embedded());
    // Below a path of a router, the pass-through is at what is left of it.
    let at_the_root = layer("").with_fallback(app).service(embedded());
    for method in ["GET", "HEAD"] {
        for request in [stranger(method, "/"), of_ada(stranger(method, "/"))] {
            let answer = ask(&below, request).await;
            assert_eq!(&*answer.body, b"the application's");
        }
        let answer = ask(&at_the_root, of_ada(stranger(method, "/"))).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["allow"]),
            (405, &"POST".parse().unwrap())
        );
        for layer in [&below, &at_the_root] {
            let answer = ask(layer, of_ada(stranger(method, "/favicon.ico"))).await;
            assert_eq!(&*answer.body, b"the application's");
        }
    }
    let answer = ask(&at_the_root, of_ada(stranger("POST", "/"))).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
}
