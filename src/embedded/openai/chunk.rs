//! One `chat.completion.chunk`, or a whole `chat.completion`: as much of it as matters.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::report::{ApiReport, is_telling, value};
use super::trouble::Trouble;
use crate::stream::{Object, list, text};

/// Where a chunk has a failure beside whatever else is in it.
const FAILURES: [&str; 3] = ["error", "errors", "error_message"];

/// What a chunk says of the answer.
#[derive(Debug, Default)]
pub(super) struct ChunkContent {
    /// More of its text, or all of it.
    pub(super) text: String,
    /// Whether that is a message of its own, and no delta to one: some relays repeat the whole.
    pub(super) whole: bool,
    /// Whether the model did something else, such as thinking.
    pub(super) thinks: bool,
    pub(super) finish: Finish,
}

/// Why the model stopped, if it did.
#[derive(Debug, Default)]
pub(super) enum Finish {
    /// It didn't.
    #[default]
    None,
    /// By itself, by a limit, or for a reason that nobody here knows: the text is as whole as it
    /// gets. Some relays have such a word in every chunk.
    Stop,
    /// It was made to, and the text is no answer.
    Failed(Trouble),
}

/// What an event is.
#[derive(Debug)]
pub(super) enum Chunk {
    /// A piece of the answer.
    Said(ChunkContent),
    /// Nothing of it: tokens that are counted, another choice, a sign of life.
    Beside,
    /// In place of an answer, or of the rest of one.
    Failed(Trouble),
}

impl Chunk {
    /// Reads the data of an event. A member that is odd costs no other: it is absent, unless it may
    /// be text, which must not be lost.
    pub(super) fn read(data: &[u8]) -> Self {
        let Ok(json) = str::from_utf8(data) else { return Self::Failed(Trouble::Unreadable) };
        let json = match Object::read(json) {
            Some(chunk) => return Self::of(json, &chunk),
            None => finite(json),
        };
        match Object::read(&json) {
            Some(chunk) => Self::of(&json, &chunk),
            // Some have their failure in a list.
            None => match ApiReport::find(&value(&json)) {
                Some(report) => Self::Failed(Trouble::Reported(report)),
                None => Self::Failed(Trouble::Unreadable),
            },
        }
    }

    fn of(json: &str, chunk: &Object<'_>) -> Self {
        let choices = match chunk.get("choices") {
            None => Vec::new(),
            Some(choices) => match choices.get().as_bytes().first() {
                Some(b'[') => list(choices).unwrap_or_default(),
                Some(b'{') if !is_nothing(choices) => vec![choices],
                _ if is_nothing(choices) => Vec::new(),
                _ => return Self::Failed(Trouble::Unreadable),
            },
        };
        if choices.is_empty() {
            return match ApiReport::find(&value(json)) {
                Some(report) => Self::Failed(Trouble::Reported(report)),
                None => Self::Beside,
            };
        }
        if let Some(report) = beside(chunk) {
            return Self::Failed(Trouble::Reported(report));
        }
        let mut is_odd = false;
        for choice in choices {
            match Object::of(choice) {
                // One choice was asked for.
                Some(choice) if is_first(&choice) => return Self::choice(&choice),
                Some(_) => {}
                None => is_odd |= !is_nothing(choice),
            }
        }
        if is_odd { Self::Failed(Trouble::Unreadable) } else { Self::Beside }
    }

    fn choice(choice: &Object<'_>) -> Self {
        let delta = choice.get("delta").filter(|delta| !is_nothing(delta));
        let whole = delta.is_none();
        let message = delta.or_else(|| choice.get("message").filter(|it| !is_nothing(it)));
        let mut said = ChunkContent {
            whole,
            finish: Finish::of(choice.get("finish_reason")),
            ..ChunkContent::default()
        };
        let mut failure = reported(choice);
        if let Some(message) = message {
            let Some(message) = Object::of(message) else {
                return Self::Failed(Trouble::Unreadable);
            };
            let Some(text) = words(&message) else { return Self::Failed(Trouble::Unreadable) };
            said.thinks = message.members().any(|(name, it)| name != "role" && !is_nothing(it));
            said.text = text;
            failure = failure.or_else(|| reported(&message));
        }
        if let Some(report) = failure {
            said.finish = Finish::Failed(Trouble::Reported(report));
        }
        Self::Said(said)
    }
}

/// Tells whether it is the choice that is the answer. The others have a number above 0.
fn is_first(choice: &Object<'_>) -> bool {
    let index = choice.text("index").and_then(|index| index.trim().parse::<f64>().ok());
    index.is_none_or(|index| index < 1.0)
}

