//! `chatkit-rest check`.

use std::fmt::Write as _;

use chatkit_rest::authenticate::{Algorithm, FetchKeys, JwkSet, fetch_key_set};
use chatkit_rest::config::{AuthConfig, Config, Loaded};
use chatkit_rest::server::Server;
use clap::Args;

use super::settings::Settings;
use super::{CommandFailure, output};

/// Read the whole configuration and report every fault
///
/// Reads the file, the environment and the flags exactly as `serve` does, and the key files they
/// name, but listens nowhere and connects to nothing. Prints the settings that are set
/// anywhere, be it to their defaults, and where they came from, or every fault with the place it is
/// in and what was expected; of a file that is not TOML, that alone.
/// Secrets are not printed.
///
/// With --fetch-keys it asks for the key set of `auth.jwks_url` or `auth.discovery`, as `serve` does when
/// the first token comes, and prints which of its keys are used for what, and why the others aren't.
///
/// Exit code: 0 if `serve` would take the configuration, 2 if not, 1 if --fetch-keys finds no key.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  CHATKIT_REST__AUTH__SECRET_FILE=/run/secrets/jwt chatkit-rest check --config gateway.toml")]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,

    /// Fetch the issuers' key sets, and say what their keys are used for
    #[arg(long)]
    fetch_keys: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let loaded = self.settings.load()?;
        Server::check(&loaded.config)?;
        let mut text = report(&loaded);
        let mut faults = Vec::new();
        if self.fetch_keys {
            text.push_str(&key_sets(&loaded.config, &mut faults)?);
        }
        output::print(&text)?;
        if faults.is_empty() { Ok(()) } else { Err(CommandFailure::KeySet(faults.join("\n"))) }
    }
}

/// Gives what is found of the keys that callers are known by, and adds to `faults` what is wrong.
fn key_sets(config: &Config, faults: &mut Vec<String>) -> Result<String, CommandFailure> {
    if let AuthConfig::Anonymous(_) = &config.auth {
        return Ok("There is no key set to fetch: auth.mode is none.\n".into());
    }
    let mut found = String::new();
    let issuers = config.auth.issuers();
    let before = faults.len();
    for jwt in issuers {
        let Some(fetch) = jwt.fetch_keys()? else { continue };
        let of = jwt.issuer.as_deref().filter(|_| issuers.len() > 1);
        let source = fetch.source() + &of.map_or_else(String::new, |of| format!(", of {of}"));
        match key_set(&*fetch, &source, &jwt.algorithms)? {
            Ok(lines) => found.push_str(&lines),
            Err(fault) => faults.push(fault),
        }
    }
    if found.is_empty() && faults.len() == before {
        found.push_str(
            "There is no key set to fetch: neither auth.jwks_url nor auth.discovery is set.\n",
        );
    }
    Ok(found)
}

/// Gives what is found of one issuer's; in place of it what is wrong with them.
fn key_set(
    fetch: &dyn FetchKeys,
    source: &str,
    algorithms: &[Algorithm],
) -> Result<Result<String, String>, CommandFailure> {
    let (set, max_age) = match super::wait(fetch_key_set(fetch, algorithms))? {
        Ok(fetched) => fetched,
        Err(error) => {
            let mut why = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let _ = write!(why, ": {error}");
                cause = error.source();
            }
            return Ok(Err(format!("the key set can't be fetched ({source}): {why}")));
        }
    };
    let keys = key_lines(&set);
    if set.is_empty() {
        let all = set.unused().len();
        let text = format!("the key set ({source}) has no key that can be used, of {all}\n{keys}");
        return Ok(Err(text.trim_end().to_owned()));
    }
    let (used, all) = (set.len(), set.len() + set.unused().len());
    let age = max_age
        .map_or_else(String::new, |age| format!(", kept for {} s by its word", age.as_secs()));
    Ok(Ok(format!("Keys that are used of the key set ({source}): {used} of {all}{age}\n{keys}")))
}

fn key_lines(set: &JwkSet) -> String {
    let mut lines = String::new();
    let name =
        |kid: Option<&str>| kid.map_or_else(|| "one without kid".into(), |it| format!("{it:?}"));
    for (kid, algorithms) in set.used() {
        let algorithms: Vec<_> = algorithms.iter().map(ToString::to_string).collect();
        let _ = writeln!(lines, "  {}: {}", name(kid.as_deref()), algorithms.join(", "));
    }
    for key in set.unused() {
        let _ = writeln!(lines, "  {}: not used, as it {}", name(key.kid.as_deref()), key.why);
    }
    lines
}

fn report(loaded: &Loaded) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    for setting in &loaded.settings {
        let _ = writeln!(text, "{} = {} ({})", setting.name, setting.shown, setting.origin);
    }
    for note in &loaded.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = match loaded.settings.len() {
        1 => writeln!(
            text,
            "The configuration is fine: 1 setting is set, the others are at their defaults."
        ),
        set => {
            writeln!(
                text,
                "The configuration is fine: {set} settings are set, the others are at their defaults."
            )
        }
    };
    text
}
