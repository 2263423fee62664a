//! What becomes of a store's calls: they are slow, fail, and lose their answers.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use chatkit_rest::error::Error;
use chatkit_rest::session::{
    RunId, RunStart, SessionId, SessionRecord, SessionStore, Settlement, ThreadId,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::script::{Clock, Dice, Trace, Weather};

pub(crate) type Owned<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'static>>;

/// What became of the requests that the calls were made for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The calls that were answered with an error.
    pub(crate) failed: Mutex<Vec<&'static str>>,
    /// What the upstream did that it should not.
    pub(crate) upstream: Mutex<Vec<&'static str>>,
    /// What it sent of a run.
    pub(crate) sent: Mutex<Vec<u8>>,
}

tokio::task_local! {
    /// The request that the task is about.
    pub(crate) static REQUEST: Arc<Request>;
}

/// An opening of a store. One that blocks is asked in threads that paused time waits for.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) blocks: bool,
    /// The runtime that it was opened in, where that isn't a seed's.
    pub(crate) home: Option<Handle>,
}

impl Opening {
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if !self.blocks {
            return call.await;
        }
        let runtime = self.home.clone().unwrap_or_else(Handle::current);
        tokio::task::spawn_blocking(move || runtime.block_on(call)).await.unwrap()
    }

    /// Settles a run by the call itself. Paused time waits until it is durable, or another opening
    /// would not know of it by then.
    fn settle(&self, id: SessionId, run: RunId, settlement: Settlement) {
        let store = Arc::clone(&self.store);
        let mut call = Box::pin(async move { store.settle(id, run, settlement).await });
        let home = self.home.as_ref().map(Handle::enter);
        let pending = call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        drop(home);
        if pending && self.blocks {
            let opening = self.clone();
            tokio::spawn(async move { opening.ask(call).await });
        }
    }
}

/// What is told of a thread that a run has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// The store was asked to bind it, and said that it has.
    Acknowledged,
    /// The store said that it won't, or that it failed.
    Failed,
}

/// Which run may bind each session, and what has become of the threads that runs have made.
#[derive(Debug, Default)]
pub(crate) struct Binds {
    pub(crate) threads: Mutex<HashMap<ThreadId, Bind>>,
    leases: Mutex<HashMap<SessionId, RunId>>,
    places: Mutex<HashMap<SessionId, HashSet<RunId>>>,
    most: Mutex<HashMap<ThreadId, usize>>,
}

impl Binds {
    /// Notes that a session is a first run's from now on.
    pub(crate) fn lease(&self, id: SessionId, run: RunId) {
        self.leases.lock().unwrap().insert(id, run);
    }

    /// Notes that a run has a place in a session, until the store knows that it is settled.
    pub(crate) fn take_place(&self, id: SessionId, run: RunId, thread: Option<&ThreadId>) {
        let places = &mut *self.places.lock().unwrap();
        let taken = places.entry(id).or_default();
        taken.insert(run);
        if let Some(thread) = thread {
            let most = &mut *self.most.lock().unwrap();
            let most = most.entry(ThreadId::clone(thread)).or_default();
            *most = taken.len().max(*most);
        }
    }

    fn give_place_back(&self, id: SessionId, run: RunId) {
        if let Some(taken) = self.places.lock().unwrap().get_mut(&id) {
            taken.remove(&run);
        }
    }

    /// Gives the most runs that had places at once when one began on that thread: one that was settled
    /// at a gateway has its place until the others know.
    pub(crate) fn most_places(&self, thread: &str) -> usize {
        self.most.lock().unwrap().get(thread).copied().unwrap_or(1)
    }

    /// Tells whether it still is; from now on it is not.
    pub(crate) fn end_lease(&self, id: SessionId, run: RunId) -> bool {
        let leases = &mut *self.leases.lock().unwrap();
        let is_held = leases.get(&id) == Some(&run);
        if is_held {
            leases.remove(&id);
        }
        is_held
    }
}

/// One gateway's view of a store that several share, in some weather.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) opening: Opening,
    pub(crate) clock: Clock,
    pub(crate) trace: Trace,
    pub(crate) binds: Arc<Binds>,
    name: &'static str,
    weather: Weather,
    dice: Mutex<Dice>,
    /// Runs that were settled here, which the others don't know yet.
    unsettled: Mutex<Vec<(SessionId, RunId, Settlement)>>,
    /// What each run was begun for.
    requests: Mutex<HashMap<RunId, Arc<Request>>>,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Prompt,
    /// It is applied after a while, and answered after another. To drop it in between stops it.
    Slow(Duration, Duration),
    /// The same, but what was asked for is done, whoever waits for it.
    Sent(Duration, Duration),
    /// Nothing is done.
    Refused(Duration),
    /// It is done, and the answer is an error.
    Lost(Duration),
    /// The answer is an error, and it is done later.
    Late(Duration, Duration),
}

/// What a store has to do about an answer that nobody got.
pub(crate) enum Regret<T> {
    Nothing,
    /// A run that has begun, in the session that the answer names.
    Run(RunId, fn(&T) -> Option<SessionId>, bool),
}

impl<T> Clone for Regret<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Regret<T> {}

pub(crate) fn begun(start: &RunStart) -> Option<SessionId> {
    match start {
        RunStart::First { session, .. } | RunStart::Next { session, .. } => Some(*session),
        _ => None,
    }
}

pub(crate) fn made(created: &chatkit_rest::session::Created) -> Option<SessionId> {
    match created {
        chatkit_rest::session::Created::Session(SessionRecord { id, .. }) => Some(*id),
        _ => None,
    }
}

/// An answer on its way. If it is dropped there, what it tells of is undone as far as it has to be.
struct Answer<T> {
    ground: Arc<Ground>,
    outcome: Option<Result<T, Error>>,
    regret: Regret<T>,
}

