//! Several processes with one limit of messages.
//!
//! Each test runs its own program again as another process, which does to its store what it is told.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::contract::Store;
use chatkit_rest::session::contract::support::{
    at, begin_of, begin_with, bind, create, create_bound, first, get, max, messages, new_run, next,
    settle, user,
};
use chatkit_rest::session::{
    Bound, MessageCount, OnThread, RunId, RunStart, SessionId, Settlement, SqliteOptions,
};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::support::{Directory, open};

const FILE: &str = "CHATKIT_REST_TEST_OTHERS_STORE";

/// Another process that has the store open. It is killed in the end.
struct Other {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Comes back when it is open there.
    fn open(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shared::other", "--ignored", "--nocapture"])
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut other = Self { child, stdin, said: BufReader::new(stdout).lines() };
        assert_eq!(other.hear(), "open");
        other
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut said = self.said.by_ref().map(Result::unwrap);
        said.find_map(|line| line.strip_prefix("says: ").map(str::to_owned)).unwrap()
    }

    /// Tells how many of so many runs at once it has begun.
    fn begin(&mut self, id: SessionId, max: u32, tries: usize) -> usize {
        self.tell(&format!("begin {id} {max} {tries}"));
        self.hear().parse().unwrap()
    }

    /// Settles a run; comes back before that is written.
    fn settle(&mut self, id: SessionId, messages: u64) {
        self.tell(&format!("settle {id} {messages}"));
        assert_eq!(self.hear(), "settled");
    }

    fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.hear()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// The other process's part.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run as a child process of the tests below"]
async fn other() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path));
    let say = |what: &str| {
        // The harness has begun a line.
        println!("\nsays: {what}");
        std::io::stdout().flush().unwrap();
    };
    say("open");
    let mut runs = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        let id = SessionId::parse(words[1]).unwrap();
        let number = |word: usize| words[word].parse::<u32>().unwrap();
        match words[0] {
            "begin" => {
                let begun = begin_at_once(&store, id, number(2), words[3].parse().unwrap()).await;
                say(&begun.len().to_string());
                runs.extend(begun.into_iter().map(|run| (id, run)));
            }
            "settle" => {
                let run = runs.iter().position(|(session, _)| *session == id).unwrap();
                settle(&store, id, runs.swap_remove(run).1, messages(number(2).into()));
                say("settled");
            }
            "first" => {
                let start = begin_of(&store, id, max(number(2)), at(60)).await;
                say(&format!("{start:?}"));
            }
            "write" => {
                store.ping().await.unwrap();
                say("written");
            }
            "count" => say(&format!("{:?}", get(&store, id).await.message_count)),
            other => panic!("{other}"),
        }
    }
}

/// Gives those of so many runs at once that begin.
async fn begin_at_once(store: &Store, id: SessionId, limit: u32, tries: usize) -> Vec<RunId> {
    let mut calls = JoinSet::new();
    for _ in 0..tries {
        let store = store.clone();
        calls.spawn(async move {
            let begin = new_run(max(limit), at(0));
            match begin_with(&store, id, begin).await {
                RunStart::Next { .. } => Some(begin.run),
                RunStart::MessageLimit => None,
                other => panic!("{other:?}"),
            }
        });
    }
    calls.join_all().await.into_iter().flatten().collect()
}

