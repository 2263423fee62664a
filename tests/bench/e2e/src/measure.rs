//! What a process costs, read from outside: CPU time, memory, system calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// On-CPU time of each thread of a process so far, kernel work included.
#[derive(Debug, Clone)]
pub struct Cpu {
    threads: BTreeMap<u32, u64>,
}

impl Cpu {
    /// Reads `schedstat` (nanoseconds) of every thread, or where the kernel has none, `utime` and
    /// `stime` (10 ms steps; [`Cpu::is_exact`] tells).
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn read(pid: u32) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&tasks).with_context(|| format!("process {pid} is gone"))? {
            let entry = entry?;
            let Some(tid) = entry.file_name().to_str().and_then(|tid| tid.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            if let Some(nanos) = schedstat(&entry.path()).or_else(|| ticks(&entry.path())) {
                threads.insert(tid, nanos);
            }
        }
        Ok(Self { threads })
    }

    /// Tells whether times are in nanoseconds rather than clock ticks.
    pub fn is_exact() -> bool {
        Path::new("/proc/thread-self/schedstat").exists()
    }

    /// Nanoseconds spent since `earlier`; what ended threads did in between is lost.
    pub fn since(&self, earlier: &Self) -> u64 {
        self.threads
            .iter()
            .map(|(tid, now)| now.saturating_sub(*earlier.threads.get(tid).unwrap_or(&0)))
            .sum()
    }
}

fn schedstat(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

fn ticks(task: &Path) -> Option<u64> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name may hold blanks; what follows its closing parenthesis starts at field 3.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 10_000_000)
}

/// Reads the proportional set size in KiB: what the process alone has, and its share of the rest.
///
/// # Errors
///
/// The process is gone, or the kernel has no `smaps_rollup`.
pub fn pss_kib(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Counts system calls of a process with `perf stat`.
pub struct SyscallCount {
    perf: Child,
}

impl SyscallCount {
    /// Starts counting; every thread of `pid`, those to come included.
    ///
    /// # Errors
    ///
    /// No `perf`, or no right to use it.
    pub async fn start(pid: u32) -> Result<Self> {
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p"])
            .arg(pid.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("perf does not start")?;
        // perf does not tell when it has attached.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(Self { perf })
    }

    /// Ends counting.
    ///
    /// # Errors
    ///
    /// What perf printed, when that was no count.
    pub async fn stop(self) -> Result<u64> {
        let pid = self.perf.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("perf has ended")?, Signal::INT)?;
        let output = self.perf.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"));
        let count = line.and_then(|line| line.split(',').next());
        match count {
            // What perf says of an event that never happened.
            Some("<not counted>") => Ok(0),
            Some(count) => count.parse().with_context(|| format!("perf: {text}")),
            None => anyhow::bail!("perf: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cpu_time_grows_with_work() {
        let pid = std::process::id();
        let before = Cpu::read(pid).unwrap();
        let mut sum = 0_u64;
        for value in 0..50_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(value));
        }
        let spent = Cpu::read(pid).unwrap().since(&before);
        assert!(spent > 0, "{sum}");
    }

    #[test]
    fn own_memory_is_some() {
        assert!(pss_kib(std::process::id()).unwrap() > 100);
    }
}
