//! A database that stalls, is cut off, refuses or sleeps: calls end in time, nothing is done by halves, and
//! the store finds back by itself.

use std::sync::Arc;
use std::time::Duration;

use chatkit_rest::error::Error;
use chatkit_rest::principal::UserId;
use chatkit_rest::session::contract::Store;
use chatkit_rest::session::{
    BeginRun, Bound, Created, Found, MessageCount, NewSession, OnThread, PostgresOptions,
    PostgresStore, RunId, RunStart, SessionId, SessionSummary, SessionsPage, Settlement, ThreadId,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::Database;
use crate::contract::options_at;
use crate::relay::{Relay, Way};

/// What the store of these tests waits for a connection, for one of its own, and for an answer: as long as
/// a machine needs that has much else to do.
const CONNECT: Duration = Duration::from_secs(4);
const WAIT: Duration = Duration::from_millis(500);
const STATEMENT: Duration = Duration::from_millis(1500);

/// How long a call may take, by what the store promises, the three together and about a second more; and
/// on such a machine.
const BOUND: Duration =
    CONNECT.saturating_add(WAIT).saturating_add(STATEMENT).saturating_add(Duration::from_secs(3));

/// A store behind a relay.
struct Far {
    store: Store,
    relay: Relay,
    database: Database,
}

impl Far {
    async fn open() -> Self {
        Self::with(|options| {
            options.connect_timeout = CONNECT;
            options.wait_timeout = WAIT;
            options.statement_timeout = STATEMENT;
        })
        .await
    }

    async fn with(set: impl FnOnce(&mut PostgresOptions)) -> Self {
        let database = Database::new().await;
        let relay = Relay::start(database.address());
        let mut options = options_at(&database, &database.url_at(relay.address()));
        // What is slow at first is not what is tested.
        drop(PostgresStore::open(options.clone()).await.unwrap());
        set(&mut options);
        // What is slow for once is no fault of its.
        let store = again(async || PostgresStore::open(options.clone()).await).await;
        Self { store: Arc::new(store), relay, database }
    }

    async fn create(&self, user_id: &str) -> Result<SessionId, Error> {
        match self.store.create(NewSession::new(user(user_id), Timestamp::now()), None).await? {
            Created::Session(record) => Ok(record.id),
            refused => panic!("there is no limit: {refused:?}"),
        }
    }

    async fn list(&self, user_id: &str) -> Result<Vec<SessionSummary>, Error> {
        self.store.list(SessionsPage::new(user(user_id), 100)).await
    }

    async fn begin(&self, id: SessionId) -> (RunId, Result<RunStart, Error>) {
        let begin = BeginRun::new(RunId::random(), Timestamp::now());
        let ada = user("ada");
        (begin.run, self.store.begin_run(id.into(), OnThread::Any, &ada, begin).await)
    }

    /// Gives a session of ada's with a thread.
    async fn bound(&self) -> SessionId {
        let id = self.create("ada").await.unwrap();
        let (run, start) = self.begin(id).await;
        assert!(matches!(start, Ok(RunStart::First { .. })), "{start:?}");
        let thread_id = ThreadId::from(format!("thr_{id}"));
        let bound = self.store.bind(id, &user("ada"), run, thread_id, Timestamp::now()).await;
        assert_eq!(bound.unwrap(), Bound::Done);
        self.store.settle(id, run, Settlement::default()).await.unwrap();
        id
    }

    async fn count(&self, id: SessionId) -> MessageCount {
        let found = self.store.get(id.into()).await.unwrap().and_then(Found::open);
        found.unwrap().message_count
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

/// Expects that a call fails in time, and gives why.
async fn fails<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Error>>) -> String {
    let begun = Instant::now();
    let ended = tokio::time::timeout(BOUND * 4, call).await;
    let error = ended.unwrap_or_else(|_| panic!("it never ends")).unwrap_err();
    assert!(begun.elapsed() <= BOUND, "it took {:?}: {error:?}", begun.elapsed());
    assert!(error.is_store(), "{error:?}");
    error.chain()
}

/// Waits until a call succeeds: what is still in the way of it has its time-out.
async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let until = Instant::now() + BOUND;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < until, "it does not recover: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_database_that_stalls_fails_each_call_in_time() {
    for way in [Way::Stalled, Way::Unanswered] {
        let far = Far::open().await;
        let id = far.bound().await;
        far.relay.set(way);
        let new = || Some("new".to_owned());
        let failing = async || {
            tokio::join!(
                fails(far.create("ada")),
                fails(far.list("ada")),
                fails(far.store.get(id.into())),
                fails(far.store.set_title(id, new(), Timestamp::now())),
                fails(far.store.ping()),
            )
        };
        // On the connections that are there, and on those that can't be made.
        failing().await;
        failing().await;
        far.relay.set(Way::Open);
        // What was not answered was done, or not.
        let listed = again(async || far.list("ada").await).await;
        assert!((1..=3).contains(&listed.len()), "{listed:?}");
        again(async || far.store.ping().await).await;
    }
}

// All at once: those that wait for a connection end as well.
#[tokio::test]
async fn many_calls_at_a_stalled_database_end_in_time() {
    let far = Far::open().await;
    far.relay.set(Way::Stalled);
    let calls = (0..40).map(|_| fails(far.create("ada")));
    let told = crate::all(calls).await;
    let exhausted = told.iter().filter(|why| why.contains("all connections")).count();
    // Four have a connection, and what they don't get is an answer.
    assert!((1..=36).contains(&exhausted), "{told:#?}");
    far.relay.set(Way::Open);
    again(async || far.create("ada").await).await;
}

// More connections would be of no use.
#[tokio::test]
async fn a_pool_that_is_exhausted_by_a_stalled_database_is_told_as_that() {
    let far = Far::with(|options| {
        options.pool_size = 1.try_into().unwrap();
        options.connect_timeout = CONNECT;
        options.wait_timeout = WAIT;
        options.statement_timeout = STATEMENT;
    })
    .await;
    far.create("ada").await.unwrap();
    far.relay.set(Way::Stalled);
    fails(far.list("ada")).await;
    let told = crate::all((0..4).map(|_| fails(far.list("ada")))).await;
    let without = told.iter().filter(|why| why.contains("the database does not answer, and"));
    assert_eq!(without.count(), 3, "{told:#?}");
    far.relay.set(Way::Open);
    again(async || far.list("ada").await).await;
}

// Each of its two connections takes most of what a call may.
#[tokio::test]
async fn a_call_that_is_tried_again_has_no_more_time() {
    let far = Far::with(|options| {
        options.connect_timeout = Duration::from_secs(6);
        options.wait_timeout = Duration::from_millis(100);
        options.statement_timeout = Duration::from_secs(1);
    })
    .await;
    let id = far.create("ada").await.unwrap();
    let (mut holder, admin) = (far.database.connect().await, far.database.connect().await);
    let lock = holder.transaction().await.unwrap();
    let row = format!("SELECT 1 FROM {}.session FOR UPDATE", far.database.schema());
    lock.batch_execute(&row).await.unwrap();
    far.relay.refuse().await;
    far.relay.accept(Duration::from_secs(5));
    let cut = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND query LIKE '%set_message_count%'
            AND datname = current_database()";
        let until = Instant::now() + BOUND;
        while admin.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < until, "nobody waits");
        }
        far.relay.set(Way::Stalled);
        far.relay.cut();
    };
    let counted = far.store.set_message_count(id, MessageCount::Known(0), 1);
    let (why, ()) = tokio::join!(fails(counted), cut);
    assert!(why.contains("could not connect"), "{why}");
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn a_database_that_refuses_is_told_and_found_again() {
    let far = Far::open().await;
    let id = far.bound().await;
    far.relay.refuse().await;
    let why = again_fails_as(&far, "could not connect").await;
    assert!(why.contains("refused"), "{why}");
    fails(far.store.ping()).await;
    far.relay.accept(Duration::ZERO);
    // Nobody has to wait for that.
    far.store.ping().await.unwrap();
    assert_eq!(far.count(id).await, MessageCount::Known(0));
    far.create("ada").await.unwrap();
}

