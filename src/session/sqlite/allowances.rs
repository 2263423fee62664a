//! Limits of requests that gateways share.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension as _, Result, params};

use super::rows::PURGE;
use super::store::SqliteStore;
use crate::allowance::{AllowanceKey, Allowances, Ledger, Slice, SliceReport, TakeSlice};
use crate::session::store::StoreFuture;

impl Allowances for SqliteStore {
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: TakeSlice,
    ) -> StoreFuture<'a, Slice> {
        let key = key.to_bytes();
        self.write("could not take of a limit of requests", move |connection| {
            // By the writer, so that nobody's time is earlier than that of whoever wrote before.
            let now = Timestamp::now().as_microsecond();
            purge(connection, now)?;
            let mut ledger = ledger(connection, &key)?.unwrap_or_default();
            let slice = ledger.take(now, &take);
            keep(connection, &key, &ledger, take.window)?;
            Ok(slice)
        })
    }

    fn give_back_allowances(
        &self,
        window: Duration,
        reports: Vec<(AllowanceKey, SliceReport)>,
    ) -> StoreFuture<'_, ()> {
        self.write("could not give back of limits of requests", move |connection| {
            let now = Timestamp::now().as_microsecond();
            for (key, report) in &reports {
                let key = key.to_bytes();
                if let Some(mut ledger) = ledger(connection, &key)? {
                    ledger.give_back(now, window, report);
                    keep(connection, &key, &ledger, window)?;
                }
            }
            Ok(())
        })
    }
}

/// Removes some of those that are of no more use: more than come.
fn purge(connection: &Connection, now: i64) -> Result<()> {
    let sql = "DELETE FROM allowance WHERE key IN
        (SELECT key FROM allowance WHERE over_at <= ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![now, PURGE]).map(drop)
}

fn ledger(connection: &Connection, key: &[u8]) -> Result<Option<Ledger>> {
    let sql = "SELECT ledger FROM allowance WHERE key = ?1";
    let read = |text: &str| {
        serde_json::from_str(text)
            .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, error.into()))
    };
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([key], |row| read(row.get_ref(0)?.as_str()?)).optional()
}

fn keep(connection: &Connection, key: &[u8], ledger: &Ledger, window: Duration) -> Result<()> {
    let text = serde_json::to_string(ledger)
        .map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    let sql = "INSERT INTO allowance (key, ledger, over_at) VALUES (?1, ?2, ?3)
        ON CONFLICT (key) DO UPDATE SET ledger = excluded.ledger, over_at = excluded.over_at";
    connection.prepare_cached(sql)?.execute(params![key, text, ledger.over_at(window)]).map(drop)
}
