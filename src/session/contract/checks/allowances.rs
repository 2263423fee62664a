//! Limits of requests that gateways share.
//!
//! What takes time is checked with short windows by the real clock: a store's may be elsewhere.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::allowance::{AllowanceKey, Slice, SliceReport, TakeSlice, UsedAt};
use crate::session::contract::support::user;
use crate::session::contract::{Store, Stores};

/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(3600);

/// So short that a check can wait for it.
const SHORT: Duration = Duration::from_millis(600);

fn key(id: &str) -> AllowanceKey {
    AllowanceKey::User(user(id))
}

fn want(want: u32, limit: u32, window: Duration) -> TakeSlice {
    let [want, limit] = [want, limit].map(|count| NonZeroU32::new(count).unwrap());
    TakeSlice { want, ..TakeSlice::new(limit, window) }
}

/// Takes a slice of ada's.
async fn take(store: &Store, take: TakeSlice) -> Slice {
    store.take_allowance(&key("ada"), take).await.unwrap()
}

/// Reports that all of a slice was used, as soon as it was granted.
fn used_up(slice: Slice) -> SliceReport {
    let used = vec![UsedAt { after: Duration::ZERO, requests: slice.granted }];
    SliceReport { slice: slice.id, used, given_back: 0 }
}

fn given_back(slice: Slice, given_back: u32) -> SliceReport {
    SliceReport { slice: slice.id, used: Vec::new(), given_back }
}

/// Checks that a slice is what is wanted, if there is so much.
pub async fn a_slice_is_of_what_is_left(store: &Store) {
    let first = take(store, want(3, 5, LONG)).await;
    assert_eq!((first.granted, first.left), (3, 2));
    let second = take(store, want(3, 5, LONG)).await;
    assert_eq!((second.granted, second.left), (2, 0));
    assert_ne!(first.id, second.id);
    for slice in [second, take(store, want(1, 5, LONG)).await] {
        assert!(slice.wait > LONG && slice.wait <= LONG + LONG / 10, "{slice:?}");
    }
    assert_eq!(take(store, want(1, 5, LONG)).await.granted, 0);
    // More may be allowed from now on.
    assert_eq!(take(store, want(9, 7, LONG)).await.granted, 2);
}

/// Checks that slices that are taken at once stop at the limit.
pub async fn slices_at_once_stop_at_the_limit(store: &Store) {
    slices_at_both_stop_at_the_limit(&[store.clone(), store.clone()]).await;
}

/// Checks that slices that are taken at once at both stop at the limit.
pub async fn slices_at_both_stop_at_the_limit(stores: &Stores) {
    let mut calls = JoinSet::new();
    for n in 0..50 {
        let store = stores[n % 2].clone();
        calls.spawn(async move { take(&store, want(3, 10, LONG)).await.granted });
    }
    assert_eq!(calls.join_all().await.into_iter().sum::<u32>(), 10);
}

/// Checks that what is given back can be taken, and no more.
pub async fn what_is_given_back_is_there_once(store: &Store) {
    let slice = take(store, want(5, 5, LONG)).await;
    let report = given_back(slice, 3);
    let again = TakeSlice { reports: vec![report.clone()], ..want(1, 5, LONG) };
    assert_eq!(take(store, again.clone()).await.left, 2);
    assert_eq!(take(store, again).await.left, 1);
    store.give_back_allowances(LONG, vec![(key("ada"), report)]).await.unwrap();
    // Nor is more given back than was granted, or by somebody else.
    let last = take(store, want(1, 5, LONG)).await;
    assert_eq!((last.granted, last.left), (1, 0));
    store.give_back_allowances(LONG, vec![(key("eve"), given_back(last, 1))]).await.unwrap();
    assert_eq!(take(store, want(1, 5, LONG)).await.granted, 0);
    store.give_back_allowances(LONG, vec![(key("ada"), given_back(last, 9))]).await.unwrap();
    assert_eq!(take(store, want(5, 5, LONG)).await.granted, 1);
    store.give_back_allowances(LONG, Vec::new()).await.unwrap();
}

/// Checks that what is given back at one can be taken at the other.
pub async fn what_is_given_back_at_one_is_there_at_the_other([a, b]: &Stores) {
    let slice = take(a, want(5, 5, LONG)).await;
    assert_eq!(take(b, want(5, 5, LONG)).await.granted, 0);
    a.give_back_allowances(LONG, vec![(key("ada"), given_back(slice, 3))]).await.unwrap();
    let slice = take(b, want(5, 5, LONG)).await;
    assert_eq!(slice.granted, 3);
    let take_again = TakeSlice { reports: vec![given_back(slice, 2)], ..want(1, 5, LONG) };
    assert_eq!(take(b, take_again).await.left, 1);
    assert_eq!(take(a, want(5, 5, LONG)).await.granted, 1);
}

