//! What a store remembers of a key.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Slice, SliceId, SliceReport, TakeSlice, lifetime, moment};

/// By how much a clock may differ from what it was: what is earlier by no more happens at the same
/// time, and what is earlier by more tells that the clock was set back.
const CLOCK_TOLERANCE: i64 = 5_000_000;

/// The slices of one key that are out, and the requests of those that were reported, for stores that keep it
/// as a whole: in memory, or as text (it is [`Serialize`]).
///
/// Times are microseconds of a clock of the store's own, since whenever. If that is set back,
/// no time has passed since it was last asked. If it is set forward, nobody can tell, and the limit doesn't
/// hold for that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The latest time that it was told.
    seen: i64,
    /// The last id that was given to a slice.
    last: i64,
    out: Vec<SliceOut>,
    /// By their last moments, which ascend.
    used: Vec<(i64, u32)>,
}

/// A slice that somebody may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SliceOut {
    id: SliceId,
    granted_at: i64,
    requests: u32,
}

impl Ledger {
    /// Applies the reports and grants a slice of what there is.
    pub fn take(&mut self, now: i64, take: &TakeSlice) -> Slice {
        let now = self.begin(now, take.window);
        for report in &take.reports {
            self.apply(report, take.window);
        }
        let taken = self.taken();
        let free = u64::from(take.limit.get()).saturating_sub(taken);
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        let granted = take.want.get().min(free);
        let mut id = SliceId(self.last);
        if granted > 0 {
            self.last = now.max(self.last.saturating_add(1));
            id = SliceId(self.last);
            self.out.push(SliceOut { id, granted_at: now, requests: granted });
        }
        let left = free - granted;
        let wait = if left > 0 { Duration::ZERO } else { self.wait(now, take.limit, take.window) };
        Slice { id, granted, left, wait }
    }

    /// Applies a report, if the slice is out.
    pub fn give_back(&mut self, now: i64, window: Duration, report: &SliceReport) {
        self.begin(now, window);
        self.apply(report, window);
    }

    /// Tells from when on it is of no more use than none.
    pub fn over_at(&self, window: Duration) -> i64 {
        self.ends(window).map(|(end, _)| end).max().unwrap_or(i64::MIN)
    }

    /// Gives what the time is taken for, and forgets what counts no more.
    fn begin(&mut self, now: i64, window: Duration) -> i64 {
        let ahead = self.seen.saturating_sub(now);
        let now = if self.out.is_empty() && self.used.is_empty() {
            now
        } else if ahead > CLOCK_TOLERANCE {
            for slice in &mut self.out {
                slice.granted_at = slice.granted_at.saturating_sub(ahead);
            }
            for (last, _) in &mut self.used {
                *last = last.saturating_sub(ahead);
            }
            now
        } else {
            now.max(self.seen)
        };
        self.seen = now;
        let (window, life) = (micros(window), micros(lifetime(window)));
        let counts = |last: i64| last.saturating_add(window) > now;
        self.out.retain(|slice| counts(slice.granted_at.saturating_add(life)));
        self.used.retain(|(last, _)| counts(*last));
        now
    }

    fn apply(&mut self, report: &SliceReport, window: Duration) {
        let Some(at) = self.out.iter().position(|slice| slice.id == report.slice) else { return };
        let SliceOut { granted_at, requests: mut left, .. } = self.out.swap_remove(at);
        let life = micros(lifetime(window));
        for used in &report.used {
            let requests = used.requests.min(left);
            left -= requests;
            let last = granted_at.saturating_add(micros(used.after).min(life));
            self.add_used(last, requests, window);
        }
        left = left.saturating_sub(report.given_back);
        self.add_used(granted_at.saturating_add(life), left, window);
    }

    fn add_used(&mut self, last: i64, requests: u32, window: Duration) {
        if requests == 0 {
            return;
        }
        let moment = micros(moment(window)).max(1);
        let beyond = last.rem_euclid(moment);
        let last = if beyond == 0 { last } else { last.saturating_add(moment - beyond) };
        let at = self.used.partition_point(|(other, _)| *other < last);
        match self.used.get_mut(at) {
            Some((other, count)) if *other == last => *count = count.saturating_add(requests),
            _ => self.used.insert(at, (last, requests)),
        }
    }

    fn taken(&self) -> u64 {
        let out = self.out.iter().map(|slice| u64::from(slice.requests));
        out.chain(self.used.iter().map(|(_, requests)| u64::from(*requests))).sum()
    }

    /// Gives when requests count no more, and how many, in no order.
    fn ends(&self, window: Duration) -> impl Iterator<Item = (i64, u32)> {
        let life = micros(lifetime(window));
        let out = self.out.iter().map(move |slice| {
            let last = slice.granted_at.saturating_add(life);
            (last, slice.requests)
        });
        let window = micros(window);
        let last = out.chain(self.used.iter().copied());
        last.map(move |(last, requests)| (last.saturating_add(window), requests))
    }

    /// Tells how long it takes until one more could be granted.
    fn wait(&self, now: i64, limit: NonZeroU32, window: Duration) -> Duration {
        let mut ends: Vec<_> = self.ends(window).collect();
        ends.sort_unstable();
        let mut taken = self.taken();
        for (end, requests) in ends {
            taken = taken.saturating_sub(u64::from(requests));
            if taken < u64::from(limit.get()) {
                return Duration::from_micros(u64::try_from(end - now).unwrap_or(0));
            }
        }
        Duration::ZERO
    }
}

