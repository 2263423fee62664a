//! What the layers said, before anybody asked what it means.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{Fault, Faults, Origin};
use super::file::BYTE_ORDER_MARK;
use super::hint;
use super::key::{self, Key};
use super::unquoted;
use super::value::Value;

/// The values of every setting, from the weakest layer to the strongest.
pub(super) struct Layers {
    settings: BTreeMap<&'static str, Vec<LayerValue>>,
}

/// One value, and who gave it.
pub(super) struct LayerValue {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

impl Layers {
    /// Makes the lowest layer.
    pub(super) fn defaults() -> Self {
        let mut layers = Self { settings: BTreeMap::new() };
        for key in key::KEYS {
            layers.push(key, Origin::Default, Value::Word(key.default.into()));
        }
        layers
    }

    /// Puts a value on top of a setting's others.
    pub(super) fn push(&mut self, key: &'static Key, origin: Origin, value: Value) {
        self.settings.entry(key.name).or_default().push(LayerValue { origin, value });
    }

    /// Gives a setting's values, weakest first.
    pub(super) fn of(&self, name: &str) -> &[LayerValue] {
        self.settings.get(name).map_or(&[], Vec::as_slice)
    }

    /// Gives the value that counts.
    pub(super) fn top(&self, name: &str) -> Option<&LayerValue> {
        self.of(name).last()
    }

    /// Tells where the value that counts came from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.top(name).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Tells which layer that was: 0 is the defaults. Values of one layer were given side by side.
    pub(super) fn rank(&self, name: &str) -> u8 {
        match self.origin(name) {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::Flag(_) | Origin::Program(_) => 3,
        }
    }
}

/// Adds a TOML file's text to `layers`; what is wrong with its syntax is an error, after which
/// nobody can tell what it says.
pub(super) fn read_toml(
    path: &Path,
    text: &str,
    layers: &mut Layers,
    faults: &mut Vec<Fault>,
) -> Result<(), Faults> {
    let (document, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let file = |offset: Option<usize>| Origin::File {
        path: path.into(),
        line: offset
            .and_then(|offset| text.get(..offset))
            .map(|above| above.matches('\n').count() + 1),
    };
    let mut broken: Vec<Fault> = Vec::new();
    for error in &errors {
        let start = error.span().map(|span| span.start);
        let origin = file(start);
        if broken.last().is_some_and(|last| last.origin == origin) {
            continue;
        }
        let unquoted = start.and_then(|start| unquoted::told(text, start));
        let ends_with_its_line = unquoted.is_some();
        // `message` speaks of the syntax only; `Display` would print the line, secret and all.
        let problem = unquoted.unwrap_or_else(|| error.message().to_owned());
        let problem = format!("not TOML: {problem}");
        broken.push(Fault { key: None, origin, problem, hint: None });
        // Whatever else is said of the lines below may only be what came of this.
        if !ends_with_its_line {
            break;
        }
    }
    if !broken.is_empty() {
        return Err(Faults(broken));
    }
    let mut unknown = |name: String, origin, problem: String, hint: Option<&str>| {
        let hint = hint.map(str::to_owned);
        faults.push(Fault { key: Some(name), origin, problem, hint });
    };
    // The parser sorts by name; people read by line.
    for (name, entry) in by_line(document.get_ref()) {
        let origin = file(Some(name.span().start));
        let name = name.get_ref().as_ref();
        if name == key::SCHEMA {
            let written = value(entry.get_ref());
            if written.text().is_none() {
                let found = written.shown(true);
                let problem = format!("found {found}; expected a URL or a path, for editors");
                unknown(name.into(), origin, problem, None);
            }
            continue;
        }
        if let Some(key) = key::find(name) {
            layers.push(key, origin, value(entry.get_ref()));
            continue;
        }
        let is_section = key::sections().any(|section| section == name);
        match entry.get_ref() {
            DeValue::Table(section) if is_section => {
                for (name, start, entry) in leaves(name, section) {
                    let origin = file(Some(start));
                    if let Some(key) = key::find(&name) {
                        layers.push(key, origin, value(entry));
                    } else if key::has_below(&name) {
                        let problem = format!("is a section: expected [{name}] and its keys below");
                        unknown(name, origin, problem, None);
                    } else {
                        let problem = not_a_setting(&name);
                        let hint = hint::nearest_key(&name);
                        unknown(name, origin, problem, hint);
                    }
                }
            }
            _ if is_section => {
                let problem = format!("is a section: expected [{name}] and its keys below");
                unknown(name.into(), origin, problem, None);
            }
            DeValue::Table(_) => {
                let problem = format!("not a section; expected {}", hint::known(""));
                let hint = hint::nearest_section(name).map(|section| format!("[{section}]"));
                unknown(name.into(), origin, problem, hint.as_deref());
            }
            _ => unknown(name.into(), origin, not_a_setting(name), hint::nearest_key(name)),
        }
    }
    Ok(())
}

/// Gives a value as TOML writes it, if it is one and nothing else.
pub(super) fn inline(text: &str) -> Option<Value> {
    let document = format!("x = {text}");
    let document = DeTable::parse(&document).ok()?;
    let mut entries = document.get_ref().iter();
    let (_, only) = entries.next()?;
    entries.next().is_none().then(|| value(only.get_ref()))
}

type Entry<'t, 'i> = (&'t toml::Spanned<toml::de::DeString<'i>>, &'t toml::Spanned<DeValue<'i>>);

fn by_line<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// Gives the values of a section by line, and of those that are in it, each with its whole name and the
/// place where it begins.
fn leaves<'t, 'i>(section: &str, table: &'t DeTable<'i>) -> Vec<(String, usize, &'t DeValue<'i>)> {
    let mut leaves = Vec::new();
    for (leaf, entry) in by_line(table) {
        let name = format!("{section}.{}", leaf.get_ref());
        match entry.get_ref() {
            DeValue::Table(below) if key::has_below(&name) => {
                leaves.extend(self::leaves(&name, below));
            }
            value => leaves.push((name, leaf.span().start, value)),
        }
    }
    leaves
}

fn value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.as_ref().into()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("an integer that is out of range"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(entries) => {
            Value::List(entries.iter().map(|entry| self::value(entry.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(name, entry)| (name.get_ref().as_ref().into(), self::value(entry.get_ref())))
                .collect(),
        ),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
    }
}

fn not_a_setting(name: &str) -> String {
    format!("not a setting; expected {}", hint::known(name))
}

/// What the names of our environment variables begin with.
const PREFIX: &str = "CHATKIT_REST__";

/// Tells whether a name begins nearly as ours do, without a copy of it.
fn may_be_ours(name: &str) -> bool {
    let name = name.strip_prefix(BYTE_ORDER_MARK).unwrap_or(name);
    name.get(.."chat".len()).is_some_and(|begins| begins.eq_ignore_ascii_case("chat"))
}

/// Gives the environment variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase().replace('.', "__"))
}

/// Gives the setting that a variable is probably meant for whose name doesn't begin as ours do: what
/// is between the words is another (one underscore, a hyphen, none), the case, a letter, or its file
/// begins with a byte order mark. What else is called like the gateway, such as the variables that
/// Kubernetes makes for a service of that name, or those that its clients have, is none of them.
fn meant(name: &str, value: &OsStr) -> Option<&'static str> {
    let flat = |name: &str| {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_uppercase()).collect::<String>()
    };
    let name = flat(name);
    let names: Vec<_> = key::KEYS.iter().map(|key| (key.name, flat(key.name))).collect();
    let exactly = |said: &str| names.iter().find(|(_, known)| known == said).map(|(key, _)| *key);
    let Some(said) = name.strip_prefix("CHATKITREST").filter(|said| !said.is_empty()) else {
        return name.strip_prefix("CHATKIT").and_then(exactly);
    };
    let by_its_end = || {
        let mut those = key::KEYS
            .iter()
            .filter(|key| key.name.rsplit_once('.').is_some_and(|(_, leaf)| flat(leaf) == said));
        let only = those.next()?;
        // A client of the gateway has a key, a URL and a model, too.
        let is_clients = only.name.starts_with("embedded.");
        (those.next().is_none() && !is_clients).then_some(only.name)
    };
    let as_elsewhere = || match said {
        "UPSTREAM" => Some("upstream.url"),
        "STORE" => Some("store.url"),
        "HOST" | "ADDR" => Some("listen"),
        // Kubernetes' is a URL.
        "PORT" => value.to_str()?.parse::<u16>().ok().map(|_| "listen"),
        _ => None,
    };
    let nearly = || hint::nearest(said, names.iter().map(|(_, known)| &**known)).and_then(exactly);
    exactly(said).or_else(as_elsewhere).or_else(by_its_end).or_else(nearly)
}

