//! Which model answers in the demo: flags, and the variables that OpenAI's own tools read.

use chatkit_rest::config::{Config, ResponderConfig, Sources};
use clap::Args;

use super::CommandFailure;

/// The model, if one is asked for.
#[derive(Args, Debug)]
pub(super) struct ModelFlags {
    /// Have a model answer, not an echo: needs --base-url and --model
    ///
    /// Any API with OpenAI's chat completions will do. Its key is read from the environment
    /// variable `OPENAI_API_KEY`, so that it is on no command line; an API on this machine may
    /// need none.
    #[arg(long)]
    openai: bool,

    /// The API's base URL; without, the environment variable `OPENAI_BASE_URL`
    #[arg(long, value_name = "URL", requires = "openai")]
    base_url: Option<String>,

    /// The model's name there; without, the environment variable `OPENAI_MODEL`
    #[arg(long, value_name = "NAME", requires = "openai")]
    model: Option<String>,

    /// What the model is told before each conversation
    #[arg(long, value_name = "TEXT", requires = "openai")]
    system_prompt: Option<String>,
}

impl ModelFlags {
    /// Adds who answers to the demo's settings. `variable` looks into the environment.
    pub(super) fn add_to(
        self,
        sources: Sources,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Sources, CommandFailure> {
        if !self.openai {
            // One can see it stream.
            return Ok(sources.set("demo", "embedded.token_delay", "30ms"));
        }
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let missing = |what: &str, flag: &str, name: &str, example: &str| {
            let text = format!("--openai: {what}? Expected {flag}, or {name}, such as {example}");
            CommandFailure::Usage(text)
        };
        let mut sources = sources
            .set("demo", "embedded.responder", "openai")
            // A model at home may have to be loaded first.
            .set("demo", "upstream.first_byte_timeout", "2m");
        sources = match (self.base_url, variable("OPENAI_BASE_URL")) {
            (Some(url), _) => sources.flag("--base-url", "embedded.base_url", url),
            (None, Some(url)) => sources.set("OPENAI_BASE_URL", "embedded.base_url", url),
            (None, None) => {
                let example = "http://127.0.0.1:11434/v1 or https://api.openai.com/v1";
                return Err(missing("where is the API", "--base-url", "OPENAI_BASE_URL", example));
            }
        };
        sources = match (self.model, variable("OPENAI_MODEL")) {
            (Some(model), _) => sources.flag("--model", "embedded.model", model),
            (None, Some(model)) => sources.set("OPENAI_MODEL", "embedded.model", model),
            (None, None) => {
                return Err(missing("which model", "--model", "OPENAI_MODEL", "llama3.2"));
            }
        };
        if let Some(text) = self.system_prompt {
            sources = sources.flag("--system-prompt", "embedded.system_prompt", text);
        }
        if let Some(key) = variable("OPENAI_API_KEY") {
            sources = sources.set("OPENAI_API_KEY", "embedded.api_key", key);
        }
        Ok(sources)
    }
}

/// Says who answers, in the words of the demo.
///
/// # Errors
/// If a model elsewhere is to answer and there is no key for it.
pub(super) fn described(config: &Config) -> Result<Option<String>, CommandFailure> {
    let ResponderConfig::OpenAi(model) = &config.embedded.responder else { return Ok(None) };
    if model.api_key.is_none() && !model.is_local() {
        let text = "--openai: OPENAI_API_KEY is not set; only an API on this machine may need none";
        return Err(CommandFailure::Usage(text.into()));
    }
    // Shell lines are made of it.
    let plain = |c: &char| c.is_ascii_alphanumeric() || "._:/-[]".contains(*c);
    let name: String = model.model.chars().filter(plain).collect();
    let url: String = model.base_url.to_string().chars().filter(plain).collect();
    Ok(Some(format!("{name} at {url}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(base_url: Option<&str>, model: Option<&str>) -> ModelFlags {
        ModelFlags {
            openai: true,
            base_url: base_url.map(str::to_owned),
            model: model.map(str::to_owned),
            system_prompt: None,
        }
    }

    fn load(model: ModelFlags, variables: &[(&str, &str)]) -> Result<Config, CommandFailure> {
        let sources = Sources::new().set("test", "upstream.url", "embedded").set(
            "test",
            "auth.secret",
            "0123456789abcdef0123456789abcdef",
        );
        let sources = model.add_to(sources, |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })?;
        Ok(sources.load()?.config)
    }

    #[test]
    fn flags_win_over_the_environment() {
        let variables = [
            ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
            ("OPENAI_MODEL", "one"),
            ("OPENAI_API_KEY", "planted"),
        ];
        for (model, described_as) in [
            (asked(None, None), "one at http://127.0.0.1:1/v1"),
            (asked(Some("http://[::1]:2/v1"), Some("t'w\"o")), "two at http://[::1]:2/v1"),
        ] {
            let config = load(model, &variables).unwrap();
            assert_eq!(described(&config).unwrap().unwrap(), described_as);
            let ResponderConfig::OpenAi(model) = config.embedded.responder else { panic!("echo") };
            assert_eq!(model.api_key.unwrap().expose(), "planted");
        }
    }

    #[test]
    fn the_environment_alone_changes_nothing() {
        let model = ModelFlags { openai: false, ..asked(None, None) };
        let config = load(model, &[("OPENAI_API_KEY", "planted")]).unwrap();
        assert_eq!(described(&config).unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let url = Some("http://127.0.0.1:1/v1");
        for (model, flag) in [(asked(None, Some("m")), "--base-url"), (asked(url, None), "--model")]
        {
            // An empty variable is none.
            let text = load(model, &[("OPENAI_MODEL", "")]).unwrap_err().to_string();
            assert!(text.contains(&format!("Expected {flag}, or OPENAI_")), "{text}");
        }
        let config = |url| load(asked(Some(url), Some("m")), &[]).unwrap();
        for url in ["http://localhost:1/v1", "http://127.9.9.9/v1", "http://[::1]:1/v1"] {
            assert!(described(&config(url)).is_ok(), "{url}");
        }
        for url in ["https://model.example/v1", "http://localhost.example/", "http://10.0.0.1/"] {
            let text = described(&config(url)).unwrap_err().to_string();
            assert!(text.contains("OPENAI_API_KEY is not set"), "{text}");
        }
    }
}
