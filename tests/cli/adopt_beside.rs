//! `chatkit-rest adopt` while others have the store open, and while nobody has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

use chatkit_rest::session::{Sessions as _, SqliteStore};
use rusqlite::Connection;

use crate::adopt::Db;

/// The entries of its first transactions if nobody has to wait: 512 and twice as many each time.
const FIRST: usize = 512 + 1024 + 2048 + 4096 + 8192;

/// The most of one transaction beside others.
const MOST: usize = 8192;

/// An adoption that reads what it is given, and is given more.
struct Adopting {
    child: Child,
    stdin: ChildStdin,
    stderr: BufReader<ChildStderr>,
    given: usize,
}

impl Adopting {
    fn new(db: &Db) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(["adopt", "-", "--store", &db.url()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        Self { child, stdin, stderr: BufReader::new(stderr), given: 0 }
    }

    fn give(&mut self, threads: usize) {
        let mut lines = Vec::new();
        for n in self.given..self.given + threads {
            let user = n % 50;
            writeln!(lines, "{{\"thread_id\":\"thr_{n}\",\"user_id\":\"user_{user}\"}}").unwrap();
        }
        self.stdin.write_all(&lines).unwrap();
        self.stdin.flush().unwrap();
        self.given += threads;
    }

    /// Comes back when it has read all that it was given, and adopted it as far as it doesn't wait for
    /// more.
    fn read_all(&mut self) {
        writeln!(self.stdin, "{{}}").unwrap();
        let mut told = String::new();
        while !told.contains("refused") {
            told.clear();
            assert_ne!(self.stderr.read_line(&mut told).unwrap(), 0, "it has ended");
        }
    }

    fn finish(self) {
        let Self { mut child, stdin, stderr, .. } = self;
        drop(stdin);
        let last = stderr.lines().map(Result::unwrap).last();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{last:?}");
    }
}

fn count(connection: &Connection) -> usize {
    let count: u32 =
        connection.query_row("SELECT count(*) FROM session", (), |row| row.get(0)).unwrap();
    count.try_into().unwrap()
}

/// Transactions are large while nobody else has the store open, and small when somebody has come.
#[cfg(unix)]
#[tokio::test]
async fn transactions_become_small_when_another_opens_the_store() {
    let db = Db::new();
    let mut adopting = Adopting::new(&db);
    adopting.give(FIRST);
    adopting.read_all();
    let gateway = SqliteStore::open(&db.0).unwrap();
    let reader = Connection::open(&db.0).unwrap();
    // Alone, it would have as many in one as there were before, and wait for twice as many then.
    adopting.give(3 * MOST);
    gateway.ping().await.unwrap();
    adopting.read_all();
    let there = count(&reader);
    assert!(there > adopting.given - MOST, "{there} of {}", adopting.given);
    let given = adopting.given;
    adopting.finish();
    assert_eq!(count(&reader), given);
    drop((gateway, reader));
    assert_eq!(db.rows("PRAGMA integrity_check"), ["ok"]);
}
