//! What the model is asked.

use std::borrow::Cow;

use serde::Serialize;

use super::super::item::{AssistantMessage, Content, Item, SdkHiddenContext, UserMessage};

/// How many messages of a thread the model is told.
pub(super) const MAX_MESSAGES: usize = 50;

/// What stands in a thread after a question that was refused, or whose answer was: no client sees
/// it, and the model isn't told what it was asked before it and didn't answer.
const REFUSED: &str = "The model refused the prior request.";

/// How much of a conversation the model is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// All that it may be told.
    All,
    /// Without the questions that got no answer of their own, but for the newest.
    Answered,
    /// Of those the newest, up to half of the text, beside the newest question.
    Newer,
}

/// Gives the item that says that the question before it was refused.
pub(super) fn refused() -> Content {
    Content::SdkHiddenContext(SdkHiddenContext { content: REFUSED.to_owned() })
}

/// The body of `POST /chat/completions`.
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    model: &'a str,
    messages: Vec<PromptMessage<'a>>,
    stream: bool,
}

#[derive(Debug, Serialize)]
struct PromptMessage<'a> {
    role: PromptRole,
    content: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum PromptRole {
    Assistant,
    System,
    User,
}

impl<'a> Completion<'a> {
    /// Asks for an answer to `items`, which are in the order in which they were said. `None` if
    /// the user has said nothing.
    pub(super) fn new(
        model: &'a str,
        system_prompt: Option<&'a str>,
        items: &'a [Item],
        told: History,
    ) -> Option<Self> {
        let mut state = Backwards::default();
        let messages = items.iter().rev().filter_map(|item| message(item, &mut state));
        let mut messages: Vec<_> = messages.take(MAX_MESSAGES).collect();
        if told != History::All {
            leave_unanswered(&mut messages);
        }
        if told == History::Newer {
            leave_older(&mut messages);
        }
        messages.reverse();
        let told = messages;
        let system = system_prompt
            .map(|text| PromptMessage { role: PromptRole::System, content: text.into() });
        let mut messages: Vec<_> = system.into_iter().collect();
        let before = messages.len();
        alternate(told, &mut messages);
        (messages.len() > before).then_some(Self { model, messages, stream: true })
    }
}

/// Appends what was told so that every API takes it, whatever happened between the messages: the
/// user's are first and last, and the roles alternate. Messages of one role become one.
fn alternate<'a>(told: Vec<PromptMessage<'a>>, messages: &mut Vec<PromptMessage<'a>>) {
    let last = told.iter().rposition(|message| message.role == PromptRole::User);
    let told = told.into_iter().take(last.map_or(0, |last| last + 1));
    for message in told.skip_while(|message| message.role != PromptRole::User) {
        match messages.last_mut() {
            Some(previous) if previous.role == message.role => {
                let content = previous.content.to_mut();
                if !message.content.trim().is_empty() {
                    content.push_str("\n\n");
                    content.push_str(&message.content);
                }
            }
            _ => messages.push(message),
        }
    }
}

/// Leaves out the questions that are followed by another. The newest message is first.
fn leave_unanswered(messages: &mut Vec<PromptMessage<'_>>) {
    let mut later = None;
    messages.retain(|message| {
        let is_unanswered = message.role == PromptRole::User && later == Some(PromptRole::User);
        later = Some(message.role);
        !is_unanswered
    });
}

/// Leaves out what is older than the newest half of the text, beside the newest message, which is
/// first.
fn leave_older(messages: &mut Vec<PromptMessage<'_>>) {
    let bytes = |message: &PromptMessage<'_>| message.content.len();
    let all: usize = messages.iter().skip(1).map(bytes).sum();
    let mut left = all / 2;
    let kept = messages.iter().skip(1).take_while(|message| {
        let rest = left.checked_sub(bytes(message));
        left = rest.unwrap_or_default();
        rest.is_some()
    });
    let kept = kept.count().saturating_add(1);
    messages.truncate(kept);
}

/// What was seen of a conversation, from its end on.
#[derive(Default)]
struct Backwards {
    has_question: bool,
    /// The questions that come now were refused, up to one that was answered.
    refused: bool,
}

/// Gives what is told of an item. The user's newest message is told whatever is in it.
fn message<'a>(item: &'a Item, seen: &mut Backwards) -> Option<PromptMessage<'a>> {
    let (role, content) = match item.content() {
        Content::UserMessage(message) => (PromptRole::User, Cow::Owned(question(message))),
        Content::AssistantMessage(message) => (PromptRole::Assistant, answer(message)),
        Content::SdkHiddenContext(hidden) => {
            seen.refused |= hidden.content == REFUSED;
            return None;
        }
        _ => return None,
    };
    let is_blank = content.trim().is_empty();
    if role == PromptRole::Assistant {
        seen.refused &= is_blank;
    }
    let must = role == PromptRole::User && !std::mem::replace(&mut seen.has_question, true);
    if role == PromptRole::User && seen.refused && !must {
        return None;
    }
    // Nothing was said; APIs refuse an empty message.
    (must || !is_blank).then_some(PromptMessage { role, content })
}

