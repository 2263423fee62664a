//! The official `openai` clients, with nothing changed but their base URL and key.
//!
//! What it does and expects is in `openai_client.py`; here its surroundings are started. Every
//! check has two gateways on one store.

use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Gateway, Upstream, install, project, python};

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

/// Gives the program of the manual that is marked `hosted`.
fn snippet() -> &'static str {
    const CHAPTER: &str = include_str!("../../src/manual/leaving_hosted.md");
    let (_, rest) = CHAPTER.split_once("<!-- hosted -->\n").unwrap();
    let (block, _) = rest.split_once("<!-- /hosted -->").unwrap();
    block.trim().strip_prefix("```python\n").unwrap().strip_suffix("```").unwrap()
}

/// Gives a gateway that knows the service, and a conversation of ada's behind it.
fn conversation_of_ada() -> Gateway {
    let gateway = Gateway::start_with(Upstream::shared(), &[("OPENAI__API_KEYS", &KEY.1)]);
    let ada = gateway.caller("ada");
    ada.said(&ada.conversation(), "Hello there");
    gateway
}

#[test]
fn the_manuals_program_runs_as_it_is_written() {
    let gateway = conversation_of_ada();
    let there = "http://127.0.0.1:8080";
    assert!(snippet().contains(there));
    let code = snippet().replace(there, &gateway.url());
    let ran = Command::new(python()).args(["-c", &code]).env("OPENAI_API_KEY", &KEY.0).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let out = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].starts_with("ek_"), "{out}");
    for (line, kind) in lines[1..].iter().zip(["user_message", "assistant_message"]) {
        assert!(line.starts_with("thr_") && line.ends_with(&format!("chatkit.{kind}")), "{out}");
    }
}

#[test]
fn the_example_in_typescript_compiles_and_runs() {
    let node = install("openai-node");
    let folder = project().join("examples/openai_clients");
    let gateway = conversation_of_ada();
    let run = |program: &str| {
        let mut command = Command::new(&node);
        command.args(program.split(' ')).current_dir(&folder);
        command.env("CHATKIT_REST_URL", format!("{}/v1", gateway.url()));
        let ran = command.env("CHATKIT_REST_API_KEY", &KEY.0).output().unwrap();
        let (out, errors) = (ran.stdout, String::from_utf8_lossy(&ran.stderr));
        let out = String::from_utf8(out).unwrap();
        assert!(ran.status.success(), "{out}{errors}");
        out
    };
    run("node_modules/typescript/bin/tsc");
    let out = run("node_modules/tsx/dist/cli.mjs threads.ts");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("a client secret until 20"), "{out}");
    assert!(lines[1].starts_with("thr_") && lines[1].ends_with(": untitled, active"), "{out}");
    assert_eq!(lines[2], "  chatkit.user_message: Hello there");
    assert!(lines[3].starts_with("  chatkit.assistant_message: "), "{out}");
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
