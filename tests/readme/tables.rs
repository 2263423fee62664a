//! Operations, errors, settings, and what the program says when something is wrong.

use std::fs;
use std::path::Path;

use chatkit_rest::config::{Sources, reference};
use chatkit_rest::operation::Name;
use chatkit_rest::rejection::Code;
use chatkit_rest::surface::Surface;

use crate::book::project;
use crate::{section, sections};

/// Gives the cells of each row of a table, without its head.
pub(crate) fn rows(name: &str) -> Vec<Vec<&'static str>> {
    let rows = section(name).lines().skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The one that the manual's chapter leads to.
#[test]
fn the_table_of_settings_is_the_programs() {
    assert!(include_str!("../../src/config/reference.md") == reference());
    let chapter = include_str!("../../src/manual/configuration.md");
    assert!(chapter.contains("\n[reference]: ../config/reference.md\n"));
}

#[test]
fn every_code_is_there_with_its_status() {
    let rows = rows("errors");
    assert_eq!(rows.len(), Code::ALL.len());
    for (row, code) in rows.iter().zip(Code::ALL) {
        assert_eq!(row[0], format!("`{code}`"));
        assert_eq!(row[1], code.status().as_str(), "{code}");
    }
}

#[test]
fn every_operation_is_there_with_its_route() {
    let rows = rows("operations");
    assert_eq!(rows.len(), Name::ALL.len());
    for (row, operation) in rows.iter().zip(Name::ALL) {
        assert_eq!(row[0], format!("`{operation}`"));
        let (method, path) = (operation.method(), operation.path());
        let path = if path.is_empty() { "{prefix}" } else { path };
        let request = row[1].strip_prefix('`').and_then(|cell| cell.split('`').next());
        assert_eq!(request, Some(&*format!("{method} {path}")));
    }
}

#[test]
fn the_typescript_is_the_one_that_is_run() {
    let snippet = section("typescript").trim_start_matches("```ts\n").trim_end_matches("```");
    assert_eq!(snippet, include_str!("../../examples/openai_clients/threads.ts"));
}

#[test]
fn the_ids_are_those_of_the_server_that_is_run() {
    let snippet = section("ids").trim_start_matches("```python\n").trim_end_matches("```");
    let (class, rest) = snippet.split_once('\n').unwrap();
    let server = include_str!("../../examples/openai_chatkit_server/stores.py");
    // Between the two it says what the class is.
    assert!(server.contains(class) && server.contains(rest), "{snippet}");
}

/// The proxies in front pass on the paths of all operations, by one expression.
#[test]
fn proxies_in_front_let_every_operation_by() {
    let secret = [("CHATKIT_REST__AUTH__SECRET", "0123456789abcdef0123456789abcdef")];
    let config = Sources::new().environment(secret).load().unwrap().config;
    let of_chat = ["chat", "conversations"];
    let expression = format!(
        "^/({}|{}|{}/([^/]+/)?({})|docs|openapi\\.json|\\.well-known/oauth-protected-resource)(/|$)",
        config.rest.prefix.to_string().trim_start_matches('/'),
        config.openai.path.to_string().trim_start_matches('/'),
        config.chat.path.to_string().trim_start_matches('/'),
        of_chat.join("|"),
    );
    let deployment = include_str!("../../src/manual/deployment.md");
    assert_eq!(deployment.matches(&expression).count(), 2, "nginx and Caddy: {expression}");
    for operation in Name::ALL {
        match operation.surface() {
            // Whatever is below the prefix.
            Surface::Rest | Surface::OpenAi => {}
            Surface::Chat => {
                let path = operation.path().trim_start_matches("/{user_id}");
                let first = path.split('/').nth(1).unwrap();
                assert!(of_chat.contains(&first), "{operation} is not let by");
            }
            other => panic!("{other:?}: is it let by?"),
        }
    }
}

/// All of the program's sources, with the texts in them on one line each.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                let mut line = line.trim_start().to_owned();
                // A text that goes on in the next line.
                while let Some(open) = line.strip_suffix('\\') {
                    line = open.to_owned() + lines.next().unwrap_or_default().trim_start();
                }
                all.push_str(&line.replace("\\\"", "\""));
                all.push('\n');
            }
        }
    }
}

/// Whoever searches the manual for a line of the log finds it.
#[test]
fn the_causes_are_those_that_the_program_tells() {
    let mut all = String::new();
    sources(&project().join("src"), &mut all);
    let mut seen = 0;
    for table in sections("causes") {
        for row in table.lines().skip(2) {
            let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
            for said in cell.split('`').skip(1).step_by(2) {
                let code = |c: char| c.is_ascii_uppercase() || c == '_';
                if said.chars().all(code) {
                    let known = Code::ALL.iter().any(|known| known.to_string() == said);
                    assert!(known, "{said}");
                    continue;
                }
                for piece in said.split('…').map(str::trim).filter(|piece| piece.len() > 1) {
                    assert!(all.contains(piece), "nothing in src/ says {piece:?}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}
