//! The layers that a configuration is made of, and the way from them to a [`Config`].

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::tz::Offset;

use super::address;
use super::auth;
use super::database::{self, DatabaseUrl};
use super::embedded;
use super::error::{Fault, Faults, Note, Origin};
use super::file;
use super::issuers;
use super::key::{self, ValueShape};
use super::layers::{self, Layers};
use super::meaning;
use super::reader::SettingsReader;
use super::rules;
use super::sections;
use super::settings::{Config, StoreConfig};
use super::shown;
use super::store;
use super::value::Value;
use crate::session::ConversationIds;

/// The layers of a configuration. Later ones win: defaults, file, environment, flags; in which
/// order they are named here makes no difference. See the [module's documentation](super).
#[derive(Default)]
#[must_use = "nothing is read before `load`"]
pub struct Sources {
    file: Option<(PathBuf, Result<String, String>)>,
    environment: Vec<(OsString, OsString)>,
    given: Vec<(Origin, &'static str, String)>,
}

impl Sources {
    /// Makes the defaults alone. They lack a key to verify tokens with, so that is a fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file. That it can't be read becomes one of the faults of [`load`](Self::load).
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = file::read_text(&path, file::MAX_CONFIG_BYTES);
        self.file = Some((path, text));
        self
    }

    /// Adds the text of a TOML file; `path` is what errors call it.
    pub fn toml(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.file = Some((path.into(), Ok(text.into())));
        self
    }

    /// Adds environment variables, such as [`std::env::vars_os`]. Those whose names don't begin
    /// with `CHATKIT_REST__` are not looked at.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment.extend(variables);
        self
    }

    /// Adds the value of a command-line flag: `flag("--store", "store.url", "memory:")`.
    pub fn flag(self, flag: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.give(Origin::Flag(flag), key, value.into())
    }

    /// Adds a value that the program itself decides on; `why` is what errors call it.
    pub fn set(self, why: &'static str, key: &'static str, value: impl Into<String>) -> Self {
        self.give(Origin::Program(why), key, value.into())
    }

    fn give(mut self, origin: Origin, key: &'static str, value: String) -> Self {
        self.given.push((origin, key, value));
        self
    }

    /// Reads all layers. Files that settings name are read too, so this blocks.
    ///
    /// # Errors
    /// Every fault there is: names that are not known, values that are not what was expected,
    /// and settings that contradict one another. Of a file that is not TOML, that alone: what it
    /// would have said is not known.
    pub fn load(self) -> Result<Loaded, Faults> {
        let (layers, lookalikes, faults) = self.layers()?;
        let mut read = SettingsReader { layers: &layers, faults };
        let config = config(&mut read);
        if let Some(config) = &config {
            rules::contradictions(config, &mut read);
        }
        match config {
            Some(config) if read.faults.is_empty() => {
                let mut notes = rules::notes(&config, &read);
                notes.extend(lookalikes.into_iter().map(lookalike));
                Ok(Loaded { config, notes, settings: settings(&layers) })
            }
            _ => {
                let mut faults = read.faults;
                for (key, name) in lookalikes {
                    let of_it = faults.iter_mut().filter(|fault| fault.key.as_deref() == Some(key));
                    of_it.for_each(|fault| {
                        let _ = write!(fault.problem, "; {name} is {}", not_looked_at(key));
                    });
                }
                Err(Faults(faults))
            }
        }
    }

    /// Reads what is to be known of the store by who works on it beside the gateway. Other settings
    /// may be at fault, and files that they name are not read: whoever tends the store need not be
    /// able to read the gateway's secrets. Blocks.
    ///
    /// # Errors
    /// Names that are not known anywhere, and what is wrong with the settings in question.
    pub fn load_store(self) -> Result<StoreSettings, Faults> {
        let (layers, _, faults) = self.layers()?;
        let mut read = SettingsReader { layers: &layers, faults };
        let config = store::read(&mut read);
        let utc_offset = read.text("upstream.utc_offset", meaning::utc_offset);
        let id_format = sections::id_format(&mut read);
        match (config, utc_offset, id_format) {
            (Some(config), Some(utc_offset), Some(id_format)) if read.faults.is_empty() => {
                let origin = layers.origin(store::setting_of_url(&read));
                let user_beginnings = issuers::beginnings(&layers);
                Ok(StoreSettings { config, origin, utc_offset, id_format, user_beginnings })
            }
            _ => Err(Faults(read.faults)),
        }
    }

    /// Gives what each layer says, the names that are nearly those of settings, and what isn't one.
    #[expect(clippy::type_complexity, reason = "it has no other use")]
    fn layers(self) -> Result<(Layers, Vec<(&'static str, String)>, Vec<Fault>), Faults> {
        let mut layers = Layers::defaults();
        let mut faults = Vec::new();
        match self.file {
            Some((path, Ok(text))) => layers::read_toml(&path, &text, &mut layers, &mut faults)?,
            Some((path, Err(problem))) => faults.push(unreadable(&path, &problem)),
            None => {}
        }
        let lookalikes = layers::read_environment(self.environment, &mut layers, &mut faults);
        for (origin, name, value) in self.given {
            match key::find(name) {
                Some(key) => layers.push(key, origin, Value::Word(value)),
                None => faults.push(Fault {
                    key: Some(name.into()),
                    origin,
                    problem: "not a setting".into(),
                    hint: None,
                }),
            }
        }
        Ok((layers, lookalikes, faults))
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_struct("Sources")
            .field("file", &self.file.as_ref().map(|(path, _)| path))
            .finish_non_exhaustive()
    }
}