/// Checks that keys are compared byte for byte, and that a user is no client session.
pub async fn keys_of_limits_are_never_interpreted(store: &Store) {
    let long = "a".repeat(200);
    let ids = ["ada", "ADA", "ad", "ada'; DROP TABLE session; --", "%", "_", "\u{e4}", "a\u{308}"];
    for id in ids.into_iter().chain([long.as_str()]) {
        for key in [key(id), AllowanceKey::ClientSession(id.into())] {
            let all = store.take_allowance(&key, want(2, 2, LONG)).await.unwrap();
            assert_eq!((all.granted, all.left), (2, 0), "{key:?}");
        }
    }
}

/// Checks that what was used counts for a window, and that who waits as told is granted something.
pub async fn what_was_used_is_there_again_after_a_window(store: &Store) {
    let begun = Instant::now();
    let slice = take(store, want(5, 5, SHORT)).await;
    let again = TakeSlice { reports: vec![used_up(slice)], ..want(5, 5, SHORT) };
    let refused = take(store, again).await;
    assert!(refused.granted == 0 && refused.wait <= SHORT + SHORT / 60, "{refused:?}");
    tokio::time::sleep(refused.wait).await;
    assert_eq!(take(store, want(5, 5, SHORT)).await.granted, 5);
    assert!(begun.elapsed() >= SHORT);
}

/// Checks that what nobody reports counts as if it had been used at the last moment.
pub async fn what_nobody_reports_is_there_again_later(store: &Store) {
    let begun = Instant::now();
    let slice = take(store, want(5, 5, SHORT)).await;
    let refused = take(store, want(5, 5, SHORT)).await;
    assert!(refused.granted == 0 && refused.wait <= slice.wait, "{refused:?}");
    tokio::time::sleep(refused.wait).await;
    assert_eq!(take(store, want(5, 5, SHORT)).await.granted, 5);
    assert!(begun.elapsed() >= SHORT + SHORT / 10);
}

/// Checks that a limit holds in every window, whatever is taken, used and given back at once.
pub async fn never_more_than_the_limit_in_any_window(store: &Store) {
    never_more_than_the_limit_in_any_window_at_both(&[store.clone(), store.clone()]).await;
}

/// Checks that a limit holds in every window, whatever is taken, used and given back at once at both.
pub async fn never_more_than_the_limit_in_any_window_at_both(stores: &Stores) {
    const LIMIT: u32 = 12;
    const WINDOW: Duration = Duration::from_millis(300);
    let begun = Instant::now();
    let mut gateways = JoinSet::new();
    for (n, store) in stores.iter().cycle().take(6).cloned().enumerate() {
        gateways.spawn(async move {
            let mut used = Vec::new();
            let mut reports = Vec::new();
            // Until each window has begun several times.
            while begun.elapsed() < 4 * WINDOW {
                let size = u32::try_from(n % 3).unwrap() + 1;
                let take_more = TakeSlice {
                    reports: std::mem::take(&mut reports),
                    ..want(size, LIMIT, WINDOW)
                };
                let since = Instant::now();
                let slice = take(&store, take_more).await;
                let wait = if slice.granted == 0 { slice.wait } else { WINDOW / 40 };
                let mut told = Vec::new();
                // Some are kept back, some of which are told of.
                for _ in 0..slice.granted.saturating_sub(u32::from(n % 2 == 0)) {
                    let now = Instant::now();
                    if now - since < WINDOW / 10 {
                        used.push(now);
                        told.push(UsedAt { after: now - since, requests: 1 });
                    }
                    tokio::task::yield_now().await;
                }
                let given_back = slice.granted - u32::try_from(told.len()).unwrap();
                if n < 4 {
                    reports.push(SliceReport { slice: slice.id, used: told, given_back });
                }
                tokio::time::sleep(wait.min(WINDOW / 20)).await;
            }
            used
        });
    }
    let mut used: Vec<_> = gateways.join_all().await.into_iter().flatten().collect();
    used.sort();
    let within =
        |from: &Instant| used.iter().filter(|at| *at >= from && **at - *from < WINDOW).count();
    let most = used.iter().map(within).max().unwrap_or(0);
    assert!((1..=LIMIT as usize).contains(&most), "{most}");
}
