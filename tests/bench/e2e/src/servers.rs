//! Starts and stops what is measured.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::book::Book;
use crate::load::{Dialect, Op, Target};
use crate::scenario::Cell;

/// A program that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The upstream itself: what the load and the kernel cost without any proxy.
    Direct,
    BareProxy,
    BareTranslate,
    BareLean,
    Gateway,
}

impl Kind {
    /// Gives the name in tables and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::BareProxy => "bare-proxy",
            Self::BareTranslate => "bare-translate",
            Self::BareLean => "bare-lean",
            Self::Gateway => "gateway",
        }
    }

    const fn dialect(self) -> Dialect {
        match self {
            Self::Direct | Self::BareProxy | Self::BareLean => Dialect::ChatKit,
            Self::BareTranslate | Self::Gateway => Dialect::Rest,
        }
    }
}

/// How servers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// A reference that plays the gateway.
    pub gateway_like: Option<Kind>,
    /// More `KEY=VALUE` for the gateway's environment; later wins.
    pub gateway_env: Vec<(String, String)>,
    /// Where logs, stores and profiles go.
    pub directory: PathBuf,
    /// Put in front of each command line, e.g. `taskset -c 0`.
    pub wrapper: Vec<String>,
    pub secret: String,
    /// Where the gateway keeps sessions: a SQLite file of its own where nothing is said.
    pub store: Option<Store>,
    /// How long a server may take to start.
    pub patience: Duration,
}

/// A store, by which its gateway is then called.
#[derive(Debug, Clone)]
pub struct Store {
    pub name: &'static str,
    pub url: String,
}

/// What is measured: where it listens, and the process that pays for it.
pub struct Subject {
    pub name: &'static str,
    pub pid: u32,
    pub target: Target,
}

/// A running server; dropped, it is killed.
pub struct Server {
    pub subject: Subject,
    child: Child,
    log: PathBuf,
}

