//! The table of refusals, row by row: each is provoked from outside, and its status, code,
//! envelope and headers are what the table says.

use chatkit_rest::rejection::Code;

use crate::support::{
    Folder, Gateway, MESSAGE_DONE, PREFIX, Reply, STREAM_HEAD, TestRequest, Upstream, created,
    everything_logged, json_answer, preamble, stream_answer, token,
};

/// A test for each code, and the list of those that have one.
macro_rules! rows {
    ($($name:ident: $code:ident => $provoke:expr;)*) => {
        mod row {
            use super::*;

            $(
                #[tokio::test]
                async fn $name() {
                    let code = Code::$code;
                    let reply: Reply = $provoke.await;
                    reply.refusal(code.status().as_u16(), code.as_str());
                    assert_eq!(reply.field("retry-after").is_some(), asks_back(code), "{reply:?}");
                    assert_eq!(reply.field("proxy-status"), proxy_status(code), "{reply:?}");
                }
            )*
        }

        const TESTED: &[Code] = &[$(Code::$code),*];
    };
}

/// Tells whether a client is asked to come back; whoever is, is told when.
fn asks_back(code: Code) -> bool {
    matches!(code, Code::Conflict | Code::RateLimited | Code::ServiceUnavailable)
}

/// Gives what RFC 9209 calls what is the upstream's fault, or the gateway's; none for what is the
/// client's own.
fn proxy_status(code: Code) -> Option<&'static str> {
    match code {
        Code::UpstreamRejected => Some("chatkit-rest; received-status=400"),
        Code::UpstreamError => Some("chatkit-rest; error=http_protocol_error; received-status=500"),
        Code::ThreadIdReused | Code::AttachmentIdReused => {
            Some("chatkit-rest; error=http_protocol_error")
        }
        Code::UpstreamTimeout => Some("chatkit-rest; error=connection_read_timeout"),
        Code::UpstreamUnsupported => Some("chatkit-rest; received-status=501"),
        Code::ServiceUnavailable => Some("chatkit-rest; error=connection_limit_reached"),
        _ => None,
    }
}

/// What nobody can provoke from outside as far as is known: a defect that is known is mended.
const UNTESTED: [Code; 1] = [Code::Internal];

#[test]
fn every_row_of_the_table_has_a_test() {
    for code in Code::ALL {
        assert!(TESTED.contains(&code) != UNTESTED.contains(&code), "{code}");
    }
}

rows! {
    invalid_json: InvalidJson => post("/sessions", "{\"a\":");
    invalid_input: InvalidInput => super::invalid_input();
    empty_message: EmptyMessage => run("{\"message\":\" \\n\\u3000\"}");
    message_too_long: MessageTooLong => run(&format!("{{\"message\":\"{}\"}}", "x".repeat(10_001)));
    unauthorized: Unauthorized => super::unauthorized();
    forbidden: Forbidden => super::forbidden();
    insufficient_scope: InsufficientScope => super::insufficient_scope();
    user_blocked: UserBlocked => super::user_blocked();
    session_not_found: SessionNotFound => post("/sessions/7f1dd8a5-4a51-4c3b-9b0d-2a0c6b0e3c11/threads", "{}");
    thread_id_reused: ThreadIdReused => super::thread_id_reused();
    attachment_id_reused: AttachmentIdReused => super::attachment_id_reused();
    thread_quarantined: ThreadQuarantined => super::thread_quarantined();
    thread_not_found: ThreadNotFound => super::thread_not_found();
    item_not_found: ItemNotFound => super::item_not_found();
    attachment_not_found: AttachmentNotFound => post("", "{\"type\":\"attachments.delete\",\"params\":{\"attachment_id\":\"atc_1\"}}");
    not_found: NotFound => post("/sesions", "{}");
    method_not_allowed: MethodNotAllowed => super::method_not_allowed();
    not_acceptable: NotAcceptable => super::not_acceptable();
    request_timeout: RequestTimeout => super::request_timeout();
    conflict: Conflict => super::conflict();
    payload_too_large: PayloadTooLarge => post("/sessions", &" ".repeat(2 << 20));
    unsupported_media_type: UnsupportedMediaType => super::unsupported_media_type();
    session_limit: SessionLimit => super::session_limit();
    message_limit: MessageLimit => super::message_limit();
    rate_limited: RateLimited => super::rate_limited();
    upstream_rejected: UpstreamRejected => answered("HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n");
    upstream_error: UpstreamError => answered("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
    upstream_timeout: UpstreamTimeout => answered("");
    upstream_unsupported: UpstreamUnsupported => answered("HTTP/1.1 501 X\r\ncontent-length: 0\r\n\r\n");
    service_unavailable: ServiceUnavailable => super::service_unavailable();
}

async fn post(path: &str, body: &str) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let mut client = gateway.connect().await;
    let _refused =
        client.try_send(TestRequest::new("POST", path).user("ada").json(body).bytes()).await;
    let reply = client.reply().await;
    upstream.expect_no_connection();
    reply
}

