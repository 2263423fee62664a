//! `bench run`: all servers of a scenario at once, taken in turn, round by round.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::book::Book;
use crate::measure::Cpu;
use crate::report;
use crate::scenario::window::{self, Reading};
use crate::scenario::{Extent, Scenario, cells, idle, instructions, stores};
use crate::servers::{Kind, Launch, Server};

/// What `bench run` is told.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// Scenarios to run; several may be named [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,

    /// Rounds [default: 7, quick: 3]
    #[arg(long)]
    rounds: Option<usize>,

    /// Shorter windows: everything in less than three minutes, with more noise
    #[arg(long)]
    quick: bool,

    /// The gateway's binary
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/release/chatkit-rest"))]
    gateway: PathBuf,

    /// Let a reference play the gateway, to try the benchmark out
    #[arg(long, value_enum, conflicts_with = "gateway")]
    gateway_like: Option<Kind>,

    /// More of the gateway's environment, e.g. `CHATKIT_REST__STREAM__HOLD_FOR=0s`
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    gateway_env: Vec<(String, String)>,

    /// Only these servers
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "direct,bare-proxy,bare-translate,bare-lean,gateway"
    )]
    servers: Vec<Kind>,

    /// Count user instructions under callgrind too
    #[arg(long)]
    instructions: bool,

    /// Count nothing but instructions
    #[arg(long, conflicts_with = "instructions")]
    only_instructions: bool,

    /// Leave out system calls, where perf may not be used
    #[arg(long)]
    no_syscalls: bool,

    /// Idle streams in D [default: 1000,5000, quick: 1000]
    #[arg(long, value_delimiter = ',')]
    streams: Vec<usize>,

    /// Sessions that are in the stores before [default: 10,1000000, quick: 10]
    #[arg(long, value_delimiter = ',')]
    sessions: Vec<usize>,

    /// Where the numbers are kept
    #[arg(long, default_value = RESULTS)]
    results: PathBuf,

    /// Where servers log and profile; kept, where the default is removed
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Runs what was asked for, prints the tables, keeps the numbers.
///
/// # Errors
///
/// A server that does not start or ends early, and a machine that lacks something needed.
pub async fn run(options: Options) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let mut wrapper = Vec::new();
    if cores > 1 {
        wrapper.extend(["taskset".to_owned(), "-c".to_owned(), SERVER_CORE.to_string()]);
        pin_to(LOAD_CORE)?;
    } else {
        eprintln!("one core only: server and load share it, and times mean little");
    }
    let limit = raise_open_files();
    if !Cpu::is_exact() {
        eprintln!("no schedstat in this kernel: CPU times come in steps of 10 ms");
    }
    let temporary = tempfile::tempdir()?;
    let directory = options.directory.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let launch = Launch {
        gateway: options.gateway.clone(),
        gateway_like: options.gateway_like,
        gateway_env: options.gateway_env.clone(),
        directory: std::path::absolute(directory)?,
        wrapper,
        secret: SECRET.to_owned(),
        store: None,
        patience: Duration::from_secs(20),
    };
    let mut session = Session { options, launch, book: Book::default(), open_files: limit };
    session.check()?;
    let done = session.all().await;
    // What was measured before a failure is worth seeing.
    print!("{}", report::markdown(&session.book));
    session.book.save(&session.options.results)?;
    done
}

struct Session {
    options: Options,
    launch: Launch,
    book: Book,
    open_files: u64,
}

impl Session {
    fn check(&self) -> Result<()> {
        let Options { gateway, gateway_like, servers, .. } = &self.options;
        if servers.contains(&Kind::Gateway) && gateway_like.is_none() && !gateway.exists() {
            bail!(
                "no gateway at {}: build it with `cargo build --release`, name one with --gateway, \
                 leave it out with --servers, or try --gateway-like bare-translate",
                gateway.display()
            );
        }
        Ok(())
    }

    async fn all(&mut self) -> Result<()> {
        let scenarios = match &self.options.scenario {
            named if named.is_empty() => ALL.to_vec(),
            named => named.clone(),
        };
        if !self.options.only_instructions {
            for scenario in &scenarios {
                eprintln!("{}", scenario.name());
                match scenario {
                    Scenario::D => self.idle_streams().await?,
                    Scenario::Stores => self.stores().await?,
                    other => self.rounds(*other).await?,
                }
            }
        }
        if self.options.instructions || self.options.only_instructions {
            self.instructions(&scenarios).await?;
        }
        Ok(())
    }

    /// Measures A to C: every cell, every server in turn, round after round.
    async fn rounds(&mut self, scenario: Scenario) -> Result<()> {
        let upstream = self.launch.upstream().await?;
        let address = upstream.subject.target.address;
        // The upstream is first, and is itself the server named "direct".
        let mut servers = vec![upstream];
        for kind in self.proxies() {
            servers.push(self.launch.start(kind, address).await?);
        }
        for server in servers.iter_mut().map(|server| &mut server.subject) {
            server.target.set_up(SESSIONS, true, SECRET).await.context(server.name)?;
        }
        let measured = servers.get(usize::from(!self.has_direct())..).unwrap_or_default();
        let rounds = self.rounds_of_each();
        for cell in cells(scenario, self.extent()) {
            let mut able = Vec::new();
            for server in measured.iter().map(|server| &server.subject) {
                if server.can(&mut self.book, &cell).await? {
                    able.push(server);
                }
            }
            for round in 0..rounds {
                for server in &able {
                    let reading = Reading::Times;
                    window::run(&mut self.book, server, address, &cell, round, reading).await?;
                }
            }
            // At a fixed rate the count says nothing that the closed loop does not.
            if !self.options.no_syscalls && scenario != Scenario::A50 {
                for server in &able {
                    let reading = Reading::Syscalls;
                    window::run(&mut self.book, server, address, &cell, 0, reading).await?;
                }
            }
        }
        stop_all(servers).await
    }

