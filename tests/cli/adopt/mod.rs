//! `chatkit-rest adopt`.

mod manual;
mod stopped;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{File, Ran, run};

/// A store's file that is removed when the test ends.
pub(crate) struct Db(pub(crate) std::path::PathBuf);

impl Db {
    pub(crate) fn new() -> Self {
        let name = format!("chatkit-rest-adopt-{}.db", uuid::Uuid::new_v4());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.0.display())
    }

    /// Gives the rows of a query, each as one text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(&self.0).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn adopt(&self, lines: &str, more: &[&str]) -> Ran {
        let file = File::new(lines);
        let url = self.url();
        run(&[&["adopt", file.path(), "--store", &url], more].concat(), &[])
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-runs-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

const THREADS: &str = "SELECT thread_id || ' ' || user_id || ' ' || ifnull(title, '-') || ' '
    || created_at || ' ' || updated_at || ' ' || ifnull(conversation, '-')
    FROM session ORDER BY thread_id";

#[test]
fn what_a_server_has_is_adopted_once() {
    let db = Db::new();
    // With a byte order mark, lines of Windows, blank ones, and none at the end.
    let lines = concat!(
        "\u{feff}{\"thread_id\":\"thr_1\",\"user_id\":\"ada\",\"title\":\"Turin\",",
        "\"created_at\":\"2026-11-21T09:30:00.123456Z\"}\r\n\r\n  \n",
        "{\"thread_id\":\"thr_2\",\"user_id\":\"bob\",\"title\":null,\"created_at\":1700000000,",
        "\"updated_at\":1700000001.5,\"conversation_id\":17}\n",
        "{\"thread_id\":\"thr_3\",\"user_id\":\"ada\",\"created_at\":\"2026-11-21T09:30:00\",",
        "\"conversation_id\":\"conv_0f3a91c2\"}\n",
        "{\"attachment_id\":\"atc_1\",\"user_id\":\"ada\"}"
    );
    let ran = db.adopt(lines, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    for line in [
        "threads: 3 adopted, 0 known already, 0 in conflict\n",
        "attachments: 1 adopted, 0 known already, 0 in conflict\n",
        "refused lines: 0\nusers: 2, such as \"ada\", \"bob\"\n",
        "note: it was made just now\n",
        "Done. A gateway that is started on this store shows them.\n",
        "note: 1 conversation id is found only with chat.id_format = \"conv\"\n",
    ] {
        assert!(ran.out.contains(line), "{line}\n\nnot in\n\n{}", ran.out);
    }
    let expected = [
        "thr_1 ada Turin 1795253400123456 1795253400123456 -",
        "thr_2 bob - 1700000000000000 1700000001500000 17",
        "thr_3 ada - 1795253400000000 1795253400000000 conv_0f3a91c2",
    ];
    assert_eq!(db.rows(THREADS), expected);
    assert_eq!(db.rows("SELECT user_id FROM attachment WHERE id = 'atc_1'"), ["ada"]);
    assert_eq!(db.rows("SELECT last || '' FROM conversation_sequence"), ["17"]);

    let ran = db.adopt(lines, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("threads: 0 adopted, 3 known already, 0 in conflict\n"));
    assert!(ran.out.starts_with(&format!("store: {} (flag --store)\n6 lines in", db.0.display())));
    assert!(ran.out.ends_with("Done. A gateway on this store shows them at once.\n"));
    assert_eq!(db.rows(THREADS), expected);
}

#[test]
fn times_without_a_zone_are_those_of_the_upstream() {
    let db = Db::new();
    let file =
        File::new("{\"thread_id\":\"t\",\"user_id\":\"u\",\"created_at\":\"2026-11-21T09:30:00\"}");
    // A secret that can't be read is none of its business.
    let config = File::new(&format!(
        "[upstream]\nutc_offset = \"+02:00\"\n[auth]\nsecret_file = \"/no/such\"\n[store]\nurl = \"{}\"",
        db.url()
    ));
    let ran = run(&["adopt", file.path(), "--config", config.path()], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(db.rows(THREADS), ["t u - 1795246200000000 1795246200000000 -"]);
}

#[test]
fn a_line_that_cannot_be_adopted_is_named_and_no_obstacle() {
    let db = Db::new();
    let long = "x".repeat(600);
    let refused = [
        ("nonsense", None, "is not JSON"),
        ("[\"thr\", \"ada\"]", None, "is not an object"),
        ("{\"thread_id\":\"t\"} {}", None, "is not JSON"),
        ("{\"user_id\":\"ada\"}", Some("thread_id"), "is missing, and so is attachment_id"),
        ("{\"thread_id\":\"t\"}", Some("user_id"), "is missing"),
        ("{\"thread_id\":\"t\",\"user_id\":\"\"}", Some("user_id"), "must not be empty"),
        ("{\"thread_id\":\"t\",\"user_id\":\"a\\u0000\"}", Some("user_id"), "control characters"),
        ("{\"thread_id\":\"t\",\"user_id\":7}", Some("user_id"), "must be a string: write \"7\""),
        ("{\"thread_id\":7,\"user_id\":\"ada\"}", Some("thread_id"), "write \"7\""),
        (
            "{\"thread_id\":\"t\",\"user_id\":\" ada\"}",
            Some("user_id"),
            "begin or end with a blank",
        ),
        ("{\"thread_id\":\"t\u{a0}\",\"user_id\":\"ada\"}", Some("thread_id"), "with a blank"),
        ("{\"thread_id\":\"t\\ufeff\",\"user_id\":\"ada\"}", Some("thread_id"), "with a blank"),
        ("{\"thread_id\":\"t\\n\",\"user_id\":\"ada\"}", Some("thread_id"), "control characters"),
        ("{\"attachment_id\":\"a \",\"user_id\":\"ada\"}", Some("attachment_id"), "with a blank"),
        ("{\"thread_id\":\"\",\"user_id\":\"ada\"}", Some("thread_id"), "must not be empty"),
        ("{\"thread_id\":\"LONG\",\"user_id\":\"ada\"}", Some("thread_id"), "at most 512 bytes"),
        ("{\"thread_id\":\"t\",\"user_id\":\"ada\",\"user_id\":\"eve\"}", Some("user_id"), "twice"),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"ada\",\"user\":\"eve\"}",
            Some("user"),
            "not a member",
        ),
        (
            "{\"thread_id\":\"t\",\"attachment_id\":\"a\",\"user_id\":\"u\"}",
            Some("attachment_id"),
            "one thing",
        ),
        (
            "{\"attachment_id\":\"a\",\"user_id\":\"u\",\"title\":\"x\"}",
            Some("title"),
            "not for attachments",
        ),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"u\",\"created_at\":\"soon\"}",
            Some("created_at"),
            "must be a time",
        ),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"u\",\"updated_at\":1e300}",
            Some("updated_at"),
            "must be a time",
        ),
        ("{\"thread_id\":\"t\",\"user_id\":\"u\",\"title\":7}", Some("title"), "must be a string"),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"u\",\"conversation_id\":0}",
            Some("conversation_id"),
            "whole number",
        ),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"u\",\"conversation_id\":4503599627370497}",
            Some("conversation_id"),
            "whole number from 1 to 4503599627370496",
        ),
        (
            "{\"thread_id\":\"t\",\"user_id\":\"u\",\"conversation_id\":\"conv_0F3A91C2\"}",
            Some("conversation_id"),
            "lower case",
        ),
    ];
    let mut lines = String::from("{\"thread_id\":\"first\",\"user_id\":\"ada\"}\n");
    for (line, ..) in &refused {
        lines.push_str(&line.replace("LONG", &long));
        lines.push('\n');
    }
    lines.push_str(&"y".repeat(70_000));
    lines.push_str("\n{\"thread_id\":\"last\",\"user_id\":\"ada\"}\n");
    let report = File::new("");
    std::fs::remove_file(report.path()).unwrap();
    let ran = db.adopt(&lines, &["--report", report.path()]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("threads: 2 adopted"), "{}", ran.out);
    assert!(!ran.err.contains("column 0"), "{}", ran.err);
    let more = format!("7 more lines were refused; {} has all\n", report.path());
    assert!(ran.err.ends_with(&format!("{more}error: 27 lines were not adopted\n")), "{}", ran.err);
    assert_eq!(db.rows("SELECT thread_id FROM session ORDER BY 1"), ["first", "last"]);
    let rows = std::fs::read_to_string(report.path()).unwrap();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), refused.len() + 1);
    for (number, ((line, field, reason), row)) in (2..).zip(refused.iter().zip(&rows)) {
        assert_eq!((&row["line"], &row["outcome"]), (&json!(number), &json!("refused")));
        assert_eq!(row["field"], json!(field), "{line}");
        assert!(row["reason"].as_str().unwrap().contains(reason), "{line}: {row}");
    }
    assert_eq!(rows.last().unwrap()["reason"], "is longer than 65536 bytes");
}

