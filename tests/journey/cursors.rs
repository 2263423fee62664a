//! Cursors are for who was given them: one of another user's, of another list or of nobody's making
//! is told, to the byte, as one that means nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use chatkit_rest::config::ApiKey;
use serde_json::{Value, json};

use crate::support::{
    Folder, Gateway, MESSAGE_DONE, Reply, TestRequest, Upstream, json_answer, preamble,
    stream_answer,
};

const KEY: &str = "sk-planted-key";

/// Gives an upstream whose list has every thread so far, `thr_0`, `thr_1`, …
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

/// Gives the head without what is about its time, and the body.
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

/// The items of each thread are `thr_0_0`, `thr_0_1`, … of `thr_0`, and so on. As in the SDK's sample
/// stores, what a page is to come after is looked up among all threads' by its id alone, and what
/// comes after the time of that.
#[derive(Clone, Default)]
struct Items {
    threads: Arc<AtomicU32>,
    /// Threads, and the cursors by which they were asked.
    asked: Arc<Mutex<Vec<(String, String)>>>,
    pages: Arc<AtomicU32>,
}

impl Items {
    const OF_EACH: u32 = 5;

    /// Gives an id's place in time. All of a thread's items begin before the next one's.
    fn time(id: &str) -> Option<u32> {
        let (thread, item) = id.strip_prefix("thr_")?.split_once('_')?;
        Some(thread.parse::<u32>().ok()? * Self::OF_EACH + item.parse::<u32>().ok()?)
    }

    /// Tells how many pages were asked for.
    fn pages(&self) -> u32 {
        self.pages.load(Ordering::SeqCst)
    }

    fn page(&self, params: &Value) -> Value {
        self.pages.fetch_add(1, Ordering::SeqCst);
        let thread = params["thread_id"].as_str().unwrap();
        let after = params["after"].as_str().filter(|after| !after.is_empty());
        if let Some(after) = after {
            self.asked.lock().unwrap().push((thread.to_owned(), after.to_owned()));
        }
        let ids = (0..Self::OF_EACH).map(|n| format!("{thread}_{n}"));
        let descends = params["order"].as_str().unwrap_or("desc") == "desc";
        let mut ids: Vec<String> = if descends { ids.rev().collect() } else { ids.collect() };
        if let Some(time) = after.and_then(Self::time) {
            ids.retain(|id| {
                let own = Self::time(id).unwrap();
                if descends { own < time } else { own > time }
            });
        }
        let limit = usize::try_from(params["limit"].as_u64().unwrap_or(20)).unwrap();
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let rows: Vec<Value> = ids.iter().map(|id| Self::row(id)).collect();
        let after = ids.last().filter(|_| has_more);
        json!({"data": rows, "has_more": has_more, "after": after})
    }

    fn row(id: &str) -> Value {
        let content = json!([{"type": "input_text", "text": "1.50"}]);
        json!({"id": id, "created_at": "2026-11-21T03:00:00", "type": "user_message",
            "content": content, "attachments": [], "inference_options": {}})
    }

    fn answer(&self, upstream: Upstream) -> crate::support::Answering {
        let items = self.clone();
        upstream.answer(move |received| match received.kind().as_str() {
            "threads.create" => {
                let n = items.threads.fetch_add(1, Ordering::Relaxed);
                stream_answer(&format!("{}{MESSAGE_DONE}", preamble(&format!("thr_{n}"))))
            }
            "threads.list" => {
                let row = |n| json!({"id": format!("thr_{n}"), "items": Self::first(n)});
                let rows: Vec<_> = (0..items.threads.load(Ordering::Relaxed)).map(row).collect();
                json_answer(&json!({"data": rows, "has_more": false}).to_string())
            }
            "items.list" => json_answer(&items.page(&received.json()["params"]).to_string()),
            "threads.get_by_id" | "threads.update" => {
                let id = received.json()["params"]["thread_id"].as_str().unwrap().to_owned();
                let n: u32 = id.strip_prefix("thr_").unwrap().parse().unwrap();
                json_answer(&json!({"id": id, "items": Self::first(n)}).to_string())
            }
            _ => json_answer("{}"),
        })
    }

    /// Gives a thread's oldest items.
    fn first(n: u32) -> Value {
        let id = format!("thr_{n}_0");
        json!({"data": [Self::row(&id)], "has_more": true, "after": id})
    }

    /// Gives what the upstream was asked by since this was asked last.
    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A surface that shows a thread's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surface {
    Rest,
    History,
    ChatKit,
    OpenAi,
}

impl Surface {
    const ALL: [Self; 4] = [Self::Rest, Self::History, Self::ChatKit, Self::OpenAi];

