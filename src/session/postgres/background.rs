//! What nobody waits for: beats, while runs are in flight, and what runs left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::pending::Left;
use super::store::Shared;

/// How often a gateway that has runs says that it is there; a quarter of how long it counts then.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// How long it is gathered what runs leave, unless somebody waits.
const GATHER: Duration = Duration::from_millis(20);

/// How much is written at once.
const MAX_BATCH: usize = 1000;

/// The first and the last pause after a failure, of which each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The same while all is written but what somebody has locked, which is seldom for long.
const PAUSES_OF_LOCKED: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(50));

/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// When what is to be done next.
struct Agenda {
    beat: Instant,
    /// None while there is nothing.
    flush: Option<Instant>,
    /// Not before, after a failure.
    not_before: Instant,
    pause: Duration,
    pause_of_locked: Duration,
    /// Runs that may begin yet, to be settled once more.
    again: Vec<(Instant, Left)>,
}

/// Goes on until the store is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let now = Instant::now();
    let mut agenda = Agenda {
        beat: now,
        flush: None,
        not_before: now,
        pause: PAUSES.0,
        pause_of_locked: PAUSES_OF_LOCKED.0,
        again: Vec::new(),
    };
    while !shared.is_closed() {
        let now = Instant::now();
        let is_idle = shared.ledger.is_idle();
        if !is_idle && now >= agenda.beat {
            let is_heard = beat(&shared).await;
            agenda.beat = Instant::now() + if is_heard { BEAT_EVERY } else { PAUSES.1 };
        }
        agenda.take_again(&shared, now);
        let (is_left, is_urgent) = shared.ledger.waiting();
        agenda.flush = match agenda.flush {
            _ if !is_left => None,
            _ if is_urgent => Some(now.max(agenda.not_before)),
            None => Some((now + GATHER).max(agenda.not_before)),
            due => due,
        };
        if agenda.flush.is_some_and(|flush| Instant::now() >= flush) {
            agenda.flush(&shared, false).await;
            continue;
        }
        let again = agenda.again.iter().map(|(due, _)| *due);
        let beat = (!is_idle).then_some(agenda.beat);
        let next = again.chain(agenda.flush).chain(beat).min();
        let news = shared.ledger.news.notified();
        match next {
            // News or the time, whichever is first.
            Some(next) => drop(timeout_at(next, news).await),
            None => news.await,
        }
    }
    let leaving = async {
        // All that can be at once, and then what has to be waited for.
        for waits in [false, true] {
            while shared.ledger.waiting().0
                && agenda.flush(&shared, waits).await.is_some_and(|written| written > 0)
            {
            }
        }
        let sql = &shared.statements.goodbye;
        // Whoever isn't heard any more is gone in the end.
        let _ = shared.own.query(None, sql, &[&shared.gateway], true).await;
    };
    let _ = timeout(GOODBYE, leaving).await;
    shared.calls.close();
    shared.own.close();
    shared.set_gone();
}

async fn beat(shared: &Shared) -> bool {
    let sql = &shared.statements.beat;
    match shared.own.query(None, sql, &[&shared.gateway], true).await {
        Ok(_) => true,
        Err(failure) => {
            tracing::debug!(error = %failure, "could not tell the database of the runs in flight");
            false
        }
    }
}

impl Agenda {
    /// Writes some of what was left, but what somebody has locked unless it `waits`. Gives how much it
    /// was, or nothing if that hasn't worked.
    async fn flush(&mut self, shared: &Shared, waits: bool) -> Option<usize> {
        self.flush = None;
        // Whoever has it along may fail: then it is here the next time.
        let is_mine = |left: &Left| shared.is_closed() || !left.is_carried();
        let lefts = shared.ledger.left(MAX_BATCH, is_mine);
        let tried = lefts.len();
        if tried == 0 {
            return Some(0);
        }
        match shared.settle(&shared.own, lefts, waits).await {
            Ok(skipped) => {
                (self.pause, self.not_before) = (PAUSES.0, Instant::now());
                if skipped.is_empty() {
                    self.pause_of_locked = PAUSES_OF_LOCKED.0;
                } else {
                    self.not_before += self.pause_of_locked;
                    self.pause_of_locked = (self.pause_of_locked * 2).min(PAUSES_OF_LOCKED.1);
                    self.flush = Some(self.not_before);
                }
                Some(tried - skipped.len())
            }
            Err(failure) => {
                // That the database is away was told.
                if self.pause == PAUSES.0 && !failure.is_absence() {
                    let error = &failure as &dyn std::error::Error;
                    tracing::warn!(error, "could not write what runs left: it is tried again");
                }
                self.not_before = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(PAUSES.1);
                None
            }
        }
    }

    /// Keeps what is to be settled once more until it is due, and then leaves it.
    fn take_again(&mut self, shared: &Shared, now: Instant) {
        let due = now + shared.settle_again_after;
        self.again.extend(shared.take_again().into_iter().map(|left| (due, left)));
        for (_, left) in self.again.extract_if(.., |(due, _)| *due <= now) {
            shared.ledger.keep(left);
        }
    }
}
