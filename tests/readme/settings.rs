//! Settings and command lines, as the program reads them.

use std::collections::BTreeMap;
use std::process::Command;

use chatkit_rest::config::{Sources, schema};

use crate::book::{PAGES, blocks};

/// A key of the gateway's own, in place of one in a folder of the system's.
const PROOF_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/ed25519.private.pem");
/// A certificate and its key, in place of those of the system's.
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward/tls/");

#[test]
fn every_file_of_settings_is_taken_without_a_note() {
    let schema = jsonschema::draft202012::new(&schema()).unwrap();
    let mut seen = 0;
    for page in PAGES {
        for block in blocks(page.text).into_iter().filter(|block| block.language == "toml") {
            let text = block.code.replace("/etc/chatkit-rest/proof.pem", PROOF_KEY);
            let text = text.replace("/etc/chatkit-rest/tls/", CERTIFICATES);
            let mut sources = Sources::new().toml(page.path, &text);
            let has_key = ["public_key_file", "jwks_", "discovery"];
            if !has_key.iter().any(|name| text.contains(name)) {
                let secret = "0123456789abcdef0123456789abcdef";
                sources = sources.environment([("CHATKIT_REST__AUTH__SECRET", secret)]);
            }
            let parsed: serde_json::Value = toml::from_str(&text).unwrap();
            assert!(schema.is_valid(&parsed), "{}: {:?}", page.path, schema.validate(&parsed));
            let loaded = sources.load();
            let loaded = loaded.unwrap_or_else(|faults| panic!("{}: {faults}\n{text}", page.path));
            let notes: Vec<_> = loaded.notes.iter().map(ToString::to_string).collect();
            assert!(notes.is_empty(), "{}: {notes:?}", page.path);
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn every_block_of_json_is_json() {
    for page in PAGES {
        for block in blocks(page.text).into_iter().filter(|block| block.language == "json") {
            let parsed = serde_json::from_str::<serde_json::Value>(&block.code);
            assert!(parsed.is_ok(), "{}: {parsed:?}\n{}", page.path, block.code);
        }
    }
}

/// The command lines of the program's in the pages' blocks: what stands before the first flag, and
/// the flags.
fn command_lines() -> Vec<(Vec<String>, Vec<String>)> {
    let mut lines = Vec::new();
    for block in PAGES.iter().flat_map(|page| blocks(page.text)) {
        if block.language != "sh" {
            continue;
        }
        let code = block.code.replace("\\\n", " ").replace("--quiet -- ", "-- ");
        let code = code.replace("cargo run --release -- ", "chatkit-rest ");
        let code = code.replace("cargo run -- ", "chatkit-rest ");
        for line in code.lines() {
            let Some((before, line)) = line.split_once("chatkit-rest ") else { continue };
            // Nothing else is told of the program by its name and a space.
            let by_a_runner =
                ["uvx --", "pipx run --", "npx --"].iter().any(|it| before.starts_with(it));
            assert!(before.is_empty() || before.ends_with("$(") || by_a_runner, "{line}");
            let end = line.find(['#', '|', ')', ';']).unwrap_or(line.len());
            let words: Vec<_> = line[..end].split_whitespace().map(str::to_owned).collect();
            let first = words.iter().position(|word| word.starts_with("--"));
            let (command, flags) = words.split_at(first.unwrap_or(words.len()));
            let flags = flags.iter().filter(|word| word.starts_with("--"));
            lines.push((command.to_vec(), flags.cloned().collect()));
        }
    }
    lines
}

#[test]
fn every_flag_is_one_of_its_command() {
    let lines = command_lines();
    assert!(lines.len() >= 10, "{lines:?}");
    let mut helps = BTreeMap::new();
    for (command, flags) in lines {
        let help = helps.entry(command.clone()).or_insert_with(|| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_chatkit-rest"));
            let ran = program.args(&command).arg("--help").output().unwrap();
            assert!(ran.status.success(), "{command:?}");
            String::from_utf8(ran.stdout).unwrap()
        });
        for flag in flags {
            let known = help.split([' ', ',', '\n']).any(|word| word == flag);
            assert!(known, "{command:?} has no {flag}");
        }
    }
}
