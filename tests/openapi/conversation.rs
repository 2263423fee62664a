//! Schemathesis: for each operation, requests that the document allows and requests that it
//! doesn't, alone and one after another, and all its checks on what the binary answers.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, token};
use crate::{folder, python};

/// Requests made up for an operation, beside those that the document's examples and the bounds of
/// its schemas give.
const EXAMPLES: &str = "25";

/// The same requests each time.
const SEED: &str = "20261121";

/// Statuses that refuse what the document doesn't allow. Schemathesis' own, and 413: a list of too
/// many long ids is a body that is too long.
const REFUSED: &str = r#"
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"#;

/// Two users who must not see what is the other's.
const USERS: [&str; 2] = ["ada", "bob"];

#[test]
fn nothing_is_found_as_a_user() {
    let gateway = Gateway::start();
    let credentials = USERS.map(|user| (user, token(user)));
    let settings =
        format!("[auth.wfc]\npath = \"users.json\"\nuser = {:?}\npeers = {USERS:?}\n", USERS[0]);
    converse(&gateway, "user", &credentials, &settings, "--exclude-tag");
}

#[test]
fn nothing_is_found_as_a_service() {
    let gateway = Gateway::start();
    // Services see threads, but it is users who make them.
    let ada = token("ada");
    let chat = json!({ "message": "Hello" }).to_string();
    for _ in 0..3 {
        let answer = gateway.post("/api/chat", &ada, &chat);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let settings = "[auth.wfc]\npath = \"users.json\"\nuser = \"service\"\n";
    let credentials = [("service", KEY.0.clone())];
    converse(&gateway, "service", &credentials, settings, "--include-tag");
}

fn converse(
    gateway: &Gateway,
    name: &str,
    credentials: &[(&str, String)],
    settings: &str,
    openai: &str,
) {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("schemathesis-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let users: Vec<Value> = credentials
        .iter()
        .map(|(user, token)| {
            let value = format!("Bearer {token}");
            json!({ "name": user, "fixedHeaders": [{ "name": "Authorization", "value": value }] })
        })
        .collect();
    std::fs::write(home.join("users.json"), json!({ "auth": users }).to_string()).unwrap();
    std::fs::write(home.join("schemathesis.toml"), format!("{settings}{REFUSED}")).unwrap();

    let output = Command::new(python().with_file_name("schemathesis"))
        .arg("run")
        .arg(format!("{}/openapi.json", gateway.url()))
        .args(["--checks", "all", openai, "OpenAI"])
        // `hooks.py` has one in its place, and says why.
        .args(["--exclude-checks", "ensure_resource_availability"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED])
        .args(["--generation-database", "none", "--max-failures", "20"])
        .current_dir(&home)
        // Not a package, so it is found by its folder.
        .env("PYTHONPATH", folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    // Had it found no operations it would have found no faults either.
    assert!(said.contains("✅ Stateful"), "{said}\n{failed}");
    let log = gateway.log();
    for word in ["panic", "\"level\":\"ERROR\""] {
        assert!(!log.contains(word), "{log}");
    }
    std::fs::remove_dir_all(&home).unwrap();
}
