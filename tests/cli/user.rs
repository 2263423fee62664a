//! `chatkit-rest user`.

use chatkit_rest::session::{BLOCK_SEEN_WITHIN, Directory as _, SqliteStore};
use serde_json::Value;

use crate::{Ran, run};

/// A store in a file that is removed when the test ends, and that a gateway has open.
struct Db {
    path: std::path::PathBuf,
    gateway: SqliteStore,
}

impl Db {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("chatkit-rest-{}.db", uuid::Uuid::new_v4()));
        Self { gateway: SqliteStore::open(&path).unwrap(), path }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let store = format!("sqlite:{}", self.path.display());
        run(&[&["user"], arguments, &["--store", &store]].concat(), &[])
    }

    /// Gives who is blocked, as a gateway learns it.
    async fn blocked(&self) -> Vec<String> {
        let all = self.gateway.blocked_users(None).await.unwrap().unwrap();
        all.users.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-runs-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.path.display()));
        }
    }
}

#[tokio::test]
async fn users_are_blocked_listed_and_unblocked_beside_a_gateway() {
    let db = Db::new();
    let ran = db.run(&["list"]);
    assert_eq!((ran.code, &*ran.out), (0, "No user is blocked.\n"), "{}", ran.err);
    assert_eq!(db.run(&["list", "--json"]).out, "");

    // It comes back when no gateway goes by what was before.
    let begun = tokio::time::Instant::now();
    let ran = db.run(&["block", "ada", "--reason", "laptop \u{1b}[2J"]);
    assert!(begun.elapsed() >= BLOCK_SEEN_WITHIN);
    let path = db.path.display();
    let text = format!("Blocked: every gateway on {path} refuses \"ada\" now.\n");
    assert_eq!((ran.code, &*ran.out, &*ran.err), (0, &*text, ""));
    assert_eq!(db.blocked().await, ["ada"]);
    let ran = db.run(&["block", "ada", "--reason", "another"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(ran.out.starts_with("\"ada\" is blocked already"), "{}", ran.out);

    assert_eq!(db.run(&["block", "\u{e9}ve"]).code, 0);
    let ran = db.run(&["list"]);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "USER  SINCE  REASON"), "{}", ran.out);
    // A reason can't do anything to a terminal.
    assert!(lines[1].starts_with("\"ada\"  20"), "{}", ran.out);
    assert!(lines[1].ends_with("Z  \"laptop \\u{1b}[2J\""), "{}", ran.out);
    assert!(lines[2].starts_with("\"\u{e9}ve\"  20") && lines[2].ends_with("Z  -"), "{}", ran.out);
    let ran = db.run(&["list", "--json"]);
    let lines: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["user_id"], &lines[0]["reason"]),
        (&"ada".into(), &"laptop \u{1b}[2J".into())
    );
    assert_eq!((&lines[1]["user_id"], &lines[1]["reason"]), (&"\u{e9}ve".into(), &Value::Null));

    let ran = db.run(&["unblock", "ada"]);
    let text = format!("Unblocked: every gateway on {path} lets \"ada\" in again.\n");
    assert_eq!((ran.code, &*ran.out, &*ran.err), (0, &*text, ""));
    assert_eq!(db.blocked().await, ["\u{e9}ve"]);
    let ran = db.run(&["unblock", "ada"]);
    assert_eq!((ran.code, &*ran.out), (1, ""));
    assert!(ran.err.contains("the user \"ada\" is not blocked; see user list"), "{}", ran.err);
}

// It is blocked all the same: a service may have made a client session for such a one.
#[tokio::test]
async fn a_user_whom_no_token_names_is_noted() {
    let db = Db::new();
    let file = std::env::temp_dir().join(format!("chatkit-rest-{}.toml", uuid::Uuid::new_v4()));
    // Whoever blocks need not be able to read the keys, and what else is wrong is not looked at.
    let one =
        "[auth]\nuser = '{iss}|{sub}'\nissuer = 'https://a.example'\nsecret_file = '/nowhere'";
    let two = "[[auth.issuers]]\nissuer = 'https://a.example'\nuser = '{iss}|{sub}'\n\
        [[auth.issuers]]\nissuer = 'https://b|'\nuser = 'b/{iss}|{tenant}|{sub}'";
    let open = "[[auth.issuers]]\nissuer = 'https://a.example'\nuser = '{iss}|{sub}'\n\
        [[auth.issuers]]\nissuer = 'https://b|'";
    let wrong = "[auth]\nuser = '{iss}{sub}'\nissuer = 'https://a.example'";
    let unnamed = "[auth]\nuser = '{iss}|{sub}'";
    let a = "\"https://a.example|\"";
    let both = "\"https://a.example|\" or \"b/https://b%7C|\"";
    for (config, user, beginnings) in [
        (one, "ada", Some(a)),
        (one, "https://a.example", Some(a)),
        (one, "https://a.example|ada", None),
        (two, "b/https://b||t|ada", Some(both)),
        (two, "b/https://b%7C|t|ada", None),
        (open, "ada", None),
        (wrong, "ada", None),
        (unnamed, "ada", None),
        ("[auth]\nmode = 'none'\nuser = 'a|{sub}'", "ada", None),
        ("", "ada", None),
    ] {
        std::fs::write(&file, config).unwrap();
        let ran = db.run(&["block", user, "--config", file.to_str().unwrap()]);
        let note = beginnings.map_or(String::new(), |beginnings| {
            format!(
                "note: no token's user is {user:?}: by auth.user, their ids begin with {beginnings}; \
                 block the whole id, as the log's user has it\n"
            )
        });
        assert_eq!((ran.code, &*ran.err), (0, &*note), "{config}");
        assert!(db.blocked().await.contains(&user.to_owned()));
    }
    let ran = db.run(&["unblock", "ada", "--config", file.to_str().unwrap()]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let db = Db::new();
    let long = "x".repeat(201);
    for (arguments, told) in [
        (&["block"][..], "<USER>"),
        (&["block", ""], "USER"),
        (&["block", "ada", "--reason", &long], "more than 200 characters"),
    ] {
        let ran = db.run(arguments);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(db.blocked().await, [""; 0]);
    let path = std::env::temp_dir().join(format!("chatkit-rest-{}.db", uuid::Uuid::new_v4()));
    for arguments in [&["list"][..], &["block", "ada"], &["unblock", "ada"]] {
        let store = format!("sqlite:{}", path.display());
        let ran = run(&[&["user"], arguments, &["--store", &store]].concat(), &[]);
        assert_eq!((ran.code, &*ran.out), (2, ""));
        assert!(ran.err.contains("there is no session store"), "{}", ran.err);
        assert!(!path.exists());
        let ran = run(&[&["user"], arguments, &["--store", "memory:"]].concat(), &[]);
        assert_eq!(ran.code, 2, "{}", ran.err);
    }
}
