//! A rendezvous channel inside of one task: a future puts values in, whoever polls it takes them.
//!
//! It lets a run be written as an `async` function that pauses at each event until the event was
//! taken. Nothing is spawned, nothing is queued: at most one value is in the channel.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// One end puts, the other takes; both are this type.
pub(super) struct Rendezvous<T>(Arc<Mutex<Handoff<T>>>);

struct Handoff<T> {
    value: Option<T>,
    putter: Option<Waker>,
}

impl<T> Rendezvous<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Handoff { value: None, putter: None })))
    }

    /// Gives the other end.
    pub(super) fn other_end(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Puts a value in and waits until it was taken.
    ///
    /// Dropping the future takes nothing back: the value may still be taken.
    pub(super) async fn put(&mut self, value: T) {
        self.emptied().await;
        self.slot(|slot| slot.value = Some(value));
        self.emptied().await;
    }

    /// Takes the value, if there is one.
    pub(super) fn take(&mut self) -> Option<T> {
        let (value, putter) = self.slot(|slot| (slot.value.take(), slot.putter.take()));
        if let Some(putter) = putter {
            putter.wake();
        }
        value
    }

    async fn emptied(&self) {
        poll_fn(|cx| {
            self.slot(|slot| {
                if slot.value.is_none() {
                    return Poll::Ready(());
                }
                slot.putter = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    fn slot<R>(&self, look: impl FnOnce(&mut Handoff<T>) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> fmt::Debug for Rendezvous<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendezvous").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn a_putter_goes_on_only_after_its_value_was_taken() {
        let mut rendezvous = Rendezvous::new();
        let mut end = rendezvous.other_end();
        let mut putting = pin!(async move {
            rendezvous.put(1).await;
            rendezvous.put(2).await;
        });
        let mut cx = Context::from_waker(Waker::noop());
        for expected in [1, 2] {
            assert!(putting.as_mut().poll(&mut cx).is_pending());
            assert!(putting.as_mut().poll(&mut cx).is_pending());
            assert_eq!(end.take(), Some(expected));
            assert_eq!(end.take(), None);
        }
        assert!(putting.as_mut().poll(&mut cx).is_ready());
    }
}
