//! A thread's item → the same in the words of the OpenAI-compatible API. Pure.
//!
//! What has no counterpart there is left out: images, structured input, ends of turns, items of
//! kinds to come, and parts of those that have one. What is JSON there is a text of JSON here, as
//! the upstream wrote it.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::translate::time;

/// An item as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) id: String,
    object: &'static str,
    thread_id: String,
    created_at: i64,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Kind {
    #[serde(rename = "chatkit.user_message")]
    UserMessage {
        content: Vec<InputPart>,
        attachments: Vec<Attachment>,
        inference_options: Option<InferenceOptions>,
    },
    #[serde(rename = "chatkit.assistant_message")]
    AssistantMessage { content: Vec<OutputPart> },
    #[serde(rename = "chatkit.widget")]
    Widget { widget: String },
    #[serde(rename = "chatkit.client_tool_call")]
    ClientToolCall {
        call_id: String,
        name: String,
        arguments: String,
        output: Option<String>,
        status: &'static str,
    },
    #[serde(rename = "chatkit.task")]
    Task { task_type: &'static str, heading: Option<String>, summary: Option<String> },
    #[serde(rename = "chatkit.task_group")]
    TaskGroup { tasks: Vec<GroupedTask> },
}

#[derive(Debug, Serialize)]
struct InputPart {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Attachment {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    mime_type: String,
    preview_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct InferenceOptions {
    model: Option<String>,
    tool_choice: Option<ToolChoice>,
}

#[derive(Debug, Serialize)]
struct ToolChoice {
    id: String,
}

#[derive(Debug, Serialize)]
struct OutputPart {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
    annotations: Vec<Annotation>,
}

#[derive(Debug, Serialize)]
struct Annotation {
    #[serde(rename = "type")]
    kind: &'static str,
    source: Source,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source {
    File { filename: String },
    Url { url: String },
}

#[derive(Debug, Serialize)]
struct GroupedTask {
    #[serde(rename = "type")]
    kind: &'static str,
    heading: Option<String>,
    summary: Option<String>,
}

/// What every item has, and those parts of some whose text must not change.
#[derive(Deserialize)]
struct Raw<'a> {
    id: String,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(borrow, default)]
    widget: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// An item of `thread_id`'s, or `None` for one without a counterpart. Times without a zone are
/// taken as `offset` from UTC; without a time, an item is as old as its thread.
pub(super) fn item(
    json: &RawValue,
    thread_id: &str,
    offset: Offset,
    thread_created_at: i64,
) -> Option<Item> {
    let raw: Raw<'_> = serde_json::from_str(json.get()).ok()?;
    let value: Value = serde_json::from_str(json.get()).ok()?;
    let kind = match &*raw.kind {
        "user_message" => user_message(&value),
        "assistant_message" => Kind::AssistantMessage {
            content: list(&value, "content").iter().map(output_part).collect(),
        },
        "widget" => Kind::Widget { widget: raw.widget?.get().to_owned() },
        "client_tool_call" => {
            let completed = text(&value, "status").as_deref() == Some("completed");
            // A call that was completed with null has no output on the upstream's side.
            let null = completed.then(|| "null".to_owned());
            Kind::ClientToolCall {
                call_id: text(&value, "call_id").unwrap_or_default(),
                name: text(&value, "name").unwrap_or_default(),
                arguments: raw.arguments.map_or("{}", RawValue::get).to_owned(),
                output: raw.output.map(|output| output.get().to_owned()).or(null),
                status: if completed { "completed" } else { "in_progress" },
            }
        }
        "task" => {
            let GroupedTask { kind, heading, summary } = task(value.get("task")?);
            Kind::Task { task_type: kind, heading, summary }
        }
        "workflow" => Kind::TaskGroup {
            tasks: list(value.get("workflow")?, "tasks").iter().map(task).collect(),
        },
        _ => return None,
    };
    let created_at = raw.created_at.and_then(|text| time::parse(&text, offset));
    Some(Item {
        id: raw.id,
        object: "chatkit.thread_item",
        thread_id: thread_id.to_owned(),
        created_at: created_at.map_or(thread_created_at, Timestamp::as_second),
        kind,
    })
}

fn user_message(value: &Value) -> Kind {
    // ChatKit's own page sends an empty text where nothing is quoted.
    let quoted = text(value, "quoted_text").filter(|quoted| !quoted.is_empty());
    let quoted = quoted.map(|text| InputPart { kind: "quoted_text", text });
    let parts = list(value, "content")
        .iter()
        .filter_map(|part| Some(InputPart { kind: "input_text", text: text(part, "text")? }));
    let attachments = list(value, "attachments").iter().filter_map(|attachment| {
        Some(Attachment {
            id: text(attachment, "id")?,
            kind: match text(attachment, "type").as_deref() {
                Some("image") => "image",
                _ => "file",
            },
            name: text(attachment, "name").unwrap_or_default(),
            mime_type: text(attachment, "mime_type").unwrap_or_default(),
            preview_url: text(attachment, "preview_url"),
        })
    });
    let options = value.get("inference_options").and_then(|options| {
        let model = text(options, "model");
        let tool = options.get("tool_choice").and_then(|choice| text(choice, "id"));
        let tool_choice = tool.map(|id| ToolChoice { id });
        (model.is_some() || tool_choice.is_some())
            .then_some(InferenceOptions { model, tool_choice })
    });
    Kind::UserMessage {
        content: quoted.into_iter().chain(parts).collect(),
        attachments: attachments.collect(),
        inference_options: options,
    }
}

fn output_part(part: &Value) -> OutputPart {
    let annotations = list(part, "annotations").iter().filter_map(|annotation| {
        let source = annotation.get("source")?;
        Some(match text(source, "type").as_deref() {
            Some("url") => {
                Annotation { kind: "url", source: Source::Url { url: text(source, "url")? } }
            }
            Some("file") => Annotation {
                kind: "file",
                source: Source::File { filename: text(source, "filename")? },
            },
            _ => return None,
        })
    });
    OutputPart {
        kind: "output_text",
        text: text(part, "text").unwrap_or_default(),
        annotations: annotations.collect(),
    }
}

fn task(task: &Value) -> GroupedTask {
    GroupedTask {
        kind: if text(task, "type").as_deref() == Some("thought") { "thought" } else { "custom" },
        heading: text(task, "title"),
        summary: text(task, "content"),
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::validate::compile;

    /// The item in the middle of a page, without what all have; null if it is left out.
    fn converted(json: &str) -> Value {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        let Some(item) = item(&raw, "thr_1", Offset::UTC, 7) else { return Value::Null };
        let mut value = serde_json::to_value(item).unwrap();
        let page = json!({"object": "list", "data": [value.clone()], "first_id": "x",
            "last_id": "x", "has_more": false});
        let schema = compile("openai_list_items.reply").unwrap();
        assert!(schema.is_valid(&page), "{page}");
        let common = value.as_object_mut().unwrap();
        assert_eq!(common.remove("id").unwrap(), "i");
        assert_eq!(common.remove("object").unwrap(), "chatkit.thread_item");
        assert_eq!(common.remove("thread_id").unwrap(), "thr_1");
        value
    }

    #[test]
    fn a_user_message() {
        assert_eq!(
            converted(
                r#"{"id":"i","thread_id":"thr_1","created_at":"2026-11-21T03:35:00.9","type":"user_message",
                "content":[{"type":"input_text","text":" hi "},
                    {"type":"input_tag","id":"t","text":"@x","data":{"n":1},"group":"g","interactive":true}],
                "attachments":[
                    {"id":"a1","type":"image","name":"p.png","mime_type":"image/png","preview_url":"http://x/p",
                     "upload_descriptor":{"url":"u","method":"PUT","headers":{}},"thread_id":"thr_1"},
                    {"id":"a2","type":"file","name":"f.txt","mime_type":"text/plain"}],
                "quoted_text":"what?","inference_options":{"tool_choice":{"id":"t"}}}"#
            ),
            json!({
                "created_at": 1_795_232_100, "type": "chatkit.user_message",
                "content": [
                    {"type": "quoted_text", "text": "what?"},
                    {"type": "input_text", "text": " hi "},
                    {"type": "input_text", "text": "@x"},
                ],
                "attachments": [
                    {"id": "a1", "type": "image", "name": "p.png", "mime_type": "image/png",
                     "preview_url": "http://x/p"},
                    {"id": "a2", "type": "file", "name": "f.txt", "mime_type": "text/plain",
                     "preview_url": null},
                ],
                "inference_options": {"model": null, "tool_choice": {"id": "t"}},
            })
        );
        for absent in [
            r#"{"id":"i","type":"user_message","content":[],"attachments":[],"quoted_text":"","inference_options":{}}"#,
            r#"{"id":"i","type":"user_message","content":null,"quoted_text":null,"inference_options":null}"#,
        ] {
            assert_eq!(
                converted(absent),
                json!({"created_at": 7, "type": "chatkit.user_message", "content": [],
                    "attachments": [], "inference_options": null})
            );
        }
        let model = r#"{"id":"i","type":"user_message","inference_options":{"model":"m"}}"#;
        assert_eq!(
            converted(model)["inference_options"],
            json!({"model": "m", "tool_choice": null})
        );
    }

    #[test]
    fn an_assistant_message() {
        assert_eq!(
            converted(
                r#"{"id":"i","created_at":"2026-11-21T03:35:00Z","type":"assistant_message","content":[
                {"type":"output_text","text":"a","annotations":[
                    {"type":"annotation","index":1,"source":{"type":"url","url":"http://x","title":"X","group":"g"}},
                    {"type":"annotation","source":{"type":"file","filename":"f.txt","title":"F"}},
                    {"type":"annotation","source":{"type":"entity","id":"e","title":"E"}}]},
                {"type":"output_text","text":"b"}]}"#
            ),
            json!({
                "created_at": 1_795_232_100, "type": "chatkit.assistant_message",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": [
                        {"type": "url", "source": {"type": "url", "url": "http://x"}},
                        {"type": "file", "source": {"type": "file", "filename": "f.txt"}},
                    ]},
                    {"type": "output_text", "text": "b", "annotations": []},
                ],
            })
        );
    }

    #[test]
    fn a_widget_is_a_text_of_json() {
        assert_eq!(
            converted(
                r#"{"id":"i","type":"widget","widget":{"type":"Card","z":1.50,"a":"\u00f6"},"copy_text":"c"}"#
            ),
            json!({"created_at": 7, "type": "chatkit.widget",
                "widget": r#"{"type":"Card","z":1.50,"a":"\u00f6"}"#})
        );
        assert_eq!(converted(r#"{"id":"i","type":"widget"}"#), Value::Null);
    }

    #[test]
    fn a_client_tool_call_is_in_progress_or_completed() {
        let call = |rest: &str| {
            let call = format!(
                r#"{{"id":"i","type":"client_tool_call","call_id":"c","name":"f","arguments":{{"n":1.0}},{rest}}}"#
            );
            let value = converted(&call);
            assert_eq!(value["type"], "chatkit.client_tool_call");
            assert_eq!(value["arguments"], r#"{"n":1.0}"#);
            (value["status"].clone(), value["output"].clone())
        };
        for (rest, status, output) in [
            (r#""status":"pending""#, "in_progress", Value::Null),
            (
                r#""status":"completed","output":{"a":[null]}"#,
                "completed",
                json!(r#"{"a":[null]}"#),
            ),
            (r#""status":"completed","output":"x""#, "completed", json!("\"x\"")),
            (r#""status":"completed""#, "completed", json!("null")),
            (r#""status":"completed","output":null"#, "completed", json!("null")),
        ] {
            assert_eq!(call(rest), (json!(status), output), "{rest}");
        }
    }

    #[test]
    fn tasks_alone_and_in_a_workflow() {
        assert_eq!(
            converted(
                r#"{"id":"i","type":"task","task":{"type":"custom","title":"T","content":"C","icon":"x","status_indicator":"none"}}"#
            ),
            json!({"created_at": 7, "type": "chatkit.task", "task_type": "custom",
                "heading": "T", "summary": "C"})
        );
        assert_eq!(
            converted(
                r#"{"id":"i","type":"workflow","workflow":{"type":"reasoning","expanded":false,"summary":{"title":"S"},"tasks":[
                {"type":"thought","content":"C"},{"type":"web_search","title":"W","queries":["q"]},
                {"type":"file","title":"F"},{"type":"image"}]}}"#
            ),
            json!({"created_at": 7, "type": "chatkit.task_group", "tasks": [
                {"type": "thought", "heading": null, "summary": "C"},
                {"type": "custom", "heading": "W", "summary": null},
                {"type": "custom", "heading": "F", "summary": null},
                {"type": "custom", "heading": null, "summary": null},
            ]})
        );
    }

    #[test]
    fn what_has_no_counterpart_is_left_out() {
        for kind in [
            "generated_image",
            "structured_input",
            "end_of_turn",
            "hidden_context_item",
            "sdk_hidden_context",
            "of a newer server",
        ] {
            let item = format!(r#"{{"id":"i","type":"{kind}","content":[]}}"#);
            assert_eq!(converted(&item), Value::Null);
        }
        for broken in [r#"{"type":"user_message"}"#, r#"{"id":7,"type":"widget"}"#, "[]"] {
            assert_eq!(converted(broken), Value::Null);
        }
    }
}