const CONFLICTS: &str = r#"{"thread_id":"thr_1","user_id":"ada","conversation_id":5}
{"thread_id":"thr_1","user_id":"bob"}
{"thread_id":"thr_2","user_id":"bob","conversation_id":5}
{"thread_id":"thr_1","user_id":"ada","conversation_id":6}
{"attachment_id":"atc_1","user_id":"ada"}
{"attachment_id":"atc_1","user_id":"bob"}
{"thread_id":"thr_3","user_id":"bob","conversation_id":"9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c"}
{"thread_id":"thr_4","user_id":"bob","conversation_id":"9f0d1f7e-6ff7-4f0c-8d2c-0d9f2f1a2b3c"}
{"thread_id":"thr_1","user_id":"ada"}
"#;

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let db = Db::new();
    let dry = db.adopt(CONFLICTS, &["--dry-run"]);
    assert!(!db.0.exists());
    assert_eq!(dry.code, 1);
    for line in [
        "line 2: conflict: thread_id \"thr_1\": it is another user's already; restore the backup of the store, or delete the session as that user, which deletes the thread upstream too\n",
        "line 3: conflict: thread_id \"thr_2\": another session has that conversation_id\n",
        "line 4: conflict: thread_id \"thr_1\": it is known already, but not by that conversation_id\n",
        "line 6: conflict: attachment_id \"atc_1\": it is another user's already\n",
        "line 8: conflict: thread_id \"thr_4\": another session has that id\n",
    ] {
        assert!(dry.err.contains(line), "{line}\n\nnot in\n\n{}", dry.err);
    }
    let done = db.adopt(CONFLICTS, &[]);
    assert_eq!((done.code, &done.err), (1, &dry.err));
    let sums = |ran: &Ran| -> Vec<String> {
        let sums = ran.out.replace("to be adopted", "adopted");
        sums.lines().skip(3).take(4).map(str::to_owned).collect()
    };
    assert_eq!(sums(&done), sums(&dry));
    assert!(dry.out.contains("threads: 2 to be adopted, 1 known already, 4 in conflict\n"));
    assert!(dry.out.contains("note: it isn't there; without --dry-run it is made\n"));
    let last = "Nothing was written. Without --dry-run, 3 would be adopted and 5 lines left out.\n";
    assert!(dry.out.ends_with(last), "{}", dry.out);
    assert_eq!(db.rows("SELECT thread_id FROM session ORDER BY 1"), ["thr_1", "thr_3"]);
    let id = "SELECT lower(hex(id)) FROM session WHERE thread_id = 'thr_3'";
    assert_eq!(db.rows(id), ["9f0d1f7e6ff74f0c8d2c0d9f2f1a2b3c"]);

    // And of a store that is there.
    let before = std::fs::read(&db.0).unwrap();
    let dry = db.adopt("{\"thread_id\":\"thr_9\",\"user_id\":\"bob\"}", &["--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("threads: 1 to be adopted"));
    assert_eq!(std::fs::read(&db.0).unwrap(), before);
}

#[test]
fn wrong_usage_is_2_and_begins_nothing() {
    let file = File::new("{\"thread_id\":\"t\",\"user_id\":\"u\"}");
    for (arguments, reason) in [
        (&["adopt"][..], "FILE"),
        (&["adopt", "/no/such/file", "--store", "sqlite:x.db"], "can't be read"),
        (&["adopt", "/tmp", "--store", "sqlite:x.db"], "is a directory"),
        (&["adopt", file.path(), "--store", "memory:"], "expected sqlite:FILE"),
        (&["adopt", file.path(), "--store", "postgres:x"], "store.url"),
        (
            &["adopt", file.path(), "--report", "/no/such/file", "--store", "sqlite:x.db"],
            "--report",
        ),
    ] {
        let ran = run(arguments, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(reason), "{}", ran.err);
    }
}

#[test]
fn a_report_takes_the_place_of_nothing() {
    let db = Db::new();
    let line = "{\"thread_id\":\"t\",\"user_id\":\"u\"}\n";
    assert_eq!(db.adopt(line, &[]).code, 0);
    let store = db.0.to_str().unwrap().to_owned();
    let (file, config) = (File::new(line), File::new(""));
    for report in [file.path(), &store, config.path()] {
        for more in [&[][..], &["--dry-run"]] {
            let before = std::fs::read(report).unwrap();
            let (url, config) = (db.url(), config.path());
            let arguments =
                ["adopt", file.path(), "--store", &url, "--config", config, "--report", report];
            let ran = run(&[&arguments, more].concat(), &[]);
            let reason =
                format!("error: --report: {report} is there already; name a file that isn't\n");
            assert_eq!((ran.code, ran.out, ran.err), (2, String::new(), reason));
            assert_eq!(std::fs::read(report).unwrap(), before);
        }
    }
    // Nor of what is made later.
    let new = Db::new();
    for suffix in ["", "-wal", "-runs-shm"] {
        let report = format!("{}{suffix}", new.0.display());
        let ran = new.adopt(line, &["--report", &report]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("or the store's; name another"), "{}", ran.err);
        assert!(!std::path::Path::new(&report).exists());
    }
    // What could not be begun leaves no file behind that the next attempt would stumble on.
    let report = File::new("");
    std::fs::remove_file(report.path()).unwrap();
    let ran = run(&["adopt", "/no/such", "--report", report.path(), "--store", &db.url()], &[]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(!report.0.exists());
    let ran = db.adopt(line, &["--report", report.path()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(std::fs::read(report.path()).unwrap(), b"");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(report.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_is_no_file_of_lines_is_told_once_and_makes_nothing() {
    let db = Db::new();
    for lines in ["", "\n \r\n"] {
        let ran = db.adopt(lines, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        assert!(ran.err.ends_with(" has no lines; did the command that wrote it fail?\n"));
    }
    let long = format!("[{{\"thread_id\":\"t\",\"title\":\"{}\"}}]\n", "x".repeat(70_000));
    for (lines, what) in [
        ("[{\"thread_id\":\"t\",\"user_id\":\"u\"}]", "is a JSON array"),
        (&long, "is a JSON array"),
        ("\n{\n  \"thread_id\": \"t\"\n}\n", "has an object on several lines"),
        ("thread_id,user_id\nthr_1,ada\n", "is CSV or the like"),
        (
            "{\"kind\":\"export\",\"format\":1}\n{\"thread_id\":\"t\",\"user_id\":\"u\"}\n",
            "is export.py's file: load.py makes the one for adopt",
        ),
        ("{\0\"\0t\0", "is UTF-16"),
    ] {
        let ran = db.adopt(lines, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{what}: {}", ran.err);
        assert!(ran.err.contains(what) && ran.err.lines().count() == 1, "{what}: {}", ran.err);
    }
    assert!(!db.0.exists());
}

#[test]
fn what_was_deleted_here_stays_so() {
    let db = Db::new();
    let lines = "{\"thread_id\":\"thr_1\",\"user_id\":\"ada\"}\n{\"thread_id\":\"thr_2\",\"user_id\":\"ada\"}\n";
    assert_eq!(db.adopt(lines, &[]).code, 0);
    let connection = rusqlite::Connection::open(&db.0).unwrap();
    connection.execute("DELETE FROM session WHERE thread_id = 'thr_1'", ()).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let ran = db.adopt(lines, more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.err, "line 1: deleted here: thread_id \"thr_1\"\n");
        assert!(
            ran.out.contains("1 known already, 0 in conflict, 1 deleted here\n"),
            "{}",
            ran.out
        );
    }
    assert_eq!(db.rows("SELECT thread_id FROM session"), ["thr_2"]);
}

#[test]
fn a_dry_run_fails_where_the_real_one_does() {
    let theirs = Db::new();
    let connection = rusqlite::Connection::open(&theirs.0).unwrap();
    connection.execute_batch("CREATE TABLE theirs (id)").unwrap();
    drop(connection);
    let newer = Db::new();
    assert_eq!(newer.adopt("{\"thread_id\":\"t\",\"user_id\":\"u\"}", &[]).code, 0);
    let connection = rusqlite::Connection::open(&newer.0).unwrap();
    connection.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(connection);
    let text = File::new(&"no database ".repeat(100));
    let file = File::new("{\"thread_id\":\"t\",\"user_id\":\"u\"}");
    for path in [
        "/no/such/x.db",
        "/tmp",
        text.path(),
        theirs.0.to_str().unwrap(),
        newer.0.to_str().unwrap(),
    ] {
        let url = format!("sqlite:{path}");
        let real = run(&["adopt", file.path(), "--store", &url], &[]);
        let dry = run(&["adopt", file.path(), "--store", &url, "--dry-run"], &[]);
        assert_eq!((dry.code, dry.out.as_str()), (real.code, ""), "{path}");
        assert_ne!(real.code, 0, "{path}");
        assert!(dry.err.contains(path) && !dry.err.contains("dry-run-"), "{}", dry.err);
    }
}
