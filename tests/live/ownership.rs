//! The server knows no users; the gateway lets nobody near what is somebody else's.

use serde_json::json;

use crate::support::{Caller, Gateway, PREFIX, Upstream};

#[test]
fn somebody_elses_session_is_out_of_reach() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("ownership-ada");
    let eve = gateway.caller("ownership-eve");
    let theirs = ada.conversation();
    let item = ada.said(&theirs, "a secret")[1]["item"]["id"].as_str().unwrap().to_owned();
    let session = format!("/sessions/{}", theirs.session);
    let thread = &theirs.thread;

    eve.get(&session).refusal(403, "FORBIDDEN");
    eve.patch(&session, &json!({ "title": "mine" })).refusal(403, "FORBIDDEN");
    eve.delete(&session).refusal(403, "FORBIDDEN");
    eve.post(&format!("{session}/threads"), &json!({})).refusal(403, "FORBIDDEN");
    eve.get(&format!("{session}/threads")).refusal(403, "FORBIDDEN");
    eve.get(thread).refusal(403, "FORBIDDEN");
    eve.get(&format!("{thread}/items")).refusal(403, "FORBIDDEN");
    for (path, body) in [
        ("runs", json!({ "message": "hi" })),
        ("tool_outputs", json!({ "result": 1 })),
        ("actions", json!({ "action": { "type": "go" } })),
        ("actions?sync=true", json!({ "action": { "type": "go" } })),
        ("feedback", json!({ "item_ids": [item], "kind": "positive" })),
        (&format!("items/{item}/retry"), json!({})),
        (&format!("items/{item}/structured_input"), json!({})),
    ] {
        eve.post(&format!("{thread}/{path}"), &body).refusal(403, "FORBIDDEN");
    }
    assert_eq!(upstream.count_all("ownership-eve"), 0);
    assert_eq!(eve.get("/sessions").value()["meta"]["total"], 0);

    // With her own session in the path, the thread of another one is simply not there.
    let own = eve.conversation();
    let foreign = ada.said(&theirs, "more")[0]["item"]["thread_id"].as_str().unwrap().to_owned();
    for id in [theirs.session.as_str(), foreign.as_str()] {
        let path = format!("/sessions/{}/threads/{id}/runs", own.session);
        let reply = eve.post(&path, &json!({ "message": "hi" }));
        assert!(matches!(reply.status, 403 | 404), "{}", reply.text());
    }
    assert_eq!(upstream.count_all("ownership-eve"), 0);
}

#[test]
fn hidden_ownership_makes_foreign_and_unknown_look_the_same() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start_with(upstream, &[("SESSION__HIDE_FOREIGN", "true")]);
    let theirs = gateway.caller("ownership-hidden-ada").conversation();
    let eve = gateway.caller("ownership-hidden-eve");
    let foreign = eve.get(&format!("/sessions/{}", theirs.session));
    let unknown = eve.get("/sessions/00000000-0000-4000-8000-000000000000");
    let mut errors = [foreign, unknown].map(|reply| reply.refusal(404, "SESSION_NOT_FOUND"));
    for error in &mut errors {
        error["request_id"].take();
    }
    assert_eq!(errors[0], errors[1]);
}

#[test]
fn the_server_is_told_who_calls_by_the_gateway_alone() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let honest = gateway.caller("ownership-honest");
    let liar = Caller::new(honest.client.clone().with("x-user-id", "ownership-root"));
    let conversation = liar.conversation();
    liar.said(&conversation, "hello");
    assert_eq!(upstream.count("ownership-honest", "threads.create"), 1);
    assert_eq!(upstream.count_all("ownership-root"), 0);
}

#[test]
fn an_attachment_belongs_to_who_announced_it() {
    let upstream = Upstream::shared();
    let gateway = Gateway::start(upstream);
    let ada = gateway.caller("ownership-files-ada");
    let eve = gateway.caller("ownership-files-eve");
    let file = json!({ "name": "plan.txt", "size": 3, "mime_type": "text/plain" });
    let id = ada.post("/attachments", &file).data()["id"].as_str().unwrap().to_owned();

    let message = |id: &str| {
        json!({ "message": {
            "role": "user",
            "content": [{ "type": "input_text", "text": "see this" }],
            "attachments": [id],
        }})
    };
    let runs = format!("{}/runs", eve.conversation().thread);
    eve.stream(&runs, &message(&id)).finish().refusal(403, "FORBIDDEN");
    eve.stream(&runs, &message("atc_unknown")).finish().refusal(404, "ATTACHMENT_NOT_FOUND");
    eve.delete(&format!("/attachments/{id}")).refusal(403, "FORBIDDEN");
    let params = json!({ "attachment_id": id });
    eve.rpc("attachments.delete", &params).refusal(403, "FORBIDDEN");
    assert_eq!(upstream.count_all("ownership-files-eve"), 0);

    let runs = format!("{}/runs", ada.conversation().thread);
    let reply = ada.stream(&runs, &message(&id)).finish();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let events = crate::support::events(&reply.body);
    assert_eq!(events[1]["item"]["attachments"][0]["id"], *id);
    assert_eq!(ada.delete(&format!("/attachments/{id}")).status, 200);
    ada.delete(&format!("/attachments/{id}")).refusal(404, "ATTACHMENT_NOT_FOUND");
    // Nothing of this is a matter of the path's spelling.
    assert_eq!(ada.client.call("GET", &format!("{PREFIX}/attachments/{id}")).status, 405);
}
