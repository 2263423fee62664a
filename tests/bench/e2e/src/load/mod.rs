//! The load: a core of its own, closed or open loop, every stream compared by hash.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::sample::Tally;
pub use self::sample::{Sample, quantile_us};
pub use self::target::{Dialect, Op, PREFIX, Target};
use self::wire::Wire;
use crate::upstream::{STREAMS_PATH, Sent};

mod sample;
mod target;
mod wire;

/// When a window of load ends. What is under way is finished.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So much time has passed.
    Elapsed(Duration),
    /// So many requests were begun, over all connections.
    Begun(u64),
}

/// How requests follow each other.
#[derive(Debug, Clone, Copy)]
pub enum Pacing {
    /// The next when the last is answered.
    Closed,
    /// So many a second over all connections. Latency counts from when a request was due if its
    /// connection was still busy then.
    Open(f64),
}

/// Connections that are open and warm.
pub struct Crew {
    target: Rc<Target>,
    wires: Vec<Wire>,
}

impl Crew {
    /// Opens `connections` and sends `warm_up` requests on each.
    ///
    /// # Errors
    ///
    /// The first connection or request that fails.
    pub async fn assemble(
        target: &Target,
        connections: usize,
        buffer: usize,
        warm_up: Option<Op>,
    ) -> Result<Self> {
        let target = Rc::new(target.clone());
        let mut wires = Vec::with_capacity(connections);
        // In batches, so that no listener's queue runs over.
        for first in (0..connections).step_by(CONNECT_AT_ONCE) {
            let mut opening = JoinSet::new();
            for slot in first..connections.min(first + CONNECT_AT_ONCE) {
                opening.spawn_local(open(Rc::clone(&target), slot, buffer, warm_up));
            }
            while let Some(wire) = opening.join_next().await {
                wires.push(wire??);
            }
        }
        Ok(Self { target, wires })
    }

    /// Puts the server under load. Faults are counted, not returned.
    pub async fn work(self, op: Op, pacing: Pacing, until: Until) -> Sample {
        let begun = Rc::new(Cell::new(0_u64));
        let start = Instant::now();
        let connections = self.wires.len();
        let mut workers = JoinSet::new();
        for (slot, wire) in self.wires.into_iter().enumerate() {
            let worker = Worker {
                target: Rc::clone(&self.target),
                wire,
                slot,
                op,
                begun: Rc::clone(&begun),
                until,
                start,
            };
            workers.spawn_local(worker.run(match pacing {
                Pacing::Closed => None,
                Pacing::Open(rate) => Some(Due {
                    at: start + Duration::from_secs_f64(slot as f64 / rate),
                    step: Duration::from_secs_f64(connections as f64 / rate),
                }),
            }));
        }
        let mut sample = Sample::default();
        while let Some(done) = workers.join_next().await {
            match done {
                Ok(part) => sample.merge(part),
                Err(error) => sample.fault(error.to_string()),
            }
        }
        sample.elapsed = start.elapsed();
        sample
    }
}

async fn open(target: Rc<Target>, slot: usize, buffer: usize, warm_up: Option<Op>) -> Result<Wire> {
    let mut wire = Wire::connect(target.address, buffer).await?;
    if let Some(op) = warm_up {
        let mut request = Vec::new();
        for _ in 0..WARM_UP_EACH {
            target.write_request(&mut request, op, slot);
            target::ask(&mut wire, &request).await.context("warm-up")?;
        }
    }
    Ok(wire)
}

struct Worker {
    target: Rc<Target>,
    wire: Wire,
    slot: usize,
    op: Op,
    begun: Rc<Cell<u64>>,
    until: Until,
    start: Instant,
}

struct Due {
    at: Instant,
    step: Duration,
}

impl Worker {
    async fn run(mut self, mut due: Option<Due>) -> Sample {
        let mut sample = Sample::default();
        let mut request = Vec::with_capacity(1024);
        while self.goes_on() {
            let mut late = Duration::ZERO;
            if let Some(due) = &mut due {
                late = Instant::now().saturating_duration_since(due.at);
                tokio::time::sleep_until(due.at).await;
                due.at += due.step;
            }
            let (op, id) = match self.op {
                Op::FirstRun(script) => {
                    let id = next_stream_id();
                    (Op::FirstRun(script.with_id(id)), Some(id))
                }
                Op::Run(script) => {
                    let id = next_stream_id();
                    (Op::Run(script.with_id(id)), Some(id))
                }
                op => (op, None),
            };
            self.target.write_request(&mut request, op, self.slot);
            let mut tally = Tally::new(self.op);
            match self.wire.exchange(&request, &mut tally).await {
                Ok(answer) if answer.status == 200 => {
                    sample.done(answer.first_byte + late, tally, id);
                    if !answer.close {
                        continue;
                    }
                }
                Ok(answer) => sample.fault(format!("status {}", answer.status)),
                Err(error) => sample.fault(error.to_string()),
            }
            // A refused or broken connection is replaced; a server that is gone ends the worker.
            match Wire::connect(self.target.address, DEFAULT_BUFFER).await {
                Ok(wire) => self.wire = wire,
                Err(error) => {
                    sample.fault(error.to_string());
                    break;
                }
            }
        }
        sample
    }

    fn goes_on(&self) -> bool {
        match self.until {
            Until::Elapsed(window) => self.start.elapsed() < window,
            Until::Begun(count) => {
                let begun = self.begun.get();
                self.begun.set(begun + 1);
                begun < count
            }
        }
    }
}

/// Gives what the upstream says it sent since it was last asked, by stream id.
///
/// # Errors
///
/// An upstream that does not answer, or not in lines of four numbers.
pub async fn sent_by(upstream: SocketAddr) -> Result<HashMap<u64, Sent>> {
    let mut wire = Wire::connect(upstream, DEFAULT_BUFFER).await?;
    let request = format!("GET {STREAMS_PATH} HTTP/1.1\r\nhost: {upstream}\r\n\r\n");
    let body = String::from_utf8(target::ask(&mut wire, request.as_bytes()).await?)?;
    body.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut number = |radix| {
                let word = words.next().context("a line of four numbers")?;
                u64::from_str_radix(word, radix).context("a number")
            };
            let id = number(16)?;
            let sent = Sent { id, hash: number(16)?, length: number(10)?, events: number(10)? };
            Ok((id, sent))
        })
        .collect()
}

fn next_stream_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Bytes a connection reads at once.
pub const DEFAULT_BUFFER: usize = 64 * 1024;
const WARM_UP_EACH: usize = 3;
const CONNECT_AT_ONCE: usize = 64;
