//! Limits that gateways share: what this one holds of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use super::bucket::{BucketVerdict, WINDOW};
use crate::allowance::{
    AllowanceKey, Allowances, Slice, SliceId, SliceReport, TakeSlice, UsedAt, lifetime, moment,
};

#[cfg(test)]
mod tests;

/// How many reports are sent at once.
const MAX_REPORTS: usize = 1000;

/// Why a call was given up.
const LATE: &str = "it took longer than a slice lasts";

/// What this gateway holds of limits that it shares with others, for a bounded number of keys.
///
/// There is one call at a time for each key. It is made by a task, so that whoever waits for it may
/// leave, and takes the reports of the key along. Those of keys that nobody asks for are sent together, once a
/// second. What a call that failed was told is told again, as long as it is of use. No call is waited for
/// longer than a slice lasts.
#[derive(Debug)]
pub(super) struct SharedBuckets {
    max_keys: usize,
    source: Arc<dyn Allowances>,
    kept: Mutex<Kept>,
    /// Held by who sends reports that no call for a key takes along.
    sending: tokio::sync::Mutex<()>,
    /// Told when a call for a key has ended.
    answered: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    accounts: HashMap<AllowanceKey, Account>,
    /// Keys to be looked at once it is so late. Whatever is in `accounts` and isn't asked for just now
    /// is in it.
    due: VecDeque<(Instant, AllowanceKey)>,
    /// Keys with a report, unless that was sent meanwhile.
    spent: Vec<AllowanceKey>,
    /// Whether a task looks after these.
    is_tended: bool,
}

/// What is held for a key.
#[derive(Debug, Default)]
struct Account {
    /// None of them is empty. The oldest is used first.
    slices: VecDeque<HeldSlice>,
    reports: Vec<Report>,
    /// Those that the call that is made just now takes along.
    told: Vec<Report>,
    /// How many others could be granted when it was last asked for.
    left: u32,
    refused: Option<Refused>,
    is_asked_for: bool,
    waiting: VecDeque<oneshot::Sender<SharedVerdict>>,
}

#[derive(Debug)]
struct HeldSlice {
    id: SliceId,
    /// Before it was asked for.
    since: Instant,
    left: u32,
    /// At most one for each sixtieth of the window.
    used: Vec<UsedAt>,
}

/// What became of a slice.
#[derive(Clone, Debug)]
struct Report {
    /// When the slice was asked for.
    since: Instant,
    report: SliceReport,
}

/// There was nothing left.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// When there is something again at the latest.
    until: Instant,
    /// From when on it is asked again, because others may have given back.
    ask_at: Instant,
}

/// What the holder of a key may do.
#[derive(Clone, Debug)]
pub(super) enum SharedVerdict {
    Known(BucketVerdict),
    /// The store failed.
    Unknown(Arc<str>),
}

/// A verdict, or when there will be one.
#[derive(Debug)]
pub(super) enum Asked {
    Verdict(SharedVerdict),
    Later(oneshot::Receiver<SharedVerdict>),
}

impl SharedBuckets {
    pub(super) fn new(source: Arc<dyn Allowances>, max_keys: usize) -> Self {
        let (sending, answered) = (tokio::sync::Mutex::default(), Notify::new());
        Self { max_keys, source, kept: Mutex::default(), sending, answered }
    }

