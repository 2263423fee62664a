//! What the manual and the help say of it does.

use super::*;

#[test]
fn standard_input_is_read_and_help_has_a_line_of_it() {
    let db = Db::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"))
        .args(["adopt", "-", "--store", &db.url()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let help = run(&["adopt", "--help"], &[]).out;
    let examples = help.lines().map(str::trim).filter(|line| line.starts_with('{'));
    let mut stdin = child.stdin.take().unwrap();
    for example in examples {
        writeln!(stdin, "{example}").unwrap();
    }
    drop(stdin);
    let out: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(out[3], "threads: 1 adopted, 0 known already, 0 in conflict");
    assert_eq!(out[4], "attachments: 1 adopted, 0 known already, 0 in conflict");
}

// What the manual says for the store of the SDK's samples.
#[test]
fn the_queries_of_the_manual_write_what_is_read() {
    let chapter = include_str!("../../../src/manual/existing_server.md");
    let queries: Vec<&str> = chapter
        .split("sqlite3 chatkit.db \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(queries.len(), 2);
    let samples = rusqlite::Connection::open_in_memory().unwrap();
    samples
        .execute_batch(
            r#"CREATE TABLE threads (id TEXT PRIMARY KEY, user_id TEXT NOT NULL,
                created_at TEXT NOT NULL, data TEXT NOT NULL);
            CREATE TABLE items (id TEXT PRIMARY KEY, thread_id TEXT NOT NULL,
                user_id TEXT NOT NULL, created_at TEXT NOT NULL, data TEXT NOT NULL);
            CREATE TABLE files (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, data TEXT NOT NULL);
            INSERT INTO threads VALUES
                ('thr_1', 'ada', '2026-11-21T09:30:00.123456', '{"thread": {"title": "Tu\"rin\n"}}'),
                ('thr_2', 'bob', '2026-11-21T09:30:00', '{"thread": {"title": null}}');
            INSERT INTO items VALUES
                ('msg_1', 'thr_1', 'ada', '2026-11-21T09:30:01', '{}'),
                ('msg_3', 'thr_1', 'ada', '2026-11-21T09:30:03.5', '{}'),
                ('msg_2', 'thr_1', 'ada', '2026-11-21T09:30:02', '{}');
            INSERT INTO files VALUES ('atc_1', 'ada', '{}');"#,
        )
        .unwrap();
    let mut lines = String::new();
    for query in queries {
        let mut statement = samples.prepare(query).unwrap();
        let rows = statement.query_map((), |row| row.get::<_, String>(0)).unwrap();
        for row in rows {
            lines.push_str(&row.unwrap());
            lines.push('\n');
        }
    }
    let db = Db::new();
    let ran = db.adopt(&lines, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{lines}");
    assert!(ran.out.contains("threads: 2 adopted") && ran.out.contains("attachments: 1 adopted"));
    assert_eq!(
        db.rows(THREADS),
        [
            "thr_1 ada Tu\"rin\n 1795253400123456 1795253403500000 -",
            "thr_2 bob - 1795253400000000 1795253400000000 -"
        ]
    );
}

#[test]
fn the_settings_of_the_manual_do_for_a_gateway() {
    let chapter = include_str!("../../../src/manual/existing_server.md");
    let (_, rest) = chapter.split_once("Write the gateway's `gateway.toml`").unwrap();
    let toml = rest.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = File::new(toml);
    let secret = "x".repeat(32);
    let ran = run(&["check", "--config", file.path()], &[("CHATKIT_REST__AUTH__SECRET", &secret)]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        ran.out.contains("limits.max_messages = 0 (") && !ran.out.contains("note:"),
        "{}",
        ran.out
    );
    // For which no secret is needed.
    let ran = run(&["adopt", "/no/such/file", "--config", file.path()], &[]);
    assert!(ran.err.contains("/no/such/file") && !ran.err.contains("auth."), "{}", ran.err);
}