impl Launch {
    /// Gives what a server of this kind is called in tables and results.
    pub fn name(&self, kind: Kind) -> &'static str {
        match (&self.store, kind) {
            (Some(store), Kind::Gateway) => store.name,
            _ => kind.name(),
        }
    }

    /// Starts the fake upstream on the load's core.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn upstream(&self) -> Result<Server> {
        let command = self.own(&[], &["upstream"])?;
        self.announced(Kind::Direct, command).await
    }

    /// Starts a server in front of `upstream`.
    ///
    /// # Errors
    ///
    /// It does not start; its log is named.
    pub async fn start(&self, kind: Kind, upstream: SocketAddr) -> Result<Server> {
        let program = match kind {
            Kind::Gateway => self.gateway_like.unwrap_or(Kind::Gateway),
            other => other,
        };
        if program == Kind::Gateway {
            return self.gateway(upstream).await;
        }
        let upstream = upstream.to_string();
        let command = self.own(&self.wrapper, &[program.name(), "--upstream", &upstream])?;
        let mut server = self.announced(kind, command).await?;
        let target = &mut server.subject.target;
        *target = Target::new(target.address, program.dialect());
        Ok(server)
    }

    async fn gateway(&self, upstream: SocketAddr) -> Result<Server> {
        let run = crate::clock_ns();
        let log = self.directory.join(format!("gateway-{run}.log"));
        let own =
            || format!("sqlite:{}", self.directory.join(format!("gateway-{run}.db")).display());
        let store = self.store.as_ref().map_or_else(own, |store| store.url.clone());
        let mut command = wrapped(&self.wrapper, &self.gateway);
        command.arg("serve").env_clear();
        for inherited in ["PATH", "HOME", "LANG", "RUST_LOG", "TOKIO_WORKER_THREADS"] {
            if let Some(value) = std::env::var_os(inherited) {
                command.env(inherited, value);
            }
        }
        command
            .env("CHATKIT_REST__LISTEN", "127.0.0.1:0")
            .env("CHATKIT_REST__UPSTREAM__URL", format!("http://{upstream}/chatkit"))
            .env("CHATKIT_REST__AUTH__SECRET", &self.secret)
            .env("CHATKIT_REST__STORE__URL", store)
            .env("CHATKIT_REST__LIMITS__REQUESTS_PER_MINUTE", "0")
            .env("CHATKIT_REST__LIMITS__MAX_SESSIONS", "0")
            .env("CHATKIT_REST__LIMITS__MAX_MESSAGES", "0")
            .env("CHATKIT_REST__LIMITS__MAX_STREAMS_PER_USER", "100000")
            .env("CHATKIT_REST__LIMITS__MAX_IN_FLIGHT", "100000")
            .env("CHATKIT_REST__ADMIN__LISTEN", "127.0.0.1:0")
            .env("CHATKIT_REST__LOG__FORMAT", "json")
            .envs(self.gateway_env.iter().map(|(key, value)| (key, value)))
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .current_dir(&self.directory);
        let mut child = spawn(command, &self.gateway)?;
        let deadline = Instant::now() + self.patience;
        let address = loop {
            if let Some(address) = listening(&std::fs::read_to_string(&log)?) {
                break address;
            }
            if let Some(status) = child.try_wait()? {
                bail!("the gateway ended with {status}:\n{}", tail(&log));
            }
            if Instant::now() > deadline {
                bail!("the gateway has not logged where it listens:\n{}", tail(&log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let pid = child.id().context("the gateway has ended")?;
        let target = Target::new(address, Kind::Gateway.dialect());
        let subject = Subject { name: self.name(Kind::Gateway), pid, target };
        Ok(Server { subject, child, log })
    }

    /// Runs this program with other arguments.
    fn own(&self, wrapper: &[String], arguments: &[&str]) -> Result<Command> {
        let mut command = wrapped(wrapper, &std::env::current_exe()?);
        command.args(arguments).env(SECRET_VARIABLE, &self.secret);
        Ok(command)
    }

    /// Starts a server that says on its first line where it listens.
    async fn announced(&self, kind: Kind, mut command: Command) -> Result<Server> {
        let log = self.directory.join(format!("{}.log", kind.name()));
        command.stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = spawn(command, Path::new(kind.name()))?;
        let pid = child.id().context("ended at once")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        let reading = BufReader::new(stdout).read_line(&mut line).await;
        reading.with_context(|| format!("{}: {}", kind.name(), tail(&log)))?;
        let address = line
            .trim()
            .strip_prefix(ANNOUNCEMENT)
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("{} did not start: {}", kind.name(), tail(&log)))?;
        let target = Target::new(address, kind.dialect());
        let subject = Subject { name: kind.name(), pid, target };
        Ok(Server { subject, child, log })
    }
}

impl Subject {
    /// Tells whether the cell makes sense here: the pass-through is a thing of REST only, and a
    /// gateway may lack an operation, which is noted.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub async fn can(&self, book: &mut Book, cell: &Cell) -> Result<bool> {
        if cell.op == Op::Passthrough && self.target.dialect == Dialect::ChatKit {
            return Ok(false);
        }
        let Err(error) = self.target.try_once(cell.warm_up()).await else { return Ok(true) };
        let (scenario, variant) = (cell.scenario.name(), cell.variant);
        book.notes.push(format!("{scenario} {variant} {}: left out: {error}", self.name));
        Ok(false)
    }
}

impl Server {
    /// Asks it to end, and after a while makes it.
    ///
    /// # Errors
    ///
    /// It had ended before, which is a fault of its own.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself with {status}:\n{}", self.subject.name, tail(&self.log));
        }
        if let Some(pid) = Pid::from_raw(self.subject.pid.try_into()?) {
            kill_process(pid, Signal::TERM)?;
        }
        if tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

fn wrapped(wrapper: &[String], program: &Path) -> Command {
    match wrapper.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn spawn(mut command: Command, program: &Path) -> Result<Child> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

/// Gives the address in a gateway's log that says `listening on http://ADDRESS`.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    // Without its end the address may be half of one.
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c)))?;
    rest.get(..end)?.parse().ok()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// What the own servers print before the address they listen on.
pub const ANNOUNCEMENT: &str = "listening ";
/// Holds the JWT secret of `bare-translate`.
pub const SECRET_VARIABLE: &str = "BENCH_SECRET";
const STOP_PATIENCE: Duration = Duration::from_secs(5);
