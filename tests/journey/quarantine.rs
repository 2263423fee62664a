//! An upstream that gives two users' threads one id: from then on nobody reads or writes that
//! thread, on whatever surface, over whichever gateway, until it is released.

use chatkit_rest::config::ApiKey;
use chatkit_rest::principal::UserId;
use chatkit_rest::rejection::Code;
use chatkit_rest::session::{
    Directory as _, Released, Runs as _, SessionId, SessionKey, Sessions as _, SqliteStore,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    End, Folder, Gateway, MESSAGE_DELTA, MESSAGE_DONE, Reply, STREAM_HEAD, TestRequest, Upstream,
    created, data, json_answer, line_of, log_of, options, preamble, stream_answer, user_done,
};

const KEY: &str = "sk-planted-key";

fn service(method: &str, path: &str) -> TestRequest {
    let request = TestRequest::new(method, &format!("//v1/chatkit{path}"));
    request.field("authorization", &format!("Bearer {KEY}"))
}

/// Gives everything that can be asked about a thread, but by a service.
fn requests(session: &str, thread: &str) -> Vec<TestRequest> {
    let own = format!("/sessions/{session}");
    let threads = format!("{own}/threads/{thread}");
    let post = |path: &str, body: &str| TestRequest::new("POST", path).json(body);
    let mut all = vec![
        TestRequest::new("GET", &own),
        TestRequest::new("PATCH", &own).json(r#"{"title":"mine"}"#),
        TestRequest::new("DELETE", &own),
        post(&format!("{own}/threads"), "{}"),
        TestRequest::new("GET", &format!("{own}/threads")),
        TestRequest::new("GET", &threads),
        TestRequest::new("GET", &format!("{threads}/items")),
        post(&format!("{threads}/runs"), r#"{"message":"hi"}"#),
        post(&format!("{threads}/feedback"), r#"{"item_ids":["msg_a"],"kind":"positive"}"#),
        post(&format!("{threads}/items/msg_u/retry"), "{}"),
        post(&format!("{threads}/tool_outputs"), r#"{"result":1}"#),
        post(&format!("{threads}/items/msg_a/structured_input"), r#"{"status":"skipped"}"#),
        post(&format!("{threads}/actions"), r#"{"action":{"type":"a"}}"#),
        post(&format!("{threads}/actions?sync=true"), r#"{"action":{"type":"a"}}"#),
    ];
    if thread.starts_with("thr_") {
        let input = json!({
            "content": [{"type": "input_text", "text": "hi"}],
            "attachments": [],
            "inference_options": {},
        });
        for (kind, more) in [
            ("threads.get_by_id", json!({})),
            ("threads.update", json!({"title": "mine"})),
            ("threads.delete", json!({})),
            ("threads.add_user_message", json!({ "input": input })),
            ("threads.add_client_tool_output", json!({"result": 1})),
            (
                "threads.add_structured_input",
                json!({"item_id": "i", "input": {"status": "skipped"}}),
            ),
            ("threads.retry_after_item", json!({"item_id": "msg_u"})),
            ("threads.custom_action", json!({"action": {"type": "a"}})),
            ("threads.sync_custom_action", json!({"action": {"type": "a"}})),
            ("items.list", json!({})),
            ("items.feedback", json!({"item_ids": [], "kind": "positive"})),
        ] {
            let mut params = more;
            params["thread_id"] = thread.into();
            all.push(post("", &json!({"type": kind, "params": params}).to_string()));
        }
    } else {
        let ask = json!({"message": "hi", "conversation_id": session}).to_string();
        all.push(post("//api/chat", &ask));
        all.push(TestRequest::new("GET", &format!("//api/conversations/{session}")));
    }
    all
}

/// Expects that nobody gets at the thread, and the upstream hears of nothing.
async fn expect_locked(gateway: &Gateway, upstream: &Upstream, session: &str, thread: &str) {
    for by in [session, thread] {
        for request in requests(session, by) {
            let locked = gateway.send(request.clone().user("ada")).await;
            locked.refusal(409, "THREAD_QUARANTINED");
            let foreign = gateway.send(request.clone().user("eve")).await;
            foreign.refusal(403, "FORBIDDEN");
        }
    }
    for (method, path) in [
        ("GET", format!("/threads/{thread}")),
        ("GET", format!("/threads/{session}/items")),
        ("DELETE", format!("/threads/{thread}")),
    ] {
        let reply = gateway.send(service(method, &path)).await;
        assert_eq!(reply.status, 409, "{path} {}", reply.text());
        assert_eq!(reply.json()["error"]["message"], Code::ThreadQuarantined.message());
    }
    let listed = gateway.get("ada", "/sessions").await.json();
    assert_eq!(listed["meta"]["total"], 0);
    let listed = gateway.send(TestRequest::new("GET", "//api/conversations").user("ada")).await;
    assert_eq!(listed.json()["conversations"], json!([]));
    upstream.expect_no_connection();
}

/// Expects that the lists of threads don't have it, whatever the upstream's has.
async fn expect_hidden(gateway: &Gateway, upstream: &Upstream) {
    let list = r#"{"type":"threads.list","params":{}}"#;
    let listed = gateway.post("ada", "", list).await.json();
    assert_eq!(listed, json!({"data": [], "has_more": false}));
    let reply = gateway.send(service("GET", "/threads?user=ada")).await;
    assert_eq!((reply.status, &reply.json()["data"]), (200, &json!([])));
    upstream.expect_no_connection();
}

/// Gives a gateway on the store of `folder`.
async fn gateway(folder: &Folder, upstream: &Upstream) -> Gateway {
    let keys = format!("support={}", ApiKey::of("support", KEY).unwrap().digest());
    let store = folder.store();
    Gateway::with(upstream, &[("store.url", &*store), ("openai.api_keys", &keys)]).await
}

fn store(folder: &Folder) -> SqliteStore {
    SqliteStore::open(folder.store().strip_prefix("sqlite:").unwrap().as_ref()).unwrap()
}

/// Gives what an upstream says of a thread that it has changed.
fn updated(thread: &str) -> String {
    data(&format!(
        "{{\"type\":\"thread.updated\",\"thread\":{{\"id\":\"{thread}\",\"title\":\"of {thread}\"}}}}"
    ))
}

/// A message in eve's own thread.
const SAY_MORE: &str = r#"{"type":"threads.add_user_message","params":{"thread_id":"thr_eve","input":{"content":[],"attachments":[],"inference_options":{}}}}"#;

/// How eve comes to have a thread: what she sends, and what she gets if it is called as ada's.
#[derive(Clone, Copy, Debug)]
enum Way {
    Events,
    Json,
    Chat,
    ChatEvents,
    PassThrough,
    /// A thread of hers is there; the upstream names another one in its next run.
    Later,
    /// Her new thread is named first.
    Second,
    SecondJson,
    SecondPassThrough,
    /// A thread of hers is there; the upstream says that another one was changed.
    Updated,
    UpdatedJson,
    UpdatedPassThrough,
}

impl Way {
    const ALL: [Self; 12] = [
        Self::Events,
        Self::Json,
        Self::Chat,
        Self::ChatEvents,
        Self::PassThrough,
        Self::Later,
        Self::Second,
        Self::SecondJson,
        Self::SecondPassThrough,
        Self::Updated,
        Self::UpdatedJson,
        Self::UpdatedPassThrough,
    ];

    async fn go(self, gateway: &Gateway, upstream: &Upstream, thread: &str) {
        let session = match self {
            Self::Later | Self::Updated | Self::UpdatedJson | Self::UpdatedPassThrough => {
                gateway.bound(upstream, "eve", "thr_eve").await
            }
            Self::Events | Self::Json | Self::Second | Self::SecondJson => {
                gateway.session("eve").await
            }
            Self::Chat | Self::ChatEvents | Self::PassThrough | Self::SecondPassThrough => {
                String::new()
            }
        };
        let hi = r#"{"message":"hi"}"#;
        let request = match self {
            Self::Events | Self::Later | Self::Second | Self::Updated => TestRequest::run(&session),
            Self::Json | Self::SecondJson | Self::UpdatedJson => {
                TestRequest::run(&session).field("accept", "application/json")
            }
            Self::Chat => TestRequest::new("POST", "//api/chat").json(hi),
            Self::ChatEvents => {
                TestRequest::new("POST", "//api/chat").json(hi).field("accept", "text/event-stream")
            }
            Self::PassThrough | Self::SecondPassThrough => TestRequest::new("POST", "").json(
                r#"{"type":"threads.create","params":{"input":{"content":[],"attachments":[],"inference_options":{}}}}"#,
            ),
            Self::UpdatedPassThrough => TestRequest::new("POST", "").json(SAY_MORE),
        };
        let mut client = gateway.connect().await;
        client.send(request.user("eve").bytes()).await;
        let (mut peer, _) = upstream.request().await;
        let own = match self {
            Self::Second | Self::SecondJson | Self::SecondPassThrough => {
                created(&format!("{thread}_own"))
            }
            Self::Updated | Self::UpdatedJson | Self::UpdatedPassThrough => {
                format!("{}{}", user_done("msg_u"), options())
            }
            Self::Events
            | Self::Json
            | Self::Chat
            | Self::ChatEvents
            | Self::PassThrough
            | Self::Later => String::new(),
        };
        let named = match self {
            Self::Updated | Self::UpdatedJson | Self::UpdatedPassThrough => updated(thread),
            Self::Events
            | Self::Json
            | Self::Chat
            | Self::ChatEvents
            | Self::PassThrough
            | Self::Later
            | Self::Second
            | Self::SecondJson
            | Self::SecondPassThrough => preamble(thread),
        };
        let events = format!("{own}{named}{MESSAGE_DONE}");
        peer.send(stream_answer(&events)).await;
        match self {
            Self::Events
            | Self::Json
            | Self::Later
            | Self::Second
            | Self::SecondJson
            | Self::Updated
            | Self::UpdatedJson => {
                expect_nothing_told(&client.reply().await, 502);
            }
            Self::Chat | Self::ChatEvents => expect_nothing_told(&client.reply().await, 503),
            Self::PassThrough | Self::SecondPassThrough | Self::UpdatedPassThrough => {
                // Its status is out before the upstream has said anything.
                let head = client.head().await;
                let (body, end) = client.body().await;
                assert_eq!(String::from_utf8_lossy(&body), "");
                assert_ne!(end, End::Clean);
                let line = line_of(head.field("x-request-id").unwrap()).await;
                assert_eq!((line.level, line.get("outcome")), (tracing::Level::WARN, "unbound"));
            }
        }
        peer.close();
    }
}

/// Expects that she learns that it failed, and nothing about whose thread it is.
fn expect_nothing_told(reply: &Reply, status: u16) {
    let error = reply.refusal(status, "THREAD_ID_REUSED");
    assert_eq!(error.get("details"), None);
    // Which may have any letters up to f.
    let text = reply.text().replace(error["request_id"].as_str().unwrap(), "");
    assert!(!text.contains("thr_") && !text.contains("ada"), "{text}");
}

#[tokio::test]
async fn a_thread_whose_id_comes_twice_is_nobodys_until_it_is_released() {
    for (n, way) in Way::ALL.into_iter().enumerate() {
        let folder = Folder::new();
        let upstream = Upstream::bind().await;
        let here = gateway(&folder, &upstream).await;
        let there = gateway(&folder, &upstream).await;
        let thread = format!("thr_way_{n}");
        let session = here.bound(&upstream, "ada", &thread).await;
        // Both know whose it is.
        for known in [&here, &there] {
            let mut client = known.say("ada", &session).await;
            let (mut peer, _) = upstream.request().await;
            peer.send(stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("u"), options())))
                .await;
            assert_eq!(client.reply().await.status, 200, "{way:?}");
            peer.close();
        }

        way.go(&here, &upstream, &thread).await;
        for known in [&here, &there] {
            expect_locked(known, &upstream, &session, &thread).await;
            expect_hidden(known, &upstream).await;
        }
        let quarantined = store(&folder).quarantined(None, 9).await.unwrap();
        assert_eq!(quarantined.len(), 1, "{way:?}");
        assert_eq!(quarantined[0].others[0].user_id.as_str(), "eve");
        // One error for whoever runs it, with both users.
        let lines = log_of("thread", &thread).await;
        let [line] = &*lines else { panic!("{lines:?}") };
        assert_eq!(line.level, tracing::Level::ERROR);
        assert_eq!((line.get("user"), line.get("other_user")), ("ada", "eve"));
        assert_eq!((line.get("session"), line.get("threads_in_quarantine")), (&*session, "1"));
        assert_eq!(line.get("other_session"), quarantined[0].others[0].session_id.to_string());

        assert_eq!(store(&folder).release(&thread).await.unwrap(), Released::ToOwner);
        for known in [&here, &there] {
            let mut client = known.say("ada", &session).await;
            let (mut peer, received) = upstream.request().await;
            assert_eq!(received.json()["params"]["thread_id"], thread.as_str());
            peer.send(stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("u"), options())))
                .await;
            assert_eq!(client.reply().await.status, 200, "{way:?}");
            peer.close();
            known.get("eve", &format!("/sessions/{session}")).await.refusal(403, "FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn who_leaves_while_it_is_found_hides_nothing() {
    let folder = Folder::new();
    let upstream = Upstream::bind().await;
    let gateway = gateway(&folder, &upstream).await;
    gateway.bound(&upstream, "ada", "thr_left").await;
    let session = gateway.session("eve").await;
    let client = gateway.say("eve", &session).await;
    let (mut peer, _) = upstream.request().await;
    // The file is locked, so that the gateway can't have stored anything when the client leaves.
    let path = folder.store();
    let lock = rusqlite::Connection::open(path.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created("thr_left")).await;
    gateway.settle().await;
    drop(client);
    peer.expect_closed().await;
    lock.execute_batch("COMMIT").unwrap();
    let lines = log_of("thread", "thr_left").await;
    assert_eq!(lines[0].get("other_user"), "eve");
    assert_eq!(store(&folder).quarantined(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_deletes_a_thread_that_is_locked_meanwhile_is_told() {
    let folder = Folder::new();
    let upstream = Upstream::bind().await;
    let gateway = gateway(&folder, &upstream).await;
    for (thread, of_service) in [("thr_rest", false), ("thr_pass", false), ("thr_service", true)] {
        let session = gateway.bound(&upstream, "ada", thread).await;
        let request = match thread {
            "thr_rest" => TestRequest::new("DELETE", &format!("/sessions/{session}")),
            "thr_pass" => TestRequest::new("POST", "").json(
                &json!({"type": "threads.delete", "params": {"thread_id": thread}}).to_string(),
            ),
            _ => service("DELETE", &format!("/threads/{thread}")),
        };
        let request = if of_service { request } else { request.user("ada") };
        let mut client = gateway.connect().await;
        client.send(request.bytes()).await;
        let (mut peer, mut received) = upstream.request().await;
        if of_service {
            // What is in it is looked at first.
            assert_eq!(received.json()["type"], "items.list");
            peer.send(json_answer(r#"{"data":[],"has_more":false}"#)).await;
            peer.close();
            (peer, received) = upstream.request().await;
        }
        assert_eq!(received.json()["type"], "threads.delete");
        let (id, eve) = (SessionId::random(), UserId::parse("eve").unwrap());
        let named = store(&folder).thread_named(id, &eve, thread.into(), Timestamp::now()).await;
        assert!(named.unwrap().is_some());
        peer.send(json_answer("{}")).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 409, "{thread}: {}", reply.text());
        peer.close();
        let read = gateway.get("ada", &format!("/sessions/{session}")).await;
        read.refusal(409, "THREAD_QUARANTINED");
    }
}

/// Leaves a one-shot chat, or a first run of `session`, that is told its thread's id while its bind
/// has to wait behind another write, and whose client leaves then.
async fn leave_while_it_is_bound(
    gateway: &Gateway,
    upstream: &Upstream,
    folder: &Folder,
    request: TestRequest,
    thread: &str,
) {
    let mut client = gateway.connect().await;
    client.send(request.bytes()).await;
    let (mut peer, _) = upstream.request().await;
    let path = folder.store();
    let lock = rusqlite::Connection::open(path.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writes = gateway.connect().await;
    writes.send(TestRequest::new("POST", "/sessions").user("zoe").json("{}").bytes()).await;
    gateway.settle().await;
    peer.send(STREAM_HEAD).await;
    peer.send_chunk(created(thread)).await;
    gateway.settle().await;
    drop(client);
    peer.expect_closed().await;
    gateway.settle().await;
    lock.execute_batch("COMMIT").unwrap();
    assert_eq!(writes.reply().await.status, 200);
    // Behind the bind, which is done then.
    gateway.session("zoe").await;
}

#[tokio::test]
async fn who_leaves_while_a_thread_waits_to_be_bound_changes_nothing_of_it() {
    let folder = Folder::new();
    let upstream = Upstream::bind().await;
    let gateway = gateway(&folder, &upstream).await;
    let chat = |user: &str| {
        let request = TestRequest::new("POST", "//api/chat").json(r#"{"message":"hi"}"#);
        request.field("accept", "text/event-stream").user(user)
    };

    // Another user's thread.
    gateway.bound(&upstream, "ada", "thr_hers").await;
    leave_while_it_is_bound(&gateway, &upstream, &folder, chat("eve"), "thr_hers").await;
    assert_eq!(log_of("thread", "thr_hers").await[0].get("other_user"), "eve");
    let quarantined = store(&folder).quarantined(None, 9).await.unwrap();
    assert_eq!(quarantined[0].others[0].user_id.as_str(), "eve");

    // A thread of the same user's.
    gateway.bound(&upstream, "sam", "thr_own").await;
    leave_while_it_is_bound(&gateway, &upstream, &folder, chat("sam"), "thr_own").await;
    log_of("thread", "thr_own").await;
    assert_eq!(store(&folder).quarantined(None, 9).await.unwrap().len(), 1);

    // A new one.
    let session = gateway.session("leo").await;
    let run = TestRequest::run(&session).user("leo");
    for (request, thread) in [(run, "thr_new"), (chat("lea"), "thr_chat")] {
        leave_while_it_is_bound(&gateway, &upstream, &folder, request, thread).await;
        let bound = store(&folder).get(SessionKey::Thread(thread)).await;
        assert!(bound.unwrap().is_some(), "{thread}");
    }
}

#[tokio::test]
async fn what_is_in_anothers_thread_is_none_of_the_sessions() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    gateway.bound(&upstream, "ada", "thr_counted").await;
    let session = gateway.session("eve").await;
    let before = gateway.get("eve", &format!("/sessions/{session}")).await;
    let mut client = gateway.say("eve", &session).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_counted")))).await;
    client.reply().await.refusal(502, "THREAD_ID_REUSED");
    peer.close();
    let after = gateway.get("eve", &format!("/sessions/{session}")).await;
    assert_eq!(after.data(), before.data());
}

#[tokio::test]
async fn two_threads_of_one_user_with_one_id_lock_nothing() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let first = gateway.bound(&upstream, "ada", "thr_1").await;
    let second = gateway.session("ada").await;
    let mut client = gateway.say("ada", &second).await;
    let (mut peer, _) = upstream.request().await;
    peer.send(stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_1")))).await;
    client.reply().await.refusal(502, "THREAD_ID_REUSED");
    peer.close();
    let _client = gateway.say("ada", &first).await;
    let (_peer, received) = upstream.request().await;
    assert_eq!(received.json()["params"]["thread_id"], Value::from("thr_1"));
}

#[tokio::test]
async fn an_answer_is_cut_before_it_names_anothers_thread() {
    for passes in [false, true] {
        let upstream = Upstream::bind().await;
        let gateway = Gateway::start(&upstream).await;
        let thread = format!("thr_late_{passes}");
        let owner = gateway.bound(&upstream, "ada", &thread).await;
        let session = gateway.bound(&upstream, "eve", "thr_eve").await;
        let before = gateway.get("eve", "/sessions").await;
        let request = if passes {
            TestRequest::new("POST", "").json(SAY_MORE)
        } else {
            TestRequest::run(&session)
        };
        let mut client = gateway.connect().await;
        client.send(request.user("eve").bytes()).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(STREAM_HEAD).await;
        let told = format!("{}{}{MESSAGE_DELTA}", user_done("msg_u"), options());
        peer.send_chunk(&told).await;
        let head = client.head().await;
        assert_eq!(head.status, 200);
        assert_eq!(client.chunk().await.unwrap(), told.as_bytes());
        peer.send_chunk(updated(&thread)).await;
        let (body, end) = client.body().await;
        assert_eq!((String::from_utf8_lossy(&body), end != End::Clean), ("".into(), true));
        let line = line_of(head.field("x-request-id").unwrap()).await;
        assert_eq!((line.level, line.get("outcome")), (tracing::Level::WARN, "unbound"));
        let lines = log_of("thread", &thread).await;
        assert_eq!((lines.len(), lines[0].level), (1, tracing::Level::ERROR));
        let locked = gateway.get("ada", &format!("/sessions/{owner}")).await;
        locked.refusal(409, "THREAD_QUARANTINED");
        assert_eq!(gateway.get("eve", "/sessions").await.data(), before.data());
    }
}

#[tokio::test]
async fn a_title_is_of_the_runs_own_thread() {
    let upstream = Upstream::bind().await;
    let gateway = Gateway::start(&upstream).await;
    let session = gateway.session("ada").await;
    let title = async || {
        let listed = gateway.get("ada", "/sessions").await.data();
        let mut listed = listed.as_array().unwrap().iter();
        listed.find(|listed| listed["id"] == *session).unwrap()["title"].clone()
    };
    // Nobody's, and another one of hers: they pass, and change nothing.
    gateway.bound(&upstream, "ada", "thr_hers").await;
    for (events, expected) in [
        (format!("{}{}{}", updated("thr_0"), preamble("thr_1"), updated("thr_2")), Value::Null),
        (format!("{}{}", options(), updated("thr_hers")), Value::Null),
        (format!("{}{}{}", updated("thr_1"), options(), updated("thr_2")), "of thr_1".into()),
        (
            format!(
                "{}{}",
                options(),
                created("thr_3").replace("\"id\"", "\"title\":\"t\",\"id\"")
            ),
            "of thr_1".into(),
        ),
    ] {
        let events = format!("{events}{MESSAGE_DONE}");
        let mut client = gateway.say("ada", &session).await;
        let (mut peer, _) = upstream.request().await;
        peer.send(stream_answer(&events)).await;
        assert_eq!(client.reply().await.text(), events);
        peer.close();
        assert_eq!(title().await, expected, "{events}");
    }
}
