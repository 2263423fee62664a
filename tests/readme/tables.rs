//! Operations, errors and settings.

use chatkit_rest::config::reference;
use chatkit_rest::operation::Name;
use chatkit_rest::rejection::Code;

use crate::section;

/// Gives the cells of each row of a table, without its head.
fn rows(name: &str) -> Vec<Vec<&'static str>> {
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