/// Gives a failure beside the choices: of the chunk, or in what its server adds to it (`x_groq`).
fn beside(chunk: &Object<'_>) -> Option<ApiReport> {
    reported(chunk).or_else(|| {
        chunk.members().find_map(|(name, member)| {
            if name.starts_with("x_") {
                Object::of(member).as_ref().and_then(reported)
            } else if name == "base_resp" {
                ApiReport::find(&value(member.get()))
            } else {
                None
            }
        })
    })
}

/// Gives a failure in a member of its own. Relays have empty ones in every chunk.
fn reported(object: &Object<'_>) -> Option<ApiReport> {
    let failures = FAILURES.into_iter().filter_map(|name| object.get(name));
    let failures = failures.map(|failure| value(failure.get()));
    failures.into_iter().find(is_telling).map(|failure| ApiReport::of(None, &failure))
}

/// Gives the text of a message or of a delta to one; `None` if it can't be read.
fn words(message: &Object<'_>) -> Option<String> {
    let mut words = match message.get("content") {
        None => String::new(),
        Some(content) => match content.get().as_bytes().first() {
            // Some relays make numbers of texts that look like one.
            Some(b'"' | b'-' | b'0'..=b'9') => text(content)?.into_owned(),
            Some(b'[') => list(content)?.into_iter().filter_map(part).collect(),
            Some(b'{') => part(content).unwrap_or_default().into_owned(),
            _ if is_nothing(content) => String::new(),
            _ => return None,
        },
    };
    // What the model says in place of an answer.
    if let Some(refusal) = message.get("refusal").and_then(string) {
        words.push_str(&refusal);
    }
    Some(words)
}

/// Gives the text of a part of a content, if that is what it is; thinking isn't.
fn part(part: &RawValue) -> Option<Cow<'_, str>> {
    let Some(object) = Object::of(part) else { return string(part) };
    match object.text("type").as_deref() {
        // Gemini's parts have no type, but thoughts are marked.
        None | Some("text" | "output_text") => {
            let is_thought = object.get("thought").is_some_and(|it| it.get() == "true");
            object.get("text").filter(|_| !is_thought).and_then(string)
        }
        Some("refusal") => object.get("refusal").and_then(string),
        Some(_) => None,
    }
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    text(value).filter(|_| value.get().starts_with('"'))
}

/// Tells whether nothing is in it, in whichever way that is written.
fn is_nothing(raw: &RawValue) -> bool {
    match raw.get() {
        "null" | "false" | "[]" | "{}" | "\"\"" => true,
        // Nearly always a text.
        json => !json.starts_with('"') && !is_telling(&value(json)),
    }
}

