//! Sessions from their creation to their deletion, and what the server behind them sees of it.

use serde_json::json;

use crate::support::{Gateway, PREFIX, Upstream, last_item};

#[test]
fn a_session_lives_from_create_to_delete() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "sessions-life";
    let ada = gateway.caller(user);

    let created = ada.client.call("POST", &format!("{PREFIX}/sessions"));
    let location = created.header("location").expect("Location").to_owned();
    let session = created.data();
    let id = session["id"].as_str().unwrap().to_owned();
    assert_eq!(session["user_id"], user);
    assert!(session["created_at"].as_str().unwrap().ends_with('Z'), "{session}");
    assert_eq!(location, format!("sessions/{id}"));

    let threads = format!("/sessions/{id}/threads");
    let thread = ada.post(&threads, &json!({})).data();
    assert_eq!(thread["session_id"], *id);
    assert_eq!(ada.post(&threads, &json!({})).data()["id"], thread["id"], "idempotent");
    assert_eq!(upstream.count_all(user), 0, "nothing was said, so no model was asked");

    let conversation = ada.conversation();
    ada.said(&conversation, "first words");
    ada.said(&conversation, "second words");
    assert_eq!(upstream.count(user, "threads.create"), 1);
    assert_eq!(upstream.count(user, "threads.add_user_message"), 1);

    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    let messages: Vec<_> = whole["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["role"].as_str().unwrap(), m["content"][0]["text"].as_str().unwrap()))
        .collect();
    assert_eq!(
        messages,
        [
            ("user", "first words"),
            ("assistant", "first words"),
            ("user", "second words"),
            ("assistant", "second words"),
        ]
    );
    assert_eq!(whole["message_count"], 4);
    assert_eq!(whole["status"]["type"].as_str().or(whole["status"].as_str()), Some("active"));
    let at = whole["messages"][0]["created_at"].as_str().unwrap();
    assert!(at.ends_with('Z'), "{at}");

    let path = format!("/sessions/{}", conversation.session);
    assert_eq!(ada.patch(&path, &json!({ "title": "Rain" })).data()["title"], "Rain");
    assert_eq!(upstream.count(user, "threads.update"), 1, "bound sessions rename the thread too");

    let list = ada.get("/sessions").value();
    assert_eq!(list["meta"]["total"], 2);
    assert_eq!(list["data"][0]["id"], *conversation.session, "the newest update comes first");
    assert_eq!(list["data"][0]["title"], "Rain");
    assert_eq!(list["data"][0]["message_count"], 4);
    assert_eq!(list["data"][1]["id"], *id);

    let deleted = ada.delete(&path).data();
    assert_eq!(deleted["deleted"], true);
    assert_eq!(deleted["session_id"], *conversation.session);
    assert_eq!(upstream.count(user, "threads.delete"), 1);
    ada.get(&path).refusal(404, "SESSION_NOT_FOUND");
    ada.say(&conversation, "anyone?").finish().refusal(404, "SESSION_NOT_FOUND");
    assert_eq!(ada.get("/sessions").value()["meta"]["total"], 1);
}

#[test]
fn a_long_session_is_read_whole_and_without_its_hidden_items() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("sessions-long");
    let conversation = ada.conversation();
    // More than one page of the server's default, which hides some of what it counts.
    for n in 0..15 {
        ada.said(&conversation, if n % 3 == 0 { "/hidden" } else { "words" });
    }
    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    let messages = whole["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 30);
    assert_eq!(whole["message_count"], 30);
    assert!(messages.iter().step_by(2).all(|message| message["role"] == "user"));
    assert!(!whole.to_string().contains("secret"));
}

#[test]
fn the_quickstarts_defect_costs_the_status_and_nothing_else() {
    let upstream = Upstream::start("quickstart");
    let gateway = Gateway::start(&upstream);
    let ada = gateway.caller("ada");
    let conversation = ada.conversation();
    let events = ada.said(&conversation, "/title Weather");
    let thread = events[0]["thread"]["id"].clone();
    let broken =
        upstream.behind_the_gateway("x", "threads.get_by_id", &json!({ "thread_id": thread }));
    assert_eq!(broken.status, 500, "the defect is there");

    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    assert!(whole["status"].is_null(), "{whole}");
    assert_eq!(whole["messages"].as_array().unwrap().len(), 2);
    assert_eq!(whole["messages"][1]["content"][0]["text"], "Titled.");

    let answer = last_item(&ada.said(&conversation, "and on it goes"));
    assert_eq!(answer["content"][0]["text"], "and on it goes");
}

#[test]
fn refusals_that_need_no_server_are_made_without_it() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "sessions-refused";
    let ada = gateway.caller(user);
    let stranger = gateway.stranger();

    let sessions = format!("{PREFIX}/sessions");
    let reply = stranger.call("POST", &sessions);
    reply.refusal(401, "UNAUTHORIZED");
    assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
    let forged =
        stranger.clone().with("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.");
    forged.call("GET", &sessions).refusal(401, "UNAUTHORIZED");

    let nobody = "/sessions/00000000-0000-4000-8000-000000000000";
    ada.get(nobody).refusal(404, "SESSION_NOT_FOUND");
    ada.delete(nobody).refusal(404, "SESSION_NOT_FOUND");
    let conversation = ada.conversation();
    let elsewhere = format!("/sessions/{}/threads/thr_nowhere/runs", conversation.session);
    ada.post(&elsewhere, &json!({ "message": "hi" })).refusal(404, "THREAD_NOT_FOUND");
    let reply = ada.client.call("PUT", &sessions);
    reply.refusal(405, "METHOD_NOT_ALLOWED");
    assert!(reply.header("allow").is_some());

    let runs = format!("{}/runs", conversation.thread);
    ada.post(&runs, &json!({ "message": " \n" })).refusal(400, "EMPTY_MESSAGE");
    ada.post(&runs, &json!({ "message": "x".repeat(10_001) })).refusal(400, "MESSAGE_TOO_LONG");
    ada.post(&runs, &json!({ "message": 1 })).refusal(400, "INVALID_INPUT");
    let json = ada.client.clone().with("content-type", "application/json");
    let twice = br#"{"message":"a","message":"b"}"#;
    let runs = format!("{PREFIX}{runs}");
    json.send("POST", &runs, Some(twice)).finish().refusal(400, "INVALID_JSON");
    json.send("POST", &runs, Some(b"{")).finish().refusal(400, "INVALID_JSON");
    let text = ada.client.clone().with("content-type", "text/plain");
    text.send("POST", &runs, Some(b"hi")).finish().refusal(415, "UNSUPPORTED_MEDIA_TYPE");

    assert_eq!(upstream.count_all(user), 0, "the server heard of none of it");
}
