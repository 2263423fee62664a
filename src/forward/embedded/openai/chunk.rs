//! One `chat.completion.chunk`, or a whole `chat.completion`: as much of it as matters.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::report::{Report, is_telling};
use super::trouble::Trouble;

/// What a chunk says of the answer.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// More of its text, or all of it.
    pub(super) text: String,
    /// Whether that is a message of its own, and no delta to one: some relays repeat the whole.
    pub(super) whole: bool,
    pub(super) finish: Finish,
}

/// Why the model stopped, if it did.
#[derive(Debug, Default)]
pub(super) enum Finish {
    /// It didn't.
    #[default]
    None,
    /// By itself. Relays before Gemini have this word in every chunk.
    Stop,
    /// By a limit, or for a reason that nobody here knows. The text is as whole as it gets.
    Other,
    /// It was made to, and the text is no answer.
    Failed(Trouble),
}

/// What an event is.
#[derive(Debug)]
pub(super) enum Chunk {
    /// A piece of the answer.
    Said(Said),
    /// Nothing of it: tokens that are counted, another choice, a sign of life.
    Beside,
    /// In place of an answer, or of the rest of one.
    Failed(Trouble),
}

impl Chunk {
    /// Reads the data of an event.
    pub(super) fn read(data: &[u8]) -> Self {
        match serde_json::from_slice(data) {
            Ok(Completion { choices: Some(choices), error })
                if !choices.is_empty() && !error.as_ref().is_some_and(is_telling) =>
            {
                // One choice was asked for.
                let first = choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
                first.map_or(Self::Beside, Choice::read)
            }
            // A list is read as an object's members by their order, which nobody means.
            read => match serde_json::from_slice(data) {
                Err(_) => Self::Failed(Trouble::Unreadable),
                Ok(value) => match Report::find(&value) {
                    Some(report) => Self::Failed(Trouble::Reported(report)),
                    None if read.is_ok() && value.is_object() => Self::Beside,
                    None => Self::Failed(Trouble::Unreadable),
                },
            },
        }
    }
}

/// Every member may be missing or `null`.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    delta: Option<Message>,
    message: Option<Message>,
    #[serde(default)]
    finish_reason: Reason,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Text,
    /// What the model says in place of an answer.
    refusal: Option<String>,
}

impl Choice {
    fn read(self) -> Chunk {
        let failure = self.error.filter(is_telling);
        let (Reason(finish), whole) = (self.finish_reason, self.delta.is_none());
        let finish = match failure {
            Some(error) => Finish::Failed(Trouble::Reported(Report::of(None, &error))),
            None => finish,
        };
        let text = self.delta.or(self.message).map_or_else(String::new, |message| {
            message.content.0 + message.refusal.as_deref().unwrap_or_default()
        });
        Chunk::Said(Said { text, whole, finish })
    }
}

/// A finish reason, in whichever words. What is no text is none.
#[derive(Default)]
struct Reason(Finish);

impl Finish {
    fn named(word: &str) -> Self {
        // The filters of OpenAI, Azure, Gemini, Bedrock, Anthropic and Zhipu.
        const FILTERED: [&str; 10] = [
            "blocked",
            "blocklist",
            "filter",
            "guardrail",
            "moderation",
            "prohibited",
            "recitation",
            "refusal",
            "safety",
            "sensitive",
        ];
        // What breaks off an answer at OpenRouter, DeepSeek, Gemini, Zhipu, vLLM and SGLang.
        const FAILED: [&str; 12] = [
            "abort",
            "cancel",
            "error",
            "exception",
            "fail",
            "insufficient",
            "interrupt",
            "malformed",
            "timeout",
            "too_many_tool_calls",
            "unavailable",
            "unexpected",
        ];
        let lower = word.to_ascii_lowercase();
        let is_one_of = |known: &[&str]| known.iter().any(|known| lower.contains(known));
        match lower.as_str() {
            // Some servers have one of these in every chunk but the last.
            "" | "null" | "none" | "finish_reason_unspecified" => Self::None,
            "stop" => Self::Stop,
            // Gemini's words for a reason that it doesn't tell, and for a language it can't.
            "other" => Self::Failed(Trouble::Reported(Report::named(word))),
            "language" => Self::Failed(Trouble::Filtered),
            _ if is_one_of(&FILTERED) => Self::Failed(Trouble::Filtered),
            _ if is_one_of(&FAILED) => Self::Failed(Trouble::Reported(Report::named(word))),
            _ => Self::Other,
        }
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl Visitor<'_> for Word {
            type Value = Finish;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finish reason")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Finish, E> {
                Ok(Finish::named(word))
            }

            fn visit_unit<E: Error>(self) -> Result<Finish, E> {
                Ok(Finish::None)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Finish, E> {
                Ok(Finish::None)
            }
        }

