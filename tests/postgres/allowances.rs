//! Limits of requests that gateways share: what they cost.

use std::num::NonZeroU32;
use std::time::Duration;

use chatkit_rest::allowance::{AllowanceKey, Allowances as _, SliceReport, TakeSlice, UsedAt};
use chatkit_rest::session::{PostgresOptions, PostgresStore};

use crate::cluster::Database;

const MINUTE: Duration = Duration::from_secs(60);

fn key(n: usize) -> AllowanceKey {
    AllowanceKey::ClientSession(format!("cksess_{n}").into())
}

#[tokio::test]
async fn a_slice_is_a_round_trip_and_so_are_all_reports() {
    let database = Database::new().await;
    let mut options = PostgresOptions::parse(database.url()).unwrap();
    options.schema = database.schema().to_owned();
    let store = PostgresStore::open(options).await.unwrap();
    let take = TakeSlice::new(NonZeroU32::new(30).unwrap(), MINUTE);
    let mut reports = Vec::new();
    for n in 0..40 {
        let before = store.flights();
        let slice = store.take_allowance(&key(n), take.clone()).await.unwrap();
        assert_eq!((slice.granted, slice.left, store.flights() - before), (3, 27, 1));
        let used = vec![UsedAt { after: Duration::from_secs(n as u64 / 4), requests: 2 }];
        reports.push((key(n), SliceReport { slice: slice.id, used, given_back: 1 }));
    }
    let before = store.flights();
    store.give_back_allowances(MINUTE, reports.clone()).await.unwrap();
    assert_eq!(store.flights() - before, 1);
    for (key, report) in reports {
        // Whatever is told twice.
        let mut take = take.clone();
        take.reports.push(report);
        let slice = store.take_allowance(&key, take).await.unwrap();
        assert_eq!((slice.granted, slice.left), (3, 25));
    }
    store.close().await;
}
