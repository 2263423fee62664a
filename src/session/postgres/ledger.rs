//! What this opening of the store knows of its own runs: which are in flight, and what they left that is
//! not known to be written.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::pending::Left;
use super::rows::Stored;
use crate::principal::UserId;
use crate::session::record::SessionId;
use crate::session::store::{RunId, Settlement};

/// So much is kept while it can't be written: then no run begins, and none is left to leave more.
const MAX_LEFT: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    /// Something was left, or somebody waits for it, or a run begins where there was none.
    pub(super) news: Notify,
}

#[derive(Default)]
struct State {
    /// Those that are being begun, and those in flight.
    runs: HashMap<RunId, Run>,
    /// In the order in which it was left.
    left: VecDeque<Arc<Left>>,
    /// What was written lately, for who began to read before. Each with the token that those have.
    written: VecDeque<(Arc<()>, Vec<Arc<Left>>)>,
    reading: Arc<()>,
    /// Calls that go on though whoever made them has gone.
    abandoned: Vec<(Option<UserId>, watch::Receiver<()>)>,
    is_urgent: bool,
}

struct Run {
    user_id: UserId,
    session: Option<SessionId>,
    /// The calls that begin it, and who waits for them.
    holders: usize,
    stage: Stage,
    /// It may have begun, or may do so yet, by a call that was not answered.
    may_have_begun: bool,
    /// Its session is to go with it.
    made_session: bool,
    /// One call that begins it at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not known to have begun.
    Asked,
    Begun,
    /// It has, and its caller knows of it and will settle it.
    Told,
}

impl Ledger {
    /// No code panics while it holds the lock, so a poisoned one is still consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call begins a run.
    pub(super) fn hold(self: &Arc<Self>, run: RunId, user_id: &UserId) -> Holder {
        let mut state = self.state();
        let is_first = state.runs.is_empty();
        state.hold(run, user_id);
        drop(state);
        if is_first {
            self.news.notify_one();
        }
        Holder { ledger: Arc::clone(self), run, user_id: user_id.clone() }
    }

    /// Ends a run that has begun in that session, and gives what it left.
    pub(super) fn settle(
        &self,
        id: SessionId,
        run: RunId,
        settlement: Settlement,
    ) -> Option<Arc<Left>> {
        let mut state = self.state();
        let known = state.runs.get_mut(&run)?;
        if known.stage == Stage::Asked || known.session != Some(id) {
            return None;
        }
        let (user_id, may_begin) = (known.user_id.clone(), known.may_have_begun);
        // Who begins it once more meanwhile begins it anew.
        known.stage = Stage::Asked;
        if known.holders == 0 {
            state.runs.remove(&run);
        }
        let left = Arc::new(Left::new(Some(id), user_id, run, settlement, may_begin));
        // Whoever writes knows of the others, and looks again when it has written them.
        let is_first = state.left.is_empty();
        state.left.push_back(Arc::clone(&left));
        drop(state);
        if is_first {
            self.news.notify_one();
        }
        Some(left)
    }

    /// Keeps what is to be settled once more.
    pub(super) fn keep(&self, left: Left) {
        self.state().left.push_back(Arc::new(left));
    }

    /// Tells whether so much is unwritten that no run may begin.
    pub(super) fn is_full(&self) -> bool {
        self.state().left.len() >= MAX_LEFT
    }

    /// Tells whether no run is in flight or being begun.
    pub(super) fn is_idle(&self) -> bool {
        self.state().runs.is_empty()
    }

    /// Gives the first of what `matches` and is not known to be written.
    pub(super) fn left(&self, most: usize, matches: impl Fn(&Left) -> bool) -> Vec<Arc<Left>> {
        let state = self.state();
        state.left.iter().filter(|left| matches(left)).take(most).cloned().collect()
    }

    /// Lets whoever writes know that somebody waits.
    pub(super) fn hurry(&self) {
        self.state().is_urgent = true;
        self.news.notify_one();
    }

    /// Tells whether something is unwritten, and whether somebody has waited for it since it was asked.
    pub(super) fn waiting(&self) -> (bool, bool) {
        let mut state = self.state();
        (!state.left.is_empty(), std::mem::take(&mut state.is_urgent))
    }

    /// Notes that all of these are written.
    pub(super) fn written(&self, lefts: &[Arc<Left>]) {
        for left in lefts {
            left.set_written();
        }
        let mut state = self.state();
        state.left.retain(|left| !left.is_written());
        let before = std::mem::take(&mut state.reading);
        state.written.push_back((before, lefts.to_vec()));
        while state.written.front().is_some_and(|(readers, _)| Arc::strong_count(readers) == 1) {
            state.written.pop_front();
        }
    }

    /// Puts what the sessions of these left behind all others', so that these aren't in their way.
    pub(super) fn put_back(&self, skipped: &[Arc<Left>]) {
        let sessions: HashSet<_> = skipped.iter().map(|left| left.session).collect();
        let left = &mut self.state().left;
        // Those of a session stay in their order.
        left.make_contiguous().sort_by_key(|left| sessions.contains(&left.session));
    }

    /// Gives what whoever reads must keep from before that until it has [corrected](Self::correct) it.
    pub(super) fn reading(&self) -> Arc<()> {
        Arc::clone(&self.state().reading)
    }

