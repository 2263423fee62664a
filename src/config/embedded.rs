//! `[embedded]`: the server that is built in, and who answers there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::address;
use super::meaning::Secret;
use super::reader::SettingsReader;
use super::secret;
use super::settings::Config;
use super::tls;
use super::web::{self, Upstream};

/// `[embedded]`: the server that is built in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbeddedConfig {
    /// Who answers.
    pub responder: ResponderConfig,
    /// Pause between the words of the echo's answers.
    pub token_delay: Duration,
}

/// Who answers in the server that is built in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ResponderConfig {
    /// An echo, which needs no model.
    Echo,
    /// A model.
    OpenAi(OpenAiResponderConfig),
}

/// A model behind an API with OpenAI's chat completions.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenAiResponderConfig {
    /// The API: an `http` or `https` URL with a host, without a user, password, query or fragment.
    pub base_url: Uri,
    /// The authorities that its certificate may be from, in PEM; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The key for it: visible ASCII characters.
    pub api_key: Option<Secret>,
    /// The model's name at the API; not empty, no control characters.
    pub model: String,
    /// What the model is told before each conversation.
    pub system_prompt: Option<String>,
}

impl OpenAiResponderConfig {
    /// Tells whether the API is on this machine, by its URL: `localhost` or a loopback address.
    pub fn is_local(&self) -> bool {
        web::is_local(&self.base_url)
    }
}

impl fmt::Debug for OpenAiResponderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the prompt: it may be long, and somebody's trade secret.
        f.debug_struct("OpenAiResponderConfig")
            .field("base_url", &format_args!("{}", self.base_url))
            .field("api_key", &self.api_key)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum ResponderKind {
    Echo,
    OpenAi,
}

/// Reads `[embedded]`.
pub(super) fn read(read: &mut SettingsReader<'_>) -> Option<EmbeddedConfig> {
    let responder = responder(read);
    let token_delay = read.duration("embedded.token_delay");
    Some(EmbeddedConfig { responder: responder?, token_delay: token_delay? })
}

fn responder(read: &mut SettingsReader<'_>) -> Option<ResponderConfig> {
    let kinds = [("echo", ResponderKind::Echo), ("openai", ResponderKind::OpenAi)];
    let kind = read.choice("embedded.responder", &kinds);
    let base_url = read.meant("embedded.base_url", optional_base_url, address::meant_url);
    let ca = tls::authorities(read, "embedded.ca");
    let api_key = api_key(read);
    let model = read.optional("embedded.model", |text| {
        if text.chars().any(char::is_control) {
            return Err("has a control character".into());
        }
        Ok(text.to_owned())
    });
    let system_prompt = read.optional("embedded.system_prompt", |text| Ok(text.to_owned()));

    // A setting that the echo has no use for may be at fault all the same: that was recorded above.
    let (kind, base_url, ca, api_key, model, system_prompt) =
        (kind?, base_url?, ca?, api_key?, model?, system_prompt?);
    if matches!(kind, ResponderKind::Echo) {
        return Some(ResponderConfig::Echo);
    }
    if cfg!(not(feature = "openai")) {
        let problem = "\"openai\" is not in this build (feature `openai`); expected \"echo\"";
        read.refuse("embedded.responder", problem.into());
        return None;
    }
    if base_url.is_empty() {
        let problem = "missing; embedded.responder = \"openai\" expects the URL of an API with \
                       OpenAI's chat completions, such as \"http://127.0.0.1:11434/v1\"";
        read.refuse("embedded.base_url", problem.into());
    }
    if model.is_empty() {
        let problem = "missing; embedded.responder = \"openai\" expects a model's name at that \
                       API, such as \"llama3.2\"";
        read.refuse("embedded.model", problem.into());
    }
    Some(ResponderConfig::OpenAi(OpenAiResponderConfig {
        base_url: base_url.into_iter().next()?,
        ca: ca.into_iter().next(),
        api_key: api_key.into_iter().next(),
        model: model.into_iter().next()?,
        system_prompt: system_prompt.into_iter().next(),
    }))
}

fn optional_base_url(text: &str) -> Result<Vec<Uri>, String> {
    if text.is_empty() { Ok(Vec::new()) } else { base_url(text).map(|url| vec![url]) }
}

fn base_url(text: &str) -> Result<Uri, String> {
    let url = web::upstream_url(text)?;
    if url.query().is_some() {
        return Err("has a query".into());
    }
    Ok(url)
}

/// Gives the key; empty if there is none.
fn api_key(read: &mut SettingsReader<'_>) -> Option<Vec<Secret>> {
    let key = secret::read(read, "embedded.api_key", "embedded.api_key_file")?;
    let Some((setting, key)) = key.into_iter().next() else { return Some(Vec::new()) };
    if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "has a character that a key can't have; expected visible ASCII characters";
        read.refuse(setting, problem.into());
        return None;
    }
    Some(vec![key])
}

/// Gives what is allowed but probably not meant, as setting and text.
pub(super) fn notes(config: &Config, read: &SettingsReader<'_>) -> Vec<(&'static str, String)> {
    const OF_A_MODEL: [&str; 6] = [
        "embedded.base_url",
        "embedded.ca",
        "embedded.api_key",
        "embedded.api_key_file",
        "embedded.model",
        "embedded.system_prompt",
    ];
    let mut notes = Vec::new();
    match &config.embedded.responder {
        ResponderConfig::Echo => {
            for key in OF_A_MODEL.into_iter().filter(|key| read.set_by(key).is_some()) {
                let text = "has no effect without embedded.responder = \"openai\"";
                notes.push((key, text.to_owned()));
            }
        }
        ResponderConfig::OpenAi(model) => {
            if config.upstream.url != Upstream::Embedded {
                let text = "has no effect: upstream.url is not \"embedded\"";
                notes.push(("embedded.responder", text.to_owned()));
            }
            let encrypted = model.base_url.scheme_str() == Some("https");
            if model.ca.is_some() && !encrypted {
                let text = "has no effect: embedded.base_url is http";
                notes.push(("embedded.ca", text.to_owned()));
            }
            if model.api_key.is_some() && !encrypted && !model.is_local() {
                let text = "is http: the key and all that is said go there unencrypted";
                notes.push(("embedded.base_url", text.to_owned()));
            }
            if read.set_by("embedded.token_delay").is_some() {
                let text = "has no effect with embedded.responder = \"openai\"";
                notes.push(("embedded.token_delay", text.to_owned()));
            }
        }
    }
    notes
}
