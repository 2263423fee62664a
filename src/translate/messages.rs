//! Thread items → the messages of the REST API.

use std::borrow::Cow;

use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::time;

/// A message as REST shows it.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) id: String,
    role: &'static str,
    content: Vec<Part>,
    tool_calls: Vec<ToolCall>,
    pub(super) created_at: String,
}

impl Message {
    /// Its text, in one.
    pub(super) fn text(&self) -> String {
        self.content.iter().map(|part| &*part.text).collect()
    }
}

#[derive(Debug, Serialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct ToolCall {
    id: String,
    call_id: String,
    name: String,
    arguments: Box<RawValue>,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ItemHead<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MessageItem {
    id: String,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    content: Vec<PartItem>,
}

#[derive(Deserialize)]
struct PartItem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct ToolCallItem<'a> {
    id: String,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    call_id: String,
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    arguments: &'a RawValue,
    #[serde(default)]
    status: String,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// The messages among a thread's items, oldest first, and how many the store is to count.
///
/// A client tool call belongs to the assistant's message before it; where there is none since
/// the user's last message, it makes one without content. Other items (widgets, workflows,
/// tasks, …) are no messages, and an item that isn't one that can be read is left out.
pub(super) fn messages(items: &[Box<RawValue>], offset: Offset) -> (Vec<Message>, u64) {
    let mut messages: Vec<Message> = Vec::new();
    let mut counted = 0;
    for item in items {
        let Ok(head) = serde_json::from_str::<ItemHead<'_>>(item.get()) else { continue };
        match &*head.kind {
            kind @ ("user_message" | "assistant_message") => {
                let Ok(item) = serde_json::from_str::<MessageItem>(item.get()) else { continue };
                counted += 1;
                messages.push(Message {
                    id: item.id,
                    role: if kind == "user_message" { "user" } else { "assistant" },
                    content: item
                        .content
                        .into_iter()
                        .map(|part| Part { kind: part.kind, text: part.text })
                        .collect(),
                    tool_calls: Vec::new(),
                    created_at: time::normalize(&item.created_at, offset),
                });
            }
            "client_tool_call" => {
                let Ok(item) = serde_json::from_str::<ToolCallItem<'_>>(item.get()) else {
                    continue;
                };
                let call = ToolCall {
                    id: item.id.clone(),
                    call_id: item.call_id,
                    name: item.name,
                    arguments: item.arguments.to_owned(),
                    status: item.status,
                    output: item.output.map(RawValue::to_owned),
                };
                match messages.last_mut() {
                    Some(message) if message.role == "assistant" => message.tool_calls.push(call),
                    _ => messages.push(Message {
                        id: item.id,
                        role: "assistant",
                        content: Vec::new(),
                        tool_calls: vec![call],
                        created_at: time::normalize(&item.created_at, offset),
                    }),
                }
            }
            _ => {}
        }
    }
    (messages, counted)
}

/// The assistant's last message of a run; `None` if it had nothing to say.
pub(super) fn answer(items: &[Box<RawValue>], offset: Offset) -> Option<Message> {
    messages(items, offset).0.into_iter().rfind(|message| message.role == "assistant")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(items: &[&str]) -> (serde_json::Value, u64) {
        let items: Vec<Box<RawValue>> =
            items.iter().map(|json| RawValue::from_string((*json).to_owned()).unwrap()).collect();
        let (messages, counted) = messages(&items, Offset::UTC);
        (serde_json::to_value(messages).unwrap(), counted)
    }

    #[test]
    fn items_become_messages() {
        let (messages, counted) = fold(&[
            r#"{"id":"m1","created_at":"2026-11-21T03:00:00","type":"user_message","content":[{"type":"input_text","text":"hi"},{"type":"input_tag","id":"t","text":"@x","data":{}}],"attachments":[]}"#,
            r#"{"id":"wf","type":"workflow"}"#,
            r#"{"id":"m2","created_at":"2026-11-21T03:00:01","type":"assistant_message","content":[{"type":"output_text","text":"hello","annotations":[]}]}"#,
            r#"{"id":"tc1","created_at":"2026-11-21T03:00:02","type":"client_tool_call","status":"pending","call_id":"c1","name":"f","arguments":{"n":1.50}}"#,
            r#"{"id":"m3","created_at":"2026-11-21T03:00:03","type":"user_message","content":[]}"#,
            r#"{"id":"tc2","created_at":"2026-11-21T03:00:04","type":"client_tool_call","status":"completed","call_id":"c2","name":"g","arguments":{},"output":null}"#,
            r#"{"broken":1}"#,
        ]);
        assert_eq!(counted, 3);
        assert_eq!(
            messages,
            serde_json::json!([
                {"id":"m1","role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_tag","text":"@x"}],"tool_calls":[],"created_at":"2026-11-21T03:00:00Z"},
                {"id":"m2","role":"assistant","content":[{"type":"output_text","text":"hello"}],"created_at":"2026-11-21T03:00:01Z",
                 "tool_calls":[{"id":"tc1","call_id":"c1","name":"f","arguments":{"n":1.5},"status":"pending"}]},
                {"id":"m3","role":"user","content":[],"tool_calls":[],"created_at":"2026-11-21T03:00:03Z"},
                {"id":"tc2","role":"assistant","content":[],"created_at":"2026-11-21T03:00:04Z",
                 "tool_calls":[{"id":"tc2","call_id":"c2","name":"g","arguments":{},"status":"completed"}]},
            ])
        );
    }
}
