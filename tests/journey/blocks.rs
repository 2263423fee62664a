//! A user who is shut out by the command, while gateways serve: whatever is asked for, on whatever
//! surface, over whichever gateway, is refused from then on, and nothing of it reaches the upstream.

use std::collections::BTreeSet;
use std::process::Command;

use chatkit_rest::config::ApiKey;
use chatkit_rest::operation::Name;
use chatkit_rest::principal::UserId;
use chatkit_rest::rejection::Code;
use chatkit_rest::session::{Blocked, BlockedUser, Directory as _, SqliteStore};
use chatkit_rest::surface::Surface;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    End, Folder, Gateway, MESSAGE_DONE, Reply, STREAM_HEAD, TestRequest, Upstream, created,
    last_chunk, line_of, options, stream_answer, user_done,
};

const KEY: &str = "sk-planted-key";

/// Runs `chatkit-rest user` on a store; it has come back when every gateway goes by it.
async fn user(store: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"));
    command.arg("user").args(arguments).args(["--store", store]).env_clear();
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

/// Blocks a user in a store that no gateway has open.
pub(super) async fn block(folder: &Folder, user: &str) {
    let path = folder.store();
    let store = SqliteStore::open(path.strip_prefix("sqlite:").unwrap().as_ref()).unwrap();
    let block = BlockedUser::new(UserId::parse(user).unwrap(), Timestamp::now());
    assert_eq!(store.block(block).await.unwrap(), Blocked::Done);
}

fn service(method: &str, path: &str) -> TestRequest {
    let request = TestRequest::new(method, &format!("//v1/chatkit{path}"));
    request.field("authorization", &format!("Bearer {KEY}"))
}

async fn gateway(store: &str, upstream: &Upstream) -> Gateway {
    let keys = format!("ada={}", ApiKey::of("ada", KEY).unwrap().digest());
    let settings = [("store.url", store), ("openai.api_keys", &*keys)];
    Gateway::with(upstream, &settings).await
}

/// Gives a request for each operation, and each type of a ChatKit request.
fn requests(session: &str, thread: &str) -> Vec<TestRequest> {
    let own = format!("/sessions/{session}");
    let threads = format!("{own}/threads/{thread}");
    let get = |path: &str| TestRequest::new("GET", path);
    let post = |path: &str, body: &str| TestRequest::new("POST", path).json(body);
    let hi = r#"{"message":"hi"}"#;
    let file = r#"{"name":"plan.txt","size":3,"mime_type":"text/plain"}"#;
    let mut all = vec![
        post("/sessions", "{}"),
        get("/sessions"),
        get(&own),
        TestRequest::new("PATCH", &own).json(r#"{"title":"mine"}"#),
        TestRequest::new("DELETE", &own),
        post(&format!("{own}/threads"), "{}"),
        get(&format!("{own}/threads")),
        get(&threads),
        get(&format!("{threads}/items")),
        post(&format!("{threads}/runs"), hi),
        post(&format!("{threads}/feedback"), r#"{"item_ids":["msg_a"],"kind":"positive"}"#),
        post(&format!("{threads}/items/msg_u/retry"), "{}"),
        post(&format!("{threads}/tool_outputs"), r#"{"result":1}"#),
        post(&format!("{threads}/items/msg_a/structured_input"), r#"{"status":"skipped"}"#),
        post(&format!("{threads}/actions"), r#"{"action":{"type":"a"}}"#),
        post("/attachments", file),
        TestRequest::new("DELETE", "/attachments/atc_1"),
        post("/transcriptions", r#"{"audio_base64":"AAAA","mime_type":"audio/ogg"}"#),
    ];
    for path in ["//api", "//api/ada"] {
        all.push(post(&format!("{path}/chat"), hi));
        all.push(get(&format!("{path}/conversations")));
        all.push(get(&format!("{path}/conversations/{session}")));
    }
    let input = json!({"content": [], "attachments": [], "inference_options": {}});
    let of_thread = |mut params: Value| {
        params["thread_id"] = thread.into();
        params
    };
    for (kind, params) in [
        ("threads.create", json!({ "input": input })),
        ("threads.list", json!({})),
        ("threads.get_by_id", of_thread(json!({}))),
        ("threads.update", of_thread(json!({"title": "mine"}))),
        ("threads.delete", of_thread(json!({}))),
        ("threads.add_user_message", of_thread(json!({ "input": input }))),
        ("threads.retry_after_item", of_thread(json!({"item_id": "msg_u"}))),
        ("items.list", of_thread(json!({}))),
        ("attachments.create", json!({"name": "a", "size": 3, "mime_type": "text/plain"})),
        ("attachments.delete", json!({"attachment_id": "atc_1"})),
        ("input.transcribe", json!({"audio_base64": "AAAA", "mime_type": "audio/ogg"})),
    ] {
        all.push(post("", &json!({"type": kind, "params": params}).to_string()));
    }
    all
}

fn expect_blocked(reply: &Reply) {
    reply.refusal(403, "USER_BLOCKED");
    let text = reply.text();
    assert!(text.contains("ask the operator") && !text.contains("laptop"), "{text}");
}

#[tokio::test]
async fn who_is_blocked_is_refused_everywhere_until_unblocked() {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    let store = folder.store();
    let here = gateway(&store, &upstream).await;
    let there = gateway(&store, &upstream).await;
    let session = here.bound(&upstream, "ada", "thr_1").await;
    for gateway in [&here, &there] {
        assert_eq!(gateway.get("ada", "/sessions").await.json()["meta"]["total"], 1);
    }
    let blocked = user(&store, &["block", "ada", "--reason", "laptop stolen"]).await;
    assert!(blocked.starts_with("Blocked: every gateway on "), "{blocked}");
    assert!(blocked.ends_with(" refuses \"ada\" now.\n"), "{blocked}");

    let mut names = BTreeSet::new();
    for gateway in [&here, &there] {
        for request in requests(&session, "thr_1") {
            let reply = gateway.send(request.user("ada")).await;
            expect_blocked(&reply);
            let line = line_of(reply.field("x-request-id").unwrap()).await;
            assert_eq!((line.get("user"), line.get("code")), ("ada", "USER_BLOCKED"));
            assert!(line.get("cause").contains("chatkit-rest user list"), "{line:?}");
            names.insert(line.get("operation").to_owned());
        }
    }
    let of_users = Name::ALL.into_iter().filter(|name| name.surface() != Surface::OpenAi);
    assert_eq!(names, of_users.map(|name| name.as_str().to_owned()).collect());
    upstream.expect_no_connection();

    // Others are let in, one who looks alike among them, and so is the service that is called so.
    for other in ["eve", "Ada"] {
        assert_eq!(here.get(other, "/sessions").await.status, 200);
    }
    assert_eq!(here.send(service("GET", "/threads?user=eve")).await.status, 200);
    assert_eq!(there.get("ada", "/nowhere").await.status, 404);

    let listed = user(&store, &["list"]).await;
    assert!(
        listed.contains("\n\"ada\"  ") && listed.ends_with("  \"laptop stolen\"\n"),
        "{listed}"
    );
    user(&store, &["unblock", "ada"]).await;
    for gateway in [&here, &there] {
        let sessions = gateway.get("ada", "/sessions").await.json();
        assert_eq!(
            (&sessions["meta"]["total"], &sessions["data"][0]["id"]),
            (&1.into(), &session.as_str().into())
        );
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("u"), options()))).await;
        assert_eq!(client.reply().await.status, 200);
        peer.close();
    }
}

// A gateway that was asked nothing yet has to ask the store who is blocked: before it writes anything.
#[tokio::test]
async fn who_is_blocked_leaves_nothing_where_the_gateway_has_to_ask() {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    block(&folder, "ada").await;
    let store = folder.store();
    let hi = r#"{"message":"hi"}"#;
    let for_ada = json!({"user": "ada", "workflow": {"id": "w"}}).to_string();
    let input = json!({"content": [{"type": "input_text", "text": "hi"}], "attachments": [],
        "inference_options": {}});
    let create = json!({"type": "threads.create", "params": {"input": input}}).to_string();
    for request in [
        TestRequest::new("POST", "/sessions").json("{}").user("ada"),
        TestRequest::new("POST", "//api/chat").json(hi).user("ada"),
        TestRequest::new("POST", "").json(&create).user("ada"),
        service("POST", "/sessions").json(&for_ada),
    ] {
        let reply = gateway(&store, &upstream).await.send(request).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    upstream.expect_no_connection();
    let path = store.strip_prefix("sqlite:").unwrap();
    let file = rusqlite::Connection::open(path).unwrap();
    for table in ["session", "client_session"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[tokio::test]
async fn who_acts_for_the_blocked_is_refused_too() {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    let store = folder.store();
    let gateway = gateway(&store, &upstream).await;
    let for_user = |user: &str| {
        let body = json!({"user": user, "workflow": {"id": "w"}}).to_string();
        gateway.send(service("POST", "/sessions").json(&body))
    };
    let made = for_user("eve").await.json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let by_secret = || {
        let request = TestRequest::new("GET", "/sessions");
        gateway.send(request.field("authorization", &format!("Bearer {secret}")))
    };
    assert_eq!(by_secret().await.status, 200);
    // Of whom nobody has heard yet.
    user(&store, &["block", "eve"]).await;
    user(&store, &["block", "bob"]).await;
    expect_blocked(&by_secret().await);
    for blocked in ["eve", "bob"] {
        let reply = for_user(blocked).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
        assert_eq!(reply.json()["error"]["message"], Code::UserBlocked.message());
    }
    assert_eq!(for_user("ada").await.status, 200);
    let cancel = gateway.send(service("POST", &format!("/sessions/{id}/cancel"))).await;
    assert_eq!(cancel.status, 200, "{}", cancel.text());
    upstream.expect_no_connection();
}

#[tokio::test]
async fn who_is_believed_is_refused_by_name() {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    let store = folder.store();
    let url = format!("http://{}/chatkit", upstream.address());
    let settings = [("upstream.url", &*url), ("store.url", &*store), ("auth.mode", "none")];
    let gateway = Gateway::configured(&settings).await;
    user(&store, &["block", "ada"]).await;
    let chat = TestRequest::new("POST", "//api/ada/chat").json(r#"{"message":"hi"}"#);
    expect_blocked(&gateway.send(chat).await);
    upstream.expect_no_connection();
    let listed = gateway.send(TestRequest::new("GET", "//api/bob/conversations")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
}

#[tokio::test]
async fn an_answer_that_streams_goes_on_to_its_end() {
    let (folder, upstream) = (Folder::new(), Upstream::bind().await);
    let store = folder.store();
    let gateway = gateway(&store, &upstream).await;
    let session = gateway.session("ada").await;
    let mut client = gateway.say("ada", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(STREAM_HEAD).await;
    let begin = format!("{}{}{}", created("thr_1"), user_done("u"), MESSAGE_DONE);
    peer.send_chunk(&begin).await;
    assert_eq!(client.head().await.status, 200);
    client.expect_body(&begin).await;
    user(&store, &["block", "ada"]).await;
    gateway.send(TestRequest::run(&session).user("ada")).await.refusal(403, "USER_BLOCKED");
    peer.send_chunk(MESSAGE_DONE).await;
    client.expect_body(MESSAGE_DONE).await;
    peer.send(last_chunk()).await;
    assert_eq!(client.body().await, (Vec::new(), End::Clean));
}
