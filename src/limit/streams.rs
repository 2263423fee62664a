//! Open streams of one user.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::principal::UserId;
use crate::rejection::{Code, Rejection};

/// How many streams each user may have open at once.
///
/// Clones count together. There is an entry per user with an open stream and none for others,
/// so there are never more entries than streams.
#[derive(Clone)]
pub struct PerUserStreams {
    shared: Arc<Shared>,
}

struct Shared {
    max: usize,
    /// Counts, never 0.
    open: Mutex<HashMap<UserId, usize>>,
}

impl PerUserStreams {
    /// Allows at most `max` streams a user; 0 is no limit.
    pub fn new(max: usize) -> Self {
        Self { shared: Arc::new(Shared { max, open: Mutex::default() }) }
    }

    /// Gives a place for one more stream of `user`, or `None` if there is none left.
    ///
    /// The place is given back when the permit is dropped; put it into the response's body with
    /// [`Permitted`](super::Permitted).
    pub fn try_acquire(&self, user: &UserId) -> Option<StreamPermit> {
        if self.shared.max > 0 {
            let mut open = self.shared.open();
            let count = open.entry(user.clone()).or_insert(0);
            if *count >= self.shared.max {
                return None;
            }
            *count += 1;
        }
        Some(StreamPermit { user: user.clone(), shared: Arc::clone(&self.shared) })
    }

    /// Gives the refusal for a user who has no place left: 429, to come back in a second.
    pub fn refusal(&self) -> Rejection {
        let message = match self.shared.max {
            1 => "At most 1 stream may be open at once.".to_owned(),
            max => format!("At most {max} streams may be open at once."),
        };
        Rejection::new(Code::RateLimited)
            .message(message)
            .because("the user has as many streams open as may be")
            .retry_after(1)
    }

    /// Tells how many users have a stream open.
    pub fn users(&self) -> usize {
        self.shared.open().len()
    }
}

impl fmt::Debug for PerUserStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerUserStreams")
            .field("max", &self.shared.max)
            .field("users", &self.users())
            .finish()
    }
}

impl Shared {
    /// Locks the counts. Nothing panics while it holds the lock, so the counts are right even if it
    /// is poisoned.
    fn open(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a user's places for a stream, given back on drop.
#[must_use = "the place is given back when the permit is dropped"]
pub struct StreamPermit {
    user: UserId,
    shared: Arc<Shared>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        if self.shared.max == 0 {
            return;
        }
        let mut open = self.shared.open();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

impl fmt::Debug for StreamPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamPermit").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[test]
    fn a_refusal_says_how_many_there_may_be() {
        for (max, says) in [(1, "At most 1 stream may be"), (2, "At most 2 streams may be")] {
            let refusal = PerUserStreams::new(max).refusal();
            assert!(format!("{refusal:?}").contains(says), "{refusal:?}");
        }
    }

    #[test]
    fn users_are_counted_apart_and_forgotten_at_zero() {
        let streams = PerUserStreams::new(2);
        let (ada, eve) = (user("ada"), user("eve"));
        let first = streams.try_acquire(&ada).unwrap();
        let second = streams.clone().try_acquire(&ada).unwrap();
        assert!(streams.try_acquire(&ada).is_none());
        assert_eq!(streams.refusal().status(), 429);
        let other = streams.try_acquire(&eve).unwrap();
        assert_eq!(streams.users(), 2);

        drop(first);
        let third = streams.try_acquire(&ada).unwrap();
        assert!(streams.try_acquire(&ada).is_none());
        drop((second, third, other));
        assert_eq!(streams.users(), 0);
    }

    #[test]
    fn a_refusal_leaves_no_entry_and_zero_is_no_limit() {
        let unlimited = PerUserStreams::new(0);
        let permits: Vec<_> = (0..100).map(|_| unlimited.try_acquire(&user("ada"))).collect();
        assert!(permits.iter().all(Option::is_some));
        assert_eq!(unlimited.users(), 0);
        drop(permits);
        assert_eq!(unlimited.users(), 0);
    }

    #[test]
    fn counts_are_right_under_contention() {
        let streams = PerUserStreams::new(3);
        let most = AtomicUsize::new(0);
        let now = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        if let Some(permit) = streams.try_acquire(&user("ada")) {
                            let held = now.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(held, Ordering::SeqCst);
                            std::thread::yield_now();
                            now.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(streams.users(), 0);
    }
}
