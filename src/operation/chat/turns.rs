//! Thread items → what one-shot chat tells of them.

use std::collections::HashSet;
use std::slice;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;
use serde_json::value::RawValue;

use super::tools;
use crate::chatkit::messages::display;
use crate::chatkit::messages::{self, Garbled};
use crate::chatkit::time;
use crate::stream::{ItemKind, Object};

/// A message as one-shot chat shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ChatMessage {
    id: String,
    role: &'static str,
    content: String,
    tool_calls: Vec<String>,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
    /// Something was done in place of words, or beside them.
    #[serde(skip)]
    acted: bool,
    /// Something was said, and none of it can be read.
    #[serde(skip)]
    is_garbled: bool,
}

impl ChatMessage {
    fn is_users(&self) -> bool {
        self.role == USER
    }

    fn is_blank(&self) -> bool {
        self.content.trim().is_empty()
    }
}

const USER: &str = "user";
const ASSISTANT: &str = "assistant";

/// Gives the messages among a thread's items, oldest first.
///
/// What the assistant did (a tool call, a workflow, a widget, an image, …) is shown with its
/// message before it in the same turn; where there is none yet, with the next one; and where there is
/// none at all, as a message that says `acted`. A message without text stands for itself only
/// where its turn has no other. One without a time that can be read is as old as the one before
/// it, and the first one as old as `since`.
pub(crate) fn messages(
    items: &[Box<RawValue>],
    offset: Offset,
    since: Timestamp,
    acted: &str,
) -> Vec<ChatMessage> {
    let mut messages = fold(items, offset, since);
    for message in &mut messages {
        if message.acted && message.is_blank() && !acted.is_empty() {
            acted.clone_into(&mut message.content);
        }
    }
    messages
}

/// Gives what the assistant said in a run, a blank line between two messages, and the names of the
/// tools that are shown. A run that only did something says `acted`.
///
/// # Errors
/// If something was said in one of them, and none of that can be read.
pub(crate) fn answer(
    items: &[Box<RawValue>],
    has_effects: bool,
    acted: &str,
) -> Result<(String, Vec<String>), Garbled> {
    let mut messages = fold(items, Offset::UTC, Timestamp::UNIX_EPOCH);
    messages.retain(|message| !message.is_users());
    if messages.iter().any(|message| message.is_garbled) {
        return Err(Garbled);
    }
    let texts: Vec<&str> = messages
        .iter()
        .map(|message| &*message.content)
        .filter(|content| !content.is_empty())
        .collect();
    let mut response = texts.join("\n\n");
    let has_acted = has_effects || messages.iter().any(|message| message.acted);
    if has_acted && response.trim().is_empty() && !acted.is_empty() {
        acted.clone_into(&mut response);
    }
    Ok((response, messages.into_iter().flat_map(|message| message.tool_calls).collect()))
}

/// Tells whether a turn begins with an item.
pub(crate) fn begins_one(item: &RawValue) -> bool {
    Object::of(item).and_then(|item| item.item_kind()) == Some(ItemKind::UserMessage)
}

fn fold(items: &[Box<RawValue>], offset: Offset, since: Timestamp) -> Vec<ChatMessage> {
    let mut said: Vec<ChatMessage> = Vec::new();
    let mut last = since;
    for raw in items {
        let Some(item) = Object::of(raw) else { continue };
        let Some(kind) = item.item_kind() else { continue };
        let created_at = item.text("created_at").and_then(|text| time::parse(&text, offset));
        last = created_at.unwrap_or(last);
        match kind {
            ItemKind::UserMessage | ItemKind::AssistantMessage => {
                let role = if kind == ItemKind::UserMessage { USER } else { ASSISTANT };
                let (messages, _) = messages::messages(slice::from_ref(raw), offset, last);
                for message in messages {
                    let message = ChatMessage {
                        content: message.text(),
                        is_garbled: message.is_garbled,
                        id: message.id,
                        role,
                        tool_calls: Vec::new(),
                        created_at: message.created_at,
                        acted: false,
                    };
                    say(&mut said, message, tools::shown(&item));
                }
            }
            ItemKind::Unseen => {}
            ItemKind::ClientToolCall | ItemKind::Other | ItemKind::StructuredInput => {
                if said.last().is_none_or(ChatMessage::is_users) {
                    said.push(ChatMessage {
                        id: item.id().unwrap_or_default(),
                        role: ASSISTANT,
                        content: String::new(),
                        tool_calls: Vec::new(),
                        created_at: last,
                        acted: false,
                        is_garbled: false,
                    });
                }
                if let Some(message) = said.last_mut() {
                    message.tool_calls.extend(tools::shown(&item));
                    message.acted = true;
                }
            }
        }
    }
    said
}

