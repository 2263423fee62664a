//! What processes do to one another that have one file open: stores of this one, with locks of their own.

use super::*;
use crate::session::record::MessageCount;
use crate::session::sqlite::places::Places;
use crate::session::sqlite::tally::{Holder, Tallies};
use crate::session::sqlite::{SqliteOptions, locks, rows};

/// Two stores that know of one another.
pub(super) async fn two_stores(directory: &Directory) -> [SqliteStore; 2] {
    let stores = [directory.store(), directory.store()];
    for store in &stores {
        while !store.queue().tallies(|tallies| tallies.places().is_shared()) {
            tokio::task::yield_now().await;
        }
    }
    stores
}

#[tokio::test]
async fn a_ping_tells_of_a_process_that_keeps_all_runs_from_beginning() {
    let directory = Directory::new();
    drop(directory.store());
    let stopped = locks::Locks::open(&directory.file()).unwrap();
    assert!(stopped.try_lock(crate::session::sqlite::places::UNMARKED).unwrap());
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(1));
    let store = short.open(&directory.file()).unwrap();
    assert!(store.ping().await.unwrap_err().chain().contains("was stopped"));
    drop(stopped);
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// It would not get to it, for somebody writes all the time.
#[tokio::test]
async fn where_no_run_can_begin_none_waits_for_the_file() {
    let directory = Directory::new();
    let before = directory.store();
    let (bound, unbound) = (bound(&before).await, session(None));
    assert!(create(&before, &unbound).await);
    drop(before);
    let stopped = locks::Locks::open(&directory.file()).unwrap();
    assert!(stopped.try_lock(crate::session::sqlite::places::UNMARKED).unwrap());
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(1));
    let store = short.open(&directory.file()).unwrap();
    let other = Connection::open(directory.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for id in [bound, unbound.id] {
        let begin = begins(RunId::random());
        let start = store.begin_run(id.into(), OnThread::Any, &ada(), begin).await;
        let error = start.unwrap_err();
        assert!(error.chain().contains("was stopped"), "{}", error.chain());
    }
}

