//! `{name}` in paths, header values and expected texts.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What has been captured so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Gives the value of one; empty if it is not set.
    pub(super) fn get(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Gives `text` with its variables replaced.
    ///
    /// # Errors
    /// The name of one that is not set.
    pub(super) fn fill<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        if !text.contains('{') {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, tail) = rest.split_at(start);
            filled.push_str(before);
            if let Some((name, after)) = name(tail) {
                let value = self.0.get(name).ok_or_else(|| name.to_owned())?;
                filled.push_str(value);
                rest = after;
            } else {
                filled.push('{');
                rest = tail.get(1..).unwrap_or_default();
            }
        }
        filled.push_str(rest);
        Ok(Cow::Owned(filled))
    }
}

/// Gives the name at the start of `{name}…`, and what follows it. Other braces are only braces.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    good.then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_replaced_and_other_braces_stay() {
        let mut variables = Variables::default();
        variables.set("session", "s-1");
        for (text, expected) in [
            ("/sessions/{session}/x/{session}", Ok("/sessions/s-1/x/s-1")),
            ("{\"a\":{}} {A} {session", Ok("{\"a\":{}} {A} {session")),
            ("{{session}}", Ok("{s-1}")),
            ("{nobody}", Err("nobody".to_owned())),
        ] {
            assert_eq!(variables.fill(text).as_deref().map_err(String::clone), expected, "{text}");
        }
    }
}
