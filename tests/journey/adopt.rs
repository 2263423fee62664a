//! Threads that a ChatKit server had before the gateway came, and what holds for them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    Adopted, AdoptedThread, Adoption, ConversationId, Directory, KnownBy, SqliteOptions,
    SqliteStore, ThreadId,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    Answering, Folder, Gateway, MESSAGE_DONE, Reply, TestRequest, Upstream, json_answer, options,
    preamble, stream_answer, user_done,
};

fn thread(user: &str, thread_id: &str, known_by: Option<KnownBy>) -> Adoption {
    let user_id = UserId::parse(user).unwrap();
    let mut thread = AdoptedThread::new(ThreadId::from(thread_id), user_id, Timestamp::UNIX_EPOCH);
    thread.known_by = known_by;
    Adoption::Thread(thread)
}

fn file(url: &str) -> &Path {
    Path::new(url.strip_prefix("sqlite:").unwrap())
}

async fn adopt(file: &Path, entry: Adoption) {
    let store = SqliteStore::open(file).unwrap();
    assert_eq!(store.adopt(vec![entry]).await.unwrap(), [Adopted::Done]);
}

/// Makes an upstream whose threads had some messages each, of which pages have three items, and
/// which says one in answer to each message. `asked` counts its pages of items.
fn with_messages(upstream: Upstream, messages: usize, asked: Arc<AtomicU32>) -> Answering {
    upstream.answer(move |received| {
        let request = received.json();
        match received.kind().as_str() {
            "items.list" => {
                asked.fetch_add(1, Ordering::SeqCst);
                let from = request["params"]["after"].as_str().map_or(0, |at| at.parse().unwrap());
                json_answer(&page(messages, from).to_string())
            }
            "threads.create" => stream_answer(&format!("{}{MESSAGE_DONE}", preamble("thr_new"))),
            "threads.add_user_message" => {
                stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options()))
            }
            "threads.retry_after_item" => stream_answer(&format!("{}{MESSAGE_DONE}", options())),
            "threads.get_by_id" => json_answer("{\"id\":\"thr_1\"}"),
            other => panic!("{other}"),
        }
    })
}

/// Makes a page. Hidden items and widgets are among the messages, and are none.
fn page(messages: usize, from: usize) -> Value {
    let kinds = ["user_message", "assistant_message", "hidden_context_item", "widget"];
    let all: Vec<_> = kinds
        .iter()
        .cycle()
        .take(4 * messages + 4)
        .scan(0, |seen, kind| {
            *seen += usize::from(kind.ends_with("message"));
            (*seen <= messages).then_some(kind)
        })
        .collect();
    let data: Vec<_> = (from..all.len().min(from + 3))
        .map(|at| json!({"id": format!("i{at}"), "type": all[at], "content": []}))
        .collect();
    let next = from + data.len();
    let has_more = next < all.len();
    json!({"data": data, "has_more": has_more, "after": has_more.then(|| next.to_string())})
}

async fn session(gateway: &Gateway) -> Value {
    let reply = gateway.get("ada", "/sessions").await.json();
    reply["data"].as_array().unwrap().last().unwrap().clone()
}

async fn say(gateway: &Gateway, id: &str) -> Reply {
    gateway.send(TestRequest::run(id).user("ada").field("accept", "application/json")).await
}

async fn pass(gateway: &Gateway, request: &Value) -> Reply {
    gateway.send(TestRequest::new("POST", "").user("ada").json(&request.to_string())).await
}

fn user_message() -> Value {
    json!({"type": "threads.add_user_message", "params": {"thread_id": "thr_1", "input": {
        "content": [{"type": "input_text", "text": "hi"}], "attachments": [],
        "inference_options": {}}}})
}

#[tokio::test]
async fn an_adopted_thread_is_counted_once_and_then_limited() {
    let folder = Folder::new();
    let url = folder.store();
    let file = file(&url);
    adopt(file, thread("ada", "thr_1", None)).await;
    let (upstream, asked) = (Upstream::bind().await, Arc::<AtomicU32>::default());
    let settings = [("store.url", &*url), ("limits.max_messages", "12")];
    let gateway = Gateway::with(&upstream, &settings).await;
    let _upstream = with_messages(upstream, 9, Arc::clone(&asked));
    let before = session(&gateway).await;
    assert_eq!((&before["message_count"], &before["title"]), (&Value::Null, &Value::Null));
    assert_eq!(before["created_at"], "1970-01-01T00:00:00Z");
    let id = before["id"].as_str().unwrap();
    for (count, status) in [(11, 200), (13, 200), (13, 429)] {
        let reply = say(&gateway, id).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(session(&gateway).await["message_count"], count);
    }
    let reply = pass(&gateway, &user_message()).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (429, &json!("MESSAGE_LIMIT")));
    // Nine messages are seventeen items.
    assert_eq!(asked.load(Ordering::SeqCst), 6, "once, and by pages");
}