    /// Takes one request of the limit of `key`.
    pub(super) fn take(self: &Arc<Self>, key: &AllowanceKey, limit: NonZeroU32) -> Asked {
        let mut kept = self.kept();
        let now = Instant::now();
        let has_room = kept.accounts.len() < self.max_keys;
        let Kept { accounts, spent, .. } = &mut *kept;
        let account = match accounts.get_mut(key) {
            Some(account) => account,
            None if has_room => accounts.entry(key.clone()).or_default(),
            None => return Asked::Verdict(SharedVerdict::Known(BucketVerdict::Full)),
        };
        if account.end_slices(now) {
            spent.push(key.clone());
        }
        let (asked, wants) = match account.use_one(now) {
            Some((remaining, is_spent)) => {
                if is_spent {
                    spent.push(key.clone());
                }
                let wants = account.wants_ahead(limit, now);
                let verdict = SharedVerdict::Known(BucketVerdict::Allowed { remaining });
                (Asked::Verdict(verdict), wants)
            }
            None => match account.refused {
                Some(refused) if now < refused.ask_at => {
                    let wait = refused.until.saturating_duration_since(now);
                    let verdict = BucketVerdict::Denied { wait };
                    return Asked::Verdict(SharedVerdict::Known(verdict));
                }
                // Those who wait will have all that there can be.
                _ if account.waiting.len() >= limit.get() as usize => {
                    let verdict = BucketVerdict::Denied { wait: moment(WINDOW) };
                    return Asked::Verdict(SharedVerdict::Known(verdict));
                }
                _ => {
                    let (waiter, verdict) = oneshot::channel();
                    account.waiting.push_back(waiter);
                    (Asked::Later(verdict), !account.is_asked_for)
                }
            },
        };
        if wants {
            account.is_asked_for = true;
            let take = account.next_take(limit);
            drop(kept);
            Asking::begin(self, key, take);
        }
        asked
    }

    /// Locks what is kept. Nothing panics while it holds the lock, so what is kept is right even if
    /// it is poisoned.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what was granted to those who wait. Gives what is to be asked for next, if anything.
    fn granted(
        self: &Arc<Self>,
        key: &AllowanceKey,
        take: &TakeSlice,
        since: Instant,
        slice: Slice,
    ) -> Option<TakeSlice> {
        let mut kept = self.kept();
        let now = Instant::now();
        let Kept { accounts, due, spent, .. } = &mut *kept;
        let account = accounts.get_mut(key)?;
        account.told.clear();
        account.left = slice.left;
        account.refused = (slice.granted < take.want.get()).then(|| Refused {
            until: now + slice.wait,
            ask_at: now + slice.wait.min(moment(WINDOW)),
        });
        if slice.granted > 0 {
            let (id, left) = (slice.id, slice.granted);
            account.slices.push_back(HeldSlice { id, since, left, used: Vec::new() });
        }
        due.push_back((now + lifetime(WINDOW), key.clone()));
        let mut is_spent = account.end_slices(now);
        while let Some(waiter) = account.waiting.pop_front() {
            if waiter.is_closed() {
                continue;
            }
            let verdict = match (account.use_one(now), account.refused) {
                (Some((remaining, spent)), _) => {
                    is_spent |= spent;
                    BucketVerdict::Allowed { remaining }
                }
                (None, Some(_)) => BucketVerdict::Denied { wait: slice.wait },
                (None, None) => {
                    account.waiting.push_front(waiter);
                    break;
                }
            };
            // Who has left meanwhile has used it all the same.
            let _ = waiter.send(SharedVerdict::Known(verdict));
        }
        if is_spent {
            spent.push(key.clone());
        }
        let next = match account.waiting.is_empty() {
            // Another one would be over as well.
            false if now >= since + lifetime(WINDOW) => {
                account.fail("an answer took longer than a slice lasts");
                None
            }
            false => Some(account.next_take(take.limit)),
            true => None,
        };
        account.is_asked_for = next.is_some();
        self.answered.notify_waiters();
        self.tend(&mut kept);
        next
    }

    fn failed(self: &Arc<Self>, key: &AllowanceKey, why: &str) {
        let mut kept = self.kept();
        let Kept { accounts, due, .. } = &mut *kept;
        let Some(account) = accounts.get_mut(key) else { return };
        let now = Instant::now();
        account.is_asked_for = false;
        account.left = 0;
        let told = mem::take(&mut account.told);
        account.reports.extend(told.into_iter().filter(|report| report.is_of_use(now)));
        account.fail(why);
        due.push_back((now + lifetime(WINDOW), key.clone()));
        self.answered.notify_waiters();
        self.tend(&mut kept);
    }

    /// Sees to it that somebody looks at what is due.
    fn tend(self: &Arc<Self>, kept: &mut Kept) {
        if kept.is_tended {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            kept.is_tended = true;
            runtime.spawn(tend(Arc::downgrade(self)));
        }
    }

