//! `chatkit-rest config`.

use chatkit_rest::config;
use chatkit_rest::error::Error;
use clap::{Args, Subcommand};

use super::{CommandFailure, output};

/// What there is to know of configuration files
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest config schema > chatkit-rest.schema.json")]
pub(super) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the TOML file
    ///
    /// Editors complete settings with it, show what they are for, and mark what can't be. A file names
    /// it in its first line: `#:schema ./chatkit-rest.schema.json`. What only all settings together
    /// tell, `check` does.
    #[command(after_help = "\
Example:
  chatkit-rest config schema > chatkit-rest.schema.json")]
    Schema,
}

impl Config {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        match self.command {
            ConfigCommand::Schema => {
                let mut text = serde_json::to_string_pretty(&config::schema())
                    .map_err(|error| Error::io("the schema could not be written", error.into()))?;
                text.push('\n');
                Ok(output::print(&text)?)
            }
        }
    }
}