/// Gives the user's text, after what it is about, if that was quoted. Of attachments without a text
/// the names are told.
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
    if text.trim().is_empty() {
        let names = message.attachments.iter().filter_map(|file| file.get("name")?.as_str());
        let names: Vec<_> = names.map(|name| format!("[{name}]")).collect();
        text.push_str(&names.join(" "));
    }
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
    use super::super::super::item::{EndOfTurn, OutputText};
    use super::super::super::json::Json;
    use super::super::super::timestamp::NaiveTimestamp;
    use super::*;

    fn item(content: Content) -> Item {
        Item {
            id: "msg_1".into(),
            thread_id: "thr_1".into(),
            created_at: NaiveTimestamp::from_micros(0),
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
        serde_json::to_string(&Completion::new("m", system_prompt, items, History::All).unwrap())
            .unwrap()
    }

    /// Gives the roles' first letters and the texts.
    fn told(items: &[Item]) -> Vec<String> {
        told_of(items, History::All)
    }

    fn told_of(items: &[Item], told: History) -> Vec<String> {
        let asked = Completion::new("m", None, items, told).unwrap();
        let asked = serde_json::to_value(&asked).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let messages = asked["messages"].as_array().unwrap().iter();
        messages.map(|it| text(&it["role"])[..1].to_owned() + " " + &text(&it["content"])).collect()
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
    fn the_last_fifty_messages_are_told_from_the_users_first_on() {
        let turns: Vec<_> = (0..40)
            .flat_map(|n| [user(&format!("q{n}"), None), assistant(&[&format!("a{n}")])])
            .chain([user("now", None)])
            .collect();
        let asked: serde_json::Value = serde_json::from_str(&asked(Some("s"), &turns)).unwrap();
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1 + 49);
        assert_eq!(messages[0], serde_json::json!({"role": "system", "content": "s"}));
        assert_eq!(messages[1]["content"], "q16");
        assert_eq!(messages[49]["content"], "now");

        let questions: Vec<_> = (0..60).map(|n| user(&format!("q{n}"), None)).collect();
        let texts: Vec<_> = (10..60).map(|n| format!("q{n}")).collect();
        assert_eq!(told(&questions), ["u ".to_owned() + &texts.join("\n\n")]);
    }

    #[test]
    fn roles_alternate_whatever_happened() {
        let hidden = || {
            let content = "The user cancelled the stream.".into();
            item(Content::SdkHiddenContext(SdkHiddenContext { content }))
        };
        for (items, expected) in [
            // A run that failed, or was cancelled before it said anything.
            (vec![user("q", None), user("again", None)], &["u q\n\nagain"][..]),
            (vec![user("q", None), hidden(), user("again", None)], &["u q\n\nagain"]),
            (vec![user("q", None), assistant(&[" "]), user("again", None)], &["u q\n\nagain"]),
            // More than one message of an answer, with something else between them.
            (
                vec![
                    user("q", None),
                    assistant(&["a"]),
                    hidden(),
                    assistant(&["b"]),
                    user("r", None),
                ],
                &["u q", "a a\n\nb", "u r"],
            ),
            // A conversation that begins or ends with the assistant's.
            (vec![assistant(&["hi"]), assistant(&["ho"]), user("q", None)], &["u q"]),
            (vec![user("q", None), assistant(&["a"]), hidden()], &["u q"]),
            // Messages without a word.
            (vec![user(" ", None), assistant(&["a"]), user("q", None)], &["u q"]),
            (vec![user("q", None), assistant(&["a"]), user("", None)], &["u q", "a a", "u "]),
            (vec![user("q", None), user(" ", None)], &["u q"]),
        ] {
            assert_eq!(told(&items), expected);
        }
        assert!(
            Completion::new("m", Some("s"), &[assistant(&["hi"]), hidden()], History::All)
                .is_none()
        );
        assert!(Completion::new("m", Some("s"), &[], History::All).is_none());
    }

    #[test]
    fn what_was_refused_is_told_no_more() {
        let refused = || item(refused());
        for (items, expected) in [
            (vec![user("bad", None), refused(), user("q", None)], &["u q"][..]),
            (vec![user("a", None), user("bad", None), refused(), user("q", None)], &["u q"]),
            (
                vec![
                    user("q", None),
                    assistant(&["a"]),
                    user("bad", None),
                    refused(),
                    user("r", None),
                ],
                &["u q", "a a", "u r"],
            ),
            (
                vec![user("bad", None), refused(), user("worse", None), refused(), user("q", None)],
                &["u q"],
            ),
            // What failed after it is told, and the newest question whatever it is.
            (vec![user("bad", None), refused(), user("q", None), user("r", None)], &["u q\n\nr"]),
            (vec![user("bad", None), refused()], &["u bad"]),
        ] {
            assert_eq!(told(&items), expected);
        }
    }

    #[test]
    fn less_is_told_where_that_was_too_much() {
        let items = [
            user("one", None),
            assistant(&["1234567"]),
            user("lost", None),
            user("two", None),
            assistant(&["2"]),
            user("lost", None),
            user("now, at length", None),
        ];
        assert_eq!(
            told_of(&items, History::Answered),
            ["u one", "a 1234567", "u two", "a 2", "u now, at length"]
        );
        assert_eq!(told_of(&items, History::Newer), ["u two", "a 2", "u now, at length"]);
        for told in [History::All, History::Answered, History::Newer] {
            assert_eq!(told_of(&items[..1], told), ["u one"]);
        }
        // Not even half of an answer is told without its question.
        assert_eq!(
            told_of(&[user("q", None), assistant(&["a"]), user("r", None)], History::Newer),
            ["u r"]
        );
    }

    #[test]
    fn attachments_without_a_text_are_their_names() {
        let attached = |text: &str| {
            let file = |name: &str| Json::from([("id", "atc_1".into()), ("name", name.into())]);
            let mut item = user(text, None);
            if let Content::UserMessage(message) = &mut item.content {
                message.attachments = vec![file("a.pdf"), file("b.png")];
            }
            item
        };
        assert_eq!(told(&[attached("")]), ["u [a.pdf] [b.png]"]);
        assert_eq!(told(&[attached("What is it?")]), ["u What is it?"]);
    }
}
