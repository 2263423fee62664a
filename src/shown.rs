//! What others wrote, as log lines have it.

use std::borrow::Cow;

/// The longest text that is logged whole, in bytes.
const MAX_BYTES: usize = 256;

/// A text of a client's or an upstream's, for a log line: whole if it is short, else its beginning
/// and how long it was.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_BYTES {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let beginning = text.get(..end).unwrap_or_default();
    Cow::Owned(format!("{beginning}… ({} bytes)", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let longest = "x".repeat(MAX_BYTES);
        assert!(matches!(shown(&longest), Cow::Borrowed(text) if text == longest));
        assert_eq!(shown(&format!("{longest}y")), format!("{longest}… (257 bytes)"));
        let (odd, cut) = (format!("x{}", "é".repeat(30_000)), format!("x{}", "é".repeat(127)));
        assert_eq!(shown(&odd), format!("{cut}… (60001 bytes)"));
    }
}
