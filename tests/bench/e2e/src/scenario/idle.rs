//! D: many slow streams at once, one event a second each; what a stream's memory costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Cell, Extent, Scenario, Unit, window};
use crate::book::{Book, Key, Metric};
use crate::load::{Crew, Op, Pacing, Until};
use crate::measure::{Cpu, pss_kib};
use crate::script::Script;
use crate::servers::{Kind, Launch};

/// Opens `streams` on a fresh server, watches them, and lets them end.
///
/// # Errors
///
/// The server does not start or ends early.
pub async fn run(
    book: &mut Book,
    launch: &Launch,
    kind: Kind,
    upstream: SocketAddr,
    streams: usize,
    extent: Extent,
) -> Result<()> {
    let mut running = launch.start(kind, upstream).await?;
    let server = &mut running.subject;
    let key = Key::new(Scenario::D.name(), &streams.to_string(), server.name);
    let at_rest = pss_kib(server.pid)?;
    server.target.set_up(streams, false, &launch.secret).await.context(server.name)?;

    let ramp = Duration::from_secs_f64(streams as f64 / STARTS_PER_SECOND);
    let watched = Duration::from_secs(if extent == Extent::Quick { 2 } else { 5 });
    let life = SETTLE + ramp + watched + Duration::from_secs(1);
    let script = Script::paced(life.as_secs() as u32, 40, Duration::from_secs(1));
    let cell = Cell {
        scenario: Scenario::D,
        variant: "",
        op: Op::Run(script),
        connections: streams,
        pacing: Pacing::Open(STARTS_PER_SECOND),
        until: Until::Begun(streams as u64),
        unit: Unit::Event,
        buffer: BUFFER,
    };

    // One warm stream, so that what a server makes once is not counted.
    let first = Crew::assemble(&server.target, 1, BUFFER, Some(cell.warm_up())).await?;
    drop(first);
    let before = pss_kib(server.pid)?;
    let crew = Crew::assemble(&server.target, streams, BUFFER, None).await?;
    let working = tokio::task::spawn_local(crew.work(cell.op, cell.pacing, cell.until));

    tokio::time::sleep(ramp + SETTLE).await;
    let cpu = Cpu::read(server.pid)?;
    tokio::time::sleep(watched).await;
    let spent = Cpu::read(server.pid)?.since(&cpu) as f64;
    let open = pss_kib(server.pid)?;

    let mut sample = working.await?;
    window::settle(book, &sample, upstream, &cell, &key).await?;
    let events = streams as f64 * watched.as_secs_f64();
    let mut values = BTreeMap::from([
        (Metric::KibPerStream, open.saturating_sub(before) as f64 / streams as f64),
        (Metric::MibInAll, open as f64 / 1024.0),
        (Metric::MibAtRest, at_rest as f64 / 1024.0),
        (Metric::CpuPerUnit, spent / 1000.0 / events),
    ]);
    window::latencies(&mut sample, &mut values);
    book.add(key, 0, values);
    running.stop().await
}

const STARTS_PER_SECOND: f64 = 2000.0;
/// From the last start until all streams are past their preamble.
const SETTLE: Duration = Duration::from_secs(1);
const BUFFER: usize = 4096;
