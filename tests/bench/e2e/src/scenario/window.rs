//! One window: one server under the load of one cell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Cell, Unit};
use crate::book::{Book, Key, Metric};
use crate::load::{Crew, Sample, quantile_us, sent_by};
use crate::measure::{Cpu, SyscallCount};
use crate::servers::Subject;

/// What is read besides the load's own counts. perf slows the server, so its counts come from
/// windows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// CPU time, throughput and latency.
    Times,
    Syscalls,
}

/// Runs the window and notes it in the book under `round`.
///
/// # Errors
///
/// The server is gone, or perf does not work. Failed requests are noted instead.
pub async fn run(
    book: &mut Book,
    server: &Subject,
    upstream: SocketAddr,
    cell: &Cell,
    round: usize,
    reading: Reading,
) -> Result<()> {
    let key = Key::new(cell.scenario.name(), cell.variant, server.name);
    note(book, &key, server, upstream, cell, round, reading).await
}

/// Runs the window and notes it under another name than the cell's own.
///
/// # Errors
///
/// Those of [`run`].
pub async fn note(
    book: &mut Book,
    key: &Key,
    server: &Subject,
    upstream: SocketAddr,
    cell: &Cell,
    round: usize,
    reading: Reading,
) -> Result<()> {
    let context = || format!("{} {} {}", key.scenario, key.variant, key.server);
    let warm_up = Some(cell.warm_up());
    let crew = Crew::assemble(&server.target, cell.connections, cell.buffer, warm_up);
    let crew = crew.await.with_context(context)?;
    // What was sent so far concerns nobody.
    sent_by(upstream).await?;
    let mut values = BTreeMap::new();
    let (mut sample, units);
    match reading {
        Reading::Times => {
            let before = Cpu::read(server.pid)?;
            sample = crew.work(cell.op, cell.pacing, cell.until).await;
            let spent = Cpu::read(server.pid)?.since(&before) as f64;
            let (per, events) = settle(book, &sample, upstream, cell, key).await?;
            units = per;
            let seconds = sample.elapsed.as_secs_f64();
            values.insert(Metric::AnswersPerSecond, sample.answers as f64 / seconds);
            values.insert(Metric::MegabytesPerSecond, sample.bytes as f64 / seconds / 1e6);
            values.insert(Metric::CoreBusy, spent / sample.elapsed.as_nanos() as f64);
            if events > 0 {
                values.insert(Metric::EventsPerSecond, events as f64 / seconds);
            }
            if units > 0 {
                values.insert(Metric::CpuPerUnit, spent / 1000.0 / units as f64);
            }
            latencies(&mut sample, &mut values);
        }
        Reading::Syscalls => {
            let count = SyscallCount::start(server.pid).await?;
            sample = crew.work(cell.op, cell.pacing, cell.until).await;
            let count = count.stop().await?;
            (units, _) = settle(book, &sample, upstream, cell, key).await?;
            if units > 0 {
                values.insert(Metric::SyscallsPerUnit, count as f64 / units as f64);
            }
        }
    }
    book.add(key.clone(), round, values);
    Ok(())
}

/// Compares the streams, notes faults, and says how many units and events there were.
pub async fn settle(
    book: &mut Book,
    sample: &Sample,
    upstream: SocketAddr,
    cell: &Cell,
    key: &Key,
) -> Result<(u64, u64)> {
    let compared = sample.compare(&sent_by(upstream).await?);
    book.streams_compared += compared.streams;
    book.mismatches += compared.mismatches;
    book.errors += sample.faults;
    let name = format!("{} {} {}", key.scenario, key.variant, key.server);
    if compared.mismatches > 0 {
        book.notes.push(format!("{name}: {} streams differ", compared.mismatches));
    }
    if sample.faults > 0 {
        let texts = sample.fault_texts.join("; ");
        book.notes.push(format!("{name}: {} errors: {texts}", sample.faults));
    }
    let units = match cell.unit {
        Unit::Answer => sample.answers,
        Unit::Event => compared.events,
    };
    Ok((units, compared.events))
}

/// Quantiles of what the sample has timed.
pub fn latencies(sample: &mut Sample, values: &mut BTreeMap<Metric, f64>) {
    let timed = [
        (&mut sample.first_byte, Metric::FirstByteP50, Metric::FirstByteP99),
        (&mut sample.delays, Metric::DelayP50, Metric::DelayP99),
    ];
    for (times, p50, p99) in timed {
        values.extend(quantile_us(times, 0.5).map(|time| (p50, time)));
        values.extend(quantile_us(times, 0.99).map(|time| (p99, time)));
    }
}
