//! A key set that is fetched, and fetched anew.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::document::MAX_KEYS;
use super::fetch::{FetchError, FetchKeys, fetch_key_set};
use super::schedule::{Schedule, Step, UnknownStep};
use super::set::JwkSet;
use crate::authenticate::Algorithm;
use crate::authenticate::waiting::{CallerPlaces, LookupPlaces};
use crate::error::chain;

/// The most `kid`s that a line of the log names.
const MAX_LOGGED_KIDS: usize = 8;

/// How many callers wait at once for the keys of one issuer. After a start that may be all of a page's
/// users together; no more are kept for one whose server hangs.
const MAX_WAITING: usize = 256;

/// The keys of one issuer, as they were fetched last.
///
/// One fetch is under way at most. It is a task of its own: whoever waits for it may leave.
#[derive(Clone)]
pub(in crate::authenticate) struct RemoteKeys(Arc<Shared>);

struct Shared {
    fetch: Arc<dyn FetchKeys>,
    algorithms: Vec<Algorithm>,
    known: RwLock<Known>,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
    /// For callers who wait, and of no other issuer: its outage is nobody else's.
    waiting: LookupPlaces,
}

#[derive(Default)]
struct Known {
    set: Arc<JwkSet>,
    /// Counts the sets that lacked a key which the one before had.
    generation: u64,
    schedule: Schedule,
    /// The `kid`s that were there once and no longer are, the latest at the end.
    withdrawn: VecDeque<String>,
    /// What kept the latest fetch from giving keys.
    failure: Option<Arc<str>>,
}

/// What there is to verify a token with.
pub(in crate::authenticate) enum AtHand {
    /// These, which are of that generation: whatever was verified by an earlier one may have been by
    /// a key that is gone.
    Keys(Arc<JwkSet>, u64),
    /// None before that fetch has ended.
    Wait(FetchEnd),
    /// None, and they are not worth a fetch.
    NotNeeded,
    Unavailable(KeysUnavailable),
}

/// What to do about a token whose key is not there.
pub(in crate::authenticate) enum Unknown {
    Wait(FetchEnd),
    /// Its key was withdrawn, or it names none and no key that is there made it.
    Refuse,
    /// Its key may have been published after that moment, and can't be looked for yet.
    TooSoon(Instant, KeysUnavailable),
    Unavailable(KeysUnavailable),
}

/// The end of a fetch, however it ends.
pub(in crate::authenticate) struct FetchEnd {
    ended: watch::Receiver<u64>,
    of: RemoteKeys,
    since: Instant,
}

impl FetchEnd {
    /// Gives a place for a caller who waits for the keys, of those that their issuer has.
    pub(in crate::authenticate) fn enter(&self) -> Result<CallerPlaces, KeysUnavailable> {
        let why = "it is being fetched, and as many callers wait for it as may";
        self.of.0.waiting.enter(None).ok_or_else(|| self.of.0.unavailable_as(why))
    }

    /// Gives the moment at which it was seen to be worth the wait. A fetch that begins with it began at
    /// that moment, too.
    pub(in crate::authenticate) fn since(&self) -> Instant {
        self.since
    }

    pub(in crate::authenticate) async fn wait(mut self) {
        // Its sender outlives the fetch, which tells it.
        let _ = self.ended.changed().await;
    }

    /// Waits, and says whether there are keys then.
    pub(in crate::authenticate) async fn ready(self) -> Result<(), KeysUnavailable> {
        let of = self.of.clone();
        self.wait().await;
        of.are_there()
    }
}

/// Nobody can say whether a token is good: the keys of its issuer can't be had.
///
/// Its text is for the log: it says where they would come from.
#[derive(Clone, Debug)]
pub struct KeysUnavailable {
    source: Arc<str>,
    why: Arc<str>,
    again_in: Option<Duration>,
}

impl KeysUnavailable {
    /// Gives how long it is until the key of a token is looked for again, if there are others.
    pub fn retry_after(&self) -> Option<Duration> {
        self.again_in
    }
}

impl fmt::Display for KeysUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key set ({}) can't be had: {}", self.source, self.why)
    }
}

impl std::error::Error for KeysUnavailable {}

impl RemoteKeys {
    pub(in crate::authenticate) fn new(
        fetch: Arc<dyn FetchKeys>,
        algorithms: Vec<Algorithm>,
    ) -> Self {
        let (ended, _) = watch::channel(0);
        let waiting = LookupPlaces::new(MAX_WAITING);
        Self(Arc::new(Shared { fetch, algorithms, known: RwLock::default(), ended, waiting }))
    }