/// Rounds up.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::UsedAt;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn want(want: u32, limit: u32) -> TakeSlice {
        let [want, limit] = [want, limit].map(|count| NonZeroU32::new(count).unwrap());
        TakeSlice { want, ..TakeSlice::new(limit, MINUTE) }
    }

    fn s(seconds: i64) -> i64 {
        seconds * 1_000_000
    }

    fn report(slice: Slice, used: &[(u64, u32)], given_back: u32) -> SliceReport {
        let used = used
            .iter()
            .map(|(seconds, requests)| UsedAt {
                after: Duration::from_secs(*seconds),
                requests: *requests,
            })
            .collect();
        SliceReport { slice: slice.id, used, given_back }
    }

    #[test]
    fn a_slice_is_a_tenth_and_at_least_one() {
        for (limit, slice) in [(1, 1), (9, 1), (10, 1), (30, 3), (39, 3), (1000, 100)] {
            let take = TakeSlice::new(NonZeroU32::new(limit).unwrap(), MINUTE);
            assert_eq!((take.want.get(), take.lifetime().as_secs()), (slice, 6));
        }
    }

    #[test]
    fn what_nobody_reports_counts_from_the_end_of_its_slice() {
        let mut ledger = Ledger::default();
        let first = ledger.take(s(0), &want(3, 5));
        assert_eq!((first.granted, first.left, first.wait), (3, 2, Duration::ZERO));
        let second = ledger.take(s(1), &want(3, 5));
        assert_eq!((second.granted, second.left, second.wait.as_secs()), (2, 0, 65));
        assert_ne!(first.id, second.id);
        for (at, wait) in [(1, 65), (2, 64), (65, 1)] {
            let none = ledger.take(s(at), &want(3, 5));
            assert_eq!((none.granted, none.left, none.wait.as_secs()), (0, 0, wait));
        }
        assert_eq!(ledger.over_at(MINUTE), s(67));
        let third = ledger.take(s(66), &want(9, 5));
        assert_eq!((third.granted, third.left), (3, 0));
    }

    #[test]
    fn what_is_reported_counts_from_when_it_was_and_what_is_given_back_is_there() {
        let mut ledger = Ledger::default();
        let slice = ledger.take(s(10), &want(5, 5));
        let take = TakeSlice { reports: vec![report(slice, &[(0, 1), (2, 2)], 1)], ..want(2, 5) };
        // One was given back, and one is not told of.
        let next = ledger.take(s(13), &take);
        assert_eq!((next.granted, next.left, next.wait.as_secs()), (1, 0, 57));
        // Again, it changes nothing.
        assert_eq!(ledger.take(s(13), &take).granted, 0);
        ledger.give_back(s(13), MINUTE, &report(slice, &[], 5));
        for (at, free) in [(69, 0), (70, 1), (71, 1), (72, 3), (75, 3), (76, 4), (78, 4), (79, 5)] {
            assert_eq!(ledger.clone().take(s(at), &want(5, 5)).granted, free, "{at}");
        }
    }

    #[test]
    fn a_report_is_believed_for_no_more_than_was_granted() {
        let mut ledger = Ledger::default();
        let slice = ledger.take(s(0), &want(3, 5));
        let stranger = SliceReport { slice: SliceId(slice.id.0 + 1), ..report(slice, &[], 3) };
        let lies = [stranger, report(slice, &[(99, 2), (0, 9)], u32::MAX)];
        let take = TakeSlice { reports: lies.into(), ..want(5, 5) };
        assert_eq!(ledger.take(s(1), &take).granted, 2);
        assert_eq!(ledger.take(s(60), &want(5, 5)).granted, 1);
        assert_eq!(ledger.take(s(66), &want(5, 5)).granted, 2);
    }

    #[test]
    fn no_time_passes_by_a_clock_that_is_set_back() {
        let mut ledger = Ledger::default();
        let slice = ledger.take(s(10_000), &want(3, 5));
        ledger.give_back(s(10_001), MINUTE, &report(slice, &[(1, 3)], 0));
        // By a little: others' clocks may be so.
        assert_eq!(ledger.take(s(9_999), &want(2, 5)).granted, 2);
        assert_eq!(ledger.take(s(10_060), &want(5, 5)).granted, 0);
        // By much.
        assert_eq!(ledger.take(s(500), &want(5, 5)).wait.as_secs(), 1);
        assert_eq!(ledger.take(s(501), &want(5, 5)).granted, 3);
        assert_eq!(ledger.take(s(506), &want(5, 5)).granted, 0);
        assert_eq!(ledger.take(s(507), &want(5, 5)).granted, 2);
        assert_eq!(Ledger::default().take(i64::MIN, &want(5, 5)).granted, 5);
    }

    #[test]
    fn a_limit_that_is_lowered_waits_until_there_is_room_under_it() {
        let mut ledger = Ledger::default();
        for at in 0..5 {
            let slice = ledger.take(s(at), &want(1, 5));
            ledger.give_back(s(at), MINUTE, &report(slice, &[(0, 1)], 0));
        }
        let refused = ledger.take(s(5), &want(1, 2));
        assert_eq!((refused.granted, refused.left, refused.wait.as_secs()), (0, 0, 58));
        assert_eq!(ledger.take(s(63), &want(2, 2)).granted, 1);
    }

    #[test]
    fn it_stays_small_and_is_kept_as_text() {
        let mut ledger = Ledger::default();
        for at in 0..2_000_000 {
            let slice = ledger.take(at * 100, &want(1, u32::MAX));
            ledger.give_back(at * 100, MINUTE, &report(slice, &[(3, 1)], 0));
        }
        assert!(ledger.used.len() <= 70 && ledger.out.is_empty(), "{}", ledger.used.len());
        ledger.take(s(200), &want(1, u32::MAX));
        let text = serde_json::to_string(&ledger).unwrap();
        assert!(text.len() < 2000, "{text}");
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