/// Adds a message, and of the tools that it mentions those that its turn doesn't show.
fn say(said: &mut Vec<ChatMessage>, mut message: ChatMessage, mentioned: Vec<String>) {
    let turn = said.iter().rev().take_while(|earlier| !earlier.is_users());
    // Most messages mention none, and then the turn is not looked through.
    let new: Vec<String> = if mentioned.is_empty() {
        Vec::new()
    } else {
        let shown: HashSet<&String> = turn.flat_map(|earlier| &earlier.tool_calls).collect();
        mentioned.into_iter().filter(|name| !shown.contains(name)).collect()
    };
    match said.last_mut() {
        Some(last) if !message.is_users() && !last.is_users() && message.is_blank() => {
            last.tool_calls.extend(new);
            last.is_garbled |= message.is_garbled;
        }
        Some(last) if !message.is_users() && !last.is_users() && last.is_blank() => {
            message.tool_calls = std::mem::take(&mut last.tool_calls);
            message.tool_calls.extend(new);
            message.acted = last.acted;
            message.is_garbled |= last.is_garbled;
            *last = message;
        }
        _ => {
            message.tool_calls = new;
            said.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn raw(items: &[&str]) -> Vec<Box<RawValue>> {
        items.iter().map(|json| RawValue::from_string((*json).to_owned()).unwrap()).collect()
    }

    const USERS: &str = r#"{"id":"u","created_at":"2026-11-21T03:00:00","type":"user_message","content":[{"type":"input_text","text":"hi "},{"type":"input_tag","id":"t","text":"@x","data":{}}]}"#;
    const WORDS: &str = r#"{"id":"a","created_at":"2026-11-21T03:00:01","type":"assistant_message","content":[{"type":"output_text","text":"Let me ","annotations":[]},{"type":"output_text","text":"see."}]}"#;
    const MORE: &str = r#"{"id":"b","created_at":"2026-11-21T03:00:02","type":"assistant_message","content":[{"type":"output_text","text":" \u00dc👋\n","annotations":[{"source":{"type":"entity","data":{"tool":"list_tasks"}}},{"source":{"type":"entity","data":{"tool":"cited"}}}]}]}"#;
    const BLANK: &str = r#"{"id":"e","type":"assistant_message","content":[]}"#;
    const CALL: &str = r#"{"id":"c","created_at":"2026-11-21T03:00:03","type":"client_tool_call","name":"look_up","arguments":{},"call_id":"c"}"#;
    const WORKFLOW: &str = r#"{"id":"w","type":"workflow","workflow":{"type":"custom","tasks":[{"type":"custom","title":"list_tasks"},{"type":"thought","content":"?"}]}}"#;
    const WIDGET: &str = r#"{"id":"g","type":"widget","widget":{"type":"Card","children":[]}}"#;
    const END: &str = r#"{"id":"z","type":"end_of_turn"}"#;
    const HIDDEN: &str = r#"{"id":"h","type":"hidden_context_item","content":"planted"}"#;
    const BROKEN: [&str; 2] = [r#"{"broken":1}"#, r#"["type"]"#];

    /// Lists each message's id, text and tools.
    fn shown(items: &[&str]) -> Value {
        let messages = serde_json::to_value(messages(
            &raw(items),
            Offset::UTC,
            Timestamp::UNIX_EPOCH,
            "Acted.",
        ))
        .unwrap();
        let messages = messages.as_array().unwrap().iter();
        messages.map(|said| json!([said["id"], said["content"], said["tool_calls"]])).collect()
    }

    #[test]
    fn a_message_is_shown_with_what_was_done() {
        assert_eq!(
            serde_json::to_value(messages(
                &raw(&[USERS, WORDS, CALL]),
                Offset::UTC,
                Timestamp::UNIX_EPOCH,
                ""
            ))
            .unwrap(),
            json!([
                {"id":"u","role":"user","content":"hi @x","tool_calls":[],"created_at":"2026-11-21T03:00:00Z"},
                {"id":"a","role":"assistant","content":"Let me see.","tool_calls":["look_up"],"created_at":"2026-11-21T03:00:01Z"},
            ])
        );
        let user = json!(["u", "hi @x", []]);
        for (items, expected) in [
            (&[WORDS, CALL, CALL][..], json!([["a", "Let me see.", ["look_up", "look_up"]]])),
            (&[WORKFLOW, WORDS], json!([["a", "Let me see.", ["list_tasks"]]])),
            (&[USERS, CALL], json!([user, ["c", "Acted.", ["look_up"]]])),
            (&[USERS, WIDGET, END], json!([user, ["g", "Acted.", []]])),
            (
                &[USERS, CALL, USERS, WORDS],
                json!([user, ["c", "Acted.", ["look_up"]], user, ["a", "Let me see.", []]]),
            ),
            // A message without text is nothing beside one that has some, wherever it stands.
            (&[BLANK, WORDS], json!([["a", "Let me see.", []]])),
            (&[WORDS, BLANK, CALL], json!([["a", "Let me see.", ["look_up"]]])),
            (&[CALL, BLANK, WORDS], json!([["a", "Let me see.", ["look_up"]]])),
            (&[CALL, BLANK], json!([["c", "Acted.", ["look_up"]]])),
            // Nothing was done either.
            (&[BLANK], json!([["e", "", []]])),
            // What is shown and mentioned was used once.
            (
                &[WORDS, WORKFLOW, MORE],
                json!([["a", "Let me see.", ["list_tasks"]], ["b", " Ü👋\n", ["cited"]]]),
            ),
            (&[HIDDEN, END], json!([])),
        ] {
            assert_eq!(shown(items), expected, "{items:?}");
        }
    }

    #[test]
    fn an_answer_is_what_was_said_and_done() {
        for (items, expected) in [
            (&[USERS, WORDS, CALL, BLANK, WORKFLOW, MORE][..], "Let me see.\n\n Ü👋\n"),
            (&[USERS, CALL, HIDDEN], "Acted."),
            (&[USERS, WIDGET, BLANK], "Acted."),
            (&[USERS, BLANK, HIDDEN, END], ""),
            (&[], ""),
        ] {
            let mut items = items.to_vec();
            items.extend(BROKEN);
            let (response, tools) = answer(&raw(&items), false, "Acted.").unwrap();
            assert_eq!(response, expected, "{items:?}");
            let words = [WORDS, MORE].iter().filter(|words| items.contains(words)).count();
            let expected: &[&str] = match words {
                2 => &["look_up", "list_tasks", "cited"],
                _ if items.contains(&CALL) => &["look_up"],
                _ => &[],
            };
            assert_eq!(tools, expected);
        }
        assert_eq!(answer(&raw(&[CALL]), false, "").unwrap().0, "");
        assert_eq!(answer(&raw(&[USERS]), true, "Acted.").unwrap().0, "Acted.");
        assert_eq!(answer(&raw(&[WORDS]), true, "Acted.").unwrap().0, "Let me see.");
    }

    #[test]
    fn an_answer_of_which_nothing_can_be_read_is_none() {
        let garbled = r#"{"id":"m","type":"assistant_message","content":null}"#;
        for items in [&[garbled][..], &[WORDS, garbled], &[garbled, WORDS], &[CALL, garbled]] {
            assert!(answer(&raw(items), false, "Acted.").is_err(), "{items:?}");
        }
        // Who asks for all messages gets what there is of it.
        assert_eq!(shown(&[USERS, garbled])[1], json!(["m", "", []]));
    }

    #[test]
    fn a_message_without_a_type_is_one_and_what_else_has_none_is_not_shown() {
        let odd = r#"{"id":"o","role":"assistant","content":[{"text":"Yes.","annotations":[{"source":{"type":"entity","data":{"tool":"cited"}}}]}]}"#;
        let users = r#"{"id":"v","type":"message","role":"user","content":"hi"}"#;
        assert_eq!(
            shown(&[users, odd, BROKEN[0]]),
            json!([["v", "hi", []], ["o", "Yes.", ["cited"]]])
        );
        assert_eq!(answer(&raw(&[users, odd]), false, "Acted.").unwrap().0, "Yes.");
        let new = r#"{"id":"n","type":"of a newer server"}"#;
        assert_eq!(answer(&raw(&[users, new]), false, "Acted.").unwrap().0, "Acted.");
        assert!(begins_one(&raw(&[users])[0]) && !begins_one(&raw(&[odd])[0]));
    }

    #[test]
    fn what_has_no_time_is_as_old_as_what_came_before() {
        let odd = r#"{"id":7,"created_at":"yesterday","type":"widget"}"#;
        let messages = messages(&raw(&[odd, USERS, odd]), Offset::UTC, Timestamp::UNIX_EPOCH, "");
        let messages = serde_json::to_value(messages).unwrap();
        assert_eq!(messages[0]["created_at"], "1970-01-01T00:00:00Z");
        assert_eq!(messages[2]["created_at"], messages[1]["created_at"]);
        assert_eq!(messages[2]["id"], "7");
    }
}