/// What [`Sources::load`] makes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but probably not what was meant.
    pub notes: Vec<Note>,
    /// The settings that some layer set, in the order of the reference.
    pub settings: Vec<Setting>,
}

/// What [`Sources::load_store`] makes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreSettings {
    /// Which store, and how it is reached.
    pub config: StoreConfig,
    /// The layer that says which.
    pub origin: Origin,
    /// Zone of the upstream's times, which name none.
    pub utc_offset: Offset,
    /// What the ids of one-shot chat's conversations look like.
    pub id_format: ConversationIds,
    /// What the ids of each issuer's users begin with; empty if that can't be told. What is wrong with
    /// the settings that say it is no fault here, so this is for notes alone.
    pub user_beginnings: Vec<String>,
}

/// A setting that some layer set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// Its name, `section.key`.
    pub name: &'static str,
    /// Its value, or `(hidden)`.
    pub shown: String,
    /// The layer that its value came from.
    pub origin: Origin,
}

/// Gives all sections; `None` where any of them has a fault.
fn config(read: &mut SettingsReader<'_>) -> Option<Config> {
    let listen = read.meant("listen", address::listener, address::meant_listener);
    let server = sections::server(read);
    let rest = sections::rest(read);
    let upstream = sections::upstream(read);
    let auth = auth::read(read);
    let embedded = embedded::read(read);
    let store = store::read(read);
    let session = sections::session(read);
    let attachments = sections::attachments(read);
    let limits = sections::limits(read);
    let stream = sections::stream(read);
    let chat = sections::chat(read);
    let openai = sections::openai(read);
    let cors = sections::cors(read);
    let passthrough = sections::passthrough(read);
    let log = sections::log(read);
    let admin = sections::admin(read);
    Some(Config {
        listen: listen?,
        server: server?,
        rest: rest?,
        upstream: upstream?,
        auth: auth?,
        embedded: embedded?,
        store: store?,
        session: session?,
        attachments: attachments?,
        limits: limits?,
        stream: stream?,
        chat: chat?,
        openai: openai?,
        cors: cors?,
        passthrough: passthrough?,
        log: log?,
        admin: admin?,
    })
}

fn settings(layers: &Layers) -> Vec<Setting> {
    let mut settings = Vec::new();
    for key in key::KEYS {
        let Some(top) = layers.top(key.name) else { continue };
        if top.origin != Origin::Default {
            let shown = match (key.shape, top.value.text()) {
                (
                    ValueShape::ApiKeys
                    | ValueShape::Headers
                    | ValueShape::Issuers
                    | ValueShape::Secret,
                    _,
                ) => "(hidden)".into(),
                // A bare name may be a secret in the place of one, unless there is such a file.
                (ValueShape::KeyFile, Some(path))
                    if !path.is_empty() && Path::new(path).is_file() =>
                {
                    top.value.shown(true)
                }
                (ValueShape::KeyFile, _) if !key.shape.shows(&top.value) => "(hidden)".into(),
                (ValueShape::Place(_), Some(url)) if database::is_database(url) => {
                    DatabaseUrl::parse(url)
                        .map_or_else(|_| "(hidden)".into(), |url| format!("\"{url}\""))
                }
                // It was read, so there is no password in it; there may be a token in its query, or
                // as a part of its path.
                (ValueShape::Place(_) | ValueShape::Url(_), Some(url)) => {
                    let url = url.split('?').next().unwrap_or_default();
                    let is_shown = shown::is_text(url);
                    if is_shown { Value::Word(url.into()).shown(true) } else { "(hidden)".into() }
                }
                _ if !key.shape.shows(&top.value) => "(hidden)".into(),
                _ => top.value.shown(true),
            };
            settings.push(Setting { name: key.name, shown, origin: top.origin.clone() });
        }
    }
    settings
}

fn unreadable(path: &Path, problem: &str) -> Fault {
    Fault {
        key: None,
        origin: Origin::File { path: path.into(), line: None },
        problem: format!("can't be read: {problem}{}", file::relative_to(path)),
        hint: None,
    }
}

fn lookalike((key, name): (&'static str, String)) -> Note {
    Note { key, origin: Origin::Environment(name), text: not_looked_at(key) }
}

fn not_looked_at(key: &str) -> String {
    format!("not looked at; the variable's name is {}", layers::variable(key))
}
