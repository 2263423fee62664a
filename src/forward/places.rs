//! How much may be under way to one upstream.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{ForwardError, ForwardErrorKind};

/// Places for so many exchanges at once, and a short queue in front of them: first come, first
/// served, and nobody has more than a part of it.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    max_queued: usize,
    max_queued_per_user: usize,
    queue_timeout: Duration,
    queue: Mutex<Queue>,
}

/// Who waits: counts, never 0, so there are no more of them than may be queued.
#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    by_user: HashMap<u64, usize>,
}

impl Places {
    /// Allows `max` exchanges at once, and `max_queued` more that wait for `queue_timeout` at most,
    /// `max_queued_per_user` of each user.
    pub(super) fn new(
        max: usize,
        max_queued: usize,
        max_queued_per_user: usize,
        queue_timeout: Duration,
    ) -> Self {
        let free = Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        Self { free, max_queued, max_queued_per_user, queue_timeout, queue: Mutex::default() }
    }

    /// Takes a place that is free. Whoever waits for one comes first.
    pub(super) fn try_take(&self) -> bool {
        self.free.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Crowded`](ForwardErrorKind::Crowded) if the queue is full, or `user`'s part of it, or it
    /// takes too long.
    pub(super) async fn take(&self, user: u64) -> Result<(), ForwardError> {
        let waiting = self.join(user).map_err(crowded)?;
        let taken = timeout(self.queue_timeout, self.free.acquire()).await;
        drop(waiting);
        match taken {
            Ok(Ok(place)) => {
                place.forget();
                Ok(())
            }
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(crowded("no place became free in time")),
        }
    }

    /// Tells whether nobody would be let in, or into the queue.
    #[cfg(feature = "openai")]
    pub(super) fn check(&self) -> Result<(), ForwardError> {
        if self.free.available_permits() == 0 && self.queue().waiting >= self.max_queued {
            return Err(crowded(QUEUE_IS_FULL));
        }
        Ok(())
    }

    /// Gives a place back.
    pub(super) fn give_back(&self) {
        self.free.add_permits(1);
    }

    /// Tells how many are free, and how many wait.
    #[cfg(test)]
    pub(super) fn state(&self) -> (usize, usize) {
        (self.free.available_permits(), self.queue().waiting)
    }

    fn join(&self, user: u64) -> Result<Waiting<'_>, &'static str> {
        let mut queue = self.queue();
        if queue.waiting >= self.max_queued {
            return Err(QUEUE_IS_FULL);
        }
        let theirs = queue.by_user.get(&user).copied().unwrap_or(0);
        if theirs >= self.max_queued_per_user {
            return Err("the user's part of the queue is full");
        }
        queue.by_user.insert(user, theirs + 1);
        queue.waiting += 1;
        drop(queue);
        Ok(Waiting { places: self, user })
    }

    /// Nothing panics while it is locked, so it is right even if it is poisoned.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const QUEUE_IS_FULL: &str = "the queue is full";

fn crowded(why: &'static str) -> ForwardError {
    ForwardError::new(ForwardErrorKind::Crowded).with(why)
}

/// Somebody in the queue, who leaves it when this is dropped.
struct Waiting<'p> {
    places: &'p Places,
    user: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = self.places.queue();
        queue.waiting = queue.waiting.saturating_sub(1);
        if let Some(theirs) = queue.by_user.get_mut(&self.user) {
            *theirs = theirs.saturating_sub(1);
            if *theirs == 0 {
                queue.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn why(refused: Result<(), ForwardError>) -> String {
        crate::error::chain(&refused.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_turn_and_not_for_ever() {
        let places = Places::new(1, 8, 2, Duration::from_secs(1));
        assert!(places.try_take());
        let (mut first, mut second) = (pin!(places.take(1)), pin!(places.take(2)));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(places.state(), (0, 2));
        places.give_back();
        // It is the first one's already: nobody gets in between.
        assert!(!places.try_take());
        assert!(poll(second.as_mut()).is_pending());
        first.await.unwrap();
        assert!(why(second.await).ends_with(": no place became free in time"));
        assert_eq!(places.state(), (0, 0));
        places.give_back();
        assert!(places.try_take());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_nobody_has_all_of_it() {
        let places = Places::new(0, 8, 2, Duration::from_secs(1));
        let mut waiting = Vec::new();
        for user in [1, 1, 2, 2, 3, 3, 4, 4] {
            let mut place = Box::pin(places.take(user));
            assert!(poll(place.as_mut()).is_pending());
            waiting.push(place);
            if user == 1 && waiting.len() == 2 {
                assert!(
                    why(places.take(1).await).ends_with(": the user's part of the queue is full")
                );
            }
        }
        assert!(why(places.take(5).await).ends_with(": the queue is full"));
        // Whoever leaves makes room.
        waiting.truncate(6);
        assert_eq!(places.state(), (0, 6));
        assert!(poll(pin!(places.take(5))).is_pending());
        drop(waiting);
        assert_eq!(places.state(), (0, 0));
        assert!(places.queue().by_user.is_empty());
        let none = Places::new(0, 0, 0, Duration::from_secs(1));
        assert!(why(none.take(1).await).ends_with(": the queue is full"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_with_a_place_in_reach_gives_it_on() {
        let places = Places::new(1, 8, 2, Duration::from_secs(1));
        assert!(places.try_take());
        let mut first = Box::pin(places.take(1));
        assert!(poll(first.as_mut()).is_pending());
        places.give_back();
        drop(first);
        assert_eq!(places.state(), (1, 0));
    }
}
