//! `chatkit-rest contract`.

use std::path::PathBuf;

use chatkit_rest::contract::{self, Target};
use chatkit_rest::error::Error;
use clap::{Args, Subcommand};

use super::{CommandFailure, output};

/// Where the token of `--base-url` is looked for if no flag gives it: other users of a machine
/// can read command lines.
const TOKEN_VARIABLE: &str = "CHATKIT_REST_CONTRACT_TOKEN";

/// Run contract fixtures against a gateway
#[derive(Args, Debug)]
pub(super) struct Contract {
    #[command(subcommand)]
    command: ContractCommand,
}

#[derive(Debug, Subcommand)]
enum ContractCommand {
    Run(RunArguments),
}

/// Run every fixture of a directory and print each difference
///
/// A fixture states requests, the ChatKit requests that the gateway is to send upstream for them,
/// what the upstream answers, and what the client is to get; fixtures/README.md has the format.
/// Each fixture gets a gateway of its own on a free port of 127.0.0.1, in front of a scripted
/// upstream on another.
///
/// With --base-url they are run against a gateway that is running already. Its upstream can't be
/// scripted and its settings stay as they are, so fixtures that need either are skipped and
/// counted; sessions that the others create are deleted again.
///
/// The last line is `N passed, N failed, N skipped`. Exit code: 0 if none failed, 1 if one did, 2
/// if a fixture can't be used.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  chatkit-rest contract run fixtures
  CHATKIT_REST_CONTRACT_TOKEN=$(chatkit-rest token --sub ada) \\
    chatkit-rest contract run fixtures --base-url http://127.0.0.1:8080/api/v1/chatkit")]
struct RunArguments {
    /// Directory with fixtures: a folder for each operation
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Gateway to test; without a path its routes are taken to be below /api/v1/chatkit
    #[arg(long, value_name = "URL", conflicts_with = "in_process")]
    base_url: Option<String>,

    /// Bearer token for --base-url; if it isn't there, the environment variable
    /// `CHATKIT_REST_CONTRACT_TOKEN`
    #[arg(long, value_name = "TOKEN", requires = "base_url")]
    token: Option<String>,

    /// Run the gateway's rooms without sockets
    #[arg(long)]
    in_process: bool,
}

impl Contract {
    pub(super) fn run(self) -> Result<(), CommandFailure> {
        match self.command {
            ContractCommand::Run(run) => run.run(),
        }
    }
}

impl RunArguments {
    fn run(self) -> Result<(), CommandFailure> {
        let target = self.target()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("could not start the runtime", error))?;
        let report = runtime
            .block_on(contract::run_dir(self.directory, &target))
            .map_err(|error| CommandFailure::Usage(error.to_string()))?;
        output::print(&format!("{report}\n"))?;
        match report.failed() {
            0 => Ok(()),
            failed => Err(CommandFailure::Contract { failed }),
        }
    }

    fn target(&self) -> Result<Target, CommandFailure> {
        let Some(url) = &self.base_url else {
            return Ok(if self.in_process { Target::in_process() } else { Target::sockets() });
        };
        let target = Target::base_url(url)
            .map_err(|error| CommandFailure::Usage(format!("--base-url: {error}")))?;
        let token = self.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok());
        Ok(match token {
            Some(token) => target.with_token(&token),
            None => target,
        })
    }
}
