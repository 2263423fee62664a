//! What a name that is not known was probably meant to be.

use super::key::{self, KEYS};

/// Gives the setting whose name is nearest to `name`, if one is near.
///
/// A key that exists in another section counts as very near: it is what a line in the wrong
/// place of a TOML file looks like.
pub(super) fn nearest_key(name: &str) -> Option<&'static str> {
    let leaf = leaf(name);
    let alias = leaf.to_ascii_lowercase();
    if let Some((_, key)) = ALIASES.iter().find(|(alias_of, _)| *alias_of == alias) {
        return Some(key);
    }
    let mut best: Option<(usize, &'static str)> = None;
    for key in KEYS {
        let mut distance = distance(name, key.name);
        if leaf == self::leaf(key.name) {
            distance = distance.min(1);
        }
        if distance <= tolerance(name) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, key.name));
        }
    }
    best.map(|(_, name)| name)
}

/// What settings are called elsewhere, without their section. None is a setting of ours.
const ALIASES: [(&str, &str); 12] = [
    ("base_path", "rest.prefix"),
    ("bind", "listen"),
    ("database_url", "store.url"),
    ("host", "listen"),
    ("jwks", "auth.jwks_url"),
    ("jwks_uri", "auth.jwks_url"),
    ("jwt_secret", "auth.secret"),
    ("port", "listen"),
    ("public_key", "auth.public_key_file"),
    ("public_key_path", "auth.public_key_file"),
    ("secret_key", "auth.secret"),
    ("upstream_url", "upstream.url"),
];

/// Gives the section whose name is nearest to `name`, if one is near.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    nearest(name, key::sections())
}

/// Gives the word that is nearest to `word`, if one is near.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance(word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Gives what there is in place of `name`, for when nothing is near.
pub(super) fn known(name: &str) -> String {
    let section = name.split_once('.').map_or("", |(section, _)| section);
    let keys: Vec<_> = KEYS
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .filter(|(of, _)| *of == section)
        .map(|(_, leaf)| leaf)
        .collect();
    if keys.is_empty() {
        format!("listen, or a section of {}", key::sections().collect::<Vec<_>>().join(", "))
    } else {
        format!("one of {} in [{section}]", keys.join(", "))
    }
}

fn leaf(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, leaf)| leaf)
}

/// Tells how many edits apart two names may be to be taken for one another.
fn tolerance(name: &str) -> usize {
    (name.chars().count() / 4).clamp(1, 4)
}

/// Edits between two names, upper and lower case being the same; two neighbours that changed
/// places count as one edit (optimal string alignment).
///
/// Names longer than 64 characters are near to nothing, which bounds the work.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut two_above: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, j).saturating_add(usize::from(from != to));
            let removed = at(&above, j + 1).saturating_add(1);
            let added = at(&row, j).saturating_add(1);
            let mut least = replaced.min(removed).min(added);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                least = least.min(at(&two_above, j - 1).saturating_add(1));
            }
            row.push(least);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [
            ("", "abc", 3),
            ("secret", "secret", 0),
            ("SECRET", "secret", 0),
            ("secert", "secret", 1),
            ("secrett", "secret", 1),
            ("mode", "node", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn slips_of_the_pen_are_recognised_and_other_words_are_not() {
        for (name, key) in [
            ("auth.secert", Some("auth.secret")),
            ("upstream.conect_timeout", Some("upstream.connect_timeout")),
            ("limit.max_sessions", Some("limits.max_sessions")),
            ("limits.hold_bytes", Some("stream.hold_bytes")),
            ("rest.listen", Some("listen")),
            ("prefix", Some("rest.prefix")),
            ("lisen", Some("listen")),
            ("auth.password", None),
            ("colour", None),
            ("server.port", Some("listen")),
            ("server.HOST", Some("listen")),
            ("auth.jwks_uri", Some("auth.jwks_url")),
        ] {
            assert_eq!(nearest_key(name), key, "{name}");
        }
        for (alias, key) in ALIASES {
            assert!(key::find(key).is_some(), "{key}");
            assert!(KEYS.iter().all(|key| leaf(key.name) != alias), "{alias}");
        }
        assert_eq!(nearest_section("upstrem"), Some("upstream"));
        assert_eq!(nearest_section("database"), None);
        assert_eq!(nearest("jtw", ["jwt", "none"]), Some("jwt"));
        assert!(known("auth.password").contains("secret_file"));
        assert!(known("colour.red").starts_with("listen, or a section of server, rest"));
    }
}