impl<T> Answer<T> {
    fn given(mut self) -> Result<T, Error> {
        self.outcome.take().unwrap()
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let Some(Ok(answer)) = &self.outcome else { return };
        let Regret::Run(run, session, discard_unbound) = self.regret else { return };
        let Some(id) = session(answer) else { return };
        let ground = Arc::clone(&self.ground);
        ground.trace.note(&format!("{}   its run of {id} is settled by the store", ground.name));
        let mut settlement = Settlement::default();
        settlement.discard_unbound = discard_unbound;
        tokio::spawn(async move {
            let pause = ground.dice.lock().unwrap().pause(2000);
            sleep(pause).await;
            ground.binds.end_lease(id, run);
            ground.binds.give_place_back(id, run);
            ground.opening.settle(id, run, settlement);
        });
    }
}

impl Ground {
    pub(crate) fn new(
        name: &'static str,
        opening: Opening,
        (clock, trace, weather): (Clock, Trace, Weather),
        dice: Dice,
        binds: Arc<Binds>,
    ) -> Arc<Self> {
        let dice = Mutex::new(dice);
        let (unsettled, requests) = (Mutex::default(), Mutex::default());
        let ground =
            Self { opening, clock, trace, binds, name, weather, dice, unsettled, requests };
        Arc::new(ground)
    }

    fn fate(&self) -> Fate {
        if self.weather.is_over() {
            return Fate::Prompt;
        }
        let dice = &mut *self.dice.lock().unwrap();
        let (one, other) = (dice.pause(3000), dice.pause(3000));
        if dice.chance(self.weather.store) {
            return match dice.below(3) {
                0 => Fate::Refused(one),
                1 => Fate::Lost(one),
                _ => Fate::Late(one, other),
            };
        }
        match dice.below(4) {
            0 => Fate::Slow(one, other),
            1 => Fate::Sent(one, other),
            _ => Fate::Prompt,
        }
    }

    /// Makes a call as it is its fate to be.
    pub(crate) async fn call<T: Send + 'static>(
        self: Arc<Self>,
        what: &'static str,
        call: Owned<T>,
        regret: Regret<T>,
    ) -> Result<T, Error> {
        let request = REQUEST.try_with(Arc::clone).ok();
        if let (Some(request), Regret::Run(run, ..)) = (&request, regret) {
            self.requests.lock().unwrap().insert(run, Arc::clone(request));
        }
        // Each call sees what was settled here before.
        self.settle_all();
        let fate = self.fate();
        if !matches!(fate, Fate::Prompt) {
            self.trace.note(&format!("{} {what}: {fate:?}", self.name));
        }
        let answer = |outcome| Answer { ground: Arc::clone(&self), outcome: Some(outcome), regret };
        match fate {
            Fate::Prompt => self.opening.ask(call).await,
            Fate::Slow(before, after) => {
                sleep(before).await;
                let answer = answer(self.opening.ask(call).await);
                sleep(after).await;
                answer.given()
            }
            Fate::Sent(before, after) => {
                let answer = self.send(before, call, regret).await.unwrap();
                sleep(after).await;
                answer.given()
            }
            Fate::Refused(after) => {
                sleep(after).await;
                failure(what, request.as_deref())
            }
            Fate::Lost(after) => {
                drop(self.send(Duration::ZERO, call, regret).await);
                sleep(after).await;
                failure(what, request.as_deref())
            }
            Fate::Late(after, later) => {
                drop(self.send(after + later, call, regret));
                sleep(after).await;
                failure(what, request.as_deref())
            }
        }
    }

    /// Has a call made in a while, whoever waits for its answer.
    fn send<T: Send + 'static>(
        self: &Arc<Self>,
        pause: Duration,
        call: Owned<T>,
        regret: Regret<T>,
    ) -> oneshot::Receiver<Answer<T>> {
        let (sender, answer) = oneshot::channel();
        let ground = Arc::clone(self);
        tokio::spawn(async move {
            sleep(pause).await;
            let outcome = Some(ground.opening.ask(call).await);
            // What nobody takes is dropped.
            let _ = sender.send(Answer { ground, outcome, regret });
        });
        answer
    }

    /// Notes what became of a bind, which is made in a task of its own.
    pub(crate) fn bound(&self, run: RunId, thread: &ThreadId, bind: Bind, has_failed: bool) {
        let threads = &mut *self.binds.threads.lock().unwrap();
        threads.insert(ThreadId::clone(thread), bind);
        if has_failed && let Some(request) = self.requests.lock().unwrap().get(&run) {
            request.failed.lock().unwrap().push("bind");
        }
    }

    /// Settles a run: for this gateway at once, for the others a little later.
    pub(crate) fn settle(self: &Arc<Self>, id: SessionId, run: RunId, settlement: Settlement) {
        let waits = !self.weather.is_over() && self.dice.lock().unwrap().chance(50);
        self.unsettled.lock().unwrap().push((id, run, settlement));
        if !waits {
            self.settle_all();
            return;
        }
        let pause = self.dice.lock().unwrap().pause(1000);
        let ground = Arc::clone(self);
        tokio::spawn(async move {
            sleep(pause).await;
            ground.settle_all();
        });
    }

    fn settle_all(&self) {
        for (id, run, settlement) in std::mem::take(&mut *self.unsettled.lock().unwrap()) {
            self.binds.end_lease(id, run);
            self.binds.give_place_back(id, run);
            self.opening.settle(id, run, settlement);
        }
    }
}

fn failure<T>(what: &'static str, request: Option<&Request>) -> Result<T, Error> {
    if let Some(request) = request {
        request.failed.lock().unwrap().push(what);
    }
    Err(Error::store("a call failed", format!("{what} on purpose")))
}
