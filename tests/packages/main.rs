//! The packages for people without Rust, made of the program that these tests have built, installed and used.
//!
//! `packaging/test.sh` does all of it; `packaging/setup.sh` installs what it needs. Where that can't be
//! installed the test fails, which `tests/run.sh` counts as skipped.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, and its support is not inside of #[test] functions"
)]

use std::path::Path;
use std::process::Command;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ends a test that needs what `tests/run.sh` could not install. It counts these as skipped.
fn end_without(what: &str) {
    let missing = std::env::var("CHATKIT_REST_TESTS_WITHOUT").unwrap_or_default();
    let of_it = |line: &&str| line.split(": ").next() == Some(what);
    if let Some(line) = missing.lines().find(of_it) {
        panic!("skipped: {line}");
    }
}

/// What the tests' own program may have without its symbols, in bytes, so that it is seen here that the
/// optimised one may have grown beyond its 25 MB. That takes ten minutes to build, and is held by
/// `packaging/build.sh`; this one is there. It had 49.9 MB when the other had 25.9, which optimising all
/// of it at once brought to 24.3.
const AT_MOST: u32 = 51_000_000;

#[test]
fn they_can_be_installed_and_have_the_programs_version() {
    end_without("packages");
    let mut command = Command::new("bash");
    command.arg(project().join("packaging/test.sh"));
    // Where it was measured.
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        command.env("AT_MOST", AT_MOST.to_string());
    }
    let output = command
        .env("BINARY", env!("CARGO_BIN_EXE_chatkit-rest"))
        .output()
        .expect("bash, to run packaging/test.sh");
    let said = String::from_utf8_lossy(&output.stderr);
    let steps = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "packaging/test.sh: {}\n{steps}{said}", output.status);
    assert!(steps.ends_with("] it works\n"), "{steps}");
}

/// What is kept here has no version of its own: the tools take it from Cargo.toml.
#[test]
fn only_the_manifest_has_a_version() {
    let text = include_str!("../../packaging/python/pyproject.toml");
    let settings: toml::Table = text.parse().expect("TOML");
    let project = settings["project"].as_table().expect("a table");
    assert!(!project.contains_key("version"), "{text}");
    let dynamic = project["dynamic"].as_array().expect("a list");
    assert!(dynamic.iter().any(|it| it.as_str() == Some("version")), "{text}");
}

/// With names and lines the program has 100 MB; `packaging/build.sh`, which builds it, holds its size.
#[test]
fn what_is_built_for_production_is_stripped() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("TOML");
    let profiles = &manifest["profile"];
    assert_eq!(profiles["release"].get("strip"), Some(&toml::Value::Boolean(true)));
    // Which has its lines, for the file beside it.
    assert_eq!(profiles["dist"]["inherits"].as_str(), Some("release"));
    assert_eq!(profiles["dist"].get("strip"), Some(&toml::Value::Boolean(false)));
}
