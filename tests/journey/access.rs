//! Other ways to say who one is.

use crate::support::{Gateway, TestRequest, Upstream, token};

#[tokio::test]
async fn without_authentication_everyone_is_the_one_user() {
    let upstream = Upstream::bind().await;
    let url = format!("http://{}/chatkit", upstream.address());
    let settings = [
        ("upstream.url", url.as_str()),
        ("store.url", "memory:"),
        ("auth.mode", "none"),
        ("auth.anonymous_user", "everyone"),
    ];
    let gateway = Gateway::configured(&settings).await;
    let reply = gateway.send(TestRequest::new("POST", "/sessions").json("{}")).await;
    assert_eq!(reply.data()["user_id"], "everyone");
    let session = reply.data()["id"].as_str().unwrap().to_owned();
    // A token says nothing here.
    let reply = gateway.get("mallory", "/sessions").await;
    assert_eq!(reply.data()[0]["id"], session.as_str());
    let mut client = gateway.connect().await;
    client.send(TestRequest::run(&session).field("x-user-id", "mallory").bytes()).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.field("x-user-id"), Some("everyone"));
}

#[tokio::test]
async fn who_is_believed_is_no_page_of_elsewhere() {
    let upstream = Upstream::bind().await;
    let url = format!("http://{}/chatkit", upstream.address());
    let settings = [
        ("upstream.url", url.as_str()),
        ("store.url", "memory:"),
        ("auth.mode", "none"),
        ("cors.allowed_origins", "https://app.example"),
    ];
    let gateway = Gateway::configured(&settings).await;
    let create = || TestRequest::new("POST", "/sessions").json("{}");
    let chat = || TestRequest::new("POST", "//api/ada/chat").json("{\"message\":\"hi\"}");
    let list = || TestRequest::new("GET", "/sessions");
    // A page whose name was made to resolve to this address.
    for request in [create(), chat(), list()] {
        gateway.send(request.host("evil.example:8080")).await.refusal(403, "FORBIDDEN");
    }
    for request in [create(), chat()] {
        let request = request.field("origin", "https://evil.example");
        gateway.send(request).await.refusal(403, "FORBIDDEN");
    }
    for origin in ["https://app.example", "http://127.0.0.1:3000"] {
        assert_eq!(gateway.send(create().field("origin", origin)).await.status, 200, "{origin}");
    }
    let host = gateway.address.to_string();
    assert_eq!(gateway.send(list().host(&host)).await.status, 200);
    // What can't be read may be a client session's secret.
    for twice in ["Bearer ek_one, Bearer ek_two", "Bearer"] {
        let request = chat().field("authorization", twice);
        gateway.send(request).await.refusal(401, "UNAUTHORIZED");
    }
    upstream.expect_no_connection();
}

#[tokio::test]
async fn a_cookie_may_carry_the_token_of_the_pages_that_are_allowed() {
    let upstream = Upstream::bind().await;
    let settings = [("auth.cookie", "session"), ("cors.allowed_origins", "https://app.example")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let cookie = format!("theme=dark; session={}; other=1", token("ada"));
    let create = || TestRequest::new("POST", "/sessions").field("cookie", &cookie).json("{}");
    let reply = gateway.send(create()).await;
    assert_eq!(reply.data()["user_id"], "ada");
    let session = reply.data()["id"].as_str().unwrap().to_owned();
    let reply = gateway.send(create().field("origin", "https://app.example")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("access-control-allow-credentials"), Some("true"));
    for origin in ["https://evil.example", "null"] {
        let reply = gateway.send(create().field("origin", origin)).await;
        assert!(matches!(reply.status, 401 | 403), "{}", reply.status);
    }
    // `Authorization` goes first, also when it is wrong.
    let reply = gateway.send(create().field("authorization", "Bearer x.y.z")).await;
    assert_eq!(reply.status, 401);
    let reply = gateway.send(create().field("cookie", &format!("session={}", token("eve")))).await;
    assert!(matches!(reply.status, 400 | 401), "{}", reply.status);

    let mut client = gateway.connect().await;
    client.send(TestRequest::run(&session).field("cookie", &cookie).bytes()).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.field("x-user-id"), Some("ada"));
    assert_eq!(received.field("cookie"), None);
}

#[tokio::test]
async fn without_a_setting_a_cookie_says_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let request = TestRequest::new("GET", "/sessions")
        .field("cookie", &format!("session={0}; token={0}", token("ada")));
    gateway.send(request).await.refusal(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn look_alikes_are_different_users() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    for user in ["Ada", "ada ", " ada", "аda", "ada\u{200b}"] {
        let reply = gateway.get(user, &format!("/sessions/{session}")).await;
        reply.refusal(403, "FORBIDDEN");
    }
    let composed = gateway.session("\u{e4}").await;
    let reply = gateway.get("a\u{308}", &format!("/sessions/{composed}")).await;
    reply.refusal(403, "FORBIDDEN");
}
