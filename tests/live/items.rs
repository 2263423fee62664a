//! Every other ChatKit request as REST.

use serde_json::{Value, json};

use crate::support::{Gateway, PREFIX, Reply, Upstream, events, last_item};

#[test]
fn a_tool_call_is_answered_and_the_turn_goes_on() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("items-tool");
    let conversation = ada.conversation();
    let call = last_item(&ada.said(&conversation, "/tool pick {\"from\":[1,null]}"));
    assert_eq!(call["status"], "pending");

    let outputs = format!("{}/tool_outputs", conversation.thread);
    ada.post(&outputs, &json!({})).refusal(400, "INVALID_INPUT");
    let reply = ada.stream(&outputs, &json!({ "result": { "picked": null } })).finish();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = last_item(&events(&reply.body));
    assert_eq!(answer["content"][0]["text"], "pick returned {\"picked\": null}");

    let items = items(&ada.get(&format!("{}/items?order=asc", conversation.thread)));
    assert_eq!(kinds(&items), ["user_message", "client_tool_call", "assistant_message"]);
    assert_eq!(items[1]["status"], "completed");

    let messages = ada.get(&format!("/sessions/{}", conversation.session)).data();
    assert!(messages["messages"].to_string().contains("\"pick\""), "{messages}");
    // No call is waiting any more: the server cuts its empty 200.
    let again = ada.stream(&outputs, &json!({ "result": 1 })).finish();
    again.refusal(409, "CONFLICT");
}

#[test]
fn questions_are_answered() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("items-structured");
    let conversation = ada.conversation();
    let questions = last_item(&ada.said(&conversation, "/structured"));
    let id = questions["id"].as_str().unwrap();
    let path = format!("{}/items/{id}/structured_input", conversation.thread);
    let answers = json!({ "status": "answered", "answers": { "priority": { "values": ["low"] } } });
    let reply = ada.stream(&path, &answers).finish();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let events = events(&reply.body);
    assert!(events.iter().any(|event| event["type"] == "thread.item.replaced"));
    let text = last_item(&events)["content"][0]["text"].clone();
    assert_eq!(text, "You answered {\"priority\": [\"low\"], \"notes\": []}");
}

#[test]
fn an_upload_goes_to_the_public_address() {
    let upstream = Upstream::shared();
    let file = json!({ "name": "a.txt", "size": 3, "mime_type": "text/plain" });
    for (public, expected) in [
        (Some("https://chat.example.org"), "https://chat.example.org"),
        (Some("https://chat.example.org:8443/ai/"), "https://chat.example.org:8443/ai"),
        // Where the endpoint's own path is, too.
        (Some("http://[::1]/chatkit"), "http://[::1]/chatkit"),
        (None, ""),
    ] {
        let settings: Vec<_> = public.map(|url| ("SERVER__PUBLIC_URL", url)).into_iter().collect();
        let gateway = Gateway::start_with(upstream, &settings);
        let own = gateway.url();
        let expected = if expected.is_empty() { &own } else { expected };
        let made = gateway.caller("items-upload").post("/attachments", &file).data();
        let id = made["id"].as_str().unwrap();
        let url = format!("{expected}/attachments/{id}");
        assert_eq!(made["upload_descriptor"]["url"], *url, "{public:?}");
    }
}

#[test]
fn a_widget_acts() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "items-widget";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let widget = last_item(&ada.said(&conversation, "/widget"));
    assert_eq!(widget["type"], "widget");
    let actions = format!("{}/actions", conversation.thread);

    let go =
        json!({ "action": { "type": "go", "payload": { "a": null } }, "item_id": widget["id"] });
    let reply = ada.stream(&actions, &go).finish();
    let answer = last_item(&events(&reply.body));
    assert_eq!(answer["content"][0]["text"], "go with {\"a\": null}");

    let replace = json!({ "action": { "type": "replace" }, "item_id": widget["id"] });
    let reply = ada.post(&format!("{actions}?sync=true"), &replace);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("Replaced"), "{}", reply.text());
    assert_eq!(upstream.count(user, "threads.custom_action"), 1);
    assert_eq!(upstream.count(user, "threads.sync_custom_action"), 1);

    ada.stream(&actions, &json!({ "action": {} })).finish().refusal(400, "INVALID_INPUT");
    let fail = json!({ "action": { "type": "fail" } });
    ada.stream(&actions, &fail).finish().refusal(502, "UPSTREAM_ERROR");
    let unknown = json!({ "action": { "type": "go" }, "item_id": "msg_nowhere" });
    ada.stream(&actions, &unknown).finish().refusal(404, "ITEM_NOT_FOUND");
    let first = ada.get(&format!("{}/items?order=asc&limit=1", conversation.thread)).data();
    let no_widget = json!({ "action": { "type": "go" }, "item_id": first[0]["id"] });
    ada.stream(&actions, &no_widget).finish().refusal(404, "ITEM_NOT_FOUND");
}

