//! `chatkit-rest check`.

use std::fmt::Write as _;

use chatkit_rest::config::Loaded;
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
/// Exit code: 0 if `serve` would take the configuration, 2 if not.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  CHATKIT_REST__AUTH__SECRET_FILE=/run/secrets/jwt chatkit-rest check --config gateway.toml")]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

impl Check {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let loaded = self.settings.load()?;
        Server::check(&loaded.config)?;
        Ok(output::print(&report(&loaded))?)
    }
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
