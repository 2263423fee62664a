//! Requests of one client session in a minute.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Verdict;
use crate::principal::Allowance;

/// Within which all requests are given back.
const WINDOW: Duration = Duration::from_secs(60);

/// The least time between two sweeps at the bound. A sweep looks at every bucket.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A bucket for each client session, each of its own size (GCRA), for a bounded number of them.
///
/// A bucket is the moment at which it will be full again; one that is full is the same as none.
#[derive(Debug)]
pub(super) struct Allowances {
    max_sessions: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    full_at: HashMap<Arc<str>, Instant>,
    next_sweep: Instant,
}

impl Allowances {
    pub(super) fn new(max_sessions: usize) -> Self {
        let buckets = Buckets { full_at: HashMap::new(), next_sweep: Instant::now() };
        Self { max_sessions, buckets: Mutex::new(buckets) }
    }

    pub(super) fn take(&self, allowance: &Allowance) -> Verdict {
        let now = Instant::now();
        // No code panics while it holds the lock, so a poisoned one is still consistent.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = buckets.full_at.get_mut(allowance.session()) {
            let (verdict, then) = taken(allowance.requests_per_minute(), *full_at, now);
            *full_at = then;
            return verdict;
        }
        if !buckets.has_room(self.max_sessions, now) {
            return Verdict::Full;
        }
        let (verdict, then) = taken(allowance.requests_per_minute(), now, now);
        buckets.full_at.insert(Arc::clone(allowance.session()), then);
        verdict
    }
}

impl Buckets {
    fn has_room(&mut self, max_sessions: usize, now: Instant) -> bool {
        if self.full_at.len() >= max_sessions && now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < max_sessions
    }
}

/// One request out of a bucket that is full at `full_at`, and when it is full again after that.
fn taken(requests: NonZeroU32, full_at: Instant, now: Instant) -> (Verdict, Instant) {
    let each = WINDOW / requests.get();
    let owing = full_at.saturating_duration_since(now);
    let then = owing + each;
    match then.checked_sub(WINDOW) {
        Some(wait) if !wait.is_zero() => (Verdict::Denied { wait }, full_at),
        _ => {
            let left = WINDOW.saturating_sub(then).as_nanos() / each.as_nanos().max(1);
            let remaining = u32::try_from(left).unwrap_or(u32::MAX);
            (Verdict::Allowed { remaining }, now + then)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(session: &str, requests: u32) -> Allowance {
        Allowance::new(session, NonZeroU32::new(requests).unwrap())
    }

    async fn pass(seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_session_has_a_size_of_its_own() {
        let allowances = Allowances::new(10);
        let (small, large) = (allowance("s", 2), allowance("l", 7));
        for remaining in (0..7).rev() {
            assert_eq!(allowances.take(&large), Verdict::Allowed { remaining });
        }
        assert!(matches!(allowances.take(&large), Verdict::Denied { .. }));
        assert_eq!(allowances.take(&small), Verdict::Allowed { remaining: 1 });
        assert_eq!(allowances.take(&small), Verdict::Allowed { remaining: 0 });
        assert_eq!(allowances.take(&small), Verdict::Denied { wait: Duration::from_secs(30) });
        pass(29.0).await;
        // What was refused costs nothing.
        assert_eq!(allowances.take(&small), Verdict::Denied { wait: Duration::from_secs(1) });
        pass(1.0).await;
        assert_eq!(allowances.take(&small), Verdict::Allowed { remaining: 0 });
        pass(61.0).await;
        assert_eq!(allowances.take(&small), Verdict::Allowed { remaining: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_size_is_no_fault() {
        let allowances = Allowances::new(1);
        let large = allowance("l", u32::MAX);
        assert!(matches!(allowances.take(&large), Verdict::Allowed { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded_and_those_that_owe_nothing_make_room() {
        let allowances = Allowances::new(2);
        for session in ["a", "b"] {
            assert_eq!(
                allowances.take(&allowance(session, 60)),
                Verdict::Allowed { remaining: 59 }
            );
        }
        assert_eq!(allowances.take(&allowance("c", 60)), Verdict::Full);
        assert_eq!(allowances.take(&allowance("a", 60)), Verdict::Allowed { remaining: 58 });
        pass(1.5).await;
        assert_eq!(allowances.take(&allowance("c", 60)), Verdict::Allowed { remaining: 59 });
        assert_eq!(allowances.take(&allowance("d", 60)), Verdict::Full);
    }
}
