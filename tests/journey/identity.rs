//! What crosses the gateway beside the bodies, and what doesn't.

use chatkit_rest::config::ApiKey;

use crate::support::{
    Gateway, MESSAGE_DONE, Peer, Received, TestRequest, Upstream, preamble, stream_answer, token,
};

async fn received(
    upstream: &Upstream,
    gateway: &Gateway,
    fields: &[(&str, &str)],
) -> (Peer, Received) {
    let session = gateway.session("ada").await;
    let mut request = TestRequest::run(&session).user("ada");
    for (name, value) in fields {
        request = request.field(name, value);
    }
    let mut client = gateway.connect().await;
    client.send(request.bytes()).await;
    let (peer, received) = upstream.request().await;
    // The run goes on for as long as its client is there.
    std::mem::forget(client);
    (peer, received)
}

#[tokio::test]
async fn a_client_cannot_say_who_it_is() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let fields: Vec<(&str, &str)> = [
        "x-user-id",
        "X-User-ID",
        "x_user_id",
        "X_User-Id",
        "x-forwarded-user",
        "x_forwarded_user",
        "x-forwarded-for",
        "x-forwarded-email",
        "x-forwarded-uri",
        "forwarded",
        "x-real-ip",
        "remote-user",
        "remote_user",
        "x-remote-user",
        "x-auth-request-user",
        "x-auth-request-email",
        "x-pomerium-claim-email",
        "cf-access-authenticated-user-email",
        "x-goog-authenticated-user-email",
        "x-ms-client-principal-name",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "cookie",
    ]
    .map(|name| (name, "mallory"))
    .to_vec();
    let (_peer, received) = received(&upstream, &gateway, &fields).await;
    assert!(!received.head.contains("mallory"), "{}", received.head);
    assert_eq!(received.field("x-user-id"), Some("ada"));
    assert_eq!(received.head.to_lowercase().matches("x-user-id").count(), 1);
    assert_eq!(received.field("authorization"), None);
    assert!(!received.head.contains("eyJ"), "{}", received.head);
}

#[tokio::test]
async fn the_token_is_forwarded_and_the_users_field_renamed_where_that_is_configured() {
    let upstream = Upstream::bind().await;
    let settings =
        [("upstream.forward_authorization", "true"), ("upstream.user_header", "x-login")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let fields = [("x-login", "mallory"), ("x_login", "mallory"), ("x-user-id", "mallory")];
    let (_peer, received) = received(&upstream, &gateway, &fields).await;
    assert!(received.field("authorization").unwrap().starts_with("Bearer eyJ"));
    assert_eq!(received.field("x-login"), Some("ada"));
    assert!(!received.head.contains("mallory"), "{}", received.head);
}

#[tokio::test]
async fn an_unusual_user_is_one_plain_field_value() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("Ada Löv%, x").await;
    let _client = gateway.say("Ada Löv%, x", &session).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.field("x-user-id"), Some("Ada%20L%C3%B6v%25,%20x"));
    for sub in ["a\r\nx-admin: 1", "a\nb", "a\0b", ""] {
        let claims = serde_json::json!({ "sub": sub, "exp": 4_000_000_000_u64 });
        let token = crate::support::token_with(&claims);
        let request =
            TestRequest::new("GET", "/sessions").field("authorization", &format!("Bearer {token}"));
        gateway.send(request).await.refusal(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn what_belongs_to_the_clients_connection_stays_there() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let fields = [
        ("connection", "keep-alive, x-hop, x-user-id, content-type"),
        ("x-hop", "planted"),
        ("keep-alive", "timeout=planted"),
        ("proxy-authorization", "Basic planted"),
        ("proxy-connection", "planted"),
        ("proxy", "planted"),
        ("te", "trailers"),
        ("trailer", "planted"),
        ("upgrade", "planted"),
        ("http2-settings", "planted"),
        ("accept-encoding", "gzip"),
        ("accept-language", "de"),
        ("chatkit-device-id", "device"),
        ("openai-beta", "chatkit=v1"),
    ];
    let (_peer, received) = received(&upstream, &gateway, &fields).await;
    assert!(!received.head.contains("planted"), "{}", received.head);
    assert!(!received.head.contains("gzip"), "{}", received.head);
    assert_eq!(received.field("te"), None);
    assert_eq!(received.field("x-user-id"), Some("ada"));
    assert_eq!(received.field("content-type"), Some("application/json"));
    assert_eq!(received.field("host"), Some(upstream.address().to_string().as_str()));
    for (name, value) in
        [("accept-language", "de"), ("chatkit-device-id", "device"), ("openai-beta", "chatkit=v1")]
    {
        assert_eq!(received.field(name), Some(value));
    }
    assert!(received.head.starts_with("POST /chatkit HTTP/1.1\r\n"), "{}", received.head);
}

/// Gives what the upstream is told of the gateway's address: host, protocol, prefix, and all at
/// once.
fn address(received: &Received) -> [Option<&str>; 4] {
    ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "forwarded"]
        .map(|name| received.field(name))
}