/// Fails until the connections that were are known to be none.
async fn again_fails_as(far: &Far, expected: &str) -> String {
    for _ in 0..8 {
        let why = fails(far.create("ada")).await;
        if why.contains(expected) {
            return why;
        }
    }
    panic!("it is never told that it {expected}")
}

#[tokio::test]
async fn connections_that_the_database_drops_while_idle_cost_no_request() {
    // Those that wait do so until the others have made theirs, which a busy machine is slow at.
    let far = Far::with(|options| options.wait_timeout = Duration::from_secs(30)).await;
    // As many as there can be.
    let ids: Vec<_> = crate::all((0..16).map(|_| far.bound())).await;
    // Others' are there where the tests have one database.
    let own = format!(
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND application_name = 'chatkit-rest {}'",
        far.database.schema()
    );
    let left = format!("SELECT count(*) {own}");
    let end = format!("SELECT count(pg_terminate_backend(pid)) {own}");
    let admin = far.database.connect().await;
    for round in 0..5 {
        let ended: i64 = admin.query_one(&end, &[]).await.unwrap().get(0);
        assert!(ended > 0, "round {round}");
        while admin.query_one(&left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::task::yield_now().await;
        }
        // The relay passes on the ends.
        tokio::time::sleep(Duration::from_millis(50)).await;
        far.create("ada").await.unwrap();
        for reply in crate::all(ids.iter().map(|id| far.begin(*id))).await {
            assert!(matches!(reply.1, Ok(RunStart::Next { .. })), "{reply:?}");
        }
    }
}

