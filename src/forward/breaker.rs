//! When an upstream that fails is left in peace: a state machine without a clock or a lock.

use std::time::Duration;

use tokio::time::Instant;

use super::timeouts::after;

/// How much must have been judged before it counts.
const MIN_JUDGED: u32 = 20;

/// How much of it must not be the one user's who was failed most.
const MIN_OTHERS: u32 = 10;

/// How many users it must have failed.
const MIN_USERS: usize = 3;

/// The window is so many spans of so many seconds.
const SPANS: usize = 6;
const SPAN_SECONDS: u64 = 5;

/// How many users are told apart in one span.
const USERS: usize = 8;

/// How long nothing is sent before the first try; each other may come after twice as long.
const FIRST_PEACE: Duration = Duration::from_secs(1);
const LONGEST_PEACE: Duration = Duration::from_secs(10);

/// How far a pause may be from what it is said to be, so that nobody knows when it ends.
const JITTER: f64 = 0.2;

/// How many tries may be under way.
const PROBES: usize = 2;

/// How long one try is waited for before there is another beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many users are remembered for tries that weren't answered.
const TRIED: u32 = 8;

/// What became of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The upstream answers.
    Answered,
    /// It doesn't, or says itself that it can't.
    Failed,
    /// Nobody can tell: the client left soon, or what came is what an upstream in good health may say to
    /// a request that it doesn't like.
    Unclear,
}

/// What lets one exchange through, to be judged when its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    epoch: u32,
    /// Which of the probes it is, if it is one.
    probe: Option<usize>,
}

impl Pass {
    /// Tells whether it is one of the exchanges by which is seen whether the upstream answers again.
    pub(super) fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// From now on nothing is sent.
    Opened { failed: u32, judged: u32, users: usize },
    /// It was tried, and failed again: nothing is sent for about so long.
    StillOpen(Duration),
    /// It was tried, and answers.
    Closed,
}

/// Opens when more than half of what was judged within half a minute failed, if that is enough, of
/// enough users, and would be more than half without any one of them. Then lets one exchange
/// through at a time, each after a longer pause, until one is answered.
///
/// No one user keeps it open. Whoever's try wasn't answered comes after everybody else for a while, and
/// those who tried long ago before those who tried just now; the pause grows only with the users whom it
/// fails; and a try that takes long isn't waited for. Where there is nobody else, the while is over
/// at last.
///
/// Its size doesn't depend on what happens.
#[derive(Debug)]
pub(super) struct Breaker {
    state: BreakerState,
    /// Odd while it isn't closed. What was let through in another epoch says nothing about this.
    epoch: u32,
    peace: Duration,
    /// What is under way to see, even if it began in another epoch.
    probes: [Option<Probe>; PROBES],
    /// Whose tries weren't answered; the latest first, each once.
    tried: Tried,
    window: Window,
    /// Gives a number of 0 to 1.
    draw: fn() -> f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerState {
    Closed,
    /// Until then nothing is sent, and then a few, to see.
    Open(Instant),
}

/// One try.
#[derive(Clone, Copy, Debug)]
struct Probe {
    user: u64,
    begun: Instant,
}

impl Breaker {
    /// Begins closed. `draw` gives a number of 0 to 1, each time another.
    pub(super) fn new(now: Instant, draw: fn() -> f64) -> Self {
        Self {
            state: BreakerState::Closed,
            epoch: 0,
            peace: FIRST_PEACE,
            probes: [None; PROBES],
            tried: Tried::default(),
            window: Window::new(now),
            draw,
        }
    }

    /// Gives the number of the state that it is in, for [`pass_of`](Self::pass_of).
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Gives the pass of any exchange while the epoch is this one, unless something has to be asked
    /// first.
    pub(super) fn pass_of(epoch: u32) -> Option<Pass> {
        epoch.is_multiple_of(2).then_some(Pass { epoch, probe: None })
    }

    /// Tells how long nothing of `user`, a hash of whoever it is, will be let through; `None`:
    /// something would be now.
    pub(super) fn wait(&self, user: u64, now: Instant) -> Option<Duration> {
        let BreakerState::Open(until) = self.state else { return None };
        let until = after(until, self.tried.delay(user));
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return Some(left);
        }
        let waits = self.probes.iter().flatten().any(|probe| {
            probe.user == user || now.saturating_duration_since(probe.begun) < PATIENCE
        });
        (waits || self.probes.iter().all(Option::is_some)).then_some(FIRST_PEACE)
    }

    /// Lets one exchange of `user` through, or tells how long to wait.
    pub(super) fn admit(&mut self, user: u64, now: Instant) -> Result<Pass, Duration> {
        if let Some(wait) = self.wait(user, now) {
            return Err(wait);
        }
        let mut pass = Pass { epoch: self.epoch, probe: None };
        if self.state != BreakerState::Closed
            && let Some((nth, free)) =
                self.probes.iter_mut().enumerate().find(|(_, probe)| probe.is_none())
        {
            *free = Some(Probe { user, begun: now });
            pass.probe = Some(nth);
        }
        Ok(pass)
    }

