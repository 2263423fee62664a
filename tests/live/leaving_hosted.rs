//! `examples/leaving_hosted`, which moves an account of hosted ChatKit's to a server of one's own.
//!
//! Nobody has recorded a hosted account. What one may do to the programs is played by
//! `leaving_hosted/hosted.py`, in the tests in Python beside it; here they move what is behind the
//! gateway's own `/v1/chatkit`, which is the same API, from one server to another.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{
    Caller, Client, Conversation, Gateway, Upstream, events, input, last_item, leaving, project,
};

#[test]
fn the_programs_pass_their_tests_in_python() {
    let ran = leaving::unit_tests();
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    let count = ran.said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next());
    assert!(count.unwrap().parse::<u32>().unwrap() >= 60, "{}", ran.said);
}

#[test]
fn they_are_tested_with_the_versions_that_they_pin() {
    let pins = |folder: &str| {
        let path = project().join("examples").join(folder).join("requirements.txt");
        let lines = fs::read_to_string(path).unwrap();
        lines
            .lines()
            .filter(|line| line.contains("==") && !line.starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let installed = pins("openai_chatkit_server");
    for pin in pins("leaving_hosted") {
        assert!(installed.contains(&pin), "{pin} is not what the tests run on");
    }
}

/// A folder of its own for a test's files. Dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("leaving-{}-{name}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// Gives all items of a thread as the server has them, oldest first.
fn items(upstream: &Upstream, thread_id: &str) -> Vec<Value> {
    let params = json!({ "thread_id": thread_id, "limit": 100, "order": "asc" });
    let mut page = upstream.behind_the_gateway("leaving", "items.list", &params).value();
    assert_eq!(page["has_more"], false);
    let Value::Array(items) = page["data"].take() else { panic!("{page}") };
    items
}

/// Gives an item without what hosted ChatKit doesn't know, and what is random between two servers:
/// the fraction of its second.
fn comparable(mut item: Value) -> Value {
    let created_at = item["created_at"].as_str().unwrap();
    item["created_at"] = created_at[..19].into();
    item.as_object_mut().unwrap().remove("copy_text");
    if let Some(workflow) = item.get_mut("workflow").and_then(Value::as_object_mut) {
        workflow.remove("summary");
    }
    for task in tasks(&mut item) {
        task.as_object_mut()
            .unwrap()
            .retain(|name, _| ["type", "title", "content"].contains(&&**name));
    }
    item
}

fn tasks(item: &mut Value) -> Vec<&mut Value> {
    match item["type"].as_str() {
        Some("task") => vec![&mut item["task"]],
        Some("workflow") => item["workflow"]["tasks"].as_array_mut().unwrap().iter_mut().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_is_behind_the_gateway_moves_to_another_server() {
    let printed = Gateway::service_key("leaving");
    let after = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let key = after("OPENAI_API_KEY=");
    let setting = after("CHATKIT_REST__OPENAI__API_KEYS=");
    let folder = Folder::new("moves");
    let file = |name: &str| folder.0.join(name);
    // Of the same kind as the new one, so that what a store makes of an item makes no difference.
    let old = Upstream::start(&format!("sqlite:{}", file("old.db").display()));
    let gateway = Gateway::start_with(&old, &[("OPENAI__API_KEYS", setting)]);
    let (ada, bob) = (gateway.caller("leaving-ada"), gateway.caller("leaving-bob"));
    let conversation = ada.conversation();
    let mut thread_id = Value::Null;
    for text in [
        "Hello there",
        "/widget",
        "/workflow",
        "/task",
        "/hidden",
        "/unicode",
        "/structured",
        "/title Every type",
        "/tool look {\"n\":1.5,\"a\":[null]}",
    ] {
        let events = ada.said(&conversation, text);
        if thread_id.is_null() {
            thread_id = events[0]["thread"]["id"].clone();
        }
    }
    let thread_id = thread_id.as_str().unwrap();
    bob.said(&bob.conversation(), "Mine");

    let (out, adopt) = (file("out.jsonl"), file("adopt.jsonl"));
    let ran = leaving::export(&gateway, key, &out);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    assert!(ran.said.ends_with("All of it is there.\n"), "{}", ran.said);
    assert!(!ran.said.contains(key) && !fs::read_to_string(&out).unwrap().contains(key));
    let again = leaving::export(&gateway, key, &out);
    assert_eq!(again.status, Some(0), "{}", again.said);
    assert!(again.said.contains("2 of 2 threads are there already"), "{}", again.said);

    let store = format!("sqlite:{}", file("new.db").display());
    let ran = leaving::load(&out, &store, &adopt);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    let new = Upstream::start(&store);
    // What hosted ChatKit has no word for doesn't come through the gateway's API either.
    let known = |item: &Value| {
        !["structured_input", "end_of_turn"].contains(&item["type"].as_str().unwrap())
    };
    let there =
        items(&old, thread_id).into_iter().filter(known).map(comparable).collect::<Vec<_>>();
    let moved = || items(&new, thread_id).into_iter().map(comparable).collect::<Vec<_>>();
    assert_eq!(moved(), there);
    let again = leaving::load(&out, &store, &adopt);
    assert_eq!(again.status, Some(0), "{}", again.said);
    assert_eq!(moved(), there, "loading twice leaves one copy");

    let lines = fs::read_to_string(&adopt).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let mine = lines.iter().find(|line| line["thread_id"] == thread_id).unwrap();
    assert_eq!((&mine["user_id"], &mine["title"]), (&json!("leaving-ada"), &json!("Every type")));
    let thread = json!({ "thread_id": thread_id });
    let thread = new.behind_the_gateway("leaving", "threads.get_by_id", &thread).value();
    let created_at = mine["created_at"].as_str().unwrap().strip_suffix('Z').unwrap();
    assert_eq!((&thread["created_at"], &thread["title"]), (&json!(created_at), &mine["title"]));

    // The conversation goes on, past a call that nobody will answer any more.
    assert_eq!(there.last().unwrap()["status"], "pending");
    let mut more = input("And here?", &[]);
    more["thread_id"] = thread_id.into();
    let reply = new.behind_the_gateway("leaving", "threads.add_user_message", &more);
    assert_eq!(last_item(&events(&reply.body))["content"][0]["text"], "And here?");
    assert_eq!(moved().len(), there.len() + 2);
}

/// What one said, and the second in which they did.
type Said = (String, String, i64);

fn said(role: &Value, text: String, created_at: &Value) -> Said {
    let second = match created_at {
        Value::Number(second) => second.as_i64().unwrap(),
        // Without a zone, as the SDK writes it: that of the tests is UTC.
        text => {
            let text = text.as_str().unwrap();
            format!("{}Z", &text[..19]).parse::<jiff::Timestamp>().unwrap().as_second()
        }
    };
    (role.as_str().unwrap().replace("_message", "").replace("chatkit.", ""), text, second)
}

fn text(content: &Value) -> String {
    let parts = content.as_array().unwrap().iter();
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}

fn by_rest(caller: &Caller, session: &str) -> Vec<Said> {
    let session = caller.get(&format!("/sessions/{session}")).data();
    let messages = session["messages"].as_array().unwrap().iter();
    messages.map(|it| said(&it["role"], text(&it["content"]), &it["created_at"])).collect()
}

fn by_passthrough(caller: &Caller, thread_id: &str) -> Vec<Said> {
    let params = json!({ "thread_id": thread_id, "limit": 100, "order": "asc" });
    let page = caller.rpc("items.list", &params).value();
    let items = page["data"].as_array().unwrap().iter();
    items.map(|it| said(&it["type"], text(&it["content"]), &it["created_at"])).collect()
}

fn by_hosted(service: &Client, thread_id: &str) -> Vec<Said> {
    let path = format!("/v1/chatkit/threads/{thread_id}/items?order=asc&limit=100");
    let page = service.call("GET", &path).value();
    let items = page["data"].as_array().unwrap().iter();
    items.map(|it| said(&it["type"], text(&it["content"]), &it["created_at"])).collect()
}

fn by_chat(caller: &Caller, conversation: &str) -> Vec<Said> {
    let page = caller.client.call("GET", &format!("/api/conversations/{conversation}")).value();
    assert_eq!(page["has_more"], false);
    let messages = page["messages"].as_array().unwrap().iter();
    messages
        .map(|it| said(&it["role"], it["content"].as_str().unwrap().to_owned(), &it["created_at"]))
        .collect()
}

#[test]
fn whoever_leaves_finds_everything_again() {
    let printed = Gateway::service_key("leaving");
    let after = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let (key, setting) = (after("OPENAI_API_KEY="), after("CHATKIT_REST__OPENAI__API_KEYS="));
    let folder = Folder::new("everything");
    let file = |name: &str| folder.0.join(name);

    // The hosted account, in whose place this gateway's own API stands.
    let hosted = Upstream::start("memory");
    let account = Gateway::start_with(&hosted, &[("OPENAI__API_KEYS", setting)]);
    let users = ["moved-ada", "moved-bob"];
    let mut before = Vec::new();
    for user in users {
        let caller = account.caller(user);
        let conversation = caller.conversation();
        let texts = ["/title The plan", "Grüße 👋", user];
        let thread_id =
            texts.map(|text| caller.said(&conversation, text))[0][0]["thread"]["id"].clone();
        let said = by_rest(&caller, &conversation.session);
        assert_eq!(said.len(), 6, "{said:?}");
        before.push((caller, conversation, thread_id.as_str().unwrap().to_owned(), said));
    }
    let (out, adopt) = (file("account.jsonl"), file("adopt.jsonl"));
    let ran = leaving::export(&account, key, &out);
    assert_eq!(ran.status, Some(0), "{}", ran.said);

    // The server of one's own, and the gateway in front of it, which runs already.
    let store = format!("sqlite:{}", file("own.db").display());
    let ran = leaving::load(&out, &store, &adopt);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
    let own = Upstream::start(&store);
    let gateway = Gateway::start_with(&own, &[("OPENAI__API_KEYS", setting)]);
    let service = gateway.stranger().with("authorization", &format!("Bearer {key}"));
    assert_eq!(gateway.caller(users[0]).get("/sessions").data(), json!([]));
    let printed = gateway.adopt(&adopt);
    assert!(printed.contains("2 adopted"), "{printed}");
    let printed = gateway.adopt(&adopt);
    assert!(printed.contains("2 known already"), "{printed}");

    for (old, (user, (caller, conversation, thread_id, before))) in
        users.iter().zip(&before).enumerate()
    {
        let was = caller.get(&format!("/sessions/{}", conversation.session)).data();
        let caller = gateway.caller(user);
        let listed = caller.get("/sessions").data();
        let [session] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
        assert_eq!(
            (&session["title"], &session["message_count"]),
            (&json!("The plan"), &Value::Null)
        );
        let second = |time: &Value| time.as_str().unwrap()[..19].to_owned();
        let thread = json!({ "thread_id": thread_id });
        let thread = hosted.behind_the_gateway("leaving", "threads.get_by_id", &thread).value();
        assert_eq!(second(&session["created_at"]), second(&thread["created_at"]));
        let session = session["id"].as_str().unwrap();
        assert_ne!(session, conversation.session);

        // By every surface, and by none for anybody else.
        assert_eq!(by_rest(&caller, session), *before);
        assert_eq!(by_passthrough(&caller, thread_id), *before);
        assert_eq!(by_hosted(&service, thread_id), *before);
        assert_eq!(by_chat(&caller, session), *before);
        let threads = service.call("GET", &format!("/v1/chatkit/threads?user={user}")).value();
        assert_eq!(threads["data"][0]["id"], **thread_id);
        assert_eq!(threads["data"].as_array().unwrap().len(), 1);
        let threads = caller.rpc("threads.list", &json!({ "limit": 9999 })).value();
        assert_eq!(threads["data"][0]["id"], **thread_id);
        assert_eq!(threads["data"].as_array().unwrap().len(), 1);
        let other = gateway.caller(users[1 - old]);
        assert_eq!(other.get(&format!("/sessions/{session}")).status, 403);
        assert_eq!(other.rpc("items.list", &json!({ "thread_id": thread_id })).status, 403);

        // And goes on: what is shown is counted, what was there included.
        let now = caller.get("/sessions").data();
        assert_eq!((&now[0]["message_count"], &was["message_count"]), (&json!(6), &json!(6)));
        let conversation = Conversation {
            session: session.to_owned(),
            thread: format!("/sessions/{session}/threads/{session}"),
        };
        assert_eq!(
            caller.ask(&conversation, "And on").data()["message"]["content"][0]["text"],
            "And on"
        );
        assert_eq!(caller.get("/sessions").data()[0]["message_count"], 8);
    }
}
