//! `chatkit-rest man`.

use std::path::PathBuf;

use chatkit_rest::error::Error;
use clap::{Args, Command};
use clap_mangen::Man as Page;

use super::{CommandFailure, output};

/// Print the manual page
///
/// Prints the program's page in roff, as `man` reads it. With --directory it writes that and the page
/// of each command into a directory instead, as packages have them: `chatkit-rest-serve.1`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest man | man -l -
  chatkit-rest man --directory ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Existing directory to write all pages to
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, command: Command) -> Result<(), CommandFailure> {
        let command = command.disable_help_subcommand(true);
        if let Some(directory) = self.directory {
            let written = clap_mangen::generate_to(command, &directory);
            let context = "could not write the pages";
            return Ok(written.map_err(|error| Error::io(context, error))?);
        }
        let mut page = Vec::new();
        Page::new(command)
            .render(&mut page)
            .map_err(|error| Error::io("the page could not be written", error))?;
        Ok(output::print(&String::from_utf8_lossy(&page))?)
    }
}
