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
        Self { breaker: Breaker::new(now, || 0.5), now }
    }

    fn is_closed(&self) -> bool {
        Breaker::pass_of(self.breaker.epoch()).is_some()
    }

    fn admit(&mut self, user: u64) -> Result<Pass, Duration> {
        self.breaker.admit(user, self.now)
    }

    fn judge(&mut self, pass: Pass, user: u64, outcome: Outcome) -> Option<Change> {
        self.breaker.judge(pass, user, outcome, self.now)
    }

    /// Has `user` sent `times` requests, each with this outcome.
    fn send(&mut self, times: u32, user: u64, outcome: Outcome) -> Option<Change> {
        let mut last = None;
        for _ in 0..times {
            let pass = self.admit(user).unwrap();
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
    assert_eq!(bench.admit(6), Err(SECOND));
    bench.now += SECOND;
    let probe = bench.admit(6).unwrap();
    assert_eq!(bench.admit(7), Err(SECOND));
    // Whoever leaves frees the place.
    assert_eq!(bench.judge(probe, 6, Unclear), None);
    let probe = bench.admit(7).unwrap();
    assert!(bench.admit(8).is_err());

    // It fails: each pause is longer than the one before, up to a bound.
    assert_eq!(bench.judge(probe, 7, Failed), Some(Change::StillOpen(2 * SECOND)));
    for (user, seconds, next) in [(8, 2, 4), (9, 4, 8), (10, 8, 10), (11, 10, 10)] {
        assert_eq!(bench.admit(user), Err(seconds * SECOND));
        bench.now += seconds * SECOND;
        let probe = bench.admit(user).unwrap();
        assert_eq!(bench.judge(probe, user, Failed), Some(Change::StillOpen(next * SECOND)));
    }
    bench.now += 10 * SECOND;
    let probe = bench.admit(12).unwrap();
    assert_eq!(bench.judge(probe, 12, Answered), Some(Change::Closed));
    assert!(bench.is_closed());
    // It begins anew.
    assert_eq!(bench.send(19, 1, Failed), None);
    assert!(bench.is_closed());
}

#[test]
fn what_was_sent_before_says_nothing_about_what_is_now() {
    let mut bench = Bench::new();
    let early: Vec<_> = (0..60).map(|_| bench.admit(1).unwrap()).collect();
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
    let probe = bench.admit(1).unwrap();
    assert_eq!(bench.judge(probe, 1, Answered), Some(Change::Closed));
    for (user, pass) in (0..20).zip(failed) {
        assert_eq!(bench.judge(*pass, user, Failed), None);
    }
    assert_eq!(bench.judge(probe, 1, Failed), None);
    assert!(bench.is_closed());
}

/// Has the `bad` ask first at every tenth of a second, with what is never answered but ends as `how`
/// after `lasting`, and `good` last, until `good` is answered; gives how many seconds that takes.
fn until_let_in(bench: &mut Bench, bad: &[u64], how: Outcome, lasting: Duration, good: u64) -> u64 {
    let begun = bench.now;
    let mut under_way = Vec::new();
    while bench.now < begun + 120 * SECOND {
        let ended = under_way.extract_if(.., |(_, _, since)| bench.now >= *since + lasting);
        for (user, pass, _) in ended.collect::<Vec<_>>() {
            bench.judge(pass, user, how);
        }
        for user in bad {
            under_way.extend(bench.admit(*user).map(|pass| (*user, pass, bench.now)));
        }
        if let Ok(pass) = bench.admit(good) {
            assert_eq!(bench.judge(pass, good, Answered), Some(Change::Closed));
            return (bench.now - begun).as_secs();
        }
        bench.now += SECOND / 10;
    }
    u64::MAX
}

#[test]
fn one_user_does_not_keep_it_open() {
    for (how, within) in [(Failed, 3), (Unclear, 1)] {
        let seconds = until_let_in(&mut Bench::open(), &[1], how, Duration::ZERO, 2);
        assert!(seconds <= within, "{how:?}: {seconds}");
        // Nor what hangs, nor who knows when to leave.
        for lasting in [SECOND, 30 * SECOND] {
            let seconds = until_let_in(&mut Bench::open(), &[1], how, lasting, 2);
            assert!(seconds <= 4, "{how:?} after {lasting:?}: {seconds}");
        }
    }
}

#[test]
fn who_was_failed_in_good_faith_comes_before_who_keeps_on() {
    for bad in [&[1][..], &[1, 5, 6]] {
        let mut bench = Bench::open();
        for user in [2, 3, 4] {
            bench.now += LONGEST_PEACE;
            let probe = bench.admit(user).unwrap();
            bench.judge(probe, user, Failed);
        }
        let seconds = until_let_in(&mut bench, bad, Failed, Duration::ZERO, 2);
        assert!(seconds <= 60, "{bad:?}: {seconds}");
    }
}

#[test]
fn one_user_by_themselves_is_tried_again_after_a_while() {
    let mut bench = Bench::open();
    bench.now += SECOND;
    for _ in 0..100 {
        let probe = bench.admit(0).unwrap();
        // The pause grows by others alone.
        let still_open = bench.judge(probe, 0, Failed);
        assert_eq!(still_open, Some(Change::StillOpen(2 * SECOND)));
        assert_eq!(bench.admit(0), Err(2 * SECOND + LONGEST_PEACE));
        bench.now += 2 * SECOND + LONGEST_PEACE;
    }
    let probe = bench.admit(0).unwrap();
    assert_eq!(bench.judge(probe, 0, Answered), Some(Change::Closed));
}

#[test]
fn what_hangs_is_not_waited_for() {
    let mut bench = Bench::open();
    bench.now += SECOND;
    let hangs = bench.admit(1).unwrap();
    bench.now += PATIENCE * 9 / 10;
    assert!(bench.admit(2).is_err());
    bench.now += PATIENCE / 10;
    assert!(bench.admit(1).is_err(), "it is their own");
    let beside = bench.admit(2).unwrap();
    bench.now += PATIENCE;
    assert!(bench.admit(3).is_err(), "two are enough");
    assert_eq!(bench.judge(beside, 2, Failed), Some(Change::StillOpen(2 * SECOND)));
    assert_eq!(bench.admit(3), Err(2 * SECOND));
    // What is given up meanwhile doesn't end the pause.
    assert_eq!(bench.judge(hangs, 1, Unclear), None);
    assert_eq!(bench.admit(3), Err(2 * SECOND));
}

#[test]
fn nobody_knows_when_a_pause_ends() {
    for (draw, millis) in [((|| 0.0) as fn() -> f64, 800), (|| 1.0, 1200)] {
        let mut bench = Bench::new();
        bench.breaker = Breaker::new(bench.now, draw);
        for user in 1..=20 {
            bench.send(1, user, Failed);
        }
        assert_eq!(bench.admit(1), Err(Duration::from_millis(millis)));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit(u64),
    /// The exchange that is the how-manieth of those under way, and how it ends.
    End(usize, Outcome),
    Pass(u64),
}

fn step(users: u64) -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![8 => Just(Failed), 1 => Just(Answered), 1 => Just(Unclear)];
    prop_oneof![
        8 => (0..users).prop_map(Step::Admit),
        8 => (any::<usize>(), outcome).prop_map(|(n, how)| Step::End(n, how)),
        1 => (0..12_000_u64).prop_map(Step::Pass),
    ]
}

/// Runs the steps; gives the most probes that were under way at once, and whether it ever opened.
fn run(steps: Vec<Step>) -> (usize, bool) {
    let mut bench = Bench::new();
    let mut under_way: Vec<(Pass, u64)> = Vec::new();
    let (mut most, mut has_opened) = (0, false);
    for step in steps {
        match step {
            Step::Admit(user) => under_way.extend(bench.admit(user).map(|pass| (pass, user))),
            Step::End(..) if under_way.is_empty() => {}
            Step::End(nth, outcome) => {
                let (pass, user) = under_way.swap_remove(nth % under_way.len());
                bench.judge(pass, user, outcome);
            }
            Step::Pass(millis) => bench.now += Duration::from_millis(millis),
        }
        has_opened |= !bench.is_closed();
        let probes = under_way.iter().filter(|(pass, _)| pass.is_probe());
        let users: Vec<u64> = probes.map(|(_, user)| *user).collect();
        most = most.max(users.len());
        assert!(users.iter().all(|user| users.iter().filter(|it| *it == user).count() == 1));
    }
    // Nobody is shut out for ever: once all have ended and time has passed, anybody is let in.
    while let Some((pass, user)) = under_way.pop() {
        bench.judge(pass, user, Unclear);
    }
    bench.now += LONGEST_PEACE;
    assert!(bench.admit(u64::MAX).is_ok_and(|pass| bench.judge(pass, u64::MAX, Unclear).is_none()));
    bench.now += LONGEST_PEACE;
    for user in (0..9).chain([u64::MAX]) {
        assert_eq!(bench.breaker.wait(user, bench.now), None, "{user}");
    }
    (most, has_opened)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_users_never_open_it(steps in vec(step(2), 0..400)) {
        prop_assert!(!run(steps).1);
    }

    #[test]
    fn there_are_never_three_probes(steps in vec(step(9), 0..800)) {
        prop_assert!(run(steps).0 <= PROBES);
    }
}
