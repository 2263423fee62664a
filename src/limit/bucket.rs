//! A token bucket per user.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::principal::UserId;

/// The least time between two sweeps. A sweep looks at every bucket.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Up to so many buckets nobody sweeps.
const UNSWEPT: usize = 1024;

/// Buckets that refill within a minute, for a bounded number of users.
///
/// A full bucket is the same as none, so full ones are swept out: when the number of buckets
/// has doubled since the last sweep, or is at its bound, and never more than once a second.
/// That makes the cost of sweeping a constant per new user, and a flood of users at the bound
/// no more than one sweep a second.
#[derive(Debug)]
pub(super) struct Buckets {
    limiter: RateLimiter<UserId, Store, TokioClock, StateInformationMiddleware>,
    store: Store,
    clock: TokioClock,
    max_users: usize,
    /// The number of buckets from which on a sweep is worth it, at most `max_users`.
    sweep_from: AtomicUsize,
    /// The earliest time of the next sweep, in nanoseconds of `clock`.
    next_sweep: AtomicU64,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on, and then have this many requests left.
    Allowed { remaining: u32 },
    /// Come back after this time.
    Denied { wait: Duration },
    /// There are as many other users as may be.
    Full,
}

impl Buckets {
    pub(super) fn new(per_minute: NonZeroU32, max_users: usize) -> Self {
        let store = Store::default();
        let clock = TokioClock { origin: Instant::now() };
        let quota = Quota::per_minute(per_minute);
        Self {
            limiter: RateLimiter::new(quota, store.clone(), clock),
            store,
            clock,
            max_users,
            sweep_from: AtomicUsize::new(UNSWEPT.min(max_users)),
            next_sweep: AtomicU64::new(0),
        }
    }

    pub(super) fn take(&self, user: &UserId) -> Verdict {
        // Two threads may find room for the same last bucket: the bound is exceeded by at most
        // the number of threads.
        if !self.store.0.contains_key(user) && !self.has_room() {
            return Verdict::Full;
        }
        match self.limiter.check_key(user) {
            Ok(state) => Verdict::Allowed { remaining: state.remaining_burst_capacity() },
            Err(denied) => Verdict::Denied { wait: denied.wait_time_from(self.clock.now()) },
        }
    }

    /// How many users have a bucket that is not known to be full.
    pub(super) fn users(&self) -> usize {
        self.store.0.len()
    }

    fn has_room(&self) -> bool {
        let users = self.users();
        if users < self.sweep_from.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.clock.now().as_u64();
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(SWEEP_INTERVAL));
        let mine = now >= due
            && self
                .next_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            return users < self.max_users;
        }
        self.limiter.retain_recent();
        let left = self.users();
        let sweep_from = left.saturating_mul(2).max(UNSWEPT).min(self.max_users);
        self.sweep_from.store(sweep_from, Ordering::Relaxed);
        left < self.max_users
    }
}

/// tokio's clock, which tests can pause. It is the monotonic clock everywhere else.
#[derive(Clone, Copy, Debug)]
struct TokioClock {
    origin: Instant,
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(nanos(self.origin.elapsed()))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// governor's map, shared so that its keys can be asked for.
#[derive(Clone, Debug, Default)]
struct Store(Arc<DashMapStateStore<UserId>>);

impl StateStore for Store {
    type Key = UserId;

    fn measure_and_replace<T, F, E>(&self, user: &UserId, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(user, f)
    }
}

impl ShrinkableKeyedStateStore<UserId> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(per_minute: u32, max_users: usize) -> Buckets {
        Buckets::new(NonZeroU32::new(per_minute).unwrap(), max_users)
    }

    fn user(id: impl std::fmt::Display) -> UserId {
        UserId::parse(&id.to_string()).unwrap()
    }

    async fn pass(seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_then_one_by_one() {
        let buckets = buckets(30, 10);
        let ada = user("ada");
        for remaining in (0..30).rev() {
            assert_eq!(buckets.take(&ada), Verdict::Allowed { remaining });
        }
        assert_eq!(buckets.take(&ada), Verdict::Denied { wait: Duration::from_secs(2) });
        pass(0.5).await;
        // What was refused costs nothing.
        assert_eq!(buckets.take(&ada), Verdict::Denied { wait: Duration::from_millis(1500) });
        pass(1.5).await;
        assert_eq!(buckets.take(&ada), Verdict::Allowed { remaining: 0 });
        assert_eq!(buckets.take(&ada), Verdict::Denied { wait: Duration::from_secs(2) });
        // Somebody else has a bucket of their own.
        assert_eq!(buckets.take(&user("eve")), Verdict::Allowed { remaining: 29 });
        pass(61.0).await;
        assert_eq!(buckets.take(&ada), Verdict::Allowed { remaining: 29 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_users_is_bounded_and_does_not_lock_out_those_who_are_in() {
        let buckets = buckets(60, 100);
        for id in 0..100 {
            assert_eq!(buckets.take(&user(id)), Verdict::Allowed { remaining: 59 });
        }
        for id in 100..10_000 {
            assert_eq!(buckets.take(&user(id)), Verdict::Full);
        }
        assert_eq!(buckets.users(), 100);
        assert_eq!(buckets.take(&user(5)), Verdict::Allowed { remaining: 58 });

        // After a while those who have nothing owing make room; user 5 is still known.
        pass(2.5).await;
        assert_eq!(buckets.take(&user(5)), Verdict::Allowed { remaining: 59 });
        assert_eq!(buckets.take(&user("new")), Verdict::Allowed { remaining: 59 });
        assert_eq!(buckets.users(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_bound_there_is_one_sweep_a_second() {
        let buckets = buckets(60, 1);
        let sweep_due = || buckets.next_sweep.load(Ordering::Relaxed);
        assert_eq!(buckets.take(&user(0)), Verdict::Allowed { remaining: 59 });
        assert_eq!(sweep_due(), 0);
        assert_eq!(buckets.take(&user(1)), Verdict::Full);
        let first = sweep_due();
        assert_ne!(first, 0);
        for id in 2..1000 {
            assert_eq!(buckets.take(&user(id)), Verdict::Full);
        }
        assert_eq!(sweep_due(), first);
        pass(1.0).await;
        assert_eq!(buckets.take(&user(1)), Verdict::Full);
        assert!(sweep_due() > first);
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_swept_out_long_before_the_bound() {
        let buckets = buckets(60, 1_000_000);
        for id in 0..10_000 {
            buckets.take(&user(id));
            pass(0.01).await;
        }
        // A bucket is not full for a second, and is kept for another one: about 200 are needed.
        assert!(buckets.users() <= UNSWEPT + 200, "{}", buckets.users());
    }
}