#[tokio::test]
async fn who_waits_for_a_session_holds_up_nobody_else() {
    let directory = Directory::new();
    let [store, stopped] = two_stores(&directory).await;
    let (id, unbound) = (bound(&store).await, session(None));
    assert!(create(&store, &unbound).await);
    let run = next(&store, id).await;
    let release = hold_writer(&store).await;
    let locked = |id| stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap();
    assert!(locked(id) && locked(unbound.id));

    let title = Some("new".to_owned());
    settle(&store, id, run, Settlement { title: Some(title.clone()), ..messages(2) });
    let mut waiting = std::pin::pin!(async {
        tokio::join!(
            begin(&store, unbound.id),
            store.set_message_count(id, MessageCount::Known(2), 7)
        )
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let fresh = session(None);
    let (made, ()) = tokio::join!(create(&store, &fresh), async { drop(release) });
    assert!(made, "in the same batch");
    // All of what was settled but the messages.
    let row = |connection: &Connection| rows::get(connection, id).unwrap().unwrap().open().unwrap();
    let other = Connection::open(directory.file()).unwrap();
    let record = row(&other);
    assert_eq!((record.title, record.message_count), (title, MessageCount::Known(0)));
    let count = async || store.get(id.into()).await.unwrap().unwrap().open().unwrap().message_count;
    assert_eq!(count().await, MessageCount::Known(2));
    // What is settled is tried again now and then, which takes a moment. Who waits, waits for seconds.
    other.busy_timeout(Duration::from_millis(500)).unwrap();
    for _ in 0..2000 {
        other.execute_batch("BEGIN IMMEDIATE; COMMIT").unwrap();
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    for id in [id, unbound.id] {
        stopped.queue().tallies(|tallies| tallies.unlock(id));
    }
    let (begun, counted) = waiting.await;
    assert!(matches!(begun, RunStart::First { .. }));
    counted.unwrap();
    // With the messages before it.
    assert_eq!(row(&other).message_count, MessageCount::Known(7));
    assert_eq!(count().await, MessageCount::Known(7));
}

#[tokio::test]
async fn who_waits_for_a_session_in_vain_is_told() {
    let directory = Directory::new();
    let [_, stopped] = two_stores(&directory).await;
    let short = SqliteOptions::new().busy_timeout(Duration::from_millis(50));
    let store = short.open(&directory.file()).unwrap();
    let id = bound(&store).await;
    let run = next(&store, id).await;
    assert!(stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap());
    settle(&store, id, run, messages(2));
    let error = store.set_message_count(id, MessageCount::Known(2), 7).await.unwrap_err();
    assert!(error.chain().contains("has the session locked"), "{}", error.chain());
    // The last chance for what is settled, until the lock is free.
    let queue = Arc::clone(store.queue());
    let before = queue.statements.so_far();
    let unlocked = std::thread::spawn(move || {
        // It has tried, and tries again.
        while queue.statements.so_far() == before {
            std::thread::yield_now();
        }
        stopped.queue().tallies(|tallies| tallies.unlock(id));
    });
    drop(store);
    unlocked.join().unwrap();
    let other = Connection::open(directory.file()).unwrap();
    let record = rows::get(&other, id).unwrap().unwrap().open().unwrap();
    assert_eq!(record.message_count, MessageCount::Known(2));
}

async fn begin_of(store: &SqliteStore, id: SessionId, max: u32) -> RunStart {
    begin_by(store, id.into(), begins_up_to(RunId::random(), max)).await
}

#[tokio::test]
async fn who_comes_after_the_file_of_runs_was_deleted_finds_those_in_flight() {
    for replaced in [false, true] {
        let directory = Directory::new();
        let store = directory.store();
        let id = bound(&store).await;
        assert!(matches!(begin_of(&store, id, 3).await, RunStart::Next { .. }));
        let runs = directory.0.join(format!("sessions.db{}", locks::SUFFIX));
        std::fs::remove_file(&runs).unwrap();
        if replaced {
            std::fs::write(&runs, "").unwrap();
        }
        // Its own runs go on.
        let run = next(&store, id).await;
        settle(&store, id, run, Settlement::default());
        let newcomer = directory.store();
        for store in [&store, &newcomer] {
            while !store.queue().tallies(|tallies| tallies.places().is_shared()) {
                tokio::task::yield_now().await;
            }
            store.ping().await.unwrap();
        }
        assert!(matches!(begin_of(&newcomer, id, 2).await, RunStart::Next { .. }));
        assert!(matches!(begin_of(&newcomer, id, 2).await, RunStart::MessageLimit));
        assert!(matches!(begin_of(&store, id, 2).await, RunStart::MessageLimit));
        drop((store, newcomer));
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_while_the_file_of_runs_is_deleted_again_and_again() {
    let directory = Directory::new();
    let stores = two_stores(&directory).await;
    let id = bound(&stores[0]).await;
    let runs = directory.0.join(format!("sessions.db{}", locks::SUFFIX));
    next(&stores[0], id).await;
    for round in 0..20 {
        std::fs::remove_file(&runs).unwrap();
        let [left, right] = &stores;
        let (one, other) = (RunId::random(), RunId::random());
        let (left, right) = tokio::join!(
            begin_by(left, id.into(), begins_up_to(one, 2)),
            begin_by(right, id.into(), begins_up_to(other, 2))
        );
        let begun = [left, right].map(|start| matches!(start, RunStart::Next { .. }));
        assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "round {round}");
        let (place, run) = if begun[1] { (1, other) } else { (0, one) };
        settle(&stores[place], id, run, Settlement::default());
    }
}

/// As when the file of runs is deleted between the transaction that gives a lease and its place.
#[test]
fn a_lease_that_is_being_given_is_marked_where_others_look_now() {
    let directory = Directory::new();
    let places = |name: &str| {
        let path = directory.0.join(name);
        std::fs::write(&path, "").unwrap();
        Places::open(&path).unwrap()
    };
    for gets_its_place in [true, false] {
        let (id, run) = (SessionId::random(), RunId::random());
        let mut tallies = Tallies::new(places("old"));
        while tallies.places().is_waiting() {
            tallies.look().unwrap();
        }
        assert!(tallies.lock(id, Holder::Writer).unwrap());
        tallies.grant(id, run);
        let mut other = places("new");
        tallies.move_to(places("new"));
        other.look().unwrap();
        let mut marked = || {
            let marked = other.lock(id).unwrap();
            other.unlock(id).unwrap();
            marked
        };
        assert_eq!(marked(), Some(1));
        if gets_its_place {
            assert!(tallies.begin_first(id, &ada(), run));
            assert_eq!(marked(), Some(1));
        }
        tallies.unlock_batch();
        assert_eq!(marked(), Some(u64::from(gets_its_place)));
        tallies.settle(id, run, messages(0));
    }
}

#[tokio::test]
async fn who_waits_for_a_settlement_waits_for_its_messages() {
    let directory = Directory::new();
    let [store, stopped] = two_stores(&directory).await;
    let id = bound(&store).await;
    let run = next(&store, id).await;
    assert!(stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap());
    let mut settled = store.settle(id, run, messages(2));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..3 {
        assert!(settled.as_mut().poll(&mut context).is_pending());
        store.ping().await.unwrap();
    }
    stopped.queue().tallies(|tallies| tallies.unlock(id));
    settled.await.unwrap();
    let other = Connection::open(directory.file()).unwrap();
    let record = rows::get(&other, id).unwrap().unwrap().open().unwrap();
    assert_eq!(record.message_count, MessageCount::Known(2));
}

#[tokio::test]
async fn who_waits_for_a_settlement_is_not_told_of_a_batch_that_left_its_messages_out() {
    let directory = Directory::new();
    let [store, stopped] = two_stores(&directory).await;
    let id = bound(&store).await;
    let run = next(&store, id).await;
    assert!(stopped.queue().tallies(|tallies| tallies.lock(id, Holder::Caller)).unwrap());
    let release = hold_writer(&store).await;
    let settled = store.settle(id, run, messages(2));
    // Between what was settled and who waits for it.
    let queue = Arc::clone(stopped.queue());
    let unlock = move |_: &Connection| {
        queue.tallies(|tallies| tallies.unlock(id));
        Ok(())
    };
    let unlock = store.queue().call(Access::Read, "unlock", unlock, |()| ());
    let other = Connection::open(directory.file()).unwrap();
    let count = async {
        settled.await.unwrap();
        rows::get(&other, id).unwrap().unwrap().open().unwrap().message_count
    };
    let (_, count, ()) = tokio::join!(unlock, count, async { drop(release) });
    assert_eq!(count, MessageCount::Known(2));
}
