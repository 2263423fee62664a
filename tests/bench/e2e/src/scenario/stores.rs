//! Stores: the same gateway on each kind of store, with few sessions in it and with many.
//!
//! All of them run at once and are taken in turn, so that both the kinds and the sizes are compared within
//! a round. What was in a store before comes there by `chatkit-rest adopt`. Memory can't be filled by that.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::window::{self, Reading};
use super::{Cell, Extent, Scenario, cells, instructions};
use crate::book::{Book, Key, Metric};
use crate::database::{COUNTED_AFTER, Cluster};
use crate::load::{Crew, sent_by};
use crate::servers::{Kind, Launch, Server, Store};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many sessions are in the stores before.
    pub sessions: Vec<usize>,
    pub rounds: usize,
    pub extent: Extent,
    pub syscalls: bool,
}

/// A gateway on a store.
struct Gateway {
    server: Server,
    sessions: usize,
    /// Where it is PostgreSQL.
    database: Option<String>,
}

impl Gateway {
    fn key(&self, cell: &Cell) -> Key {
        let variant = variant(cell.variant, self.sessions);
        Key::new(cell.scenario.name(), &variant, self.server.subject.name)
    }
}

/// Measures times, system calls, and transactions of the database.
///
/// # Errors
///
/// A server that does not start or ends early, and a store that can't be filled.
pub async fn run(
    book: &mut Book,
    launch: &Launch,
    upstream: SocketAddr,
    plan: &Plan,
) -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut gateways = Vec::new();
    for (nth, &sessions) in plan.sessions.iter().enumerate() {
        for (store, database) in filled(launch, &cluster, sessions).await? {
            if nth > 0 && store.name == MEMORY {
                continue;
            }
            let launch = Launch { store: Some(store), ..launch.clone() };
            let mut server = launch.start(Kind::Gateway, upstream).await?;
            let subject = &mut server.subject;
            subject.target.set_up(SESSIONS, true, &launch.secret).await.context(subject.name)?;
            gateways.push(Gateway { server, sessions, database });
        }
    }
    for cell in cells(Scenario::Stores, plan.extent) {
        for round in 0..plan.rounds {
            for gateway in &gateways {
                let (key, subject) = (gateway.key(&cell), &gateway.server.subject);
                window::note(book, &key, subject, upstream, &cell, round, Reading::Times).await?;
            }
        }
        for gateway in gateways.iter().filter(|_| plan.syscalls) {
            let (key, subject) = (gateway.key(&cell), &gateway.server.subject);
            window::note(book, &key, subject, upstream, &cell, 0, Reading::Syscalls).await?;
        }
    }
    for cell in cells(Scenario::Stores, Extent::Callgrind) {
        transactions(book, &cluster, &gateways, upstream, &cell).await?;
    }
    for gateway in gateways {
        gateway.server.stop().await?;
    }
    cluster.stop().await
}

/// Counts instructions, with the fewest sessions.
///
/// # Errors
///
/// Those of [`run`], and no valgrind.
pub async fn instructions(
    book: &mut Book,
    launch: &Launch,
    upstream: SocketAddr,
    plan: &Plan,
) -> Result<()> {
    let cluster = Cluster::start().await?;
    let fewest = plan.sessions.iter().copied().min().unwrap_or_default();
    for (store, _) in filled(launch, &cluster, fewest).await? {
        let launch = Launch { store: Some(store), ..launch.clone() };
        let scenarios = [Scenario::Stores];
        instructions::run(book, &launch, Kind::Gateway, upstream, &scenarios).await?;
    }
    cluster.stop().await
}

/// Gives the name of what is asked of a store with so many sessions.
pub fn variant(asked: &str, sessions: usize) -> String {
    format!("{asked}{AT}{sessions}")
}

/// Counts the transactions of so many requests. A request's statements that leave together are one there
/// and back, and a transaction each, so that it has as many round trips or fewer.
async fn transactions(
    book: &mut Book,
    cluster: &Cluster,
    gateways: &[Gateway],
    upstream: SocketAddr,
    cell: &Cell,
) -> Result<()> {
    let mut counted = Vec::new();
    for gateway in gateways {
        let Some(database) = &gateway.database else { continue };
        let target = &gateway.server.subject.target;
        let warm_up = Some(cell.warm_up());
        let crew = Crew::assemble(target, cell.connections, cell.buffer, warm_up).await?;
        tokio::time::sleep(COUNTED_AFTER).await;
        sent_by(upstream).await?;
        let before = cluster.transactions(database).await?;
        let sample = crew.work(cell.op, cell.pacing, cell.until).await;
        let key = gateway.key(cell);
        let (units, _) = window::settle(book, &sample, upstream, cell, &key).await?;
        counted.push((key, database, before, units));
    }
    tokio::time::sleep(COUNTED_AFTER).await;
    for (key, database, before, units) in counted {
        let since = cluster.transactions(database).await?.saturating_sub(before);
        let per_unit = since as f64 / units.max(1) as f64;
        book.add(key, 0, BTreeMap::from([(Metric::TransactionsPerUnit, per_unit)]));
    }
    Ok(())
}

/// Makes a store of each kind with so many sessions, and gives them, with the database's name if it is one.
async fn filled(
    launch: &Launch,
    cluster: &Cluster,
    sessions: usize,
) -> Result<[(Store, Option<String>); 3]> {
    let run = crate::clock_ns();
    let lines = launch.directory.join(format!("sessions-{run}.jsonl"));
    write_lines(&lines, sessions)?;
    let sqlite = format!("sqlite:{}", launch.directory.join(format!("stores-{run}.db")).display());
    let database = format!("sessions_{sessions}_{run}");
    let postgres = cluster.create(&database).await?;
    for url in [&sqlite, &postgres] {
        let mut adopt = Command::new(&launch.gateway);
        adopt.env_clear().current_dir(&launch.directory).arg("adopt").arg(&lines);
        let output = adopt.args(["--store", url]).output().await?;
        if !output.status.success() {
            bail!("adopt: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    std::fs::remove_file(lines)?;
    cluster.settle(&database).await?;
    Ok([
        (Store { name: MEMORY, url: "memory:".to_owned() }, None),
        (Store { name: "sqlite", url: sqlite }, None),
        (Store { name: "postgres", url: postgres }, Some(database)),
    ])
}

/// Writes down threads of other users than the load's, a few each.
fn write_lines(path: &Path, sessions: usize) -> Result<()> {
    let mut lines = std::io::BufWriter::new(std::fs::File::create(path)?);
    for index in 0..sessions {
        let user = index / SESSIONS_PER_USER;
        writeln!(
            lines,
            r#"{{"thread_id":"thr_before_{index:08}","user_id":"before-{user}","title":"A title","created_at":"2026-11-01T00:00:00Z"}}"#
        )?;
    }
    Ok(lines.flush()?)
}

/// Between what is asked and how many sessions there are, in a variant's name.
pub const AT: &str = " at ";
const MEMORY: &str = "memory";
/// The load's own.
const SESSIONS: usize = 40;
const SESSIONS_PER_USER: usize = 20;
