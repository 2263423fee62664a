//! The thread that looks for other processes.
//!
//! It is the writer's no more than the callers', because it must not wait for the file: a process that
//! has come may have that locked while it waits for this one to mark its messages.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::locks::SUFFIX;
use super::places::{LOOK_EVERY, Places};
use super::tally::Tallies;
use super::writer::Queue;

/// How many sessions are marked until others have their turn at the tally.
const MARK_AT_ONCE: usize = 64;

/// How long it takes until a store that is being opened looks again whether it may decide.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to look, if there is anybody to look for. Waits until others have marked their messages,
    /// but not for ever: then runs have to wait for it.
    ///
    /// # Errors
    /// If there is no thread to be had.
    #[expect(clippy::disallowed_methods, reason = "who opens a store waits for its file, too")]
    pub(super) fn start(queue: &Arc<Queue>, patience: Duration) -> std::io::Result<Self> {
        if !queue.tallies(|tallies| tallies.places().is_open()) {
            return Ok(Self { stop: None, thread: None });
        }
        let begun = Instant::now();
        loop {
            look(queue);
            if !queue.tallies(|tallies| tallies.places().is_waiting()) {
                break;
            }
            if begun.elapsed() >= patience.max(LOOK_EVERY * 2) {
                tracing::warn!("session store: another process does not tell of its runs");
                break;
            }
            std::thread::sleep(TRY_EVERY);
        }
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("session-watch".to_owned()).spawn({
            let queue = Arc::clone(queue);
            move || {
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    look(&queue);
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It was logged by the panic hook if it panicked; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn look(queue: &Queue) {
    let places = stay_found(queue);
    let looked = places.and_then(|places| {
        queue.tallies(|tallies| {
            if let Some(places) = places {
                tallies.move_to(places);
            }
            tallies.look()
        })
    });
    let looked = looked.and_then(|unmarked| {
        let Some(unmarked) = unmarked else { return Ok(()) };
        for some in unmarked.chunks(MARK_AT_ONCE) {
            queue.tallies(|tallies| some.iter().try_for_each(|id| tallies.mark(*id)))?;
        }
        queue.tallies(Tallies::all_marked)
    });
    if let Err(error) = looked {
        tracing::error!(%error, "session store: could not tell other processes of runs");
    }
}

/// Takes other places, where other processes look for this one's runs, if they don't find its own
/// any more.
fn stay_found(queue: &Queue) -> io::Result<Option<Places>> {
    let lost = |tallies: &mut Tallies| {
        let places = tallies.places();
        places.are_lost().map(|are_lost| are_lost.then(|| places.path().to_owned()))
    };
    let Some(path) = queue.tallies(lost)? else { return Ok(None) };
    // Not beside another store that is there instead.
    if !queue.has_its_files() {
        return Ok(None);
    }
    // This may take a while.
    let places = Places::open(&path)?;
    tracing::warn!("session store: the file {SUFFIX} beside it was deleted or replaced: made anew");
    Ok(Some(places))
}
