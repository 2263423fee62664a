//! End-to-end benchmark of the `chatkit-rest` binary, and the references it is compared with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::net::{TcpListener, TcpSocket};

use crate::book::Book;
use crate::load::{Dialect, Target};
use crate::scenario::window::{self, Reading};
use crate::scenario::{Extent, Scenario, cells};
use crate::servers::{ANNOUNCEMENT, SECRET_VARIABLE, Subject};

mod book;
mod database;
mod gate;
mod load;
mod measure;
mod reference;
mod report;
mod run;
mod scenario;
mod script;
mod servers;
mod upstream;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A fast fake ChatKit server
    Upstream(Listen),
    /// A plain forwarder on hyper-util's pooled client
    BareProxy(Reference),
    /// The same plus HS256, JSON parse, rewrite and envelope; the secret is `BENCH_SECRET`
    BareTranslate(Reference),
    /// A plain forwarder that drives the upstream connection from the response body
    BareLean(Reference),
    /// Load on one server that runs already
    Load(Load),
    /// Starts everything, measures, prints tables
    Run(Box<run::Options>),
    /// Holds the numbers of a run against the limits; exit 1 when one is broken
    Gate(Gate),
}

#[derive(Args)]
struct Listen {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Args)]
struct Reference {
    #[command(flatten)]
    listen: Listen,
    #[arg(long)]
    upstream: SocketAddr,
}

#[derive(Args)]
struct Load {
    /// The server under load
    #[arg(long)]
    address: SocketAddr,
    /// Its process, for CPU time
    #[arg(long)]
    pid: u32,
    /// The `bench upstream` behind it, which knows what was sent
    #[arg(long)]
    upstream: SocketAddr,
    #[arg(long, value_enum)]
    dialect: DialectArgument,
    /// The secret tokens are signed with; REST only
    #[arg(long, env = SECRET_VARIABLE, default_value = "")]
    secret: String,
    /// A to C
    #[arg(long, value_enum)]
    scenario: Scenario,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum DialectArgument {
    Chatkit,
    Rest,
}

#[derive(Args)]
struct Gate {
    #[arg(long, default_value = run::RESULTS)]
    results: PathBuf,
    /// What was not measured fails too
    #[arg(long)]
    strict: bool,
}

// One thread: the load and the references are measured on one core each.
#[tokio::main(flavor = "local")]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    match dispatch(command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Upstream(Listen { listen }) => {
            upstream::serve(listening(listen)?).await?;
        }
        Command::BareProxy(Reference { listen, upstream }) => {
            let upstream = upstream.to_string().parse()?;
            reference::proxy::serve(listening(listen.listen)?, upstream).await?;
        }
        Command::BareTranslate(Reference { listen, upstream }) => {
            let secret = std::env::var(SECRET_VARIABLE).context(SECRET_VARIABLE)?;
            let upstream = upstream.to_string().parse()?;
            reference::translate::serve(listening(listen.listen)?, &upstream, &secret).await?;
        }
        Command::BareLean(Reference { listen, upstream }) => {
            reference::lean::serve(listening(listen.listen)?, upstream).await?;
        }
        Command::Load(options) => load_one(options).await?,
        Command::Run(options) => run::run(*options).await?,
        Command::Gate(Gate { results, strict }) => {
            let (table, passes) = gate::judge(&Book::load(&results)?, strict);
            print!("{table}");
            return Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Listens with a queue long enough for D, and says where.
fn listening(address: SocketAddr) -> Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(4096)?;
    println!("{ANNOUNCEMENT}{}", listener.local_addr()?);
    Ok(listener)
}

async fn load_one(options: Load) -> Result<()> {
    let dialect = match options.dialect {
        DialectArgument::Chatkit => Dialect::ChatKit,
        DialectArgument::Rest => Dialect::Rest,
    };
    let mut target = Target::new(options.address, dialect);
    target.set_up(40, true, &options.secret).await?;
    let subject = Subject { name: "server", pid: options.pid, target };
    let mut book = Book::default();
    for cell in cells(options.scenario, Extent::Full) {
        if subject.can(&mut book, &cell).await? {
            for round in 0..options.rounds {
                let reading = Reading::Times;
                window::run(&mut book, &subject, options.upstream, &cell, round, reading).await?;
            }
        }
    }
    print!("{}", report::markdown(&book));
    Ok(())
}

/// Nanoseconds since 1970: the one clock that the upstream and the load share.
fn clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
}
