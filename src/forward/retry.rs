//! Trying again to reach an upstream that has read nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often one request tries again.
const MAX_RETRIES: u32 = 2;

/// The longest pause before the first time; each other may be four times as long. At least half of it
/// is waited.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// So many requests allow one retry.
const REQUESTS_PER_RETRY: f64 = 5.0;

/// So many are allowed each second beside those.
const RETRIES_PER_SECOND: f64 = 5.0;

/// So many are saved up at most.
const MAX_SAVED: f64 = 50.0;

/// What all requests to one upstream may retry together: an upstream that is down, or has too much to
/// do, isn't given a multiple of its load.
///
/// A request costs it an addition; the clock is read, and the lock taken, where something failed.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// Requests since the last retry.
    requests: AtomicU32,
    saved: Mutex<Saved>,
}

#[derive(Debug)]
struct Saved {
    retries: f64,
    at: Instant,
}

impl RetryBudget {
    pub(super) fn new(now: Instant) -> Self {
        let saved = Saved { retries: RETRIES_PER_SECOND, at: now };
        Self { requests: AtomicU32::new(0), saved: Mutex::new(saved) }
    }

    /// Notes a request.
    pub(super) fn deposit(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a retry, if there is one.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = f64::from(self.requests.swap(0, Ordering::Relaxed));
        let seconds = now.saturating_duration_since(saved.at).as_secs_f64();
        let earned = requests / REQUESTS_PER_RETRY + seconds * RETRIES_PER_SECOND;
        saved.retries = (saved.retries + earned).min(MAX_SAVED);
        saved.at = now;
        let has_one = saved.retries >= 1.0;
        if has_one {
            saved.retries -= 1.0;
        }
        has_one
    }
}

/// How long one request waits before it tries again.
#[derive(Debug)]
pub(super) struct Pauses {
    left: u32,
    longest: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { left: MAX_RETRIES, longest: FIRST_PAUSE }
    }

    /// Gives the next pause; `None`: it has been tried often enough.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = pause(self.longest, draw());
        self.longest = self.longest.saturating_mul(4);
        Some(pause)
    }
}

/// Gives what lies between half of `longest` and all of it as `drawn` does between 0 and 1, so that
/// those who failed at once don't come back at once.
fn pause(longest: Duration, drawn: f64) -> Duration {
    (longest / 2).saturating_add((longest / 2).mul_f64(drawn))
}

/// Gives a number of 0 to 1.
pub(super) fn draw() -> f64 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    f64::from(u32::from_ne_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn withdraw_all(budget: &RetryBudget, now: Instant) -> usize {
        (0..1000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn retries_are_a_part_of_the_requests_and_a_few_more() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        assert_eq!(withdraw_all(&budget, now), 5);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!(withdraw_all(&budget, now), 20);
        assert_eq!(withdraw_all(&budget, now + 2 * SECOND), 10);
        // It doesn't save up for ever, and a clock that goes back earns nothing.
        assert_eq!(withdraw_all(&budget, now + 3600 * SECOND), 50);
        assert_eq!(withdraw_all(&budget, now), 0);
        (0..100_000).for_each(|_| budget.deposit());
        assert_eq!(withdraw_all(&budget, now), 50);
    }

    #[test]
    fn pauses_grow_and_are_drawn() {
        let mut pauses = Pauses::new();
        for longest in [FIRST_PAUSE, 4 * FIRST_PAUSE] {
            let pause = pauses.next().unwrap();
            assert!((longest / 2..=longest).contains(&pause), "{pause:?}");
        }
        assert_eq!(pauses.next(), None);
        assert_eq!((pause(SECOND, 0.0), pause(SECOND, 1.0)), (SECOND / 2, SECOND));
        assert!((0..100).all(|_| (0.0..=1.0).contains(&draw())));
        assert!((0..100).any(|_| draw() < 0.5) && (0..100).any(|_| draw() > 0.5));
    }
}
