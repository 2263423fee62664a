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

/// The task need not be woken: it has been, or it has what it asked for and will ask again.
const AWAKE: u8 = 0;
/// The task waits: a wake goes on to it, and until there is one there is nothing to poll for.
const ASLEEP: u8 = 1;
/// The task is polling: a wake is only remembered.
const SHUT: u8 = 2;
/// The task is polling, and there was a wake.
const KNOCKED: u8 = 3;

impl Gate {
    /// Notes that the task behind `waker` begins to poll. `false` if that would be for nothing: it
    /// is the task that waits, and nobody has woken it. A server that has written an event asks for
    /// the next one once more than it is told to.
    pub(super) fn shut(&self, waker: &Waker) -> bool {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            if self.state.load(Ordering::Acquire) == ASLEEP {
                return false;
            }
        } else {
            *task = Some(waker.clone());
        }
        drop(task);
        self.state.store(SHUT, Ordering::Release);
        true
    }

    /// Notes that everything is about to be polled, so what knocked until now will be seen to.
    pub(super) fn hush(&self) {
        self.state.swap(SHUT, Ordering::AcqRel);
    }

    /// Tells whether there was a knock since [`hush`](Self::hush).
    pub(super) fn is_knocked(&self) -> bool {
        self.state.load(Ordering::Acquire) == KNOCKED
    }

    /// Notes that the task has polled, and waits or has what it wanted; tells whether it must poll
    /// again although it waits, because there was a knock since [`hush`](Self::hush).
    pub(super) fn open(&self, waits: bool) -> bool {
        let next = if waits { ASLEEP } else { AWAKE };
        let knocked =
            self.state.compare_exchange(SHUT, next, Ordering::AcqRel, Ordering::Acquire).is_err();
        if knocked {
            self.state.store(AWAKE, Ordering::Release);
        }
        knocked && waits
    }

    /// Notes that no task cares any more.
    pub(super) fn leave(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.state.store(AWAKE, Ordering::Release);
        drop(task);
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = |state| match state {
            ASLEEP => Some(AWAKE),
            SHUT => Some(KNOCKED),
            _ => None,
        };
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken) == Ok(ASLEEP) {
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
    fn a_wake_passes_to_a_task_that_waits_and_is_remembered_while_it_polls() {
        let (count, gate) = (Arc::<Count>::default(), Arc::<Gate>::default());
        let (task, waker) = (Waker::from(count.clone()), Waker::from(gate.clone()));
        let woken = || count.0.load(Ordering::Relaxed);

        waker.wake_by_ref();
        assert!(gate.shut(&task));
        waker.wake_by_ref();
        gate.hush();
        assert!(!gate.open(true), "what knocked before the hush is settled");
        assert_eq!(woken(), 0);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 1, "it is awake by then");

        assert!(gate.shut(&task));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(gate.open(true));
        assert_eq!(woken(), 1, "the caller does it");

        assert!(gate.shut(&task));
        gate.hush();
        assert!(!gate.open(true));
        gate.leave();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        drop(task);
        assert_eq!(Arc::strong_count(&count), 1, "the task is let go of");
    }

    #[test]
    fn a_poll_is_for_nothing_only_if_the_same_task_waits_and_was_not_woken() {
        let (count, gate) = (Arc::<Count>::default(), Arc::<Gate>::default());
        let (task, waker) = (Waker::from(count.clone()), Waker::from(gate.clone()));

        assert!(gate.shut(&task));
        assert!(!gate.open(true));
        assert!(!gate.shut(&task), "nothing has happened");
        assert!(gate.shut(Waker::noop()), "another task");
        assert!(!gate.open(true));
        assert!(gate.shut(&task), "and back");
        assert!(!gate.open(true));
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "the last one to poll is woken");
        assert!(gate.shut(&task));
        // It has what it wanted, so it may want more.
        assert!(!gate.open(false));
        assert!(gate.shut(&task));
        waker.wake_by_ref();
        assert!(!gate.open(false), "there is no need to wake whoever is answered");
        assert!(gate.shut(&task));
        // It waits, but a knock came: it must be polled.
        waker.wake_by_ref();
        assert!(gate.open(true));
        assert!(gate.shut(&task));
        assert!(!gate.open(true));
        // An idle connection's next exchange is another matter.
        gate.leave();
        assert!(gate.shut(&task));
    }
}