    /// Notes what became of an exchange of `user`; once for each pass.
    pub(super) fn judge(
        &mut self,
        pass: Pass,
        user: u64,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Change> {
        if let Some(ended) = pass.probe.and_then(|nth| self.probes.get_mut(nth)) {
            *ended = None;
        }
        if pass.epoch != self.epoch {
            return None;
        }
        if pass.is_probe() {
            return self.judge_probe(user, outcome, now);
        }
        match outcome {
            Outcome::Unclear => None,
            Outcome::Answered => {
                let span = self.window.span(now);
                span.answered = span.answered.saturating_add(1);
                None
            }
            Outcome::Failed => {
                self.window.span(now).fail(user);
                let change = self.window.is_too_much()?;
                self.open(now);
                Some(change)
            }
        }
    }

    fn judge_probe(&mut self, user: u64, outcome: Outcome, now: Instant) -> Option<Change> {
        match outcome {
            // The next one will tell: somebody else's, if there is anybody.
            Outcome::Unclear => {
                self.tried.note(user);
                self.rest(Duration::ZERO, now);
                None
            }
            Outcome::Answered => {
                let epoch = self.epoch.wrapping_add(1);
                *self = Self { epoch, probes: self.probes, ..Self::new(now, self.draw) };
                Some(Change::Closed)
            }
            Outcome::Failed => {
                if self.tried.note(user) {
                    self.peace = (self.peace * 2).min(LONGEST_PEACE);
                }
                self.rest(self.peace, now);
                Some(Change::StillOpen(self.peace))
            }
        }
    }

    fn open(&mut self, now: Instant) {
        self.epoch = self.epoch.wrapping_add(1) | 1;
        self.rest(self.peace, now);
    }

    /// Begins a pause of about `peace`, unless one is under way that is longer.
    fn rest(&mut self, peace: Duration, now: Instant) {
        let drawn = 1.0 + JITTER * (2.0 * (self.draw)() - 1.0);
        let until = after(now, peace.mul_f64(drawn));
        self.state = match self.state {
            BreakerState::Open(longer) if longer > until => BreakerState::Open(longer),
            BreakerState::Open(_) | BreakerState::Closed => BreakerState::Open(until),
        };
    }
}

/// Users, the latest first, each once; whoever comes when all places are taken takes the last.
#[derive(Clone, Copy, Debug, Default)]
struct Tried([Option<u64>; TRIED as usize]);

impl Tried {
    /// Puts `user` in front; tells whether they weren't there.
    fn note(&mut self, user: u64) -> bool {
        let known = self.0.iter().position(|known| *known == Some(user));
        let end = known.map_or(self.0.len(), |nth| nth + 1);
        if let Some(moved) = self.0.get_mut(..end) {
            moved.rotate_right(1);
        }
        let [latest, ..] = &mut self.0;
        *latest = Some(user);
        known.is_none()
    }

    /// Gives how long after the pause `user` comes: the latest last of all.
    fn delay(&self, user: u64) -> Duration {
        let places = (1..=TRIED).rev().zip(&self.0);
        let place = places.into_iter().find(|(_, known)| **known == Some(user));
        place.map_or(Duration::ZERO, |(place, _)| LONGEST_PEACE * place / TRIED)
    }
}

/// What happened within the last half minute.
#[derive(Debug)]
struct Window {
    since: Instant,
    /// The number of the latest span.
    latest: u64,
    /// The latest first.
    spans: [Span; SPANS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    answered: u32,
    failed: u32,
    /// Who was failed how often; 0 is nobody. Who comes when all places are taken takes that of whoever
    /// was failed least, with the count, so that nobody who is failed much is ever lost.
    users: [(u64, u32); USERS],
}

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, latest: 0, spans: [Span::default(); SPANS] }
    }

    /// Forgets what is too old, and gives the span that `now` is in.
    fn span(&mut self, now: Instant) -> &mut Span {
        let number = now.saturating_duration_since(self.since).as_secs() / SPAN_SECONDS;
        let passed = number.saturating_sub(self.latest);
        self.latest = self.latest.max(number);
        let passed = usize::try_from(passed).unwrap_or(SPANS).min(SPANS);
        self.spans.rotate_right(passed);
        self.spans.iter_mut().take(passed).for_each(|span| *span = Span::default());
        let [latest, ..] = &mut self.spans;
        latest
    }

    /// Tells what has been failed, if it is too much.
    fn is_too_much(&self) -> Option<Change> {
        let sum = |count: fn(&Span) -> u32| {
            self.spans.iter().fold(0_u32, |sum, span| sum.saturating_add(count(span)))
        };
        let failed = sum(|span| span.failed);
        let judged = failed.saturating_add(sum(|span| span.answered));
        if judged < MIN_JUDGED || !is_most(failed, judged) {
            return None;
        }
        let (users, heaviest) = self.users();
        // Whoever sends what breaks it doesn't shut out the rest.
        let others = judged.saturating_sub(heaviest);
        let fails_others = others >= MIN_OTHERS && is_most(failed.saturating_sub(heaviest), others);
        (users >= MIN_USERS && fails_others).then_some(Change::Opened { failed, judged, users })
    }

    /// Counts who was failed, as far as they are told apart; and how often whoever was failed most.
    fn users(&self) -> (usize, u32) {
        let mut all = [(0_u64, 0_u32); SPANS * USERS];
        let mut users = 0;
        let failed = self.spans.iter().flat_map(|span| &span.users).filter(|(_, times)| *times > 0);
        for (user, times) in failed {
            // The first that is free is behind all that are taken.
            let place = all.iter_mut().find(|(known, count)| *count == 0 || known == user);
            let Some((known, count)) = place else { break };
            users += usize::from(*count == 0);
            *known = *user;
            *count = count.saturating_add(*times);
        }
        (users, all.iter().map(|(_, count)| *count).max().unwrap_or(0))
    }
}

impl Span {
    fn fail(&mut self, user: u64) {
        self.failed = self.failed.saturating_add(1);
        let known = self.users.iter().position(|(known, times)| *times > 0 && *known == user);
        let place = match known {
            Some(index) => self.users.get_mut(index),
            None => self.users.iter_mut().min_by_key(|(_, times)| *times),
        };
        if let Some((known, times)) = place {
            *known = user;
            *times = times.saturating_add(1);
        }
    }
}

fn is_most(part: u32, whole: u32) -> bool {
    part > whole / 2
}

#[cfg(test)]
mod tests;
