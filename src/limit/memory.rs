//! Bytes that are kept in memory, of everyone and of one user.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::principal::UserId;
use crate::rejection::{Code, Rejection};

/// What is not more than this is not counted: its bookkeeping would cost more than it does, and so
/// many requests as may be in flight have little of it together.
const UNCOUNTED_BYTES: usize = 4096;

/// How many bytes of what is read whole may be kept at once: of everyone, and of one user.
///
/// Clones count together. There is an entry per user of whom something is kept and none for others.
#[derive(Clone)]
pub struct BufferedBytes {
    shared: Arc<Shared>,
}

struct Shared {
    max: usize,
    max_per_user: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    /// Never 0.
    by_user: HashMap<UserId, usize>,
}

impl BufferedBytes {
    /// At most `max` bytes of everyone, and `max_per_user` of one user.
    pub fn new(max: usize, max_per_user: usize) -> Self {
        Self { shared: Arc::new(Shared { max, max_per_user, kept: Mutex::default() }) }
    }

    /// A permit for nothing yet.
    pub fn permit(&self, user: &UserId) -> BufferPermit {
        BufferPermit { bytes: 0, user: user.clone(), shared: Arc::clone(&self.shared) }
    }

    /// How many bytes are kept, as far as they are counted.
    pub fn kept(&self) -> usize {
        self.shared.kept().bytes
    }
}

impl fmt::Debug for BufferedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedBytes")
            .field("max", &self.shared.max)
            .field("max_per_user", &self.shared.max_per_user)
            .field("kept", &self.kept())
            .finish()
    }
}

impl Shared {
    /// Nothing panics while it holds the lock, so the counts are right even if it is poisoned.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that one of a user's requests may keep, given back on drop.
#[must_use = "the bytes are given back when the permit is dropped"]
pub struct BufferPermit {
    bytes: usize,
    user: UserId,
    shared: Arc<Shared>,
}

impl BufferPermit {
    /// Makes it a permit for `bytes`, unless it is one for as many already. Up to 4 KiB are free.
    ///
    /// # Errors
    /// 503 where everyone together, and 429 where the user, would keep too many. The permit stays
    /// what it was.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Rejection> {
        if bytes <= UNCOUNTED_BYTES {
            return Ok(());
        }
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        let mut kept = self.shared.kept();
        let of_user = kept.by_user.get(&self.user).copied().unwrap_or_default();
        if of_user.saturating_add(more) > self.shared.max_per_user {
            return Err(Rejection::new(Code::RateLimited)
                .message("Too much of yours is being read at once; try again in a moment.")
                .because("the user is over limits.max_buffered_bytes_per_user")
                .retry_after(1));
        }
        if kept.bytes.saturating_add(more) > self.shared.max {
            return Err(Rejection::new(Code::ServiceUnavailable)
                .because("all requests together are over limits.max_buffered_bytes"));
        }
        kept.bytes += more;
        kept.by_user.insert(self.user.clone(), of_user + more);
        drop(kept);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BufferPermit {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut kept = self.shared.kept();
        kept.bytes = kept.bytes.saturating_sub(self.bytes);
        if let Some(of_user) = kept.by_user.get_mut(&self.user) {
            *of_user = of_user.saturating_sub(self.bytes);
            if *of_user == 0 {
                kept.by_user.remove(&self.user);
            }
        }
    }
}

impl fmt::Debug for BufferPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPermit").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_for_all_and_for_each_and_given_back() {
        let [ada, eve] = ["ada", "eve"].map(|id| UserId::parse(id).unwrap());
        let bytes = BufferedBytes::new(100_000, 60_000);
        let (mut first, mut second) = (bytes.permit(&ada), bytes.permit(&ada));
        first.grow_to(4096).unwrap();
        assert_eq!(bytes.kept(), 0);
        first.grow_to(30_000).unwrap();
        first.grow_to(40_000).unwrap();
        first.grow_to(35_000).unwrap();
        assert_eq!(bytes.kept(), 40_000);
        assert_eq!(second.grow_to(20_001).unwrap_err().status(), 429);
        second.grow_to(20_000).unwrap();
        let mut others = bytes.permit(&eve);
        let refusal = others.grow_to(40_001).unwrap_err();
        assert_eq!(refusal.code(), Code::ServiceUnavailable);
        others.grow_to(40_000).unwrap();
        assert_eq!(bytes.kept(), 100_000);
        drop((first, others));
        assert_eq!(bytes.kept(), 20_000);
        drop(second);
        assert_eq!(bytes.kept(), 0);
        assert!(bytes.shared.kept().by_user.is_empty());
    }
}