#[test]
fn an_answer_is_tried_again_and_judged() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "items-retry";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let first = ada.said(&conversation, "once more");
    let question = first[1]["item"]["id"].as_str().unwrap().to_owned();
    let old = last_item(&first)["id"].clone();

    let retry = format!("{}/items/{question}/retry", conversation.thread);
    let reply = ada.stream(&retry, &json!({})).finish();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let new = last_item(&events(&reply.body));
    assert_ne!(new["id"], old);
    let items = items(&ada.get(&format!("{}/items", conversation.thread)));
    assert_eq!(kinds(&items), ["assistant_message", "user_message"], "newest first, one answer");

    let feedback = format!("{}/feedback", conversation.thread);
    let good = json!({ "item_ids": [new["id"]], "kind": "positive" });
    assert_eq!(ada.post(&feedback, &good).status, 200);
    let bad = json!({ "item_ids": [new["id"]], "kind": "excellent" });
    ada.post(&feedback, &bad).refusal(400, "INVALID_INPUT");
    assert_eq!(upstream.count(user, "items.feedback"), 1);
}

#[test]
fn items_are_paged_as_the_server_pages_them() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("items-pages");
    let conversation = ada.conversation();
    for text in ["one", "two", "three"] {
        ada.said(&conversation, text);
    }
    let path = format!("{}/items?order=asc&limit=4", conversation.thread);
    let first = ada.get(&path);
    assert_eq!(items(&first).len(), 4);
    let meta = first.value()["meta"].take();
    assert_eq!(meta["has_more"], true);
    let after = meta["after"].as_str().unwrap();
    let rest = ada.get(&format!("{path}&after={after}"));
    assert_eq!(items(&rest).len(), 2);
    assert_eq!(rest.value()["meta"]["has_more"], false);

    // The server's store begins anew on what it doesn't know, and others look theirs up among
    // everybody's.
    let bob = gateway.caller("items-pages-bob");
    let theirs = bob.conversation();
    bob.said(&theirs, "one");
    let foreign = items(&bob.get(&format!("{}/items", theirs.thread)))[0]["id"].take();
    let asked = upstream.count("items-pages", "items.list");
    let unsealed = after.split('~').next().unwrap();
    for cursor in ["msg_unknown", foreign.as_str().unwrap(), unsealed] {
        let error = ada.get(&format!("{path}&after={cursor}")).refusal(400, "INVALID_INPUT");
        assert_eq!(error["details"]["errors"][0]["pointer"], "/after", "{cursor}");
    }
    assert_eq!(upstream.count("items-pages", "items.list"), asked);

    let thread = ada.get(&conversation.thread);
    assert!(thread.text().contains("three"), "{}", thread.text());
    let threads = ada.get(&format!("/sessions/{}/threads", conversation.session)).data();
    assert_eq!(threads.as_array().map(Vec::len), Some(1), "{threads}");
}

#[test]
fn speech_becomes_text() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("items-speech");
    let audio = ada.client.clone().with("content-type", "audio/webm;codecs=opus");
    // Bytes whose base64 differs between the standard and the URL-safe alphabet.
    let path = format!("{PREFIX}/transcriptions");
    let reply = audio.send("POST", &path, Some(&[0xfb, 0xff, 0xfe, 0x00])).finish();
    assert_eq!(reply.data()["text"], "4 bytes of audio/webm");
    let json = json!({ "audio_base64": "+//+AA==", "mime_type": "audio/ogg" });
    assert_eq!(ada.post("/transcriptions", &json).data()["text"], "4 bytes of audio/ogg");
    let corrupt = json!({ "audio_base64": "-__-AA==", "mime_type": "audio/ogg" });
    assert_eq!(ada.post("/transcriptions", &corrupt).status, 400, "the server would lose bytes");
}

#[track_caller]
fn items(page: &Reply) -> Vec<Value> {
    page.data().as_array().unwrap_or_else(|| panic!("not a page: {}", page.text())).clone()
}

fn kinds(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["type"].as_str().unwrap()).collect()
}
