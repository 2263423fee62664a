//! What is worth a line in the log once, though it is said with every request.

use std::collections::VecDeque;
use std::fmt;
#[cfg(feature = "server")]
use std::sync::Mutex;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

/// Names that are kept; clients choose them, so there is an end.
pub(crate) const MAX_NAMES: usize = 64;

/// What is kept of a name.
const MAX_NAME_BYTES: usize = 128;

/// How long it is from one name to the next when as many as are kept were told of: nobody can fill the
/// log, or keep others from being told of for longer than they go on.
const PAUSE: Duration = Duration::from_secs(60);

/// How long it isn't said again that there are too many.
const FULL_FOR: Duration = Duration::from_secs(3600);

/// The names that were told of, the last of them; so many at once, and then one a minute.
pub(crate) struct Told {
    names: RwLock<ToldNames>,
    most: usize,
}

#[derive(Default)]
struct ToldNames {
    told: VecDeque<Box<str>>,
    /// When the last was told of.
    last: Option<Instant>,
    /// When it was said that there are too many.
    full: Option<Instant>,
}

/// Whether there is something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    First,
    Known,
    /// One name too many, for the first time in a while.
    TooMany,
}

impl Told {
    /// Keeps at most so many names.
    pub(crate) fn at_most(most: usize) -> Self {
        Self { names: RwLock::default(), most }
    }

    /// Notes a name, which is in ASCII or short.
    pub(crate) fn note(&self, name: &str) -> News {
        self.note_at(name.get(..MAX_NAME_BYTES).unwrap_or(name), Instant::now)
    }

    /// Notes a name; `now` is asked for names that are not known only.
    fn note_at(&self, name: &str, now: impl FnOnce() -> Instant) -> News {
        if self.names.read().unwrap_or_else(PoisonError::into_inner).has(name) {
            return News::Known;
        }
        let mut kept = self.names.write().unwrap_or_else(PoisonError::into_inner);
        // Another may have brought it meanwhile.
        if kept.has(name) { News::Known } else { kept.add(name, self.most, now()) }
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<String> {
        self.names.read().unwrap().told.iter().map(ToString::to_string).collect()
    }
}

impl Default for Told {
    fn default() -> Self {
        Self::at_most(MAX_NAMES)
    }
}

impl ToldNames {
    fn has(&self, name: &str) -> bool {
        self.told.iter().any(|kept| **kept == *name)
    }

    fn add(&mut self, name: &str, most: usize, now: Instant) -> News {
        let is_within = |at: Option<Instant>, span| {
            at.is_some_and(|at| now.saturating_duration_since(at) < span)
        };
        if self.told.len() >= most {
            if is_within(self.last, PAUSE) {
                if is_within(self.full, FULL_FOR) {
                    return News::Known;
                }
                self.full = Some(now);
                return News::TooMany;
            }
            self.told.pop_front();
        }
        self.last = Some(now);
        self.told.push_back(name.into());
        News::First
    }
}

/// How long what was said isn't said again.
#[cfg(feature = "server")]
const QUIET_FOR: Duration = Duration::from_secs(60);

/// What has no name, and is said once a minute at most.
#[cfg(feature = "server")]
pub(crate) struct Rarely(Mutex<Option<Instant>>);

#[cfg(feature = "server")]
impl Rarely {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Tells whether it is to be said, which it is then taken for.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < QUIET_FOR) {
            return false;
        }
        *last = Some(now);
        true
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_news_once_and_there_is_an_end() {
        let begin = Instant::now();
        let told = Told::default();
        let note = |name: &str, after| told.note_at(name, || begin + Duration::from_secs(after));
        for index in 0..MAX_NAMES {
            let name = format!("x-{index}");
            assert_eq!(note(&name, 0), News::First);
            assert_eq!(note(&name, 0), News::Known);
        }
        assert_eq!(note("x-more", 0), News::TooMany);
        assert_eq!(note("x-more", 0), News::Known);
        assert_eq!(note("x-others", 59), News::Known);
        // Who used it all up has done so for a minute.
        assert_eq!(note("x-others", 60), News::First);
        assert_eq!(note("x-others", 60), News::Known);
        assert_eq!(note("x-more", 61), News::Known);
        assert_eq!(note("x-more", 120), News::First);
        assert_eq!(told.all().len(), MAX_NAMES);
        assert_eq!(note("x-5", 121), News::Known);
        // The oldest had to go.
        assert_eq!(note("x-0", 180), News::First);
        assert_eq!(note("x-again", 181), News::Known);
        assert_eq!(note("x-again", 3600), News::First);
        assert_eq!(note("x-once-more", 3601), News::TooMany);
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_has_no_name_is_said_once_a_minute() {
        let begin = Instant::now();
        let rarely = Rarely::new();
        let is_due = |after| rarely.is_due_at(begin + Duration::from_secs(after));
        assert_eq!([0, 0, 59, 60, 61, 120].map(is_due), [true, false, false, true, false, true]);
    }
}
