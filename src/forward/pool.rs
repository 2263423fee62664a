use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::timeouts::after;

/// The idle connections to the one upstream, the latest used first.
///
/// Bounded in number and age. The lock is held for a push or a pop; connections are polled and
/// closed outside of it.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    timeout: Duration,
    limit: usize,
}

#[derive(Default)]
struct Idle {
    /// The oldest in front.
    connections: VecDeque<(Instant, Box<Connection>)>,
    sweeper: Option<AbortHandle>,
}

impl Pool {
    /// Keeps at most `limit` connections, each for less than `timeout`.
    pub(super) fn new(limit: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), timeout, limit })
    }

    /// Gives a connection that was alive a moment ago.
    pub(super) fn checkout(&self) -> Option<Box<Connection>> {
        let mut now = None;
        loop {
            let (since, mut connection) = self.lock().connections.pop_back()?;
            let expired = *now.get_or_insert_with(Instant::now) >= after(since, self.timeout);
            if !expired && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next request, if there is room for it.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        // Nobody would close it in time without a runtime.
        let Ok(runtime) = Handle::try_current() else { return };
        if self.limit == 0 || self.timeout.is_zero() || !connection.is_reusable() {
            return;
        }
        connection.rest();
        let mut idle = self.lock();
        let surplus =
            if idle.connections.len() >= self.limit { idle.connections.pop_front() } else { None };
        let now = Instant::now();
        idle.connections.push_back((now, connection));
        if idle.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            // Ends by itself when nothing is idle, and with the pool at the latest.
            let sweeper = runtime.spawn(sweep(Arc::downgrade(self), after(now, self.timeout)));
            idle.sweeper = Some(sweeper.abort_handle());
        }
        drop(idle);
        drop(surplus);
    }

    /// Tells how many connections are idle.
    pub(super) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    /// Closes what has been idle for too long. Returns when the next one will have been, if there
    /// is one; else a sweeper must be started with the next `put`.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.lock();
        let expired =
            idle.connections.partition_point(|(since, _)| after(*since, self.timeout) <= now);
        let expired: Vec<_> = idle.connections.drain(..expired).collect();
        let next = idle.connections.front().map(|(since, _)| after(*since, self.timeout));
        if next.is_none() {
            idle.sweeper = None;
        }
        drop(idle);
        drop(expired);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(sweeper) = idle.sweeper.take() {
            sweeper.abort();
        }
    }
}

/// Closes the connections of a pool as they get too old, the first of them at `next`.
async fn sweep(pool: Weak<Pool>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        // Held only here, so that the last user of the pool closes it.
        let Some(pool) = pool.upgrade() else { return };
        match pool.expire(Instant::now()) {
            Some(later) => next = later,
            None => return,
        }
    }
}
