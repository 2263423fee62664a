//! What the upstream has to say, in order, and what it was asked.
//!
//! The scripted upstreams, the one in this process and the one behind a socket, take a
//! [`ScriptedTurn`] for each request that comes; the runner says which turns there are and reads what
//! came. A request that nobody expects is answered with 500 and kept for the report.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;

use super::fixture::Exchange;

/// The requests of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StepScope(u64);

/// A request as the upstream got it.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    scope: StepScope,
    /// Which of its step's exchanges it was taken for; `None` for one too many.
    pub(super) planned: Option<usize>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) outcome: TurnOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnOutcome {
    Answering,
    /// The gateway gave it up before the answer's end.
    GivenUp,
    /// The answer was given as scripted.
    Answered,
}

/// What came of a step, upstream.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) arrivals: Vec<Arrival>,
    /// The exchanges that no request came for.
    pub(super) missing: Vec<usize>,
}

#[derive(Clone)]
pub(super) struct Script {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Goes up with everything that happens.
    happened: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Planned>,
    arrivals: Vec<Arrival>,
    /// Outermost first.
    active: Vec<StepScope>,
    gated: HashSet<StepScope>,
    scopes: u64,
}

struct Planned {
    scope: StepScope,
    index: usize,
    exchange: Arc<Exchange>,
    last: bool,
}

impl Script {
    pub(super) fn new() -> Self {
        let (happened, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { state: Mutex::default(), happened }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happened(&self) {
        self.shared.happened.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until `done` says so.
    async fn until(&self, done: impl Fn(&State) -> bool) {
        let mut happened = self.shared.happened.subscribe();
        while !done(&self.state()) {
            // Only a sender that is gone fails it, and `self` has it.
            if happened.changed().await.is_err() {
                return;
            }
        }
    }

    /// Expects these exchanges next. With `gated`, the last one is not answered before
    /// [`release`](Self::release).
    pub(super) fn begin(&self, exchanges: &[Arc<Exchange>], gated: bool) -> StepScope {
        let mut state = self.state();
        state.scopes += 1;
        let scope = StepScope(state.scopes);
        for (index, exchange) in exchanges.iter().enumerate() {
            let last = index + 1 == exchanges.len();
            let exchange = Arc::clone(exchange);
            state.queue.push_back(Planned { scope, index, exchange, last });
        }
        state.active.push(scope);
        if gated {
            state.gated.insert(scope);
        }
        scope
    }

    /// Waits until all exchanges of `scope` have begun.
    pub(super) async fn arrived(&self, scope: StepScope) {
        self.until(|state| !state.queue.iter().any(|planned| planned.scope == scope)).await;
    }

    /// Waits until no exchange of `scope` is under way.
    pub(super) async fn settled(&self, scope: StepScope) {
        self.until(|state| {
            let mut arrivals = state.arrivals.iter().filter(|arrival| arrival.scope == scope);
            arrivals.all(|arrival| arrival.outcome != TurnOutcome::Answering)
        })
        .await;
    }

    pub(super) fn release(&self, scope: StepScope) {
        self.state().gated.remove(&scope);
        self.happened();
    }

    /// Ends a step.
    pub(super) fn end(&self, scope: StepScope) -> Ended {
        let mut state = self.state();
        state.active.retain(|active| *active != scope);
        state.gated.remove(&scope);
        let missing = state.queue.iter().filter(|planned| planned.scope == scope);
        let missing = missing.map(|planned| planned.index).collect();
        state.queue.retain(|planned| planned.scope != scope);
        let arrivals = state.arrivals.iter().filter(|arrival| arrival.scope == scope).cloned();
        let ended = Ended { arrivals: arrivals.collect(), missing };
        drop(state);
        self.happened();
        ended
    }

    /// Notes that a request has come: whose turn it is to answer.
    pub(super) fn arrive(&self, headers: HeaderMap, body: Bytes) -> ScriptedTurn {
        let mut state = self.state();
        let planned = state.queue.pop_front();
        let innermost = state.active.last().copied().unwrap_or(StepScope(0));
        let scope = planned.as_ref().map_or(innermost, |planned| planned.scope);
        let arrival = state.arrivals.len();
        state.arrivals.push(Arrival {
            scope,
            planned: planned.as_ref().map(|planned| planned.index),
            headers,
            body,
            outcome: TurnOutcome::Answering,
        });
        drop(state);
        self.happened();
        let gate = planned.as_ref().filter(|planned| planned.last).map(|planned| planned.scope);
        let exchange = planned.map(|planned| planned.exchange);
        ScriptedTurn { script: self.clone(), exchange, gate, arrival }
    }

    fn conclude(&self, arrival: usize, outcome: TurnOutcome) {
        if let Some(arrival) = self.state().arrivals.get_mut(arrival)
            && arrival.outcome == TurnOutcome::Answering
        {
            arrival.outcome = outcome;
        }
        self.happened();
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

/// One request that is to be answered. Dropped before its end, it counts as given up.
#[derive(Debug)]
pub(super) struct ScriptedTurn {
    script: Script,
    /// `None` if nobody expects the request.
    pub(super) exchange: Option<Arc<Exchange>>,
    gate: Option<StepScope>,
    arrival: usize,
}

impl ScriptedTurn {
    /// Waits until it may be answered.
    pub(super) async fn open(&self) {
        if let Some(scope) = self.gate {
            self.script.until(|state| !state.gated.contains(&scope)).await;
        }
    }

    /// Notes that the answer was given to its end.
    pub(super) fn answered(&self) {
        self.script.conclude(self.arrival, TurnOutcome::Answered);
    }
}

impl Drop for ScriptedTurn {
    fn drop(&mut self) {
        self.script.conclude(self.arrival, TurnOutcome::GivenUp);
    }
}