    pub(in crate::authenticate) fn algorithms(&self) -> &[Algorithm] {
        &self.0.algorithms
    }

    /// Gives the generation of the keys that are there, if they count and nothing is to be done.
    pub(in crate::authenticate) fn generation(&self) -> Option<u64> {
        let known = self.0.read();
        matches!(known.schedule.step(Instant::now()), Step::Use).then_some(known.generation)
    }

    /// Gives the keys, and begins a fetch where it is time. Where there are none, `is_needed` tells
    /// whether they are for this.
    pub(in crate::authenticate) fn at_hand(&self, is_needed: impl FnOnce() -> bool) -> AtHand {
        let known = self.0.read();
        let step = known.schedule.step(Instant::now());
        if step == Step::Use {
            return AtHand::Keys(Arc::clone(&known.set), known.generation);
        }
        drop(known);
        if step != Step::UseAndFetch && !is_needed() {
            return AtHand::NotNeeded;
        }
        let (now, mut known) = (Instant::now(), self.0.write());
        let step = known.schedule.step(now);
        let at_hand = match step {
            Step::Use | Step::UseAndFetch => AtHand::Keys(Arc::clone(&known.set), known.generation),
            Step::Wait | Step::FetchAndWait => AtHand::Wait(self.0.end(now)),
            Step::Unavailable => AtHand::Unavailable(self.0.unavailable(&known)),
        };
        if matches!(step, Step::UseAndFetch | Step::FetchAndWait) {
            known.schedule.begin(now, false);
            drop(known);
            self.0.begin(now);
        }
        at_hand
    }

    /// Says what to do about a token whose key, of that `kid`, is not there, and begins a fetch where
    /// one may help. It costs nothing but that: nothing is kept of the token.
    ///
    /// Anybody can make up a token for which the set is fetched. So that it was fetched just now says
    /// nothing of a key that came since, but of one that the issuer took away.
    pub(in crate::authenticate) fn unknown(&self, kid: Option<&str>) -> Unknown {
        let (now, mut known) = (Instant::now(), self.0.write());
        match known.schedule.step_for_unknown(now) {
            UnknownStep::Wait => Unknown::Wait(self.0.end(now)),
            UnknownStep::FetchAndWait => {
                let end = self.0.end(now);
                known.schedule.begin(now, true);
                drop(known);
                self.0.begin(now);
                Unknown::Wait(end)
            }
            UnknownStep::LookedLately { at, again_in } => match kid {
                Some(kid) if !known.withdrawn.iter().any(|gone| gone == kid) => {
                    let why = "the token's kid isn't in it, and it was looked for lately";
                    let unavailable = self.0.unavailable_as(why);
                    Unknown::TooSoon(
                        at,
                        KeysUnavailable { again_in: Some(again_in), ..unavailable },
                    )
                }
                Some(_) | None => Unknown::Refuse,
            },
            UnknownStep::Unavailable => Unknown::Unavailable(self.0.unavailable(&known)),
        }
    }

    /// Says whether there are keys, and where there are none gives the end of the fetch that may bring
    /// them, which begins if it is time.
    pub(in crate::authenticate) fn ready_now(&self) -> Result<Option<FetchEnd>, KeysUnavailable> {
        match self.at_hand(|| true) {
            AtHand::Keys(..) | AtHand::NotNeeded => Ok(None),
            AtHand::Wait(end) => Ok(Some(end)),
            AtHand::Unavailable(unavailable) => Err(unavailable),
        }
    }

    /// Says whether there are keys, after a fetch.
    fn are_there(&self) -> Result<(), KeysUnavailable> {
        let known = self.0.read();
        match known.schedule.step(Instant::now()) {
            Step::Use | Step::UseAndFetch => Ok(()),
            Step::Wait | Step::FetchAndWait | Step::Unavailable => Err(self.0.unavailable(&known)),
        }
    }

    /// Says why the keys can't be had.
    pub(in crate::authenticate) fn unavailable(&self) -> KeysUnavailable {
        self.0.unavailable(&self.0.read())
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.read();
        f.debug_struct("RemoteKeys")
            .field("source", &self.0.fetch.source())
            .field("set", &known.set)
            .field("generation", &known.generation)
            .field("schedule", &known.schedule)
            .finish_non_exhaustive()
    }
}

impl Known {
    fn withdraw(&mut self, gone: &[Option<String>]) {
        for kid in gone.iter().flatten() {
            if self.withdrawn.contains(kid) {
                continue;
            }
            if self.withdrawn.len() >= MAX_KEYS {
                self.withdrawn.pop_front();
            }
            self.withdrawn.push_back(kid.clone());
        }
    }
}

