//! `axum_layers`: a verified user within a limit, a stranger, or 401; and operations of its own.

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn token(user: &str, secret: &str) -> String {
    let claims = serde_json::json!({ "sub": user, "exp": 4_102_444_800_u64 });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

async fn ask(app: &axum::Router, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn users_are_verified_and_counted_each() {
    let app = crate::axum_layers::app(SECRET.to_owned()).unwrap();
    let (ada, eve) = (token("ada", SECRET), token("eve", SECRET));
    for left in ["r=2", "r=1", "r=0"] {
        let response = ask(&app, "/private", Some(&ada)).await;
        assert!(response.headers()["ratelimit"].to_str().unwrap().contains(left));
        assert_eq!(text(response).await, "hello, ada\n");
    }
    let refused = ask(&app, "/private", Some(&ada)).await;
    assert_eq!(refused.status(), 429);
    assert!(text(refused).await.contains("RATE_LIMITED"));
    assert_eq!(text(ask(&app, "/private", Some(&eve)).await).await, "hello, eve\n");
    assert_eq!(ask(&app, "/private", None).await.status(), 401);
}

#[tokio::test]
async fn strangers_are_let_in_where_they_may_be_and_liars_nowhere() {
    let app = crate::axum_layers::app(SECRET.to_owned()).unwrap();
    assert_eq!(text(ask(&app, "/", None).await).await, "hello, stranger\n");
    let ada = token("ada", SECRET);
    assert_eq!(text(ask(&app, "/", Some(&ada)).await).await, "hello, ada\n");
    let forged = token("ada", "another secret of thirty-two bytes");
    assert_eq!(ask(&app, "/", Some(&forged)).await.status(), 401);
    assert_eq!(ask(&app, "/elsewhere", None).await.status(), 404);
}

#[tokio::test]
async fn notes_are_found_before_anybody_is_asked_who_it_is() {
    let app = crate::axum_layers::app(SECRET.to_owned()).unwrap();
    let ada = token("ada", SECRET);
    assert_eq!(text(ask(&app, "/notes/a%2F7", Some(&ada)).await).await, "ada reads a/7\n");
    assert_eq!(ask(&app, "/notes/17", None).await.status(), 401);
    assert_eq!(ask(&app, "/notes", None).await.status(), 404);
    let request = Request::delete("/notes/17").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"GET, HEAD, PUT".parse().unwrap())
    );
}
