//! Two stores side by side, in the order of their keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::table::{Row, Table};
use super::{End, refused};
use crate::error::Error;

/// One table of two stores. What the second has, the first has, too; what it lacks it may get.
pub(super) struct Merge {
    table: &'static Table,
    /// The second store has nothing in any table of more than one row.
    to_empty: bool,
    is_writing: bool,
    /// What was read of the second store and is not compared yet.
    there: VecDeque<Row>,
    /// It has no more.
    is_end: bool,
}

impl Merge {
    pub(super) fn new(table: &'static Table, to_empty: bool, is_writing: bool) -> Self {
        Self { table, to_empty, is_writing, there: VecDeque::new(), is_end: false }
    }

    /// Compares all rows, and writes those that are not there: gives how many.
    pub(super) async fn run(
        mut self,
        from: &mut End,
        to: &mut End,
        mut tell: impl FnMut(u64),
    ) -> Result<u64, Error> {
        let (mut rows, mut written) = (0, 0);
        from.start(self.table).await?;
        to.start(self.table).await?;
        loop {
            let batch = from.more().await?;
            if batch.is_empty() {
                break;
            }
            let mut missing = Vec::new();
            for row in batch {
                rows += 1;
                if !self.has(&row, to).await? {
                    missing.push(row);
                }
            }
            if self.is_writing && !missing.is_empty() {
                to.write(self.table, &missing).await?;
            }
            written += u64::try_from(missing.len()).unwrap_or(u64::MAX);
            tell(rows);
        }
        match self.next(to).await? {
            Some(other) if !self.is_replaceable(&other) => Err(self.other(&other)),
            _ => Ok(written),
        }
    }

    /// Tells whether the second store has the row, which is the next of the first.
    async fn has(&mut self, row: &Row, to: &mut End) -> Result<bool, Error> {
        let Some(there) = self.next(to).await? else { return Ok(false) };
        match self.table.key_of(&there).cmp(self.table.key_of(row)) {
            Ordering::Less => Err(self.other(&there)),
            Ordering::Greater => {
                self.there.push_front(there);
                Ok(false)
            }
            Ordering::Equal if there == *row => Ok(true),
            Ordering::Equal if self.is_replaceable(&there) => Ok(false),
            Ordering::Equal => {
                let (name, key) = (self.table.name, self.table.shown_key(row));
                let why = format!("the store to copy to has another {name} {key}");
                Err(refused(why))
            }
        }
    }

    /// Takes the next row of the second store.
    async fn next(&mut self, to: &mut End) -> Result<Option<Row>, Error> {
        if self.there.is_empty() && !self.is_end {
            self.there = to.more().await?.into();
            self.is_end = self.there.is_empty();
        }
        Ok(self.there.pop_front())
    }

    /// Tells whether a row may give way to another, or be where there is none: a gateway that was
    /// started on an empty store has made a key for it, which nobody was given anything by.
    fn is_replaceable(&self, there: &Row) -> bool {
        self.table.is_single && (self.to_empty || self.table.is_blank(there))
    }

    fn other(&self, row: &Row) -> Error {
        let (name, key) = (self.table.name, self.table.shown_key(row));
        let why = format!(
            "the store to copy to has the {name} {key}, which the one to copy from has not: expected \
             an empty store, or one that the same was copied to"
        );
        refused(why)
    }
}