impl Shared {
    // What is behind the lock is whole between any two statements that change it.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, known: &Known) -> KeysUnavailable {
        self.unavailable_as(known.failure.clone().unwrap_or_else(|| "it is being fetched".into()))
    }

    fn unavailable_as(&self, why: impl Into<Arc<str>>) -> KeysUnavailable {
        KeysUnavailable { source: self.fetch.source().into(), why: why.into(), again_in: None }
    }

    /// To be made before the lock is let go under which a fetch is seen to be under way.
    fn end(self: &Arc<Self>, since: Instant) -> FetchEnd {
        FetchEnd { ended: self.ended.subscribe(), of: RemoteKeys(Arc::clone(self)), since }
    }

    /// Fetches, after the schedule was told that a fetch begins.
    fn begin(self: &Arc<Self>, begun: Instant) {
        let flight = Flight { shared: Arc::clone(self), begun, landed: false };
        let Ok(runtime) = Handle::try_current() else {
            return flight
                .land(Err(FetchError::failed("there is no tokio runtime to fetch it in")));
        };
        runtime.spawn(async move {
            let Shared { fetch, algorithms, .. } = &*flight.shared;
            let fetched = fetch_key_set(&**fetch, algorithms).await;
            flight.land(fetched);
        });
    }

    fn end_with(&self, begun: Instant, fetched: Fetched) {
        let mut known = self.write();
        match fetched {
            Ok((set, max_age)) => self.adopt(&mut known, set, begun, max_age),
            Err(error) => {
                let now = Instant::now();
                known.schedule.fail(now);
                let (error, counts_for) = (chain(&error), known.schedule.counts_for(now));
                let source = self.fetch.source();
                if counts_for.is_zero() {
                    tracing::warn!(%source, %error, "the key set can't be fetched, and none is known: no token can be verified");
                } else {
                    let hours = counts_for.as_secs() / 3600;
                    tracing::warn!(%source, %error, hours, "the key set can't be fetched; the known keys count for so long yet");
                }
                known.failure = Some(error.into());
            }
        }
        drop(known);
        self.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
    }

    /// Takes up a set. Its issuer is believed: a key that is no longer in it is no longer used, and
    /// that goes for the last one, too.
    fn adopt(&self, known: &mut Known, set: JwkSet, begun: Instant, max_age: Option<Duration>) {
        let source = self.fetch.source();
        let (keys, unused) = (set.len(), set.unused().len());
        let is_first = known.set.is_empty();
        let was_failing = known.schedule.is_failing();
        let (new, gone) = (set.not_in(&known.set), known.set.not_in(&set));
        if !gone.is_empty() {
            known.generation = known.generation.wrapping_add(1);
            known.withdraw(&gone);
        }
        if set.is_empty() {
            let error = FetchError::NoUsableKey.to_string();
            tracing::warn!(%source, unused, "the key set has no key that can be used: no token can be verified");
            known.schedule.empty(Instant::now());
            known.failure = Some(error.into());
            known.set = Arc::default();
            return;
        }
        known.schedule.succeed(begun, max_age);
        known.failure = None;
        known.set = Arc::new(set);
        if is_first {
            tracing::info!(%source, keys, unused, "the key set is there");
        } else if !(new.is_empty() && gone.is_empty()) {
            let (new, gone) = (kids(&new), kids(&gone));
            tracing::info!(%source, keys, unused, %new, %gone, "the key set has changed");
        } else if was_failing {
            tracing::info!(%source, keys, unused, "the key set can be fetched again");
        }
    }
}

fn kids(keys: &[Option<String>]) -> String {
    let mut kids: Vec<_> =
        keys.iter().take(MAX_LOGGED_KIDS).map(|kid| kid.as_deref().unwrap_or("-")).collect();
    if keys.len() > MAX_LOGGED_KIDS {
        kids.push("…");
    }
    kids.join(" ")
}

/// The set that was fetched, and how long it may be used.
type Fetched = Result<(JwkSet, Option<Duration>), FetchError>;

/// A fetch that is under way.
struct Flight {
    shared: Arc<Shared>,
    begun: Instant,
    landed: bool,
}

impl Flight {
    fn land(mut self, fetched: Fetched) {
        self.landed = true;
        self.shared.end_with(self.begun, fetched);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            let cut = FetchError::failed("the fetch was cut off");
            self.shared.end_with(self.begun, Err(cut));
        }
    }
}
