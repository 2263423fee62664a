//! Gateways that share a limit, by a clock that is moved.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::allowance::{AllowanceFuture, Ledger};
use crate::error::Error;
use crate::principal::UserId;

/// A store that others are as far from as is said, and what went through it.
#[derive(Debug)]
struct Far {
    made_at: Instant,
    /// How long calls take there, and back, in milliseconds; over and over.
    lags: Vec<u64>,
    calls: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ledgers: HashMap<AllowanceKey, Ledger>,
    granted: u64,
    given_back: u64,
    reported: HashSet<(AllowanceKey, SliceId)>,
    /// Of whatever key.
    let_in: Vec<Instant>,
    fails: bool,
    /// Does what it is asked, and then fails.
    loses: bool,
    gives_back: usize,
}

impl Far {
    fn new(lags: &[u64]) -> Arc<Self> {
        let (lags, made_at) = (lags.to_vec(), Instant::now());
        Arc::new(Self { made_at, lags, calls: AtomicUsize::new(0), seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn now(&self) -> i64 {
        i64::try_from(self.made_at.elapsed().as_micros()).unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn lag(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let lag = self.lags.get(call % self.lags.len().max(1)).copied().unwrap_or(0);
        if lag > 0 {
            tokio::time::sleep(Duration::from_millis(lag)).await;
        }
    }

    fn most_let_in(&self) -> usize {
        most_within(&self.seen().let_in)
    }
}

impl Seen {
    fn given_back(&mut self, key: &AllowanceKey, report: &SliceReport) {
        if self.reported.insert((key.clone(), report.slice)) {
            self.given_back += u64::from(report.given_back);
        }
    }

    /// Tells how many were let in within so long before now.
    fn within(&self, time: Duration) -> u64 {
        self.let_in.iter().filter(|at| at.elapsed() < time).count() as u64
    }
}

/// Tells how many at most of these are within a window.
fn most_within(times: &[Instant]) -> usize {
    let mut times = times.to_vec();
    times.sort();
    let within = |from: &Instant| {
        times.iter().filter(|at| *at >= from && at.duration_since(*from) < WINDOW).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

impl Allowances for Far {
    fn take_allowance<'a>(
        &'a self,
        key: &'a AllowanceKey,
        take: TakeSlice,
    ) -> AllowanceFuture<'a, Slice> {
        Box::pin(async move {
            self.lag().await;
            let slice = {
                let mut seen = self.seen();
                if seen.fails {
                    return Err(Error::store("could not ask", "it is away"));
                }
                take.reports.iter().for_each(|report| seen.given_back(key, report));
                let now = self.now();
                let slice = seen.ledgers.entry(key.clone()).or_default().take(now, &take);
                seen.granted += u64::from(slice.granted);
                if slice.granted < take.want.get() {
                    // All that was counted was let in of late, or is out.
                    let lag = Duration::from_millis(*self.lags.iter().max().unwrap_or(&0));
                    let late = seen.within(WINDOW + 2 * moment(WINDOW) + lag);
                    let out = seen.granted - seen.let_in.len() as u64 - seen.given_back;
                    assert!(late + out >= u64::from(take.limit.get()), "{late} and {out}");
                }
                if seen.loses {
                    return Err(Error::store("could not ask", "the answer was lost"));
                }
                slice
            };
            self.lag().await;
            Ok(slice)
        })
    }

    fn give_back_allowances(
        &self,
        window: Duration,
        reports: Vec<(AllowanceKey, SliceReport)>,
    ) -> AllowanceFuture<'_, ()> {
        Box::pin(async move {
            self.lag().await;
            let mut seen = self.seen();
            if seen.fails {
                return Err(Error::store("could not ask", "it is away"));
            }
            seen.gives_back += 1;
            for (key, report) in &reports {
                seen.given_back(key, report);
                let now = self.now();
                seen.ledgers.get_mut(key).unwrap().give_back(now, window, report);
            }
            Ok(())
        })
    }
}

fn gateways(source: &Arc<Far>, count: usize) -> Vec<Arc<SharedBuckets>> {
    let source = Arc::<Far>::clone(source);
    let gateway = || Arc::new(SharedBuckets::new(Arc::<Far>::clone(&source), 10));
    (0..count).map(|_| gateway()).collect()
}

fn ada() -> AllowanceKey {
    AllowanceKey::User(UserId::parse("ada").unwrap())
}

fn of(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap()
}

async fn answered(asked: Asked) -> SharedVerdict {
    match asked {
        Asked::Verdict(verdict) => verdict,
        Asked::Later(verdict) => verdict.await.unwrap(),
    }
}

/// Whether it is let in, and how long it is to wait otherwise. `source` is told.
async fn ask(source: &Far, gateway: &Arc<SharedBuckets>, limit: u32) -> Result<u32, Duration> {
    match answered(gateway.take(&ada(), of(limit))).await {
        SharedVerdict::Known(BucketVerdict::Allowed { remaining }) => {
            source.seen().let_in.push(Instant::now());
            Ok(remaining)
        }
        SharedVerdict::Known(BucketVerdict::Denied { wait }) => Err(wait),
        other => panic!("{other:?}"),
    }
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn one_gateway_has_all_of_the_limit_and_gets_it_back_when_a_minute_is_over() {
    let source = Far::new(&[]);
    let gateways = gateways(&source, 1);
    for remaining in (0..30).rev() {
        assert_eq!(ask(&source, &gateways[0], 30).await, Ok(remaining));
    }
    let wait = ask(&source, &gateways[0], 30).await.unwrap_err();
    assert!(wait <= Duration::from_secs(62), "{wait:?}");
    tokio::time::sleep(wait).await;
    assert!(ask(&source, &gateways[0], 30).await.is_ok());
    assert_eq!(source.most_let_in(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_slice_is_asked_for_once_and_ahead_where_there_is_more_than_one_in_it() {
    let source = Far::new(&[10]);
    let gateways = gateways(&source, 1);
    let mut waited = 0;
    for n in 0..300 {
        let asked = gateways[0].take(&ada(), of(300));
        waited += usize::from(matches!(asked, Asked::Later(_)));
        let verdict = answered(asked).await;
        let allowed = matches!(verdict, SharedVerdict::Known(BucketVerdict::Allowed { .. }));
        assert!(allowed, "{n}: {verdict:?}");
        pass(0.1).await;
    }
    // Twice a call lags: there and back.
    assert_eq!((waited, source.calls() / 2 - source.seen().gives_back / 2), (1, 10));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_waits_for_two_calls() {
    let source = Far::new(&[10]);
    let gateways = gateways(&source, 1);
    let asked: Vec<_> = (0..40).map(|_| gateways[0].take(&ada(), of(30))).collect();
    let mut counts = [0, 0];
    for asked in asked {
        match answered(asked).await {
            SharedVerdict::Known(BucketVerdict::Allowed { .. }) => counts[0] += 1,
            SharedVerdict::Known(BucketVerdict::Denied { .. }) => counts[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((counts, source.calls()), ([30, 10], 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_is_given_back_and_nothing_stays() {
    let source = Far::new(&[]);
    let gateways = gateways(&source, 2);
    assert!(ask(&source, &gateways[0], 100).await.is_ok());
    // Ten are the other's, of which nine are held.
    for remaining in (0..90).rev() {
        assert_eq!(ask(&source, &gateways[1], 100).await, Ok(remaining));
    }
    assert!(ask(&source, &gateways[1], 100).await.is_err());
    pass(7.1).await;
    for remaining in (0..9).rev() {
        assert_eq!(ask(&source, &gateways[1], 100).await, Ok(remaining));
    }
    assert!(ask(&source, &gateways[1], 100).await.is_err());
    assert_eq!(source.most_let_in(), 100);
    pass(8.0).await;
    for gateway in &gateways {
        let kept = gateway.kept();
        assert!(kept.accounts.is_empty() && kept.due.is_empty() && kept.spent.is_empty());
        assert!(!kept.is_tended);
    }
    let seen = source.seen();
    assert_eq!(seen.granted, seen.given_back + seen.let_in.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_asks_the_store_once_a_second() {
    let source = Far::new(&[]);
    let gateways = gateways(&source, 1);
    while ask(&source, &gateways[0], 10).await.is_ok() {}
    let before = source.calls();
    for _ in 0..100 {
        pass(0.1).await;
        assert!(ask(&source, &gateways[0], 10).await.is_err());
    }
    // In ten seconds, beside what reports that.
    assert!((20..=24).contains(&(source.calls() - before)), "{}", source.calls() - before);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_to_all_who_wait_and_asked_again() {
    let source = Far::new(&[10]);
    let gateways = gateways(&source, 1);
    source.seen().fails = true;
    let asked = [(); 3].map(|()| gateways[0].take(&ada(), of(5)));
    for asked in asked {
        let verdict = answered(asked).await;
        assert!(matches!(&verdict, SharedVerdict::Unknown(why) if why.contains("it is away")));
    }
    source.seen().fails = false;
    assert_eq!(ask(&source, &gateways[0], 5).await, Ok(4));
}

/// Tells how many of ada's a gateway has, one after the other.
async fn all_that_is_left(source: &Far, gateway: &Arc<SharedBuckets>, limit: u32) -> u32 {
    let mut count = 0;
    while ask(source, gateway, limit).await.is_ok() {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn what_was_told_in_a_call_that_failed_is_told_again() {
    // A store that is away when the slice is over, and one whose answers are lost then.
    for loses in [false, true] {
        let source = Far::new(&[]);
        let gateways = gateways(&source, 2);
        assert_eq!(ask(&source, &gateways[0], 100).await, Ok(99));
        {
            let mut seen = source.seen();
            (seen.fails, seen.loses) = (!loses, loses);
        }
        // Before whoever sends reports of its own accord looks.
        pass(0.5).await;
        for slice in &mut gateways[0].kept().accounts.get_mut(&ada()).unwrap().slices {
            slice.since -= Duration::from_secs(6);
        }
        let verdict = answered(gateways[0].take(&ada(), of(100))).await;
        assert!(matches!(verdict, SharedVerdict::Unknown(_)), "{verdict:?}");
        // It goes on for a while, in which that is tried again.
        pass(8.0).await;
        {
            let mut seen = source.seen();
            (seen.fails, seen.loses) = (false, false);
        }
        pass(8.0).await;
        // All but what was used, and what was granted to nobody's knowledge.
        let left = all_that_is_left(&source, &gateways[1], 100).await;
        assert_eq!(left, if loses { 89 } else { 99 });
        pass(8.0).await;
        assert!(gateways.iter().all(|gateway| gateway.kept().accounts.is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_to_no_avail_is_forgotten_when_it_is_of_no_use() {
    let source = Far::new(&[]);
    let gateways = gateways(&source, 1);
    assert!(ask(&source, &gateways[0], 100).await.is_ok());
    source.seen().fails = true;
    pass(60.0).await;
    assert_eq!(gateways[0].kept().accounts.len(), 1);
    pass(15.0).await;
    let kept = gateways[0].kept();
    assert!(kept.accounts.is_empty() && kept.due.is_empty() && !kept.is_tended);
}

#[tokio::test(start_paused = true)]
async fn who_ends_gives_back_what_it_has_and_says_so_once() {
    let source = Far::new(&[10]);
    for n in 1..=30 {
        let gateway = &gateways(&source, 1)[0];
        assert_eq!(ask(&source, gateway, 30).await, Ok(30 - n), "{n}");
        for _ in 0..2 {
            gateway.give_back().await;
            assert_eq!(source.seen().gives_back, n as usize);
        }
    }
    let gateway = &gateways(&source, 1)[0];
    assert!(ask(&source, gateway, 30).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_at_the_end_is_given_back_too() {
    let source = Far::new(&[10]);
    let gateways = gateways(&source, 2);
    drop(gateways[0].take(&ada(), of(30)));
    gateways[0].give_back().await;
    assert_eq!(all_that_is_left(&source, &gateways[1], 30).await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slower_than_a_slice_lasts_is_none() {
    let source = Far::new(&[6001]);
    let gateways = gateways(&source, 1);
    let verdict = answered(gateways[0].take(&ada(), of(5))).await;
    assert!(matches!(verdict, SharedVerdict::Unknown(_)), "{verdict:?}");
    assert!(gateways[0].kept().accounts.values().all(|account| account.slices.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_along() {
    let source = Far::new(&[10]);
    let gateways = gateways(&source, 1);
    for _ in 0..50 {
        drop(gateways[0].take(&ada(), of(5)));
    }
    pass(1.0).await;
    for remaining in (0..5).rev() {
        assert_eq!(ask(&source, &gateways[0], 5).await, Ok(remaining));
    }
    assert!(ask(&source, &gateways[0], 5).await.is_err());
}

#[derive(Debug)]
struct Broken;

impl Allowances for Broken {
    fn take_allowance<'a>(
        &'a self,
        _: &'a AllowanceKey,
        _: TakeSlice,
    ) -> AllowanceFuture<'a, Slice> {
        Box::pin(async { panic!("it is broken") })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_leaves_nobody_waiting() {
    let gateway = Arc::new(SharedBuckets::new(Arc::new(Broken), 10));
    for _ in 0..2 {
        let verdict = answered(gateway.take(&ada(), of(5))).await;
        assert!(matches!(verdict, SharedVerdict::Unknown(_)), "{verdict:?}");
    }
    drop(gateway);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_is_bounded() {
    let source = Far::new(&[]);
    let gateways = gateways(&source, 1);
    let take = async |id: u32| {
        let key = AllowanceKey::ClientSession(id.to_string().into());
        answered(gateways[0].take(&key, of(5))).await
    };
    for id in 0..10 {
        let verdict = take(id).await;
        assert!(matches!(verdict, SharedVerdict::Known(BucketVerdict::Allowed { .. })));
    }
    for id in 10..100 {
        let verdict = take(id).await;
        assert!(matches!(verdict, SharedVerdict::Known(BucketVerdict::Full)), "{verdict:?}");
    }
    pass(8.0).await;
    let verdict = take(10).await;
    assert!(matches!(verdict, SharedVerdict::Known(BucketVerdict::Allowed { .. })));
}

/// Sends requests to gateways, each so long after the one before, and waits until nothing is held.
async fn run(limit: u32, lags: Vec<u64>, requests: Vec<(usize, u64)>) {
    let source = Far::new(&lags);
    let gateways = gateways(&source, 4);
    let mut asking = tokio::task::JoinSet::new();
    for (gateway, millis) in requests {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let (source, gateway) = (Arc::clone(&source), Arc::clone(&gateways[gateway]));
        asking.spawn(async move { ask(&source, &gateway, limit).await.is_ok() });
    }
    let allowed = asking.join_all().await.into_iter().filter(|allowed| *allowed).count();
    assert_eq!(allowed, source.seen().let_in.len());
    let most = source.most_let_in();
    assert!(most <= limit as usize, "{most} of {limit}");
    pass(15.0).await;
    for gateway in &gateways {
        assert!(gateway.kept().accounts.is_empty());
    }
    let seen = source.seen();
    assert_eq!(seen.granted, seen.given_back + allowed as u64);
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(200) })]

    /// `Far` sees to it that nothing is refused but for what was let in of late, or is out.
    #[test]
    fn never_more_than_the_limit_in_any_minute_and_no_less_than_others_leave(
        limit in 1_u32..60,
        lags in prop::collection::vec(0_u64..3000, 1..8),
        scale in prop::sample::select(vec![1_u64, 40, 400]),
        requests in prop::collection::vec((0_usize..4, 0_u64..10), 1..400),
    ) {
        let requests = requests.into_iter().map(|(gateway, wait)| (gateway, wait * scale));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(limit, lags, requests.collect()));
    }
}