    /// Takes the reports of keys that nobody has asked for since, some of them if there are many, and
    /// forgets accounts with nothing in them. `None`: there is none left to be looked after.
    fn collect(&self) -> Option<Vec<(AllowanceKey, Report)>> {
        let mut kept = self.kept();
        let now = Instant::now();
        let Kept { accounts, due, spent, is_tended } = &mut *kept;
        let mut reports = Vec::new();
        while reports.len() < MAX_REPORTS
            && let Some(key) = spent.pop()
        {
            if let Some(account) = accounts.get_mut(&key) {
                reports.extend(account.reports.drain(..).map(|report| (key.clone(), report)));
            }
        }
        while reports.len() < MAX_REPORTS
            && due.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = due.pop_front()
        {
            let Entry::Occupied(mut place) = accounts.entry(key) else { continue };
            let account = place.get_mut();
            account.end_slices(now);
            let of_account = mem::take(&mut account.reports);
            let is_idle = account.slices.is_empty() && !account.is_asked_for;
            let key = place.key().clone();
            if is_idle {
                place.remove();
            }
            reports.extend(of_account.into_iter().map(|report| (key.clone(), report)));
        }
        if accounts.is_empty() && reports.is_empty() {
            *is_tended = false;
            return None;
        }
        Some(reports)
    }

    /// Ends all that is held, and gives it back: whoever may ask afterwards finds nothing here. For the end
    /// of a process, which sees to it that it ends.
    pub(super) async fn give_back(&self) {
        loop {
            let answered = self.answered.notified();
            // What somebody else sends just now is to be there, too.
            let sending = self.sending.lock().await;
            let (reports, is_asked_for) = self.end();
            for reports in reports.chunks(MAX_REPORTS) {
                self.send(reports).await;
            }
            drop(sending);
            if !is_asked_for {
                return;
            }
            answered.await;
        }
    }

    /// Takes all reports, those of slices that could be used still as well. Tells whether there may be
    /// more, because a key is asked for.
    fn end(&self) -> (Vec<(AllowanceKey, Report)>, bool) {
        let mut kept = self.kept();
        let mut reports = Vec::new();
        kept.accounts.retain(|key, account| {
            account.reports.extend(account.slices.drain(..).map(HeldSlice::report));
            reports.extend(account.reports.drain(..).map(|report| (key.clone(), report)));
            account.is_asked_for
        });
        let is_asked_for = !kept.accounts.is_empty();
        if !is_asked_for {
            kept.due.clear();
            kept.spent.clear();
        }
        (reports, is_asked_for)
    }

    /// Sends reports, and keeps them if that fails.
    async fn send(&self, reports: &[(AllowanceKey, Report)]) {
        if reports.is_empty() {
            return;
        }
        let told = reports.iter().map(|(key, report)| (key.clone(), report.report.clone()));
        let call = self.source.give_back_allowances(WINDOW, told.collect());
        let why = match timeout(lifetime(WINDOW), call).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.chain(),
            Err(_) => LATE.to_owned(),
        };
        tracing::debug!(error = why, "could not give back of shared limits");
        let mut kept = self.kept();
        let now = Instant::now();
        let Kept { accounts, due, .. } = &mut *kept;
        for (key, report) in reports.iter().filter(|(_, report)| report.is_of_use(now)) {
            let has_room = accounts.len() < self.max_keys;
            let account = match accounts.get_mut(key) {
                Some(account) => account,
                None if has_room => accounts.entry(key.clone()).or_default(),
                // It counts as used then, for a while.
                None => continue,
            };
            account.reports.push(report.clone());
            due.push_back((now + lifetime(WINDOW), key.clone()));
        }
    }
}

impl Report {
    /// Tells whether the slice counts still, if nothing is said of it.
    fn is_of_use(&self, now: Instant) -> bool {
        now < self.since + lifetime(WINDOW) + WINDOW
    }
}

impl Account {
    /// Puts an end to slices whose time is up: whether there was one.
    fn end_slices(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.slices.front().is_some_and(|slice| now >= slice.since + lifetime(WINDOW))
            && let Some(slice) = self.slices.pop_front()
        {
            self.reports.push(slice.report());
            any = true;
        }
        any
    }

