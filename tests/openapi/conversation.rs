//! Schemathesis: for each operation, requests that the document allows and requests that it
//! doesn't, alone and one after another, and all its checks on what the binary answers.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Gateway, token};
use crate::{PYTHON, folder};

/// Requests made up for an operation, beside those that the document's examples and the bounds of
/// its schemas give.
const EXAMPLES: &str = "40";

/// The same requests each time.
const SEED: &str = "20261121";

/// Two users who must not see what is the other's.
const USERS: [&str; 2] = ["ada", "bob"];

#[test]
fn schemathesis_finds_nothing() {
    let gateway = Gateway::start();
    let home =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let users: Vec<Value> = USERS
        .iter()
        .map(|user| {
            let value = format!("Bearer {}", token(user));
            json!({ "name": user, "fixedHeaders": [{ "name": "Authorization", "value": value }] })
        })
        .collect();
    let wfc = home.join("users.json");
    std::fs::write(&wfc, json!({ "auth": users }).to_string()).unwrap();
    let settings = format!(
        "[auth.wfc]\npath = {:?}\nuser = {:?}\npeers = {USERS:?}\n",
        wfc.to_str().unwrap(),
        USERS[0],
    );
    std::fs::write(home.join("schemathesis.toml"), settings).unwrap();

    let output = Command::new(PYTHON.with_file_name("schemathesis"))
        .arg("run")
        .arg(format!("{}/openapi.json", gateway.url()))
        .args(["--checks", "all"])
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
