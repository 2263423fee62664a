use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// A waker between an upstream connection and the task that drives it.
///
/// hyper's connection and the body it feeds wake each other for every chunk. Since both are
/// polled by the same task, one right after the other, those wakes would only have the task
/// polled again for nothing, once per event. The gate is shut while the task polls, and tells
/// afterwards whether somebody knocked.
///
/// It also lets go of the task when a connection is idle, and gives the connection's socket and
/// timer one waker for life, so nothing is registered anew when the task changes.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// A wake goes on to the task.
const OPEN: u8 = 0;
/// The task is polling: a wake is only remembered.
const SHUT: u8 = 1;
/// The task is polling, and there was a wake.
const KNOCKED: u8 = 2;

impl Gate {
    /// The task behind `waker` begins to poll.
    pub(super) fn shut(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
        drop(task);
        self.state.store(SHUT, Ordering::Release);
    }

    /// Everything is about to be polled, so what knocked until now will be seen to.
    pub(super) fn hush(&self) {
        self.state.swap(SHUT, Ordering::AcqRel);
    }

    /// The task has polled; whether there was a knock since [`hush`](Self::hush), in which case
    /// it must be polled again.
    pub(super) fn open(&self) -> bool {
        self.state.swap(OPEN, Ordering::AcqRel) == KNOCKED
    }

    /// No task cares any more.
    pub(super) fn leave(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.state.store(OPEN, Ordering::Release);
        drop(task);
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(SHUT, KNOCKED, Ordering::AcqRel, Ordering::Acquire)
            == Err(OPEN)
        {
            // Cloned so that a foreign waker doesn't run under our lock.
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_passes_only_an_open_gate_and_is_remembered_by_a_shut_one() {
        let (count, gate) = (Arc::<Count>::default(), Arc::<Gate>::default());
        let (task, waker) = (Waker::from(count.clone()), Waker::from(gate.clone()));
        let woken = || count.0.load(Ordering::Relaxed);

        waker.wake_by_ref();
        gate.shut(&task);
        waker.wake_by_ref();
        gate.hush();
        assert!(!gate.open(), "what knocked before the hush is settled");
        assert_eq!(woken(), 0);

        gate.shut(&task);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(gate.open());
        assert_eq!(woken(), 0, "the caller does it");

        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        gate.leave();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        drop(task);
        assert_eq!(Arc::strong_count(&count), 1, "the task is let go of");
    }
}