async fn run(body: &str) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/{session}/runs");
    let reply = gateway.post("ada", &path, body).await;
    upstream.expect_no_connection();
    reply
}

async fn invalid_input() -> Reply {
    let reply = run("{\"message\":{\"role\":\"user\"},\"streem\":1}").await;
    let pointers: Vec<_> = reply.json()["error"]["details"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pointers, ["/message/content", "/streem"]);
    reply
}

async fn unauthorized() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let request = TestRequest::new("GET", "/sessions").field("authorization", "Bearer x.y.z");
    let reply = gateway.send(request).await;
    let challenge = reply.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""));
    reply
}

async fn forbidden() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    gateway.get("eve", &format!("/sessions/{session}")).await
}

async fn insufficient_scope() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("auth.require", "scope:chat")]).await;
    let reply = gateway.send(TestRequest::new("POST", "/sessions").user("ada").json("{}")).await;
    upstream.expect_no_connection();
    reply
}

async fn user_blocked() -> Reply {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    crate::blocks::block(&folder, "ada").await;
    let gateway = Gateway::with(&upstream, &[("store.url", &*folder.store())]).await;
    let reply = gateway.send(TestRequest::new("POST", "/sessions").user("ada").json("{}")).await;
    upstream.expect_no_connection();
    reply
}

/// Makes ada's session on `thr_1`, and what eve got when her thread was called so too.
async fn twice(gateway: &Gateway, upstream: &Upstream) -> (String, Reply) {
    let adas = gateway.bound(upstream, "ada", "thr_1").await;
    let eves = gateway.session("eve").await;
    let mut client = gateway.say("eve", &eves).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    (adas, client.reply().await)
}

async fn thread_id_reused() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    twice(&gateway, &upstream).await.1
}

async fn thread_quarantined() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let (session, _) = twice(&gateway, &upstream).await;
    gateway.get("ada", &format!("/sessions/{session}")).await
}

async fn thread_not_found() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/thr_none/runs");
    gateway.post("ada", &path, "{\"message\":\"hi\"}").await
}

async fn attachment_id_reused() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let file = r#"{"name":"plan.txt","size":3,"mime_type":"text/plain"}"#;
    let create = async |user: &str| {
        let mut client = gateway.connect().await;
        let request = TestRequest::new("POST", "/attachments").user(user).json(file);
        client.send(request.bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(json_answer(r#"{"id":"atc_twice","upload_url":"http://planted.test"}"#)).await;
        peer.close();
        client.reply().await
    };
    assert_eq!(create("twice-ada").await.status, 200);
    let reply = create("twice-eve").await;
    assert!(!reply.text().contains("planted"), "{}", reply.text());
    // Nothing is deleted that is the first one's, and the log names both.
    upstream.expect_no_connection();
    let logged = everything_logged();
    for named in ["attachments one id", "atc_twice", "twice-ada", "twice-eve"] {
        assert!(logged.contains(named), "{named}");
    }
    reply
}

async fn item_not_found() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let path = format!("/sessions/{session}/threads/{session}/items/msg_none/retry");
    gateway.post("ada", &path, "").await
}

async fn method_not_allowed() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let reply = gateway.send(TestRequest::new("DELETE", "/sessions").user("ada")).await;
    assert_eq!(reply.field("allow"), Some("POST, GET, HEAD"));
    reply
}