/// Gives the JSON without the numbers that it doesn't have and Python writes: `NaN`, `Infinity`.
pub(super) fn finite(json: &str) -> Cow<'_, str> {
    const NUMBERS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !NUMBERS.iter().any(|number| json.contains(number)) {
        return Cow::Borrowed(json);
    }
    let (mut plain, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(begin) = rest.find(['"', 'N', '-', 'I']) {
        let (before, from) = rest.split_at(begin);
        plain.push_str(before);
        let number = NUMBERS.iter().find(|number| from.starts_with(**number));
        let end = match number {
            Some(number) => number.len(),
            None if from.starts_with('"') => end_of_string(from),
            None => 1,
        };
        let (token, after) = from.split_at(end);
        plain.push_str(if number.is_some() { "null" } else { token });
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Tells how long the string at the beginning of `json` is, with its quotes.
fn end_of_string(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

impl Finish {
    /// Reads a finish reason, in whichever words. What is no word is none.
    fn of(reason: Option<&RawValue>) -> Self {
        let Some(reason) = reason else { return Self::None };
        if let Some(word) = string(reason) {
            return Self::named(&word);
        }
        let Some(object) = Object::of(reason) else { return Self::None };
        let mut names = ["type", "reason", "name", "finish_reason"].into_iter();
        let word = names.find_map(|name| object.get(name).and_then(string));
        word.map_or(Self::None, |word| Self::named(&word))
    }

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
            // Gemini's words for a reason that it doesn't tell, and for a language it can't.
            "other" => Self::Failed(Trouble::Reported(ApiReport::named(word))),
            "language" => Self::Failed(Trouble::Filtered),
            _ if is_one_of(&FILTERED) => Self::Failed(Trouble::Filtered),
            _ if is_one_of(&FAILED) => Self::Failed(Trouble::Reported(ApiReport::named(word))),
            _ => Self::Stop,
        }
    }
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
            // PHP's relays make a number of it.
            ("1", "1"),
            ("-1.50", "-1.50"),
            ("false", ""),
            ("true", "Failed(Unreadable)"),
        ] {
            assert_eq!(content(shape), text, "{shape}");
        }
    }

    #[test]
    fn a_finish_reason_means_what_its_server_means() {
        for (reasons, meant) in [
            (&["", "null", "FINISH_REASON_UNSPECIFIED"][..], "None"),
            (
                &[
                    "stop",
                    "STOP",
                    "length",
                    "MAX_TOKENS",
                    "model_length",
                    "tool_calls",
                    "function_call",
                    "eos",
                ],
                "Stop",
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
    fn an_odd_member_costs_no_other() {
        for chunk in [
            r#"{"choices":[{"index":"0","delta":{"content":"Good"}}]}"#,
            r#"{"choices":[{"index":0.0,"delta":{"content":"Good"}}]}"#,
            r#"{"choices":[{"index":-1,"delta":{"content":"Good"}}]}"#,
            r#"{"choices":[{"index":[],"delta":{"content":"Good"}}]}"#,
            r#"{"choices":[null,{"index":"1","delta":{"content":"B"}},{"delta":{"content":"Good"}}]}"#,
            r#"{"choices":{"index":0,"delta":{"content":"Good"}}}"#,
            r#"{"choices":[{"delta":[],"message":{"content":"Good"}}]}"#,
            r#"{"choices":[{"delta":{"content":"Good","refusal":false}}]}"#,
            r#"{"choices":[{"delta":{"content":"Good","refusal":0,"role":7,"tool_calls":"x"}}]}"#,
            r#"{"choices":[{"delta":{"content":"Good"},"finish_reason":0,"message":7}]}"#,
            r#"{"choices":[{"delta":{"content":"Good"},"finish_reason":[]}]}"#,
            r#"{"choices":[{"delta":{"content":"","content":"Good"},"logprobs":NaN}]}"#,
            r#"{"choices":[{"delta":{"content":"Good"}}],"a":[-Infinity,Infinity,"\\"],"error":""}"#,
            r#"{"choices":[{"delta":{"content":"Good"},"x":"\ud83d"}],"error":[],"created":"now"}"#,
        ] {
            match Chunk::read(chunk.as_bytes()) {
                Chunk::Said(ChunkContent { text, finish: Finish::None, .. }) => {
                    assert_eq!(text, "Good", "{chunk}");
                }
                other => panic!("{other:?}: {chunk}"),
            }
        }
        // A string keeps what only looks like a number, and half a pair takes nothing along.
        assert_eq!(content(r#""NaN \"-Infinity\\","x":NaN"#), "NaN \"-Infinity\\");
        assert_eq!(content(r#""Hi \ud83d""#).trim_end_matches('\u{fffd}'), "Hi ");
        for beside in [
            r#"{"choices":[],"usage":{"cost":NaN}}"#,
            r#"{"choices":[],"x":"\ud83d"}"#,
            r#"{"choices":{}}"#,
            r#"{"choices":[{"index":"1","delta":{"content":"B"}}]}"#,
        ] {
            assert!(matches!(Chunk::read(beside.as_bytes()), Chunk::Beside), "{beside}");
        }
        // What may be text must not be lost.
        for lost in [
            r#"{"choices":["Good"]}"#,
            r#"{"choices":[{"delta":"Good"}]}"#,
            r#"{"choices":[{"delta":["Good"]}]}"#,
        ] {
            let shown = format!("{:?}", Chunk::read(lost.as_bytes()));
            assert_eq!(shown, "Failed(Unreadable)", "{lost}");
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
            (r#","x_groq":{"id":"r","error":"planted"}"#, r#","finish_reason":"stop""#),
            (r#","errors":[{"code":502}]"#, r#","finish_reason":"stop""#),
            (r#","base_resp":{"status_code":1027,"status_msg":"planted"}"#, ""),
            ("", r#","delta":{"content":"","error":"planted"},"finish_reason":"stop""#),
            ("", r#","error":"\ud83d","finish_reason":"stop""#),
            ("", r#","finish_reason":{"type":"error"}"#),
        ] {
            let shown = read(more, choice);
            assert!(shown.contains("Failed(Reported("), "{shown}");
        }
        for (more, choice) in [
            (r#","error":null"#, r#","error":null"#),
            (r#","error":{"message":"","type":"","code":null}"#, r#","finish_reason":false"#),
            (
                r#","x_groq":{"error":null},"base_resp":{"status_code":0,"status_msg":"success"}"#,
                "",
            ),
        ] {
            let shown = read(more, choice);
            assert!(shown.starts_with("Said"), "{shown}");
        }
    }
}
