//! The table of refusals on one-shot chat: the same codes, some with statuses of their own.

use chatkit_rest::rejection::Code;
use serde_json::json;

use crate::support::{
    Folder, Gateway, MESSAGE_DONE, PREFIX, Reply, STREAM_HEAD, TestRequest, Upstream, error_event,
    json_answer, preamble, stream_answer, token,
};

/// What no question can meet: it names no item and no attachment, and a defect that is known is
/// mended.
const UNREACHABLE: [Code; 4] =
    [Code::AttachmentIdReused, Code::AttachmentNotFound, Code::ItemNotFound, Code::Internal];

fn ask(body: &str) -> TestRequest {
    TestRequest::new("POST", "//api/chat").user("ada").json(body)
}

const HI: &str = "{\"message\":\"hi\"}";

/// Gives what the gateway says by itself.
async fn alone(settings: &[(&'static str, &str)], request: TestRequest) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, settings).await;
    let mut client = gateway.connect().await;
    let _refused = client.try_send(request.bytes()).await;
    let reply = client.reply().await;
    upstream.expect_no_connection();
    reply
}

/// Gives what an answer of the upstream's to a first message becomes.
async fn answered(answer: impl AsRef<[u8]>) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("upstream.first_byte_timeout", "200ms")]).await;
    let mut client = gateway.connect().await;
    client.send(ask(HI).bytes()).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(answer).await;
    client.reply().await
}

/// Gives the second of two questions, with these settings.
async fn second(settings: &[(&'static str, &str)], goes_on: bool) -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, settings).await;
    let _upstream =
        upstream.answer(|_| stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))));
    let first = gateway.send(ask(HI)).await.json();
    let id = if goes_on { first["conversation_id"].clone() } else { json!(null) };
    gateway.send(ask(&json!({ "message": "hi", "conversation_id": id }).to_string())).await
}

/// Gives what ada gets, whose conversation it was, and eve, whose thread was called like hers.
async fn twice() -> (Reply, Reply) {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let _upstream =
        upstream.answer(|_| stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))));
    let first = gateway.send(ask(HI)).await.json();
    let eves = TestRequest::new("POST", "//api/chat").user("eve").json(HI);
    let eves = gateway.send(eves).await;
    let id = &first["conversation_id"];
    let again = json!({ "message": "hi", "conversation_id": id }).to_string();
    (gateway.send(ask(&again)).await, eves)
}

async fn blocked() -> Reply {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    super::blocks::block(&folder, "ada").await;
    let gateway = Gateway::with(&upstream, &[("store.url", &*folder.store())]).await;
    gateway.send(ask(HI)).await
}

async fn provoke(code: Code) -> Option<(u16, Reply)> {
    let unknown = r#"{"message":"hi","conversation_id":"7f1dd8a5-4a51-4c3b-9b0d-2a0c6b0e3c11"}"#;
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(10_001));
    let in_html = || ask(HI).field("accept", "text/html");
    let as_text = || TestRequest::new("POST", "//api/chat").user("ada").body(HI);
    Some(match code {
        Code::InvalidJson => (400, alone(&[], ask("{\"message\":")).await),
        Code::InvalidInput => (422, alone(&[], ask("{\"message\":7}")).await),
        Code::EmptyMessage => (422, alone(&[], ask("{\"message\":\" \\n\"}")).await),
        Code::MessageTooLong => (422, alone(&[], ask(&long)).await),
        Code::Unauthorized => (401, alone(&[], TestRequest::new("POST", "//api/chat")).await),
        Code::Forbidden => {
            (403, alone(&[], TestRequest::new("POST", "//api/eve/chat").user("ada")).await)
        }
        Code::InsufficientScope => (403, alone(&[("auth.require", "scope:chat")], ask(HI)).await),
        Code::UserBlocked => (403, blocked().await),
        Code::SessionNotFound => (404, alone(&[], ask(unknown)).await),
        Code::ThreadNotFound => (404, thread_lost().await),
        Code::NotFound => (404, alone(&[], TestRequest::new("POST", "//api/x").user("ada")).await),
        Code::MethodNotAllowed => (405, alone(&[], ask(HI).method("PUT")).await),
        Code::NotAcceptable => (406, alone(&[], in_html()).await),
        Code::RequestTimeout => (408, request_timeout().await),
        Code::Conflict => (409, conflict().await),
        Code::PayloadTooLarge => (413, alone(&[], ask(&" ".repeat(2 << 20))).await),
        Code::UnsupportedMediaType => {
            (415, alone(&[], as_text().field("content-type", "text/plain")).await)
        }
        Code::SessionLimit => (429, second(&[("chat.max_sessions", "1")], false).await),
        Code::MessageLimit => (429, second(&[("chat.max_messages", "2")], true).await),
        Code::RateLimited => (429, second(&[("limits.requests_per_minute", "1")], true).await),
        // Not its own status, which would be about the message.
        Code::UpstreamRejected => {
            (503, answered("HTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n").await)
        }
        Code::UpstreamError => (503, answered("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n").await),
        Code::UpstreamTimeout => (503, answered("").await),
        Code::UpstreamUnsupported => {
            (503, answered("HTTP/1.1 501 X\r\ncontent-length: 0\r\n\r\n").await)
        }
        Code::ThreadIdReused => (503, twice().await.1),
        Code::ThreadQuarantined => (409, twice().await.0),
        Code::ServiceUnavailable => (503, full().await),
        _ => return None,
    })
}

