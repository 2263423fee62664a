//! The same conversations in front of every server, and what the servers differ in.
//!
//! A scenario is a function of the server; [`on_every_server`] makes a test of it for each. What it
//! may expect of one server and not of another is in [`Differences`]. What only the Node SDK does
//! is in `node`.

use serde_json::{Value, json};

use crate::support::{End, Gateway, Server, Upstream, events, input, last_item};

/// Makes a test on every server of each of these functions, such as `node::client_tool_calls`.
macro_rules! on_every_server {
    ($($scenario:ident,)*) => {
        mod node {
            $(#[test] fn $scenario() { super::$scenario(crate::support::Server::Node); })*
        }
        mod python {
            $(#[test] fn $scenario() { super::$scenario(crate::support::Server::Python); })*
        }
        mod python_1_4 {
            $(#[test] fn $scenario() { super::$scenario(crate::support::Server::Python14); })*
        }
    };
}

on_every_server! {
    a_client_tool_call_gets_its_output_through_the_pass_through,
    a_conversation_lives_from_create_to_delete,
    a_failure_before_the_first_word_has_a_status,
    a_long_session_is_read_whole,
    an_attachment_is_announced_and_used,
    json_mode_answers_once,
    nobody_else_comes_near_it,
    the_servers_differ_as_it_says_here,
    what_a_restart_lost_is_not_found,
    what_the_server_does_not_know_is_told_from_a_failure,
}

/// What can't be expected of every server alike.
struct Differences {
    /// The events of a thread's first message before its answer.
    preamble: &'static [&'static str],
    /// The first event after a tool's output.
    after_tool_output: &'static str,
    /// The order of `items.list` where nobody says.
    newest_first: bool,
    /// The member of a new attachment that says where to upload it.
    upload: &'static str,
    /// The message on which the connection breaks before the first word.
    cut: &'static str,
    /// The status of an answer to a message in an unknown thread.
    unknown_thread: u16,
    /// Request types that the server doesn't have.
    unknown_types: &'static [&'static str],
}

const PYTHON: Differences = Differences {
    preamble: &["thread.created", "thread.item.done", "stream_options"],
    after_tool_output: "stream_options",
    newest_first: true,
    upload: "upload_descriptor",
    cut: "/cut-after 0",
    unknown_thread: 200,
    unknown_types: &[],
};

const NEWER_TYPES: &[&str] =
    &["input.transcribe", "threads.add_structured_input", "threads.sync_custom_action"];

const PYTHON_1_4: Differences =
    Differences { upload: "upload_url", cut: "/cut", unknown_types: NEWER_TYPES, ..PYTHON };

const NODE: Differences = Differences {
    preamble: &["thread.created", "thread.item.done"],
    after_tool_output: "thread.item.replaced",
    newest_first: false,
    upload: "upload_url",
    cut: "/destroy",
    unknown_thread: 500,
    unknown_types: NEWER_TYPES,
};

fn differences(server: Server) -> &'static Differences {
    match server {
        Server::Node => &NODE,
        Server::Python => &PYTHON,
        Server::Python14 => &PYTHON_1_4,
    }
}

/// Checks without a gateway what the other scenarios, and the gateway, take for granted.
fn the_servers_differ_as_it_says_here(server: Server) {
    let upstream = Upstream::shared_server(server);
    let expected = differences(server);
    let user = "differences";
    let created = upstream.behind_the_gateway(user, "threads.create", &input("hi", &[]));
    assert_eq!((created.status, created.end), (200, End::Clean));
    let created = events(&created.body);
    let mut preamble = kinds(&created);
    let answer = preamble.iter().position(|kind| *kind == "thread.item.added").unwrap();
    preamble.truncate(answer);
    assert_eq!(preamble, expected.preamble);

    let thread = &created[0]["thread"]["id"];
    let items = json!({ "thread_id": thread });
    let items = upstream.behind_the_gateway(user, "items.list", &items).value();
    let first = if expected.newest_first { "assistant_message" } else { "user_message" };
    assert_eq!(items["data"][0]["type"], first);

    let file = json!({ "name": "a", "size": 1, "mime_type": "text/plain" });
    let file = upstream.behind_the_gateway(user, "attachments.create", &file).value();
    assert!(!file[expected.upload].is_null(), "{file}");

    let mut message = input("hi", &[]);
    message["thread_id"] = "thr_nowhere".into();
    let lost = upstream.behind_the_gateway(user, "threads.add_user_message", &message);
    assert_eq!(lost.status, expected.unknown_thread);
    let nowhere = json!({ "thread_id": "thr_nowhere" });
    let lost = upstream.behind_the_gateway(user, "threads.get_by_id", &nowhere);
    assert_eq!(lost.status, 500);

    for kind in expected.unknown_types {
        let reply = upstream.behind_the_gateway(user, kind, &newer_params(kind, thread));
        assert_eq!(reply.status, 500, "{kind}");
    }
}

