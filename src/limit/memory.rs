//! Bytes that are kept in memory, of everyone and of one user.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::principal::UserId;
use crate::rejection::{Code, Rejection};

/// What is not more than this is not counted: its bookkeeping would cost more than it does, and so
/// many requests as may be in flight have little of it together.
const UNCOUNTED_BYTES: usize = 4096;

/// Once something was taken, more is taken in steps of this, so that what comes in many pieces is
/// not counted piece by piece.
const STEP_BYTES: usize = 64 * 1024;

/// How many bytes of what is read whole may be kept at once: of everyone, and of one user.
///
/// Whoever reads something whole takes a [`permit`](Self::permit) for it, however it came and whoever
/// sent it. Bytes count once, as they came: what is made of them may take as much again. Clones count
/// together. There is an entry per user of whom something is kept and none for others.
#[derive(Clone)]
pub struct BufferedBytes {
    shared: Arc<Shared>,
}

struct Shared {
    max: usize,
    max_per_user: usize,
    kept: Mutex<BufferedCounts>,
}

#[derive(Default)]
struct BufferedCounts {
    bytes: usize,
    /// Never 0.
    by_user: HashMap<UserId, usize>,
}

impl BufferedBytes {
    /// Allows at most `max` bytes of everyone, and `max_per_user` of one user.
    pub fn new(max: usize, max_per_user: usize) -> Self {
        Self { shared: Arc::new(Shared { max, max_per_user, kept: Mutex::default() }) }
    }

    /// Gives a permit for nothing yet.
    pub fn permit(&self, user: &UserId) -> BufferPermit {
        BufferPermit { bytes: 0, user: user.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Gives the most that one user may keep, and so the most that anything has to be read whole.
    pub fn largest(&self) -> usize {
        self.shared.max.min(self.shared.max_per_user)
    }

    /// Tells how many bytes are kept, as far as they are counted.
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

impl BufferedCounts {
    fn add(&mut self, user: &UserId, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        match self.by_user.get_mut(user) {
            Some(of_user) => *of_user += bytes,
            None => {
                self.by_user.insert(user.clone(), bytes);
            }
        }
    }
}

impl Shared {
    /// Locks the counts. Nothing panics while it holds the lock, so the counts are right even if it
    /// is poisoned.
    fn kept(&self) -> MutexGuard<'_, BufferedCounts> {
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
    /// Makes it a permit for `bytes` at least, unless it is one for as many already. Up to 4 KiB are
    /// free; what is taken beyond the first time goes in steps of 64 KiB, where there is room.
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
        let room_of_user = self.shared.max_per_user.saturating_sub(of_user);
        if more > room_of_user {
            return Err(Rejection::new(Code::RateLimited)
                .message("Too much of yours is being read at once; try again in a moment.")
                .because("the user is over limits.max_buffered_bytes_per_user")
                .retry_after(1));
        }
        let room = self.shared.max.saturating_sub(kept.bytes);
        if more > room {
            return Err(Rejection::new(Code::ServiceUnavailable)
                .because("all requests together are over limits.max_buffered_bytes"));
        }
        let step = if self.bytes == 0 { more } else { more.max(STEP_BYTES) };
        let step = step.min(room_of_user).min(room);
        kept.add(&self.user, step);
        drop(kept);
        self.bytes += step;
        Ok(())
    }

    /// Does the same for what is in memory already and not going to be given up: it counts, and
    /// keeps others out, even where it is too much.
    pub fn cover(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|_| bytes > UNCOUNTED_BYTES) {
            self.shared.kept().add(&self.user, more);
            self.bytes += more;
        }
    }

    /// Tells whether it is a permit for nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Gives these bytes, with which the permit goes: it is given back with the last of their
    /// clones.
    #[must_use]
    pub fn held_by(self, bytes: Bytes) -> Bytes {
        struct Held {
            bytes: Bytes,
            _permit: BufferPermit,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        if self.is_empty() { bytes } else { Bytes::from_owner(Held { bytes, _permit: self }) }
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

    #[test]
    fn what_comes_in_many_pieces_is_counted_in_steps_while_there_is_room() {
        let ada = UserId::parse("ada").unwrap();
        let bytes = BufferedBytes::new(200_000, 150_000);
        let mut permit = bytes.permit(&ada);
        let mut counted = Vec::new();
        for read in (0..=150_000).step_by(1000) {
            permit.grow_to(read).unwrap();
            assert!(bytes.kept() >= read || read <= UNCOUNTED_BYTES);
            if counted.last() != Some(&bytes.kept()) {
                counted.push(bytes.kept());
            }
        }
        assert_eq!(counted, [0, 5000, 5000 + 65_536, 5000 + 2 * 65_536, 150_000]);
        assert_eq!(permit.grow_to(150_001).unwrap_err().status(), 429);
        drop(permit);
        assert_eq!(bytes.kept(), 0);
    }

    #[test]
    fn a_permit_goes_with_the_bytes_that_it_is_for() {
        let ada = UserId::parse("ada").unwrap();
        let bytes = BufferedBytes::new(10_000, 10_000);
        let mut permit = bytes.permit(&ada);
        permit.grow_to(5000).unwrap();
        let held = permit.held_by(Bytes::from(vec![b'a'; 5000]));
        let part = held.slice(10..20);
        drop(held);
        assert_eq!((&*part, bytes.kept()), (&b"aaaaaaaaaa"[..], 5000));
        // What is in memory already counts, even where it is too much.
        let mut written = bytes.permit(&ada);
        written.cover(UNCOUNTED_BYTES);
        assert!(written.is_empty());
        written.cover(20_000);
        assert_eq!(bytes.kept(), 25_000);
        assert!(bytes.permit(&ada).grow_to(4097).is_err());
        drop((part, written));
        assert_eq!(bytes.kept(), 0);
    }
}
