//! What a user says: a message, how long it may be, and how its answer is wanted.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::rejection::{Code, Rejection};
use crate::validate::Answer;
use crate::validate::json::Parsed;
use crate::validate::parse::defect;

/// One user message, in raw JSON so that not a byte of it changes.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunCall {
    /// The parts of `content`.
    pub content: Vec<Box<RawValue>>,
    /// The ids of the attachments.
    pub attachments: Vec<String>,
    /// `quoted_text`, a string or null.
    pub quoted_text: Option<Box<RawValue>>,
    /// `inference_options`, an object.
    pub inference_options: Option<Box<RawValue>>,
    /// `metadata`, an object.
    pub metadata: Option<Box<RawValue>>,
    /// How the client wants its answer.
    pub answer: Answer,
}

impl RunCall {
    /// A message of these parts and nothing else.
    pub(crate) fn new(content: Vec<Box<RawValue>>, answer: Answer) -> Self {
        Self {
            content,
            attachments: Vec::new(),
            quoted_text: None,
            inference_options: None,
            metadata: None,
            answer,
        }
    }

    /// Makes one of a text, which stays as it was written.
    ///
    /// # Errors
    /// 500 if it isn't a JSON string.
    pub(crate) fn of_text(text: &RawValue, answer: Answer) -> Result<Self, Rejection> {
        let part = format!(r#"{{"type":"input_text","text":{}}}"#, text.get());
        let part = RawValue::from_string(part).map_err(|error| defect(&error))?;
        Ok(Self::new(vec![part], answer))
    }
}

/// Gives the texts of a message's parts.
pub(crate) fn texts(parts: Option<&Vec<Value>>) -> impl Iterator<Item = &str> {
    parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str))
}

/// Counts the characters of a message that are not in its text: those of what it quotes, and of what its
/// tags know, as that is written.
pub(crate) fn chars_beside(message: &Value, parsed: &Parsed) -> usize {
    let quoted = message.get("quoted_text").and_then(Value::as_str).unwrap_or_default();
    quoted.chars().count() + parsed.told_chars
}

/// Refuses text that is blank, or has more than `max` characters together with those `beside` it.
pub(crate) fn check_text<'a>(
    max: usize,
    texts: impl Iterator<Item = &'a str>,
    beside: usize,
    refuse_blank: bool,
) -> Result<(), Rejection> {
    let mut blank = true;
    let mut chars = beside;
    for text in texts {
        blank = blank && text.chars().all(char::is_whitespace);
        chars += text.chars().count();
    }
    if blank && refuse_blank {
        return Err(Rejection::new(Code::EmptyMessage));
    }
    if chars > max {
        let what = if beside == 0 { "text has" } else { "text, quoted_text and data have" };
        let text = format!("The message's {what} {chars} characters; at most {max} are allowed.");
        return Err(Rejection::new(Code::MessageTooLong)
            .message(text)
            .detail("max_message_chars", max)
            .detail("message_chars", chars));
    }
    Ok(())
}
