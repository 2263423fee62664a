//! `authenticate_only`: a verified user, or 401.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_token_is_verified_and_its_user_greeted() {
    let secret = "0123456789abcdef0123456789abcdef";
    let service = crate::authenticate_only::service::<Empty<Bytes>>(secret.into()).unwrap();
    let ask = |token: &str| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        service.clone().oneshot(request.body(Empty::new()).unwrap())
    };
    let claims = serde_json::json!({ "sub": "ada", "exp": 4_102_444_800_u64 });
    let key = |secret: &str| jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let sign = |secret| {
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        jsonwebtoken::encode(&header, &claims, &key(secret)).unwrap()
    };
    let response = ask(&sign(secret)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello, ada\n");
    assert_eq!(ask(&sign("another secret of thirty-two bytes")).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let secret = "0123456789abcdef0123456789abcdef";
    let service = crate::authenticate_only::service::<Empty<Bytes>>(secret.into()).unwrap();
    for (method, path) in [("POST", "/anything"), ("GET", "/"), ("POST", "/chatkit")] {
        let request = Request::builder().method(method).uri(path).header("x-user-id", "ada");
        let response = service.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 401, "{method} {path}");
    }
}