    /// Measures D: a fresh server for each count, because a server keeps the memory it once had.
    async fn idle_streams(&mut self) -> Result<()> {
        let counts = match &self.options.streams {
            named if !named.is_empty() => named.clone(),
            _ if self.options.quick => vec![1000],
            _ => vec![1000, 5000],
        };
        let upstream = self.launch.upstream().await?;
        let address = upstream.subject.target.address;
        let extent = self.extent();
        for streams in counts {
            if 2 * streams as u64 + SPARE_FILES > self.open_files {
                let limit = self.open_files;
                let note = format!("d {streams}: left out, {limit} open files are not enough");
                self.book.notes.push(note);
                continue;
            }
            for kind in self.proxies() {
                let (book, launch) = (&mut self.book, &self.launch);
                idle::run(book, launch, kind, address, streams, extent).await?;
            }
        }
        upstream.stop().await
    }

    /// Measures the stores; a reference has none.
    async fn stores(&mut self) -> Result<()> {
        if !self.has_stores() {
            self.book.notes.push("stores: left out, there is no gateway".to_owned());
            return Ok(());
        }
        let upstream = self.launch.upstream().await?;
        let address = upstream.subject.target.address;
        let plan = self.plan();
        stores::run(&mut self.book, &self.launch, address, &plan).await?;
        upstream.stop().await
    }

    async fn instructions(&mut self, scenarios: &[Scenario]) -> Result<()> {
        let upstream = self.launch.upstream().await?;
        let address = upstream.subject.target.address;
        if scenarios.contains(&Scenario::Stores) && self.has_stores() {
            eprintln!("instructions of stores");
            let plan = self.plan();
            stores::instructions(&mut self.book, &self.launch, address, &plan).await?;
        }
        let of_each = |scenario: &Scenario| *scenario != Scenario::Stores;
        let scenarios: Vec<_> = scenarios.iter().copied().filter(of_each).collect();
        if scenarios.is_empty() {
            return upstream.stop().await;
        }
        for kind in self.proxies() {
            eprintln!("instructions of {}", kind.name());
            instructions::run(&mut self.book, &self.launch, kind, address, &scenarios).await?;
        }
        upstream.stop().await
    }

    fn plan(&self) -> stores::Plan {
        let sessions = match &self.options.sessions {
            named if !named.is_empty() => named.clone(),
            _ if self.options.quick => vec![10],
            _ => vec![10, 1_000_000],
        };
        let (rounds, extent) = (self.rounds_of_each(), self.extent());
        stores::Plan { sessions, rounds, extent, syscalls: !self.options.no_syscalls }
    }

    fn has_stores(&self) -> bool {
        let Options { servers, gateway_like, .. } = &self.options;
        servers.contains(&Kind::Gateway) && gateway_like.is_none()
    }

    fn rounds_of_each(&self) -> usize {
        self.options.rounds.unwrap_or(if self.options.quick { 3 } else { 7 })
    }

    fn extent(&self) -> Extent {
        if self.options.quick { Extent::Quick } else { Extent::Full }
    }

    fn has_direct(&self) -> bool {
        self.options.servers.contains(&Kind::Direct)
    }

    fn proxies(&self) -> Vec<Kind> {
        self.options.servers.iter().copied().filter(|kind| *kind != Kind::Direct).collect()
    }
}

async fn stop_all(servers: Vec<Server>) -> Result<()> {
    // Proxies before the upstream, so that none sees it go.
    for server in servers.into_iter().rev() {
        server.stop().await?;
    }
    Ok(())
}

/// Pins this process and what it starts, unless told otherwise.
fn pin_to(core: usize) -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    if !allowed.is_set(core) || !allowed.is_set(SERVER_CORE) {
        bail!("cores {SERVER_CORE} and {core} are needed, one for the server, one for the load");
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("cannot pin the load to its core")
}

/// Raises the soft limit to the hard one, for the children too, and says what it is now.
fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A limit that cannot be raised only makes D smaller.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is due")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Where `run` leaves its numbers and `gate` looks for them.
pub const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/results.json");
const ALL: [Scenario; 8] = [
    Scenario::A,
    Scenario::A2,
    Scenario::A50,
    Scenario::B,
    Scenario::B2,
    Scenario::C,
    Scenario::D,
    Scenario::Stores,
];
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Signs nothing but tokens of this benchmark.
const SECRET: &str = "bench-only-7d0c5c1f2a944d1b8f0e6a3b9c27e5d4";
/// As many as the widest cell has connections.
const SESSIONS: usize = 40;
/// Descriptors that are no stream's.
const SPARE_FILES: u64 = 200;
