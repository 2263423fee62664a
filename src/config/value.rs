//! A setting's value as a layer gave it.

use std::borrow::Cow;

/// A value before its meaning is known. Has no `Debug`, because it may be a secret.
#[derive(Clone)]
pub(super) enum Value {
    Boolean(bool),
    Integer(i64),
    List(Vec<Value>),
    /// TOML that no setting takes: what it is, for the error.
    Other(&'static str),
    Table(Vec<(String, Value)>),
    Text(String),
    /// From a layer that knows only text (a default, the environment, a flag): what type it has
    /// is up to who reads it.
    Word(String),
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Word(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// Gives the entries of a list; those of a word are between its commas.
    pub(super) fn list(&self) -> Option<Cow<'_, [Value]>> {
        match self {
            Self::List(entries) => Some(Cow::Borrowed(entries)),
            Self::Word(word) if word.trim().is_empty() => Some(Cow::Borrowed(&[])),
            Self::Word(word) => Some(Cow::Owned(
                word.split(',').map(|entry| Self::Word(entry.trim().into())).collect(),
            )),
            _ => None,
        }
    }

    /// Tells whether it is the same as what a layer says that knows only text.
    pub(super) fn says_the_same(&self, word: &Self) -> bool {
        match self {
            Self::Boolean(value) => word.boolean() == Some(*value),
            Self::Integer(value) => word.integer() == Some(*value),
            Self::Text(text) | Self::Word(text) => word.text() == Some(text),
            Self::List(entries) => word.list().is_some_and(|words| {
                entries.len() == words.len()
                    && entries
                        .iter()
                        .zip(words.iter())
                        .all(|(entry, word)| entry.says_the_same(word))
            }),
            Self::Table(_) | Self::Other(_) => false,
        }
    }

    /// Gives what it is, without saying what it says.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::List(_) => "a list",
            Self::Other(what) => what,
            Self::Table(_) => "a table",
            Self::Text(_) | Self::Word(_) => "a text that is not shown here",
        }
    }

    /// Gives the value itself, cut after 80 characters, where that is possible and `showable`; else
    /// its [`kind`](Self::kind).
    pub(super) fn shown(&self, showable: bool) -> String {
        match self {
            Self::Boolean(value) if showable => value.to_string(),
            Self::Integer(value) if showable => value.to_string(),
            Self::Text(text) | Self::Word(text) if showable => {
                let cut: String = text.chars().take(80).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                format!("{cut:?}{more}")
            }
            Self::List(entries) if showable => {
                let entries: Vec<_> = entries.iter().map(|entry| entry.shown(true)).collect();
                format!("[{}]", entries.join(", "))
            }
            _ => self.kind().into(),
        }
    }
}
