//! Cursors are for who was given them: one of another user's, of another list or of nobody's making
//! is told, to the byte, as one that means nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use chatkit_rest::config::ApiKey;
use serde_json::{Value, json};

use crate::support::{
    Folder, Gateway, MESSAGE_DONE, Reply, TestRequest, Upstream, json_answer, preamble,
    stream_answer,
};

const KEY: &str = "sk-planted-key";

/// An upstream whose list has every thread so far, `thr_0`, `thr_1`, …
fn answer(upstream: Upstream) -> crate::support::Answering {
    let made = AtomicU32::new(0);
    upstream.answer(move |received| match received.kind().as_str() {
        "threads.create" => {
            let n = made.fetch_add(1, Ordering::Relaxed);
            stream_answer(&format!("{}{MESSAGE_DONE}", preamble(&format!("thr_{n}"))))
        }
        "threads.list" => {
            let rows: Vec<Value> = (0..made.load(Ordering::Relaxed))
                .map(|n| json!({"id": format!("thr_{n}"), "created_at": "2026-11-21T03:00:00"}))
                .collect();
            json_answer(&json!({"data": rows, "has_more": false}).to_string())
        }
        _ => json_answer("{}"),
    })
}

type List = fn(Option<&str>) -> TestRequest;

fn threads(after: Option<&str>) -> TestRequest {
    let mut params = json!({"limit": 1});
    if let Some(after) = after {
        params["after"] = after.into();
    }
    let body = json!({"type": "threads.list", "params": params}).to_string();
    TestRequest::new("POST", "").json(&body)
}

fn conversations(after: Option<&str>) -> TestRequest {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    TestRequest::new("GET", &format!("//api/conversations?limit=1{after}"))
}

fn sessions(after: Option<&str>) -> TestRequest {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    TestRequest::new("GET", &format!("/sessions?limit=1{after}"))
}

async fn ask(gateway: &Gateway, request: TestRequest) -> Reply {
    gateway.send(request.user("ada").field("x-request-id", "r-1")).await
}

/// The head without what is about its time, and the body.
fn bytes(reply: &Reply) -> (u16, String) {
    (reply.status, reply.text().to_owned())
}

/// One cursor of each list.
struct Given {
    conversation: String,
    session: String,
    thread: String,
}

impl Given {
    async fn to(user: &str, gateway: &Gateway) -> Self {
        let list = async |request: TestRequest, cursor: &str| {
            let listed = gateway.send(request.user(user)).await.json();
            listed.pointer(cursor).unwrap().as_str().unwrap().to_owned()
        };
        Self {
            conversation: list(conversations(None), "/next").await,
            session: list(sessions(None), "/meta/after").await,
            thread: list(threads(None), "/after").await,
        }
    }
}

