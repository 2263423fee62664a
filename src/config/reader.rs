//! From a setting's values to its meaning.
//!
//! A method of [`SettingsReader`] returns `None` exactly where it recorded a fault.

use std::time::Duration;

use super::error::{Fault, Origin};
use super::headers;
use super::hint;
use super::key::{self, ValueShape};
use super::layers::{self, Layers};
use super::meaning::{self, ApiKey};
use super::value::Value;

/// Reads settings out of their layers and keeps what is wrong with them.
pub(super) struct SettingsReader<'l> {
    pub(super) layers: &'l Layers,
    pub(super) faults: Vec<Fault>,
}

/// Why a value is refused.
struct Refusal {
    /// The end of a sentence that begins with the value; `None` if it just isn't what was
    /// expected.
    why: Option<String>,
    /// What was probably meant.
    hint: Option<String>,
}

impl Refusal {
    /// The value is of another type than the setting.
    const TYPE: Self = Self { why: None, hint: None };
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why: Some(why), hint: None }
    }
}

/// The most problems of one list that are named.
const MAX_PROBLEMS: usize = 8;

/// What is wrong with a list, each named once.
#[derive(Default)]
struct Problems {
    named: Vec<String>,
    more: usize,
}

impl Problems {
    fn add(&mut self, problem: String) {
        if self.named.contains(&problem) {
            return;
        }
        if self.named.len() < MAX_PROBLEMS {
            self.named.push(problem);
        } else {
            self.more += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Gives the end of a sentence that begins with the list.
    fn into_text(self) -> String {
        let named = self.named.join(", ");
        if self.more == 0 { named } else { format!("{named}, and {} more", self.more) }
    }
}

impl SettingsReader<'_> {
    /// Reads a setting from every layer that has it, so that a wrong value is found even where
    /// a later layer hides it; the last one counts.
    fn each<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(ValueShape, &Value) -> Result<T, Refusal>,
    ) -> Option<T> {
        let Some(key) = key::find(name) else {
            self.refuse(name, "a setting that the program does not know: a defect of it".into());
            return None;
        };
        let mut last = None;
        for setting in self.layers.of(name) {
            match parse(key.shape, &setting.value) {
                Ok(value) => last = Some(value),
                Err(Refusal { why, hint }) => {
                    last = None;
                    let shown = setting.value.shown(key.shape.shows(&setting.value));
                    let expected = key.shape.expected();
                    let problem = match why {
                        // It says what to do instead.
                        Some(why) if key.shape == key::NOTHING => format!("{shown} {why}"),
                        Some(why) => format!("{shown} {why}; expected {expected}"),
                        None => format!("found {shown}; expected {expected}"),
                    };
                    self.faults.push(Fault {
                        key: Some(name.into()),
                        origin: setting.origin.clone(),
                        problem,
                        hint,
                    });
                }
            }
        }
        last
    }

    /// Records a fault of the value that counts.
    pub(super) fn refuse(&mut self, name: &str, problem: String) {
        let origin = self.layers.origin(name);
        self.faults.push(Fault { key: Some(name.into()), origin, problem, hint: None });
    }

