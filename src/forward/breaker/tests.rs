use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use Outcome::{Answered, Failed, Unclear};

const SECOND: Duration = Duration::from_secs(1);

/// A breaker, and a clock that moves only when told.
struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(now), now }
    }

    fn is_closed(&self) -> bool {
        Breaker::pass_of(self.breaker.epoch()).is_some()
    }

    fn admit(&mut self) -> Result<Pass, Duration> {
        self.breaker.admit(self.now)
    }

    fn judge(&mut self, pass: Pass, user: u64, outcome: Outcome) -> Option<Change> {
        self.breaker.judge(pass, user, outcome, self.now)
    }

    /// Has `user` sent `times` requests, each with this outcome.
    fn send(&mut self, times: u32, user: u64, outcome: Outcome) -> Option<Change> {
        let mut last = None;
        for _ in 0..times {
            let pass = self.admit().unwrap();
            last = self.judge(pass, user, outcome);
        }
        last
    }

    fn open() -> Self {
        let mut bench = Self::new();
        bench.send(9, 1, Failed);
        bench.send(5, 2, Failed);
        assert_eq!(bench.send(5, 3, Failed), None);
        let opened = Change::Opened { failed: 20, judged: 20, users: 4 };
        assert_eq!(bench.send(1, 4, Failed), Some(opened));
        assert!(!bench.is_closed());
        bench
    }
}

#[test]
fn it_opens_when_most_of_enough_fail_for_enough_users() {
    Bench::open();

    // The half that counts is that of all but any one user's.
    let mut half = Bench::new();
    half.send(20, 9, Answered);
    for user in 1..=5 {
        assert_eq!(half.send(5, user, Failed), None, "no more than half fails");
    }
    let one_more = half.send(1, 6, Failed);
    assert_eq!(one_more, Some(Change::Opened { failed: 26, judged: 46, users: 6 }));

    let mut two = Bench::new();
    two.send(1000, 1, Failed);
    assert_eq!(two.send(1000, 2, Failed), None, "two users are too few");
    assert!(two.is_closed());
}

#[test]
fn one_user_shuts_out_nobody() {
    let mut bench = Bench::new();
    // Others have a bad day, too, and are served all the same.
    bench.send(10, 2, Answered);
    bench.send(1, 3, Failed);
    bench.send(1, 4, Failed);
    assert_eq!(bench.send(1000, 1, Failed), None);
    assert!(bench.is_closed());
    // Nor if nobody else has had an answer yet.
    let mut bench = Bench::new();
    bench.send(1000, 1, Failed);
    assert_eq!(bench.send(5, 2, Failed), None);
    assert_eq!(bench.send(4, 3, Failed), None);
    assert!(bench.send(1, 3, Failed).is_some());
    // Many others are failed in the same span, which has no place for all.
    let mut bench = Bench::new();
    bench.send(1000, 1, Failed);
    for user in 2..40 {
        assert!(bench.send(1, user, Failed).is_none(), "{user}");
        bench.send(2, user, Answered);
    }
    assert!(bench.is_closed());
}

#[test]
fn it_forgets() {
    let mut bench = Bench::new();
    bench.send(9, 1, Failed);
    bench.send(9, 2, Failed);
    bench.now += 31 * SECOND;
    assert_eq!(bench.send(1, 3, Failed), None);
    assert_eq!(bench.send(1, 4, Failed), None);
    assert_eq!(bench.send(10, 5, Failed), None);
    bench.now += 14 * SECOND;
    assert_eq!(bench.send(7, 6, Failed), None);
    assert!(matches!(bench.send(1, 6, Failed), Some(Change::Opened { judged: 20, .. })));
}

