//! Limits of requests that gateways share.

use std::collections::HashMap;
use std::time::Duration;

use super::MemoryStore;
use crate::allowance::{AllowanceKey, Allowances, Ledger, Slice, SliceReport, TakeSlice};
use crate::session::store::StoreFuture;

/// Up to so many ledgers nobody sweeps.
const UNSWEPT: usize = 1024;

/// The ledgers of those who asked of late, each with when it is of no more use than none.
#[derive(Default)]
pub(super) struct Ledgers {
    by_key: HashMap<AllowanceKey, (Ledger, i64)>,
    /// The number of them from which on a sweep is worth it.
    sweep_from: usize,
}

impl Allowances for MemoryStore {
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: TakeSlice,
    ) -> StoreFuture<'a, Slice> {
        self.later(move |tables| {
            let now = self.microseconds();
            tables.ledgers.sweep(now);
            let (ledger, over_at) = tables.ledgers.by_key.entry(key.clone()).or_default();
            let slice = ledger.take(now, &take);
            *over_at = ledger.over_at(take.window);
            slice
        })
    }

    fn give_back_allowances(
        &self,
        window: Duration,
        reports: Vec<(AllowanceKey, SliceReport)>,
    ) -> StoreFuture<'_, ()> {
        self.later(move |tables| {
            let now = self.microseconds();
            for (key, report) in reports {
                if let Some((ledger, over_at)) = tables.ledgers.by_key.get_mut(&key) {
                    ledger.give_back(now, window, &report);
                    *over_at = ledger.over_at(window);
                }
            }
        })
    }
}

impl MemoryStore {
    /// Tells how long it has been there. That is never set back.
    fn microseconds(&self) -> i64 {
        i64::try_from(self.made_at.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Ledgers {
    fn sweep(&mut self, now: i64) {
        if self.by_key.len() >= self.sweep_from.max(UNSWEPT) {
            self.by_key.retain(|_, (_, over_at)| *over_at > now);
            self.sweep_from = self.by_key.len().saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_are_gone_are_forgotten() {
        let store = MemoryStore::new();
        let take = TakeSlice::new(NonZeroU32::MIN, Duration::from_secs(60));
        for n in 0..10_000 {
            let key = AllowanceKey::ClientSession(format!("cksess_{n}").into());
            assert_eq!(store.take_allowance(&key, take.clone()).await.unwrap().granted, 1);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let kept = store.tables().ledgers.by_key.len();
        assert!(kept <= UNSWEPT, "{kept}");
    }
}
