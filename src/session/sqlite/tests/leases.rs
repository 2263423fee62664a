//! Whose a lease is, and who may delete what it is of.

use super::*;
use crate::session::sqlite::{SqliteOptions, locks};
use crate::session::store::{Deletion, Directory as _};

/// Where there are none, a lease lasts until its time is up.
const LOCKS_EXIST: bool = locks::Locks::EXIST;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn begin_at(store: &SqliteStore, id: SessionId, second: i64) -> RunStart {
    begin_by(store, id.into(), BeginRun { now: at(second), ..begins(RunId::random()) }).await
}

async fn unbound(store: &SqliteStore) -> SessionId {
    let session = session(None);
    assert!(create(store, &session).await);
    session.id
}

async fn delete(store: &SqliteStore, id: SessionId, thread_id: Option<&str>) -> Deletion {
    store.delete(id, thread_id, Timestamp::UNIX_EPOCH).await.unwrap()
}

/// As one that is killed, the store settles nothing of what is in flight.
#[tokio::test]
async fn a_lease_ends_with_its_process() {
    let directory = Directory::new();
    let store = directory.store();
    let (id, deleted) = (unbound(&store).await, unbound(&store).await);
    let run = first(&store, id).await;
    first(&store, deleted).await;
    drop(store);
    let store = directory.store();
    let start = begin_at(&store, id, 29).await;
    let deletion = delete(&store, deleted, None).await;
    if LOCKS_EXIST {
        assert!(matches!(start, RunStart::First { .. }), "{start:?}");
        assert_eq!(bind(&store, id, run, "t").await, Bound::LeaseLost);
        assert_eq!(deletion, Deletion::Done);
    } else {
        assert!(matches!(start, RunStart::Busy), "{start:?}");
        assert_eq!(deletion, Deletion::Busy);
    }
}

