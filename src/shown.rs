//! What others wrote, as log lines have it.

use std::borrow::Cow;

/// The longest text that is logged whole, in bytes.
const MAX_BYTES: usize = 256;

/// Gives a text of a client's or an upstream's, for a log line: whole if it is short, else its
/// beginning and how long it was. What steers a terminal or turns the text around is escaped.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_BYTES {
        return harmless(text);
    }
    let end = (0..=MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let beginning = harmless(text.get(..end).unwrap_or_default());
    Cow::Owned(format!("{beginning}… ({} bytes)", text.len()))
}

/// Escapes what does harm in a line; what is ASCII is escaped by whatever writes the line.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Controls beyond ASCII, separators of lines, and what has to do with the direction of text.
fn steers(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
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
    #[test]
    fn what_steers_a_terminal_or_turns_text_around_is_escaped() {
        for c in ["\u{80}", "\u{9b}", "\u{61c}", "\u{200f}", "\u{2028}", "\u{202e}", "\u{2069}"] {
            let escaped = c.escape_unicode().to_string();
            assert_eq!(shown(&format!("ö{c}x")), format!("ö{escaped}x"));
            let long = format!("{c}{}", "x".repeat(MAX_BYTES));
            assert!(shown(&long).starts_with(&format!("{escaped}x")), "{escaped}");
        }
        for text in ["ö\u{200d}\u{a0}\u{200b}😀", "\u{1b}[1m\n"] {
            assert!(matches!(shown(text), Cow::Borrowed(shown) if shown == text));
        }
    }
}
