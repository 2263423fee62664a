//! The same requests to the Python SDK, `openai-chatkit` 1.6.5 on FastAPI and uvicorn, and what
//! it sent: types, fields and their order must be the same here.
//!
//! The messages' texts were exchanged for the commands of `Echo`; of deltas in a row only the
//! first is kept.

use chatkit_rest::embedded::Json;

use crate::client::{array, json, kind, op, post, quoted, server, string};

/// Tells whether it is free-form JSON, or differs on purpose.
fn is_opaque(json: &Json, key: &str) -> bool {
    match key {
        "arguments" | "children" | "upload_descriptor" => true,
        "data" => matches!(json, Json::Object(_)),
        _ => false,
    }
}

/// Types and fields in their order, without the values.
fn shape(json: &Json, key: &str) -> String {
    match json {
        Json::String(text) if matches!(key, "type" | "code" | "status" | "level") => quoted(text),
        _ if is_opaque(json, key) => "…".into(),
        Json::Null => "null".into(),
        Json::Bool(yes) => yes.to_string(),
        Json::Number(_) => "number".into(),
        Json::String(_) => "string".into(),
        Json::Array(values) => {
            format!(
                "[{}]",
                values.iter().map(|value| shape(value, key)).collect::<Vec<_>>().join(",")
            )
        }
        Json::Object(entries) => {
            let fields = entries.iter().map(|(key, value)| format!("{key}:{}", shape(value, key)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn is_delta(event: &Json) -> bool {
    kind(event).ends_with("text_delta")
}

/// Tells whether the event tells a title that the recorded server did not give.
fn tells_title(event: &Json) -> bool {
    kind(event) == "thread.updated"
        && event.get("thread").unwrap().get("status").unwrap().to_string() == r#"{"type":"active"}"#
}

#[tokio::test]
async fn events_are_the_recorded_ones() {
    let recorded = json(include_str!("recorded.json"));
    assert!(array(&recorded).len() > 20);
    for exchange in array(&recorded) {
        let name = string(exchange, "name");
        let server = server();
        let mut request = exchange.get("request").unwrap().to_string();
        if name == "create-with-attachments" {
            for (recorded, mime_type) in
                [("atc_5dc15820", "application/pdf"), ("atc_7436c00c", "image/png")]
            {
                let params = format!(r#"{{"name":"x","size":5,"mime_type":"{mime_type}"}}"#);
                let made = op(&server, "attachments.create", &params).await.json();
                request = request.replace(recorded, &string(&made, "id"));
            }
        }
        let answer = post(&server, &request).await;
        assert!(!answer.cut, "{name}");

        let mut events = answer.events();
        events.dedup_by(|next, previous| is_delta(next) && is_delta(previous));
        if name != "create-title" {
            events.retain(|event| !tells_title(event));
        }
        let ours: Vec<String> = events.iter().map(|event| shape(event, "")).collect();
        let theirs: Vec<String> =
            array(exchange.get("events").unwrap()).iter().map(|event| shape(event, "")).collect();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            // The recorded server's thread has no title when it is closed, and its second file
            // was uploaded.
            let ours = ours.replace("{title:string,id:", "{id:");
            let theirs = theirs.replace("{title:string,id:", "{id:");
            assert_eq!(
                ours.replace("upload_descriptor:…,", ""),
                theirs.replace("upload_descriptor:…,", ""),
                "{name}"
            );
        }
        assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?}");
    }
}
