//! `chatkit-rest openapi`.

use std::path::PathBuf;

use chatkit_rest::error::Error;
use chatkit_rest::openapi::document;
use clap::Args;

use super::settings::file_and_environment;
use super::{CommandFailure, output};

/// Print the OpenAPI document
///
/// Prints the OpenAPI 3.1 document that `serve` has at `/openapi.json` with the same configuration:
/// paths, limits and ways to log in are those that are configured. Reads the file and the
/// environment, listens nowhere and connects to nothing. `serve` also has a page to read it, at
/// `/docs`.
///
/// Exit code: 0 if it was printed, 2 if the configuration is not right.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest openapi --config gateway.toml > openapi.json")]
pub(super) struct Openapi {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Openapi {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        let loaded = file_and_environment(self.config).load()?;
        let document = document(&loaded.config.facts())?;
        let mut text = serde_json::to_string_pretty(&document)
            .map_err(|error| Error::io("the document could not be written", error.into()))?;
        text.push('\n');
        Ok(output::print(&text)?)
    }
}
