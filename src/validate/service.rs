//! [`Validate`].

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::ValidateFuture;
use super::layer::BodyRules;
use super::negotiate;
use super::validated::Validated;

/// Reads a request's body and checks it, and either hands the request on as `Request<Validated>` or
/// answers it.
///
/// Made by [`ValidateLayer`](super::ValidateLayer).
#[derive(Clone, Debug)]
pub struct Validate<S> {
    inner: S,
    rules: Arc<BodyRules>,
}

impl<S> Validate<S> {
    pub(super) fn new(inner: S, rules: Arc<BodyRules>) -> Self {
        Self { inner, rules }
    }
}

impl<S, B, R> Service<Request<B>> for Validate<S>
where
    S: Service<Request<Validated>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ValidateFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        if let Err(rejection) = negotiate::json(&head.headers) {
            return ValidateFuture::refused(rejection, &head);
        }
        // The service that was found ready is the one that is called (tower#547).
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        ValidateFuture::reading(head, body, Arc::clone(&self.rules), inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http_body_util::{BodyExt as _, Full};
    use serde_json::{Value, json};
    use tower::{Layer as _, ServiceExt, service_fn};

    use super::*;
    use crate::validate::{JsonLimits, JsonSchema, ValidateLayer};

    const ORDER: &str = r#"{
        "type": "object",
        "required": ["item"],
        "properties": {"item": {"type": "string"}, "quantity": {"type": "integer"}},
        "additionalProperties": false
    }"#;

    fn layer() -> ValidateLayer {
        ValidateLayer::new(JsonSchema::compile("order", ORDER).unwrap())
    }

    fn order(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let request = Request::post("/orders").header("content-type", "application/json");
        request.body(Full::new(body.into())).unwrap()
    }

    /// Gives what is no refusal, nor JSON.
    async fn unreachable(_: Request<Validated>) -> Result<Response<Bytes>, Infallible> {
        Ok(Response::new(Bytes::from_static(b"asked")))
    }

    async fn refused<B: Body<Data = Bytes>>(
        layer: &ValidateLayer,
        request: Request<B>,
    ) -> (u16, Value) {
        let response = layer.layer(service_fn(unreachable)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body();
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{body:?}")))
    }

    #[tokio::test]
    async fn the_very_bytes_go_on_and_what_they_say() {
        let sent = Bytes::from(r#" {"item": "\u00f6", "quantity":1 } "#.to_owned());
        let (at, length) = (sent.as_ptr(), sent.len());
        let inner = service_fn(move |request: Request<Validated>| async move {
            assert_eq!(request.uri().path(), "/orders");
            assert_eq!(request.extensions().get(), Some(&7_u8));
            let mut body = request.into_body();
            assert_eq!(body.json(), &json!({"item": "ö", "quantity": 1}));
            assert_eq!(body.bytes().as_ptr(), at);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            assert!(!body.is_end_stream());
            assert!(!format!("{body:?}").contains("item"));
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(body.is_end_stream() && body.frame().await.is_none());
            assert_eq!(frame.as_ptr(), at);
            Ok::<_, Infallible>(Response::new(frame))
        });
        let mut request = order(sent);
        request.extensions_mut().insert(7_u8);
        let response = layer().layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.into_body().as_ptr(), at);
    }

    #[tokio::test]
    async fn every_mistake_is_told_apart_before_anybody_is_asked() {
        let limits = JsonLimits::default().with_max_body_bytes(64).with_max_json_values(8);
        let layer = layer().with_limits(limits);
        let long = format!("\"{}\"", "a".repeat(63));
        for (body, status, code) in [
            ("", 400, "INVALID_JSON"),
            ("{", 400, "INVALID_JSON"),
            ("\u{feff}{}", 400, "INVALID_JSON"),
            (r#"{"item":"a","item":"b"}"#, 400, "INVALID_JSON"),
            (&*long, 413, "PAYLOAD_TOO_LARGE"),
            ("[1,2,3,4,5,6,7]", 400, "INVALID_INPUT"),
            ("[1,2,3,4,5,6,7,8]", 413, "PAYLOAD_TOO_LARGE"),
            ("null", 400, "INVALID_INPUT"),
            (r#"{"quantity":"planted"}"#, 400, "INVALID_INPUT"),
        ] {
            let (found, answer) = refused(&layer, order(body.to_owned())).await;
            assert_eq!(found, status, "{body}");
            assert_eq!(answer["error"]["code"], code, "{body}");
            assert!(!answer.to_string().contains("planted"), "{answer}");
        }
        let (_, answer) = refused(&layer, order(vec![b'"', 0xff, b'"'])).await;
        assert_eq!(answer["error"]["code"], "INVALID_JSON");
        let (_, answer) = refused(&layer, order("[1,2,3,4,5,6,7,8]")).await;
        assert_eq!(answer["error"]["details"], json!({"max_json_values": 8}));
        let (_, answer) = refused(&layer, order(r#"{"quantity":"x","size/":1}"#)).await;
        let errors = answer["error"]["details"]["errors"].as_array().unwrap();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].clone()).collect();
        assert_eq!(pointers.len(), 3);
        for pointer in ["/item", "/quantity", "/size~1"] {
            assert!(pointers.contains(&pointer.into()), "{pointers:?}");
        }
    }

    #[tokio::test]
    async fn what_claims_to_be_something_else_is_not_read() {
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-type", "application/json; charset=utf-16"),
            ("content-encoding", "gzip"),
        ] {
            let request = Request::post("/").header(name, value).body(Endless).unwrap();
            let (status, answer) = refused(&layer(), request).await;
            assert_eq!((status, &answer["error"]["code"]), (415, &"UNSUPPORTED_MEDIA_TYPE".into()));
        }
        let request = Request::post("/").header("accept", "application/problem+json");
        let (status, answer) = refused(&layer(), request.body(Full::from("{}")).unwrap()).await;
        assert_eq!((status, &answer["code"]), (400, &"INVALID_INPUT".into()));
    }

    /// Nothing, for ever.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let timeout = Duration::from_secs(2);
        let layer = layer().with_limits(JsonLimits::default().with_body_timeout(timeout));
        let begun = tokio::time::Instant::now();
        let (status, answer) = refused(&layer, Request::new(Endless)).await;
        assert_eq!((status, &answer["error"]["code"]), (408, &"REQUEST_TIMEOUT".into()));
        assert_eq!(begun.elapsed(), timeout);
    }

    /// Panics if it is called without having been asked whether it is ready.
    #[derive(Debug, Default)]
    struct Reserved(bool);

    impl Clone for Reserved {
        fn clone(&self) -> Self {
            Self(false)
        }
    }

    impl Service<Request<Validated>> for Reserved {
        type Response = Response<Bytes>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Bytes>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Validated>) -> Self::Future {
            assert!(self.0, "called before it was ready");
            std::future::ready(Ok(Response::new(request.into_body().into_parts().0)))
        }
    }

    #[tokio::test]
    async fn the_service_that_was_ready_is_the_one_that_is_called() {
        let mut service = layer().layer(Reserved::default());
        for _ in 0..2 {
            let service = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap();
            let response = service.call(order(r#"{"item":""}"#)).await;
            assert_eq!(response.unwrap().into_body(), r#"{"item":""}"#);
        }
    }
}
