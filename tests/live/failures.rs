//! What goes wrong before the first output has a status; PROTOCOL's bare 500s and cuts don't show.

use serde_json::json;

use crate::support::{End, Gateway, Upstream, events, last_item};

#[test]
fn an_error_before_the_first_word_is_a_502_that_names_the_thread() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "failures-error";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    for (text, allow_retry) in [("/error", Some(true)), ("/cut-after 0", None)] {
        let conversation = ada.conversation();
        let error = ada.say(&conversation, text).finish().refusal(502, "UPSTREAM_ERROR");
        let details = &error["details"];
        let (sent, _) = upstream.ended_stream(user);
        let sent = events(&sent);
        assert_eq!(details["thread_id"], sent[0]["thread"]["id"], "{text}: {error}");
        assert_eq!(details["user_message_id"], sent[1]["item"]["id"], "{text}: {error}");
        assert_eq!(details["allow_retry"].as_bool(), allow_retry, "{text}: {error}");
    }

    // The thread was made all the same, so the next message goes on with it.
    ada.say(&conversation, "/error").finish().refusal(502, "UPSTREAM_ERROR");
    let created = upstream.count(user, "threads.create");
    ada.said(&conversation, "better now");
    assert_eq!(upstream.count(user, "threads.create"), created);
    assert_eq!(upstream.count(user, "threads.add_user_message"), 1);
}

#[test]
fn the_servers_own_refusal_is_a_422_with_its_words() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("failures-custom");
    let conversation = ada.conversation();
    let reply = ada.say(&conversation, "/custom Your plan has no poems left.").finish();
    let error = reply.refusal(422, "UPSTREAM_REJECTED");
    assert_eq!(error["message"], "Your plan has no poems left.");
    assert!(error["details"]["thread_id"].as_str().unwrap().starts_with("thr_"), "{error}");
}

#[test]
fn a_thread_that_was_deleted_behind_the_gateways_back_is_not_found() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "failures-gone";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    let thread = ada.said(&conversation, "hello")[0]["thread"]["id"].clone();
    let params = json!({ "thread_id": thread });
    assert_eq!(upstream.behind_the_gateway("x", "threads.delete", &params).status, 200);

    ada.say(&conversation, "anyone?").finish().refusal(404, "THREAD_NOT_FOUND");
    let (sent, end) = upstream.ended_stream(user);
    assert_eq!((sent.len(), end.as_str()), (0, "cut"), "the server said 200 and nothing else");
}

#[test]
fn a_broken_store_is_a_502_and_not_a_missing_thread() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "failures-store";
    let ada = gateway.caller(user);

    // Creating: nothing, or an orphan, is left behind. The next attempt is a first message again,
    // or goes on with what there is; either way it is answered.
    for call in ["save_thread", "add_thread_item"] {
        let conversation = ada.conversation();
        upstream.fail(user, call);
        ada.say(&conversation, "hello").finish().refusal(502, "UPSTREAM_ERROR");
        let answer = last_item(&ada.said(&conversation, "hello again"));
        assert_eq!(answer["content"][0]["text"], "hello again", "after {call} failed");
    }

    // Adding: the thread is there, as the gateway can find out.
    let conversation = ada.conversation();
    ada.said(&conversation, "hello");
    for call in ["load_thread", "add_thread_item"] {
        upstream.fail(user, call);
        ada.say(&conversation, "lost").finish().refusal(502, "UPSTREAM_ERROR");
    }
    // The answer can't be stored: its words were out already.
    upstream.fail(user, "add_thread_item:2");
    let reply = ada.say(&conversation, "said but not kept").finish();
    assert_eq!((reply.status, reply.end), (200, End::Clean));
    assert_eq!(events(&reply.body).last().unwrap()["type"], "error");

    // The first of the two requests behind get_session is the one that only costs the status.
    upstream.fail(user, "load_thread_items");
    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    assert!(whole["status"].is_null(), "{whole}");
    let texts: Vec<_> = whole["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["hello", "hello", "said but not kept"], "as the server has it");
}

#[test]
fn a_failed_request_does_not_harm_the_next_one() {
    // After an unhandled exception uvicorn closes the connection without saying so.
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let user = "failures-reuse";
    let ada = gateway.caller(user);
    let conversation = ada.conversation();
    ada.said(&conversation, "hello");
    let thread =
        ada.get(&format!("/sessions/{}", conversation.session)).data()["thread_id"].clone();
    let list = json!({ "thread_id": thread });
    for _ in 0..20 {
        upstream.fail(user, "load_thread_items");
        ada.rpc("items.list", &list).refusal(502, "UPSTREAM_ERROR");
        assert_eq!(ada.rpc("items.list", &list).status, 200);
    }
}

#[test]
fn an_empty_stream_for_an_unknown_item_is_not_found() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("failures-retry");
    let conversation = ada.conversation();
    ada.said(&conversation, "hello");
    let retry = format!("{}/items/msg_nowhere/retry", conversation.thread);
    ada.stream(&retry, &json!({})).finish().refusal(404, "ITEM_NOT_FOUND");
}

#[test]
fn what_the_server_refuses_with_a_status_keeps_it() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("failures-status");
    let attachment = json!({ "name": "big", "size": 1_000_000_000, "mime_type": "text/plain" });
    let error = ada.rpc("attachments.create", &attachment).refusal(413, "UPSTREAM_REJECTED");
    assert!(!error.to_string().contains("10485760"), "the server's body is not passed on: {error}");

    let audio = json!({ "audio_base64": "YWJj", "mime_type": "audio/flac" });
    let reply = ada.rpc("input.transcribe", &audio);
    reply.refusal(400, "UPSTREAM_REJECTED");

    // The same by their own routes.
    ada.post("/attachments", &attachment).refusal(413, "UPSTREAM_REJECTED");
    ada.post("/transcriptions", &audio).refusal(400, "UPSTREAM_REJECTED");
}
