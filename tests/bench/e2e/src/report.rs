//! The book as Markdown tables.

use std::fmt::Write as _;

use crate::book::{Book, Key, Metric, Spread};
use crate::scenario::stores::AT;

/// Gives every scenario the book has, and what was compared.
pub fn markdown(book: &Book) -> String {
    let mut out = String::new();
    for Table { scenario, title, base, columns } in tables(book) {
        let servers = book.servers(scenario);
        let filled: Vec<&Column> =
            columns.iter().filter(|column| column.has_values(book, scenario, &servers)).collect();
        if filled.is_empty() {
            continue;
        }
        let _ = writeln!(out, "### {title}\n");
        let titles: Vec<&str> = filled.iter().map(|column| column.title.as_str()).collect();
        let _ = writeln!(out, "| server | {} |", titles.join(" | "));
        let _ = writeln!(out, "| --- |{}", " ---: |".repeat(filled.len()));
        for server in servers {
            if !filled.iter().any(|column| column.has_values(book, scenario, &[server])) {
                continue;
            }
            let values: Vec<String> =
                filled.iter().map(|column| column.text(book, scenario, server, base)).collect();
            let _ = writeln!(out, "| {server} | {} |", values.join(" | "));
        }
        out.push('\n');
    }
    let Book { streams_compared, mismatches, errors, notes, .. } = book;
    let _ = writeln!(
        out,
        "Streams compared byte for byte (by hash): {}; that differ: {mismatches}. Errors: {errors}.",
        thousands(*streams_compared as f64)
    );
    for note in notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

struct Table {
    scenario: &'static str,
    title: &'static str,
    /// The server that ratios are taken against.
    base: &'static str,
    columns: Vec<Column>,
}

struct Column {
    title: String,
    variant: String,
    metric: Metric,
    over: Over,
}

/// What a column's values are divided by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Over {
    Nothing,
    /// The table's base in the same variant.
    Base,
    /// The same server in another variant.
    Variant(String),
}

impl Column {
    fn new(title: impl Into<String>, variant: &str, metric: Metric) -> Self {
        Self { title: title.into(), variant: variant.into(), metric, over: Over::Nothing }
    }

    fn ratio(title: impl Into<String>, variant: &str, metric: Metric) -> Self {
        Self { over: Over::Base, ..Self::new(title, variant, metric) }
    }

    fn over_variant(title: impl Into<String>, variant: &str, base: &str, metric: Metric) -> Self {
        Self { over: Over::Variant(base.to_owned()), ..Self::new(title, variant, metric) }
    }

    fn has_values(&self, book: &Book, scenario: &str, servers: &[&str]) -> bool {
        servers.iter().any(|server| {
            book.spread(&Key::new(scenario, &self.variant, server), self.metric).is_some()
        })
    }

    fn text(&self, book: &Book, scenario: &str, server: &str, base: &str) -> String {
        let key = Key::new(scenario, &self.variant, server);
        let base = match &self.over {
            Over::Nothing => {
                let spread = book.spread(&key, self.metric);
                return spread.map(|spread| number(spread.median)).unwrap_or_default();
            }
            Over::Base => Key::new(scenario, &self.variant, base),
            Over::Variant(variant) => Key::new(scenario, variant, server),
        };
        book.ratio(&key, &base, self.metric).map(ratio_text).unwrap_or_default()
    }
}

fn ratio_text(Spread { median, lowest, highest }: Spread) -> String {
    if (highest - lowest).abs() < f64::EPSILON {
        return format!("{median:.2}");
    }
    format!("{median:.2} [{lowest:.2}–{highest:.2}]")
}

fn tables(book: &Book) -> Vec<Table> {
    let mut tables = requests();
    tables.extend(streams());
    tables.push(idle(book));
    tables.extend(stores(book));
    tables
}

