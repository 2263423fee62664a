//! Somebody else's id, wherever one can be named: it is refused, the upstream hears nothing of it, and
//! where that is wanted nobody can tell it from one that doesn't exist.

mod attempts;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use chatkit_rest::config::ApiKey;
use chatkit_rest::operation::Name;
use chatkit_rest::protocol::RequestType;
use chatkit_rest::validate::SOURCES;
use serde_json::{Value, json};

use self::attempts::{Attempt, Refused, Things, attempts, chatkit, chatkit_attempts};
use crate::support::{
    Answering, Gateway, MESSAGE_DONE, Reply, Upstream, json_answer, options, preamble,
    stream_answer, user_done,
};

/// THE TABLE: operation → the parameters that can name something of somebody's. Both are compared
/// with the operations, their paths and their schemas.
const NAMES: [(&str, &[&str]); 31] = [
    ("create_session", &[]),
    ("list_sessions", &["after"]),
    ("get_session", &["session_id"]),
    ("update_session", &["session_id"]),
    ("delete_session", &["session_id"]),
    ("create_thread", &["session_id"]),
    ("create_run", &["session_id", "thread_id", "attachments"]),
    ("get_thread", &["session_id", "thread_id"]),
    ("list_threads", &["session_id"]),
    ("retry_item", &["session_id", "thread_id", "item_id"]),
    ("submit_tool_output", &["session_id", "thread_id"]),
    ("submit_structured_input", &["session_id", "thread_id", "item_id"]),
    ("run_action", &["session_id", "thread_id", "item_id"]),
    // Each of its types is below.
    ("passthrough", &[]),
    ("chat", &["conversation_id"]),
    ("chat_for_user", &["user_id", "conversation_id"]),
    ("list_conversations", &["after"]),
    ("list_conversations_for_user", &["user_id", "after"]),
    ("get_conversation", &["conversation_id", "after"]),
    ("get_conversation_for_user", &["user_id", "conversation_id", "after"]),
    ("list_items", &["session_id", "thread_id", "after"]),
    ("create_feedback", &["session_id", "thread_id", "item_ids"]),
    ("create_attachment", &[]),
    ("delete_attachment", &["attachment_id"]),
    ("create_transcription", &[]),
    ("openai_create_session", &["user"]),
    ("openai_cancel_session", &["session_id"]),
    ("openai_list_threads", &["user", "after", "before"]),
    ("openai_get_thread", &["thread_id"]),
    ("openai_delete_thread", &["thread_id"]),
    ("openai_list_items", &["thread_id", "after", "before"]),
];

/// The same of the pass-through's types. What else of [`ANYWHERE`] they may have is tried as well.
const CHATKIT_NAMES: [(&str, &[&str]); 16] = [
    ("attachments.create", &[]),
    ("attachments.delete", &["attachment_id"]),
    ("input.transcribe", &[]),
    ("items.feedback", &["thread_id", "item_ids"]),
    ("items.list", &["thread_id", "after"]),
    ("threads.add_client_tool_output", &["thread_id"]),
    ("threads.add_structured_input", &["thread_id", "item_id"]),
    ("threads.add_user_message", &["thread_id", "attachments"]),
    ("threads.create", &["attachments"]),
    ("threads.custom_action", &["thread_id", "item_id"]),
    ("threads.delete", &["thread_id"]),
    ("threads.get_by_id", &["thread_id"]),
    ("threads.list", &["after"]),
    ("threads.retry_after_item", &["thread_id", "item_id"]),
    ("threads.sync_custom_action", &["thread_id", "item_id"]),
    ("threads.update", &["thread_id"]),
];

/// What is looked up in every ChatKit request that has it, whatever its type makes of it.
const ANYWHERE: [&str; 3] = ["thread_id", "attachment_id", "attachments"];

/// Gives everything that is tried, and what it is called.
fn all() -> Vec<(String, Attempt)> {
    let mut all = Vec::new();
    for (operation, names) in NAMES {
        let operation = *Name::ALL.iter().find(|known| known.as_str() == operation).unwrap();
        for name in names {
            let attempts = attempts(operation, name).into_iter();
            all.extend(attempts.map(|attempt| (format!("{name} of {operation}"), attempt)));
        }
    }
    for (kind, names) in CHATKIT_NAMES {
        let kind = RequestType::parse(kind).unwrap();
        let names: BTreeSet<&str> = names.iter().copied().chain(ANYWHERE).collect();
        for name in names {
            let attempts = chatkit_attempts(move |own| chatkit(kind, own), name).into_iter();
            all.extend(attempts.map(|attempt| (format!("{name} of {kind}"), attempt)));
        }
    }
    let unknown = |_: &Things| json!({ "type": "threads.clone", "params": {} });
    for name in ANYWHERE {
        let attempts = chatkit_attempts(unknown, name).into_iter();
        all.extend(attempts.map(|attempt| (format!("{name} of a type that isn't known"), attempt)));
    }
    all
}

/// Gives an upstream that does whatever it is asked, and gives each thread and attachment its own
/// id.
fn obedient(upstream: Upstream) -> Answering {
    let next = AtomicU32::new(1);
    upstream.answer(move |received| {
        let kind = RequestType::parse(&received.kind());
        let number = next.fetch_add(1, Ordering::SeqCst);
        if kind == Some(RequestType::ThreadsCreate) {
            let thread = preamble(&format!("thr_{number}"));
            return stream_answer(&format!("{thread}{MESSAGE_DONE}"));
        }
        if kind.is_some_and(RequestType::is_streaming) {
            return stream_answer(&format!("{}{}{MESSAGE_DONE}", user_done("msg_u"), options()));
        }
        let mut answer = json!({ "id": format!("atc_{number}"), "text": "", "data": [] });
        answer["has_more"] = json!(false);
        if let Some(thread) = received.json()["params"]["thread_id"].as_str() {
            answer["id"] = json!(thread);
            answer["items"] = json!({ "data": [], "has_more": false });
        }
        json_answer(&answer.to_string())
    })
}

