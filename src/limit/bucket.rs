//! A token bucket per key.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Within which all requests are given back.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The least time between two sweeps. A sweep looks at every bucket.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Up to so many buckets nobody sweeps.
const UNSWEPT: usize = 1024;

/// Buckets that refill within a minute, each of a size of its own (GCRA), for a bounded number of
/// keys.
///
/// A bucket is the moment at which it will be full again. One that is full is the same as none, so
/// full ones are swept out: when the number of buckets has doubled since the last sweep, or is at
/// its bound, and never more than once a second. That makes the cost of sweeping a constant per
/// new key, and a flood of keys at the bound no more than one sweep a second.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    max_keys: usize,
    kept: Mutex<BucketMap<K>>,
}

#[derive(Debug)]
struct BucketMap<K> {
    full_at: HashMap<K, Instant>,
    /// The number of buckets from which on a sweep is worth it, at most `max_keys`.
    sweep_from: usize,
    next_sweep: Instant,
}

/// What the holder of a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketVerdict {
    /// Go on, and then have this many requests left.
    Allowed { remaining: u32 },
    /// Come back after this time.
    Denied { wait: Duration },
    /// There are as many other keys as may be.
    Full,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    pub(super) fn new(max_keys: usize) -> Self {
        let sweep_from = UNSWEPT.min(max_keys);
        let kept = BucketMap { full_at: HashMap::new(), sweep_from, next_sweep: Instant::now() };
        Self { max_keys, kept: Mutex::new(kept) }
    }

    /// Takes one request out of the bucket of `key`, which holds `per_minute`.
    pub(super) fn take(&self, key: &K, per_minute: NonZeroU32) -> BucketVerdict {
        let now = Instant::now();
        let mut kept = self.kept();
        if let Some(full_at) = kept.full_at.get_mut(key) {
            let (verdict, then) = taken(per_minute, *full_at, now);
            *full_at = then;
            return verdict;
        }
        if !kept.has_room(self.max_keys, now) {
            return BucketVerdict::Full;
        }
        let (verdict, then) = taken(per_minute, now, now);
        kept.full_at.insert(key.clone(), then);
        verdict
    }

    /// Locks what is kept. Nothing panics while it holds the lock, so what is kept is right even if
    /// it is poisoned.
    fn kept(&self) -> MutexGuard<'_, BucketMap<K>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> BucketMap<K> {
    fn has_room(&mut self, max_keys: usize, now: Instant) -> bool {
        if self.full_at.len() >= self.sweep_from && now >= self.next_sweep {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_from = self.full_at.len().saturating_mul(2).max(UNSWEPT).min(max_keys);
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        self.full_at.len() < max_keys
    }
}