    /// Gives a text with a meaning of its own.
    pub(super) fn text<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.each(name, |_, value| {
            let text = value.text().ok_or(Refusal::TYPE)?;
            parse(text).map_err(Refusal::from)
        })
    }

    /// Gives the same, where an empty text means that there is none.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.text(name, |text| match text {
            "" => Ok(Vec::new()),
            text => parse(text).map(|value| vec![value]),
        })
    }

    /// Gives a text that is often written in another way: `meant` gives what was meant by a text that
    /// is not right, or by a number, as it would have to be written.
    pub(super) fn meant<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
        meant: impl Fn(&str) -> Option<String>,
    ) -> Option<T> {
        self.each(name, |shape, value| {
            let number =
                if let Value::Integer(number) = value { number.to_string() } else { String::new() };
            let (text, why) = match value.text() {
                Some(text) => match parse(text) {
                    Ok(parsed) => return Ok(parsed),
                    Err(why) => (text, Some(why)),
                },
                None => (&*number, None),
            };
            let hint = Some(text)
                .filter(|_| shape.shows(value))
                .and_then(&meant)
                .filter(|meant| parse(meant).is_ok())
                .map(|meant| format!("{meant:?}"));
            Err(Refusal { why, hint })
        })
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        self.each(name, |_, value| value.boolean().ok_or(Refusal::TYPE))
    }

    /// Reads a boolean, or `None` for the word that leaves it to others.
    #[expect(
        clippy::option_option,
        reason = "the outer says whether it could be read, as of others"
    )]
    pub(super) fn switch(&mut self, name: &'static str) -> Option<Option<bool>> {
        self.each(name, |shape, value| match (value.boolean(), value.text(), shape) {
            (Some(value), ..) => Ok(Some(value)),
            (None, Some(text), ValueShape::Switch(word)) if text == word => Ok(None),
            _ => Err(Refusal::TYPE),
        })
    }

    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        self.each(name, |shape, value| {
            if let Value::Integer(number) = value {
                let why = Some("has no unit (ms, s, m or h)".into());
                return Err(Refusal { why, hint: Some(format!("\"{number}s\"")) });
            }
            let text = value.text().ok_or(Refusal::TYPE)?;
            let duration = meaning::duration(text)?;
            match shape {
                ValueShape::Duration(min, _) if duration < min => {
                    Err(Refusal::from("is too short".to_owned()))
                }
                ValueShape::Duration(_, max) if duration > max => {
                    Err(Refusal::from("is too long".to_owned()))
                }
                _ => Ok(duration),
            }
        })
    }

    fn number<T: TryFrom<i64>>(&mut self, name: &'static str) -> Option<T> {
        self.each(name, |shape, value| {
            let number = value.integer().ok_or(Refusal::TYPE)?;
            if let ValueShape::Count(min, max) = shape
                && !u64::try_from(number).is_ok_and(|number| (min..=max).contains(&number))
            {
                return Err(Refusal::from("is out of range".to_owned()));
            }
            T::try_from(number).map_err(|_| Refusal::from("is out of range".to_owned()))
        })
    }

    pub(super) fn size(&mut self, name: &'static str) -> Option<usize> {
        self.number(name)
    }

    /// Gives a limit; zero, which means none, is `NonZeroU32::new`'s `None`.
    pub(super) fn limit(&mut self, name: &'static str) -> Option<u32> {
        self.number(name)
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        meanings: &[(&'static str, T)],
    ) -> Option<T> {
        self.each(name, |_, value| {
            let text = value.text().ok_or(Refusal::TYPE)?;
            let meaning = meanings.iter().find(|(word, _)| *word == text);
            meaning.map(|(_, meaning)| *meaning).ok_or_else(|| Refusal {
                why: None,
                hint: hint::nearest(text, meanings.iter().map(|(word, _)| *word))
                    .map(|word| format!("{word:?}")),
            })
        })
    }

    /// Reads one of a few numbers.
    pub(super) fn status<T: Copy>(
        &mut self,
        name: &'static str,
        meanings: &[(i64, T)],
    ) -> Option<T> {
        self.each(name, |_, value| {
            let number = value.integer().ok_or(Refusal::TYPE)?;
            let meaning = meanings.iter().find(|(known, _)| *known == number);
            meaning.map(|(_, meaning)| *meaning).ok_or(Refusal { why: None, hint: None })
        })
    }

    /// Gives a list of texts. Every entry that is at fault by itself is named.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&[&str]) -> Result<T, String>,
    ) -> Option<T> {
        self.each(name, |_, value| {
            let entries = value.list().ok_or(Refusal::TYPE)?;
            let texts: Vec<_> = entries.iter().filter_map(Value::text).collect();
            let whole = parse(&texts);
            let mut problems = Problems::default();
            if texts.len() < entries.len() {
                problems.add("has an entry that is no text".into());
            }
            if whole.is_err() {
                let alone = texts.iter().map(std::slice::from_ref);
                alone.filter_map(|text| parse(text).err()).for_each(|why| problems.add(why));
            }
            match whole {
                // That there is none of may be the fault of what is no text.
                Err(why) if !texts.is_empty() || entries.is_empty() => problems.add(why),
                Err(_) => {}
                Ok(list) if problems.is_empty() => return Ok(list),
                Ok(_) => {}
            }
            Err(Refusal::from(problems.into_text()))
        })
    }

    pub(super) fn api_keys(&mut self, name: &'static str) -> Option<Vec<ApiKey>> {
        self.each(name, |_, value| {
            named(value, usize::MAX, api_key, |key: &ApiKey| format!("keys named {:?}", key.name))
        })
    }

    /// Gives headers with where their values are.
    pub(super) fn headers(&mut self, name: &'static str) -> Option<Vec<headers::Entry>> {
        self.each(name, |_, value| {
            let what =
                |header: &headers::Entry| format!("headers named {:?}", header.name.as_str());
            named(value, headers::MAX_HEADERS, headers::entry, what)
        })
    }

    /// Gives a list of tables; from a layer that knows only text, as TOML writes it in a line.
    pub(super) fn tables(&mut self, name: &'static str) -> Option<Vec<Vec<(String, Value)>>> {
        self.each(name, |_, value| {
            let inline = match value {
                Value::Word(word) if !word.trim().is_empty() => layers::inline(word),
                _ => None,
            };
            if let (None, Value::Word(word)) = (&inline, value)
                && word.trim_start().starts_with('[')
            {
                let problem =
                    "is no line of TOML: as in [{ name = \"value\" }], with = between them";
                return Err(Refusal::from(problem.to_owned()));
            }
            let list = inline.as_ref().unwrap_or(value).list().ok_or(Refusal::TYPE)?;
            let tables = (1..).zip(list.iter()).map(|(entry, value)| match value {
                Value::Table(fields) => Ok(fields.clone()),
                _ => Err(Refusal::from(format!("has entry {entry}, which is no table"))),
            });
            tables.collect()
        })
    }

    /// Tells whether the value that counts is another than the default.
    pub(super) fn differs(&self, name: &str) -> bool {
        let top = self.layers.top(name).map(|setting| &setting.value);
        let default = key::find(name).map(|key| Value::Word(key.default.into()));
        match (top, default) {
            (Some(top), Some(default)) => !top.says_the_same(&default),
            (top, default) => top.is_some() != default.is_some(),
        }
    }

    /// Tells where the value that counts came from, if it is not the default.
    pub(super) fn set_by(&self, name: &str) -> Option<Origin> {
        Some(self.layers.origin(name)).filter(|origin| *origin != Origin::Default)
    }
}

