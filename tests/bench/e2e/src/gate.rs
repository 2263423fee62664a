//! The limits a full gateway must keep, held against a book.
//!
//! Each is a ratio to a reference of the same run, or a count that does not depend on the machine's
//! speed. What a run has not measured is named, and fails only when everything was asked for.

use std::fmt::Write as _;

use crate::book::{Book, Key, Metric};
use crate::report::number;

/// One limit and how it was met.
struct Check {
    what: String,
    bound: Bound,
    measured: Option<f64>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Check {
    fn is_kept(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtMost(limit) => measured <= limit,
            Bound::AtLeast(limit) => measured >= limit,
        })
    }
}

/// Holds the book against every limit: the table, and whether it passes. With `strict`, what was
/// not measured fails.
pub fn judge(book: &Book, strict: bool) -> (String, bool) {
    let mut out = String::from("| check | must | measured | |\n| --- | ---: | ---: | --- |\n");
    let mut passes = true;
    for check in checks(book) {
        let must = match check.bound {
            Bound::AtMost(limit) => format!("≤ {}", number(limit)),
            Bound::AtLeast(limit) => format!("≥ {}", number(limit)),
        };
        let verdict = match check.is_kept() {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "not measured",
        };
        passes &= check.is_kept().unwrap_or(!strict);
        let measured = check.measured.map(number).unwrap_or_default();
        let _ = writeln!(out, "| {} | {must} | {measured} | {verdict} |", check.what);
    }
    (out, passes)
}

fn checks(book: &Book) -> Vec<Check> {
    use Bound::{AtLeast, AtMost};
    use Metric as M;
    let gateway = Of { book, server: GATEWAY };
    // The REST operation where there is one, else the pass-through; both against the same base.
    let op = if gateway.value("a", "get", M::CpuPerUnit).is_some() { "get" } else { "passthrough" };
    let a = |metric| {
        let base = Key::new("a", "get", TRANSLATE);
        book.ratio(&Key::new("a", op, GATEWAY), &base, metric).map(|ratio| ratio.median)
    };
    let mut checks = Vec::new();
    let mut must = |what: &str, bound, measured| {
        checks.push(Check { what: what.to_owned(), bound, measured });
    };

    must("A user instr. ÷ bare-translate", AtMost(1.6), a(M::InstructionsPerUnit));
    must("A CPU ÷ bare-translate", AtMost(1.4), a(M::CpuPerUnit));
    must("A system calls/request", AtMost(6.0), gateway.value("a", op, M::SyscallsPerUnit));
    must(
        "A2 user instr. ÷ bare-translate",
        AtMost(1.6),
        gateway.ratio("a2", "rename", TRANSLATE, M::InstructionsPerUnit),
    );
    must(
        "A50 p50 added to bare-proxy, µs",
        AtMost(50.0),
        gateway.added("a50", "2000/s", PROXY, M::FirstByteP50),
    );
    must(
        "A50 p99 ÷ bare-proxy",
        AtMost(2.0),
        gateway.ratio("a50", "2000/s", PROXY, M::FirstByteP99),
    );
    must("B CPU/run ÷ bare-proxy", AtMost(0.35), gateway.ratio("b", "c=16", PROXY, M::CpuPerUnit));
    must(
        "B system calls/event",
        AtMost(0.4),
        gateway.value("b", "c=16", M::SyscallsPerUnit).map(|run| run / EVENTS_PER_RUN),
    );
    must(
        "B c=1 first byte p50 added to direct, µs",
        AtMost(120.0),
        gateway.added("b", "c=1", "direct", M::FirstByteP50),
    );
    must(
        "B2 user instr./event ÷ bare-proxy, 40 streams",
        AtMost(1.6),
        gateway.ratio("b2", "40 streams", PROXY, M::InstructionsPerUnit),
    );
    must(
        "B2 system calls/event, 40 streams",
        AtMost(2.5),
        gateway.value("b2", "40 streams", M::SyscallsPerUnit),
    );
    for variant in ["4 streams", "40 streams"] {
        let delay = |metric| gateway.ratio("b2", variant, PROXY, metric);
        must(&format!("B2 delay p50 ÷ bare-proxy, {variant}"), AtMost(1.3), delay(M::DelayP50));
        must(&format!("B2 delay p99 ÷ bare-proxy, {variant}"), AtMost(2.0), delay(M::DelayP99));
    }
    must(
        "C 64 B MB/s ÷ bare-proxy",
        AtLeast(4.0),
        gateway.ratio("c", "64 B", PROXY, M::MegabytesPerSecond),
    );
    must(
        "C 64 B user instr./event",
        AtMost(3500.0),
        gateway.value("c", "64 B", M::InstructionsPerUnit),
    );
    must(
        "C 4 KB MB/s ÷ bare-proxy",
        AtLeast(1.3),
        gateway.ratio("c", "4 KB", PROXY, M::MegabytesPerSecond),
    );
    let variants = book.variants("d");
    for streams in &variants {
        let memory = gateway.value("d", streams, M::KibPerStream);
        must(&format!("D KiB/stream at {streams}"), AtMost(32.0), memory);
    }
    let largest = variants.last().copied().unwrap_or_default();
    must("D memory at rest, MiB", AtMost(20.0), gateway.value("d", largest, M::MibAtRest));
    must("D memory in all, MiB", AtMost(320.0), gateway.value("d", largest, M::MibInAll));
    must(
        &format!("D delay p99 ÷ bare-proxy at {largest}"),
        AtMost(1.5),
        gateway.ratio("d", largest, PROXY, M::DelayP99),
    );
    for variant in &book.variants("stores") {
        let postgres = Of { book, server: "postgres" };
        if let Some(cpu) = postgres.ratio("stores", variant, "sqlite", M::CpuPerUnit) {
            must(&format!("stores CPU ÷ sqlite, {variant}"), AtMost(1.25), Some(cpu));
        }
    }
    must("streams that differ", AtMost(0.0), Some(book.mismatches as f64));
    must("errors", AtMost(0.0), Some(book.errors as f64));
    must("streams compared", AtLeast(1.0), Some(book.streams_compared as f64));
    checks
}