async fn gateway(upstream: &Upstream, hidden: bool, ids: &str) -> Gateway {
    let keys = format!("support={}", ApiKey::of("support", "sk-1").unwrap().digest());
    let hidden = hidden.to_string();
    let settings = [
        ("session.hide_foreign", &*hidden),
        ("chat.id_format", ids),
        ("passthrough.unknown", "forward"),
        ("openai.api_keys", &keys),
        ("limits.max_sessions", "0"),
        ("chat.max_sessions", "0"),
    ];
    Gateway::with(upstream, &settings).await
}

/// Gives a reply, as far as it may tell anything.
fn told(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut fields = reply.head.fields.clone();
    fields.retain(|(name, _)| name != "date");
    (reply.status, fields, reply.text().to_owned())
}

#[tokio::test]
async fn it_is_refused_by_every_operation_and_told_from_nothing_where_it_is_hidden() {
    for ids in ["uuid", "conv", "integer"] {
        for hidden in [false, true] {
            let upstream = Upstream::bind().await;
            let gateway = gateway(&upstream, hidden, ids).await;
            let upstream = obedient(upstream);
            let theirs = Things::of(&gateway, "ada").await;
            let own = Things::of(&gateway, "eve").await;
            let nobodys = Things::unknown(&theirs);
            gateway.settle().await;
            let asked = upstream.types();
            for (what, attempt) in all() {
                let what = format!("{what}, hidden: {hidden}, {ids}");
                let send = async |other: &Things| {
                    let request = (attempt.request)(&own, other);
                    gateway.send(request.field("x-request-id", "foreign")).await
                };
                let (reply, unknown) = (send(&theirs).await, send(&nobodys).await);
                let (status, code) = match attempt.refused {
                    Refused::Foreign(code) if hidden => (404, code),
                    Refused::Foreign(code) => {
                        let said = unknown.json()["error"]["code"].clone();
                        assert_eq!((unknown.status, said), (404, json!(code)), "{what}");
                        (403, "FORBIDDEN")
                    }
                    Refused::Always => (403, "FORBIDDEN"),
                    Refused::NoCursor(status) => (status, "INVALID_INPUT"),
                    Refused::Closed => (401, ""),
                };
                assert_eq!(reply.status, status, "{what}: {}", reply.text());
                if attempt.refused != Refused::Closed {
                    assert_eq!(reply.json()["error"]["code"], code, "{what}");
                }
                if hidden || !matches!(attempt.refused, Refused::Foreign(_)) {
                    assert_eq!(told(&reply), told(&unknown), "{what}");
                }
            }
            gateway.settle().await;
            assert_eq!(upstream.types(), asked, "hidden: {hidden}, {ids}");
        }
    }
}

// Otherwise it could be anything else that is refused above.
#[tokio::test]
async fn the_same_requests_are_not_refused_where_all_is_the_callers_own() {
    for ids in ["uuid", "conv", "integer"] {
        let upstream = Upstream::bind().await;
        let gateway = gateway(&upstream, false, ids).await;
        let _upstream = obedient(upstream);
        for (what, attempt) in all() {
            if !matches!(attempt.refused, Refused::Foreign(_) | Refused::Always) {
                continue;
            }
            // New ones each time: some are deleted by it.
            let own = Things::of(&gateway, "eve").await;
            let reply = gateway.send((attempt.request)(&own, &own)).await;
            assert_eq!(reply.status, 200, "{what}, {ids}: {}", reply.text());
        }
    }
}

fn schema(name: &str) -> Option<Value> {
    let (_, source) = SOURCES.iter().find(|(known, _)| *known == name)?;
    Some(serde_json::from_str(source).unwrap())
}

/// Gives the parameters of a path and the members of schemas that name something, by what they are
/// called.
fn naming(path: &str, schemas: &[String]) -> BTreeSet<String> {
    fn collect(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(members) => {
                for (name, value) in members {
                    if let ("properties", Some(properties)) = (name.as_str(), value.as_object()) {
                        found.extend(properties.keys().cloned());
                    }
                    collect(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for schema in schemas.iter().filter_map(|name| schema(name)) {
        collect(&schema, &mut found);
    }
    found.retain(|name| {
        name.ends_with("_id")
            || name.ends_with("_ids")
            || ["attachments", "after", "before", "user"].contains(&name.as_str())
    });
    let segments = path.split('/').filter_map(|segment| segment.strip_prefix('{'));
    found.extend(segments.map(|segment| segment.trim_end_matches('}').to_owned()));
    found
}

#[test]
fn no_operation_no_type_and_no_parameter_is_forgotten() {
    let known: BTreeSet<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, Name::ALL.iter().map(|operation| operation.as_str()).collect());
    for (name, names) in NAMES {
        let operation = Name::ALL.iter().find(|operation| operation.as_str() == name).unwrap();
        let schemas = ["request", "query"].map(|kind| format!("{name}.{kind}"));
        let names: BTreeSet<String> = names.iter().copied().map(str::to_owned).collect();
        assert_eq!(names, naming(operation.path(), &schemas), "{name}");
    }
    let known: BTreeSet<&str> = CHATKIT_NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, RequestType::ALL.iter().map(|kind| kind.as_str()).collect());
    for (kind, names) in CHATKIT_NAMES {
        let names: BTreeSet<String> = names.iter().copied().map(str::to_owned).collect();
        assert_eq!(names, naming("", &[format!("chatkit/{kind}")]), "{kind}");
    }
}
