//! Whether the database is there, told once when it goes and once when it is back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::failure::Failure;

/// What all connections together have heard of the database.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// How it is called in the log.
    shown: String,
    is_away: AtomicBool,
    answers: AtomicU64,
}

impl Presence {
    pub(super) fn new(shown: String) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Gives what a call keeps from before it asks anything.
    pub(super) fn before(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Notes what became of a call, however often it was tried. One that has failed says nothing of the
    /// database if others were answered meanwhile.
    pub(super) fn heard<T>(&self, before: u64, outcome: &Result<T, Failure>) {
        match outcome {
            Ok(_) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                // Only looked at: it is nearly never so.
                if self.is_away.load(Ordering::Relaxed)
                    && self.is_away.swap(false, Ordering::Relaxed)
                {
                    tracing::info!(database = self.shown, "the database is back");
                }
            }
            Err(failure) if failure.is_absence() && self.before() == before => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    let error = failure as &dyn std::error::Error;
                    tracing::warn!(
                        database = self.shown,
                        error,
                        "the database is away: what needs it is refused until it is back"
                    );
                }
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_beside_others_tells_nothing() {
        let presence = Presence::new("ada@db:5432/x".to_owned());
        let lost = Err::<(), _>(Failure::Lost("reset".to_owned()));
        let before = presence.before();
        presence.heard(before, &Ok(()));
        presence.heard(before, &lost);
        assert!(!presence.is_away.load(Ordering::Relaxed));
        presence.heard(presence.before(), &Err::<(), _>(Failure::Exhausted));
        assert!(!presence.is_away.load(Ordering::Relaxed));
        presence.heard(presence.before(), &lost);
        assert!(presence.is_away.load(Ordering::Relaxed));
        presence.heard(presence.before(), &Ok(()));
        assert!(!presence.is_away.load(Ordering::Relaxed));
    }
}
