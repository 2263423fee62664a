//! Who may ask the upstream now, and what becomes of it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tracing::{info, warn};

use super::breaker::{Breaker, Change, Outcome, Pass};
use super::places::Places;
use super::retry::{RetryBudget, draw};
use super::{ForwardError, ForwardErrorKind, UpstreamUrl};

/// What all exchanges with one upstream pass: its places and its breaker, where it has any, and what
/// they may retry.
#[derive(Debug)]
pub(super) struct Guard {
    /// The field by which users are told apart.
    user_header: Option<HeaderName>,
    hasher: RandomState,
    places: Option<Places>,
    breaker: Option<SharedBreaker>,
    budget: RetryBudget,
}

/// A breaker that many use. It is asked only while it isn't closed.
#[derive(Debug)]
pub(super) struct SharedBreaker {
    url: UpstreamUrl,
    /// The breaker's.
    epoch: AtomicU32,
    breaker: Mutex<Breaker>,
}

/// After how long without a byte whoever leaves does so because of the upstream.
const HANGS: Duration = Duration::from_secs(5);

/// One exchange that was let in. Dropping it gives its place back; an outcome that isn't told is
/// unclear, unless nothing came for long.
#[derive(Debug)]
pub(super) struct Admission {
    guard: Arc<Guard>,
    user: u64,
    /// `None` once it is judged, and where nobody judges.
    pass: Option<Pass>,
    /// Since when nothing has come; `None` once something has, and where nobody judges.
    silent_since: Option<Instant>,
    has_place: bool,
}

impl Guard {
    pub(super) fn new(
        user_header: Option<HeaderName>,
        places: Option<Places>,
        breaker: Option<SharedBreaker>,
    ) -> Arc<Self> {
        let (hasher, budget) = (RandomState::new(), RetryBudget::new(Instant::now()));
        Arc::new(Self { user_header, hasher, places, breaker, budget })
    }

    /// Gives what a request's user is known by here.
    pub(super) fn user(&self, headers: &HeaderMap) -> u64 {
        let user = self.user_header.as_ref().and_then(|name| headers.get(name));
        user.map_or(0, |user| self.hasher.hash_one(user.as_bytes()))
    }

    /// Waits until an exchange of `user` may begin.
    ///
    /// # Errors
    /// [`Crowded`](ForwardErrorKind::Crowded) if there is no place, [`BreakerOpen`] while the
    /// upstream is left in peace.
    ///
    /// [`BreakerOpen`]: ForwardErrorKind::BreakerOpen
    pub(super) async fn enter(self: &Arc<Self>, user: u64) -> Result<Admission, ForwardError> {
        let has_place = match &self.places {
            None => false,
            Some(places) => {
                if !places.try_take() {
                    // Nobody waits for what isn't let through then.
                    self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.check(user))?;
                    Box::pin(places.take(user)).await?;
                }
                true
            }
        };
        let guard = Arc::clone(self);
        let mut admission = Admission { guard, user, pass: None, silent_since: None, has_place };
        if let Some(breaker) = &self.breaker {
            admission.pass = Some(breaker.admit(user)?);
            admission.silent_since = Some(Instant::now());
        }
        // What is refused earns no retry.
        self.budget.deposit();
        Ok(admission)
    }

    /// Tells whether `user` would be refused now, and why.
    #[cfg(feature = "openai")]
    pub(super) fn check(&self, user: u64) -> Result<(), ForwardError> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.check(user))?;
        self.places.as_ref().map_or(Ok(()), Places::check)
    }

    /// Takes one of the retries that all requests have together.
    pub(super) fn may_retry(&self) -> bool {
        self.budget.withdraw(Instant::now())
    }

    /// Tells whether the upstream failed so often that it is left in peace, or only tried.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.free_pass().is_none())
    }
}

impl SharedBreaker {
    /// Makes one for the upstream at `url`.
    pub(super) fn new(url: UpstreamUrl) -> Self {
        let breaker = Breaker::new(Instant::now(), draw);
        Self { url, epoch: breaker.epoch().into(), breaker: Mutex::new(breaker) }
    }

    fn free_pass(&self) -> Option<Pass> {
        Breaker::pass_of(self.epoch.load(Ordering::Relaxed))
    }

    fn check(&self, user: u64) -> Result<(), ForwardError> {
        if self.free_pass().is_some() {
            return Ok(());
        }
        self.lock().wait(user, Instant::now()).map_or(Ok(()), |wait| Err(open(wait)))
    }

    fn admit(&self, user: u64) -> Result<Pass, ForwardError> {
        if let Some(pass) = self.free_pass() {
            return Ok(pass);
        }
        let pass = self.lock().admit(user, Instant::now()).map_err(open)?;
        if pass.is_probe() {
            info!(url = %self.url, "the upstream is tried with one request");
        }
        Ok(pass)
    }