        deserializer.deserialize_any(Word).map(Self)
    }
}

/// A `content`: a text, or parts of which some are text.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or its parts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_unit<E: Error>(self) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<String, A::Error> {
                let mut text = String::new();
                while let Some(part) = parts.next_element::<Value>()? {
                    text.push_str(text_of(&part));
                }
                Ok(text)
            }

            fn visit_map<A: MapAccess<'de>>(self, part: A) -> Result<String, A::Error> {
                let part = Value::deserialize(MapAccessDeserializer::new(part))?;
                Ok(text_of(&part).to_owned())
            }
        }

        deserializer.deserialize_any(Parts).map(Self)
    }
}

/// The text of a part, if that is what it is; thinking isn't.
fn text_of(part: &Value) -> &str {
    let text = match part.get("type").and_then(Value::as_str) {
        None if part.is_string() => Some(part),
        // Gemini's parts have no type, but thoughts are marked.
        None | Some("text" | "output_text") if part.get("thought") != Some(&Value::Bool(true)) => {
            part.get("text")
        }
        Some("refusal") => part.get("refusal"),
        _ => None,
    };
    text.and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(content: &str) -> String {
        let data = format!(r#"{{"choices":[{{"delta":{{"content":{content}}}}}]}}"#);
        match Chunk::read(data.as_bytes()) {
            Chunk::Said(said) => said.text,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_text_of_a_content_is_the_answer_and_thinking_is_not() {
        for (shape, text) in [
            (r#""Good""#, "Good"),
            ("null", ""),
            ("[]", ""),
            ("{}", ""),
            (r#"[{"type":"text","text":"Good "},{"type":"text","text":"day"}]"#, "Good day"),
            (r#"[{"type":"output_text","text":"Good"}]"#, "Good"),
            (r#"[{"type":"refusal","refusal":"No."}]"#, "No."),
            (r#"[{"text":"Good "},"day",7,null]"#, "Good day"),
            (r#"{"type":"text","text":"Good"}"#, "Good"),
            (r#"[{"type":"thinking","thinking":[{"type":"text","text":"planted"}]}]"#, ""),
            (r#"[{"type":"reasoning","text":"planted"},{"type":"text","text":"Good"}]"#, "Good"),
            (r#"[{"text":"planted","thought":true},{"type":"text","text":null}]"#, ""),
            (r#"{"type":"thinking","text":"planted"}"#, ""),
            ("1", "Failed(Unreadable)"),
            ("true", "Failed(Unreadable)"),
        ] {
            assert_eq!(content(shape), text, "{shape}");
        }
    }

    #[test]
    fn a_finish_reason_means_what_its_server_means() {
        for (reasons, meant) in [
            (&["", "null", "FINISH_REASON_UNSPECIFIED"][..], "None"),
            (&["stop", "STOP"], "Stop"),
            (
                &["length", "MAX_TOKENS", "model_length", "tool_calls", "function_call", "eos"],
                "Other",
            ),
            (
                &[
                    "content_filter",
                    "SAFETY",
                    "IMAGE_SAFETY",
                    "RECITATION",
                    "BLOCKLIST",
                    "PROHIBITED_CONTENT",
                    "LANGUAGE",
                    "refusal",
                    "sensitive",
                    "guardrail_intervened",
                ],
                "Failed(Filtered)",
            ),
            (
                &[
                    "error",
                    "network_error",
                    "insufficient_system_resource",
                    "MALFORMED_FUNCTION_CALL",
                    "UNEXPECTED_TOOL_CALL",
                    "OTHER",
                    "abort",
                    "cancelled",
                    "timeout",
                ],
                "Failed(Reported(",
            ),
        ] {
            for reason in reasons {
                let shown = format!("{:?}", Finish::named(reason));
                assert!(shown.starts_with(meant), "{reason}: {shown}");
            }
        }
    }

    #[test]
    fn an_error_beside_a_choice_is_one_unless_it_is_empty() {
        let read = |more: &str, choice: &str| {
            let data = format!(r#"{{"choices":[{{"delta":{{"content":"half"}}{choice}}}]{more}}}"#);
            format!("{:?}", Chunk::read(data.as_bytes()))
        };
        for (more, choice) in [
            (r#","error":{"code":502,"message":"planted"}"#, ""),
            (r#","error":"planted""#, ""),
            ("", r#","error":{"code":502,"message":"planted"},"finish_reason":"error""#),
        ] {
            let shown = read(more, choice);
            assert!(shown.contains("Failed(Reported("), "{shown}");
        }
        for (more, choice) in [
            (r#","error":null"#, r#","error":null"#),
            (r#","error":{"message":"","type":"","code":null}"#, r#","finish_reason":false"#),
        ] {
            let shown = read(more, choice);
            assert!(shown.starts_with("Said"), "{shown}");
        }
    }
}
