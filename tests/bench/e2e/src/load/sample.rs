//! What a window of load has seen.

use std::collections::HashMap;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::target::Op;
use super::wire::Sink;
use crate::upstream::{Sent, find_stamp};

/// Counts and times of a window.
#[derive(Debug, Default)]
pub struct Sample {
    pub answers: u64,
    pub elapsed: Duration,
    pub bytes: u64,
    /// To the first byte of each answer, in nanoseconds.
    pub first_byte: Vec<u64>,
    /// From an event's send to its arrival, in nanoseconds; paced streams only.
    pub delays: Vec<u64>,
    pub faults: u64,
    /// What the first few faults were.
    pub fault_texts: Vec<String>,
    streams: Vec<Stream>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    id: u64,
    hash: u64,
    length: u64,
}

/// How the streams of a sample compare with what the upstream sent.
#[derive(Debug, Default, Clone, Copy)]
pub struct Compared {
    pub streams: u64,
    pub mismatches: u64,
    pub events: u64,
}

impl Sample {
    pub(super) fn done(&mut self, first_byte: Duration, tally: Tally, id: Option<u64>) {
        self.answers += 1;
        self.bytes += tally.length;
        self.first_byte.push(nanos(first_byte));
        self.delays.extend(tally.delays.unwrap_or_default());
        if let (Some(id), Some(hash)) = (id, tally.hash) {
            self.streams.push(Stream { id, hash: hash.digest(), length: tally.length });
        }
    }

    pub(super) fn fault(&mut self, text: String) {
        self.faults += 1;
        if self.fault_texts.len() < 3 {
            self.fault_texts.push(text);
        }
    }

    pub(super) fn merge(&mut self, part: Self) {
        self.answers += part.answers;
        self.bytes += part.bytes;
        self.first_byte.extend(part.first_byte);
        self.delays.extend(part.delays);
        self.faults += part.faults;
        self.fault_texts.extend(part.fault_texts);
        self.fault_texts.truncate(3);
        self.streams.extend(part.streams);
    }

    /// Compares every stream with the upstream's own account of it.
    pub fn compare(&self, sent: &HashMap<u64, Sent>) -> Compared {
        let mut compared = Compared::default();
        for stream in &self.streams {
            compared.streams += 1;
            match sent.get(&stream.id) {
                Some(sent) if (sent.hash, sent.length) == (stream.hash, stream.length) => {
                    compared.events += sent.events;
                }
                _ => compared.mismatches += 1,
            }
        }
        compared
    }
}

/// Gives the `q`-quantile of `values` in microseconds; sorts them. Nothing when there are none.
pub fn quantile_us(values: &mut [u64], q: f64) -> Option<f64> {
    values.sort_unstable();
    let rank = ((values.len() as f64 * q).ceil() as usize).saturating_sub(1);
    values.get(rank).map(|nanos| *nanos as f64 / 1000.0)
}

/// One answer's bytes as they come.
pub(super) struct Tally {
    length: u64,
    hash: Option<Xxh3>,
    delays: Option<Vec<u64>>,
}

impl Tally {
    pub(super) fn new(op: Op) -> Self {
        let (hash, delays) = match op {
            Op::FirstRun(script) | Op::Run(script) => {
                (Some(Xxh3::new()), (!script.pace.is_zero()).then(Vec::new))
            }
            _ => (None, None),
        };
        Self { length: 0, hash, delays }
    }
}

impl Sink for Tally {
    fn data(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        if let Some(delays) = &mut self.delays {
            let mut rest = bytes;
            while let Some((sent, after)) = find_stamp(rest) {
                delays.push(crate::clock_ns().saturating_sub(sent));
                rest = after;
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let mut values: Vec<u64> = (1..=100).rev().map(|value| value * 1000).collect();
        assert_eq!(quantile_us(&mut values, 0.5), Some(50.0));
        assert_eq!(quantile_us(&mut values, 0.99), Some(99.0));
        assert_eq!(quantile_us(&mut [], 0.5), None);
    }

    #[test]
    fn a_stream_that_differs_is_a_mismatch() {
        let mut tally = Tally::new(Op::Run(crate::script::Script::burst(1, 1)));
        tally.data(b"data: {}\n\n");
        let hash = xxhash_rust::xxh3::xxh3_64(b"data: {}\n\n");
        let mut sample = Sample::default();
        sample.done(Duration::ZERO, tally, Some(7));
        let sent = |hash| HashMap::from([(7, Sent { id: 7, hash, length: 10, events: 1 })]);
        assert_eq!(sample.compare(&sent(hash)).mismatches, 0);
        assert_eq!(sample.compare(&sent(hash ^ 1)).mismatches, 1);
        assert_eq!(sample.compare(&HashMap::new()).mismatches, 1);
    }
}