/// Gives the first request of every surface to the upstream of such a gateway, whose clients claim
/// to have reached it elsewhere.
async fn of_every_surface(settings: &[(&'static str, &str)]) -> Vec<(&'static str, Received)> {
    let upstream = Upstream::bind().await;
    let key = ApiKey::of("support", "sk-planted-key").unwrap();
    let keys = format!("support={}", key.digest());
    let mut all = vec![("openai.api_keys", keys.as_str())];
    all.extend(settings);
    let gateway = Gateway::with(&upstream, &all).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let thread = format!("/sessions/{session}/threads/{session}");
    let chatkit = "{\"type\":\"threads.create\",\"params\":{\"input\":{\"content\":[],\
                   \"attachments\":[],\"inference_options\":{}}}}";
    let new_file = "{\"name\":\"a.txt\",\"size\":1,\"mime_type\":\"text/plain\"}";
    let hosted = TestRequest::new("GET", "//v1/chatkit/threads/thr_1");
    let hosted = hosted.field("authorization", "Bearer sk-planted-key");
    let mut found = Vec::new();
    for (surface, request) in [
        ("a run", TestRequest::run(&session).user("ada")),
        ("a thread", TestRequest::new("GET", &thread).user("ada")),
        ("an attachment", TestRequest::new("POST", "/attachments").user("ada").json(new_file)),
        ("the pass-through", TestRequest::new("POST", "").user("ada").json(chatkit)),
        ("chat", TestRequest::new("POST", "//api/chat").user("ada").json("{\"message\":\"hi\"}")),
        ("hosted", hosted),
    ] {
        let request = request
            .host("chat.example:8080")
            .field("forwarded", "host=evil.example;proto=https")
            .field("x-forwarded-host", "evil.example")
            .field("X_Forwarded_Host", "evil.example")
            .field("x-forwarded-proto", "ftp")
            .field("x-forwarded-port", "666")
            .field("x-forwarded-prefix", "/evil")
            .field("x-forwarded-for", "6.6.6.6")
            .field("connection", "x-forwarded-host, forwarded");
        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        let (peer, received) = upstream.request().await;
        drop((client, peer));
        let head = received.head.to_lowercase();
        assert!(!head.contains("evil") && !head.contains("6.6"), "{surface}: {head}");
        assert!(!head.contains("ftp") && !head.contains("-port:"), "{surface}: {head}");
        found.push((surface, received));
    }
    found
}

#[tokio::test]
async fn the_upstream_is_told_where_clients_reach_the_gateway() {
    for (surface, received) in of_every_surface(&[]).await {
        let expected = [
            Some("chat.example:8080"),
            Some("http"),
            None,
            Some("host=\"chat.example:8080\";proto=http"),
        ];
        assert_eq!(address(&received), expected, "{surface}");
        assert_ne!(received.field("host"), expected[0], "{surface}");
    }
}

#[tokio::test]
async fn a_public_url_is_told_whatever_a_request_was_sent_to() {
    for (surface, received) in
        of_every_surface(&[("server.public_url", "https://chat.example.org/ai/")]).await
    {
        let expected = [
            Some("chat.example.org"),
            Some("https"),
            Some("/ai"),
            Some("host=\"chat.example.org\";proto=https"),
        ];
        assert_eq!(address(&received), expected, "{surface}");
    }
}

#[tokio::test]
async fn no_address_is_told_where_that_is_configured() {
    let settings = [("upstream.forwarded", "false"), ("server.public_url", "https://a.example")];
    for (surface, received) in of_every_surface(&settings).await {
        assert_eq!(address(&received), [None; 4], "{surface}");
    }
}

#[tokio::test]
async fn what_belongs_to_the_upstreams_connection_stays_there() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    let answer = stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")));
    let answer = String::from_utf8(answer).unwrap();
    peer.send(answer.replacen(
        "content-type",
        "connection: x-hop, keep-alive\r\nx-hop: planted\r\nkeep-alive: planted\r\n\
         proxy-authenticate: planted\r\nupgrade: planted\r\ntrailer: planted\r\n\
         set-cookie: planted\r\nserver: planted\r\nwww-authenticate: planted\r\n\
         access-control-allow-origin: *\r\nx-request-id: planted\r\n\
         x-chatkit-run-id: run_1\r\ncontent-type",
        1,
    ))
    .await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200);
    assert!(!format!("{:?}", reply.head).contains("planted"), "{:?}", reply.head);
    assert_eq!(reply.field("access-control-allow-origin"), None);
    assert_eq!(reply.field("x-chatkit-run-id"), Some("run_1"));
}

#[tokio::test]
async fn a_wrong_token_says_nothing_and_costs_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let good = token("ada");
    let mut parts = good.split('.');
    let (header, claims, signature) =
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    // {"alg":"none"}
    let none = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let expired = crate::support::token_with(&serde_json::json!({ "sub": "ada", "exp": 1 }));
    let immortal = crate::support::token_with(&serde_json::json!({ "sub": "ada" }));
    for value in [
        format!("Bearer {none}"),
        format!("Bearer {expired}"),
        format!("Bearer {immortal}"),
        format!("Bearer {header}.{claims}.{}", &signature[1..]),
        format!("Bearer {header}.{claims}"),
        format!("Bearer {good}x"),
        format!("Basic {good}"),
        "Bearer".to_owned(),
        good,
    ] {
        let request = TestRequest::new("GET", "/sessions").field("authorization", &value);
        let reply = gateway.send(request).await;
        reply.refusal(401, "UNAUTHORIZED");
        assert!(reply.field("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let reply = gateway.send(TestRequest::new("GET", "/sessions")).await;
    reply.refusal(401, "UNAUTHORIZED");
    assert!(!reply.field("www-authenticate").unwrap().contains("error"));
    upstream.expect_no_connection();
}
