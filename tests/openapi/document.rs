//! The document by itself.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use chatkit_rest::openapi::document;
use chatkit_rest::operation::Name;
use chatkit_rest::rejection::Code;
use serde_json::Value;

use crate::gateway::command;
use crate::{config, folder, python};

/// Settings that change the document.
const CONFIGURATIONS: [&str; 6] = [
    "",
    "chat.enabled = false\nopenai.enabled = false\nlimits.requests_per_minute = 0",
    "rest.prefix = \"/a/b\"\nchat.path = \"/c\"\nopenai.path = \"/d\"\nchat.id_format = \"integer\"",
    "auth.mode = \"none\"\npassthrough.unknown = \"forward\"\nchat.id_format = \"conv\"",
    "auth.cookie = \"token\"\nsession.hide_foreign = true\nadmin.listen = \"127.0.0.1:9090\"",
    "auth.require = [\"scope:chat\"]",
];

#[test]
fn it_is_an_openapi_document() {
    for settings in CONFIGURATIONS {
        let document = document(&config(settings).facts()).unwrap();
        let mut python = Command::new(python())
            .arg(folder().join("validate.py"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{settings}\n{failed}");
    }
}

#[test]
fn every_operation_of_a_surface_that_is_served_is_in_it_once() {
    for settings in CONFIGURATIONS {
        let config = config(settings);
        let document = document(&config.facts()).unwrap();
        let names = operations(&document).map(|(name, _)| name.to_owned());
        let mut names: Vec<String> = names.collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{settings}: a name comes twice");
        for operation in Name::ALL {
            let served = match operation.surface() {
                chatkit_rest::surface::Surface::Rest => true,
                chatkit_rest::surface::Surface::Chat => config.chat.enabled,
                chatkit_rest::surface::Surface::OpenAi => config.openai.enabled,
                other => panic!("{other:?}: is it served?"),
            };
            let found = names.iter().any(|name| name == operation.as_str());
            assert_eq!(found, served, "{settings}: {operation}");
        }
        for name in ["healthz", "readyz", "openapi", "docs"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    for settings in CONFIGURATIONS {
        let document = document(&config(settings).facts()).unwrap();
        let mut referred = BTreeSet::new();
        each(&document, &mut |value| {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
            let pointer = reference.strip_prefix('#').expect("a reference to elsewhere");
            assert!(document.pointer(pointer).is_some(), "{settings}: {reference}");
            referred.insert(pointer.to_owned());
        });
        for kind in ["schemas", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                // These two are for paths and methods that are not in the document.
                if ["404.NOT_FOUND", "405.METHOD_NOT_ALLOWED"].contains(&&**name) {
                    continue;
                }
                let pointer = format!("/components/{kind}/{name}");
                assert!(referred.contains(&pointer), "{settings}: {pointer}");
            }
        }
    }
}

#[test]
fn everything_is_described() {
    let document = document(&config("").facts()).unwrap();
    for (name, operation) in operations(&document) {
        for member in ["summary", "description"] {
            let text = operation[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no {member}");
        }
        let no_parameters = Vec::new();
        for parameter in operation["parameters"].as_array().unwrap_or(&no_parameters) {
            let text = parameter["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name}: {}", parameter["name"]);
        }
        let tag = &operation["tags"][0];
        let mut tags = document["tags"].as_array().unwrap().iter();
        assert!(tags.any(|known| known["name"] == *tag), "{name}: {tag}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let described = schema.get("description").is_some() || schema.get("oneOf").is_some();
        assert!(described, "{name}");
    }
}

#[test]
fn every_code_is_in_it() {
    let text = document(&config("auth.require = [\"scope:chat\"]").facts()).unwrap().to_string();
    for code in Code::ALL {
        assert!(text.contains(&format!("`{code}`")), "{code}");
    }
}

#[test]
fn it_is_as_the_configuration_is() {
    let of = |settings: &str| document(&config(settings).facts()).unwrap();
    let runs = "/sessions/{session_id}/threads/{thread_id}/runs";
    let default = of("");
    let run = &default["paths"][format!("/api/v1/chatkit{runs}")]["post"];
    assert_eq!(run["operationId"], "create_run");
    assert_eq!(default, of(""), "it is not the same each time");
    let request = |document: &Value| {
        document["components"]["schemas"]["create_run.request"]["properties"]["message"].clone()
    };
    assert_eq!(request(&default)["maxLength"], 10_000);
    assert_eq!(request(&of("limits.max_message_chars = 7"))["maxLength"], 7);
    assert!(of("rest.prefix = \"/x\"")["paths"].get(format!("/x{runs}")).is_some());

    let list = |document: &Value| document["paths"]["/api/v1/chatkit/sessions"]["get"].clone();
    assert_eq!(list(&default)["security"][0], serde_json::json!({ "token": [] }));
    assert!(list(&default)["responses"].get("401").is_some());
    let anyone = of("auth.mode = \"none\"");
    assert_eq!(list(&anyone)["security"], serde_json::json!([]));
    assert!(list(&anyone)["responses"].get("401").is_none());
    let cookie = of("auth.cookie = \"crumb\"");
    assert_eq!(cookie["components"]["securitySchemes"]["cookie"]["name"], "crumb");

    let delete = |document: &Value| {
        document["paths"]["/api/v1/chatkit/sessions/{session_id}"]["delete"]["responses"].clone()
    };
    let forbidden = |document: &Value, code| {
        let at = delete(document)["403"]["$ref"].as_str().unwrap().replacen('#', "", 1);
        let description = document.pointer(&at).unwrap()["description"].as_str().unwrap();
        description.contains(&format!("`{code}`"))
    };
    let hidden = of("session.hide_foreign = true");
    assert!(forbidden(&default, "FORBIDDEN") && !forbidden(&hidden, "FORBIDDEN"));
    // Whoever is shut out is told so all the same.
    assert!(forbidden(&default, "USER_BLOCKED") && forbidden(&hidden, "USER_BLOCKED"));
    assert!(list(&default)["responses"].get("429").is_some());
    assert!(list(&of("limits.requests_per_minute = 0"))["responses"].get("429").is_none());
}

#[test]
fn an_operation_without_a_body_refuses_none() {
    let document = document(&config("").facts()).unwrap();
    for (name, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        if operation.get("requestBody").is_none() {
            assert!(!responses.contains_key("415") && !responses.contains_key("408"), "{name}");
        } else {
            assert!(responses.contains_key("415") && responses.contains_key("413"), "{name}");
        }
    }
}

#[test]
fn the_command_prints_what_is_served() {
    let output = command().arg("openapi").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed_document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed_document["openapi"], "3.1.0");
    assert!(printed.starts_with("{\n  \"") && printed.ends_with("}\n"));

    let file = std::env::temp_dir().join(format!("chatkit-rest-openapi-{}", std::process::id()));
    std::fs::write(&file, "rest.prefix = \"/from/the/file\"").unwrap();
    let output = command().args(["openapi", "--config"]).arg(&file).output().unwrap();
    std::fs::write(&file, "rest.prefix = \"/\"").unwrap();
    let refused = command().args(["openapi", "--config"]).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(printed["paths"].get("/from/the/file/sessions").is_some());
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
}

/// Gives every operation by its name.
pub(crate) fn operations(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    operations.map(|operation| (operation["operationId"].as_str().unwrap(), operation))
}

fn each<'v>(value: &'v Value, look: &mut impl FnMut(&'v Value)) {
    look(value);
    match value {
        Value::Object(members) => members.values().for_each(|value| each(value, look)),
        Value::Array(values) => values.iter().for_each(|value| each(value, look)),
        _ => {}
    }
}
