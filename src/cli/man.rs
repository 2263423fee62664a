//! `chatkit-rest man`.

use std::path::PathBuf;

use chatkit_rest::error::Error;
use clap::{Args, Command};
use clap_mangen::Man as Page;

use super::{CommandFailure, output};

/// Print the manual page, of the program or of one command
///
/// Prints the page in roff, as `man` reads it. With --directory it writes the program's and that of each
/// command into a directory instead, as packages have them: `chatkit-rest-serve.1`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest man | man -l -
  chatkit-rest man quarantine list | man -l -
  chatkit-rest man --directory ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Command whose page it is; the program's, if not given
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    command: Vec<String>,

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
        Page::new(of(command, &self.command)?)
            .render(&mut page)
            .map_err(|error| Error::io("the page could not be written", error))?;
        Ok(output::print(&String::from_utf8_lossy(&page))?)
    }
}

/// Gives a command by its words, called as its page in a package is.
fn of(program: Command, words: &[String]) -> Result<Command, CommandFailure> {
    let mut command = program;
    let mut title = command.get_name().to_owned();
    for word in words {
        let Some(found) = command.find_subcommand(word) else {
            let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            let known = match known.as_slice() {
                [] => format!("{title} has no commands of its own"),
                known => format!("expected one of {}", known.join(", ")),
            };
            return Err(CommandFailure::Usage(format!("COMMAND: there is no {word:?}; {known}")));
        };
        title = format!("{title}-{}", found.get_name());
        let called = title.replace('-', " ").replacen("chatkit rest", "chatkit-rest", 1);
        command = found.clone().display_name(title.clone()).bin_name(called);
    }
    Ok(command)
}