#[test]
fn one_is_let_through_at_a_time_to_see() {
    let mut bench = Bench::open();
    assert_eq!(bench.admit(), Err(SECOND));
    bench.now += SECOND;
    let probe = bench.admit().unwrap();
    assert_eq!(bench.admit(), Err(SECOND));
    // Whoever leaves frees the place.
    assert_eq!(bench.judge(probe, 7, Unclear), None);
    let probe = bench.admit().unwrap();
    assert!(bench.admit().is_err());

    // It fails: each pause is longer than the one before, up to a bound.
    assert_eq!(bench.judge(probe, 7, Failed), Some(Change::StillOpen(2 * SECOND)));
    for (seconds, next) in [(2, 4), (4, 8), (8, 10), (10, 10)] {
        assert_eq!(bench.admit(), Err(seconds * SECOND));
        bench.now += seconds * SECOND;
        let probe = bench.admit().unwrap();
        assert_eq!(bench.judge(probe, 7, Failed), Some(Change::StillOpen(next * SECOND)));
    }
    bench.now += 10 * SECOND;
    let probe = bench.admit().unwrap();
    assert_eq!(bench.judge(probe, 7, Answered), Some(Change::Closed));
    assert!(bench.is_closed());
    // It begins anew.
    assert_eq!(bench.send(19, 1, Failed), None);
    assert!(bench.is_closed());
}

#[test]
fn what_was_sent_before_says_nothing_about_what_is_now() {
    let mut bench = Bench::new();
    let early: Vec<_> = (0..60).map(|_| bench.admit().unwrap()).collect();
    for (user, pass) in (0..20).zip(&early) {
        bench.judge(*pass, user, Failed);
    }
    assert!(!bench.is_closed());
    let (answered, failed) = early.split_at(40);
    for pass in answered {
        assert_eq!(bench.judge(*pass, 1, Answered), None);
    }
    assert!(!bench.is_closed());
    bench.now += SECOND;
    let probe = bench.admit().unwrap();
    assert_eq!(bench.judge(probe, 1, Answered), Some(Change::Closed));
    for (user, pass) in (0..20).zip(failed) {
        assert_eq!(bench.judge(*pass, user, Failed), None);
    }
    assert_eq!(bench.judge(probe, 1, Failed), None);
    assert!(bench.is_closed());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit,
    /// The exchange that is the how-manieth of those under way, of whom, and how it ends.
    End(usize, u64, Outcome),
    Pass(u64),
}

fn step(users: u64) -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![8 => Just(Failed), 1 => Just(Answered), 1 => Just(Unclear)];
    prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<usize>(), 0..users, outcome).prop_map(|(n, user, how)| Step::End(n, user, how)),
        1 => (0..12_000_u64).prop_map(Step::Pass),
    ]
}

/// Runs the steps; gives the most probes that were under way at once, and whether it ever opened.
fn run(steps: Vec<Step>) -> (usize, bool) {
    let mut bench = Bench::new();
    let mut under_way: Vec<Pass> = Vec::new();
    let (mut most, mut has_opened) = (0, false);
    for step in steps {
        match step {
            Step::Admit => under_way.extend(bench.admit()),
            Step::End(..) if under_way.is_empty() => {}
            Step::End(nth, user, outcome) => {
                let pass = under_way.swap_remove(nth % under_way.len());
                bench.judge(pass, user, outcome);
            }
            Step::Pass(millis) => bench.now += Duration::from_millis(millis),
        }
        has_opened |= !bench.is_closed();
        most = most.max(under_way.iter().filter(|pass| pass.is_probe).count());
    }
    // Nobody is shut out for ever: once all have ended and time has passed, one is let in.
    while let Some(pass) = under_way.pop() {
        bench.judge(pass, 0, Unclear);
    }
    bench.now += LONGEST_PEACE;
    assert!(bench.admit().is_ok());
    (most, has_opened)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_users_never_open_it(steps in vec(step(2), 0..400)) {
        prop_assert!(!run(steps).1);
    }

    #[test]
    fn there_are_never_two_probes(steps in vec(step(9), 0..800)) {
        prop_assert!(run(steps).0 <= 1);
    }
}
