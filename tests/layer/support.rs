//! Upstreams that count, requests, and answers that are read whole.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use chatkit_rest::embedded::Embedded;
use chatkit_rest::error::BoxError;
use chatkit_rest::forward::{HttpUpstream, UpstreamUrl};
use chatkit_rest::host::ChatKitRestLayer;
use chatkit_rest::principal::{Principal, UserId};
use chatkit_rest::session::MemoryStore;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::{Service, ServiceExt as _};

pub(crate) const PREFIX: &str = "/api/v1/chatkit";

/// What a stranger would like to know.
pub(crate) const LIST: &str = r#"{"type":"threads.list","params":{}}"#;

/// A service that counts how often it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S> Counted<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.call(request)
    }
}

pub(crate) fn embedded() -> Counted<Embedded> {
    Counted::new(Embedded::in_memory().unwrap())
}

/// Gives an embedded server behind a socket, and the upstream that asks it whatever path it is
/// given.
pub(crate) async fn over_http() -> Counted<HttpUpstream> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/chatkit", listener.local_addr().unwrap());
    let server = axum::Router::new().route(
        "/chatkit",
        axum::routing::post(|request: axum::extract::Request| async {
            Embedded::in_memory()
                .unwrap()
                .oneshot(request)
                .await
                .unwrap()
                .map(axum::body::Body::new)
        }),
    );
    tokio::spawn(axum::serve(listener, server).into_future());
    let url = UpstreamUrl::parse(&url).unwrap();
    Counted::new(HttpUpstream::builder(url).build().unwrap())
}

pub(crate) fn layer<B>(prefix: &str) -> ChatKitRestLayer<B> {
    ChatKitRestLayer::new(prefix, Arc::new(MemoryStore::new())).unwrap()
}

pub(crate) fn ada() -> Principal {
    Principal::new(UserId::parse("ada").unwrap())
}

/// Gives a request of nobody's, who says to be ada.
pub(crate) fn stranger(method: &str, path: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("x-user-id", "ada")
        .header("authorization", "Bearer x")
        .body(Full::from(LIST))
        .unwrap()
}

pub(crate) fn of_ada(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.extensions_mut().insert(ada());
    request
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Gives the code of a refusal in the gateway's own envelope.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert_eq!(body["success"], false);
        body["error"]["code"].as_str().expect("a code").to_owned()
    }
}

pub(crate) async fn ask<S, B, R>(service: &S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
    R: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into).unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}
