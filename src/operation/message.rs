//! What a user says, and how long it may be.

use serde_json::Value;

use crate::rejection::{Code, Rejection};
use crate::validate::json::Parsed;

/// Gives the texts of a message's parts.
pub(crate) fn texts(parts: Option<&Vec<Value>>) -> impl Iterator<Item = &str> {
    parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str))
}

/// Counts the characters of a message that are not in its text: those of what it quotes, and of what its
/// tags know, as that is written.
pub(crate) fn chars_beside(message: &Value, parsed: &Parsed) -> usize {
    let quoted = message.get("quoted_text").and_then(Value::as_str).unwrap_or_default();
    quoted.chars().count() + parsed.measured_chars
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
