//! The official `openai` client for Python, with nothing changed but its base URL.
//!
//! What it does and expects is in `openai_client.py`; here its surroundings are started. Every
//! check has two gateways on one store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Gateway, Upstream, python};

struct Stage {
    key: &'static str,
    gateways: [Gateway; 2],
}

/// A service's key, and what the gateway is to know of it.
static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let lines = Gateway::service_key("live");
    let after = |name: &str| {
        let value = lines.lines().find_map(|line| line.strip_prefix(name));
        value.expect("what `token --service` prints").to_owned()
    };
    (after("OPENAI_API_KEY="), after("CHATKIT_REST__OPENAI__API_KEYS="))
});

impl Stage {
    fn new(upstream: &Upstream) -> Self {
        let (key, setting) = &*KEY;
        let gateway = Gateway::start_with(upstream, &[("OPENAI__API_KEYS", setting)]);
        let replica = gateway.replica();
        Self { key, gateways: [gateway, replica] }
    }
}

#[track_caller]
fn check(upstream: &Upstream, name: &str) {
    let stage = Stage::new(upstream);
    let [root, other] = stage.gateways.each_ref().map(Gateway::url);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/openai_client.py");
    let ran = Command::new(python())
        .args([script, name])
        .env_remove("OPENAI_API_KEY")
        .env_remove("OPENAI_BASE_URL")
        .envs([("ROOT", root), ("OTHER", other), ("KEY", stage.key.to_owned())])
        .env("UPSTREAM", upstream.url().trim_end_matches("/chatkit"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (out, errors) = (ran.stdout, String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.ends_with(b"ok\n"), "{errors}");
}

/// What is between `<!-- hosted LANGUAGE -->` and its end in the README, without the fences.
fn snippet(language: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("<!-- hosted {language} -->\n")).unwrap();
    let (block, _) = rest.split_once(&format!("<!-- /hosted {language} -->")).unwrap();
    let (_, code) = block.trim().split_once('\n').unwrap();
    code.strip_suffix("```").unwrap()
}

const README: &str = include_str!("../../README.md");

/// Runs the README's program as a reader does who has a service's key, against this gateway.
fn run_snippet(language: &str, program: &mut Command) -> String {
    let gateway = Gateway::start_with(Upstream::shared(), &[("OPENAI__API_KEYS", &KEY.1)]);
    let ada = gateway.caller("ada");
    ada.said(&ada.conversation(), "Hello there");
    let there = "http://127.0.0.1:8080";
    assert!(snippet(language).contains(there));
    let code = snippet(language).replace(there, &gateway.url());
    let ran = program.arg(code).env("OPENAI_API_KEY", &KEY.0).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[track_caller]
fn assert_shows_the_conversation(out: &str) {
    let mut lines = out.lines();
    assert!(lines.next().is_some_and(|secret| secret.starts_with("ek_")), "{out}");
    for kind in ["chatkit.user_message", "chatkit.assistant_message"] {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with("thr_") && line.ends_with(kind), "{out}");
    }
    assert_eq!(lines.next(), None, "{out}");
}

#[test]
fn the_readmes_python_runs_as_it_is_written() {
    let out = run_snippet("python", Command::new(python()).arg("-c"));
    assert_shows_the_conversation(&out);
}

/// A folder with the `openai` package and a compiler, as `typescript/package.json` names them.
fn node() -> PathBuf {
    let wanted = include_str!("typescript/package.json");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-typescript");
    // The last thing that an installation writes.
    let stamp = folder.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("package.json"), wanted).unwrap();
    let arguments = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
    // What the client needs for other clouds is left out.
    let installed = Command::new("npm")
        .args(["install", "--silent", "--legacy-peer-deps"])
        .args(arguments)
        .current_dir(&folder)
        .status();
    assert!(installed.expect("npm").success(), "npm could not install {wanted}");
    std::fs::write(stamp, wanted).unwrap();
    folder
}

#[test]
fn the_readmes_typescript_compiles_and_runs_as_it_is_written() {
    let script = r#"set -eu
        printf %s "$1" > snippet.ts
        node_modules/.bin/tsc --strict --skipLibCheck --target es2023 --module nodenext \
            --lib es2023,dom,dom.iterable snippet.ts >&2
        exec node snippet.js"#;
    let mut program = Command::new("bash");
    let out = run_snippet("typescript", program.args(["-c", script, "-"]).current_dir(node()));
    assert_shows_the_conversation(&out);
}

#[test]
fn client_sessions_are_made_used_limited_and_cancelled() {
    check(Upstream::shared(), "sessions");
}

#[test]
fn replicas_on_one_store_believe_and_revoke_each_others_secrets() {
    check(Upstream::shared(), "replicas");
}

#[test]
fn a_client_session_expires() {
    check(Upstream::shared(), "expiry");
}

#[test]
fn threads_are_retrieved_listed_and_deleted() {
    check(Upstream::shared(), "threads");
}

#[test]
fn threads_with_titles_work_in_front_of_the_quickstarts_store() {
    check(&Upstream::start("quickstart"), "threads");
}

#[test]
fn items_are_paged_through_in_the_words_of_the_hosted_api() {
    check(Upstream::shared(), "items");
}

#[test]
fn errors_are_of_the_clients_own_classes_and_final_ones_are_not_tried_again() {
    check(Upstream::shared(), "errors");
}