#[tokio::test]
async fn every_code_has_this_surfaces_status() {
    for code in Code::ALL {
        match provoke(code).await {
            Some((status, reply)) => {
                reply.refusal(status, code.as_str());
            }
            None => assert!(UNREACHABLE.contains(&code), "{code}"),
        }
    }
}

#[tokio::test]
async fn other_failures_behind_the_gateway_are_503_and_words_for_the_user_422() {
    let failed = |code, message| {
        stream_answer(&format!("{}{}", preamble("thr_1"), error_event(code, message, false)))
    };
    answered(failed("stream.error", None)).await.refusal(503, "UPSTREAM_ERROR");
    answered(stream_answer(&preamble("thr_1"))).await.refusal(503, "UPSTREAM_ERROR");
    answered(format!("{STREAM_HEAD}zz\r\n")).await.refusal(503, "UPSTREAM_ERROR");
    let reply = answered(failed("custom", Some("Out of quota."))).await;
    assert_eq!(reply.refusal(422, "UPSTREAM_REJECTED")["message"], "Out of quota.");
}

#[tokio::test]
async fn problem_details_have_the_same_status() {
    let request = ask("{}").field("accept", "application/problem+json");
    let reply = alone(&[], request).await;
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
    assert_eq!((reply.status, reply.json()["status"].as_u64()), (422, Some(422)));
}

#[tokio::test]
async fn what_says_the_wrong_thing_has_the_status_that_is_set() {
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(10_001));
    for (set, status) in [("422", 422), ("400", 400)] {
        let settings = [("chat.invalid_status", set)];
        for (body, code) in [
            ("{\"message\":7}", "INVALID_INPUT"),
            // Found when the conversation is looked up, and no longer by the schema.
            ("{\"message\":\"hi\",\"conversation_id\":7}", "INVALID_INPUT"),
            ("{\"message\":\" \"}", "EMPTY_MESSAGE"),
            (&long, "MESSAGE_TOO_LONG"),
        ] {
            let problem = ask(body).field("accept", "application/problem+json");
            alone(&settings, ask(body)).await.refusal(status, code);
            let problem = alone(&settings, problem).await;
            assert_eq!((problem.status, &problem.json()["code"]), (status, &json!(code)));
            assert_eq!(problem.json()["status"], status);
        }
        alone(&settings, ask("{\"message\":")).await.refusal(400, "INVALID_JSON");
        // It is one-shot chat's alone.
        let elsewhere = TestRequest::new("POST", "/sessions").user("ada").json("[]");
        alone(&settings, elsewhere).await.refusal(400, "INVALID_INPUT");
    }
}

async fn thread_lost() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let upstream = upstream.answer(|received| match received.kind().as_str() {
        "threads.create" => stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1"))),
        "threads.list" => json_answer(r#"{"data":[],"has_more":false}"#),
        _ => b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n".to_vec(),
    });
    let id = gateway.send(ask(HI)).await.json()["conversation_id"].clone();
    let reply =
        gateway.send(ask(&json!({ "message": "hi", "conversation_id": id }).to_string())).await;
    assert!(upstream.types().contains(&"threads.add_user_message".to_owned()));
    reply
}

async fn request_timeout() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("server.body_timeout", "50ms")]).await;
    let mut client = gateway.connect().await;
    let token = token("ada");
    let head = format!(
        "POST /api/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    client.send(head).await;
    client.reply().await
}

/// Gives a session that REST made, whose first message is under way.
async fn conflict() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let _first = gateway.say("ada", &session).await;
    let (_peer, _) = upstream.request().await;
    gateway.send(ask(&json!({ "message": "hi", "conversation_id": session }).to_string())).await
}

async fn full() -> Reply {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::with(&upstream, &[("limits.max_in_flight", "1")]).await;
    let mut first = gateway.connect().await;
    first.send(ask(HI).bytes()).await;
    let (_peer, _) = upstream.request().await;
    gateway.send(ask(HI)).await
}

#[tokio::test]
async fn what_is_on_no_surface_is_refused_as_rest_refuses() {
    let request = TestRequest::new("POST", "/sessions").user("ada").json("[]");
    assert!(PREFIX.starts_with("/api/"));
    alone(&[], request).await.refusal(400, "INVALID_INPUT");
}
