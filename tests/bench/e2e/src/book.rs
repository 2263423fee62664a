//! The numbers of a run, as they are kept on disk, and the arithmetic on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// One server in one variant of a scenario, e.g. B with 16 connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub scenario: String,
    pub variant: String,
    pub server: String,
}

impl Key {
    pub fn new(scenario: &str, variant: &str, server: &str) -> Self {
        Self { scenario: scenario.into(), variant: variant.into(), server: server.into() }
    }
}

/// What one window of load has shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub key: Key,
    pub round: usize,
    pub values: BTreeMap<Metric, f64>,
}

/// What is measured; "unit" is a request, a run or an event, whatever the variant counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    AnswersPerSecond,
    EventsPerSecond,
    MegabytesPerSecond,
    /// CPU time of the server ÷ time.
    CoreBusy,
    /// CPU time of the server per unit, µs.
    CpuPerUnit,
    /// Microseconds.
    FirstByteP50,
    FirstByteP99,
    /// From an event's send to its arrival, µs.
    DelayP50,
    DelayP99,
    SyscallsPerUnit,
    /// Committed by the database.
    TransactionsPerUnit,
    /// User instructions per unit, by callgrind.
    InstructionsPerUnit,
    KibPerStream,
    /// Memory with all streams open.
    MibInAll,
    /// Memory before the first request.
    MibAtRest,
}

/// All windows of a run, and what went wrong in them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    pub records: Vec<Record>,
    /// Streams whose bytes were compared with what the upstream sent.
    pub streams_compared: u64,
    pub mismatches: u64,
    /// Requests that failed.
    pub errors: u64,
    /// What failed, in words, or was left out.
    pub notes: Vec<String>,
}

/// A median with the lowest and highest of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Book {
    pub fn add(&mut self, key: Key, round: usize, values: BTreeMap<Metric, f64>) {
        self.records.push(Record { key, round, values });
    }

    /// Gives the metric over the rounds.
    pub fn spread(&self, key: &Key, metric: Metric) -> Option<Spread> {
        Spread::of(self.by_round(key, metric).into_values().collect())
    }

    /// Gives the quotient of two servers (or variants), taken within each round.
    pub fn ratio(&self, key: &Key, base: &Key, metric: Metric) -> Option<Spread> {
        let base = self.by_round(base, metric);
        let quotients = self.by_round(key, metric).into_iter().filter_map(|(round, value)| {
            base.get(&round).filter(|base| **base > 0.0).map(|base| value / base)
        });
        Spread::of(quotients.collect())
    }

    /// Gives the difference of two servers, taken within each round.
    pub fn difference(&self, key: &Key, base: &Key, metric: Metric) -> Option<Spread> {
        let base = self.by_round(base, metric);
        let differences = self
            .by_round(key, metric)
            .into_iter()
            .filter_map(|(round, value)| base.get(&round).map(|base| value - base));
        Spread::of(differences.collect())
    }

    fn by_round(&self, key: &Key, metric: Metric) -> BTreeMap<usize, f64> {
        self.records
            .iter()
            .filter(|record| record.key == *key)
            .filter_map(|record| Some((record.round, *record.values.get(&metric)?)))
            .collect()
    }

    /// Servers that have this scenario, in the order they were first measured.
    pub fn servers(&self, scenario: &str) -> Vec<&str> {
        let mut servers = Vec::new();
        for Record { key, .. } in &self.records {
            if key.scenario == scenario && !servers.contains(&key.server.as_str()) {
                servers.push(key.server.as_str());
            }
        }
        servers
    }

    /// Variants of a scenario, in the order they were first measured.
    pub fn variants(&self, scenario: &str) -> Vec<&str> {
        let mut variants = Vec::new();
        for Record { key, .. } in &self.records {
            if key.scenario == scenario && !variants.contains(&key.variant.as_str()) {
                variants.push(key.variant.as_str());
            }
        }
        variants
    }

    /// Reads a book.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a book.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("no results at {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not ours", path.display()))
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            *values.get(upper)?
        } else {
            f64::midpoint(*values.get(upper - 1)?, *values.get(upper)?)
        };
        Some(Self { median, lowest, highest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut book = Book::default();
        let (proxy, gateway) =
            (Key::new("a", "get", "bare-proxy"), Key::new("a", "get", "gateway"));
        for (round, (base, value)) in [(10.0, 20.0), (20.0, 30.0), (40.0, 40.0)].iter().enumerate()
        {
            book.add(proxy.clone(), round, [(Metric::CpuPerUnit, *base)].into());
            book.add(gateway.clone(), round, [(Metric::CpuPerUnit, *value)].into());
        }
        let ratio = book.ratio(&gateway, &proxy, Metric::CpuPerUnit);
        assert_eq!(ratio, Some(Spread { median: 1.5, lowest: 1.0, highest: 2.0 }));
        assert_eq!(book.ratio(&gateway, &proxy, Metric::DelayP50), None);
    }

    #[test]
    fn a_book_survives_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/results.json");
        let mut book = Book::default();
        book.add(Key::new("b", "c=1", "bare-lean"), 2, [(Metric::FirstByteP50, 1.5)].into());
        book.save(&path).unwrap();
        let read = Book::load(&path).unwrap();
        assert_eq!(read.servers("b"), ["bare-lean"]);
        assert_eq!(read.records[0].values, book.records[0].values);
    }
}