/// Gives the entries of a list, none of which is twice the same by what `of` says of it.
fn named<T>(
    value: &Value,
    most: usize,
    parse: impl Fn(&Value) -> Result<T, String>,
    of: impl Fn(&T) -> String,
) -> Result<Vec<T>, Refusal> {
    let entries = value.list().ok_or(Refusal::TYPE)?;
    let mut read: Vec<T> = Vec::new();
    let mut problems = Problems::default();
    if entries.len() > most {
        problems.add(format!("has more than {most} entries"));
    }
    for (index, entry) in entries.iter().enumerate() {
        match parse(entry) {
            Ok(one) if read.iter().any(|other| of(other) == of(&one)) => {
                problems.add(format!("has two {}", of(&one)));
            }
            Ok(one) => read.push(one),
            Err(why) => problems.add(format!("has entry {}, which {why}", index + 1)),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems.into_text().into()) }
}

fn api_key(entry: &Value) -> Result<ApiKey, String> {
    let (mut name, mut sha256) = (None, None);
    match entry {
        Value::Table(fields) => {
            for (field, value) in fields {
                match (field.as_str(), value.text()) {
                    ("name", Some(text)) => name = Some(text),
                    ("sha256", Some(text)) => sha256 = Some(text),
                    ("name" | "sha256", None) => {
                        return Err(format!("has a {field} that is no text"));
                    }
                    _ => return Err(format!("has a field {field:?}, which there is none of")),
                }
            }
        }
        Value::Word(word) => {
            if let Some((before, after)) = word.split_once('=') {
                (name, sha256) = (Some(before.trim()), Some(after.trim()));
            }
        }
        _ => return Err("is no table".into()),
    }
    match (name, sha256) {
        (Some(name), Some(sha256)) => ApiKey::parse(name, sha256),
        _ => Err("does not have both a name and a sha256".into()),
    }
}
