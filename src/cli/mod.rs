//! The command line: one file per command, and what they share.

use chatkit_rest::error::Error;
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Runtime;

mod adopt;
mod check;
mod completions;
mod config;
mod contract;
mod demo;
mod explain;
mod failure;
mod introduction;
mod log_json;
mod log_short;
mod log_writer;
mod logging;
mod man;
mod migrate;
mod model;
mod openapi;
mod output;
mod pages;
mod quarantine;
mod serve;
mod settings;
mod shutdown;
mod status_line;
mod store;
mod token;
mod user;

pub(crate) use failure::CommandFailure;

/// What the command line says.
#[derive(Debug, Parser)]
#[command(
    name = "chatkit-rest",
    version,
    about = "A REST gateway for self-hosted ChatKit servers.",
    arg_required_else_help = true,
    after_help = "\
Three commands to start with. Try it out, with no server and no settings:
  chatkit-rest demo
Is the configuration right?
  chatkit-rest check --config gateway.toml
Run the gateway:
  chatkit-rest serve --config gateway.toml

Settings come from a TOML file, the environment (CHATKIT_REST__SECTION__KEY) and flags; later ones
win. Exit codes: 0 fine, 1 a run-time failure, 2 wrong usage or configuration."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Adopt(adopt::Adopt),
    Check(check::Check),
    Completions(completions::Completions),
    Config(config::Config),
    Contract(contract::Contract),
    Demo(demo::Demo),
    Explain(explain::Explain),
    Man(man::Man),
    Migrate(migrate::Migrate),
    Openapi(openapi::Openapi),
    Quarantine(quarantine::Quarantine),
    Serve(serve::Serve),
    Store(store::Store),
    Token(token::TokenArguments),
    User(user::User),
}

impl Arguments {
    /// Does what the command line says.
    pub(crate) fn run(self) -> Result<(), CommandFailure> {
        match self.command {
            Command::Adopt(adopt) => adopt.run(),
            Command::Check(check) => check.run(),
            Command::Completions(completions) => completions.run(Self::command()),
            Command::Config(config) => config.run(),
            Command::Contract(contract) => contract.run(),
            Command::Demo(demo) => demo.run(),
            Command::Explain(explain) => explain.run(),
            Command::Man(man) => man.run(Self::command()),
            Command::Migrate(migrate) => migrate.run(),
            Command::Openapi(openapi) => openapi.run(),
            Command::Quarantine(quarantine) => quarantine.run(),
            Command::Serve(serve) => serve.run(),
            Command::Store(store) => store.run(),
            Command::Token(token) => token.run(),
            Command::User(user) => user.run(),
        }
    }
}

/// Waits for what a command does beside its gateway.
fn wait<T>(step: impl Future<Output = T>) -> Result<T, CommandFailure> {
    Ok(runtime()?.block_on(step))
}

fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("could not start the runtime", error))
}

/// Says that a command has nothing to work on: to make a store would hide that another was meant.
fn no_store(path: &std::path::Path) -> CommandFailure {
    let shown = path.display();
    let from = match std::env::current_dir() {
        Ok(folder) if path.is_relative() => {
            format!("; relative paths start at the working directory, {}", folder.display())
        }
        _ => String::new(),
    };
    CommandFailure::Usage(format!(
        "there is no session store {shown}{from}; --store or store.url names another"
    ))
}

/// Refuses what settings that name a database would be refused for before.
#[cfg(not(feature = "postgres"))]
fn no_database() -> CommandFailure {
    CommandFailure::Usage("this build has no PostgreSQL (feature `postgres`)".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        super::Arguments::command().debug_assert();
    }
}
