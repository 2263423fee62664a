//! What becomes of a store whose database, or whose neighbour, is not what it should be.

use std::num::NonZeroU32;
use std::time::Duration;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    BeginRun, Bound, Created, Deletion, Directory as _, MessageCount, NewSession, OnThread,
    PostgresOptions, PostgresStore, RunId, RunStart, Runs as _, SessionId, SessionRecord,
    Sessions as _, SessionsPage, Settlement,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::{Cluster, Database};
use crate::contract::{open, options, options_at};

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

async fn create(store: &PostgresStore, max: u32, run: Option<BeginRun>) -> Option<SessionId> {
    let mut session = NewSession::new(user("ada"), at(0));
    session.first_run = run;
    match store.create(session, NonZeroU32::new(max)).await.unwrap() {
        Created::Session(SessionRecord { id, .. }) => Some(id),
        Created::LimitReached => None,
        other => panic!("{other:?}"),
    }
}

async fn begin(store: &PostgresStore, id: SessionId, begin: BeginRun) -> RunStart {
    store.begin_run(id.into(), OnThread::Any, &user("ada"), begin).await.unwrap()
}

fn run() -> BeginRun {
    BeginRun::new(RunId::random(), at(0))
}

/// A session of `store`'s that is bound, and its run, which is in flight.
async fn bound(store: &PostgresStore, thread_id: &str) -> (SessionId, RunId) {
    let run = run();
    let id = create(store, 100, Some(run)).await.unwrap();
    let bound = store.bind(id, &user("ada"), run.run, thread_id.into(), at(1)).await.unwrap();
    assert_eq!(bound, Bound::Done);
    (id, run.run)
}

async fn messages(store: &PostgresStore, id: SessionId) -> MessageCount {
    store.get(id.into()).await.unwrap().unwrap().open().unwrap().message_count
}

fn left(messages: u64) -> Settlement {
    let mut settlement = Settlement::default();
    settlement.messages = messages;
    settlement
}