#[tokio::test]
async fn whatever_was_not_given_is_refused_alike() {
    let upstream = Upstream::bind().await;
    let address = upstream.address();
    let _upstream = answer(upstream);
    let folder = Folder::new();
    let store = folder.store();
    let gateway = Gateway::at(address, &[("store.url", store.as_str())]).await;
    for user in ["ada", "ada", "ada", "eve", "eve"] {
        let session = gateway.session(user).await;
        assert_eq!(gateway.say(user, &session).await.reply().await.status, 200);
    }
    let Given { conversation, session, thread } = Given::to("ada", &gateway).await;
    let eves = Given::to("eve", &gateway).await;
    // What was given leads on, over another gateway on the store too.
    let replica = Gateway::at(address, &[("store.url", store.as_str())]).await;
    for gateway in [&gateway, &replica] {
        let page = ask(gateway, threads(Some(&thread))).await;
        assert_eq!(page.json()["data"].as_array().unwrap().len(), 1, "{}", page.text());
        let page = ask(gateway, conversations(Some(&conversation))).await;
        assert_eq!(page.json()["conversations"].as_array().unwrap().len(), 1, "{}", page.text());
        let page = ask(gateway, sessions(Some(&session))).await;
        assert_eq!(page.json()["meta"]["total"], 1, "{}", page.text());
        for cursor in [&conversation, &session, &thread] {
            assert!(!cursor.contains("thr_"), "{cursor}");
        }
    }

    let unsealed = thread.split('~').next().unwrap();
    let made_up = "own.store.1764000000000000.9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c";
    let unknown = bytes(&ask(&gateway, threads(Some("thr_none"))).await);
    assert_eq!(unknown.0, 400);
    for cursor in [
        "thr_3", // Eve's.
        &eves.thread,
        &conversation,
        &eves.conversation,
        &session,
        &eves.session,
        unsealed,
        made_up,
        &format!("{made_up}~{}", thread.split('~').nth(1).unwrap()),
        &thread[..thread.len() - 1],
        &format!("{thread}x"),
        "own.store.",
        "own.1.thr_0",
        "~",
        " ",
        &"x".repeat(2000),
    ] {
        for gateway in [&gateway, &replica] {
            let refused = bytes(&ask(gateway, threads(Some(cursor))).await);
            assert_eq!(refused, unknown, "{cursor}");
        }
    }

    // The same place in the order of both, and each has its own seal.
    let lists = [
        (conversations as List, &conversation, &session, &eves.conversation, 422),
        (sessions as List, &session, &conversation, &eves.session, 400),
    ];
    for (list, cursor, another_lists, another_users, status) in lists {
        let unknown = bytes(&ask(&gateway, list(Some("none"))).await);
        assert_eq!(unknown.0, status);
        let unsealed = cursor.split('~').next().unwrap();
        assert_eq!(another_lists.split('~').next(), Some(unsealed));
        for cursor in [
            another_lists,
            another_users,
            &thread,
            &eves.thread,
            unsealed,
            "1764000000000000.1764000000000000.9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c",
            &cursor[..cursor.len() - 1],
            &format!("{cursor}x"),
            "thr_3",
            "~",
        ] {
            for gateway in [&gateway, &replica] {
                let refused = bytes(&ask(gateway, list(Some(cursor))).await);
                assert_eq!(refused, unknown, "{cursor}");
            }
        }
    }
}

#[tokio::test]
async fn who_deletes_what_a_page_showed_goes_on_behind_it() {
    let upstream = Upstream::bind().await;
    let address = upstream.address();
    let _upstream = answer(upstream);
    let gateway = Gateway::at(address, &[]).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let session = gateway.session("ada").await;
        assert_eq!(gateway.say("ada", &session).await.reply().await.status, 200);
        made.push(session);
    }
    let Given { conversation, session, thread } = Given::to("ada", &gateway).await;
    let newest = made.pop().unwrap();
    let deleted = TestRequest::new("DELETE", &format!("/sessions/{newest}"));
    assert_eq!(ask(&gateway, deleted).await.status, 200);
    let page = ask(&gateway, threads(Some(&thread))).await.json();
    assert_eq!(page["data"][0]["id"], "thr_1");
    let page = ask(&gateway, conversations(Some(&conversation))).await.json();
    assert_eq!(page["conversations"][0]["conversation_id"], made[1].as_str());
    let page = ask(&gateway, sessions(Some(&session))).await.json();
    assert_eq!(page["data"][0]["id"], made[1].as_str());
}

#[tokio::test]
async fn a_services_cursor_that_names_no_thread_is_refused_alike() {
    let upstream = Upstream::bind().await;
    let address = upstream.address();
    let _upstream = answer(upstream);
    let keys = format!("support={}", ApiKey::of("support", KEY).unwrap().digest());
    let gateway = Gateway::at(address, &[("openai.api_keys", &keys)]).await;
    let session = gateway.session("ada").await;
    assert_eq!(gateway.say("ada", &session).await.reply().await.status, 200);
    let (unbound, list) = (gateway.session("eve").await, "/threads?user=ada");
    let ask = async |after: &str| {
        let path = format!("//v1/chatkit{list}&after={after}");
        let request = TestRequest::new("GET", &path).field("x-request-id", "r-1");
        let request = request.field("authorization", &format!("Bearer {KEY}"));
        bytes(&gateway.send(request).await)
    };
    assert_eq!(ask("thr_0").await.0, 200);
    let unknown = ask("thr_none").await;
    assert_eq!(unknown.0, 400);
    for cursor in [&*unbound, "9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c", "own.store.1.2", "~", "%00"] {
        assert_eq!(ask(cursor).await, unknown, "{cursor}");
    }
}
