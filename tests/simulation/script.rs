//! What a seed decides, and what is kept of what happened.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatkit_rest::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Numbers that follow from a seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Gives others, which follow from these: whoever has dice of their own throws the same whatever
    /// others throw.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.number())
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Gives a number below that one.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap()
    }

    /// Tells whether what happens in so many of a hundred cases does.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }

    /// Gives a time of at most so many milliseconds: mostly a short one.
    pub(crate) fn pause(&mut self, most: usize) -> Duration {
        let most = if self.chance(70) { most / 10 } else { most };
        Duration::from_millis(self.below(most + 1) as u64)
    }
}

/// How much goes wrong, until it is over: of a hundred calls so many.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) store: usize,
    pub(crate) upstream: usize,
    pub(crate) clients: usize,
    over: Arc<AtomicBool>,
}

impl Weather {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let mut some = || [0, 3, 10, 30].get(dice.below(4)).copied().unwrap_or_default();
        Self { store: some(), upstream: some(), clients: some(), over: Arc::default() }
    }

    /// Lets nothing go wrong from now on.
    pub(crate) fn clear_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// The time that stores are told, which goes with the runtime's. No two calls have the same, so that
/// the order of what is listed does not hang on random ids.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    begun: Instant,
    last: Arc<Mutex<Timestamp>>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let last = Timestamp::from_second(1_800_000_000).unwrap();
        Self { begun: Instant::now(), last: Arc::new(Mutex::new(last)) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let begun = Timestamp::from_second(1_800_000_000).unwrap();
        let mut last = self.last.lock().unwrap();
        let next = *last + SignedDuration::from_micros(1);
        *last = next.max(begun + SignedDuration::try_from(self.begun.elapsed()).unwrap());
        *last
    }

    fn millis(&self) -> u128 {
        self.begun.elapsed().as_millis()
    }
}

/// What happened, line by line, and what should not have.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    clock: Clock,
    kept: Arc<Mutex<Happened>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    lines: String,
    broken: String,
}

impl Trace {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, kept: Arc::default() }
    }

    pub(crate) fn note(&self, line: &str) {
        let kept = &mut *self.kept.lock().unwrap();
        let _ = writeln!(kept.lines, "{:>7} {line}", self.clock.millis());
    }

    /// Notes that a promise was broken.
    pub(crate) fn broken(&self, promise: &str) {
        self.note(&format!("BROKEN: {promise}"));
        let kept = &mut *self.kept.lock().unwrap();
        let _ = writeln!(kept.broken, "    {promise}");
    }

    /// Gives what there is so far.
    pub(crate) fn happened(&self) -> Happened {
        self.kept.lock().unwrap().clone()
    }
}

impl Happened {
    /// Gives all of it, and what was broken; nothing if nothing was.
    pub(crate) fn broken(&self) -> Option<(String, String)> {
        if self.broken.is_empty() {
            return None;
        }
        let mut ids = Vec::new();
        Some((shown(&self.lines, &mut ids), shown(&self.broken, &mut ids)))
    }

    pub(crate) fn lines(&self) -> String {
        shown(&self.lines, &mut Vec::new())
    }
}

/// Puts in place of each random id the number of its place among those that came first, which is
/// the same whatever it is.
fn shown(text: &str, ids: &mut Vec<String>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, length)) = find_id(rest) {
        let id = &rest[at..at + length];
        let known = ids.iter().position(|known| known == id);
        let number = known.unwrap_or_else(|| {
            ids.push(id.to_owned());
            ids.len() - 1
        });
        shown.push_str(&rest[..at]);
        let _ = write!(shown, "<{number}>");
        rest = &rest[at + length..];
    }
    shown + rest
}

/// Finds a UUID as it is written in text, or the 32 digits of one: its place and length.
fn find_id(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_id = |at: usize, length: usize| {
        bytes.get(at..at + length).is_some_and(|id| {
            id.iter().enumerate().all(|(place, byte)| match (length, place) {
                (36, 8 | 13 | 18 | 23) => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        })
    };
    (0..bytes.len().saturating_sub(31))
        .find_map(|at| [36, 32].into_iter().find(|length| is_id(at, *length)).map(|l| (at, l)))
}
