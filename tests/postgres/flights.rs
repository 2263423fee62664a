//! How often a call goes there and back.

use std::num::NonZeroU32;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    AdoptedThread, Adoption, AttachmentOwners as _, BeginRun, Blocked, BlockedUser, Bound,
    ClientSession, ClientSessions as _, Created, Deletion, Directory as _, MessageCount,
    NewSession, OnThread, PostgresStore, RunId, RunStart, Runs as _, SessionId, SessionKey,
    SessionPlace, Sessions as _, SessionsPage, Settlement, ThreadId, ThreadsPage,
};
use jiff::Timestamp;

use crate::cluster::Database;
use crate::contract::{open, options_at};
use crate::pooler::Pooler;

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Does something once before, so that its statement is prepared, and counts what it takes then.
async fn flights<T>(store: &PostgresStore, call: impl Future<Output = T>) -> (u64, T) {
    let before = store.flights();
    let done = call.await;
    (store.flights() - before, done)
}

async fn create(store: &PostgresStore, with_run: bool) -> (SessionId, RunId) {
    let begin = BeginRun::new(RunId::random(), at(0));
    let mut session = NewSession::new(user("ada"), at(0));
    session.first_run = with_run.then_some(begin);
    let id = session.id;
    let created = store.create(session, NonZeroU32::new(100)).await.unwrap();
    assert!(matches!(created, Created::Session(_)));
    (id, begin.run)
}

async fn begin(store: &PostgresStore, session: SessionKey<'_>) -> RunId {
    let begin = BeginRun::new(RunId::random(), at(0));
    let start = store.begin_run(session, OnThread::Any, &user("ada"), begin).await.unwrap();
    assert!(matches!(start, RunStart::Next { .. } | RunStart::First { .. }), "{start:?}");
    begin.run
}

