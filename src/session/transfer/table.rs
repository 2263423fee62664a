//! What a store has, in a form that is the same whichever store it is.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// A table, as it is copied: its rows in the order of their keys' bytes.
#[derive(Debug)]
pub(in crate::session) struct Table {
    pub(in crate::session) name: &'static str,
    /// The key first.
    pub(in crate::session) columns: &'static [Column],
    /// How many of the columns are the key.
    pub(in crate::session) key: usize,
    /// It has one row, which is there from the beginning, or comes with the first use.
    pub(in crate::session) is_single: bool,
}

/// A column: its name in every store, and what is in it.
#[derive(Debug)]
pub(in crate::session) struct Column {
    pub(in crate::session) name: &'static str,
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "SQLite's values say it"))]
    pub(in crate::session) kind: Kind,
}

/// What is in a column; anything but a key may be nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Kind {
    /// Bytes.
    Bytes,
    /// 0 or 1.
    Flag,
    /// Sixteen bytes.
    Id,
    Integer,
    Text,
    /// Microseconds since the Unix epoch.
    Time,
}

/// One value. Its order is that of keys: of bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::session) enum Cell {
    Nothing,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl fmt::Display for Cell {
    /// Quotes what is from outside. For keys alone, none of which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// One row, its cells in the order of the columns.
pub(in crate::session) type Row = Vec<Cell>;

impl Table {
    pub(in crate::session) fn key_of<'r>(&self, row: &'r Row) -> &'r [Cell] {
        row.get(..self.key).unwrap_or(row)
    }

    /// Gives a row's key for a sentence.
    pub(super) fn shown_key(&self, row: &Row) -> String {
        let cells: Vec<_> = self.key_of(row).iter().map(ToString::to_string).collect();
        cells.join(", ")
    }

    /// Tells whether a row says no more than that its store was opened once.
    pub(super) fn is_blank(&self, row: &Row) -> bool {
        self.name == SEQUENCE && row.last() == Some(&Cell::Integer(0))
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// The table whose one row a store has from the beginning.
const SEQUENCE: &str = "conversation_sequence";

/// All that is copied. Of runs in flight nothing is: their leases end with the gateways that have them.
pub(in crate::session) const TABLES: &[Table] = &[
    Table {
        name: "session",
        columns: &[
            column("id", Kind::Id),
            column("user_id", Kind::Text),
            column("thread_id", Kind::Text),
            column("title", Kind::Text),
            column("created_at", Kind::Time),
            column("updated_at", Kind::Time),
            column("message_count", Kind::Integer),
            column("bound_at", Kind::Time),
            column("conversation", Kind::Text),
            column("adopted", Kind::Flag),
            column("quarantined_at", Kind::Time),
            column("made_for_run", Kind::Flag),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: "attachment",
        columns: &[
            column("id", Kind::Text),
            column("user_id", Kind::Text),
            column("adopted", Kind::Flag),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: "client_session",
        columns: &[
            column("id", Kind::Text),
            column("user_id", Kind::Text),
            column("created_at", Kind::Time),
            column("expires_at", Kind::Time),
            column("cancelled_at", Kind::Time),
            column("requests_per_minute", Kind::Integer),
            column("details", Kind::Text),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: "deleted_thread",
        columns: &[
            column("thread_id", Kind::Text),
            column("session_id", Kind::Id),
            column("bound_at", Kind::Time),
            column("deleted_at", Kind::Time),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: "deleted_adoption",
        columns: &[column("kind", Kind::Text), column("id", Kind::Text)],
        key: 2,
        is_single: false,
    },
    Table {
        name: "quarantine",
        columns: &[
            column("thread_id", Kind::Text),
            column("since", Kind::Time),
            column("times", Kind::Integer),
            column("session_id", Kind::Id),
            column("user_id", Kind::Text),
            column("more_others", Kind::Integer),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: "quarantine_other",
        columns: &[
            column("thread_id", Kind::Text),
            column("user_id", Kind::Text),
            column("session_id", Kind::Id),
            column("since", Kind::Time),
        ],
        key: 2,
        is_single: false,
    },
    Table {
        name: "blocked_user",
        columns: &[
            column("user_id", Kind::Text),
            column("since", Kind::Time),
            column("reason", Kind::Text),
        ],
        key: 1,
        is_single: false,
    },
    Table {
        name: SEQUENCE,
        columns: &[column("id", Kind::Integer), column("last", Kind::Integer)],
        key: 1,
        is_single: true,
    },
    Table {
        name: "signing_key",
        columns: &[column("id", Kind::Integer), column("key", Kind::Bytes)],
        key: 1,
        is_single: true,
    },
];

/// The count and the hash of a table's rows, in their order.
pub(super) struct Sum {
    rows: u64,
    digest: Context,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { rows: 0, digest: Context::new(&SHA256) }
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        for cell in row {
            // A tag and, of what has no fixed length, its length: no two rows are the same bytes.
            let (tag, length, bytes): (u8, _, &[u8]) = match cell {
                Cell::Nothing => (0, 0, &[]),
                Cell::Integer(number) => {
                    self.digest.update(&[1]);
                    self.digest.update(&number.to_be_bytes());
                    continue;
                }
                Cell::Text(text) => (2, text.len(), text.as_bytes()),
                Cell::Bytes(bytes) => (3, bytes.len(), bytes),
            };
            self.digest.update(&[tag]);
            self.digest.update(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
            self.digest.update(bytes);
        }
    }

    pub(super) fn finish(self) -> (u64, [u8; 32]) {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.digest.finish().as_ref());
        (self.rows, sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[Row]) -> (u64, [u8; 32]) {
        let mut sum = Sum::new();
        for row in rows {
            sum.add(row);
        }
        sum.finish()
    }

    #[test]
    fn no_two_contents_have_one_sum() {
        let text = |text: &str| Cell::Text(text.into());
        let rows = [
            vec![text("a"), text("b")],
            vec![text("ab"), text("")],
            vec![text(""), text("ab")],
            vec![text("ab"), Cell::Nothing],
            vec![Cell::Bytes(b"ab".to_vec()), Cell::Nothing],
            vec![Cell::Integer(0), Cell::Nothing],
            vec![Cell::Integer(1), Cell::Nothing],
        ];
        let mut sums: Vec<_> = rows.iter().map(|row| sum(std::slice::from_ref(row)).1).collect();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), rows.len());
        assert_eq!(sum(&rows), sum(&rows.clone()));
        assert_eq!(sum(&rows).0, 7);
    }
}