fn a_conversation_lives_from_create_to_delete(server: Server) {
    let (upstream, gateway) = in_front_of(server);
    let ada = gateway.caller("life");
    let conversation = ada.conversation();
    let first = ada.said(&conversation, "first words");
    let preamble = differences(server).preamble;
    assert_eq!(kinds(&first)[..preamble.len()], *preamble);
    assert_eq!(last_item(&first)["content"][0]["text"], "first words");
    let thread = first[0]["thread"]["id"].clone();
    let second = ada.said(&conversation, "second words");
    assert!(!kinds(&second).contains(&"thread.created"));
    assert_eq!(last_item(&second)["thread_id"], thread);

    let session = format!("/sessions/{}", conversation.session);
    let whole = ada.get(&session).data();
    assert_eq!(whole["thread_id"], thread);
    assert_eq!(whole["status"]["type"], "active");
    assert_eq!(whole["message_count"], 4);
    assert_eq!(
        texts(&whole),
        ["user: first words", "assistant: first words", "user: second words"]
            .into_iter()
            .chain(["assistant: second words"])
            .collect::<Vec<_>>()
    );
    let items = json!({ "thread_id": thread, "order": "asc" });
    let items = upstream.behind_the_gateway("life", "items.list", &items).value();
    for (message, item) in whole["messages"].as_array().unwrap().iter().zip(list(&items)) {
        // The servers run in UTC; those in Python don't say so, and write zeros that end nothing.
        let time = item["created_at"].as_str().unwrap().trim_end_matches('Z');
        let time = if time.contains('.') { time.trim_end_matches('0') } else { time };
        assert_eq!(message["created_at"], format!("{}Z", time.trim_end_matches('.')));
    }

    assert_eq!(ada.patch(&session, &json!({ "title": "Rain" })).data()["title"], "Rain");
    let direct = json!({ "thread_id": thread });
    let got = upstream.behind_the_gateway("life", "threads.get_by_id", &direct).value();
    assert_eq!(got["title"], "Rain");
    let sessions = ada.get("/sessions").value();
    assert_eq!(sessions["meta"]["total"], 1);
    assert_eq!(sessions["data"][0]["title"], "Rain");
    assert_eq!(sessions["data"][0]["message_count"], 4);
    let threads = ada.rpc("threads.list", &json!({})).value();
    assert_eq!(list(&threads).len(), 1, "the server has more, of other users: {threads}");
    assert_eq!(threads["data"][0]["id"], thread);

    assert_eq!(ada.delete(&session).data()["deleted"], true);
    ada.get(&session).refusal(404, "SESSION_NOT_FOUND");
    let gone = upstream.behind_the_gateway("life", "threads.get_by_id", &direct);
    assert_eq!(gone.status, 500, "the thread went with its session");
}

fn a_long_session_is_read_whole(server: Server) {
    let upstream = Upstream::shared_server(server);
    let gateway = Gateway::start_with(upstream, &[("LIMITS__MAX_MESSAGES", "0")]);
    let ada = gateway.caller("long");
    let conversation = ada.conversation();
    // More items than the gateway asks for at once.
    for n in 0..51 {
        ada.said(&conversation, &format!("message {n}"));
    }
    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    let expected: Vec<_> = (0..51)
        .flat_map(|n| [format!("user: message {n}"), format!("assistant: message {n}")])
        .collect();
    assert_eq!(texts(&whole), expected);
}

