//! When a key set is asked for, and until when it counts. Time is given to it.

use std::time::Duration;

use tokio::time::Instant;

/// How long a set is fresh whose answer doesn't say.
const FRESH_FOR: Duration = Duration::from_secs(60 * 60);

/// The least and the most that its answer can say (`Cache-Control: max-age`).
const FRESH_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(5 * 60), Duration::from_secs(24 * 60 * 60));

/// How long a set counts that is no longer fresh, while it can't be fetched.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// How far apart two fetches for tokens of unknown keys are.
const BETWEEN_UNKNOWN: Duration = Duration::from_secs(60);

/// The longest pause after a fetch that failed. The first is a second, and each twice the one before.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What was fetched and when, and what is to be done next.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    fetched: Option<Fetched>,
    /// The fetches that failed since.
    failed: Option<Failed>,
    asked_for_unknown: Option<Instant>,
    in_flight: bool,
}

#[derive(Debug)]
struct Fetched {
    at: Instant,
    fresh_for: Duration,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    times: u32,
}

/// Whether the keys that are there count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They do.
    Use,
    /// They do, and newer ones are to be fetched beside.
    UseAndFetch,
    /// There are none, or they are too old: the fetch that is under way has to be waited for.
    Wait,
    /// The same, and it has yet to begin.
    FetchAndWait,
    /// The same, and there was one that failed just now.
    Unavailable,
}

/// What to do about a token whose key is not among those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownStep {
    /// Wait for the fetch that is under way.
    Wait,
    /// Begin one, and wait for it.
    FetchAndWait,
    /// Keys were looked for lately, at `at`: what has come to the set since is seen in `again_in`.
    LookedLately { at: Instant, again_in: Duration },
    /// It can't be looked for.
    Unavailable,
}

impl Schedule {
    /// Says what to do for a token, by what is there.
    pub(super) fn step(&self, now: Instant) -> Step {
        if let Some(Fetched { at, fresh_for }) = self.fetched {
            let age = now.saturating_duration_since(at);
            // Old keys count where others can't be had, and that has to be seen first.
            let is_outage =
                || self.failed_within(now, 2 * MAX_PAUSE) && age < fresh_for + MAX_STALE;
            // A fifth of its time is left then, which no fetch takes: nobody has to wait.
            if age < fresh_for / 5 * 4 {
                return Step::Use;
            }
            if age < fresh_for || is_outage() {
                return if self.may_fetch(now) { Step::UseAndFetch } else { Step::Use };
            }
        }
        match () {
            () if self.in_flight => Step::Wait,
            () if self.may_fetch(now) => Step::FetchAndWait,
            () => Step::Unavailable,
        }
    }

    /// Says what to do for a token of a key that is not there.
    pub(super) fn step_for_unknown(&self, now: Instant) -> UnknownStep {
        let lately = self.asked_for_unknown.and_then(|at| {
            let again_in = BETWEEN_UNKNOWN.saturating_sub(now.saturating_duration_since(at));
            (!again_in.is_zero()).then_some(UnknownStep::LookedLately { at, again_in })
        });
        match lately {
            _ if self.in_flight => UnknownStep::Wait,
            None if self.may_fetch(now) => UnknownStep::FetchAndWait,
            Some(lately) if self.failed.is_none() => lately,
            None | Some(_) => UnknownStep::Unavailable,
        }
    }

    /// Notes that a fetch begins.
    pub(super) fn begin(&mut self, now: Instant, for_unknown: bool) {
        self.in_flight = true;
        if for_unknown {
            self.asked_for_unknown = Some(now);
        }
    }

    /// Notes that the fetch that began at `begun` gave keys, which say how long they are fresh.
    pub(super) fn succeed(&mut self, begun: Instant, max_age: Option<Duration>) {
        let (least, most) = FRESH_BOUNDS;
        let fresh_for = max_age.unwrap_or(FRESH_FOR).clamp(least, most);
        self.fetched = Some(Fetched { at: begun, fresh_for });
        self.failed = None;
        self.in_flight = false;
    }

