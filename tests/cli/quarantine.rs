//! `chatkit-rest quarantine`.

use std::num::NonZeroU32;

use chatkit_rest::principal::UserId;
use chatkit_rest::session::{
    BeginRun, Bound, Found, NewSession, RunId, Runs as _, SessionId, Sessions as _, SqliteStore,
    ThreadId,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Ran, run};

/// A store in a file that is removed when the test ends, and that a gateway has open.
struct Db {
    path: std::path::PathBuf,
    gateway: SqliteStore,
}

impl Db {
    fn new() -> Self {
        let name = format!("chatkit-rest-quarantine-{}.db", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        Self { gateway: SqliteStore::open(&path).unwrap(), path }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let store = format!("sqlite:{}", self.path.display());
        run(&[&["quarantine"], arguments, &["--store", &store]].concat(), &[])
    }

    /// Gives a new session of `user`'s whose first run is called `thread`.
    async fn first_run(&self, user: &str, thread: &str) -> (SessionId, Bound) {
        let (user_id, now, run) = (UserId::parse(user).unwrap(), Timestamp::now(), RunId::random());
        let mut session = NewSession::new(user_id.clone(), now);
        session.first_run = Some(BeginRun::new(run, now));
        let id = session.id;
        let _ = self.gateway.create(session, NonZeroU32::new(1000)).await.unwrap();
        (id, self.gateway.bind(id, &user_id, run, ThreadId::from(thread), now).await.unwrap())
    }

    /// Makes ada's session, whose thread eve's was called like.
    async fn twice(&self, thread: &str) -> SessionId {
        let (id, bound) = self.first_run("ada", thread).await;
        assert_eq!(bound, Bound::Done);
        assert!(matches!(self.first_run("eve", thread).await.1, Bound::ThreadReused(_)));
        id
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.path.display()));
        }
    }
}

#[tokio::test]
async fn what_is_in_quarantine_is_listed_and_released_beside_a_gateway() {
    let db = Db::new();
    let ran = db.run(&["list"]);
    assert_eq!((ran.code, &*ran.out), (0, "No thread is in quarantine.\n"), "{}", ran.err);
    assert_eq!(db.run(&["list", "--json"]).out, "");

    let id = db.twice("thr_1").await;
    // An id can't do anything to a terminal.
    db.twice("thr_\u{1b}[2J").await;
    let ran = db.run(&["list"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.out);
    assert!(lines[0].starts_with("THREAD  STATE  SINCE"), "{}", ran.out);
    assert!(lines[1].starts_with("\"thr_\\u{1b}[2J\"  locked  "), "{}", ran.out);
    assert!(lines[2].starts_with("\"thr_1\"  locked  "), "{}", ran.out);
    assert!(lines[2].ends_with("  1  \"ada\"  \"eve\""), "{}", ran.out);
    assert!(matches!(db.first_run("bob", "thr_1").await.1, Bound::ThreadReused(_)));
    let ran = db.run(&["list"]);
    assert!(ran.out.ends_with("  2  \"ada\"  \"eve\", \"bob\"\n"), "{}", ran.out);
    let ran = db.run(&["list", "--json"]);
    let line: Value = serde_json::from_str(ran.out.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&line["thread_id"], &line["state"]), (&"thr_1".into(), &"locked".into()));
    assert_eq!(line["owner"]["user_id"], "ada");
    assert_eq!(line["owner"]["session_id"], id.to_string());
    assert_eq!(line["others"][0]["user_id"], "eve");
    assert_eq!(line["others"][1]["user_id"], "bob");

    let found = db.gateway.get(id.into()).await.unwrap().unwrap();
    assert!(matches!(found, Found::Quarantined { .. }));
    let ran = db.run(&["release", "thr_1"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(ran.out.starts_with("Released: \"thr_1\" is its first owner's again"), "{}", ran.out);
    let found = db.gateway.get(id.into()).await.unwrap().unwrap();
    assert!(matches!(found, Found::Open(_)), "the gateway sees it at once");
    assert_eq!(db.run(&["list"]).out.lines().count(), 2);
}

#[tokio::test]
async fn a_deleted_session_leaves_its_id_locked_until_it_is_released() {
    let db = Db::new();
    let id = db.twice("thr_1").await;
    let ran = db.run(&["delete", "thr_1"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(ran.out.contains("The thread is in the ChatKit server still"), "{}", ran.out);
    assert!(ran.out.contains("chatkit-rest quarantine release \"thr_1\"\n"), "{}", ran.out);
    assert_eq!(db.gateway.get(id.into()).await.unwrap(), None);
    assert!(db.run(&["list"]).out.contains("\"thr_1\"  deleted  "));
    assert!(matches!(db.first_run("bob", "thr_1").await.1, Bound::ThreadReused(_)));
    let ran = db.run(&["release", "thr_1"]);
    assert_eq!(&*ran.out, "Released: a new thread may have the id \"thr_1\" again.\n");
    assert_eq!(db.first_run("bob", "thr_1").await.1, Bound::Done);
}

#[tokio::test]
async fn a_file_that_is_older_is_left_as_it_is() {
    let db = Db::new();
    db.twice("thr_1").await;
    let file = rusqlite::Connection::open(&db.path).unwrap();
    let version = |version: u32| file.pragma_update(None, "user_version", version).unwrap();
    let now: u32 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let older = format!("its version is {}: a newer gateway", now - 1);
    version(now - 1);
    for arguments in [&["list"][..], &["list", "--json"], &["release", "thr_1"]] {
        let ran = db.run(arguments);
        assert_eq!((ran.code, &*ran.out), (1, ""), "{arguments:?}");
        assert!(ran.err.contains(&older), "{}", ran.err);
    }
    version(now);
    assert_eq!(db.run(&["list"]).out.lines().count(), 2);
    let path = std::env::temp_dir().join(format!("chatkit-rest-{}.db", uuid::Uuid::new_v4()));
    std::fs::write(&path, "").unwrap();
    let ran = run(&["quarantine", "list", "--store", &format!("sqlite:{}", path.display())], &[]);
    assert_eq!((ran.code, &*ran.out), (1, ""));
    assert!(ran.err.contains("its version is 0: a newer gateway"), "{}", ran.err);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_not_made() {
    let db = Db::new();
    for step in ["release", "delete"] {
        let ran = db.run(&[step, "thr_1"]);
        assert_eq!((ran.code, &*ran.out), (1, ""));
        assert!(ran.err.contains("no session of \"thr_1\" is in quarantine"), "{}", ran.err);
    }
    let path = std::env::temp_dir().join(format!("chatkit-rest-{}.db", uuid::Uuid::new_v4()));
    let ran = run(&["quarantine", "list", "--store", &format!("sqlite:{}", path.display())], &[]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("there is no session store"), "{}", ran.err);
    assert!(!path.exists());
    let ran = run(&["quarantine", "list", "--store", "memory:"], &[]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}
