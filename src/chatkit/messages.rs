//! Thread items → the messages of the REST API.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::time;
use crate::rejection::{Code, Rejection};
use crate::stream::{ItemKind, Object, list, text};

/// A message as REST shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    /// Empty if the upstream gave it none that can be read.
    pub(crate) id: String,
    role: &'static str,
    content: Vec<TextPart>,
    tool_calls: Vec<ShownToolCall>,
    #[serde(serialize_with = "display")]
    pub(crate) created_at: Timestamp,
    /// Something was said, and none of it can be read.
    #[serde(skip)]
    pub(crate) is_garbled: bool,
}

#[derive(Debug, Serialize)]
struct TextPart {
    #[serde(rename = "type")]
    kind: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct ShownToolCall {
    id: String,
    call_id: String,
    name: String,
    arguments: ToolArguments,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
}

/// What a tool is called with: nothing is an object without members.
#[derive(Debug)]
struct ToolArguments(Option<Box<RawValue>>);

impl Serialize for ToolArguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(arguments) => arguments.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

impl Message {
    /// Gives its text, in one.
    pub(crate) fn text(&self) -> String {
        self.content.iter().map(|part| &*part.text).collect()
    }

    /// Tells whether the assistant says or asks for it.
    fn is_answer(&self) -> bool {
        self.role == "assistant"
    }
}

/// One part of what a message says.
pub(crate) struct MessagePart<'a> {
    /// `kind` as the upstream has it, or that of the message's author.
    pub(crate) kind: String,
    /// `None` if it has no words, or none that can be read.
    pub(crate) text: Option<String>,
    /// What else there is about it.
    pub(crate) object: Option<Object<'a>>,
}

impl MessagePart<'_> {
    /// Tells whether it should have words: a part of a kind that isn't known may have something
    /// else.
    fn lacks_words(&self, kind: &str) -> bool {
        self.text.is_none()
            && (self.kind == kind
                || self.object.as_ref().is_none_or(|object| object.member("text").is_some()))
    }
}

/// How deep words may be within a part: what is deeper belongs to something else.
const MAX_DEPTH: u8 = 4;

/// Where words are that aren't in a `text`: what other interfaces call them.
const WORDS: [&str; 5] = ["value", "content", "markdown", "output_text", "refusal"];

/// Gives what a message says, part by part; parts are of `kind` unless they say otherwise. A text,
/// or one part alone, may stand for a list, and what says no more than its text for its content.
/// `None` if nothing of that is there.
pub(crate) fn pieces<'a>(item: &Object<'a>, kind: &str) -> Option<Vec<MessagePart<'a>>> {
    let content = item.get("content").or_else(|| item.get("text"))?;
    let parts = list(content).unwrap_or_else(|| vec![content]);
    let piece = |part| match Object::of(part) {
        Some(object) => MessagePart {
            kind: object.text("type").unwrap_or_else(|| kind.to_owned()),
            text: words_of(&object, MAX_DEPTH),
            object: Some(object),
        },
        None => MessagePart { kind: kind.to_owned(), text: words(part, MAX_DEPTH), object: None },
    };
    Some(parts.into_iter().map(piece).collect())
}

/// Gives the words of what should have been a text: those of each part of a list, one after the
/// other, or those of an object.
fn words(value: &RawValue, depth: u8) -> Option<String> {
    if let Some(text) = text(value) {
        return Some(text.into_owned());
    }
    let depth = depth.checked_sub(1)?;
    if let Some(object) = Object::of(value) {
        return words_of(&object, depth);
    }
    let told = list(value)?.into_iter().filter_map(|part| words(part, depth));
    told.reduce(|all, more| all + &more)
}

fn words_of(object: &Object<'_>, depth: u8) -> Option<String> {
    let of_text = object.get("text").and_then(|text| words(text, depth));
    of_text.or_else(|| WORDS.iter().find_map(|name| object.text(name)))
}

