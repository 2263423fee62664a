//! A thread's item → the same in the words of the OpenAI-compatible API. Pure.
//!
//! What has no counterpart there is left out: images, structured input, ends of turns, items of
//! kinds to come, and parts of those that have one. What is JSON there is a text of JSON here, as
//! the upstream wrote it.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::chatkit::messages::{MessagePart, free_form, is_completed, pieces};
use crate::chatkit::time;
use crate::chatkit::upstream::UpstreamFailure;
use crate::stream::{ItemKind, Object};

/// An item as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct ThreadItem {
    pub(super) id: String,
    object: &'static str,
    thread_id: String,
    created_at: i64,
    #[serde(flatten)]
    kind: ThreadItemKind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum ThreadItemKind {
    #[serde(rename = "chatkit.user_message")]
    UserMessage {
        content: Vec<InputPart>,
        attachments: Vec<ItemAttachment>,
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
struct ItemAttachment {
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
    source: AnnotationSource,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum AnnotationSource {
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

/// Converts an item of `thread_id`'s, or gives `None` for one without a counterpart. Times without a zone are
/// taken as `offset` from UTC; without a time that can be read, an item is as old as its thread.
///
/// # Errors
/// If it has no id that can be read: there would be no cursor of it.
pub(super) fn item(
    json: &RawValue,
    thread_id: &str,
    offset: Offset,
    thread_created_at: i64,
) -> Result<Option<ThreadItem>, UpstreamFailure> {
    const NOT_ONE: UpstreamFailure = UpstreamFailure::Protocol("the upstream's item is not one");
    let item = Object::of(json).ok_or(NOT_ONE)?;
    let kind = match (item.item_kind(), item.text("type").as_deref()) {
        (None | Some(ItemKind::StructuredInput | ItemKind::Unseen), _) => return Ok(None),
        (Some(ItemKind::UserMessage), _) => user_message(&item),
        (Some(ItemKind::AssistantMessage), _) => ThreadItemKind::AssistantMessage {
            content: pieces(&item, "output_text")
                .unwrap_or_default()
                .into_iter()
                .map(output_part)
                .collect(),
        },
        (Some(ItemKind::Other), Some("widget")) => {
            ThreadItemKind::Widget { widget: json_text(&item, "widget", "null") }
        }
        (Some(ItemKind::ClientToolCall), _) => {
            let completed = is_completed(&item);
            // A call that was completed with null has no output on the upstream's side.
            let null = completed.then(|| "null".to_owned());
            ThreadItemKind::ClientToolCall {
                call_id: item.text("call_id").unwrap_or_default(),
                name: item.text("name").unwrap_or_default(),
                arguments: json_text(&item, "arguments", "{}"),
                output: item.get("output").map(|output| output.get().to_owned()).or(null),
                status: if completed { "completed" } else { "in_progress" },
            }
        }
        (Some(ItemKind::Other), Some("task")) => {
            let GroupedTask { kind, heading, summary } = task(item.object("task").as_ref());
            ThreadItemKind::Task { task_type: kind, heading, summary }
        }
        (Some(ItemKind::Other), Some("workflow")) => ThreadItemKind::TaskGroup {
            tasks: item
                .object("workflow")
                .map(|workflow| workflow.list("tasks"))
                .unwrap_or_default()
                .into_iter()
                .map(|json| task(Object::of(json).as_ref()))
                .collect(),
        },
        (Some(ItemKind::Other), _) => return Ok(None),
    };
    let created_at = item.text("created_at").and_then(|text| time::parse(&text, offset));
    Ok(Some(ThreadItem {
        id: item.id().ok_or(UpstreamFailure::Protocol("the upstream's item has no id"))?,
        object: "chatkit.thread_item",
        thread_id: thread_id.to_owned(),
        created_at: created_at.map_or(thread_created_at, Timestamp::as_second),
        kind,
    }))
}

/// Gives a member of an integrator's own as a text of JSON.
fn json_text(item: &Object<'_>, name: &str, absent: &str) -> String {
    free_form(item, name).map_or_else(|| absent.to_owned(), |json| json.get().to_owned())
}

fn user_message(item: &Object<'_>) -> ThreadItemKind {
    // ChatKit's own page sends an empty text where nothing is quoted.
    let quoted = item.text("quoted_text").filter(|quoted| !quoted.is_empty());
    let quoted = quoted.map(|text| InputPart { kind: "quoted_text", text });
    let parts = pieces(item, "input_text")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| Some(InputPart { kind: "input_text", text: part.text? }));
    let attachments = item.list("attachments").into_iter().filter_map(|attachment| {
        let attachment = Object::of(attachment)?;
        Some(ItemAttachment {
            id: attachment.id()?,
            kind: match attachment.text("type").as_deref() {
                Some("image") => "image",
                _ => "file",
            },
            name: attachment.text("name").unwrap_or_default(),
            mime_type: attachment.text("mime_type").unwrap_or_default(),
            preview_url: attachment.text("preview_url"),
        })
    });
    let options = item.object("inference_options").and_then(|options| {
        let model = options.text("model");
        let tool = options.object("tool_choice").and_then(|choice| choice.text("id"));
        let tool_choice = tool.map(|id| ToolChoice { id });
        (model.is_some() || tool_choice.is_some())
            .then_some(InferenceOptions { model, tool_choice })
    });
    ThreadItemKind::UserMessage {
        content: quoted.into_iter().chain(parts).collect(),
        attachments: attachments.collect(),
        inference_options: options,
    }
}

fn output_part(part: MessagePart<'_>) -> OutputPart {
    let annotations = part.object.map(|part| part.list("annotations")).unwrap_or_default();
    let annotations = annotations.into_iter().filter_map(|annotation| {
        let source = Object::of(annotation)?.object("source")?;
        Some(match source.text("type").as_deref() {
            Some("url") => Annotation {
                kind: "url",
                source: AnnotationSource::Url { url: source.text("url")? },
            },
            Some("file") => Annotation {
                kind: "file",
                source: AnnotationSource::File { filename: source.text("filename")? },
            },
            _ => return None,
        })
    });
    OutputPart {
        kind: "output_text",
        text: part.text.unwrap_or_default(),
        annotations: annotations.collect(),
    }
}

/// Converts a task, of which nothing can be told if it is none.
fn task(task: Option<&Object<'_>>) -> GroupedTask {
    let text = |name| task.and_then(|task| task.text(name));
    GroupedTask {
        kind: if text("type").as_deref() == Some("thought") { "thought" } else { "custom" },
        heading: text("title"),
        summary: text("content"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::validate::compile;

    /// Gives the item in the middle of a page, without what all have; null if it is left out.
    fn converted(json: &str) -> Value {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        let Some(item) = item(&raw, "thr_1", Offset::UTC, 7).unwrap() else { return Value::Null };
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
        assert_eq!(
            converted(r#"{"id":"i","type":"widget","widget":"{\"type\":\"Card\"}"}"#)["widget"],
            r#"{"type":"Card"}"#
        );
        // As deep as it may be, and not there at all.
        let deep = format!("{}{}", r#"{"children":["#.repeat(300), "]}".repeat(300));
        let widget = format!(r#"{{"id":"i","type":"widget","widget":{deep}}}"#);
        assert_eq!(converted(&widget)["widget"], deep);
        assert_eq!(converted(r#"{"id":"i","type":"widget"}"#)["widget"], "null");
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
            let item = format!(r#"{{"id":"i","type":"{kind}"}}"#);
            assert_eq!(converted(&item), Value::Null);
        }
        let hidden = r#"{"id":"i","type":"hidden_context_item","content":[]}"#;
        assert_eq!(converted(hidden), Value::Null);
        let twice =
            r#"{"id":"i","type":"hidden_context_item","content":"c","type":"user_message"}"#;
        assert_eq!(converted(twice), Value::Null);
        assert_eq!(converted(r#"{"id":"i"}"#), Value::Null);
    }

    #[test]
    fn what_can_be_read_of_an_odd_item_is_shown() {
        for (item, expected) in [
            (
                r#"{"id":"i","type":"assistant_message","created_at":1795232100.9,
                    "content":[{"type":"output_text","text":null,"annotations":null},"b",
                    {"text":"c","annotations":[null,{"source":7},{"source":{"type":"url","url":"u"}}]}]}"#,
                json!({"created_at": 1_795_232_100, "type": "chatkit.assistant_message", "content": [
                    {"type": "output_text", "text": "", "annotations": []},
                    {"type": "output_text", "text": "b", "annotations": []},
                    {"type": "output_text", "text": "c", "annotations": [
                        {"type": "url", "source": {"type": "url", "url": "u"}}]},
                ]}),
            ),
            (
                r#"{"id":"i","type":"message","role":"assistant","content":[{"text":"a"}]}"#,
                json!({"created_at": 7, "type": "chatkit.assistant_message", "content": [
                    {"type": "output_text", "text": "a", "annotations": []}]}),
            ),
            (
                r#"{"id":"i","created_at":"soon","type":"user_message","content":"Hi",
                    "attachments":[{"id":7,"name":null,"type":[]},{"id":{}},null],"quoted_text":8,
                    "inference_options":[]}"#,
                json!({"created_at": 7, "type": "chatkit.user_message",
                    "content": [{"type": "quoted_text", "text": "8"},
                        {"type": "input_text", "text": "Hi"}],
                    "attachments": [{"id": "7", "type": "file", "name": "", "mime_type": "",
                        "preview_url": null}],
                    "inference_options": null}),
            ),
            (
                r#"{"id":"i","type":"client_tool_call","name":7,"arguments":"{\"n\":1.0}","output":[]}"#,
                json!({"created_at": 7, "type": "chatkit.client_tool_call", "call_id": "", "name": "7",
                    "arguments": "{\"n\":1.0}", "output": "[]", "status": "completed"}),
            ),
            (
                r#"{"id":"i","type":"task","task":null}"#,
                json!({"created_at": 7, "type": "chatkit.task", "task_type": "custom",
                    "heading": null, "summary": null}),
            ),
            (
                r#"{"id":"i","type":"workflow","workflow":{"tasks":["t",{"title":"T"}]}}"#,
                json!({"created_at": 7, "type": "chatkit.task_group", "tasks": [
                    {"type": "custom", "heading": null, "summary": null},
                    {"type": "custom", "heading": "T", "summary": null}]}),
            ),
            (
                r#"{"id":"i","type":"workflow"}"#,
                json!({"created_at": 7, "type": "chatkit.task_group", "tasks": []}),
            ),
        ] {
            assert_eq!(converted(item), expected, "{item}");
        }
        let raw = RawValue::from_string(r#"{"id":7,"type":"widget"}"#.to_owned()).unwrap();
        let item = item(&raw, "thr_1", Offset::UTC, 7).unwrap().unwrap();
        assert_eq!(item.id, "7");
    }

    #[test]
    fn no_member_makes_an_item_vanish() {
        for kind in
            ["assistant_message", "user_message", "client_tool_call", "widget", "task", "workflow"]
        {
            for name in [
                "created_at",
                "content",
                "attachments",
                "quoted_text",
                "inference_options",
                "widget",
                "call_id",
                "name",
                "arguments",
                "output",
                "status",
                "task",
                "workflow",
                "new",
            ] {
                for value in [
                    "null",
                    "true",
                    "7",
                    "-1.5e3",
                    r#""""#,
                    r#""odd""#,
                    "[]",
                    "[null]",
                    "{}",
                    r#"[{"id":1,"text":[]}]"#,
                    r#"{"type":7,"tasks":[[]],"tool_choice":1}"#,
                ] {
                    let item = format!(r#"{{"id":"i","{name}":{value},"type":"{kind}"}}"#);
                    assert!(converted(&item)["type"].is_string(), "{item}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_id_fails_unless_it_is_not_shown() {
        for (json, fails) in [
            (r#"{"type":"user_message"}"#, true),
            (r#"{"id":"","type":"widget"}"#, true),
            (r#"{"id":{},"type":"task"}"#, true),
            (r#"{"type":"end_of_turn"}"#, false),
            (r#"{"type":"sdk_hidden_context"}"#, false),
        ] {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            assert_eq!(item(&raw, "thr_1", Offset::UTC, 7).is_err(), fails, "{json}");
        }
    }
}
