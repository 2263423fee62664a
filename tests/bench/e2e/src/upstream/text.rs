//! The delta texts: JSON escapes and multi-byte characters, cut to an exact length.

/// Makes eight different raw JSON strings of exactly `size` bytes each.
pub fn deltas(size: usize) -> [String; VARIETY] {
    std::array::from_fn(|variant| {
        let mut text = String::with_capacity(size);
        let mut tokens = TOKENS.iter().cycle().skip(variant);
        while text.len() < size {
            match tokens.next() {
                Some(token) if text.len() + token.len() <= size => text.push_str(token),
                _ => text.push('x'),
            }
        }
        text
    })
}

/// So many different deltas take turns in a stream.
pub const VARIETY: usize = 8;

/// Raw JSON: none is ever split, so each prefix of tokens is valid inside a string.
const TOKENS: [&str; 9] =
    ["Grüße ", "\\n", "日本語 ", "\\\"quoted\\\" ", "naïve ", "\\\\ ", "token ", "🙂 ", "\u{2028}"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_size_and_valid_json() {
        for size in [0, 1, 40, 64, 4096] {
            for delta in deltas(size) {
                assert_eq!(delta.len(), size);
                assert!(serde_json::from_str::<String>(&format!("\"{delta}\"")).is_ok());
            }
        }
    }

    #[test]
    fn large_deltas_hold_escapes_and_multi_byte_characters() {
        for delta in deltas(64) {
            assert!(delta.contains('\\') && !delta.is_ascii(), "{delta}");
        }
    }
}