/// Makes a session with so many messages.
async fn with_messages(store: &Store, count: u64) -> SessionId {
    let id = create_bound(store, "ada", &format!("thr_{}", SessionId::random())).await;
    let run = next(store, id, at(0)).await;
    settle(store, id, run, messages(count));
    store.ping().await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_processes_one_takes_the_last_place() {
    let directory = Directory::new();
    let store = directory.store();
    let id = with_messages(&store, 3).await;
    let mut other = Other::open(&directory.file());
    let mut count = 3;
    for round in 0..60 {
        other.tell(&format!("begin {id} {} 8", count + 1));
        let here = begin_at_once(&store, id, count + 1, 8).await;
        let there: usize = other.hear().parse().unwrap();
        assert_eq!(here.len() + there, 1, "round {round}: {here:?} here, {there} there");
        // Some runs leave a message, and the next round may begin before that is written.
        let left = u32::from(round % 3 == 0);
        if let [run] = here[..] {
            settle(&store, id, run, messages(left.into()));
        } else {
            other.settle(id, left.into());
        }
        count += left;
    }
    store.ping().await.unwrap();
    assert_eq!(other.ask(&format!("write {id}")), "written");
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(count.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_comes_counts_the_runs_that_are_in_flight_already() {
    let directory = Directory::new();
    let store = directory.store();
    for in_flight in 0..4 {
        let id = with_messages(&store, 1).await;
        assert_eq!(begin_at_once(&store, id, 100, in_flight).await.len(), in_flight);
        let mut other = Other::open(&directory.file());
        assert_eq!(other.begin(id, 4, 8), 3_usize.saturating_sub(in_flight));
        // And the other way round.
        assert_eq!(begin_at_once(&store, id, 4, 8).await, []);
        assert_eq!(begin_at_once(&store, id, 6, 8).await.len(), if in_flight > 3 { 1 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_places_of_a_process_that_is_killed_are_free_at_once() {
    let directory = Directory::new();
    let store = directory.store();
    let id = with_messages(&store, 1).await;
    for _ in 0..3 {
        let mut other = Other::open(&directory.file());
        assert_eq!(other.begin(id, 4, 8), 3);
        assert_eq!(begin_at_once(&store, id, 4, 8).await, []);
        drop(other);
        let runs = begin_at_once(&store, id, 4, 8).await;
        assert_eq!(runs.len(), 3);
        for run in runs {
            settle(&store, id, run, Settlement::default());
        }
    }
}

// Who was alone had marked nothing when it was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_was_alone_leaves_nothing_either() {
    let directory = Directory::new();
    let id = with_messages(&directory.store(), 1).await;
    let mut other = Other::open(&directory.file());
    assert_eq!(other.begin(id, 4, 8), 3);
    drop(other);
    assert_eq!(begin_at_once(&directory.store(), id, 4, 8).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_run_left_counts_elsewhere_before_it_is_written() {
    let directory = Directory::new();
    let store = directory.store();
    let id = with_messages(&store, 1).await;
    let mut other = Other::open(&directory.file());
    for count in [1, 4, 7] {
        let [run] = begin_at_once(&store, id, count + 1, 1).await[..] else { panic!("refused") };
        settle(&store, id, run, messages(3));
        // However far that is on its way to the file.
        for _ in 0..100 {
            assert_eq!(other.begin(id, count + 3, 1), 0);
        }
        assert_eq!(other.begin(id, count + 4, 2), 1);
        other.settle(id, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_write_counts_while_a_run_is_in_flight() {
    let directory = Directory::new();
    let store = directory.store();
    let id = with_messages(&store, 1).await;
    let mut other = Other::open(&directory.file());
    let run = next(&store, id, at(0)).await;
    assert_eq!(other.begin(id, 100, 1), 1);
    other.settle(id, 4);
    assert_eq!(other.ask(&format!("write {id}")), "written");
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(5));
    assert_eq!(begin_at_once(&store, id, 6, 2).await, []);
    assert_eq!(begin_at_once(&store, id, 7, 2).await.len(), 1);
    // What is settled is seen at once, with what the other has written.
    settle(&store, id, run, messages(2));
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(7));
    store.ping().await.unwrap();
    assert_eq!(other.ask(&format!("count {id}")), "Known(7)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_first_run_counts_elsewhere() {
    let directory = Directory::new();
    let store = directory.store();
    let id = create(&store, "ada").await;
    let mut other = Other::open(&directory.file());
    // Its lease ends long before it does.
    let run = first(&store, id, at(0)).await;
    assert_eq!(other.ask(&format!("first {id} 1")), "MessageLimit");
    assert_eq!(bind(&store, id, run, "thr_1").await, Bound::Done);
    assert_eq!(other.begin(id, 2, 8), 1);
}

/// The lease of a process that is killed is nobody's, long before its time is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_run_of_a_process_that_is_killed_is_anothers_at_once() {
    let directory = Directory::new();
    let store = directory.store();
    for limit in 1..4 {
        let id = create(&store, "ada").await;
        let mut other = Other::open(&directory.file());
        assert!(other.ask(&format!("first {id} {limit}")).starts_with("First"));
        assert!(matches!(begin_of(&store, id, max(limit), at(60)).await, RunStart::Busy));
        drop(other);
        let run = new_run(max(limit), at(60));
        let start = begin_with(&store, id, run).await;
        assert!(matches!(start, RunStart::First { .. }), "{start:?}");
        let thread_id = format!("thr_{limit}");
        assert_eq!(bind(&store, id, run.run, &thread_id).await, Bound::Done);
    }
}

// The last one to close the file removes what they share, while the next one opens it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_come_and_go_share_one_limit() {
    let directory = Directory::new();
    let id = with_messages(&directory.store(), 1).await;
    let in_flight = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for _ in 0..4 {
        let (file, in_flight) = (directory.file(), Arc::clone(&in_flight));
        all.spawn(async move {
            let mut begun = 0;
            for _ in 0..12 {
                let store = tokio::task::block_in_place(|| open(&file));
                for _ in 0..50 {
                    let [run] = begin_at_once(&store, id, 2, 1).await[..] else { continue };
                    assert_eq!(in_flight.fetch_add(1, Ordering::SeqCst), 0);
                    begun += 1;
                    tokio::task::yield_now().await;
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                    settle(&store, id, run, Settlement::default());
                }
                tokio::task::block_in_place(|| drop(store));
            }
            begun
        });
    }
    assert!(all.join_all().await.into_iter().all(|begun| begun > 0));
}

// Who was alone might have begun any number of runs, and can't tell of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_begins_beside_a_process_that_does_not_tell_of_its_runs() {
    let directory = Directory::new();
    let id = with_messages(&directory.store(), 1).await;
    let mut other = Other::open(&directory.file());
    assert_eq!(other.begin(id, 3, 1), 1);
    other.signal("-STOP");
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(100));
    let store: Store = Arc::new(options.open(&directory.file()).unwrap());
    let ada = user("ada");
    let run = || store.begin_run(id.into(), OnThread::Any, &ada, new_run(max(3), at(0)));
    assert!(run().await.unwrap_err().is_store());
    assert_eq!(get(&store, id).await.message_count, MessageCount::Known(1));
    other.signal("-CONT");
    // As soon as it has.
    let start = loop {
        match run().await {
            Ok(start) => break start,
            Err(error) => assert!(error.is_store()),
        }
    };
    assert!(matches!(start, RunStart::Next { .. }));
    assert!(matches!(run().await.unwrap(), RunStart::MessageLimit));
}

// It would not find what is begun, and can't tell of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_begins_beside_a_process_that_goes_by_a_file_that_was_deleted() {
    for deletions in [1, 3] {
        nothing_begins_after(deletions).await;
    }
}

async fn nothing_begins_after(deletions: u32) {
    let directory = Directory::new();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(100));
    let store: Store = Arc::new(options.open(&directory.file()).unwrap());
    let id = with_messages(&store, 1).await;
    let mut other = Other::open(&directory.file());
    assert_eq!(other.begin(id, 3, 1), 1);
    other.signal("-STOP");
    let runs = directory.file().with_extension("db-runs-shm");
    for _ in 0..deletions {
        // This process makes another.
        while !runs.exists() {
            tokio::task::yield_now().await;
        }
        std::fs::remove_file(&runs).unwrap();
    }
    let ada = UserId::parse("ada").unwrap();
    let run = || store.begin_run(id.into(), OnThread::Any, &ada, new_run(max(3), at(0)));
    for _ in 0..8 {
        assert!(run().await.unwrap_err().is_store());
    }
    assert!(store.ping().await.unwrap_err().is_store());
    other.signal("-CONT");
    // As soon as it has noticed.
    let start = loop {
        match run().await {
            Ok(start) => break start,
            Err(error) => assert!(error.is_store()),
        }
    };
    assert!(matches!(start, RunStart::Next { .. }));
    assert!(matches!(run().await.unwrap(), RunStart::MessageLimit));
    assert_eq!(other.begin(id, 3, 1), 0);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_run_is_a_write() {
    let directory = Directory::new();
    let store = directory.store();
    let id = with_messages(&store, 1).await;
    let reader = Connection::open(directory.file()).unwrap();
    let version =
        || -> i64 { reader.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap() };
    let log = directory.file().with_extension("db-wal");
    let seen = || (version(), std::fs::metadata(&log).unwrap().len());
    let runs = async || {
        for _ in 0..20 {
            for run in begin_at_once(&store, id, 100, 2).await {
                settle(&store, id, run, Settlement::default());
            }
        }
    };
    let before = seen();
    runs().await;
    assert_eq!(seen(), before, "alone");
    let mut other = Other::open(&directory.file());
    let before = seen();
    runs().await;
    assert_eq!(other.begin(id, 100, 1), 1);
    assert_eq!(seen(), before, "with another");
}
