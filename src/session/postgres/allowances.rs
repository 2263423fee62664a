//! Limits of requests that gateways share.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::rows::{get, malformed};
use super::store::PostgresStore;
use crate::allowance::{AllowanceKey, Allowances, Slice, SliceId, SliceReport, TakeSlice};
use crate::session::store::StoreFuture;

// Neither call does harm if it is made again because an answer was lost: a report is applied once, and
// a slice that nobody heard of counts as used.
impl Allowances for PostgresStore {
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: TakeSlice,
    ) -> StoreFuture<'a, Slice> {
        Box::pin(async move {
            let (key, window) = (key.to_bytes(), micros(take.window));
            let (limit, want) = (i64::from(take.limit.get()), i64::from(take.want.get()));
            let reports = Reports::new(&take.reports);
            let Reports { slices, given, of, after, requests } = &reports;
            let values: [&(dyn ToSql + Sync); 9] =
                [&key, &limit, &window, &want, slices, given, of, after, requests];
            let context = "could not take of a limit of requests";
            let shared = self.shared();
            let sql = &shared.statements.take_allowance;
            shared.ask(context, &[], sql, &values, true, slice).await
        })
    }

    fn give_back_allowances(
        &self,
        window: Duration,
        reports: Vec<(AllowanceKey, SliceReport)>,
    ) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (keys, reports): (Vec<_>, Vec<_>) =
                reports.into_iter().map(|(key, report)| (key.to_bytes(), report)).unzip();
            let window = micros(window);
            let reports = Reports::new(&reports);
            let Reports { slices, given, of, after, requests } = &reports;
            let values: [&(dyn ToSql + Sync); 7] =
                [&window, &keys, slices, given, of, after, requests];
            let context = "could not give back of limits of requests";
            let shared = self.shared();
            let sql = &shared.statements.give_back_allowances;
            shared.ask(context, &[], sql, &values, true, |_| Ok(())).await
        })
    }
}

/// Reports in columns. Their uses have columns of their own, of which the first says, from one on, of
/// which report each is.
#[derive(Default)]
struct Reports {
    slices: Vec<i64>,
    given: Vec<i64>,
    of: Vec<i64>,
    after: Vec<i64>,
    requests: Vec<i64>,
}

impl Reports {
    fn new(reports: &[SliceReport]) -> Self {
        let mut columns = Self::default();
        for (report, number) in reports.iter().zip(1..) {
            columns.slices.push(report.slice.0);
            columns.given.push(report.given_back.into());
            for used in &report.used {
                columns.of.push(number);
                columns.after.push(micros(used.after));
                columns.requests.push(used.requests.into());
            }
        }
        columns
    }
}

fn slice(row: &Row) -> Result<Slice, Failure> {
    let count = |column| {
        u32::try_from(get::<i64>(row, column)?).map_err(|_| malformed("a number of requests"))
    };
    Ok(Slice {
        id: SliceId(get(row, 0)?),
        granted: count(1)?,
        left: count(2)?,
        wait: Duration::from_micros(u64::try_from(get::<i64>(row, 3)?).unwrap_or(0)),
    })
}

/// Rounds up, to what is far from overflowing when a time is added to it.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX).min(i64::MAX / 8)
}
