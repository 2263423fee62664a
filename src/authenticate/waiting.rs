//! Callers who can't be told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many callers of one connection are looked up at once.
const MAX_OF_CONNECTION: usize = 128;

/// The callers of one connection that carries many requests at once.
///
/// A server puts the same one into the extensions of all its requests; then no connection has
/// more than a part of the places of
/// [`max_unauthenticated`](super::AuthenticateLayer::max_unauthenticated). Cloning is a reference
/// count.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCallers(Arc<AtomicUsize>);

/// Places for callers who are looked up.
#[derive(Clone, Debug)]
pub(super) struct LookupPlaces {
    max: usize,
    count: Arc<AtomicUsize>,
}

impl LookupPlaces {
    pub(super) fn new(max: usize) -> Self {
        Self { max, count: Arc::default() }
    }

    /// Gives a place for a caller, of that connection where it is known, or `None` if there is
    /// none.
    pub(super) fn enter(&self, connection: Option<&ConnectionCallers>) -> Option<CallerPlaces> {
        let of_connection = match connection {
            Some(ConnectionCallers(count)) => Some(LookupPlace::of(count, MAX_OF_CONNECTION)?),
            None => None,
        };
        Some(CallerPlaces {
            _of_all: LookupPlace::of(&self.count, self.max)?,
            _of_connection: of_connection,
        })
    }
}

/// A caller's places, given back on drop.
#[derive(Debug)]
pub(super) struct CallerPlaces {
    _of_all: LookupPlace,
    _of_connection: Option<LookupPlace>,
}

#[derive(Debug)]
struct LookupPlace(Arc<AtomicUsize>);

impl LookupPlace {
    fn of(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let one_more = |taken| (taken < max).then_some(taken + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for LookupPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_of_all_and_of_a_connection_and_come_back() {
        let waiting = LookupPlaces::new(MAX_OF_CONNECTION + 1);
        let connection = ConnectionCallers::default();
        let mut taken: Vec<_> =
            (0..MAX_OF_CONNECTION).map(|_| waiting.enter(Some(&connection)).unwrap()).collect();
        assert!(waiting.enter(Some(&connection)).is_none());
        // What was refused took nothing.
        let last = waiting.clone().enter(Some(&ConnectionCallers::default())).unwrap();
        let other = ConnectionCallers::default();
        assert!(waiting.enter(Some(&other)).is_none());
        assert!(waiting.enter(None).is_none());
        assert_eq!(other.0.load(Ordering::Relaxed), 0);
        drop(last);
        taken.pop();
        assert!(waiting.enter(Some(&connection)).is_some());
    }
}