/// Tabulates A, A2, A50.
fn requests() -> Vec<Table> {
    use Metric as M;
    let per_request = |variant: &str| {
        vec![
            Column::new("requests/s", variant, M::AnswersPerSecond),
            Column::new("core busy", variant, M::CoreBusy),
            Column::new("CPU µs/request", variant, M::CpuPerUnit),
            Column::ratio("CPU ÷ bare-translate", variant, M::CpuPerUnit),
            Column::new("p50 µs", variant, M::FirstByteP50),
            Column::new("p99 µs", variant, M::FirstByteP99),
            Column::new("user instr./request", variant, M::InstructionsPerUnit),
            Column::ratio("instr. ÷ bare-translate", variant, M::InstructionsPerUnit),
            Column::new("syscalls/request", variant, M::SyscallsPerUnit),
        ]
    };
    let rate = "2000/s";
    vec![
        Table {
            scenario: "a",
            title: "A: one thread, 32 connections",
            base: "bare-translate",
            columns: per_request("get"),
        },
        Table {
            scenario: "a",
            title: "A: the same by the pass-through, 32 connections",
            base: "bare-translate",
            columns: per_request("passthrough"),
        },
        Table {
            scenario: "a2",
            title: "A2: a new title, 32 connections",
            base: "bare-translate",
            columns: per_request("rename"),
        },
        Table {
            scenario: "a50",
            title: "A50: 2,000 requests/s, open loop",
            base: "bare-proxy",
            columns: vec![
                Column::new("p50 µs", rate, M::FirstByteP50),
                Column::new("p99 µs", rate, M::FirstByteP99),
                Column::ratio("p99 ÷ bare-proxy", rate, M::FirstByteP99),
                Column::new("CPU µs/request", rate, M::CpuPerUnit),
            ],
        },
    ]
}

/// Tabulates B, B2, C.
fn streams() -> Vec<Table> {
    use Metric as M;
    let per_event = |variants: [&str; 2], columns: fn(&str) -> Vec<Column>| {
        let mut all = Vec::new();
        for variant in variants {
            all.extend(columns(variant).into_iter().map(|mut column| {
                column.title = format!("{}, {variant}", column.title);
                column
            }));
        }
        all
    };
    vec![
        Table {
            scenario: "b",
            title: "B: runs of 50 deltas of 40 bytes, no delay",
            base: "bare-proxy",
            columns: vec![
                Column::new("runs/s c=1", "c=1", M::AnswersPerSecond),
                Column::new("runs/s c=16", "c=16", M::AnswersPerSecond),
                Column::new("events/s c=16", "c=16", M::EventsPerSecond),
                Column::new("CPU µs/run c=16", "c=16", M::CpuPerUnit),
                Column::ratio("CPU ÷ bare-proxy", "c=16", M::CpuPerUnit),
                Column::new("first byte p50 µs c=1", "c=1", M::FirstByteP50),
                Column::new("p99 µs c=1", "c=1", M::FirstByteP99),
                Column::new("user instr./run", "c=16", M::InstructionsPerUnit),
                Column::ratio("instr. ÷ bare-proxy", "c=16", M::InstructionsPerUnit),
                Column::new("syscalls/run c=16", "c=16", M::SyscallsPerUnit),
            ],
        },
        Table {
            scenario: "b2",
            title: "B2: paced streams, each event a packet of its own",
            base: "bare-proxy",
            columns: per_event(["4 streams", "40 streams"], |variant| {
                vec![
                    Column::new("CPU µs/event", variant, M::CpuPerUnit),
                    Column::ratio("÷ bare-proxy", variant, M::CpuPerUnit),
                    Column::new("delay p50 µs", variant, M::DelayP50),
                    Column::new("p99 µs", variant, M::DelayP99),
                    Column::new("user instr./event", variant, M::InstructionsPerUnit),
                    Column::new("syscalls/event", variant, M::SyscallsPerUnit),
                ]
            }),
        },
        Table {
            scenario: "c",
            title: "C: one fat stream",
            base: "bare-proxy",
            columns: per_event(["64 B", "4 KB"], |variant| {
                vec![
                    Column::new("MB/s", variant, M::MegabytesPerSecond),
                    Column::new("CPU µs/event", variant, M::CpuPerUnit),
                    Column::ratio("÷ bare-proxy", variant, M::CpuPerUnit),
                    Column::new("user instr./event", variant, M::InstructionsPerUnit),
                    Column::new("syscalls/event", variant, M::SyscallsPerUnit),
                ]
            }),
        },
    ]
}