// As Neon's does when nobody has asked for some minutes.
#[tokio::test]
async fn a_database_that_sleeps_is_waited_for() {
    let far = Far::with(|_| {}).await;
    far.relay.refuse().await;
    far.relay.accept(Duration::from_secs(3));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    far.create("ada").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(3), "it did not sleep: {:?}", begun.elapsed());
    let url = far.database.url_at(far.relay.address());
    PostgresStore::open(options_at(&far.database, &url)).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_is_exhausted_is_a_cause_of_its_own() {
    let far = Far::with(|options| {
        options.pool_size = 1.try_into().unwrap();
        options.wait_timeout = WAIT;
    })
    .await;
    let mut admin = far.database.connect().await;
    let lock = admin.transaction().await.unwrap();
    let table = format!("LOCK TABLE {}.session", far.database.schema());
    lock.batch_execute(&table).await.unwrap();
    let one = async {
        far.create("ada").await.unwrap();
    };
    let other = async {
        far.database.waits_for_lock(&lock).await;
        let why = fails(far.create("bob")).await;
        assert!(why.contains("all connections to the database are in use"), "{why}");
        lock.rollback().await.unwrap();
    };
    tokio::join!(one, other);
    assert_eq!(
        (far.list("ada").await.unwrap().len(), far.list("bob").await.unwrap().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn what_a_run_left_while_the_database_was_away_is_written_when_it_is_back() {
    let far = Far::open().await;
    let id = far.bound().await;
    let (run, start) = far.begin(id).await;
    assert!(matches!(start, Ok(RunStart::Next { .. })), "{start:?}");
    far.relay.refuse().await;
    let mut settlement = Settlement::default();
    settlement.messages = 2;
    drop(far.store.settle(id, run, settlement));
    fails(far.create("ada")).await;
    far.relay.accept(Duration::ZERO);
    let count = again(async || Ok(far.store.get(id.into()).await?)).await;
    assert_eq!(count.unwrap().open().unwrap().message_count, MessageCount::Known(2));
    // For others, too, in a moment, and once.
    let other = PostgresStore::open(options_at(&far.database, far.database.url())).await.unwrap();
    let other: Store = Arc::new(other);
    let until = Instant::now() + BOUND;
    loop {
        let found = other.get(id.into()).await.unwrap().unwrap().open().unwrap();
        if found.message_count == MessageCount::Known(2) {
            break;
        }
        assert_eq!(found.message_count, MessageCount::Known(0));
        assert!(Instant::now() < until, "it is not written");
    }
}

// The answer is lost, not the request: whoever asks again must not find a place taken twice.
#[tokio::test]
async fn a_run_whose_answer_is_lost_takes_one_place_at_most() {
    let far = Far::open().await;
    let id = far.bound().await;
    for lost in 0..3 {
        far.relay.set(Way::Unanswered);
        let (_, start) = tokio::time::timeout(BOUND * 4, far.begin(id)).await.unwrap();
        assert!(start.is_err(), "{lost}: {start:?}");
        far.relay.set(Way::Open);
        again(async || far.store.ping().await).await;
    }
    // They were told to have failed, so none of them is in flight for long.
    let until = Instant::now() + BOUND * 2;
    let admin = far.database.connect().await;
    let runs = format!("SELECT count(*) FROM {}.run", far.database.schema());
    while admin.query_one(&runs, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < until, "a run that failed keeps its place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// It was bound: who is told that it wasn't would take the thread for lost.
#[tokio::test]
async fn a_binding_whose_answer_is_lost_is_done_once() {
    let far = Far::with(|_| {}).await;
    let id = far.create("ada").await.unwrap();
    let (run, start) = far.begin(id).await;
    assert!(matches!(start, Ok(RunStart::First { .. })), "{start:?}");
    let admin = far.database.connect().await;
    let sql = format!("SELECT count(thread_id) FROM {}.session", far.database.schema());
    far.relay.set(Way::Unanswered);
    let ada = user("ada");
    let binding = far.store.bind(id, &ada, run, "thr_1".into(), Timestamp::now());
    let losing = async {
        let until = Instant::now() + BOUND;
        while admin.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < until, "nothing was bound");
        }
        far.relay.set(Way::Open);
        far.relay.cut();
    };
    let (bound, ()) = tokio::join!(binding, losing);
    assert_eq!(bound.unwrap(), Bound::Done);
    let again = far.store.bind(id, &ada, run, "thr_1".into(), Timestamp::now()).await;
    assert_eq!(again.unwrap(), Bound::LeaseLost);
}