async fn not_acceptable() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway
        .send(TestRequest::new("GET", "/sessions").user("ada").field("accept", "text/html"))
        .await
}

async fn request_timeout() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.body_timeout", "50ms")]).await;
    let mut client = gateway.connect().await;
    let token = token("ada");
    client
        .send(format!(
            "POST {PREFIX}/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    client.reply().await
}

async fn conflict() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let _first = gateway.say("ada", &session).await;
    let (_peer, _) = upstream.request().await;
    gateway.say("ada", &session).await.reply().await
}

async fn unsupported_media_type() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/json; charset=utf-16"),
        ("content-encoding", "gzip"),
    ] {
        let request = TestRequest::new("POST", "/sessions").user("ada").field(name, value);
        gateway.send(request.body("{}")).await.refusal(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let request = TestRequest::new("POST", "").user("ada").field("content-type", "image/png");
    gateway.send(request.body("{}")).await
}

async fn session_limit() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_sessions", "1")]).await;
    gateway.session("ada").await;
    let reply = gateway.post("ada", "/sessions", "{}").await;
    let create = r#"{"type":"threads.create","params":{"input":{"content":[],"attachments":[],"inference_options":{}}}}"#;
    gateway.post("ada", "", create).await.refusal(429, "SESSION_LIMIT");
    upstream.expect_no_connection();
    reply
}

async fn message_limit() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_messages", "2")]).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    gateway.say("ada", &session).await.reply().await
}

async fn rate_limited() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.requests_per_minute", "1")]).await;
    gateway.get("ada", "/sessions").await;
    gateway.get("ada", "/sessions").await
}

async fn answered(answer: &str) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("upstream.first_byte_timeout", "200ms")]).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(answer).await;
    client.reply().await
}

async fn service_unavailable() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "1")]).await;
    let session = gateway.session("ada").await;
    let _first = gateway.say("ada", &session).await;
    let (_peer, _) = upstream.request().await;
    gateway.get("ada", "/sessions").await
}

#[tokio::test]
async fn a_thread_that_the_upstream_has_lost_is_a_404() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.bound(&upstream, "ada", "thr_1").await;
    let upstream = upstream.answer(|received| match received.kind().as_str() {
        // Cut before any event, and the bare 500 of a server that catches nothing.
        "threads.add_user_message" => format!("{STREAM_HEAD}zz\r\n").into_bytes(),
        "threads.get_by_id" => b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec(),
        "items.list" | "threads.list" => {
            crate::support::json_answer(r#"{"data":[],"has_more":false}"#)
        }
        other => panic!("{other}"),
    });
    let reply = gateway.say("ada", &session).await.reply().await;
    reply.refusal(404, "THREAD_NOT_FOUND");
    assert_eq!(
        upstream.types(),
        ["threads.add_user_message", "threads.get_by_id", "items.list", "threads.list"]
    );
}

#[tokio::test]
async fn who_asks_for_problem_details_gets_them() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.connect().await;
    let request = TestRequest::run(&session)
        .user("ada")
        .field("accept", "text/event-stream, application/problem+json");
    client.send(request.bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_1")).await;
    peer.close();
    let reply = client.reply().await;
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!((problem["status"].as_u64(), reply.status), (Some(502), 502));
    assert_eq!(problem["code"], "UPSTREAM_ERROR");
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["details"]["thread_id"], "thr_1");
    assert_eq!(problem["request_id"], reply.field("x-request-id").unwrap());
    // And a run that goes well is a stream all the same.
    let mut client = gateway.connect().await;
    client.send(request.bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    assert_eq!(client.reply().await.status, 200);
}