fn json_mode_answers_once(server: Server) {
    let (_, gateway) = in_front_of(server);
    let ada = gateway.caller("json");
    let conversation = ada.conversation();
    let run = ada.ask(&conversation, "word by word").data();
    assert_eq!(run["message"]["role"], "assistant");
    assert_eq!(run["message"]["content"][0]["text"], "word by word");
    assert!(run["message"]["created_at"].as_str().unwrap().ends_with('Z'), "{run}");
    let kinds: Vec<_> = list(&json!({ "data": run["items"] }))
        .iter()
        .map(|item| item["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["user_message", "assistant_message"]);

    let run = ada.ask(&conversation, "/tool pick {\"n\":[1,2.5]}").data();
    assert_eq!(run["message"]["content"], json!([]));
    assert_eq!(run["message"]["tool_calls"][0]["name"], "pick");
    assert_eq!(run["message"]["tool_calls"][0]["arguments"], json!({ "n": [1, 2.5] }));
}

fn a_failure_before_the_first_word_has_a_status(server: Server) {
    // Long enough for the failure to come first, however slow the machine.
    let upstream = Upstream::shared_server(server);
    let gateway = Gateway::start_with(upstream, &[("STREAM__HOLD_FOR", "60s")]);
    let ada = gateway.caller("failures");
    let conversation = ada.conversation();
    let error = ada.say(&conversation, "/error").finish().refusal(502, "UPSTREAM_ERROR");
    assert!(error["details"]["thread_id"].is_string(), "{error}");
    assert!(error["details"]["user_message_id"].is_string(), "{error}");
    assert_eq!(error["details"]["allow_retry"], true);
    ada.ask(&conversation, "/error").refusal(502, "UPSTREAM_ERROR");
    let error = ada.say(&conversation, "/custom No poems left.").finish();
    assert_eq!(error.refusal(422, "UPSTREAM_REJECTED")["message"], "No poems left.");

    let cut = differences(server).cut;
    let fresh = ada.conversation();
    for conversation in [&conversation, &fresh] {
        ada.say(conversation, cut).finish().refusal(502, "UPSTREAM_ERROR");
        ada.ask(conversation, cut).refusal(502, "UPSTREAM_ERROR");
        // And the conversation goes on.
        assert_eq!(last_item(&ada.said(conversation, "better"))["content"][0]["text"], "better");
    }
}

fn a_client_tool_call_gets_its_output_through_the_pass_through(server: Server) {
    let (_, gateway) = in_front_of(server);
    let ada = gateway.caller("tools");
    let conversation = ada.conversation();
    let asked = ada.said(&conversation, "/tool pick {\"from\":[1,2]}");
    let call = last_item(&asked);
    assert_eq!((&call["type"], &call["status"]), (&"client_tool_call".into(), &"pending".into()));
    let thread = &call["thread_id"];

    let output = json!({ "thread_id": thread, "result": 2 });
    let reply = ada.rpc("threads.add_client_tool_output", &output);
    assert_eq!((reply.status, reply.end), (200, End::Clean), "{}", reply.text());
    let answer = events(&reply.body);
    assert_eq!(answer[0]["type"], differences(server).after_tool_output);
    assert_eq!(last_item(&answer)["content"][0]["text"], "pick returned 2");

    let whole = ada.get(&format!("/sessions/{}", conversation.session)).data();
    let call = &whole["messages"][1]["tool_calls"][0];
    assert_eq!((&call["status"], &call["output"]), (&"completed".into(), &2.into()));

    // Nothing waits for an output any more.
    let again = ada.rpc("threads.add_client_tool_output", &output);
    assert!(again.status == 502 || again.end == End::Cut, "{} {}", again.status, again.text());

    let items = ada.rpc("items.list", &json!({ "thread_id": thread })).value();
    let newest = if differences(server).newest_first { 0 } else { 2 };
    assert_eq!(list(&items)[newest]["type"], "assistant_message", "{items}");
}

fn an_attachment_is_announced_and_used(server: Server) {
    let (_, gateway) = in_front_of(server);
    let ada = gateway.caller("files");
    let file = json!({ "name": "plan.txt", "size": 3, "mime_type": "text/plain" });
    let file = ada.rpc("attachments.create", &file).value();
    assert!(!file[differences(server).upload].is_null(), "{file}");
    let id = file["id"].as_str().unwrap();

    let conversation = ada.conversation();
    let runs = format!("{}/runs", conversation.thread);
    let message = json!({ "message": {
        "role": "user",
        "content": [{ "type": "input_text", "text": "see this" }],
        "attachments": [id],
    }});
    let reply = ada.stream(&runs, &message).finish();
    assert_eq!((reply.status, reply.end), (200, End::Clean), "{}", reply.text());
    assert_eq!(events(&reply.body)[1]["item"]["attachments"][0]["id"], id);

    let gone = json!({ "attachment_id": id });
    assert_eq!(ada.rpc("attachments.delete", &gone).status, 200);
    ada.stream(&runs, &message).finish().refusal(404, "ATTACHMENT_NOT_FOUND");
}

fn nobody_else_comes_near_it(server: Server) {
    let (_, gateway) = in_front_of(server);
    let ada = gateway.caller("ownership-ada");
    let eve = gateway.caller("ownership-eve");
    let theirs = ada.conversation();
    let thread = ada.said(&theirs, "a secret")[0]["thread"]["id"].clone();
    let session = format!("/sessions/{}", theirs.session);
    eve.get(&session).refusal(403, "FORBIDDEN");
    eve.patch(&session, &json!({ "title": "mine" })).refusal(403, "FORBIDDEN");
    eve.delete(&session).refusal(403, "FORBIDDEN");
    eve.say(&theirs, "hi").finish().refusal(403, "FORBIDDEN");
    let thread = json!({ "thread_id": thread });
    for kind in ["threads.get_by_id", "items.list", "threads.delete"] {
        eve.rpc(kind, &thread).refusal(403, "FORBIDDEN");
    }
    assert_eq!(eve.rpc("threads.list", &json!({})).value()["data"], json!([]));
    assert_eq!(texts(&ada.get(&session).data()), ["user: a secret", "assistant: a secret"]);
}

fn what_the_server_does_not_know_is_told_from_a_failure(server: Server) {
    let upstream = Upstream::shared_server(server);
    let gateway = Gateway::start_with(upstream, &[("PASSTHROUGH__UNKNOWN", "forward")]);
    let ada = gateway.caller("unknown");
    let conversation = ada.conversation();
    let thread = ada.said(&conversation, "hello")[0]["thread"]["id"].clone();
    for kind in differences(server).unknown_types {
        let reply = ada.rpc(kind, &newer_params(kind, &thread));
        let error = reply.refusal(501, "UPSTREAM_UNSUPPORTED");
        assert!(!error.to_string().contains("Unknown request type"), "the server's words: {error}");
        let (path, body) = match *kind {
            "input.transcribe" => (
                "/transcriptions".to_owned(),
                json!({ "audio_base64": "AAAA", "mime_type": "audio/mp4" }),
            ),
            "threads.add_structured_input" => {
                let path = format!("{}/items/msg_1/structured_input", conversation.thread);
                (path, json!({ "status": "skipped" }))
            }
            "threads.sync_custom_action" => {
                let path = format!("{}/actions?sync=true", conversation.thread);
                (path, json!({ "action": { "type": "go" } }))
            }
            _ => panic!("no operation for {kind}"),
        };
        ada.post(&path, &body).refusal(501, "UPSTREAM_UNSUPPORTED");
    }
    // What the gateway doesn't know either, and lets through where it is told to.
    ada.rpc("threads.dream", &json!({})).refusal(502, "UPSTREAM_ERROR");
    assert_eq!(last_item(&ada.said(&conversation, "still here"))["thread_id"], thread);
}

fn what_a_restart_lost_is_not_found(server: Server) {
    let mut upstream = Upstream::start_server(server);
    let gateway = Gateway::start(&upstream);
    let ada = gateway.caller("restart");
    let conversation = ada.conversation();
    let thread = ada.said(&conversation, "before")[0]["thread"]["id"].clone();
    let mut stream = ada.say(&conversation, "/stall 1");
    stream.until("word0");
    upstream.kill();
    assert_eq!(stream.finish().end, End::Cut);
    ada.say(&conversation, "anyone?").finish().refusal(502, "UPSTREAM_ERROR");

    // Its store was in its memory.
    upstream.restart();
    ada.say(&conversation, "anyone?").finish().refusal(404, "THREAD_NOT_FOUND");
    ada.ask(&conversation, "anyone?").refusal(404, "THREAD_NOT_FOUND");
    let thread = json!({ "thread_id": thread });
    ada.rpc("threads.get_by_id", &thread).refusal(404, "THREAD_NOT_FOUND");
    let title = json!({ "title": "lost" });
    let session = format!("/sessions/{}", conversation.session);
    ada.patch(&session, &title).refusal(404, "THREAD_NOT_FOUND");
    assert_eq!(ada.delete(&session).data()["deleted"], true);
    ada.said(&ada.conversation(), "after");
}

fn in_front_of(server: Server) -> (&'static Upstream, Gateway) {
    let upstream = Upstream::shared_server(server);
    (upstream, Gateway::start(upstream))
}

/// Makes valid `params` for one of [`NEWER_TYPES`].
fn newer_params(kind: &str, thread: &Value) -> Value {
    match kind {
        "input.transcribe" => json!({ "audio_base64": "AAAA", "mime_type": "audio/mp4" }),
        "threads.add_structured_input" => {
            json!({ "thread_id": thread, "item_id": "msg_1", "input": { "status": "skipped" } })
        }
        "threads.sync_custom_action" => {
            json!({ "thread_id": thread, "action": { "type": "go" } })
        }
        _ => panic!("no parameters for {kind}"),
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Gives the rows of a page.
fn list(page: &Value) -> &[Value] {
    page["data"].as_array().unwrap_or_else(|| panic!("no page: {page}"))
}

/// Gives a session's messages, such as `user: Hello`.
fn texts(session: &Value) -> Vec<String> {
    let messages = session["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| {
            let text = message["content"][0]["text"].as_str().unwrap_or_default();
            format!("{}: {text}", message["role"].as_str().unwrap())
        })
        .collect()
}