#[tokio::test]
async fn where_other_processes_are_not_seen_a_lease_ends_with_its_time() {
    let directory = Directory::new();
    let mut options = SqliteOptions::new();
    options.nameless = true;
    let store = options.open(&directory.file()).unwrap();
    let id = unbound(&store).await;
    first(&store, id).await;
    drop(store);
    let store = options.open(&directory.file()).unwrap();
    let start = begin_at(&store, id, 29).await;
    assert!(matches!(start, RunStart::Busy), "{start:?}");
    assert_eq!(delete(&store, id, None).await, Deletion::Busy);
    let start = begin_at(&store, id, 30).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn a_lease_is_held_while_its_process_is_there() {
    let directory = Directory::new();
    let [store, other] = processes::two_stores(&directory).await;
    let id = unbound(&store).await;
    let run = first(&other, id).await;
    let start = begin_at(&store, id, 29).await;
    assert!(matches!(start, RunStart::Busy), "{start:?}");
    assert_eq!(delete(&store, id, None).await, Deletion::Busy);
    // What is settled and not written yet is as good.
    let release = hold_writer(&other).await;
    settle(&other, id, run, messages(1));
    assert_eq!(delete(&store, id, None).await, Deletion::Busy);
    drop(release);
    other.ping().await.unwrap();
    let run = first(&other, id).await;
    drop(other);
    let begin = begins(RunId::random());
    let start = begin_by(&store, id.into(), begin).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    assert_eq!(bind(&store, id, run, "t").await, Bound::LeaseLost);
    assert_eq!(bind(&store, id, begin.run, "t").await, Bound::Done);
}

/// Makes a session for a run.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
async fn made_for_run(store: &SqliteStore) -> (SessionId, RunId) {
    let run = RunId::random();
    let session = NewSession { first_run: Some(begins(run)), ..session(None) };
    assert!(create(store, &session).await);
    (session.id, run)
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn what_was_made_for_a_run_counts_unless_that_ended_with_its_process() {
    let directory = Directory::new();
    let [store, other] = processes::two_stores(&directory).await;
    let up_to = async |store: &SqliteStore, max| {
        let session = NewSession { now: at(99), ..session(None) };
        let created = store.create(session, NonZeroU32::new(max)).await.unwrap();
        matches!(created, Created::Session(_))
    };
    // Its time is up, and it may still bind.
    let (bound, run) = made_for_run(&other).await;
    assert!(!up_to(&store, 1).await && !up_to(&other, 1).await);
    assert_eq!(bind(&other, bound, run, "t").await, Bound::Done);
    // Settled, it is as any other; so it is when another run had it.
    let (settled, run) = made_for_run(&other).await;
    settle(&other, settled, run, Settlement::default());
    let (taken_over, _) = made_for_run(&other).await;
    let start = begin_at(&store, taken_over, 30).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    let (gone, _) = made_for_run(&other).await;
    let (also_gone, _) = made_for_run(&other).await;
    assert!(!up_to(&store, 5).await);
    drop((other, store));
    let store = directory.store();
    // Nothing goes while there is room.
    assert!(up_to(&store, 6).await && store.get(gone.into()).await.unwrap().is_some());
    assert!(!up_to(&store, 4).await);
    for (id, stays) in
        [(bound, true), (settled, true), (taken_over, true), (gone, false), (also_gone, false)]
    {
        assert_eq!(store.get(id.into()).await.unwrap().is_some(), stays);
    }
    assert!(up_to(&store, 5).await && !up_to(&store, 5).await);
}

/// It would wait for a process that was stopped.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn what_looks_free_is_deleted_without_its_lock() {
    let directory = Directory::new();
    let [store, stopped] = processes::two_stores(&directory).await;
    let (id, bound) = (unbound(&store).await, bound(&store).await);
    for id in [id, bound] {
        let locked = stopped
            .queue()
            .tallies(|tallies| tallies.lock(id, super::super::tally::Holder::Caller));
        assert!(locked.unwrap());
    }
    assert_eq!(delete(&store, id, None).await, Deletion::Done);
    assert_eq!(delete(&store, bound, Some("t")).await, Deletion::Done);
}

#[tokio::test]
async fn a_session_is_deleted_as_it_is_to_be() {
    let directory = Directory::new();
    let store = directory.store();
    let id = unbound(&store).await;
    assert_eq!(delete(&store, SessionId::random(), None).await, Deletion::Unknown);
    assert_eq!(delete(&store, id, Some("t")).await, Deletion::Unknown);
    let run = first(&store, id).await;
    assert_eq!(delete(&store, id, None).await, Deletion::Busy);
    assert_eq!(bind(&store, id, run, "t").await, Bound::Done);
    for thread_id in [None, Some("u")] {
        assert_eq!(delete(&store, id, thread_id).await, Deletion::Bound("t".into()));
    }
    assert!(store.place_of_thread("t").await.unwrap().is_some());
    // With a run in flight.
    assert_eq!(delete(&store, id, Some("t")).await, Deletion::Done);
    assert!(store.place_of_thread("t").await.unwrap().is_some());
    assert_eq!(delete(&store, id, Some("t")).await, Deletion::Unknown);
    store.settle(id, run, messages(2)).await.unwrap();

    let id = unbound(&store).await;
    let run = first(&store, id).await;
    settle(&store, id, run, Settlement::default());
    assert_eq!(delete(&store, id, None).await, Deletion::Done);
    assert_eq!(store.get(id.into()).await.unwrap(), None);

    let id = bound(&store).await;
    let eve = UserId::parse("eve").unwrap();
    let named = store.thread_named(SessionId::random(), &eve, "t".into(), at(0)).await;
    assert!(named.unwrap().is_some());
    for thread_id in [None, Some("t"), Some("u")] {
        assert_eq!(delete(&store, id, thread_id).await, Deletion::Quarantined);
    }
    assert!(store.delete_quarantined("t", at(0)).await.unwrap());
    assert_eq!(delete(&store, id, Some("t")).await, Deletion::Unknown);
}

/// Makes a file of the version before leases were runs'.
fn take_runs_from_leases(directory: &Directory) {
    let older = Connection::open(directory.file()).unwrap();
    let sql = "DROP TRIGGER lease_is_taken_over; ALTER TABLE session DROP COLUMN lease_run;
        ALTER TABLE session DROP COLUMN made_for_run; DROP TABLE allowance;
        DROP TABLE blocked_user; DROP TABLE block_version;
        PRAGMA user_version = 7;";
    older.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_lease_of_the_version_before_is_held_until_its_time_is_up() {
    let directory = Directory::new();
    let store = directory.store();
    let id = unbound(&store).await;
    let run = first(&store, id).await;
    drop(store);
    take_runs_from_leases(&directory);
    let store = directory.store();
    let start = begin_at(&store, id, 29).await;
    assert!(matches!(start, RunStart::Busy), "{start:?}");
    assert_eq!(delete(&store, id, None).await, Deletion::Busy);
    // Whose it is nobody knows any more.
    assert_eq!(bind(&store, id, run, "t").await, Bound::LeaseLost);
    let begin = BeginRun { now: at(30), ..begins(RunId::random()) };
    let start = begin_by(&store, id.into(), begin).await;
    assert!(matches!(start, RunStart::First { .. }), "{start:?}");
    assert_eq!(bind(&store, id, begin.run, "t").await, Bound::Done);
}

/// Gives the number of a session's last lease, by which older programs go.
fn lease_number(other: &Connection, id: SessionId) -> i64 {
    let sql = "SELECT lease FROM session WHERE id = ?1";
    other.query_row(sql, [id.as_bytes()], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_lease_that_an_older_program_took_over_is_lost() {
    let directory = Directory::new();
    let store = directory.store();
    let id = unbound(&store).await;
    let run = first(&store, id).await;
    // As it does when the time is up.
    let other = Connection::open(directory.file()).unwrap();
    let take = "UPDATE session SET lease = lease + 1, lease_until = 60000000, leased_at = 30000000
        WHERE id = ?1";
    other.execute(take, [id.as_bytes()]).unwrap();
    assert_eq!(bind(&store, id, run, "t").await, Bound::LeaseLost);
    store.settle(id, run, Settlement::default()).await.unwrap();
    let start = begin_at(&store, id, 59).await;
    assert!(matches!(start, RunStart::Busy), "{start:?}");
}

#[tokio::test]
async fn an_older_program_notices_that_its_lease_was_taken_over() {
    let directory = Directory::new();
    let store = directory.store();
    let other = Connection::open(directory.file()).unwrap();
    let id = unbound(&store).await;
    let run = first(&store, id).await;
    assert_eq!(lease_number(&other, id), 1);
    // The same run's again, longer.
    let again = BeginRun { now: at(10), ..begins(run) };
    assert!(matches!(begin_by(&store, id.into(), again).await, RunStart::First { .. }));
    assert_eq!(lease_number(&other, id), 1);
    assert!(matches!(begin_at(&store, id, 40).await, RunStart::First { .. }));
    assert_eq!(lease_number(&other, id), 2);
    // One that is made for a run has the first.
    let begin = begins(RunId::random());
    let session = NewSession { first_run: Some(begin), ..session(None) };
    let id = session.id;
    assert!(create(&store, &session).await);
    assert_eq!(lease_number(&other, id), 1);
}
