//! A process that is killed while it writes.
//!
//! The test runs its own program again as a child that prints what the store acknowledged. It
//! kills the child without warning and looks for everything that was printed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chatkit_rest::session::contract::Store;
use chatkit_rest::session::contract::support::{
    at, bind, create, first, get, list, messages, new_run, new_session, settle, user,
};
use chatkit_rest::session::{Bound, Created, MessageCount, SessionId};
use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::support::{Directory, HAS_LOCKS, first_after, open};

const FILE: &str = "CHATKIT_REST_TEST_STORE";

/// What the child had acknowledged when it was killed.
const ENOUGH: usize = 300;

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let directory = Directory::new();
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program)
        .args(["--exact", "killed::child", "--ignored", "--nocapture"])
        .env(FILE, directory.file())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = KillOnDrop(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).split(b'\n');
    let mut acknowledged: Vec<_> = lines.by_ref().take(ENOUGH).map(Result::unwrap).collect();
    child.0.kill().unwrap();
    let status = child.0.wait().unwrap();
    assert!(!status.success(), "it was killed, not done");
    // It may have said more before it died; the last line may be broken off.
    acknowledged.extend(lines.map(Result::unwrap));
    acknowledged.pop();

    let connection = Connection::open(directory.file()).unwrap();
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    drop(connection);
    let store = directory.store();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for line in acknowledged {
        let line = String::from_utf8(line).unwrap();
        if let Some(kind) = check(&store, &line).await {
            *seen.entry(kind).or_default() += 1;
        }
    }
    let many = ["created", "bound", "settled"];
    assert!(many.iter().all(|kind| seen[*kind] > 10), "{seen:?}");
    assert_eq!((seen["leased"], seen["begun"], seen["made"]), (1, 1, 1));
    assert!(list(&store, &user("ada")).await.len() >= seen["created"]);
}

/// Checks one line of the child's; other lines are the test harness's.
async fn check(store: &Store, line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (kind, id) = (words.next()?, SessionId::parse(words.next()?)?);
    let record = get(store, id).await;
    match kind {
        "created" => {}
        "bound" => assert_eq!(record.thread_id.as_deref(), words.next()),
        "settled" => assert_eq!(record.message_count, MessageCount::Known(2)),
        // The lease and the place of its first run have ended with the process.
        "leased" | "begun" => {
            let run = first_after(store, id).await;
            let thread_id = format!("thr_after_{id}");
            assert_eq!(bind(store, id, run, &thread_id).await, Bound::Done);
            settle(store, id, run, messages(2));
            assert_eq!(get(store, id).await.message_count, MessageCount::Known(2));
        }
        // So has what counts towards its user's limit.
        "made" => {
            let create = async || {
                let mut session = new_session("bob");
                session.now = if HAS_LOCKS { at(0) } else { at(30) };
                store.create(session, NonZeroU32::new(1)).await.unwrap()
            };
            let created = create().await;
            assert!(matches!(created, Created::Session(_)), "{created:?}");
            let created = create().await;
            assert!(matches!(created, Created::LimitReached), "{created:?}");
        }
        _ => return None,
    }
    Some(kind.to_owned())
}

// The child's part of the test above; it writes until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run as a child process of the test above"]
async fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path));
    // The harness has begun a line.
    say("");
    let leased = create(&store, "ada").await;
    first(&store, leased, at(0)).await;
    say(&format!("leased {leased}"));
    let mut session = new_session("ada");
    session.first_run = Some(new_run(None, at(0)));
    let begun = session.id;
    assert!(matches!(store.create(session, None).await.unwrap(), Created::Session(_)));
    say(&format!("begun {begun}"));
    let mut session = new_session("bob");
    session.first_run = Some(new_run(None, at(0)));
    let made = session.id;
    assert!(matches!(store.create(session, None).await.unwrap(), Created::Session(_)));
    say(&format!("made {made}"));
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            loop {
                let id = create(&store, "ada").await;
                say(&format!("created {id}"));
                let run = first(&store, id, at(0)).await;
                let thread_id = format!("thr_{id}");
                assert_eq!(bind(&store, id, run, &thread_id).await, Bound::Done);
                say(&format!("bound {id} {thread_id}"));
                store.settle(id, run, messages(2)).await.unwrap();
                say(&format!("settled {id} {thread_id}"));
            }
        });
    }
    // A writer ends only by a panic: the parent has gone and closed the pipe.
    writers.join_next().await.unwrap().unwrap();
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