/// Makes each call of the contract, and checks that it is one flight.
async fn each_call(store: &PostgresStore) {
    let ada = user("ada");
    macro_rules! one {
        ($call:expr) => {{
            let (flights, done) = flights(store, $call).await;
            assert_eq!(flights, 1, "{}", stringify!($call));
            done
        }};
    }
    let (id, run) = one!(create(store, true));
    let thread = ThreadId::from("thr_1");
    let bound = one!(store.bind(id, &ada, run, thread.clone(), at(1))).unwrap();
    assert_eq!(bound, Bound::Done);
    // What the run left goes along with the next call that is to see it.
    drop(store.settle(id, run, Settlement::default()));
    let next = one!(begin(store, SessionKey::Thread("thr_1")));
    drop(store.settle(id, next, Settlement::default()));
    let found = one!(store.get(id.into())).unwrap().unwrap().open().unwrap();
    assert_eq!(found.thread_id, Some(thread.clone()));
    one!(store.ownership(SessionKey::Thread("thr_1"))).unwrap().unwrap();
    let next = one!(begin(store, id.into()));
    drop(store.settle(id, next, Settlement::default()));
    let listed = one!(store.list(SessionsPage::new(ada.clone(), 10))).unwrap();
    let mut page = SessionsPage::new(ada.clone(), 10);
    page.after = listed.first().map(SessionPlace::of);
    // Prepared by the first of them.
    let _ = store.list(page.clone()).await.unwrap();
    one!(store.list(page)).unwrap();
    one!(store.set_title(id, Some("Turin".to_owned()), at(2))).unwrap().unwrap();
    one!(store.set_message_count(id, MessageCount::Known(0), 2)).unwrap();
    one!(store.thread_named(id, &ada, "thr_2".into(), at(3))).unwrap();
    one!(store.signing_key([1; 32])).unwrap();
    one!(store.ping()).unwrap();
    let _ = one!(store.own_attachment(&ada, "atc_1")).unwrap();
    one!(store.attachment_owners(vec!["atc_1".to_owned()])).unwrap();
    assert!(one!(store.disown_attachment("atc_1")).unwrap());
    let client = ClientSession::new("c".to_owned(), ada.clone(), at(0), at(9), NonZeroU32::MIN);
    let _ = one!(store.create_client_session(client, NonZeroU32::MIN)).unwrap();
    one!(store.client_session("c")).unwrap().unwrap();
    one!(store.cancel_client_session("c", at(1))).unwrap().unwrap();
    let _ = store.threads(ThreadsPage::new(9)).await.unwrap();
    assert_eq!(one!(store.threads(ThreadsPage::new(9))).unwrap().len(), 1);
    one!(store.place_of_thread("thr_1")).unwrap().unwrap();
    let adopted = AdoptedThread::new("thr_9".into(), ada.clone(), at(0));
    one!(store.adopt(vec![Adoption::Thread(adopted)])).unwrap();
    assert_eq!(one!(store.quarantined(None, 9)).unwrap(), []);
    let _ = one!(store.release("thr_1")).unwrap();
    assert!(!one!(store.delete_quarantined("thr_1", at(1))).unwrap());
    let block = BlockedUser::new(user("eve"), at(1));
    assert_eq!(one!(store.block(block)).unwrap(), Blocked::Done);
    assert_eq!(one!(store.blocks(None, 9)).unwrap().len(), 1);
    // Whatever is known of it: this is asked beside other calls.
    let all = one!(store.blocked_users(None)).unwrap().unwrap();
    assert_eq!(one!(store.blocked_users(Some(all.version))).unwrap(), None);
    assert!(one!(store.unblock(&user("eve"))).unwrap());
    assert_eq!(one!(store.delete(id, Some("thr_1"), at(4))).unwrap(), Deletion::Done);
    // One that waits for it is none of a call's.
    let (id, run) = one!(create(store, true));
    let (flights, settled) = flights(store, store.settle(id, run, Settlement::default())).await;
    settled.unwrap();
    assert_eq!(flights, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_one_flight() {
    let database = Database::new().await;
    let store = open(&database).await;
    // All are on one connection, which is made by the first.
    store.ping().await.unwrap();
    let _ = store.list(SessionsPage::new(user("ada"), 10)).await.unwrap();
    each_call(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_one_flight_behind_a_pooler() {
    let database = Database::new().await;
    let pooler = Pooler::start(&database);
    let mut options = options_at(&database, &database.url_at(pooler.address()));
    options.pooler = true;
    let store = PostgresStore::open(options).await.unwrap();
    each_call(&store).await;
}

// What is settled at once is written together, and no call has waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_leave_is_written_together() {
    let database = Database::new().await;
    let store = open(&database).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(create(&store, true).await);
    }
    let (before, mut last) = (store.flights(), None);
    for (id, run) in &ids {
        let mut settlement = Settlement::default();
        settlement.messages = 2;
        last = Some(store.settle(*id, *run, settlement));
    }
    last.unwrap().await.unwrap();
    assert_eq!(store.flights(), before);
    let client = database.connect().await;
    let sql = format!(
        "SELECT count(*), count(DISTINCT xmin::text) FROM {}.session WHERE message_count = 2",
        database.schema()
    );
    let row = client.query_one(&sql, &[]).await.unwrap();
    let (written, transactions): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(written, 50);
    assert!(transactions <= 3, "{transactions}");
}

// A run goes on where the one before it was settled: one statement, and one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_behind_another_is_one_transaction() {
    let database = Database::new().await;
    let store = open(&database).await;
    let (id, mut run) = create(&store, true).await;
    let thread = ThreadId::from("thr_1");
    assert_eq!(store.bind(id, &user("ada"), run, thread, at(1)).await.unwrap(), Bound::Done);
    let client = database.connect().await;
    let sql = format!(
        "SELECT s.message_count, s.xmin = r.xmin FROM {0}.session AS s
            JOIN {0}.run AS r ON r.session_id = s.id",
        database.schema()
    );
    // Where a machine stops in between, it is written before.
    for nth in 1..50 {
        let mut settlement = Settlement::default();
        settlement.messages = 1;
        drop(store.settle(id, run, settlement));
        run = begin(&store, id.into()).await;
        let row = client.query_one(&sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), nth);
        if row.get(1) {
            return;
        }
    }
    panic!("it is never one");
}