/// Adds environment variables to `layers`. Returns those that [look like ours](meant): they are no
/// fault, because the prefix with one underscore is not only ours.
pub(super) fn read_environment(
    variables: Vec<(OsString, OsString)>,
    layers: &mut Layers,
    faults: &mut Vec<Fault>,
) -> Vec<(&'static str, String)> {
    let mut lookalikes = Vec::new();
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) || may_be_ours(name))
        .collect();
    variables.sort();
    for (name, value) in variables {
        let known = key::KEYS.iter().find(|key| variable(key.name) == name);
        let Some(rest) = name.strip_prefix(PREFIX) else {
            if let Some(key) = meant(&name, &value) {
                lookalikes.push((key, name));
            }
            continue;
        };
        let origin = Origin::Environment(name.clone());
        let mut fault = |key: String, problem: String, hint: Option<String>| {
            faults.push(Fault { key: Some(key), origin: origin.clone(), problem, hint });
        };
        match (known, value.into_string()) {
            (Some(key), Ok(value)) => layers.push(key, origin, Value::Word(value)),
            (Some(key), Err(_)) => {
                let problem = format!("not UTF-8; expected {}", key.shape.expected());
                fault(key.name.into(), problem, None);
            }
            (None, _) => {
                let key = rest.to_ascii_lowercase().replace("__", ".");
                let hint = hint::nearest_key(&key).map(variable);
                let problem = not_a_setting(&key);
                fault(key, problem, hint);
            }
        }
    }
    lookalikes
}
