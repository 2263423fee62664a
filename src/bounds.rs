//! How long what clients name may be, on every surface and in the server that is built in.
//!
//! The schemas say the same (a test holds them to it). What is said in a message has limits of its
//! own in the configuration.

use std::collections::HashSet;

/// The most characters of an id, or of a name that stands for one: of a thread, an item, an
/// attachment, a model, a tool, an action, a tag, its group, a question.
#[cfg(any(feature = "embedded", feature = "operation", test))]
pub(crate) const MAX_ID_CHARS: usize = 512;

/// The most characters of a title, of a file's name, or of a media type.
#[cfg(any(feature = "embedded", feature = "session", test))]
pub(crate) const MAX_NAME_CHARS: usize = 255;

/// The most characters of a cursor. They are the upstream's, and may have more than an id in them.
#[cfg(any(feature = "embedded", feature = "session", test))]
pub(crate) const MAX_CURSOR_CHARS: usize = 2048;

/// The most characters of one value of an answer to a structured input.
#[cfg(any(feature = "embedded", test))]
pub(crate) const MAX_ANSWER_CHARS: usize = 10_000;

/// The most entries of a list: parts, attachments, items, answers, values. An id that is there twice
/// is one.
pub(crate) const MAX_ENTRIES: usize = 256;

/// The most entries of a list of ids, those that are there twice among them.
pub(crate) const MAX_IDS: usize = 4096;

/// Tells whether a list names more than it may: ids that are there twice count once.
pub(crate) fn names_too_many(ids: &[impl AsRef<str>]) -> bool {
    ids.len() > MAX_ENTRIES && {
        let named: HashSet<&str> = ids.iter().map(AsRef::as_ref).collect();
        named.len() > MAX_ENTRIES
    }
}

/// The most bytes of a request's metadata, written as JSON without white space.
#[cfg(feature = "validate")]
pub(crate) const MAX_METADATA_BYTES: usize = 65_536;

/// The most bytes of a request's members that are not known here, the same way: names and values of
/// all of them together.
#[cfg(feature = "validate")]
pub(crate) const MAX_EXTRA_BYTES: usize = 65_536;

/// Tells whether a text has more characters than `max`.
#[cfg(any(feature = "embedded", feature = "session"))]
pub(crate) fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().count() > max
}

/// Gives the beginning of `text`, at most `chars` scalar values long, without a part of what is
/// seen as one character: an emoji, a flag, a letter with its accents. One that is longer by itself
/// is cut.
#[cfg(any(feature = "embedded", feature = "session"))]
pub(crate) fn cut(text: &str, chars: usize) -> &str {
    let Some((limit, _)) = text.char_indices().nth(chars) else { return text };
    let mut cursor = unicode_segmentation::GraphemeCursor::new(limit, text.len(), true);
    let end = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten(),
        Ok(true) | Err(_) => None,
    };
    let end = end.filter(|end| *end > 0).unwrap_or(limit);
    text.get(..end).unwrap_or_default()
}

#[cfg(all(test, any(feature = "embedded", feature = "session")))]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_inside_of_what_is_seen_as_one_character() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        let flag = "\u{1f1e9}\u{1f1ea}";
        for cluster in [family, flag, "e\u{301}", "\u{1f44d}\u{1f3fd}", "\u{1112}\u{1161}\u{11ab}"]
        {
            let length = cluster.chars().count();
            for fill in MAX_NAME_CHARS - 10..=MAX_NAME_CHARS {
                let text = "x".repeat(fill) + &cluster.repeat(3);
                let fits = 3.min((MAX_NAME_CHARS - fill) / length);
                let expected = "x".repeat(fill) + &cluster.repeat(fits);
                assert_eq!(cut(&text, MAX_NAME_CHARS), expected, "{fill}");
            }
        }
        let heap = "e".to_owned() + &"\u{301}".repeat(500);
        assert_eq!(cut(&heap, MAX_NAME_CHARS).chars().count(), MAX_NAME_CHARS);
    }
}
