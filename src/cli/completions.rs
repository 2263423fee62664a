//! `chatkit-rest completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::{CommandFailure, output};

/// Print what a shell completes commands and flags with
///
/// Prints a script to standard output, for the shell to read at its start. It knows the commands and
/// flags of this version; make it anew with the next.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  chatkit-rest completions bash > ~/.local/share/bash-completion/completions/chatkit-rest
  chatkit-rest completions zsh > \"${fpath[1]}/_chatkit-rest\"
  chatkit-rest completions fish > ~/.config/fish/completions/chatkit-rest.fish
  chatkit-rest completions powershell >> $PROFILE")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut command: Command) -> Result<(), CommandFailure> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        Ok(output::print(&String::from_utf8_lossy(&script))?)
    }
}