    /// Uses one of what is held: how many are left then, and whether a slice is used up.
    fn use_one(&mut self, now: Instant) -> Option<(u32, bool)> {
        let slice = self.slices.front_mut()?;
        slice.use_one(now);
        let is_spent = slice.left == 0;
        if is_spent && let Some(slice) = self.slices.pop_front() {
            self.reports.push(slice.report());
        }
        Some((self.held().saturating_add(self.left), is_spent))
    }

    fn held(&self) -> u32 {
        self.slices.iter().fold(0, |sum, slice| sum.saturating_add(slice.left))
    }

    /// Tells whether the next slice is to be asked for before anybody waits for it.
    fn wants_ahead(&self, limit: NonZeroU32, now: Instant) -> bool {
        let low = TakeSlice::new(limit, WINDOW).want.get() / 3;
        let may_be_there =
            self.left > 0 && self.refused.is_none_or(|refused| now >= refused.ask_at);
        may_be_there && !self.is_asked_for && (1..=low).contains(&self.held())
    }

    /// Gives what to ask for: a slice, or as many as wait.
    fn next_take(&mut self, limit: NonZeroU32) -> TakeSlice {
        let slice = TakeSlice::new(limit, WINDOW);
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).min(limit.get());
        let want = NonZeroU32::new(waiting).map_or(slice.want, |waiting| waiting.max(slice.want));
        self.told.append(&mut self.reports);
        let reports = self.told.iter().map(|told| told.report.clone()).collect();
        TakeSlice { want, reports, ..slice }
    }

    /// Tells all who wait.
    fn fail(&mut self, why: &str) {
        let why = Arc::from(why);
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(SharedVerdict::Unknown(Arc::clone(&why)));
        }
    }
}

impl HeldSlice {
    fn use_one(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        let after = now.saturating_duration_since(self.since);
        let begins = |time: Duration| time.as_nanos() / moment(WINDOW).as_nanos();
        match self.used.last_mut() {
            Some(last) if begins(last.after) == begins(after) => {
                *last = UsedAt { after, requests: last.requests + 1 };
            }
            _ => self.used.push(UsedAt { after, requests: 1 }),
        }
    }

    fn report(self) -> Report {
        let report = SliceReport { slice: self.id, used: self.used, given_back: self.left };
        Report { since: self.since, report }
    }
}

/// The call for a key. If it ends early, as in a panic of the store's, those who wait are told.
struct Asking {
    shared: Arc<SharedBuckets>,
    key: AllowanceKey,
    is_done: bool,
}

impl Asking {
    fn begin(shared: &Arc<SharedBuckets>, key: &AllowanceKey, take: TakeSlice) {
        let asking = Self { shared: Arc::clone(shared), key: key.clone(), is_done: false };
        // Otherwise it is dropped, which tells those who wait.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(asking.go_on(take));
        }
    }

    async fn go_on(mut self, first: TakeSlice) {
        let mut next = Some(first);
        while let Some(take) = next {
            let since = Instant::now();
            let asked = TakeSlice { reports: Vec::new(), ..take.clone() };
            // What comes later is over.
            let call =
                timeout(lifetime(WINDOW), self.shared.source.take_allowance(&self.key, take));
            let why = match call.await {
                Ok(Ok(slice)) => {
                    next = self.shared.granted(&self.key, &asked, since, slice);
                    continue;
                }
                Ok(Err(error)) => error.chain(),
                Err(_) => LATE.to_owned(),
            };
            self.shared.failed(&self.key, &format!("could not take of a shared limit: {why}"));
            next = None;
        }
        self.is_done = true;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.failed(&self.key, "a call for a shared limit was stopped");
        }
    }
}

/// Gives back what is over, until nothing is held.
async fn tend(shared: Weak<SharedBuckets>) {
    loop {
        tokio::time::sleep(moment(WINDOW)).await;
        let Some(shared) = shared.upgrade() else { return };
        loop {
            let _sending = shared.sending.lock().await;
            let Some(reports) = shared.collect() else { return };
            shared.send(&reports).await;
            if reports.len() < MAX_REPORTS {
                break;
            }
        }
    }
}