#[tokio::test]
async fn no_surface_lets_anybody_past_messages_that_were_not_seen() {
    let conversation = Some(KnownBy::Conversation(ConversationId::Conv(7)));
    let chat = json!({"message": "hi", "conversation_id": "conv_00000007"});
    for surface in ["run", "chat", "passthrough"] {
        let folder = Folder::new();
        let url = folder.store();
        let file = file(&url);
        adopt(file, thread("ada", "thr_1", conversation)).await;
        let (upstream, asked) = (Upstream::bind().await, Arc::<AtomicU32>::default());
        let settings = [
            ("store.url", &*url),
            ("limits.max_messages", "8"),
            ("chat.max_messages", "8"),
            ("chat.id_format", "conv"),
        ];
        let gateway = Gateway::with(&upstream, &settings).await;
        let _upstream = with_messages(upstream, 1000, Arc::clone(&asked));
        let id = session(&gateway).await["id"].as_str().unwrap().to_owned();
        let reply = match surface {
            "run" => say(&gateway, &id).await,
            "chat" => {
                let request = TestRequest::new("POST", "//api/chat").user("ada");
                gateway.send(request.json(&chat.to_string())).await
            }
            _ => pass(&gateway, &user_message()).await,
        };
        assert_eq!(reply.status, 429, "{surface}: {}", reply.text());
        assert_eq!(reply.json()["error"]["details"]["max_messages"], 8, "{surface}");
        assert_eq!(asked.load(Ordering::SeqCst), 5, "{surface}: eight messages are on five pages");
        // There may be more of them: the rest was not read.
        assert_eq!(session(&gateway).await["message_count"], Value::Null, "{surface}");
    }
}

#[tokio::test]
async fn runs_at_once_on_an_adopted_thread_stop_at_the_limit() {
    let folder = Folder::new();
    let url = folder.store();
    let file = file(&url);
    adopt(file, thread("ada", "thr_1", None)).await;
    let (upstream, asked) = (Upstream::bind().await, Arc::<AtomicU32>::default());
    let settings = [("store.url", &*url), ("limits.max_messages", "10")];
    let gateway = Arc::new(Gateway::with(&upstream, &settings).await);
    let _upstream = with_messages(upstream, 9, asked);
    let id = session(&gateway).await["id"].as_str().unwrap().to_owned();
    let mut runs = JoinSet::new();
    for _ in 0..12 {
        let (gateway, id) = (Arc::clone(&gateway), id.clone());
        runs.spawn(async move { say(&gateway, &id).await.status });
    }
    let mut statuses = runs.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[11]), (200, 429, 429));
    assert_eq!(session(&gateway).await["message_count"], 11);
}

#[tokio::test]
async fn a_thread_that_cannot_be_counted_goes_on_only_without_a_limit() {
    for (limit, status) in [("5", 502), ("0", 200)] {
        let folder = Folder::new();
        let url = folder.store();
        let file = file(&url);
        adopt(file, thread("ada", "thr_1", None)).await;
        let upstream = Upstream::bind().await;
        let settings = [("store.url", &*url), ("limits.max_messages", limit)];
        let gateway = Gateway::with(&upstream, &settings).await;
        let asked = Arc::<AtomicU32>::default();
        let counting = Arc::clone(&asked);
        let _upstream = upstream.answer(move |received| match received.kind().as_str() {
            "items.list" => {
                counting.fetch_add(1, Ordering::SeqCst);
                json_answer("{\"data\":[],\"has_more\":true}")
            }
            "threads.add_user_message" => {
                stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options()))
            }
            other => panic!("{other}"),
        });
        let id = session(&gateway).await["id"].as_str().unwrap().to_owned();
        for _ in 0..3 {
            assert_eq!(say(&gateway, &id).await.status, status);
        }
        assert_eq!(session(&gateway).await["message_count"], Value::Null);
        // Where it doesn't matter, it is tried once.
        let times = if status == 200 { 1 } else { 3 };
        assert_eq!(asked.load(Ordering::SeqCst), times);
    }
}

#[tokio::test]
async fn a_gateway_goes_on_while_many_are_adopted_and_shows_them_at_once() {
    let folder = Folder::new();
    let url = folder.store();
    let file = file(&url).to_owned();
    let (upstream, asked) = (Upstream::bind().await, Arc::<AtomicU32>::default());
    let gateway = Gateway::with(&upstream, &[("store.url", &*url)]).await;
    let _upstream = with_messages(upstream, 2, asked);
    let adopting = tokio::spawn(async move {
        let store = SqliteOptions::new().bulk(true).open(&file).unwrap();
        for batch in 0..20 {
            let entries =
                (0..1000).map(|n| thread("bob", &format!("thr_{batch}_{n}"), None)).collect();
            assert_eq!(store.adopt(entries).await.unwrap(), [Adopted::Done; 1000]);
        }
        store.adopt(vec![thread("ada", "thr_1", None)]).await.unwrap()
    });
    // As many as she may have, each with a first message, in the midst of it.
    for _ in 0..10 {
        let reply = gateway.send(TestRequest::new("POST", "/sessions").user("ada")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.json()["data"]["id"].as_str().unwrap().to_owned();
        if session(&gateway).await["id"] == json!(id) {
            assert_eq!(say(&gateway, &id).await.status, 200);
        }
    }
    assert_eq!(adopting.await.unwrap(), [Adopted::Done]);
    let adopted = session(&gateway).await;
    assert_eq!(adopted["created_at"], "1970-01-01T00:00:00Z");
    assert_eq!(say(&gateway, adopted["id"].as_str().unwrap()).await.status, 200);
}
