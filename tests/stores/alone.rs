//! Many entries at once, and other processes that come meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use chatkit_rest::session::contract::support::{at, user};
use chatkit_rest::session::{
    Adopted, AdoptedThread, Adoption, SessionKey, Sessions as _, SqliteOptions, SqliteStore,
    ThreadId,
};

use crate::support::Directory;

const FILE: &str = "CHATKIT_REST_TEST_SHARED_STORE";

/// After how many entries it is asked whether another has come.
const SOME: usize = 256;

/// Longer than any test.
const EVER: Duration = Duration::from_secs(3600);

fn bulk(path: &Path) -> SqliteStore {
    SqliteOptions::new().bulk(true).open(path).unwrap()
}

fn threads(name: &str) -> Vec<Adoption> {
    let thread = |number| {
        let thread_id = ThreadId::from(format!("thr_{name}_{number}"));
        AdoptedThread::new(thread_id, user("ada"), at(0))
    };
    (0..SOME * 4).map(|number| Adoption::Thread(thread(number))).collect()
}

fn thread_id(entry: &Adoption) -> &str {
    match entry {
        Adoption::Thread(thread) => &thread.thread_id,
        Adoption::Attachment { attachment_id, .. } => attachment_id,
    }
}

/// Another process that has the store open, until it is dropped.
pub(crate) struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    /// Comes back when it is open there, with whether that process was alone with it.
    pub(crate) fn open(path: &Path) -> (Self, bool) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "alone::other", "--ignored", "--nocapture"])
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut other = Self { child, stdin, stdout: BufReader::new(stdout) };
        let said = other
            .stdout
            .by_ref()
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("alone: ").map(|alone| alone.parse().unwrap()));
        (other, said.unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

// The other process's part.
#[test]
#[ignore = "run as a child process of the tests below"]
fn other() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = bulk(Path::new(&path));
    // The harness has begun a line.
    println!("\nalone: {}", store.is_alone());
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(store);
}

#[cfg(unix)]
#[tokio::test]
async fn who_adopts_alone_ends_when_another_process_comes() {
    let directory = Directory::new();
    let store = bulk(&directory.file());
    assert!(store.is_alone());
    let entries = threads("before");
    let (same, outcomes) = store.adopt_alone(entries, EVER).await.unwrap();
    assert_eq!((same.len(), outcomes), (SOME * 4, vec![Adopted::Done; SOME * 4]));

    let (other, _) = Other::open(&directory.file());
    assert!(!store.is_alone());
    let (mut entries, outcomes) = store.adopt_alone(threads("meanwhile"), EVER).await.unwrap();
    assert_eq!((entries.len(), outcomes), (SOME * 4, vec![Adopted::Done; SOME]));
    // The first ones, and no other.
    let next = thread_id(&entries[SOME]).to_owned();
    let last = SessionKey::Thread(thread_id(&entries[SOME - 1]));
    assert!(store.get(last).await.unwrap().is_some());
    assert!(store.get(SessionKey::Thread(&next)).await.unwrap().is_none());

    drop(other);
    assert!(store.is_alone());
    let rest = entries.split_off(SOME);
    let (_, outcomes) = store.adopt_alone(rest, EVER).await.unwrap();
    assert_eq!(outcomes, vec![Adopted::Done; SOME * 3]);
    // The first ones again, with new ones behind them.
    entries.extend(threads("after"));
    let (_, outcomes) = store.adopt_alone(entries, EVER).await.unwrap();
    let (known, done) = outcomes.split_at(SOME);
    assert!(known.iter().all(|outcome| *outcome == Adopted::Known));
    assert!(done.iter().all(|outcome| *outcome == Adopted::Done));
}

#[cfg(unix)]
#[tokio::test]
async fn who_adopts_alone_ends_with_its_time() {
    let directory = Directory::new();
    let store = bulk(&directory.file());
    let (entries, outcomes) = store.adopt_alone(threads("all"), Duration::ZERO).await.unwrap();
    assert_eq!((entries.len(), outcomes.len()), (SOME * 4, SOME));
}

// What a process closes is no longer locked by it, however often it has it open.
#[cfg(unix)]
#[tokio::test]
async fn a_store_stays_seen_by_others_when_it_is_synced() {
    let directory = Directory::new();
    let store = bulk(&directory.file());
    store.sync().unwrap();
    assert!(store.fold_log(EVER).unwrap());
    store.sync().unwrap();
    let (_other, is_alone) = Other::open(&directory.file());
    assert!(!is_alone);
}

#[test]
fn a_store_without_many_writes_is_not_known_to_be_alone() {
    let directory = Directory::new();
    assert!(!SqliteStore::open(&directory.file()).unwrap().is_alone());
}