    fn ask(self, session: &str, thread: &str, after: Option<&str>) -> TestRequest {
        let query = |mark| after.map(|after| format!("{mark}after={after}")).unwrap_or_default();
        match self {
            Self::Rest => {
                let path =
                    format!("/sessions/{session}/threads/{thread}/items?limit=2{}", query('&'));
                TestRequest::new("GET", &path)
            }
            Self::History => {
                TestRequest::new("GET", &format!("//api/conversations/{session}{}", query('?')))
            }
            Self::ChatKit => {
                let mut params = json!({"thread_id": thread, "limit": 2});
                if let Some(after) = after {
                    params["after"] = after.into();
                }
                let body = json!({"type": "items.list", "params": params}).to_string();
                TestRequest::new("POST", "").json(&body)
            }
            Self::OpenAi => {
                let path = format!("//v1/chatkit/threads/{thread}/items?limit=2{}", query('&'));
                TestRequest::new("GET", &path).field("authorization", &format!("Bearer {KEY}"))
            }
        }
    }

    async fn page(self, gateway: &Gateway, own: &Own, after: Option<&str>) -> Reply {
        let request = self.ask(&own.session, &own.thread, after);
        let request = if self == Self::OpenAi { request } else { request.user(own.user) };
        gateway.send(request.field("x-request-id", "r-1")).await
    }

    /// Gives the ids that a page shows, and the cursor of the next.
    fn read(self, page: &Reply) -> (Vec<String>, Option<String>) {
        let json = page.json();
        let (rows, after) = match self {
            Self::Rest => (&json["data"], &json["meta"]["after"]),
            Self::History => (&json["messages"], &json["next"]),
            Self::ChatKit => (&json["data"], &json["after"]),
            Self::OpenAi => (&json["data"], &json["last_id"]),
        };
        let ids = rows.as_array().unwrap_or_else(|| panic!("{self:?} {}", page.text())).iter();
        let after = if json["has_more"] == json!(false) { None } else { after.as_str() };
        (ids.map(|row| row["id"].as_str().unwrap().to_owned()).collect(), after.map(str::to_owned))
    }
}

/// A session with its thread.
struct Own {
    user: &'static str,
    session: String,
    thread: String,
}

#[tokio::test]
async fn a_threads_cursor_leads_on_in_that_thread_and_nothing_else_does() {
    let (items, upstream) = (Items::default(), Upstream::bind().await);
    let address = upstream.address();
    let _upstream = items.answer(upstream);
    let (folder, keys) =
        (Folder::new(), format!("support={}", ApiKey::of("support", KEY).unwrap().digest()));
    let store = folder.store();
    let settings = [("store.url", &*store), ("openai.api_keys", &keys)];
    let gateway = Gateway::at(address, &settings).await;
    let replica = Gateway::at(address, &settings).await;
    let mut made = Vec::new();
    // Eve's items are of the time between Ada's.
    for (n, user) in ["ada", "eve", "ada"].into_iter().enumerate() {
        let session = gateway.session(user).await;
        assert_eq!(gateway.say(user, &session).await.reply().await.status, 200);
        made.push(Own { user, session, thread: format!("thr_{n}") });
    }
    let [other, eves, own] = &made[..] else { panic!() };

    let mut given = Vec::new();
    for surface in Surface::ALL {
        if surface == Surface::History {
            // Its pages are of fifty: this thread's are all on the first.
            continue;
        }
        let (ids, after) = surface.read(&surface.page(&gateway, own, None).await);
        assert_eq!(ids, ["thr_2_4", "thr_2_3"], "{surface:?}");
        let cursor = after.unwrap();
        items.asked();
        let (ids, next) = surface.read(&surface.page(&replica, own, Some(&cursor)).await);
        assert_eq!(ids, ["thr_2_2", "thr_2_1"], "{surface:?}");
        let (ids, last) = surface.read(&surface.page(&gateway, own, next.as_deref()).await);
        assert_eq!((ids, last), (vec!["thr_2_0".to_owned()], None), "{surface:?}");
        let sent = ["thr_2_3", "thr_2_1"].map(|after| ("thr_2".to_owned(), after.to_owned()));
        assert_eq!(items.asked(), sent, "{surface:?}");
        for whose in [eves, other] {
            let theirs = surface.read(&surface.page(&gateway, whose, None).await).1.unwrap();
            given.push((surface, whose.thread.as_str(), theirs));
        }
        given.push((surface, "thr_2", cursor));
    }

    for surface in Surface::ALL {
        let unknown = bytes(&surface.page(&gateway, own, Some("msg_none")).await);
        assert_eq!(unknown.0, if surface == Surface::History { 422 } else { 400 });
        let others =
            given.iter().filter(|(from, thread, _)| (*from, *thread) != (surface, "thr_2"));
        let others = others.map(|(.., cursor)| cursor.clone());
        let own_cursor =
            given.iter().find(|(from, thread, _)| (*from, *thread) == (surface, "thr_2"));
        let cut = own_cursor.into_iter().flat_map(|(.., cursor)| {
            let moved = cursor.replace("thr_2_", "thr_1_");
            [cursor[..cursor.len() - 1].to_owned(), format!("{cursor}x"), moved]
        });
        let made_up = ["thr_1_2", "thr_0_4", "thr_9_9", "own.1.thr_1_2", "~", "x~", "thr_1"];
        let made_up = made_up.into_iter().map(str::to_owned).chain(["x".repeat(2000)]);
        // Of one's own thread an item may be named where that API's clients do.
        let ids = ["thr_2_3"].into_iter().filter(|_| surface != Surface::OpenAi);
        items.asked();
        for cursor in others.chain(cut).chain(made_up).chain(ids.map(str::to_owned)) {
            for gateway in [&gateway, &replica] {
                let refused = bytes(&surface.page(gateway, own, Some(&cursor)).await);
                assert_eq!(refused, unknown, "{surface:?} {cursor}");
            }
        }
        assert_eq!(items.asked(), [], "{surface:?}");
    }
}

