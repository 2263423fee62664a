//! What is wrong with a fixture is told by file and place.

use std::fs;
use std::path::PathBuf;

use chatkit_rest::contract::{self, Fixture};
use serde_json::{Value, json};

use crate::fixtures;

fn good() -> Value {
    json!({
        "description": "It is good.",
        "steps": [{
            "request": {"method": "GET", "path": "/sessions"},
            "upstream": [{"request": {"type": "threads.list", "params": {}}, "answer": {"json": {}}}],
            "expect": {"status": 200, "json": {"success": true}},
        }],
    })
}

#[test]
fn faults_are_named_by_file_and_pointer() {
    assert!(Fixture::parse(fixtures(), "x/good", &good().to_string()).is_ok());
    let step = |pointer: &str| format!("/steps/0/{pointer}");
    for (place, value, pointer) in [
        ("/given", json!("nothing"), "/given".to_owned()),
        ("/settings", json!({"limits.max_sesions": 1}), "/settings/limits.max_sesions".to_owned()),
        ("/settings", json!({"stream.hold_for": "5"}), "/settings/stream.hold_for".to_owned()),
        ("/needs", json!(["a holiday"]), "/needs/0".to_owned()),
        ("/steps", json!([]), "/steps".to_owned()),
        ("/steps/0/request/method", json!("GE T"), step("request/method")),
        ("/steps/0/request/methud", json!("GET"), step("request/methud")),
        ("/steps/0/request/path", json!("sessions"), step("request")),
        ("/steps/0/request/url", json!("/healthz"), step("request")),
        ("/steps/0/request/path", json!("/sessions/{session}"), step("request")),
        ("/steps/0/request/token", json!("stolen"), step("request/token")),
        ("/steps/0/request/base64", json!("%"), step("request/base64")),
        ("/steps/0/request/headers", json!({"a b": "c"}), step("request/headers/a b")),
        ("/steps/0/request/headers", json!({"a": "{b}"}), step("request/headers/a")),
        ("/steps/0/request/end", json!("stall"), step("request/end")),
        ("/steps/0/upstream/0/request", json!("$got"), step("upstream/0/request")),
        ("/steps/0/upstream/0/answer/text", json!("two"), step("upstream/0/answer")),
        ("/steps/0/upstream/0/answer/fail", json!("stall"), step("upstream/0/answer")),
        ("/steps/0/upstream/0/answer/end", json!("soon"), step("upstream/0/answer/end")),
        ("/steps/0/upstream/0/answer/end", json!("bad_framing"), step("upstream/0/answer/end")),
        ("/steps/0/upstream/0/answer/status", json!(99), step("upstream/0/answer/status")),
        (
            "/steps/0/upstream/0/answer/headers",
            json!({"content-length": "1"}),
            step("upstream/0/answer/headers/content-length"),
        ),
        ("/steps/0/upstream/0/answer", json!({"sse": "no.sse"}), step("upstream/0/answer/sse")),
        ("/steps/0/upstream/0/answer", json!({"sse": "../x.sse"}), step("upstream/0/answer/sse")),
        ("/steps/0/expect/status", json!("200"), step("expect/status")),
        ("/steps/0/expect/json", json!({"a/b": "$uuidd"}), step("expect/json/a~1b")),
        ("/steps/0/expect/json", json!("{nobody}"), step("expect/json")),
        ("/steps/0/expect/body", json!("$upstream"), step("expect")),
        ("/steps/0/expect", json!({"status": 200}), step("expect")),
        (
            "/steps/0/expect",
            json!({"status": 400, "error": {"code": "INVALID"}}),
            step("expect/error/code"),
        ),
        ("/steps/0/capture", json!({"id": "data"}), step("capture/id")),
        ("/steps/0/extra", json!(1), step("extra")),
    ] {
        let mut fixture = good();
        let (parent, name) = place.rsplit_once('/').unwrap();
        fixture.pointer_mut(parent).unwrap()[name] = value;
        let error = Fixture::parse(fixtures(), "x/bad", &fixture.to_string()).unwrap_err();
        assert_eq!(error.pointer(), pointer, "{place}: {error}");
        assert!(error.file().ends_with("x/bad.json"), "{error}");
        assert!(error.to_string().contains(&format!("x/bad.json: {pointer}: ")), "{error}");
    }
}

#[test]
fn an_event_is_one_line() {
    let fixture = good().to_string().replace(r#""json":{}}"#, "\"events\":[{\n}]}");
    let error = Fixture::parse(fixtures(), "x/bad", &fixture).unwrap_err();
    assert_eq!(error.pointer(), "/steps/0/upstream/0/answer/events/0");
}

#[test]
fn a_directory_without_fixtures_is_a_fault() {
    let directory = Directory::new();
    let error = contract::load(&directory.0).unwrap_err();
    assert!(error.to_string().contains("has no fixtures"), "{error}");
    let missing = directory.0.join("missing");
    assert!(contract::load(&missing).unwrap_err().to_string().contains("can't be read"));

    fs::create_dir_all(directory.0.join("mine/deep")).unwrap();
    fs::write(directory.0.join("mine/deep/good.json"), good().to_string()).unwrap();
    fs::write(directory.0.join("mine/notes.md"), "no fixture").unwrap();
    let loaded = contract::load(&directory.0).unwrap();
    assert_eq!(loaded.iter().map(Fixture::name).collect::<Vec<_>>(), ["mine/deep/good"]);

    fs::write(directory.0.join("mine/bad.json"), "{\n  \"description\": 7\n}").unwrap();
    let error = contract::load(&directory.0).unwrap_err();
    assert_eq!(
        (error.file(), error.pointer()),
        (&*directory.0.join("mine/bad.json"), "/description")
    );
    assert!(error.to_string().contains("line 2"), "{error}");
}

/// A directory that is removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("chatkit-rest-contract-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