/// Lets all gateways be unheard of for so long.
async fn silence(database: &Database, interval: &str) {
    let sql = format!(
        "UPDATE {}.gateway SET alive_until = clock_timestamp() - interval '{interval}'",
        database.schema()
    );
    database.connect().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_gone_has_nothing_in_flight() {
    let database = Database::new().await;
    let (here, gone) = (open(&database).await, open(&database).await);
    let leased = create(&here, 100, None).await.unwrap();
    let lease = run();
    assert!(matches!(begin(&gone, leased, lease).await, RunStart::First { .. }));
    let (bound, in_flight) = bound(&gone, "thr_1").await;
    let limited = || {
        let mut run = run();
        run.max_messages = NonZeroU32::new(1);
        run
    };
    assert!(matches!(begin(&here, leased, run()).await, RunStart::Busy));
    assert_eq!(here.delete(leased, None, at(0)).await.unwrap(), Deletion::Busy);
    assert!(matches!(begin(&here, bound, limited()).await, RunStart::MessageLimit));
    let made = create(&gone, 100, Some(run())).await.unwrap();
    assert_eq!(create(&here, 3, None).await, None);

    silence(&database, "1 s").await;
    assert!(matches!(begin(&here, leased, run()).await, RunStart::First { .. }));
    assert!(matches!(begin(&here, bound, limited()).await, RunStart::Next { .. }));
    // What was made for its runs makes room.
    assert!(create(&here, 3, None).await.is_some());
    assert_eq!(here.get(made.into()).await.unwrap(), None);

    // It comes back: its lease is lost, and its message is counted once.
    let late = gone.bind(leased, &user("ada"), lease.run, "thr_2".into(), at(1)).await.unwrap();
    assert_eq!(late, Bound::LeaseLost);
    gone.settle(bound, in_flight, left(2)).await.unwrap();
    assert_eq!(messages(&here, bound).await, MessageCount::Known(2));
}

// Its clock, or ours, is a minute wrong, which is no clock that was set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_clock_is_ahead_keeps_its_first_run() {
    let database = Database::new().await;
    let (here, ahead) = (open(&database).await, open(&database).await);
    let id = create(&here, 100, None).await.unwrap();
    let mut lease = run();
    lease.now = at(60);
    assert!(matches!(begin(&ahead, id, lease).await, RunStart::First { .. }));
    assert!(matches!(begin(&here, id, run()).await, RunStart::Busy));
    assert_eq!(here.delete(id, None, at(0)).await.unwrap(), Deletion::Busy);
    let bound = ahead.bind(id, &user("ada"), lease.run, "thr_1".into(), at(61)).await.unwrap();
    assert_eq!(bound, Bound::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_away_has_its_runs_again() {
    let database = Database::new().await;
    let (here, back) = (open(&database).await, open(&database).await);
    let (id, in_flight) = bound(&back, "thr_1").await;
    silence(&database, "1 s").await;
    // Whatever it does that begins something, others know of all that it has.
    let (_, _) = bound(&back, "thr_2").await;
    let mut limited = run();
    limited.max_messages = NonZeroU32::new(1);
    assert!(matches!(begin(&here, id, limited).await, RunStart::MessageLimit));
    drop(back.settle(id, in_flight, Settlement::default()));
    back.ping().await.unwrap();
    assert!(matches!(begin(&here, id, limited).await, RunStart::Next { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_dropped_gives_back_what_it_had() {
    let database = Database::new().await;
    let (here, gone) = (open(&database).await, open(&database).await);
    let (id, _) = bound(&gone, "thr_1").await;
    let (other, run_of_other) = bound(&gone, "thr_2").await;
    drop(gone.settle(other, run_of_other, left(3)));
    gone.close().await;
    assert!(gone.ping().await.unwrap_err().is_store());
    drop(gone);
    assert_eq!(messages(&here, other).await, MessageCount::Known(3));
    let mut limited = run();
    limited.max_messages = NonZeroU32::new(1);
    assert!(matches!(begin(&here, id, limited).await, RunStart::Next { .. }));
    let rows = format!("SELECT count(*) FROM {}.run", database.schema());
    let in_flight: i64 = database.connect().await.query_one(&rows, &[]).await.unwrap().get(0);
    assert_eq!(in_flight, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_left_while_the_database_was_away_is_written() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = cluster.database().await;
    let store = open(&database).await;
    let mut runs = Vec::new();
    for n in 0..10 {
        runs.push(bound(&store, &format!("thr_{n}")).await);
    }
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.stop();
        cluster
    });
    let cluster = cluster.await.unwrap();
    for (id, run) in &runs {
        drop(store.settle(*id, *run, left(2)));
    }
    let (id, _) = runs[0];
    for error in [
        store.ping().await.unwrap_err(),
        store.get(id.into()).await.unwrap_err(),
        store
            .begin_run(id.into(), OnThread::Any, &user("ada"), run())
            .await
            .map(|start| panic!("{start:?}"))
            .unwrap_err(),
    ] {
        assert!(error.is_store(), "{error:?}");
        assert!(error.chain().contains("could not connect"), "{}", error.chain());
        assert!(!error.chain().contains(cluster.password()), "{}", error.chain());
    }
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.start_again();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    for (id, _) in &runs {
        assert_eq!(messages(&store, *id).await, MessageCount::Known(2));
    }
    // Written, and not only remembered.
    let again = open(&database).await;
    store.ping().await.unwrap();
    for (id, _) in &runs {
        assert_eq!(messages(&again, *id).await, MessageCount::Known(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_not_waited_for() {
    let database = Database::new().await;
    for pooler in [false, true] {
        let mut options = options(&database);
        options.pooler = pooler;
        options.pool_size = 1.try_into().unwrap();
        options.statement_timeout = Duration::from_secs(1);
        options.wait_timeout = Duration::from_millis(100);
        let store = PostgresStore::open(options).await.unwrap();
        let id = create(&store, 100, None).await.unwrap();
        let mut client = database.connect().await;
        let lock = client.transaction().await.unwrap();
        let sql = format!("LOCK TABLE {}.session", database.schema());
        lock.batch_execute(&sql).await.unwrap();
        let begun = Instant::now();
        // There is one connection: one of them has it and the other waits for it.
        let (title, record) = tokio::join!(store.set_title(id, None, at(1)), store.get(id.into()));
        let mut errors = [title.unwrap_err().chain(), record.unwrap_err().chain()];
        errors.sort_by_key(|error| !error.contains("all connections"));
        assert!(errors[0].contains("all connections to the database are in use"), "{errors:?}");
        let is_slow = ["too long", "in time"].iter().any(|text| errors[1].contains(text));
        assert!(is_slow, "{errors:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        // A run that may have begun hasn't in the end, when there is an answer again.
        let run = run();
        let start = store.begin_run(id.into(), OnThread::Any, &user("ada"), run).await;
        assert!(start.unwrap_err().is_store());
        lock.rollback().await.unwrap();
        let start = begin(&store, id, self::run()).await;
        assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_somebody_has_locked_is_in_nobody_elses_way() {
    let database = Database::new().await;
    let mut options = options(&database);
    options.statement_timeout = Duration::from_secs(2);
    let store = PostgresStore::open(options).await.unwrap();
    let (locked, run) = bound(&store, "thr_1").await;
    let mut runs = Vec::new();
    for n in 0..8 {
        runs.push(bound(&store, &format!("thr_free_{n}")).await);
    }
    let mut client = database.connect().await;
    let lock = client.transaction().await.unwrap();
    let sql = format!(
        "SELECT 1 FROM {}.session WHERE convert_from(thread_id, 'UTF8') = 'thr_1' FOR UPDATE",
        database.schema()
    );
    lock.batch_execute(&sql).await.unwrap();
    drop(store.settle(locked, run, left(2)));
    for (id, run) in runs {
        store.settle(id, run, left(2)).await.unwrap();
    }
    store.ping().await.unwrap();
    // What sees all that its user's runs left is told what it is that it can't.
    let new = NewSession::new(user("ada"), at(0));
    let error = store.create(new, None).await.unwrap_err().chain();
    assert!(error.contains("could not write what runs left before"), "{error}");
    lock.rollback().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(messages(&open(&database).await, locked).await, MessageCount::Known(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_ended_is_made_anew() {
    let database = Database::new().await;
    let store = open(&database).await;
    let id = create(&store, 100, None).await.unwrap();
    let client = database.connect().await;
    // Where the tests have one database, other tests' are there.
    let others = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'chatkit-rest {}'",
        database.schema()
    );
    for _ in 0..5 {
        client.query_one(&others, &[]).await.unwrap();
        assert_eq!(messages(&store, id).await, MessageCount::Known(0));
        client.query_one(&others, &[]).await.unwrap();
        let run = run();
        assert!(matches!(begin(&store, id, run).await, RunStart::First { .. }));
        client.query_one(&others, &[]).await.unwrap();
        store.settle(id, run.run, Settlement::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_can_only_be_read_serves_nothing() {
    let database = Database::new().await;
    open(&database).await.ping().await.unwrap();
    // As a replica's are, and nobody else's of this server.
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", database.url());
    let store = PostgresStore::open(options_at(&database, &url)).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(error.chain().contains("can only be read"), "{}", error.chain());
}

// As after a failover, when the connections are to the one that was the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_can_only_read_are_made_anew() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = cluster.database().await;
    drop(open(&database).await);
    let admin = database.connect().await;
    let name = admin.query_one("SELECT current_database()::text", &[]).await.unwrap();
    let alter = async |change: &str| {
        let sql = format!("ALTER DATABASE {} {change}", name.get::<_, &str>(0));
        admin.batch_execute(&sql).await.unwrap();
    };
    for is_asked_for_health in [false, true] {
        alter("SET default_transaction_read_only = on").await;
        let store = open(&database).await;
        let ada = user("ada");
        let lists = (0..8).map(|_| store.list(SessionsPage::new(ada.clone(), 9)));
        assert!(crate::all(lists).await.iter().all(Result::is_ok));
        let new = NewSession::new(ada.clone(), at(0));
        let error = store.create(new, None).await.unwrap_err().chain();
        assert!(error.contains("read-only"), "{error}");
        let lists = (0..8).map(|_| store.list(SessionsPage::new(ada.clone(), 9)));
        assert!(crate::all(lists).await.iter().all(Result::is_ok));
        alter("RESET default_transaction_read_only").await;
        if is_asked_for_health {
            store.ping().await.unwrap();
        }
        create(&store, 100, None).await.unwrap();
        store.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_see_too_little_serve_nothing() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = cluster.database().await;
    let mut options = options(&database);
    // What it says for each connection goes otherwise.
    options.pooler = true;
    let store = PostgresStore::open(options.clone()).await.unwrap();
    let admin = database.connect().await;
    let name = admin.query_one("SELECT current_database()::text", &[]).await.unwrap();
    let sql = format!(
        "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'",
        name.get::<_, &str>(0)
    );
    admin.batch_execute(&sql).await.unwrap();
    for error in [store.ping().await.unwrap_err(), PostgresStore::open(options).await.unwrap_err()]
    {
        let told = error.chain();
        assert!(told.contains("its transactions are serializable"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_made_once_and_never_taken_back() {
    let database = Database::new().await;
    let options = || options(&database);
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        opening.spawn(PostgresStore::migrate(options()));
    }
    let migrated: Vec<_> = opening.join_all().await.into_iter().map(Result::unwrap).collect();
    let to = migrated[0].to;
    assert_eq!(migrated.iter().filter(|one| one.from == 0).count(), 1, "{migrated:?}");
    assert!(migrated.iter().all(|one| one.to == to && [0, to].contains(&one.from)));
    let newer =
        format!("INSERT INTO {}.migration (version) VALUES ({})", database.schema(), to + 1);
    database.connect().await.batch_execute(&newer).await.unwrap();
    for error in [
        PostgresStore::open(options()).await.map(drop).unwrap_err(),
        PostgresStore::migrate(options()).await.map(drop).unwrap_err(),
    ] {
        assert!(error.chain().contains("a newer gateway"), "{}", error.chain());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_migrates_waits_for_no_lock_for_ever() {
    let database = Database::new().await;
    let mut options = options(&database);
    options.statement_timeout = Duration::from_millis(200);
    let (schema, mut client) = (database.schema(), database.connect().await);
    let advisory =
        format!("SELECT pg_advisory_xact_lock(hashtextextended('chatkit-rest {schema}', 0))");
    let table = format!("LOCK TABLE {schema}.migration");
    for (sql, told) in [(advisory, "the advisory lock"), (table, "its table migration")] {
        let lock = client.transaction().await.unwrap();
        lock.batch_execute(&sql).await.unwrap();
        let begun = Instant::now();
        for error in [
            PostgresStore::migrate(options.clone()).await.map(drop).unwrap_err(),
            PostgresStore::open(options.clone()).await.map(drop).unwrap_err(),
        ] {
            assert!(error.chain().contains(told), "{}", error.chain());
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        lock.rollback().await.unwrap();
        options.statement_timeout = Duration::from_secs(5);
        PostgresStore::migrate(options.clone()).await.unwrap();
        options.statement_timeout = Duration::from_millis(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_can_not_be_prepared_is_told_as_that() {
    let database = Database::new().await;
    let store = open(&database).await;
    let sql = format!("DROP FUNCTION {}.bind_1", database.schema());
    database.connect().await.batch_execute(&sql).await.unwrap();
    let told = store.ping().await.unwrap_err().chain();
    assert!(told.contains("could not prepare a connection") && told.contains("bind_1"), "{told}");
}

// What is printed for a person to do comes to the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_can_be_done_by_hand() {
    let database = Database::new().await;
    let client = database.connect().await;
    for step in PostgresStore::migrations(database.schema()) {
        client.batch_execute(&step).await.unwrap();
    }
    let migrated = PostgresStore::migrate(options(&database)).await.unwrap();
    assert_eq!(migrated.from, migrated.to);
    open(&database).await.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_told_of_without_a_secret() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = place.local_addr().unwrap().port();
    // Says nothing; what follows refuses.
    let url = format!("postgres://ada:s3cret@127.0.0.1:{port}/x");
    for is_there in [true, false] {
        let mut options = PostgresOptions::parse(&url).unwrap();
        options.connect_timeout = Duration::from_millis(300);
        if !is_there {
            options = PostgresOptions::parse("postgres://ada:s3cret@127.0.0.1:1/x").unwrap();
        }
        let begun = Instant::now();
        let error = PostgresStore::open(options).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert!(error.is_store() && error.chain().contains("ada@127.0.0.1"), "{error:?}");
        assert!(!error.chain().contains("s3cret"), "{}", error.chain());
    }
    drop(place);
}

// Longer than an index takes, and not to be made shorter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_may_be_long() {
    let database = Database::new().await;
    let store = open(&database).await;
    let long: String = (0..2000).map(|_| RunId::random().to_string()).collect();
    let (id, run) = bound(&store, &long).await;
    store.settle(id, run, Settlement::default()).await.unwrap();
    let found = store.get(chatkit_rest::session::SessionKey::Thread(&long)).await.unwrap();
    assert_eq!(found.unwrap().open().unwrap().id, id);
    let other = format!("{}x", &long[..long.len() - 1]);
    let key = chatkit_rest::session::SessionKey::Thread(&other);
    assert_eq!(store.get(key).await.unwrap(), None);
    assert_eq!(store.delete(id, Some(&long), at(1)).await.unwrap(), Deletion::Done);
}

// Its connection is ended while it waits for a session that somebody else has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_answer_was_lost_begins_once() {
    let database = Database::new().await;
    let store = std::sync::Arc::new(open(&database).await);
    let schema = database.schema();
    let (mut holder, killer) = (database.connect().await, database.connect().await);
    let id = create(&store, 100, None).await.unwrap();
    for is_dropped in [false, true] {
        let lock = holder.transaction().await.unwrap();
        let sql = format!("SELECT 1 FROM {schema}.session FOR UPDATE");
        lock.batch_execute(&sql).await.unwrap();
        let run = run();
        let calling = tokio::spawn({
            let store = store.clone();
            async move { begin(&store, id, run).await }
        });
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND query LIKE '%begin_run%'
            AND datname = current_database()";
        let one_is_ended = async || {
            while killer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
        };
        one_is_ended().await;
        if is_dropped {
            calling.abort();
        }
        lock.rollback().await.unwrap();
        if !is_dropped {
            let start = calling.await.unwrap();
            assert!(matches!(start, RunStart::First { .. }), "{start:?}");
            store.settle(id, run.run, Settlement::default()).await.unwrap();
        }
        // Nobody has it any more.
        let next = self::run();
        assert!(matches!(begin(&store, id, next).await, RunStart::First { .. }));
        store.settle(id, next.run, Settlement::default()).await.unwrap();
        let sql = format!("SELECT count(*) FROM {schema}.run");
        let in_flight: i64 = killer.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(in_flight, 0);
    }
}

// The number that is adopted is the next one that is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_adopts_numbers_and_who_takes_the_next_do_not_wait_for_each_other() {
    let database = Database::new().await;
    let store = open(&database).await;
    bound(&store, "thr_held").await;
    let schema = database.schema();
    let (mut holder, watcher) = (database.connect().await, database.connect().await);
    let (adopter, maker) = (database.connect().await, database.connect().await);
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute(&format!("SELECT 1 FROM {schema}.session FOR UPDATE")).await.unwrap();
    let adopt = format!(
        "SELECT * FROM {schema}.adopt_1(ARRAY['conversation', 'thread'], ARRAY['thr_1', 'thr_held']::bytea[],
            ARRAY['ada', 'ada']::bytea[], ARRAY[NULL, NULL]::bytea[], ARRAY[0, 0], ARRAY[0, 0],
            ARRAY[gen_random_uuid(), gen_random_uuid()], ARRAY['1', NULL], ARRAY[1, NULL]::bigint[])"
    );
    let make = format!(
        "SELECT * FROM {schema}.create_session_1(gen_random_uuid(), gen_random_uuid(), 'ada', NULL, NULL,
            true, 0, NULL, NULL, NULL, NULL)"
    );
    let adopting = tokio::spawn(async move { adopter.batch_execute(&adopt).await });
    waits(&watcher, "adopt_1").await;
    let making = tokio::spawn(async move { maker.batch_execute(&make).await });
    waits(&watcher, "create_session_1").await;
    lock.rollback().await.unwrap();
    adopting.await.unwrap().unwrap();
    making.await.unwrap().unwrap();
    let sql = format!("SELECT count(*) FROM {schema}.session WHERE conversation IN ('1', '2')");
    assert_eq!(holder.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 2);
}

/// Waits until a statement waits for a lock.
async fn waits(client: &tokio_postgres::Client, statement: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND query LIKE '%.{statement}(%' AND datname = current_database()"
    );
    let until = Instant::now() + Duration::from_secs(30);
    while client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < until, "{statement} does not wait");
    }
}

// However many there are, to tell of one more and to show a page reads no more than some of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_that_is_full_costs_no_more() {
    let database = Database::new().await;
    let store = open(&database).await;
    let (id, _) = bound(&store, "thr_1").await;
    let mut client = database.connect().await;
    let fill = format!(
        "INSERT INTO {}.quarantine (thread_id, since, times, session_id, user_id)
            SELECT convert_to('full_' || n, 'UTF8'), n, 1, gen_random_uuid(), 'ada'::bytea
            FROM generate_series(1, 10200) AS n",
        database.schema()
    );
    client.batch_execute(&fill).await.unwrap();
    let bob = user("bob");
    let reuse = store.thread_named(SessionId::random(), &bob, "thr_1".into(), at(2)).await.unwrap();
    let reuse = reuse.unwrap();
    assert_eq!((reuse.owner_session, reuse.quarantined), (id, Some(10_000)));
    let page = store.quarantined(Some("full_10199".into()), 3).await.unwrap();
    let ids: Vec<_> = page.iter().map(|thread| &*thread.thread_id).collect();
    assert_eq!(ids, ["full_102", "full_1020", "full_10200"]);

    let plan = client.transaction().await.unwrap();
    plan.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        .await
        .unwrap();
    let first = "substr(thread_id, 1, 512)";
    let sql = format!(
        "EXPLAIN SELECT * FROM {}.quarantine WHERE {first} >= '' AND thread_id > ''
            ORDER BY {first}, thread_id LIMIT 3",
        database.schema()
    );
    let rows = plan.query(&sql, &[]).await.unwrap();
    let shown: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let shown = shown.join("\n");
    assert!(shown.contains("Index Scan using quarantine_in_order"), "{shown}");
    assert!(shown.contains("Incremental Sort") && shown.contains("Presorted Key"), "{shown}");
}

// Whatever the statistics are: one gateway may have all that there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_found_by_an_index_alone() {
    let database = Database::new().await;
    drop(open(&database).await);
    let mut client = database.connect().await;
    let plan = client.transaction().await.unwrap();
    plan.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        .await
        .unwrap();
    let none = "'00000000-0000-0000-0000-000000000000'";
    for of in [
        format!("gateway = {none} AND run_id = {none}"),
        format!("gateway = {none} AND session_id = {none}"),
        format!("session_id = {none}"),
        format!("gateway = {none}"),
    ] {
        let sql = format!("EXPLAIN SELECT * FROM {}.run WHERE {of}", database.schema());
        let rows = plan.query(&sql, &[]).await.unwrap();
        let shown: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let shown = shown.join("\n");
        assert!(shown.contains("Index Cond") && !shown.contains("Filter"), "{of}: {shown}");
    }
    let sql = "SELECT count(*) FROM pg_indexes WHERE tablename = 'run' AND schemaname = $1";
    let indexes: i64 = plan.query_one(sql, &[&database.schema()]).await.unwrap().get(0);
    assert_eq!(indexes, 2);
}