/// Gives a member that is JSON of an integrator's own; as a server that writes such as a text of
/// JSON meant it, if that is an object.
pub(crate) fn free_form(item: &Object<'_>, name: &str) -> Option<Box<RawValue>> {
    let written = item.get(name)?;
    let meant = text(written)
        .filter(|text| Object::read(text).is_some())
        .and_then(|text| RawValue::from_string(text.trim().to_owned()).ok());
    Some(meant.unwrap_or_else(|| written.to_owned()))
}

/// Tells whether a tool call has its output.
pub(crate) fn is_completed(call: &Object<'_>) -> bool {
    match call.text("status").as_deref() {
        Some("completed") => true,
        Some("pending") => false,
        Some(_) | None => call.get("output").is_some(),
    }
}

/// Tells whether an item is a user's or an assistant's message.
pub(crate) fn is_message(item: &RawValue) -> bool {
    Object::of(item).and_then(|item| item.item_kind()).is_some_and(ItemKind::is_message)
}

/// Gives the messages among a thread's items, oldest first, and how many the store is to count.
///
/// A client tool call belongs to the assistant's message before it; where there is none since
/// the user's last message, it makes one without content. Other items (widgets, workflows,
/// tasks, …) are no messages. What can't be read of a message is left out, and the rest is shown;
/// it is counted whatever is odd about it. One without a time that can be read is as old as the
/// one before it, and the first one as old as `since`.
pub(crate) fn messages(
    items: &[Box<RawValue>],
    offset: Offset,
    since: Timestamp,
) -> (Vec<Message>, u64) {
    let mut messages: Vec<Message> = Vec::new();
    let mut counted = 0;
    let mut last = since;
    for item in items {
        let Some(item) = Object::of(item) else { continue };
        let Some(kind) = item.item_kind() else { continue };
        let role = match kind {
            ItemKind::UserMessage => "user",
            ItemKind::AssistantMessage | ItemKind::ClientToolCall => "assistant",
            ItemKind::Other | ItemKind::StructuredInput | ItemKind::Unseen => continue,
        };
        let created_at = item.text("created_at").and_then(|text| time::parse(&text, offset));
        last = created_at.unwrap_or(last);
        if kind == ItemKind::ClientToolCall {
            let call = tool_call(&item);
            match messages.last_mut() {
                Some(message) if message.is_answer() => message.tool_calls.push(call),
                _ => messages.push(Message {
                    id: call.id.clone(),
                    role,
                    content: Vec::new(),
                    tool_calls: vec![call],
                    created_at: last,
                    is_garbled: false,
                }),
            }
        } else {
            counted += 1;
            messages.push(message(&item, role, last));
        }
    }
    (messages, counted)
}

fn message(item: &Object<'_>, role: &'static str, created_at: Timestamp) -> Message {
    let kind = if role == "user" { "input_text" } else { "output_text" };
    let pieces = pieces(item, kind);
    let lacks_words =
        pieces.as_ref().is_none_or(|pieces| pieces.iter().any(|piece| piece.lacks_words(kind)));
    let content: Vec<TextPart> = pieces
        .unwrap_or_default()
        .into_iter()
        .map(|MessagePart { kind, text, .. }| TextPart { kind, text: text.unwrap_or_default() })
        .collect();
    let is_garbled = lacks_words && content.iter().all(|part| part.text.is_empty());
    let id = item.id().unwrap_or_default();
    Message { id, role, content, tool_calls: Vec::new(), created_at, is_garbled }
}

fn tool_call(item: &Object<'_>) -> ShownToolCall {
    let call_id = item.text("call_id").unwrap_or_default();
    ShownToolCall {
        id: item.id().unwrap_or_else(|| call_id.clone()),
        call_id,
        name: item.text("name").unwrap_or_default(),
        arguments: ToolArguments(free_form(item, "arguments")),
        status: if is_completed(item) { "completed" } else { "pending" },
        output: item.get("output").map(RawValue::to_owned),
    }
}

