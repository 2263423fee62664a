//! What the model is asked.

use std::borrow::Cow;

use serde::Serialize;

use super::super::item::{AssistantMessage, Content, Item, UserMessage};

/// How many messages of a thread the model is told.
pub(super) const MAX_MESSAGES: usize = 50;

/// The body of `POST /chat/completions`.
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: Role,
    content: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Assistant,
    System,
    User,
}

impl<'a> Completion<'a> {
    /// Asks for an answer to `items`, which are in the order in which they were said.
    pub(super) fn new(model: &'a str, system_prompt: Option<&'a str>, items: &'a [Item]) -> Self {
        let said: Vec<_> = items.iter().rev().filter_map(message).take(MAX_MESSAGES).collect();
        let system = system_prompt.map(|text| Message { role: Role::System, content: text.into() });
        let messages = system.into_iter().chain(said.into_iter().rev()).collect();
        Self { model, messages, stream: true }
    }
}

fn message(item: &Item) -> Option<Message<'_>> {
    match item.content() {
        Content::UserMessage(message) => {
            Some(Message { role: Role::User, content: question(message).into() })
        }
        // Nothing was said; APIs refuse an empty answer.
        Content::AssistantMessage(message) => Some(answer(message))
            .filter(|text| !text.trim().is_empty())
            .map(|content| Message { role: Role::Assistant, content }),
        _ => None,
    }
}

/// The user's text, after what it is about, if that was quoted.
fn question(message: &UserMessage) -> String {
    let mut text = String::new();
    let quoted = message.quoted_text.as_deref().unwrap_or_default();
    for line in quoted.lines() {
        text.extend(["> ", line, "\n"]);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&message.text());
    text
}

fn answer(message: &AssistantMessage) -> Cow<'_, str> {
    match message.content.as_slice() {
        [part] => Cow::Borrowed(&part.text),
        parts => parts.iter().map(|part| part.text.as_str()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::item::{EndOfTurn, OutputText, SdkHiddenContext};
    use super::super::super::json::Json;
    use super::super::super::moment::Moment;
    use super::*;

    fn item(content: Content) -> Item {
        Item {
            id: "msg_1".into(),
            thread_id: "thr_1".into(),
            created_at: Moment::from_micros(0),
            content,
        }
    }

    fn user(text: &str, quoted: Option<&str>) -> Item {
        item(Content::UserMessage(UserMessage {
            content: vec![Json::from([("type", "input_text".into()), ("text", text.into())])],
            attachments: Vec::new(),
            quoted_text: quoted.map(str::to_owned),
            inference_options: Json::from([("model", "another".into())]),
        }))
    }

    fn assistant(texts: &[&str]) -> Item {
        let content = texts.iter().map(|text| OutputText::new(*text)).collect();
        item(Content::AssistantMessage(AssistantMessage { content }))
    }

    fn asked(system_prompt: Option<&str>, items: &[Item]) -> String {
        serde_json::to_string(&Completion::new("m", system_prompt, items)).unwrap()
    }

    #[test]
    fn a_conversation_is_its_messages_in_their_order() {
        let items = [
            user("One \"quote\"", None),
            assistant(&["Two, ", "in parts"]),
            item(Content::EndOfTurn(EndOfTurn::default())),
            item(Content::SdkHiddenContext(SdkHiddenContext { content: "hidden".into() })),
            assistant(&[]),
            assistant(&[" \n"]),
            user("Three", None),
        ];
        assert_eq!(
            asked(Some("Be brief."), &items),
            r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"One \"quote\""},{"role":"assistant","content":"Two, in parts"},{"role":"user","content":"Three"}],"stream":true}"#
        );
        assert_eq!(
            asked(None, &items[6..]),
            r#"{"model":"m","messages":[{"role":"user","content":"Three"}],"stream":true}"#
        );
    }

    #[test]
    fn a_quotation_stands_before_the_text_and_tags_are_their_text() {
        let tagged = item(Content::UserMessage(UserMessage {
            content: vec![
                Json::from([("type", "input_text".into()), ("text", "Ask ".into())]),
                Json::from([
                    ("type", "input_tag".into()),
                    ("id", "t1".into()),
                    ("text", "@ada".into()),
                    ("data", Json::from([("text", "not this".into())])),
                ]),
            ],
            attachments: Vec::new(),
            quoted_text: Some(String::new()),
            inference_options: Json::Object(Vec::new()),
        }));
        for (item, content) in [
            (user("Why?", Some("It is.\r\n\nReally.")), "> It is.\n> \n> Really.\n\nWhy?"),
            (user("Why?", Some("")), "Why?"),
            (tagged, "Ask @ada"),
        ] {
            let asked: serde_json::Value = serde_json::from_str(&asked(None, &[item])).unwrap();
            assert_eq!(asked["messages"][0]["content"], content);
        }
    }

    #[test]
    fn the_last_fifty_messages_are_told() {
        let turns: Vec<_> = (0..40)
            .flat_map(|n| [user(&format!("q{n}"), None), assistant(&[&format!("a{n}")])])
            .chain([user("now", None)])
            .collect();
        let asked: serde_json::Value = serde_json::from_str(&asked(Some("s"), &turns)).unwrap();
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1 + 50);
        assert_eq!(messages[1]["content"], "a15");
        assert_eq!(messages[50]["content"], "now");

        let questions: Vec<_> = (0..60).map(|n| user(&format!("q{n}"), None)).collect();
        let asked: serde_json::Value =
            serde_json::from_str(&self::asked(None, &questions)).unwrap();
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &messages[0]["content"]), (50, &"q10".into()));
    }
}
