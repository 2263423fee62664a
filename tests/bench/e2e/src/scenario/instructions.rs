//! User instructions per request, run or event, counted by callgrind.
//!
//! The server runs under valgrind, is warmed up, and its counters are set to zero before a fixed
//! number of units and read after them. Start-up, set-up and connects are thus left out. callgrind
//! hides SHA and AVX-512 instructions from the program: hashes count several times what they cost.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::window::settle;
use super::{Cell, Extent, Scenario, cells};
use crate::book::{Book, Key, Metric};
use crate::load::{Crew, sent_by};
use crate::servers::{Kind, Launch, Subject};

/// Counts the cells of `scenarios` for one server.
///
/// # Errors
///
/// No valgrind, or the server does not start under it.
pub async fn run(
    book: &mut Book,
    launch: &Launch,
    kind: Kind,
    upstream: SocketAddr,
    scenarios: &[Scenario],
) -> Result<()> {
    let out = launch.directory.join(format!("callgrind.{}", launch.name(kind)));
    // A directory that is kept may hold an earlier run's.
    for (_, path) in dumps(&out)? {
        fs::remove_file(path)?;
    }
    let mut launch = launch.clone();
    launch.wrapper.extend(["valgrind".into(), "--tool=callgrind".into(), "--quiet".into()]);
    launch.wrapper.push(format!("--callgrind-out-file={}", out.display()));
    launch.patience *= SLOWER;
    let mut running = launch.start(kind, upstream).await?;
    let server = &mut running.subject;
    server.target.set_up(SESSIONS, true, &launch.secret).await.context(server.name)?;
    for cell in scenarios.iter().flat_map(|scenario| cells(*scenario, Extent::Callgrind)) {
        if !server.can(book, &cell).await? {
            continue;
        }
        let instructions = count(book, server, upstream, &cell, &out).await?;
        let key = Key::new(cell.scenario.name(), cell.variant, server.name);
        book.add(key, 0, [(Metric::InstructionsPerUnit, instructions)].into());
    }
    running.stop().await
}

async fn count(
    book: &mut Book,
    server: &Subject,
    upstream: SocketAddr,
    cell: &Cell,
    out: &Path,
) -> Result<f64> {
    let warm_up = Some(cell.warm_up());
    let crew = Crew::assemble(&server.target, cell.connections, cell.buffer, warm_up).await?;
    sent_by(upstream).await?;
    control(&["--zero"], server.pid).await?;
    let sample = crew.work(cell.op, cell.pacing, cell.until).await;
    control(&["--dump"], server.pid).await?;
    let key = Key::new(cell.scenario.name(), cell.variant, server.name);
    let (units, _) = settle(book, &sample, upstream, cell, &key).await?;
    let total = newest_dump(out)?;
    if units == 0 {
        bail!("{} {}: nothing was answered", key.scenario, key.server);
    }
    Ok(total as f64 / units as f64)
}

async fn control(arguments: &[&str], pid: u32) -> Result<()> {
    let mut command = Command::new("callgrind_control");
    command.args(arguments).arg(pid.to_string());
    let output = command.output().await.context("callgrind_control does not start")?;
    if !output.status.success() {
        bail!("callgrind_control: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Gives the dumps so far with their numbers: callgrind writes `NAME.N`.
fn dumps(out: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let directory = out.parent().context("no directory")?;
    let stem = out.file_name().and_then(|name| name.to_str()).context("no file name")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_prefix('.'));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// Gives the sum over threads in the last dump.
fn newest_dump(out: &Path) -> Result<u64> {
    let newest = dumps(out)?.into_iter().max_by_key(|(number, _)| *number);
    let (_, path) = newest.context("callgrind wrote no dump")?;
    let text = fs::read_to_string(&path)?;
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    let total = total.with_context(|| format!("no totals in {}", path.display()))?;
    total.trim().parse().context("totals of more than one event")
}

/// A server under callgrind takes so many times longer to start.
const SLOWER: u32 = 30;
/// As many as the widest cell has streams.
const SESSIONS: usize = 40;