/// Gives the assistant's last message of a run; `None` if it had nothing to say.
///
/// # Errors
/// If it had, and none of that can be read.
pub(crate) fn answer(
    items: &[Box<RawValue>],
    offset: Offset,
    since: Timestamp,
) -> Result<Option<Message>, Garbled> {
    match messages(items, offset, since).0.into_iter().rfind(Message::is_answer) {
        Some(message) if message.is_garbled => Err(Garbled),
        message => Ok(message),
    }
}

/// Something was said, and none of it can be read.
#[derive(Debug)]
pub(crate) struct Garbled;

impl From<Garbled> for Rejection {
    fn from(_: Garbled) -> Self {
        Self::new(Code::UpstreamError).because("none of the assistant's message can be read")
    }
}

/// Writes ids in their canonical form, times in RFC 3339 with `Z`.
pub(crate) fn display<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(items: &[&str]) -> Vec<Box<RawValue>> {
        items.iter().map(|json| RawValue::from_string((*json).to_owned()).unwrap()).collect()
    }

    fn fold(items: &[&str]) -> (serde_json::Value, u64) {
        let since = "2026-11-01T00:00:00Z".parse().unwrap();
        let (messages, counted) = messages(&owned(items), Offset::UTC, since);
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
    /// Gives the only message, without what isn't odd about it.
    fn odd(item: &str) -> serde_json::Value {
        let (mut messages, counted) = fold(&[item]);
        assert_eq!(counted, 1, "{item}");
        let message = messages.get_mut(0).unwrap().as_object_mut().unwrap();
        assert_eq!(message.remove("tool_calls").unwrap(), serde_json::json!([]));
        serde_json::json!(message)
    }

    #[test]
    fn what_can_be_read_of_an_odd_message_is_shown() {
        for (kind, text, content) in [
            ("assistant_message", r#""Hello""#, r#"[{"type":"output_text","text":"Hello"}]"#),
            ("user_message", r#""Hi""#, r#"[{"type":"input_text","text":"Hi"}]"#),
            ("assistant_message", r#"{"text":"a"}"#, r#"[{"type":"output_text","text":"a"}]"#),
            ("assistant_message", "42", r#"[{"type":"output_text","text":"42"}]"#),
            (
                "assistant_message",
                r#"[{"type":"output_text","text":null},"b",{"type":"output_text","text":"c"}]"#,
                r#"[{"type":"output_text","text":""},{"type":"output_text","text":"b"},{"type":"output_text","text":"c"}]"#,
            ),
            (
                "assistant_message",
                r#"[{"type":"x","text":{}},{"text":1.50},{"type":7,"text":"\ud83d!"},{"type":"y","url":"u"}]"#,
                r#"[{"type":"x","text":""},{"type":"output_text","text":"1.50"},{"type":"7","text":"\ufffd\ufffd\ufffd!"},{"type":"y","text":""}]"#,
            ),
            (
                "user_message",
                r#"[{"type":"input_text","text":"x","text":"y"}],"attachments":null"#,
                r#"[{"type":"input_text","text":"y"}]"#,
            ),
            ("user_message", "null", "[]"),
            // Words are found where other interfaces have them.
            (
                "assistant_message",
                r#"[{"text":{"value":"a","annotations":[]}},{"text":["b",{"text":"c"},null,{"value":"d"}]}]"#,
                r#"[{"type":"output_text","text":"a"},{"type":"output_text","text":"bcd"}]"#,
            ),
            (
                "assistant_message",
                r#"[{"type":"markdown","content":"a"},{"markdown":"b"},{"text":true,"value":"c"},{"type":"output_text","output_text":"d"},{"type":"refusal","refusal":"e"}]"#,
                r#"[{"type":"markdown","text":"a"},{"type":"output_text","text":"b"},{"type":"output_text","text":"c"},{"type":"output_text","text":"d"},{"type":"refusal","text":"e"}]"#,
            ),
            (
                "assistant_message",
                r#"[["a",[{"text":"b"}]],{"text":"","value":"no"},{"text":[]},{"content":["no"]},[[[[[["deep"]]]]]]]"#,
                r#"[{"type":"output_text","text":"ab"},{"type":"output_text","text":""},{"type":"output_text","text":""},{"type":"output_text","text":""},{"type":"output_text","text":""}]"#,
            ),
            ("user_message", r#"null,"text":"Hi""#, r#"[{"type":"input_text","text":"Hi"}]"#),
        ] {
            let role = if kind == "user_message" { "user" } else { "assistant" };
            let item =
                format!(r#"{{"id":7,"type":"{kind}","created_at":1795232100,"content":{text}}}"#);
            let content: serde_json::Value = serde_json::from_str(content).unwrap();
            assert_eq!(
                odd(&item),
                serde_json::json!({"id": "7", "role": role, "content": content,
                    "created_at": "2026-11-21T03:35:00Z"})
            );
        }
        assert_eq!(
            odd(r#"{"id":[],"type":"widget","created_at":{},"type":"assistant_message"}"#),
            serde_json::json!({"id": "", "role": "assistant", "content": [],
                "created_at": "2026-11-01T00:00:00Z"})
        );
    }

    #[test]
    fn no_type_makes_a_message_vanish() {
        for (of_type, content, role) in [
            ("", r#""Hello""#, "assistant"),
            (r#""type":null,"#, r#"{"text":"Hello"}"#, "assistant"),
            (r#""type":3,"#, r#"[{"type":"output_text","text":"Hello"}]"#, "assistant"),
            (r#""type":"assistantMessage","#, r#""Hello""#, "assistant"),
            (r#""type":"message","role":"assistant","#, r#""Hello""#, "assistant"),
            (r#""type":"message","role":"user","#, r#""Hello""#, "user"),
            (r#""type":"userMessage","#, r#""Hello""#, "user"),
            ("", r#"[{"type":"input_text","text":"Hello"}]"#, "user"),
        ] {
            let item = format!(r#"{{"id":"i",{of_type}"content":{content}}}"#);
            let (messages, counted) = fold(&[&item]);
            assert_eq!((counted, &messages[0]["role"]), (1, &role.into()), "{item}");
            assert_eq!(messages[0]["content"][0]["text"], "Hello", "{item}");
            assert!(is_message(&owned(&[&item])[0]), "{item}");
        }
        for none in [
            r#"{"type":"widget","content":"Hello","role":"assistant"}"#,
            r#"{"type":"hidden_context_item","content":"Hello","role":"assistant"}"#,
            r#"{"type":"message","content":"Hello","role":"system"}"#,
            r#"{"type":"of a newer server"}"#,
            r#"{"id":"i"}"#,
        ] {
            assert_eq!(fold(&[none]), (serde_json::json!([]), 0), "{none}");
            assert!(!is_message(&owned(&[none])[0]), "{none}");
        }
    }

    #[test]
    fn no_member_makes_an_item_vanish() {
        let schema = crate::validate::compile("create_run.reply").unwrap();
        for (kind, counts) in
            [("assistant_message", 1), ("user_message", 1), ("client_tool_call", 0)]
        {
            for name in [
                "id",
                "created_at",
                "content",
                "attachments",
                "call_id",
                "name",
                "arguments",
                "status",
                "output",
                "thread_id",
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
                    r#"{"type":7}"#,
                ] {
                    let item = format!(
                        r#"{{"id":"i","created_at":"2026-11-21","content":"Hello","{name}":{value},"type":"{kind}"}}"#
                    );
                    let (messages, counted) = fold(&[&item]);
                    assert_eq!(counted, counts, "{item}");
                    let [message] = messages.as_array().unwrap().as_slice() else {
                        panic!("{item}")
                    };
                    let reply = serde_json::json!({"success": true, "data": {"items": [],
                        "session_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
                        "thread_id": "t", "message": message}});
                    assert!(schema.is_valid(&reply), "{item} {reply}");
                    if name != "content" && counts == 1 {
                        assert_eq!(message["content"][0]["text"], "Hello", "{item}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_time_is_as_old_as_what_came_before() {
        let (messages, _) = fold(&[
            r#"{"id":"m1","type":"user_message","created_at":"yesterday"}"#,
            r#"{"id":"m2","type":"assistant_message","created_at":"1795232100.5"}"#,
            r#"{"id":"m3","type":"user_message","created_at":null}"#,
            r#"{"id":"m4","type":"assistant_message","created_at":"2026-11-21 03:36Z"}"#,
        ]);
        let times: Vec<&str> = messages
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["created_at"].as_str().unwrap())
            .collect();
        assert_eq!(
            times,
            [
                "2026-11-01T00:00:00Z",
                "2026-11-21T03:35:00.5Z",
                "2026-11-21T03:35:00.5Z",
                "2026-11-21T03:36:00Z"
            ]
        );
    }

    #[test]
    fn what_can_be_read_of_an_odd_tool_call_is_shown() {
        for (call, expected) in [
            (
                r#"{"type":"client_tool_call","call_id":"c","arguments":"{\"n\": 1}"}"#,
                r#"{"id":"c","call_id":"c","name":"","arguments":{"n": 1},"status":"pending"}"#,
            ),
            (
                r#"{"id":7,"type":"client_tool_call","call_id":8,"name":9,"arguments":"go","status":"done","output":0}"#,
                r#"{"id":"7","call_id":"8","name":"9","arguments":"go","status":"completed","output":0}"#,
            ),
            (
                r#"{"id":"t","type":"client_tool_call","name":{},"arguments":null,"status":"pending","output":null}"#,
                r#"{"id":"t","call_id":"","name":"","arguments":{},"status":"pending"}"#,
            ),
        ] {
            let (messages, counted) = fold(&[call]);
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(messages[0]["tool_calls"], serde_json::json!([expected]));
            assert_eq!((counted, &messages[0]["id"]), (0, &expected["id"]));
        }
    }

    #[test]
    fn an_answer_of_which_nothing_can_be_read_is_none() {
        let message = |content: &str| {
            owned(&[
                r#"{"id":"m1","type":"assistant_message","content":"Yes."}"#,
                &format!(r#"{{"id":"m2","type":"assistant_message"{content}}}"#),
            ])
        };
        for garbled in [
            "",
            r#","content":null"#,
            r#","content":true"#,
            r#","content":[{"type":"output_text","text":null}]"#,
            r#","content":[{"type":"output_text"}]"#,
            r#","content":[{"type":"of a newer server","text":[true]}]"#,
            r#","content":[null]"#,
            r#","content":[{"type":"output_text","text":""},{"type":"output_text","text":{"x":"a"}}]"#,
        ] {
            let items = message(garbled);
            assert!(answer(&items, Offset::UTC, Timestamp::UNIX_EPOCH).is_err(), "{garbled}");
            // Who asks for all messages gets what there is of it.
            assert_eq!(messages(&items, Offset::UTC, Timestamp::UNIX_EPOCH).1, 2);
        }
        for silent in [
            r#","content":[]"#,
            r#","content":"""#,
            r#","content":[{"type":"output_text","text":""}]"#,
            r#","content":[{"type":"output_image","url":"x"}]"#,
        ] {
            let items = message(silent);
            let answer = answer(&items, Offset::UTC, Timestamp::UNIX_EPOCH).unwrap().unwrap();
            assert_eq!(answer.id, "m2", "{silent}");
        }
        assert!(answer(&[], Offset::UTC, Timestamp::UNIX_EPOCH).unwrap().is_none());
    }
}