/// Takes one request out of a bucket that is full at `full_at`, and when it is full again after
/// that.
fn taken(per_minute: NonZeroU32, full_at: Instant, now: Instant) -> (BucketVerdict, Instant) {
    let each = WINDOW / per_minute.get();
    let owing = full_at.saturating_duration_since(now);
    let then = owing + each;
    match then.checked_sub(WINDOW) {
        Some(wait) if !wait.is_zero() => (BucketVerdict::Denied { wait }, full_at),
        _ => {
            let left = WINDOW.saturating_sub(then).as_nanos() / each.as_nanos().max(1);
            let remaining = u32::try_from(left).unwrap_or(u32::MAX);
            (BucketVerdict::Allowed { remaining }, now + then)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::UserId;

    fn user(id: impl std::fmt::Display) -> UserId {
        UserId::parse(&id.to_string()).unwrap()
    }

    fn of(per_minute: u32) -> NonZeroU32 {
        NonZeroU32::new(per_minute).unwrap()
    }

    async fn pass(seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_then_one_by_one() {
        let buckets = Buckets::new(10);
        let ada = user("ada");
        for remaining in (0..30).rev() {
            assert_eq!(buckets.take(&ada, of(30)), BucketVerdict::Allowed { remaining });
        }
        assert_eq!(
            buckets.take(&ada, of(30)),
            BucketVerdict::Denied { wait: Duration::from_secs(2) }
        );
        pass(0.5).await;
        // What was refused costs nothing.
        let wait = Duration::from_millis(1500);
        assert_eq!(buckets.take(&ada, of(30)), BucketVerdict::Denied { wait });
        pass(1.5).await;
        assert_eq!(buckets.take(&ada, of(30)), BucketVerdict::Allowed { remaining: 0 });
        assert_eq!(
            buckets.take(&ada, of(30)),
            BucketVerdict::Denied { wait: Duration::from_secs(2) }
        );
        // Somebody else has a bucket of their own.
        assert_eq!(buckets.take(&user("eve"), of(30)), BucketVerdict::Allowed { remaining: 29 });
        pass(61.0).await;
        assert_eq!(buckets.take(&ada, of(30)), BucketVerdict::Allowed { remaining: 29 });
    }

    #[tokio::test(start_paused = true)]
    async fn each_bucket_has_a_size_of_its_own() {
        let buckets = Buckets::new(10);
        let (small, large) = (("s", of(2)), ("l", of(7)));
        for remaining in (0..7).rev() {
            assert_eq!(buckets.take(&large.0, large.1), BucketVerdict::Allowed { remaining });
        }
        assert!(matches!(buckets.take(&large.0, large.1), BucketVerdict::Denied { .. }));
        let take = || buckets.take(&small.0, small.1);
        assert_eq!(take(), BucketVerdict::Allowed { remaining: 1 });
        assert_eq!(take(), BucketVerdict::Allowed { remaining: 0 });
        assert_eq!(take(), BucketVerdict::Denied { wait: Duration::from_secs(30) });
        pass(29.0).await;
        assert_eq!(take(), BucketVerdict::Denied { wait: Duration::from_secs(1) });
        pass(1.0).await;
        assert_eq!(take(), BucketVerdict::Allowed { remaining: 0 });
        pass(61.0).await;
        assert_eq!(take(), BucketVerdict::Allowed { remaining: 1 });
        assert!(matches!(buckets.take(&"huge", NonZeroU32::MAX), BucketVerdict::Allowed { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_keys_is_bounded_and_does_not_lock_out_those_that_are_in() {
        let buckets = Buckets::new(100);
        for id in 0..100 {
            assert_eq!(buckets.take(&user(id), of(60)), BucketVerdict::Allowed { remaining: 59 });
        }
        for id in 100..10_000 {
            assert_eq!(buckets.take(&user(id), of(60)), BucketVerdict::Full);
        }
        assert_eq!(buckets.kept().full_at.len(), 100);
        assert_eq!(buckets.take(&user(5), of(60)), BucketVerdict::Allowed { remaining: 58 });

        // After a while those that owe nothing make room; user 5 is still known.
        pass(2.5).await;
        assert_eq!(buckets.take(&user(5), of(60)), BucketVerdict::Allowed { remaining: 59 });
        assert_eq!(buckets.take(&user("new"), of(60)), BucketVerdict::Allowed { remaining: 59 });
        assert_eq!(buckets.kept().full_at.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_bound_there_is_one_sweep_a_second() {
        let buckets = Buckets::new(1);
        let sweep_due = || buckets.kept().next_sweep;
        let start = sweep_due();
        assert_eq!(buckets.take(&user(0), of(60)), BucketVerdict::Allowed { remaining: 59 });
        assert_eq!(sweep_due(), start);
        assert_eq!(buckets.take(&user(1), of(60)), BucketVerdict::Full);
        let first = sweep_due();
        assert!(first > start);
        for id in 2..1000 {
            assert_eq!(buckets.take(&user(id), of(60)), BucketVerdict::Full);
        }
        assert_eq!(sweep_due(), first);
        pass(0.5).await;
        assert_eq!(buckets.take(&user(1), of(60)), BucketVerdict::Full);
        assert_eq!(sweep_due(), first);
        pass(0.5).await;
        assert_eq!(buckets.take(&user(1), of(60)), BucketVerdict::Allowed { remaining: 59 });
        assert!(sweep_due() > first);
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_swept_out_long_before_the_bound() {
        let buckets = Buckets::new(1_000_000);
        for id in 0..10_000 {
            buckets.take(&user(id), of(60));
            pass(0.01).await;
        }
        // A bucket is not full for a second, and is kept for another one: about 200 are needed.
        let kept = buckets.kept().full_at.len();
        assert!(kept <= UNSWEPT + 200, "{kept}");
    }
}