#[tokio::test]
async fn a_thread_gives_a_cursor_of_its_items_wherever_it_is_shown() {
    let (items, upstream) = (Items::default(), Upstream::bind().await);
    let address = upstream.address();
    let _upstream = items.answer(upstream);
    let gateway = Gateway::at(address, &[]).await;
    let session = gateway.session("ada").await;
    assert_eq!(gateway.say("ada", &session).await.reply().await.status, 200);
    let chatkit = async |kind: &str, params: Value| {
        let body = json!({"type": kind, "params": params}).to_string();
        gateway.post("ada", "", &body).await.json()
    };
    let got = chatkit("threads.get_by_id", json!({"thread_id": "thr_0"})).await;
    let titled = chatkit("threads.update", json!({"thread_id": "thr_0", "title": "T"})).await;
    let listed = chatkit("threads.list", json!({})).await;
    for thread in [&got, &titled, &listed["data"][0]] {
        assert_eq!(thread["id"], "thr_0");
        let after = &thread["items"]["after"];
        assert_eq!(*after, got["items"]["after"]);
        let params = json!({"thread_id": "thr_0", "order": "asc", "after": after});
        let page = chatkit("items.list", params).await;
        assert_eq!(page["data"].as_array().unwrap().len(), 4, "{page}");
    }
    // What a REST thread gives is for REST's list.
    let path = format!("/sessions/{session}/threads/{session}");
    let thread = gateway.get("ada", &path).await.data();
    let after = thread["items"]["after"].as_str().unwrap();
    let page = gateway.get("ada", &format!("{path}/items?order=asc&after={after}")).await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 4, "{page}");
    assert_ne!(got["items"]["after"], after);
    let sent = std::iter::repeat_n(("thr_0".to_owned(), "thr_0_0".to_owned()), 4);
    assert_eq!(items.asked(), sent.collect::<Vec<_>>());

    // Before there is a thread, none was given.
    let empty = gateway.session("ada").await;
    let path = format!("/sessions/{empty}/threads/{empty}/items?after=thr_0_0");
    gateway.get("ada", &path).await.refusal(400, "INVALID_INPUT");
}

#[tokio::test]
async fn a_service_names_items_of_the_thread_alone() {
    let (items, upstream) = (Items::default(), Upstream::bind().await);
    let address = upstream.address();
    let _upstream = items.answer(upstream);
    let keys = format!("support={}", ApiKey::of("support", KEY).unwrap().digest());
    let gateway = Gateway::at(address, &[("openai.api_keys", &keys)]).await;
    for user in ["ada", "eve"] {
        let session = gateway.session(user).await;
        assert_eq!(gateway.say(user, &session).await.reply().await.status, 200);
    }
    let ask_in = async |thread: &str, query: &str| {
        let path = format!("//v1/chatkit/threads/{thread}/items?{query}");
        let request = TestRequest::new("GET", &path).field("x-request-id", "r-1");
        gateway.send(request.field("authorization", &format!("Bearer {KEY}"))).await
    };
    let ask = async |query: &str| ask_in("thr_0", query).await;
    let read = |page: &Reply| Surface::OpenAi.read(page).0;
    assert_eq!(read(&ask("after=thr_0_3&limit=2").await), ["thr_0_2", "thr_0_1"]);
    assert_eq!(read(&ask("after=thr_0_0").await), [""; 0]);
    assert_eq!(read(&ask("before=thr_0_3&order=asc&limit=2").await), ["thr_0_1", "thr_0_2"]);
    assert_eq!(read(&ask("after=thr_0_4&before=thr_0_1").await), ["thr_0_3", "thr_0_2"]);
    let of_eve = ask_in("thr_1", "limit=1").await.json()["last_id"].as_str().unwrap().to_owned();
    for query in ["after", "before", "order=asc&after", "order=asc&before", "after=thr_0_4&before"]
    {
        let unknown = bytes(&ask(&format!("{query}=msg_none")).await);
        assert_eq!(unknown.0, 400);
        for foreign in ["thr_1_0", "thr_1_2", "thr_1_4", "thr_1", "own.1.thr_1_2"]
            .into_iter()
            .chain([&*of_eve, "x~AAAAAAAAAAAAAAAAAAAAAA"])
        {
            let pages = items.pages();
            assert_eq!(
                bytes(&ask(&format!("{query}={foreign}")).await),
                unknown,
                "{query} {foreign}"
            );
            // What is sealed is no id that may be among them.
            assert_eq!(items.pages() == pages, foreign.contains('~'), "{query} {foreign}");
        }
    }
    assert_eq!(items.asked(), []);
}
