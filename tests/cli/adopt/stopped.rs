//! A run that is interrupted or killed, and a second writer beside it.

use super::*;

// A log that a gateway's connection would keep from being removed.
#[test]
fn no_large_log_is_left_beside_a_gateway() {
    let db = Db::new();
    assert_eq!(db.adopt("{\"thread_id\":\"t\",\"user_id\":\"u\"}", &[]).code, 0);
    let gateway = rusqlite::Connection::open(&db.0).unwrap();
    let count = || -> i64 {
        gateway.query_row("SELECT count(*) FROM session", (), |row| row.get(0)).unwrap()
    };
    assert_eq!(count(), 1);
    let lines: Vec<String> =
        (0..3000).map(|n| format!("{{\"thread_id\":\"thr_{n}\",\"user_id\":\"ada\"}}\n")).collect();
    assert_eq!(db.adopt(&lines.concat(), &[]).code, 0);
    assert_eq!(count(), 3001);
    assert_eq!(std::fs::metadata(format!("{}-wal", db.0.display())).unwrap().len(), 0);
}

// A process that waits for more of standard input, and is asked to end.
#[cfg(unix)]
#[test]
fn who_is_interrupted_says_how_far_it_came() {
    for (dry, rest) in [
        (false, "What is adopted stays; the same command goes on from there.\n"),
        (true, "Nothing was written.\n"),
    ] {
        let db = Db::new();
        let scratch = Db::new();
        std::fs::create_dir(&scratch.0).unwrap();
        let url = db.url();
        let mut arguments = vec!["adopt", "-", "--store", &url];
        arguments.extend(dry.then_some("--dry-run"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
            .args(arguments)
            .env_clear()
            .env("TMPDIR", &scratch.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Two transactions, and a line that can't be read, which says when they are over.
        for n in 0..512 + 1024 {
            writeln!(stdin, "{{\"thread_id\":\"thr_{n}\",\"user_id\":\"ada\"}}").unwrap();
        }
        writeln!(stdin, "{{}}").unwrap();
        stdin.flush().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        err.read_line(&mut told).unwrap();
        assert!(told.starts_with("line 1537: refused"), "{told}");
        if dry {
            assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0, "a copy has a name");
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut stopped = String::new();
        err.read_line(&mut stopped).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        drop(stdin);
        let line = stopped.strip_prefix("Stopped after line ").unwrap();
        let (line, said) = line.split_once(". ").unwrap();
        assert_eq!(said, rest);
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
        std::fs::remove_dir(&scratch.0).unwrap();
        assert_eq!(db.0.exists(), !dry);
        assert!(line.parse::<u64>().unwrap() >= 512, "{line}");
        if !dry {
            let adopted = line.parse::<u64>().unwrap().min(1536);
            assert_eq!(db.rows("SELECT count(*) || '' FROM session"), [adopted.to_string()]);
        }
    }
}

// A process that is killed in the middle, and the same file again.
#[test]
fn who_is_killed_goes_on() {
    const LINES: usize = 20_000;
    let db = Db::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(["adopt", "-", "--store", &db.url()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines: Vec<String> = (0..LINES)
        .map(|n| {
            format!(
                "{{\"thread_id\":\"thr_{n}\",\"user_id\":\"user_{}\",\"conversation_id\":{}}}\n",
                n % 50,
                n + 1
            )
        })
        .collect();
    // As much as it takes on; the rest never comes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines[..LINES / 2].concat().as_bytes()).unwrap();
    let count = "SELECT count(*) || '' FROM session";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while tokio::time::Instant::now() < deadline {
        let connection = rusqlite::Connection::open(&db.0).unwrap();
        let rows: rusqlite::Result<i64> =
            connection.query_row("SELECT count(*) FROM session", (), |row| row.get(0));
        if rows.is_ok_and(|rows| rows > 0) {
            break;
        }
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let there: usize = db.rows(count)[0].parse().unwrap();
    assert!(there > 0 && there <= LINES / 2, "{there}");
    let ran = db.adopt(&lines.concat(), &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = format!("threads: {} adopted, {there} known already", LINES - there);
    assert!(ran.out.contains(&expected), "{expected}\n\n{}", ran.out);
    assert_eq!(db.rows(count), [LINES.to_string()]);
    assert_eq!(db.rows("PRAGMA integrity_check"), ["ok"]);
    assert_eq!(db.rows("SELECT last || '' FROM conversation_sequence"), [LINES.to_string()]);
}