/// Tabulates D; its variants are whatever numbers of streams were asked for.
fn idle(book: &Book) -> Table {
    use Metric as M;
    let at_each = |title: &str, metric| {
        let of = |variant: &&str| Column::new(format!("{title} at {variant}"), variant, metric);
        book.variants("d").iter().map(of).collect::<Vec<_>>()
    };
    let mut columns = at_each("KiB/stream", M::KibPerStream);
    columns.extend(at_each("MiB in all", M::MibInAll));
    columns.extend(at_each("MiB at rest", M::MibAtRest).into_iter().take(1));
    columns.extend(at_each("delay p50 µs", M::DelayP50));
    columns.extend(at_each("delay p99 µs", M::DelayP99));
    columns.extend(at_each("CPU µs/event", M::CpuPerUnit));
    Table {
        scenario: "d",
        title: "D: many slow streams, one event a second each",
        base: "bare-proxy",
        columns,
    }
}

/// Tabulates the stores; its variants have whatever numbers of sessions were asked for.
fn stores(book: &Book) -> Vec<Table> {
    use Metric as M;
    let measured = book.variants("stores");
    let table = |title, asked: &str, unit: &str| {
        let sizes = measured.iter().filter_map(|variant| {
            let size = variant.strip_prefix(asked)?.strip_prefix(AT)?;
            Some((size, *variant))
        });
        let sizes: Vec<(&str, &str)> = sizes.collect();
        let mut columns = Vec::new();
        for (nth, &(size, variant)) in sizes.iter().enumerate() {
            let column =
                |title: &str, metric| Column::new(format!("{title} at {size}"), variant, metric);
            columns.push(column(&format!("CPU µs/{unit}"), M::CpuPerUnit));
            columns.push(Column::ratio(format!("÷ sqlite at {size}"), variant, M::CpuPerUnit));
            if let (1.., Some((first, base))) = (nth, sizes.first()) {
                let title = format!("at {size} ÷ at {first}");
                columns.push(Column::over_variant(title, variant, base, M::CpuPerUnit));
            }
            columns.push(column("p50 µs", M::FirstByteP50));
            columns.push(column("p99 µs", M::FirstByteP99));
            columns.push(column(&format!("syscalls/{unit}"), M::SyscallsPerUnit));
            columns.push(column(&format!("transactions/{unit}"), M::TransactionsPerUnit));
        }
        columns.push(Column::new(format!("user instr./{unit}"), asked, M::InstructionsPerUnit));
        columns.push(Column::ratio("instr. ÷ sqlite", asked, M::InstructionsPerUnit));
        Table { scenario: "stores", title, base: "sqlite", columns }
    };
    vec![
        table("Stores: one session, 16 connections", "get", "request"),
        table("Stores: first runs of 50 deltas, 16 connections", "first run", "run"),
        table("Stores: later runs of 50 deltas, 16 connections", "later run", "run"),
    ]
}

/// Writes four figures at least, and commas.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(14.26), "14.3");
        assert_eq!(number(0.1234), "0.123");
    }

    #[test]
    fn stores_are_compared_with_each_other_and_with_themselves() {
        let mut book = Book::default();
        for (server, few, many) in [("sqlite", 40.0, 44.0), ("postgres", 50.0, 60.0)] {
            for (variant, cpu) in [("get at 10", few), ("get at 1000", many)] {
                let key = Key::new("stores", variant, server);
                book.add(key, 0, [(Metric::CpuPerUnit, cpu)].into());
            }
        }
        let text = markdown(&book);
        assert!(text.contains("| postgres | 50.0 | 1.25 | 60.0 | 1.36 | 1.20 |"), "{text}");
    }

    #[test]
    fn a_table_has_only_columns_with_numbers() {
        let mut book = Book::default();
        for (server, cpu) in [("bare-translate", 10.0), ("gateway", 12.0)] {
            let key = Key::new("a2", "rename", server);
            book.add(key, 0, [(Metric::CpuPerUnit, cpu)].into());
        }
        let text = markdown(&book);
        assert!(text.contains("| server | CPU µs/request | CPU ÷ bare-translate |"), "{text}");
        assert!(text.contains("| gateway | 12.0 | 1.20 |"), "{text}");
    }
}