struct Of<'a> {
    book: &'a Book,
    server: &'static str,
}

impl Of<'_> {
    fn value(&self, scenario: &str, variant: &str, metric: Metric) -> Option<f64> {
        let key = Key::new(scenario, variant, self.server);
        self.book.spread(&key, metric).map(|spread| spread.median)
    }

    fn ratio(&self, scenario: &str, variant: &str, base: &str, metric: Metric) -> Option<f64> {
        let key = Key::new(scenario, variant, self.server);
        let base = Key::new(scenario, variant, base);
        self.book.ratio(&key, &base, metric).map(|spread| spread.median)
    }

    fn added(&self, scenario: &str, variant: &str, base: &str, metric: Metric) -> Option<f64> {
        let key = Key::new(scenario, variant, self.server);
        let base = Key::new(scenario, variant, base);
        self.book.difference(&key, &base, metric).map(|spread| spread.median)
    }
}

const GATEWAY: &str = "gateway";
const PROXY: &str = "bare-proxy";
const TRANSLATE: &str = "bare-translate";
/// Two of preamble, two before the deltas, fifty deltas, two after them.
const EVENTS_PER_RUN: f64 = 56.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn book(gateway_cpu: f64) -> Book {
        let mut book = Book { streams_compared: 1, ..Book::default() };
        for (server, cpu) in [(TRANSLATE, 10.0), (GATEWAY, gateway_cpu)] {
            book.add(Key::new("a", "get", server), 0, [(Metric::CpuPerUnit, cpu)].into());
        }
        book
    }

    #[test]
    fn passes_within_the_limit_and_fails_beyond() {
        assert!(judge(&book(13.9), false).1);
        let (table, passes) = judge(&book(14.1), false);
        assert!(!passes && table.contains("| A CPU ÷ bare-translate | ≤ 1.40 | 1.41 | FAIL |"));
    }

    #[test]
    fn what_is_not_measured_fails_when_strict() {
        assert!(!judge(&book(10.0), true).1);
    }

    #[test]
    fn one_wrong_stream_fails() {
        let book = Book { mismatches: 1, ..book(10.0) };
        assert!(!judge(&book, false).1);
    }
}