    fn judge(&self, pass: Pass, user: u64, outcome: Outcome) {
        let change = {
            let mut breaker = self.lock();
            let change = breaker.judge(pass, user, outcome, Instant::now());
            // Within the lock, so that the latest epoch is the one that stays.
            self.epoch.store(breaker.epoch(), Ordering::Relaxed);
            change
        };
        let url = &self.url;
        match change {
            None => {}
            Some(Change::Opened { failed, judged, users }) => {
                warn!(%url, failed, of = judged, users, "the upstream fails, and is left in peace");
            }
            Some(Change::StillOpen(peace)) => {
                let seconds = peace.as_secs();
                warn!(%url, seconds, "the upstream still fails, and is left in peace");
            }
            Some(Change::Closed) => info!(%url, "the upstream answers again"),
        }
    }

    /// Nothing panics while it is locked, so it is right even if it is poisoned.
    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(wait: Duration) -> ForwardError {
    ForwardError::new(ForwardErrorKind::BreakerOpen).retry_after(wait)
}

impl Admission {
    /// Notes what became of it; only the first time counts.
    pub(super) fn judge(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take()
            && let Some(breaker) = &self.guard.breaker
            && (outcome != Outcome::Unclear || pass.is_probe())
        {
            breaker.judge(pass, self.user, outcome);
        }
    }
}

impl Admission {
    /// Notes that a byte of the answer's body has come.
    pub(super) fn note_byte(&mut self) {
        self.silent_since = None;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.pass.is_some() {
            let hangs = self.silent_since.is_some_and(|since| since.elapsed() >= HANGS);
            self.judge(if hangs { Outcome::Failed } else { Outcome::Unclear });
        }
        if self.has_place
            && let Some(places) = &self.guard.places
        {
            places.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(max: usize) -> Arc<Guard> {
        let url = UpstreamUrl::parse("http://127.0.0.1:1/").unwrap();
        let places = Places::new(max, 1, 1, Duration::from_secs(1));
        Guard::new(None, Some(places), Some(SharedBreaker::new(url)))
    }

    async fn fail(guard: &Arc<Guard>) {
        for user in 0..50 {
            match guard.enter(user).await {
                Ok(mut admission) => admission.judge(Outcome::Failed),
                Err(refused) => assert_eq!(refused.kind(), ForwardErrorKind::BreakerOpen),
            }
        }
        assert!(guard.is_open());
    }

    fn free(guard: &Guard) -> (usize, usize) {
        guard.places.as_ref().unwrap().state()
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_back_whatever_happens() {
        let guard = guard(2);
        let mut answered = guard.enter(1).await.unwrap();
        let dropped = guard.enter(1).await.unwrap();
        assert_eq!(free(&guard), (0, 0));
        let crowded = guard.enter(1).await.unwrap_err();
        assert_eq!(crowded.kind(), ForwardErrorKind::Crowded);
        answered.judge(Outcome::Answered);
        drop((answered, dropped));
        assert_eq!(free(&guard), (2, 0));
        fail(&guard).await;
        assert_eq!(guard.enter(1).await.unwrap_err().kind(), ForwardErrorKind::BreakerOpen);
        assert_eq!(free(&guard), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_earns_no_retry() {
        let guard = guard(1);
        fail(&guard).await;
        while guard.may_retry() {}
        for user in 0..100 {
            assert!(guard.enter(user).await.is_err());
        }
        assert!(!guard.may_retry());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_hangs_fails_those_who_leave() {
        for (seconds, begins, is_open) in [(4, false, false), (5, true, false), (5, false, true)] {
            let guard = guard(20);
            let mut under_way = Vec::new();
            for user in 0..20 {
                under_way.push(guard.enter(user % 4).await.unwrap());
            }
            if begins {
                under_way.iter_mut().for_each(Admission::note_byte);
            }
            tokio::time::advance(Duration::from_secs(seconds)).await;
            drop(under_way);
            assert_eq!(guard.is_open(), is_open, "{seconds} s, {begins}");
        }
        // One user by themselves does nothing.
        let guard = guard(20);
        for _ in 0..20 {
            let _left = guard.enter(1).await.unwrap();
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert!(!guard.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_is_left_in_peace() {
        let guard = guard(1);
        fail(&guard).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        let probe = guard.enter(1).await.unwrap();
        let begun = Instant::now();
        assert_eq!(guard.enter(2).await.unwrap_err().kind(), ForwardErrorKind::BreakerOpen);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // A probe that is given up lets the next one try.
        drop(probe);
        let mut probe = guard.enter(2).await.unwrap();
        probe.judge(Outcome::Answered);
        assert!(!guard.is_open());
    }
}