    /// Corrects a session that was read by what was left and is not in it; `None` if it goes.
    pub(super) fn correct(&self, mut session: Stored, reading: &Arc<()>) -> Option<Stored> {
        // Its reader has it still, so that what was written meanwhile is here.
        let _ = reading;
        if session.in_flight.is_empty() {
            return Some(session);
        }
        let state = self.state();
        let lately = state.written.iter().flat_map(|(_, lefts)| lefts);
        let behind: Vec<_> = lately
            .chain(&state.left)
            .filter(|left| left.is_behind(&session))
            .map(Arc::clone)
            .collect();
        drop(state);
        behind.iter().all(|left| left.apply(&mut session)).then_some(session)
    }

    /// Notes that a call goes on though whoever made it has gone.
    pub(super) fn abandon(&self, user_id: Option<UserId>, call: watch::Receiver<()>) {
        let mut state = self.state();
        state.abandoned.retain(|(_, call)| call.has_changed().is_ok());
        state.abandoned.push((user_id, call));
    }

    /// Gives such calls: of a user's, or all.
    pub(super) fn abandoned(&self, of: Option<&UserId>) -> Vec<watch::Receiver<()>> {
        let mut state = self.state();
        if state.abandoned.is_empty() {
            return Vec::new();
        }
        state.abandoned.retain(|(_, call)| call.has_changed().is_ok());
        let of_user = |user_id: &Option<UserId>| of.is_none() || user_id.as_ref() == of;
        let abandoned = state.abandoned.iter().filter(|(user_id, _)| of_user(user_id));
        abandoned.map(|(_, call)| call.clone()).collect()
    }
}

impl State {
    fn hold(&mut self, run: RunId, user_id: &UserId) {
        let held = self.runs.entry(run).or_insert_with(|| Run {
            user_id: user_id.clone(),
            session: None,
            holders: 0,
            stage: Stage::Asked,
            may_have_begun: false,
            made_session: false,
            turn: Arc::default(),
        });
        held.holders += 1;
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// A call that begins a run, or who waits for it. When the last one goes and nobody was told, the run is
/// settled.
pub(super) struct Holder {
    ledger: Arc<Ledger>,
    run: RunId,
    user_id: UserId,
}

impl Holder {
    /// Makes that of the call itself, which goes on without who waits for it.
    pub(super) fn of_call(&self) -> Self {
        self.ledger.state().hold(self.run, &self.user_id);
        let (ledger, user_id) = (Arc::clone(&self.ledger), self.user_id.clone());
        Self { ledger, run: self.run, user_id }
    }

    /// Gives what each call that begins the run has to have.
    pub(super) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        let state = self.ledger.state();
        state.runs.get(&self.run).map(|run| Arc::clone(&run.turn)).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.ledger.state().runs.get_mut(&self.run) {
            change(run);
        }
    }

    /// Notes that it has begun.
    pub(super) fn begun(&self, session: SessionId, made_session: bool) {
        self.change(|run| {
            run.session = Some(session);
            if run.stage == Stage::Asked {
                run.stage = Stage::Begun;
            }
            run.made_session |= made_session;
        });
    }

    /// Notes that nobody knows whether it has, or will.
    pub(super) fn may_have_begun(&self, session: Option<SessionId>, made_session: bool) {
        self.change(|run| {
            run.session = run.session.or(session);
            run.may_have_begun = true;
            run.made_session |= made_session;
        });
    }

    /// Leaves the run, which has begun, to its caller.
    pub(super) fn told(self) {
        self.change(|run| run.stage = Stage::Told);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        let Some(run) = state.runs.get_mut(&self.run) else { return };
        run.holders = run.holders.saturating_sub(1);
        if run.holders > 0 || run.stage == Stage::Told {
            return;
        }
        let Some(run) = state.runs.remove(&self.run) else { return };
        if run.stage == Stage::Begun || run.may_have_begun {
            let discard_unbound = run.made_session;
            let settlement = Settlement { discard_unbound, ..Settlement::default() };
            let may_begin = run.may_have_begun;
            let left = Left::new(run.session, run.user_id, self.run, settlement, may_begin);
            state.left.push_back(Arc::new(left));
            drop(state);
            self.ledger.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn whoever_writes_is_told_of_the_first_that_was_left() {
        let ledger = Arc::new(Ledger::default());
        let is_told = || {
            let mut context = Context::from_waker(Waker::noop());
            pin!(ledger.news.notified()).poll(&mut context).is_ready()
        };
        let (user_id, session) = (UserId::parse("ada").unwrap(), SessionId::random());
        let runs = [(); 3].map(|()| RunId::random());
        for run in runs {
            let holder = ledger.hold(run, &user_id);
            holder.begun(session, false);
            holder.told();
        }
        assert!(is_told(), "of runs in flight");
        let settle = |run| assert!(ledger.settle(session, run, Settlement::default()).is_some());
        settle(runs[0]);
        assert!(is_told());
        settle(runs[1]);
        assert!(!is_told(), "it knows");
        ledger.written(&ledger.left(usize::MAX, |_| true));
        settle(runs[2]);
        assert!(is_told());
    }
}
