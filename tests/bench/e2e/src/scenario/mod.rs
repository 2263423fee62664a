//! The scenarios, as lists of cells: what is asked, by how many connections, for how long.

use std::time::Duration;

use clap::ValueEnum;

use crate::load::{DEFAULT_BUFFER, Op, Pacing, Until};
use crate::script::Script;

pub mod idle;
pub mod instructions;
pub mod stores;
pub mod window;

/// What the command line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// A small JSON operation.
    A,
    /// A small JSON operation with a REST body: a new title.
    A2,
    /// A at 2,000 requests a second, for latency.
    A50,
    /// Runs of 50 deltas of 40 bytes in a burst.
    B,
    /// Paced streams, each event a packet of its own.
    B2,
    /// One long stream.
    C,
    /// Many idle streams.
    D,
    /// A read, a first and a later run on each kind of session store.
    Stores,
}

impl Scenario {
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::A2 => "a2",
            Self::A50 => "a50",
            Self::B => "b",
            Self::B2 => "b2",
            Self::C => "c",
            Self::D => "d",
            Self::Stores => "stores",
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Full,
    Quick,
    /// Under callgrind, which is fifty times slower, but exact.
    Callgrind,
}

/// What CPU time, system calls and instructions are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Answer,
    Event,
}

/// One variant of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub scenario: Scenario,
    pub variant: &'static str,
    pub op: Op,
    pub connections: usize,
    pub pacing: Pacing,
    pub until: Until,
    pub unit: Unit,
    /// Bytes a connection of the load reads at once.
    pub buffer: usize,
}

impl Cell {
    /// Gives what connections are warmed with: never a long stream.
    pub const fn warm_up(&self) -> Op {
        match self.op {
            Op::Run(_) => Op::Run(Script::burst(3, 16)),
            Op::FirstRun(_) => Op::FirstRun(Script::burst(3, 16)),
            op => op,
        }
    }

    const fn new(scenario: Scenario, variant: &'static str, op: Op, connections: usize) -> Self {
        Self {
            scenario,
            variant,
            op,
            connections,
            pacing: Pacing::Closed,
            until: Until::Begun(1),
            unit: Unit::Answer,
            buffer: DEFAULT_BUFFER,
        }
    }

    const fn until(self, until: Until) -> Self {
        Self { until, ..self }
    }

    const fn open(self, per_second: f64) -> Self {
        Self { pacing: Pacing::Open(per_second), ..self }
    }

    const fn per_event(self) -> Self {
        Self { unit: Unit::Event, ..self }
    }
}

/// Gives the cells of a scenario; D has none, see [`idle`].
pub fn cells(scenario: Scenario, extent: Extent) -> Vec<Cell> {
    let (small, burst_one, burst_many) = match extent {
        Extent::Full => (millis(1000), millis(500), millis(1000)),
        Extent::Quick => (millis(350), millis(250), millis(400)),
        Extent::Callgrind => (Until::Begun(2000), Until::Begun(100), Until::Begun(300)),
    };
    // Under callgrind little concurrency, so that counts depend less on batching.
    let small_connections = if extent == Extent::Callgrind { 8 } else { 32 };
    match scenario {
        Scenario::A => {
            let get = Cell::new(scenario, "get", Op::GetThread, small_connections);
            let passthrough = Cell { variant: "passthrough", op: Op::Passthrough, ..get };
            vec![get.until(small), passthrough.until(small)]
        }
        Scenario::A2 => {
            vec![Cell::new(scenario, "rename", Op::Rename, small_connections).until(small)]
        }
        // Latency means nothing under callgrind.
        Scenario::A50 if extent == Extent::Callgrind => Vec::new(),
        Scenario::A50 => {
            let until = if extent == Extent::Quick { millis(700) } else { millis(2000) };
            vec![Cell::new(scenario, "2000/s", Op::GetThread, 32).open(2000.0).until(until)]
        }
        Scenario::B => {
            let run = Op::Run(Script::burst(50, 40));
            let mut cells = vec![Cell::new(scenario, "c=16", run, 16).until(burst_many)];
            if extent != Extent::Callgrind {
                cells.push(Cell::new(scenario, "c=1", run, 1).until(burst_one));
            }
            cells
        }
        Scenario::B2 => {
            let deltas = if extent == Extent::Full { 400 } else { 160 };
            let run = Op::Run(Script::paced(deltas, 40, PACE));
            [("4 streams", 4), ("40 streams", 40)]
                .map(|(variant, streams)| {
                    let once_each = Until::Begun(streams as u64);
                    Cell::new(scenario, variant, run, streams).until(once_each).per_event()
                })
                .to_vec()
        }
        Scenario::C => {
            let (small, large) = match extent {
                Extent::Full => (200_000, 60_000),
                Extent::Quick => (50_000, 15_000),
                Extent::Callgrind => (20_000, 5_000),
            };
            [("64 B", small, 64), ("4 KB", large, 4096)]
                .map(|(variant, deltas, size)| {
                    let run = Op::Run(Script::burst(deltas, size));
                    Cell { buffer: FAT_BUFFER, ..Cell::new(scenario, variant, run, 1).per_event() }
                })
                .to_vec()
        }
        Scenario::D => Vec::new(),
        Scenario::Stores => {
            let script = Script::burst(50, 40);
            let connections = if extent == Extent::Callgrind { 8 } else { 16 };
            let cell =
                |variant, op, until| Cell::new(scenario, variant, op, connections).until(until);
            vec![
                cell("get", Op::GetSession, small),
                cell("first run", Op::FirstRun(script), burst_many),
                cell("later run", Op::Run(script), burst_many),
            ]
        }
    }
}

const fn millis(millis: u64) -> Until {
    Until::Elapsed(Duration::from_millis(millis))
}

/// Between two deltas of a paced stream: 200 tokens a second.
const PACE: Duration = Duration::from_millis(5);
const FAT_BUFFER: usize = 256 * 1024;