    /// Notes that it failed. What was there before is still there.
    pub(super) fn fail(&mut self, now: Instant) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
        self.failed = Some(Failed { at: now, times });
        self.in_flight = false;
    }

    /// Notes that it gave a set without a key that can be used: what was there before no longer is.
    pub(super) fn empty(&mut self, now: Instant) {
        self.fail(now);
        self.fetched = None;
    }

    /// Tells whether the latest fetch failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failed.is_some()
    }

    /// Tells how long what is there still counts if nothing else comes.
    pub(super) fn counts_for(&self, now: Instant) -> Duration {
        self.fetched.as_ref().map_or(Duration::ZERO, |Fetched { at, fresh_for }| {
            (*fresh_for + MAX_STALE).saturating_sub(now.saturating_duration_since(*at))
        })
    }

    fn may_fetch(&self, now: Instant) -> bool {
        let is_pause = |failed: &Failed| {
            let pause = Duration::from_secs(1 << failed.times.saturating_sub(1).min(16));
            now.saturating_duration_since(failed.at) < pause.min(MAX_PAUSE)
        };
        !self.in_flight && !self.failed.as_ref().is_some_and(is_pause)
    }

    fn failed_within(&self, now: Instant, time: Duration) -> bool {
        self.failed.as_ref().is_some_and(|it| now.saturating_duration_since(it.at) < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn fetched(start: Instant, max_age: Option<Duration>) -> Schedule {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.step(start), Step::FetchAndWait);
        schedule.begin(start, false);
        assert_eq!(schedule.step(start), Step::Wait);
        schedule.succeed(start, max_age);
        schedule
    }

    #[test]
    fn a_set_is_fetched_anew_before_it_is_old() {
        let start = Instant::now();
        for (max_age, fresh_for) in [
            (None, HOUR),
            (Some(HOUR / 2), HOUR / 2),
            (Some(Duration::ZERO), 5 * MINUTE),
            (Some(365 * 24 * HOUR), 24 * HOUR),
            (Some(Duration::MAX), 24 * HOUR),
        ] {
            let mut schedule = fetched(start, max_age);
            let ahead = start + fresh_for / 5 * 4;
            assert_eq!(schedule.step(ahead - SECOND), Step::Use);
            assert_eq!(schedule.step(ahead), Step::UseAndFetch);
            // Nobody used it meanwhile: that it has not been withdrawn has to be seen first.
            assert_eq!(schedule.step(start + fresh_for), Step::FetchAndWait);
            schedule.begin(ahead, false);
            assert_eq!(schedule.step(start + fresh_for - SECOND), Step::Use);
            assert_eq!(schedule.step(start + fresh_for), Step::Wait);
        }
    }

    #[test]
    fn an_outage_is_outlived_for_a_day() {
        let start = Instant::now();
        let mut schedule = fetched(start, None);
        let mut now = start + HOUR / 5 * 4;
        let mut fetches = 0;
        while now < start + 25 * HOUR {
            match schedule.step(now) {
                Step::Use => {}
                Step::UseAndFetch => {
                    schedule.begin(now, false);
                    schedule.fail(now);
                    fetches += 1;
                }
                step => panic!("{step:?}"),
            }
            now += SECOND;
        }
        // Six in the first minute, and then one each.
        assert!((1440..1470).contains(&fetches), "{fetches}");
        assert!(matches!(schedule.step(now), Step::Unavailable | Step::FetchAndWait));
        now += MINUTE;
        assert_eq!(schedule.step(now), Step::FetchAndWait);
        schedule.begin(now, false);
        schedule.succeed(now, None);
        assert_eq!(schedule.step(now), Step::Use);
        // A failure of long ago is no outage.
        let mut schedule = fetched(start, None);
        schedule.fail(start + HOUR);
        assert_eq!(schedule.step(start + HOUR), Step::Use);
        assert_eq!(schedule.step(start + 3 * HOUR), Step::FetchAndWait);
    }

    #[test]
    fn unknown_keys_cost_one_fetch_a_minute() {
        let start = Instant::now();
        let mut schedule = fetched(start, None);
        let mut fetches = 0;
        for second in 0..600 {
            let now = start + second * SECOND;
            for _ in 0..100 {
                match schedule.step_for_unknown(now) {
                    UnknownStep::FetchAndWait => {
                        schedule.begin(now, true);
                        assert_eq!(schedule.step_for_unknown(now), UnknownStep::Wait);
                        schedule.succeed(now, None);
                        fetches += 1;
                    }
                    UnknownStep::LookedLately { at, again_in } => {
                        assert_eq!(at + MINUTE, start + fetches * MINUTE);
                        assert_eq!(now + again_in, at + MINUTE);
                    }
                    step => panic!("{step:?}"),
                }
            }
        }
        assert_eq!(fetches, 10);
        // In an outage as well, and then nobody is told that the key is unknown.
        let later = start + HOUR / 2;
        schedule.begin(later, true);
        schedule.fail(later);
        for second in 0..60 {
            let now = later + second * SECOND;
            assert_eq!(schedule.step_for_unknown(now), UnknownStep::Unavailable);
            assert_eq!(schedule.step(now), Step::Use);
        }
        assert_eq!(schedule.step_for_unknown(later + MINUTE), UnknownStep::FetchAndWait);
    }

    #[test]
    fn without_any_key_a_fetch_is_tried_with_pauses() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        let mut tried = Vec::new();
        for second in 0..200 {
            let now = start + second * SECOND;
            if schedule.step(now) == Step::FetchAndWait {
                schedule.begin(now, false);
                schedule.fail(now);
                tried.push(second);
            }
            assert_eq!(schedule.step(now), Step::Unavailable);
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        // So is a set without a key, and what was there before is not used.
        let mut schedule = fetched(start, None);
        schedule.empty(start);
        assert_eq!(schedule.step(start), Step::Unavailable);
        assert_eq!(schedule.step(start + SECOND), Step::FetchAndWait);
    }
}
